"""Trees as optax users write them, taken apart by JAX, whatever is in them.

None, masked nodes and optax's placeholders have no leaves. Leaves that are no arrays, or none that can be optimized,
may stand among the parameters as long as they have no gradient: functions, text, counters, random keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy

from ...backends import Tree, backend_of, describe, is_number, parts_of, plain, taken_apart_by_jax


class Leaves(Tree):
    """A tree of parameters, or of what has their structure.

    Args:
        tree: the tree.
        updates: gradients in a tree of that structure. What has none, and no slot either, is no parameter.
        slots: trees of that structure.
    """

    __slots__ = ("_others", "_whole", "_whole_bare")

    def __init__(self, tree: Any, updates: Any = None, slots: Sequence[Any] = ()) -> None:
        paths, leaves, self._whole, self._whole_bare = taken_apart_by_jax(tree)
        leaves = [strong(leaf) for leaf in leaves]
        others = {position for position, leaf in enumerate(leaves) if not _can_be_optimized(leaf)}
        if slots and updates is not None:
            others |= self._bare_places([(updates, "updates"), *((slot, "a slot") for slot in slots)])
        self._others = {position: leaves[position] for position in sorted(others)}
        self._definition, self._bare = self._whole, self._whole_bare
        if others:
            places = [None if position in others else 0 for position in range(len(leaves))]
            self._definition = jax.tree.structure(self._whole.unflatten(places))
            self._bare = jax.tree.structure(self._whole_bare.unflatten(places))
        self.leaves = self._parameters(leaves)
        self.names = _names_of(self._parameters(paths))

    def _bare_places(self, trees: Sequence[tuple[Any, str]]) -> set[int]:
        """The positions at which none of some trees has anything."""
        parts = [parts_of(part, self._whole_bare, what) for part, what in trees]
        return {
            position for position, found in enumerate(zip(*parts, strict=True)) if not jax.tree.leaves(found)
        }

    def _parameters(self, values: Sequence[Any]) -> list[Any]:
        return [value for position, value in enumerate(values) if position not in self._others]

    def match(self, tree: Any, what: str, bare: bool = False) -> list[Any]:
        """What stands in another tree where this one has parameters.

        Raises:
            ValueError: if the structures differ, or something has a gradient that is no parameter.
        """
        parts = parts_of(tree, self._whole_bare if bare else self._whole, what)
        for position, leaf in self._others.items():
            part = strong(parts[position])
            if _can_be_optimized(part) and backend_of(part) is not None and not _can_be_optimized(leaf):
                raise ValueError(
                    f"The tree of {what} holds {describe(part)} where {describe(leaf)} stands among the parameters, "
                    "which cannot be optimized: cast it to a floating-point dtype, or give it None."
                )
        return [None if part is None else strong(part) for part in self._parameters(parts)]

    def beside(self, slot: Any) -> list[Any]:
        """The arrays of a slot, or None, whether its tree has the parameters' boxes or not."""
        parts = self._parameters(parts_of(slot, self._whole_bare, "a slot"))
        return [next(iter(jax.tree.leaves(part)), None) for part in parts]

    def flags(self, prefix: Any) -> dict[str, bool]:
        """The bools of a prefix of this tree, for each parameter."""
        tree = self.build(self.leaves)
        for flag in jax.tree.leaves(prefix):
            if isinstance(flag, str):
                raise TypeError(f"A mask has True or False in the place of each parameter, received the text {flag!r}.")
        try:
            spread = jax.tree.map(lambda flag, part: jax.tree.map(lambda _: bool(flag), part), prefix, tree)
        except ValueError as error:
            # Whose text has many lines; the last says what differs.
            *_, last = map(str.strip, str(error).splitlines())
            raise ValueError(
                "A mask must be a tree like that of the parameters, with True or False in the place of each, or of a "
                f"whole part of it. The mask {_difference(prefix, tree, last)}."
            ) from None
        return dict(zip(self.names, jax.tree.leaves(spread), strict=True))


def _difference(prefix: Any, tree: Any, said: str) -> str:
    """How a mask differs from a tree: in which keys, or by the last line of JAX's error."""
    if isinstance(prefix, Mapping) and isinstance(tree, Mapping):
        lacking = ", ".join(repr(key) for key in tree if key not in prefix)
        beyond = ", ".join(repr(key) for key in prefix if key not in tree)
        if lacking or beyond:
            return f"lacks the key {lacking}" if lacking else f"has the key {beyond}, which the parameters lack"
    return f"differs in {said}"


def _names_of(paths: Sequence[Any]) -> list[str]:
    """A name for each path, of which no two are alike."""
    names: list[str] = []
    taken: set[str] = set()
    for path in paths:
        name = jax.tree_util.keystr(path, simple=True, separator="/") or "parameter"
        # Different paths can read alike: {"a/b": ...} and {"a": {"b": ...}}.
        names.append(name if name not in taken else f"{name}#{len(names)}")
        taken.add(names[-1])
    return names


def _can_be_optimized(leaf: Any) -> bool:
    """Whether a leaf is an array of floating-point numbers; complex ones are refused where they are looked at."""
    dtype = getattr(leaf, "dtype", None)
    return dtype is not None and hasattr(leaf, "shape") and bool(jax.numpy.issubdtype(dtype, jax.numpy.inexact))


def strong(leaf: Any) -> Any:
    """A leaf as an array of JAX: NumPy arrays become one, and Python numbers one of floating point; others stay."""
    if isinstance(leaf, (numpy.ndarray, numpy.generic)):
        return leaf if leaf.dtype.kind not in "biufcV" or leaf.dtype == jax.dtypes.float0 else jax.numpy.asarray(leaf)
    # With a dtype the type is not weak, so that the next update does not compile anew.
    if is_number(leaf) and not isinstance(leaf, bool):
        return jax.numpy.asarray(leaf, dtype=jax.numpy.result_type(float))
    return plain(leaf)

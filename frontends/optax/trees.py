"""Trees as optax users write them, handed to the core leaf by leaf under unique names.

JAX takes every tree apart here, whatever is in it: None, masked nodes and optax's placeholders have no leaves.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import jax
import numpy

from ...backends import is_number


class Leaves:
    """A tree of parameters, or of what has their structure, taken apart.

    Args:
        tree: the tree.
    """

    def __init__(self, tree: Any) -> None:
        with_paths, definition = jax.tree_util.tree_flatten_with_path(tree)
        self._definition: Any = definition
        self.leaves = [strong(leaf) for _, leaf in with_paths]
        self.names: list[str] = []
        for path, _ in with_paths:
            name = jax.tree_util.keystr(path, simple=True, separator="/") or "parameter"
            # Different paths can read alike: {"a/b": ...} and {"a": {"b": ...}}.
            self.names.append(name if name not in self.names else f"{name}#{len(self.names)}")

    def named(self, leaves: Sequence[Any]) -> OrderedDict[str, Any]:
        """Leaves by name, in the order of the tree."""
        return OrderedDict(zip(self.names, leaves, strict=True))

    def match(self, tree: Any) -> list[Any]:
        """What stands in another tree where this one has leaves.

        Raises:
            ValueError: if the structures differ.
        """
        return [None if part is None else strong(part) for part in self._definition.flatten_up_to(tree)]

    def build(self, named: Any) -> Any:
        """A tree of this structure from leaves by name; None leaves an empty place."""
        return self._definition.unflatten([named[name] for name in self.names])

    def flags(self, prefix: Any) -> dict[str, bool]:
        """The bools of a prefix of this tree, for each leaf."""
        tree = self._definition.unflatten(self.leaves)
        spread = jax.tree.map(lambda flag, part: jax.tree.map(lambda _: bool(flag), part), prefix, tree)
        return dict(zip(self.names, jax.tree.leaves(spread), strict=True))


def strong(leaf: Any) -> Any:
    """A leaf as an array of JAX: NumPy arrays become one, and Python numbers one of floating point; others stay."""
    if isinstance(leaf, (numpy.ndarray, numpy.generic)):
        return jax.numpy.asarray(leaf)
    # With a dtype the type is not weak, so that the next update does not compile anew.
    return jax.numpy.asarray(leaf, dtype=jax.numpy.result_type(float)) if is_number(leaf) else leaf

"""Trees of arrays: nested containers of any kind, taken apart and put together by the library that knows them.

JAX's tree functions serve if and only if a leaf is a JAX array, tracer or ShapeDtypeStruct; optree serves otherwise.
"""

from __future__ import annotations

import copy
import functools
import re
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, Self

from .detect import backend_of

_LOCK = threading.Lock()
_NODES: set[type] = set()

ALONE = "parameter"
"""The name of an array that is no part of a tree."""


def register_node(kind: type, flatten: Callable[..., Any], unflatten: Callable[..., Any]) -> None:
    """Let JAX, if it is there, take objects of a class apart.

    Args:
        kind: the class. Asking again changes nothing.
        flatten: gives the parts of an object, and the rest, which is hashable.
        unflatten: puts an object together from the rest and the parts.
    """
    register = getattr(getattr(sys.modules.get("jax"), "tree_util", None), "register_pytree_node", None)
    if register is None or kind in _NODES:
        return
    with _LOCK:
        if kind not in _NODES:
            register(kind, flatten, unflatten)
            _NODES.add(kind)


def _path_name(path: Sequence[Any]) -> str:
    """A key path as text, such as "layer1/kernel"; a bare array has no path."""
    return "/".join(_key_name(key) for key in path) if path else ALONE


def _key_name(key: Any) -> str:
    for attribute in ("name", "key", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


class Tree:
    """A tree taken apart.

    A box, which holds one array and says more about it, as flax's do, is known by its methods. It belongs to the array:
    names do not count it, and what is a number for each array stands without it.

    Args:
        tree: any nesting of containers. None is an empty container.
    """

    __slots__ = ("_bare", "_definition", "leaves", "names")

    def __init__(self, tree: Any) -> None:
        # Here and not above: its extension refuses to be imported in a subinterpreter, where no tree may be needed.
        import optree

        jax = sys.modules.get("jax")
        paths, leaves, definition = optree.tree_flatten_with_path(tree)
        bare = definition
        if jax is not None and any(_may_be_jax(leaf, jax) for leaf in leaves):
            jax_paths, jax_leaves, *definitions = taken_apart_by_jax(tree)
            # A container without leaves that only JAX knows is one that JAX calls empty.
            if not jax_leaves or any(_is_jax(leaf, jax) for leaf in jax_leaves):
                paths, (definition, bare) = jax_paths, definitions
                leaves = [plain(leaf) for leaf in jax_leaves]
        self.names = [_path_name(path) for path in paths]
        self.leaves = leaves
        self._definition = definition
        self._bare = bare

    @classmethod
    def of(cls, tree: Any) -> Tree:
        """A tree taken apart, unless it is so already."""
        return tree if isinstance(tree, Tree) else cls(tree)

    def with_leaves(self, leaves: Sequence[Any]) -> Self:
        """A tree of this structure with other leaves, taken apart."""
        other = copy.copy(self)
        other.leaves = list(leaves)
        return other

    @property
    def definition(self) -> Any:
        """The structure, hashable and comparable."""
        return self._definition

    def build(self, leaves: Sequence[Any], bare: bool = False) -> Any:
        """A tree of this structure with other leaves; None leaves an empty place.

        Args:
            leaves: in the order of this tree's.
            bare: whether without boxes.
        """
        return (self._bare if bare else self._definition).unflatten(leaves)

    def match(self, tree: Any, what: str, bare: bool = False) -> list[Any]:
        """The parts of `tree` that stand where this tree has leaves.

        Args:
            tree: what `build` made, or alike.
            what: what errors call it.
            bare: whether it is without boxes.

        Raises:
            ValueError: if the structures differ.
        """
        return [plain(part) for part in parts_of(tree, self._bare if bare else self._definition, what)]


def taken_apart(tree: Any) -> tuple[list[Any], Any]:
    """The leaves of a tree and its structure, as a `Tree` has them that is not JAX's: at once, without their names."""
    import optree

    if backend_of(tree) is not None:
        return [tree], _leaf_alone()
    leaves, structure = optree.tree_flatten(tree)
    return leaves, structure


@functools.cache
def _leaf_alone() -> Any:
    import optree

    return optree.treespec_leaf()


def parts_of(tree: Any, definition: Any, what: str) -> list[Any]:
    """The parts of a tree that stand where a structure has leaves; see `Tree.match`."""
    try:
        return list(definition.flatten_up_to(tree))
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        # The libraries print whole subtrees, arrays included, after the words that say what differs.
        reason = re.split(r"; (?:dict|list|tuple|custom|namedtuple)|, got \(|\n", str(error))[0][:300].rstrip(".")
        missing = re.search(r"missing key\(s\): \[(.*?)\]", reason)
        if missing:
            reason = f"it lacks {missing[1]}, so give {what} with all keys of the parameters"
        elif what == "gradients" and type(tree) is tuple and len(tree) == 2:
            reason = "received a tuple of 2. Write `value, grads = jax.value_and_grad(loss)(params)`, and pass grads"
        raise ValueError(f"The tree of {what} does not have the structure of the parameters: {reason}.") from None


def taken_apart_by_jax(tree: Any) -> tuple[list[Any], list[Any], Any, Any]:
    """Key paths, leaves, the structure and the structure without boxes of a tree, as JAX has them."""
    util = sys.modules["jax"].tree_util
    with_paths, definition = util.tree_flatten_with_path(tree)
    paths, leaves = [path for path, _ in with_paths], [leaf for _, leaf in with_paths]
    # Only an attribute may be that of a box.
    if any(hasattr(path[-1], "name") for path in paths if path):
        boxes, bare = util.tree_flatten_with_path(tree, is_leaf=_is_box)
        if len(boxes) == len(leaves):
            return [path for path, _ in boxes], leaves, definition, bare
    return paths, leaves, definition, definition


def _is_box(node: Any) -> bool:
    return any(callable(getattr(node, method, None)) for method in ("replace_boxed", "get_metadata"))


def plain(leaf: Any) -> Any:
    """The array that stands behind a leaf which says that JAX may take it for one; other leaves as they are."""
    jax = sys.modules.get("jax")
    if jax is None or isinstance(leaf, jax.Array) or not hasattr(leaf, "__jax_array__"):
        return leaf
    return leaf.__jax_array__()


def _is_jax(leaf: Any, jax: Any) -> bool:
    return isinstance(leaf, (jax.Array, jax.ShapeDtypeStruct)) or hasattr(leaf, "__jax_array__")


def _may_be_jax(leaf: Any, jax: Any) -> bool:
    # A leaf that is not an array of anything may be a container that only JAX knows (a module of an equinox kind).
    return not hasattr(leaf, "dtype") or _is_jax(leaf, jax)

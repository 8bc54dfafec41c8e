"""Trees of arrays: nested containers of any kind, taken apart and put together by the library that knows them.

JAX's tree functions serve if and only if a leaf is a JAX array, tracer or ShapeDtypeStruct; optree serves otherwise.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import optree

_LOCK = threading.Lock()
_NODES: set[type] = set()


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
    """A key path as text, such as "layer1/kernel"; a bare array, which has no path, is called "parameter"."""
    return "/".join(_key_name(key) for key in path) if path else "parameter"


def _key_name(key: Any) -> str:
    for attribute in ("name", "key", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


class Tree:
    """A tree taken apart.

    Args:
        tree: any nesting of containers. None is an empty container.
    """

    __slots__ = ("_definition", "leaves", "names")

    def __init__(self, tree: Any) -> None:
        jax = sys.modules.get("jax")
        paths, leaves, definition = optree.tree_flatten_with_path(tree)
        if jax is not None and any(_may_be_jax(leaf, jax) for leaf in leaves):
            with_paths, jax_definition = jax.tree_util.tree_flatten_with_path(tree)
            jax_leaves = [leaf for _, leaf in with_paths]
            # A container without leaves that only JAX knows is one that JAX calls empty.
            if not jax_leaves or any(isinstance(leaf, (jax.Array, jax.ShapeDtypeStruct)) for leaf in jax_leaves):
                paths, leaves, definition = [path for path, _ in with_paths], jax_leaves, jax_definition
        self.names = [_path_name(path) for path in paths]
        self.leaves = leaves
        self._definition = definition

    @property
    def definition(self) -> Any:
        """The structure, hashable and comparable."""
        return self._definition

    def build(self, leaves: Sequence[Any]) -> Any:
        """A tree of this structure with other leaves; None leaves an empty place."""
        return self._definition.unflatten(leaves)

    def match(self, tree: Any, what: str) -> list[Any]:
        """The parts of `tree` that stand where this tree has leaves.

        Raises:
            ValueError: if the structures differ.
        """
        try:
            return list(self._definition.flatten_up_to(tree))
        except (ValueError, TypeError, KeyError, RuntimeError) as error:
            # The libraries print whole subtrees, arrays included, after the words that say what differs.
            reason = re.split(r"; (?:dict|list|tuple|custom|namedtuple)|, got \(|\n", str(error))[0][:300].rstrip(".")
            raise ValueError(f"The tree of {what} does not have the structure of the parameters: {reason}.") from None


def _may_be_jax(leaf: Any, jax: Any) -> bool:
    # A leaf that is not an array of anything may be a container that only JAX knows (a module of an equinox kind).
    return isinstance(leaf, (jax.Array, jax.ShapeDtypeStruct)) or not hasattr(leaf, "dtype")

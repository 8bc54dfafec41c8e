"""Parameters as users have them, for questions about them: trees, pairs with names, shapes alone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...backends import Tree, backend_of, describe, trials, value_of
from ...backends.detect import path_in_keras
from .mistaken import check_no_model
from .naming import named


def tree_of_parameters(params: Any) -> Tree:
    """Any parameters as a tree.

    Args:
        params: a tree of arrays or of what has a shape and a dtype; a list of these; or pairs of a name and one of
            these, such as `model.named_parameters()` gives.

    Raises:
        TypeError: if it is a model, or something in it has no shape and dtype.
        ValueError: if it is an iterator that has nothing left.
    """
    check_no_model(params, "parameters", question=True)
    if isinstance(params, Iterator) or _are_pairs(params):
        values, names = named(params, "parameters")
        # Of a plain dictionary trees have the names in another order.
        params = values if names is None else OrderedDict(zip(names, values, strict=True))
    elif isinstance(params, (list, tuple)):
        params = _by_path(params)
    tree = Tree.of(params)
    for name, leaf in zip(tree.names, tree.leaves, strict=True):
        if isinstance(leaf, type) or not (hasattr(leaf, "shape") and hasattr(leaf, "dtype")):
            shape = _shape_alone(params)
            if shape is not None:
                raise TypeError(
                    f"Received the shape {shape} in the place of a parameter, whose dtype counts, too. Give an array, "
                    f"such as `np.empty({shape}, np.float32)`, or another thing with `shape` and `dtype`."
                )
            raise TypeError(f"Parameter {name!r} has no shape and dtype, received {describe(leaf)}.")
    return tree


def _shape_alone(params: Any) -> tuple[int, ...] | None:
    """The first tuple or list of whole numbers in a tree, which is a shape; None if there is none."""
    if isinstance(params, (tuple, list)) and params and all(type(each) is int for each in params):
        return tuple(params)
    inside = params.values() if isinstance(params, Mapping) else params if isinstance(params, (tuple, list)) else ()
    return next((shape for each in inside if (shape := _shape_alone(each)) is not None), None)


def _by_path(params: Sequence[Any]) -> Any:
    """Keras's variables under their paths; anything else as it is."""
    paths = list(map(path_in_keras, params))
    if not paths or None in paths or len(set(paths)) < len(paths):
        return params
    return OrderedDict(zip(paths, params, strict=True))


def _are_pairs(params: Any) -> bool:
    pairs = isinstance(params, (list, tuple)) and bool(params) and not isinstance(params, Mapping)
    return pairs and all(type(each) is tuple and len(each) == 2 and isinstance(each[0], str) for each in params)


def of_shapes(tree: Tree) -> tuple[list[Any], list[tuple[int, ...]]]:
    """The arrays of a tree, with one that takes no memory where there is only a shape; and their shapes."""
    arrays = [_array_of(value_of(leaf)) for leaf in tree.leaves]
    return arrays, [tuple(array.shape) for array in arrays]


def _array_of(leaf: Any) -> Any:
    return trials.shape_alone(tuple(leaf.shape), leaf.dtype) if backend_of(leaf) is None else leaf

"""Inside of a user's own `torch.compile`: whole steps as single nodes of the graph that it makes.

Torch's compiler reads Python code; what an optimizer does to find its cells, to check its input and to keep its counts
is not worth reading. So a pure step is a function that the compiler runs on its symbolic tensors, which lays the
arithmetic of the step open to it. A step that changes arrays in place, and the host's numbers, is an operator that the
compiled code calls as it runs: it finds the step's numbers then, so neither a step nor a rate compiles anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

from ..dtypes import Array
from ..handles import object_of

# -------------------------------------------------------------------- pure steps


@torch._dynamo.allow_in_graph  # type: ignore[untyped-decorator]  # torch's
def _pure_step(handle: str, params: Any, grads: Any, state: Any, learning_rate: Any) -> list[Any]:
    trees = (_usual(tree) for tree in (params, grads, state, learning_rate))
    return pytree.tree_leaves(object_of(handle).step(*trees))


def pure_step(handle: str, params: Any, grads: Any, state: Any, learning_rate: Any) -> Any:
    """New parameters and state; traced by the compiler, and so in words that it knows."""
    _, structure = pytree.tree_flatten((params, state))
    if isinstance(learning_rate, (int, float)):
        # As a number it would be a constant of the graph, and every other one would compile it again; so it would if it
        # were made a tensor by another function than a sum.
        learning_rate = torch.zeros((), dtype=torch.float64) + learning_rate
    return pytree.tree_unflatten(_pure_step(handle, params, grads, state, learning_rate), structure)


def _usual(tree: Any) -> Any:
    """Python's own containers in place of those in which a graph keeps arguments."""
    if isinstance(tree, dict):
        return {key: _usual(value) for key, value in tree.items()}
    if isinstance(tree, tuple):
        return type(tree)(*map(_usual, tree)) if hasattr(tree, "_fields") else tuple(map(_usual, tree))
    return list(map(_usual, tree)) if isinstance(tree, list) else tree


# -------------------------------------------------------------------- steps in place


# The schema is given because older releases cannot read it from annotations that are put off.
@torch.library.custom_op(
    "gradwise::step",
    mutates_args=("arrays",),
    schema="(str handle, Tensor[] gradients, Tensor(a!)[] arrays, SymInt[] positions) -> ()",
)
def _step(
    handle: str, gradients: Sequence[torch.Tensor], arrays: Sequence[torch.Tensor], positions: Sequence[int]
) -> None:
    object_of(handle).step_on(gradients, arrays, positions)


@_step.register_fake
def _step_on_symbols(
    handle: str, gradients: Sequence[torch.Tensor], arrays: Sequence[torch.Tensor], positions: Sequence[int]
) -> None:
    """The operator makes no new tensor."""


def step_in_place(handle: str, gradients: list[Array], arrays: list[Array], positions: list[int]) -> None:
    """A step in place, traced by the compiler."""
    with torch.no_grad():
        _step(handle, gradients, arrays, positions)

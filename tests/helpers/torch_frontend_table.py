"""The classes of `gradwise.frontends.torch` with hyperparameters, and runs of them beside torch.optim.

Imports no framework before a function is called.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from rules import all_facts

PEERS = {facts.torch.name: facts.torch for facts in all_facts().values() if facts.torch is not None}
CASES = [(name, dict(arguments)) for name, peer in PEERS.items() for arguments in peer.cases]
NAMES = sorted(PEERS)
WITH_BETAS = [name for name, peer in PEERS.items() if {"beta_1", "beta_2"} <= set(peer.drawn)]
MOMENTUM = {name: {"momentum": 0.9} for name, peer in PEERS.items() if "momentum" in peer.drawn}
"""Without it, these may remember nothing."""
SHAPES = [(3, 4), (5,), (), (2, 1, 3)]


def called(case: tuple[str, dict[str, Any]]) -> str:
    """A test's id."""
    return "-".join([case[0], *case[1]])


each_case = pytest.mark.parametrize("case", CASES, ids=called)
each_class = pytest.mark.parametrize("name", NAMES)


def ours(name: str) -> Any:
    from gradwise.frontends import torch as optim

    return getattr(optim, name)


def theirs(name: str) -> Any:
    import torch

    return getattr(torch.optim, name)


def parameters(dtype: str = "float32", seed: int = 0) -> list[Any]:
    """Leaves of several shapes."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    kind = getattr(torch, dtype)
    return [
        torch.randn(shape, generator=generator, dtype=torch.complex128 if kind.is_complex else torch.float64)
        .to(kind)
        .requires_grad_()
        for shape in SHAPES
    ]


def twins(given: list[Any]) -> list[Any]:
    """Leaves with the same values."""
    return [parameter.detach().clone().requires_grad_() for parameter in given]


def gradients(given: list[Any], steps: int, seed: int = 1) -> Iterator[list[Any]]:
    """For each step new gradients; now and then one is missing."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        yield [
            None
            if (step + index) % 5 == 4
            else torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(parameter.dtype)
            if not parameter.is_complex()
            else torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            for index, parameter in enumerate(given)
        ]


def give(given: list[Any], grads: list[Any]) -> None:
    """Set `.grad`, to copies."""
    for parameter, gradient in zip(given, grads, strict=True):
        parameter.grad = None if gradient is None else gradient.clone()


def run(optimizer: Any, given: list[Any], steps: int, seed: int = 1) -> None:
    """Steps with gradients drawn from a seed."""
    for grads in gradients(given, steps, seed):
        give(given, grads)
        optimizer.step()


def distance(mine: Any, other: Any, before: Any) -> float:
    """Design 4.6, in eps of the dtype."""
    import torch

    mine, other, before = (torch.view_as_real(x) if x.is_complex() else x for x in (mine, other, before))
    scale = max(float(other.detach().abs().max()), float((other - before).detach().abs().max()))
    return float((mine - other).detach().abs().max()) / (torch.finfo(other.dtype).eps * scale)


def saved(optimizer: Any) -> dict[str, Any]:
    """A state dict that shares nothing."""
    return copy.deepcopy(optimizer.state_dict())

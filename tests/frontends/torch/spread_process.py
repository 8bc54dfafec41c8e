"""What `test_torch_spread.py` asks of four processes that hold tensors together: one JSON object, what each finds."""

from __future__ import annotations

import datetime
import json
import os
import sys
import tempfile
import warnings
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from helpers.selection import covering
from helpers.user_optimizers import Adafactor, Lamb
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard
from torch.distributed.tensor.debug import CommDebugMode
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from gradwise import optimizers
from gradwise.backends import ops
from gradwise.frontends import torch as gtorch
from gradwise.optimizers.registry import ALGORITHMS

PROCESSES = 4
PLACEMENTS = {
    "rows": [Replicate(), Shard(0)],
    "columns": [Shard(1), Replicate()],
    "rows of rows": [Shard(0), Shard(0)],
    "rows and columns": [Shard(0), Shard(1)],
    "copies": [Replicate(), Replicate()],
}


class Planned(optimizers.Optimizer):
    """A rule that needs norms of all gradients before the first update."""

    def build(self, variables: Any) -> None:
        super().build(variables)
        self.largest = self.add_scalar("largest", 0.0)

    def begin_step(self, gradients: Any, variables: Any, learning_rate: Any) -> None:
        norms = [ops.norm(gradient) for gradient in gradients]
        largest = norms[0]
        for norm in norms[1:]:
            largest = ops.maximum(largest, norm)
        self.assign(self.largest, largest)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        self.assign_sub(variable, gradient * (learning_rate / self.largest))


class Gathered(optimizers.Optimizer):
    """A rule that asks for what shards have no strategy for."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        self.assign_sub(variable, torch.unique(gradient) * learning_rate)


def gathered() -> Any:
    """Not tried out before its first step, in which it would be told that torch's functions are not everybody's."""
    rule: Any = Gathered(0.1)
    rule.update_step = rule.update_step
    return rule


class Forgetful(optimizers.Optimizer):
    """A rule with a mistake that is found before the first step, as everywhere."""

    def build(self, variables: Any) -> None:
        super().build(variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> Any:
        momentum = self.momentums[self.variable_index(variable)]
        self.assign(momentum, momentum * 0.9 + gradient / (ops.norm(gradient) + 1e-8))
        return variable - momentum * learning_rate


class Clipped(Forgetful):
    """The same, where gradients are clipped by a norm of them all."""

    def __init__(self, learning_rate: Any) -> None:
        super().__init__(learning_rate, global_clipnorm=1.0)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def laid_out(tensor: torch.Tensor, mesh: Any, placements: Any) -> DTensor:
    """A tensor that all processes have, spread: each keeps its part, and nothing is sent."""
    everywhere = DTensor.from_local(tensor.clone(), mesh, [Replicate()] * mesh.ndim, run_check=False)
    return everywhere.redistribute(mesh, placements)


def whole(tensor: Any) -> Any:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def far(spread: Any, plain: Any, start: Any) -> float:
    """The distance of design 4.6, of the worst tensor."""
    worst = 0.0
    for one, two, begin in zip(spread, plain, start, strict=True):
        unit = torch.finfo(two.dtype).eps * max(float(two.abs().max()), float((two - begin).abs().max()))
        worst = max(worst, float((whole(one.detach()) - two.detach()).abs().max()) / unit)
    return worst


def reductions(mesh: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    negative = -drawn(5, 3).abs() - 1
    with_nan = negative.clone()
    with_nan[4, 2] = torch.nan
    cases = {"uneven": drawn(5, 3), "one row": drawn(1, 3), "negative": negative, "nan": with_nan}
    for name, tensor in cases.items():
        for place, placements in PLACEMENTS.items():
            spread = laid_out(tensor, mesh, placements)
            values = [ops.sum_of_squares(spread), *(f(spread) for f in (ops.norm, ops.sum, ops.mean, ops.max))]
            found[f"{name}, {place}"] = [float(value) for value in values]
        found[f"{name}, expected"] = [
            float(f(tensor)) for f in (ops.sum_of_squares, ops.norm, ops.sum, ops.mean, ops.max)
        ]
    to_add = DTensor.from_local(drawn(5, 3), mesh, [Partial(), Replicate()])
    found["still to be added"] = [float(ops.norm(to_add)), float(ops.norm(drawn(5, 3) * 2))]
    return found


def parameters(mesh: Any, spread: bool, seed: int) -> list[Any]:
    """One for each placement, one that most processes hold nothing of, and a plain one."""
    made: list[Any] = []
    for number, placements in enumerate([*PLACEMENTS.values(), [Shard(0), Shard(0)]]):
        tensor = drawn(1 if number == len(PLACEMENTS) else 5, 3, seed=seed + number)
        made.append(laid_out(tensor, mesh, placements) if spread else tensor)
    return [*made, drawn(4, seed=seed + 99)]


def steps(mesh: Any, make: Any, count: int = 2) -> float:
    ends = []
    for spread in (True, False):
        own, optimizer = parameters(mesh, spread, seed=0), make()
        for step in range(count):
            optimizer.apply([g * 3.0 for g in parameters(mesh, spread, seed=1000 * (step + 1))], own)
        ends.append(own)
    return far(*ends, parameters(mesh, False, seed=0))


def ways(optimizer: Any) -> list[str]:
    return sorted({f"{group.way}: {group.reason}" for group in optimizer.execution_report()})


def exact(mesh: Any, make: Any) -> dict[str, Any]:
    """Three steps on tensors of all placements and on whole ones: how they were made, and what was counted."""
    ends, optimizers_used, counted = [], [], []
    for spread in (True, False):
        own, optimizer = parameters(mesh, spread, seed=0), make()
        for step in range(3):
            optimizer.apply(parameters(mesh, spread, seed=1000 * (step + 1)), own)
        ends.append(own)
        optimizers_used.append(optimizer)
        counted.append([tensor._version for tensor in own])
    return {
        "equal": all(bool((whole(one) == two).all()) for one, two in zip(*ends, strict=True)),
        "ways": [ways(optimizer) for optimizer in optimizers_used],
        "lanes": [optimizer.fusion.lane is not None for optimizer in optimizers_used],
        "counted": counted[0] == counted[1],
    }


def collectives(mesh: Any, make: Any) -> list[int]:
    """How many there are in a first step of ten tensors, and in later ones."""
    axis = mesh["data"]
    own = [laid_out(drawn(5, 3, seed=number), axis, [Shard(0)]) for number in range(10)]
    gradients = [laid_out(drawn(5, 3, seed=-1 - number), axis, [Shard(0)]) for number in range(10)]
    optimizer, counts = make(), []
    for _ in range(3):
        with CommDebugMode() as mode:
            optimizer.apply(gradients, own)
        counts.append(mode.get_total_counts())
    return counts


def tied(mesh: Any) -> dict[str, Any]:
    """Two parameters over the same memory, which one process alone has any of."""
    part = drawn(1, 3) if dist.get_rank() == 0 else torch.empty(0, 3)
    one, two = (DTensor.from_local(part, mesh, [Shard(0)] * 2, shape=(1, 3), stride=(3, 1)) for _ in range(2))
    gradient = laid_out(drawn(1, 3, seed=1), mesh, [Shard(0)] * 2)
    optimizer = Lamb(0.1)
    for _ in range(2):
        optimizer.apply([gradient, gradient], [one, two])
    plain, twice = drawn(1, 3), Lamb(0.1)
    for _ in range(2):
        twice.apply([drawn(1, 3, seed=1)], [plain])
    return {"moved": float((whole(one) - drawn(1, 3)).norm()), "once": float((plain - drawn(1, 3)).norm())}


def odd_memory(mesh: Any, make: Any) -> float:
    """Parts that lie in another way on one process than on the others, and gradients that are still under way."""
    rank = dist.get_rank()

    def laid(tensor: torch.Tensor, empty_as: tuple[int, ...] = (0, 3)) -> Any:
        spread = laid_out(tensor, mesh, [Shard(0), Shard(0)])
        part = spread.to_local()
        if rank == 1:
            part = part.t().contiguous().t()
        elif part.numel() == 0:
            part = part.reshape(empty_as)
        return DTensor.from_local(part, mesh, spread.placements, shape=tensor.shape, stride=tensor.stride())

    start = drawn(6, 3)
    spread, plain = [laid(start.clone()), laid(drawn(1, 3))], [start.clone(), drawn(1, 3)]
    ours, theirs = make(), make()
    for step in range(4):
        gradients = [drawn(6, 3, seed=step), drawn(1, 3, seed=step)]
        if step % 2:
            given = [
                DTensor.from_local(gradient / PROCESSES, mesh, [Partial(), Partial()]).redistribute(
                    mesh, [Shard(0), Shard(0)], async_op=True
                )
                for gradient in gradients
            ]
        else:
            given = [laid(gradient, empty_as=(0,)) for gradient in gradients]
        ours.apply(given, spread)
        theirs.apply(gradients, plain)
    return far(spread, plain, [start, drawn(1, 3)])


def functional(mesh: Any) -> float:
    ends = []
    for spread in (True, False):
        own, optimizer = parameters(mesh, spread, seed=0), optimizers.Adam(0.1, global_clipnorm=1.0)
        state = optimizer.init(own)
        for step in range(3):
            own, state = optimizer.step(own, parameters(mesh, spread, seed=1000 * (step + 1)), state)
        ends.append(own)
    return far(*ends, parameters(mesh, False, seed=0))


def tensor_parallel(mesh: Any) -> dict[str, float]:
    """An ordinary tensor-parallel network: columns, then rows, and a norm that is whole everywhere."""
    found = {}
    clipped = optimizers.Adam(0.01, convention="torch", global_clipnorm=0.1)
    layerwise = Lamb(0.01, global_clipnorm=0.1)
    for name, make in {
        "Adam": lambda given: gtorch.Adam(given, lr=0.01),
        "SGD": lambda given: gtorch.SGD(given, lr=0.01, momentum=0.9),
        "wrapped Adam, clipped": lambda given: gtorch.wrap(clipped, given),
        "wrapped Lamb, clipped": lambda given: gtorch.wrap(layerwise, given),
    }.items():
        models = []
        for _ in range(2):
            torch.manual_seed(0)
            models.append(torch.nn.Sequential(
                torch.nn.Linear(6, 10), torch.nn.ReLU(), torch.nn.Linear(10, 3), torch.nn.LayerNorm(3)
            ))  # fmt: skip
        start = [parameter.detach().clone() for parameter in models[1].parameters()]
        parallelize_module(models[0], mesh["tensor"], {"0": ColwiseParallel(), "2": RowwiseParallel()})
        own, plain = (list(model.parameters()) for model in models)
        ours, theirs = make(own), make(plain)
        for step in range(3):
            ours.zero_grad()
            (models[0](drawn(8, 6, seed=step)) ** 3).sum().backward()
            for one, two in zip(own, plain, strict=True):
                # What the network rounds in another order is none of an optimizer's.
                two.grad = whole(one.grad).detach().clone()
            ours.step()
            theirs.step()
        found[name] = far(own, plain, start)
    return found


def saved(mesh: Any) -> dict[str, Any]:
    """The state written by one optimizer and read by another, spread and not."""
    gradients = parameters(mesh, True, seed=1)
    one, two = parameters(mesh, True, seed=0), parameters(mesh, True, seed=0)
    first, second = optimizers.Adam(0.1), optimizers.Adam(0.1)
    first.apply(gradients, one)
    store: dict[str, Any] = {}
    first.save_own_variables(store)
    second.build(two)
    second.load_own_variables(store)
    placed = all(
        a.value.placements == b.value.placements
        for a, b in zip(first.variables, second.variables, strict=True)
        if isinstance(a.value, DTensor)
    )
    for to, from_ in zip(two, one, strict=True):
        to.copy_(from_)
    first.apply(gradients, one)
    second.apply(gradients, two)
    equal = all(bool((whole(a) == whole(b)).all()) for a, b in zip(one, two, strict=True))
    return {"equal": equal, "placed": placed, "shapes": [list(array.shape) for array in store.values()]}


def refusal(call: Any) -> str:
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def refusals(mesh: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    plain, square = drawn(4, 4), laid_out(drawn(4, 4), mesh, [Shard(0), Shard(0)])
    other = init_device_mesh("cpu", (PROCESSES,), mesh_dim_names=("all",))
    before = whole(square).clone()
    for name, gradient, parameter in (
        ("plain gradient", plain, square),
        ("spread gradient", square, plain.clone()),
        ("another mesh", laid_out(plain, other, [Shard(0)]), square),
    ):
        first = torch.zeros(2)
        found[name] = refusal(
            lambda g=gradient, p=parameter, f=first: optimizers.SGD(0.1).apply([torch.ones(2), g], [f, p])
        )
        found[f"{name} changed"] = bool(first.any() or (whole(square) != before).any())
    found["rule"] = refusal(lambda: gathered().apply([square], [square]))
    for kind in (Forgetful, Clipped):
        own = parameters(mesh, True, seed=0)
        found[kind.__name__] = refusal(lambda k=kind, o=own: k(0.1).apply(parameters(mesh, True, seed=1), o))
        found[f"{kind.__name__} changed"] = far(own, parameters(mesh, False, seed=0), parameters(mesh, False, seed=0))
    found["empty"] = refusal(lambda: ops.max(laid_out(torch.zeros(0, 3), mesh, [Shard(0), Shard(0)])))
    return found


class Eager(Lamb):
    """By whole arrays."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, jit_compile=False, **keywords)


MAKERS = {
    "clipped": lambda: optimizers.Adam(0.1, global_clipnorm=1.0),
    "apart": lambda: optimizers.SGD(0.1, clipnorm=1.0),
    "Lamb": lambda: Lamb(0.1),
    "clipped Lamb": lambda: Lamb(0.1, global_clipnorm=1.0),
    "eager Lamb": lambda: Eager(0.1),
    "Planned": lambda: Planned(0.1),
}


WRONG = ("shape", "dtype", "a plain tensor", "an array", "sparse", "missing", "all missing")


def spoilt(how: str, gradients: list[Any], mesh: Any) -> list[Any]:
    """Gradients of one process, of which the one at position 1 is not as it should be."""
    wrong = {
        "shape": lambda: laid_out_here(torch.zeros(3, 7), mesh),
        "dtype": lambda: laid_out_here(torch.zeros(5, 3, dtype=torch.complex64), mesh),
        "a plain tensor": lambda: torch.zeros(5, 3),
        "an array": lambda: np.zeros((5, 3), np.float32),
        "sparse": lambda: torch.zeros(5, 3).to_sparse(),
        "missing": lambda: None,
    }
    if how == "all missing":
        return [None] * len(gradients)
    return [wrong[how]() if position == 1 else gradient for position, gradient in enumerate(gradients)]


def laid_out_here(tensor: torch.Tensor, mesh: Any) -> DTensor:
    """As a DTensor, without a word to other processes."""
    return DTensor.from_local(tensor, mesh, [Replicate()] * mesh.ndim, run_check=False)


def disagreements(mesh: Any) -> dict[str, Any]:
    """What all processes say if one of them, rank 2, is given something else than the others, and what changed."""
    found: dict[str, Any] = {}
    for name, how, before in covering(list(MAKERS), WRONG, (0, 3)):
        own, optimizer = parameters(mesh, True, seed=0), MAKERS[name]()
        for step in range(before):
            optimizer.apply(parameters(mesh, True, seed=1000 * (step + 1)), own)
        start = [local(tensor).clone() for tensor in own]
        given = parameters(mesh, True, seed=7000)
        if dist.get_rank() == 2:
            given = spoilt(how, given, mesh)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            said = refusal(lambda o=optimizer, g=given, p=own: o.apply(g, p))
        same = all(torch.equal(local(now), then) for now, then in zip(own, start, strict=True))
        everybody: list[Any] = [None] * PROCESSES
        dist.all_gather_object(everybody, (said, same, int(optimizer.iterations) == before))
        # And all go on.
        optimizer.apply(parameters(mesh, True, seed=8000), own)
        found[f"{name}, {how}, after {before}"] = [*everybody, int(optimizer.iterations) == before + 1]
    return found


def local(tensor: Any) -> Any:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def other_placements(mesh: Any) -> dict[str, Any]:
    """Gradients that are placed in another way than their parameters, or still to be added."""
    plain, start = drawn(5, 3), drawn(5, 3)
    spread = laid_out(plain, mesh, [Shard(0), Shard(0)])
    gradients = [
        laid_out(drawn(5, 3, seed=1), mesh, [Shard(1), Replicate()]),
        DTensor.from_local(drawn(5, 3, seed=2), mesh, [Partial(), Replicate()]),
    ]
    ours, theirs = optimizers.Adam(0.1, global_clipnorm=1.0), optimizers.Adam(0.1, global_clipnorm=1.0)
    used = []
    for gradient in gradients:
        ours.apply([gradient], [spread])
        theirs.apply([whole(gradient)], [plain])
        used += ways(ours)
    return {"distance": far([spread], [plain], [start]), "ways": used}


def findings(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=PROCESSES,
        timeout=datetime.timedelta(seconds=60),
    )
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))
    options: Any = {"plain": {}, "clipped": {"global_clipnorm": 1.0}, "apart": {"clipnorm": 1.0}}
    found = {
        "reductions": reductions(mesh),
        "steps": {
            f"{kind.__name__}, {option}": steps(mesh, lambda kind=kind, given=given: kind(0.01, **given))
            for kind in (*ALGORITHMS, Lamb, Planned, Adafactor)
            for option, given in options.items()
            if option == "clipped" or kind in (optimizers.Adam, Lamb)
        },
        "exact": {kind.__name__: exact(mesh, lambda kind=kind: kind(0.01)) for kind in (*ALGORITHMS, Lamb, Planned)},
        "odd memory": {
            "Adam": odd_memory(mesh, lambda: optimizers.Adam(0.01)),
            "Lamb": odd_memory(mesh, lambda: Lamb(0.01)),
            "clipped Lamb": odd_memory(mesh, lambda: Lamb(0.01, global_clipnorm=1.0)),
            "Planned": odd_memory(mesh, lambda: Planned(0.01)),
        },
        "collectives": {
            "Adam": collectives(mesh, lambda: optimizers.Adam(0.01)),
            "clipped": collectives(mesh, lambda: optimizers.Adam(0.01, global_clipnorm=1.0)),
            "apart": collectives(mesh, lambda: optimizers.Adam(0.01, clipnorm=1.0)),
            "Lamb": collectives(mesh, lambda: Lamb(0.01)),
            "apart Lamb": collectives(mesh, lambda: Lamb(0.01, clipnorm=1.0)),
            "Planned": collectives(mesh, lambda: Planned(0.01)),
        },
        "tied": tied(mesh),
        "functional": functional(mesh),
        "tensor parallel": tensor_parallel(mesh),
        "saved": saved(mesh),
        "refusals": refusals(mesh),
        "other placements": other_placements(mesh),
        "disagreements": disagreements(mesh),
    }
    with open(os.path.join(folder, f"{rank}.json"), "w") as file:
        json.dump(found, file)
    dist.destroy_process_group()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        mp.start_processes(findings, (folder,), nprocs=PROCESSES, start_method="fork")
        every = []
        for rank in range(PROCESSES):
            with open(os.path.join(folder, f"{rank}.json")) as file:
                every.append(json.load(file))
    json.dump(every, sys.stdout)

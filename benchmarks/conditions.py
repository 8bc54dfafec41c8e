"""The conditions that steps are measured in. One entry of a table is one condition, and all that a new one needs."""

from __future__ import annotations

import functools
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from settings import Algorithm

if TYPE_CHECKING:
    from contestant import Contestant

FUSED, FOREACH, LOOP = "torch-fused", "torch-foreach", "torch-loop"
TORCH = (FUSED, FOREACH, LOOP)
"""What torch.optim has, the fastest first; the first that can run is the reference."""
BOTH = ("numpy", "torch-frontend", *TORCH)
FRONT_END = ("torch-frontend", *TORCH)
_WARM = 2
"""Steps before an event, so that the one after it is slow by the event alone."""


@dataclass(frozen=True)
class Event:
    """What makes the step after it a first step, as users cause it.

    Attributes:
        title: what the tables call the step after it.
        happen: it, timed together with that step.
        prepare: what must be so before, not timed. By default an optimizer that has made some steps.
        share: of the tensors, those that are new to the optimizer.
        limit: microseconds for each of these tensors that gradwise may take beyond the reference.
        limit_in_all: seconds for the event and the step, instead.
    """

    title: str
    happen: Callable[[Contestant], None]
    prepare: Callable[[Contestant], None] = lambda contestant: _begin(contestant)
    share: float = 1.0
    limit: float = 15.0
    limit_in_all: float | None = None

    def tensors(self, count: int) -> int:
        """How many are new, of so many."""
        return _part(self.share, count)


@dataclass(frozen=True)
class Condition:
    """What users do beside calling `step`.

    Attributes:
        title: what the tables call it.
        models, algorithms, contenders: what is measured where nothing else is asked for.
        for_all: contenders that are not in its list can be in it too.
        without: whether a contender that has an algorithm lacks it in this condition.
        parameter: for "numpy" and "torch", what a parameter is made of a plain array.
        gradient: the same for its gradient, which is given the parameter too; by default as `parameter` says.
        renewed: a gradient like another, for the next step.
        groups: the parameters of each group of each optimizer.
        options: of an algorithm, instead of those in `settings`.
        clipnorm: gradients are clipped by this global norm in every step.
        before: what happens before each step, which has a number; not timed.
        event: what makes first steps, measured beside the repeated ones.
        limits: of a step's time over a reference's.
        reference: a contender, if it is none of torch's.
        bytes_differ: slots are larger than the peers', so that the time is also compared with what bytes predict.
        needs: the package that a contender cannot do without here.
        processes: how many hold the parameters together.
        fresh: first steps in fresh processes are measured, with and without compiled code on disk, and nothing else.
        memory: the peak of memory is measured.
    """

    title: str
    models: tuple[str, ...] = ("resnet50",)
    algorithms: tuple[str, ...] = ("adam",)
    contenders: tuple[str, ...] = BOTH
    for_all: bool = False
    without: Callable[[str, Algorithm], bool] = lambda name, algorithm: False
    parameter: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    gradient: Mapping[str, Callable[[Any, Any], Any]] = field(default_factory=dict)
    renewed: Callable[[Any], Any] | None = None
    groups: Callable[[list[Any]], list[list[list[Any]]]] = lambda parameters: [[parameters]]
    options: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    clipnorm: float | None = None
    before: Callable[[Contestant, int], None] | None = None
    event: Event | None = None
    limits: Mapping[str, float] = field(default_factory=lambda: {FUSED: 1.05, FOREACH: 0.35, LOOP: 1.05})
    reference: str | None = None
    bytes_differ: bool = False
    needs: Mapping[str, str] = field(default_factory=dict)
    processes: int = 1
    fresh: bool = False
    memory: bool = False

    def algorithm(self, row: Algorithm) -> Algorithm:
        """The algorithm as it is here."""
        return replace(row, options=self.options[row.name]) if row.name in self.options else row

    def make_parameter(self, library: str, array: Any) -> Any:
        return self.parameter[library](array) if library in self.parameter else array

    def make_gradient(self, library: str, array: Any, parameter: Any) -> Any:
        if library in self.gradient:
            return self.gradient[library](array, parameter)
        return self.make_parameter(library, array)


def _part(share: float, count: int) -> int:
    return max(round(share * count), 1)


# ---------------------------------------------------------------- memory


def _channels_last(tensor: Any) -> Any:
    import torch

    return tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def _fortran(array: Any) -> Any:
    import numpy

    return numpy.asfortranarray(array)


def _bfloat16_array(array: Any) -> Any:
    import ml_dtypes

    return array.astype(ml_dtypes.bfloat16)


def _bfloat16_tensor(tensor: Any) -> Any:
    import torch

    return tensor.to(torch.bfloat16)


def _memory_mapped(array: Any) -> Any:
    import numpy

    # A file without a name, which ends with the array.
    with tempfile.TemporaryFile() as file:
        mapped = numpy.memmap(file, array.dtype, "w+", shape=array.shape)
    mapped[...] = array
    return mapped


# ---------------------------------------------------------------- gradients

_ROWS = 256
"""Of a table, those that a batch looks up."""


def _rows(table: Any, seed: int = 0) -> Any:
    """A table's gradient: some of its rows, some of them twice, as an embedding leaves it."""
    import torch

    torch.sparse.check_sparse_tensor_invariants.disable()  # said aloud, because torch warns of silence
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(0, len(table), (min(_ROWS, len(table)),), generator=generator)
    return torch.sparse_coo_tensor(rows[None], table[rows], table.shape)


def _other_rows(gradient: Any) -> Any:
    """The next batch's."""
    import torch

    rows = (gradient._indices() + 7919) % len(gradient)
    return torch.sparse_coo_tensor(rows, gradient._values().clone(), gradient.shape)


def _by_turns(contestant: Contestant, step: int) -> None:
    """Every second parameter has a gradient, then the others: experts, or several tasks."""
    for place, (parameter, gradient) in enumerate(zip(contestant.parameters, contestant.gradients, strict=True)):
        parameter.grad = gradient if (place + step) % 2 else None


# ---------------------------------------------------------------- hyperparameters

_CYCLE = 1_000


def _one_cycle(contestant: Contestant, step: int) -> None:
    """What OneCycleLR does: the rate goes up and down, the momentum (or first beta) down and up."""
    phase = (1 - math.cos(2 * math.pi * step / _CYCLE)) / 2
    contestant.change(rate=1e-5 + 1e-3 * phase, momentum=0.95 - 0.1 * phase)


# ---------------------------------------------------------------- first steps

_TENTH = 0.1


def _begin(contestant: Contestant) -> None:
    contestant.prepare()
    contestant.turn(_WARM)


def _begin_without_gradients(contestant: Contestant) -> None:
    late = contestant.parameters[-_part(_TENTH, len(contestant.parameters)) :]
    held = [parameter.grad for parameter in late]
    for parameter in late:
        parameter.grad = None
    _begin(contestant)
    for parameter, gradient in zip(late, held, strict=True):
        parameter.grad = gradient


def _without_late_gradients(name: str, algorithm: Algorithm) -> bool:
    # torch's fused SGD fails where some parameters have a momentum and others none yet.
    return name == FUSED and algorithm.name == "SGD"


def _begin_without_parameters(contestant: Contestant) -> None:
    contestant.begin(contestant.parameters[: -_part(_TENTH, len(contestant.parameters))])
    contestant.turn(_WARM)


def _add_the_others(contestant: Contestant) -> None:
    others = contestant.parameters[-_part(_TENTH, len(contestant.parameters)) :]
    contestant.optimizer.add_param_group({"params": others})


def _save_and_load(contestant: Contestant) -> None:
    contestant.optimizer.load_state_dict(contestant.optimizer.state_dict())


# ---------------------------------------------------------------- several processes


@functools.cache
def _mesh() -> Any:
    import torch.distributed
    from torch.distributed.device_mesh import init_device_mesh

    return init_device_mesh("cpu", (torch.distributed.get_world_size(),))


def _sharded(tensor: Any) -> Any:
    import torch
    from torch.distributed.fsdp import fully_shard

    module = torch.nn.Module()
    module.weight = torch.nn.Parameter(tensor)
    fully_shard(module, mesh=_mesh())
    return module.weight


def _sharded_alike(tensor: Any, parameter: Any) -> Any:
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor, parameter.device_mesh, parameter.placements)


def _without_shards(name: str, algorithm: Algorithm) -> bool:
    # torch has no rule for how these functions act on shards.
    return name == FUSED and algorithm.name in ("SGD", "Adagrad")


_SHARDED: dict[str, Any] = {
    "models": ("narrow",),
    "contenders": FRONT_END,
    "parameter": {"torch": _sharded},
    "gradient": {"torch": _sharded_alike},
    "without": _without_shards,
    "processes": 2,
}
_THOUSAND: dict[str, Any] = {"models": ("thousand",), "contenders": FRONT_END}

# ---------------------------------------------------------------- all

CONDITIONS = {
    "constant": Condition(
        "constant", models=("tiny", "resnet50"), algorithms=("adam", "sgd", "rmsprop"), for_all=True,
    ),
    "one-cycle": Condition(
        "rate and momentum change in every step",
        models=("tiny", "resnet50"), algorithms=("adam", "sgd"), before=_one_cycle,
    ),
    "clipped": Condition("gradients clipped by their global norm", models=("tiny", "resnet50"), clipnorm=1.0),
    "channels-last": Condition(
        "channels_last; on NumPy, Fortran's order",
        algorithms=("adam", "sgd"), parameter={"torch": _channels_last, "numpy": _fortran}, memory=True,
    ),
    "bfloat16": Condition(
        "bfloat16, gradwise's slots in float32",
        algorithms=("adam", "sgd"), parameter={"torch": _bfloat16_tensor, "numpy": _bfloat16_array},
        needs={"numpy": "ml_dtypes"}, bytes_differ=True, memory=True,
    ),
    "memory-map": Condition(
        "parameters in a memory-mapped file", contenders=("numpy", FUSED), parameter={"numpy": _memory_mapped},
        gradient={"numpy": lambda array, parameter: array},
    ),
    "scalar-gradient": Condition(
        "one gradient is a NumPy scalar", models=("scalar",), contenders=("numpy", FUSED),
        gradient={"numpy": lambda array, parameter: array[()] if array.ndim == 0 else array},
    ),
    "many-tensors": Condition(
        "10,000 tensors of 100 numbers",
        models=("many",), algorithms=("adam", "sgd"), limits={FUSED: 0.6, FOREACH: 0.35},
        event=Event("a new optimizer's first step", lambda contestant: contestant.prepare(), limit_in_all=1.0),
    ),
    "many-groups": Condition(
        "each parameter in a group of its own",
        models=("groups",), contenders=FRONT_END, limits={FUSED: 1.2, FOREACH: 0.4},
        groups=lambda parameters: [[[parameter] for parameter in parameters]],
    ),
    "many-optimizers": Condition(
        "an optimizer for each parameter",
        models=("groups",), contenders=FRONT_END, limits={FUSED: 1.2, FOREACH: 0.4},
        groups=lambda parameters: [[[parameter]] for parameter in parameters],
    ),
    "alternating": Condition(
        "every parameter has a gradient in every second step",
        models=("groups",), contenders=FRONT_END, before=_by_turns,
    ),
    "new-optimizer": Condition(
        "an optimizer is made anew", **_THOUSAND,
        event=Event("first step of a new optimizer", lambda contestant: contestant.prepare()),
    ),
    "late-gradients": Condition(
        "a tenth of the parameters has its first gradient late", **_THOUSAND, without=_without_late_gradients,
        event=Event("step with late gradients", lambda contestant: None, _begin_without_gradients, _TENTH),
    ),
    "new-parameters": Condition(
        "a tenth of the parameters is added later", **_THOUSAND,
        event=Event("step with new parameters", _add_the_others, _begin_without_parameters, _TENTH),
    ),
    "checkpoint": Condition(
        "the state is saved and loaded", **_THOUSAND,
        event=Event("state_dict, load_state_dict and step", _save_and_load),
    ),
    "sparse": Condition(
        "an embedding's sparse gradient",
        models=("embedding",), algorithms=("sgd", "adagrad"),
        contenders=("torch-frontend", FOREACH, LOOP, "torch-sparse-adam"),
        gradient={"torch": lambda array, parameter: _rows(array)},
        renewed=_other_rows, options={"SGD": {}}, limits={FOREACH: 1.2, LOOP: 1.2},
        without=lambda name, algorithm: algorithm.name not in ("SGD", "Adagrad"),
    ),
    "functional": Condition(
        "pure steps, into new arrays",
        models=("tiny", "resnet50"), contenders=("numpy-functional", "torch-functional", FUSED), limits={},
    ),
    "minimize": Condition(
        "scipy.optimize.minimize",
        models=("vector",), contenders=("scipy", "scipy-loop"), reference="scipy-loop", limits={"scipy-loop": 1.5},
    ),
    "fsdp2": Condition("FSDP2, two processes", algorithms=("adam", "sgd"), **_SHARDED),
    "fsdp2-clipped": Condition("FSDP2, two processes, clipped by the global norm", clipnorm=1.0, **_SHARDED),
    "cache": Condition(
        "fresh processes, without and with compiled code on disk",
        models=("tiny",), contenders=("numpy", "torch-frontend", FUSED), fresh=True,
    ),
}  # fmt: skip
CONSTANT = CONDITIONS["constant"]
"""Numbers that stay, gradients for all parameters, plain memory: what is measured where no condition is named."""

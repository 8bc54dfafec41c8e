"""A torch.optim.Optimizer whose steps are those of core optimizers."""

from __future__ import annotations

import contextlib
import copy
import inspect
import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch._compile import _disable_dynamo

from ...backends import leaves_scopes
from ...backends.arguments import bound, call_methods, copied_as
from ...backends.kernels.compiler import numba_is_installed
from ...backends.pages import Paged, show_as_page, summaries, with_arguments
from ...backends.scope import Mode
from ...optimizers.core.declaring import declaring
from ...optimizers.core.fused.joint import lanes_of
from ...optimizers.core.fused.lane import Lane
from ...optimizers.core.memory import MemoryReport, MemoryRow
from ...optimizers.core.origin import is_of_library
from ...optimizers.core.prepared import Beside, Prepared, make
from ...optimizers.core.synonyms import SYNONYMS
from ..pairing import same
from .asking import asks_for_state
from .engine import Engine
from .groups import Groups
from .keys import KeysInGroups, check_keys
from .linking import all_trainable, real_view, trainable
from .loading import fit_numbers, loaded_state
from .mistaken import check_closure, check_group, check_state_dict, checked_parameters, elsewhere
from .on_tensors import Inputs
from .repeat import Ready, Repeat
from .table import FLAGS, TorchRow
from .watching import unless_watched

_HOOKS = (
    "_optimizer_step_pre_hooks", "_optimizer_step_post_hooks", "_optimizer_state_dict_pre_hooks",
    "_optimizer_state_dict_post_hooks", "_optimizer_load_state_dict_pre_hooks",
    "_optimizer_load_state_dict_post_hooks",
)  # fmt: skip
"""Where torch keeps the hooks of an instance."""


_CAPTURE_CHECK = "_accelerator_graph_capture_health_check"
if not hasattr(torch.optim.Optimizer, _CAPTURE_CHECK):
    # Older releases know CUDA only.
    _CAPTURE_CHECK = "_cuda_graph_capture_health_check"

_NoneType = type(None)

# A name, because torch.compile warns of functions that are cached.
_WITH_NUMBA = numba_is_installed()
# torch.compile of releases that lack this compiles what a step calls in dozens of pieces, or fails while it reads it.
_CAN_BE_FOLLOWED = hasattr(torch.compiler, "nested_compile_region")


def runs_compiled(groups: Sequence[dict[str, Any]]) -> bool:
    """Whether the steps of these groups are passes over memory that gradwise itself compiles."""
    return _WITH_NUMBA and all(p.device.type == "cpu" for group in groups for p in group["params"])


class TorchAdapter(KeysInGroups, torch.optim.Optimizer, metaclass=Paged):
    """Runs core optimizers, one for each parameter group, on the tensors in `state`. The base of all classes here.

    `p.grad` is never written. Slots of float16 and bfloat16 parameters are float32. Group keys are read in every step,
    and checked when they have changed. Until the next step, what is taken out of `param_groups` by hand is kept;
    what is taken out of `state`, until the next step of its group.

    Args:
        *arguments, **keywords: the parameters, as in torch.optim, and those of the class's row.

    Raises:
        TypeError, ValueError: as torch.optim does.
        RuntimeError: if `fused` is combined with `foreach` or `differentiable`.
    """

    row: ClassVar[TorchRow]

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "__init__" in vars(cls):
            cls.__init__ = declaring(cls.__init__)  # type: ignore[method-assign]  # of the class itself
        if "row" in vars(cls):
            TorchRow.every_slot.update(cls.row.slots)
            cls.row.called = cls.__name__
            if "step" not in vars(cls):
                # As torch's classes have it each, which torch replaces, each, by one with hooks.
                cls.step = copied_as(TorchAdapter.step, cls.__name__, __package__)  # type: ignore[method-assign]
        show_as_page(cls, _with_flags if "row" in vars(cls) else _with_methods, formulas=is_of_library(cls))
        # Read by inspect.signature; a user's subclass with arguments of its own has its own.
        if "__init__" in vars(cls):
            own = list(inspect.signature(cls.__init__).parameters.values())[1:]
            cls.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]
        elif "row" in vars(cls):
            cls.__signature__ = cls.row.signature()  # type: ignore[attr-defined]

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        row = self.row
        remedies = elsewhere(row.called, row.core, row.fixed)
        given = bound(type(self).__name__, row.signature(), arguments, keywords, SYNONYMS, remedies).arguments
        params = given.pop("params")
        self._start(params, {**self.row.defaults, **given})

    def _start(self, params: Any, defaults: dict[str, Any]) -> None:
        row = self.row
        row.check(defaults)
        # The core knows which values do not go together.
        row.make(row.attributes(defaults))
        _check_flags(defaults, row)
        self._begin(params, defaults)

    def _begin(self, params: Any, defaults: dict[str, Any]) -> None:
        super().__init__(self._checked_parameters(params), defaults)

    @property
    def _called(self) -> str:
        """What errors about groups call it."""
        return type(self).__name__

    def _checked_parameters(self, params: Any) -> Any:
        """What the constructor was given as parameters. See `checked_parameters`."""
        return checked_parameters(params, self._called)

    def _row_of(self, group: Mapping[str, Any]) -> TorchRow:
        """How a group's values and its state are called."""
        return self.row

    @property
    def _rows(self) -> list[TorchRow]:
        return list(map(self._row_of, self.param_groups))

    def _parts(self) -> list[Groups]:
        """The groups that each core optimizer updates: each has one of its own."""
        counts = [len(group["params"]) for group in self.param_groups]
        return list(map(self._part, range(len(counts)), itertools.accumulate(counts, initial=0)))

    def _part(self, index: int, first: int) -> Groups:
        """A group alone. See `Groups`."""
        group = self.param_groups[index]
        return Groups([group], index, [self._row_of(group)], first)

    def _check_chosen(self) -> None:
        """Raise ValueError if a parameter was chosen that is in none of the groups. Here none can be chosen."""

    # ---------------------------------------------------------------- groups

    @_disable_dynamo
    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group; its own hyperparameters are checked like those of the constructor.

        A rate, or other value, that is a tensor and comes from the defaults is shared in torch by all groups, which a
        scheduler then changes together; here groups after the first get a copy.

        Args:
            param_group: "params" and the hyperparameters that differ from the defaults.

        Raises:
            TypeError, ValueError: as torch.optim does; there is no further group then.
        """
        before = len(self.param_groups)
        try:
            self._add(param_group)
        except BaseException:
            del self.param_groups[before:]
            raise

    def _add(self, param_group: dict[str, Any]) -> None:
        """`add_param_group`, which takes groups away again if it fails."""
        check_group(param_group, self._called)
        if isinstance(param_group, dict):
            row = self._row_of(param_group)
            check_keys(param_group, row.defaults, row.called)
            row.check({key: value for key, value in param_group.items() if key != "params"})
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        if len(self.param_groups) > 1:
            for key, default in self.defaults.items():
                if isinstance(default, torch.Tensor) and group[key] is default:
                    group[key] = default.clone()
        self._remember_values(len(self.param_groups) - 1)
        if self._row_of(group).eager:
            places = [place for place, parameter in enumerate(group["params"]) if trainable(parameter)]
            others = self.param_groups[:-1]
            part = self._part(len(others), sum([len(other["params"]) for other in others]))
            self._new_engine(part, places)

    # ---------------------------------------------------------------- steps

    @staticmethod
    def profile_hook_step(func: Callable[..., Any]) -> Callable[..., Any]:
        """What torch puts in the place of a class's `step`: the step with what profilers and hooks need around it.

        Args:
            func: the step.
        """
        return unless_watched(func, torch.optim.Optimizer.profile_hook_step(func))

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step for all parameters that have a gradient.

        Args:
            closure: computes the loss and the gradients; called once, before the step. None.

        Returns:
            What the closure returned.

        Raises:
            KeyError: if the state of a parameter lacks a piece.
            RuntimeError: if a gradient is sparse, where the class takes none.
            TypeError, ValueError: if a gradient does not fit its parameter, or a hyperparameter is not allowed.
        """
        loss = None
        if closure is not None:
            check_closure(closure, type(self).__name__)
            with torch.enable_grad():
                loss = closure()
        if not torch.compiler.is_compiling():
            self._update()
        elif runs_compiled(self.param_groups) or not _CAN_BE_FOLLOWED:
            self._update_outside()
        else:
            for engine, inputs in self._compiled_inputs():
                with torch.set_grad_enabled(bool(self.defaults.get("differentiable"))):
                    engine.run(inputs)
        return loss

    @_disable_dynamo
    def _update_outside(self) -> None:
        """The update where `torch.compile` need not follow."""
        self._update()

    @_disable_dynamo
    def _compiled_inputs(self) -> list[tuple[Engine, Inputs]]:
        """All that a step reads, looked up outside of what is compiled."""
        return [
            (engine, engine.inputs(gradients, present, compiling=True))
            for _, engine, gradients, present in self._ready_groups()
        ]

    def _gradients(self) -> list[tuple[Groups, list[torch.Tensor], Sequence[int]]]:
        """Of the groups of each core that have gradients these, and their positions. What was removed is forgotten."""
        found = []
        if "capturable" in self.defaults:
            for group in self.param_groups:
                if group["params"] and group["params"][0].is_cuda:
                    getattr(self, _CAPTURE_CHECK)()
                    break
        parts = self._parts()
        self._forget_removed(parts)
        for groups in parts:
            gradients: list[Any] = [parameter.grad for parameter in groups.parameters]
            present: Sequence[int] = range(len(gradients))
            if _NoneType in set(map(type, gradients)):
                present = [place for place in present if gradients[place] is not None]
                gradients = [gradients[place] for place in present]
            if present:
                found.append((groups, gradients, present))
        return found

    def _forget_removed(self, parts: Sequence[Groups]) -> None:
        """Let go of what belongs to groups and parameters that are no more, which may be most of a device's memory."""
        engines: dict[int, Engine] = self.__dict__.get("_engines", {})
        known = {groups.index: groups for groups in parts}
        gone = [index for index, engine in engines.items() if index not in known or not engine.is_of(known[index])]
        for index in gone:
            del engines[index]
        self._follow_groups()
        if gone:
            self._forget_short_ways()

    def _follow_groups(self) -> None:
        """Have the values with which groups were used where these stand now: those before them may be taken out."""
        used = self.__dict__.get("_used_with", {})
        for index, (group, _) in used.items():
            if index >= len(self.param_groups) or self.param_groups[index] is not group:
                known = {id(group): (group, values) for group, values in used.values()}
                now = {index: known.get(id(group)) for index, group in enumerate(self.param_groups)}
                self._used_with = {index: each for index, each in now.items() if each is not None}
                break

    def _forget_short_ways(self) -> None:
        for name in ("_repeat", "_tried"):
            self.__dict__.pop(name, None)

    @leaves_scopes
    def _update(self) -> None:
        repeat: Repeat | None = self.__dict__.get("_repeat")
        if repeat is not None:
            if not repeat.fits(self.param_groups, self.state):
                self.__dict__.pop("_repeat", None)
            elif repeat.step(self.param_groups):
                return
        # Parameters whose state is made in this step.
        self._begun_now: list[tuple[int, torch.Tensor]] = []
        try:
            ready, before, steps = self._prepared_groups()
        except BaseException:
            # Some rules take what is there, zeros included, for that of a step which was made.
            for index, parameter in self._begun_now:
                self.state.pop(parameter, None)
                self.__dict__.get("_engines", {}).pop(index, None)
            self.__dict__.pop("_entries", None)
            raise
        finally:
            del self._begun_now
        with self._mode():
            make([step for step, _ in steps], [beside for _, beside in steps])
        self._get_ready(ready, before)

    def _mode(self) -> Mode:
        """The mode of autograd in a step."""
        return Mode(torch.is_grad_enabled, torch.set_grad_enabled, bool(self.defaults.get("differentiable")))

    def _prepared_groups(self) -> tuple[list[Ready], list[Lane | None], list[tuple[Prepared, Beside]]]:
        """The groups of a step, their short ways, and their steps, but for what these write."""
        ready = self._ready_groups()
        plain = all([engine.is_plain(groups, present) for groups, engine, _, present in ready])
        before = lanes_of([engine.rule for _, engine, _, _ in ready]) if plain else []
        # What schedules give, which are the user's code: the last that runs before memory is looked at.
        rates = [engine.rate_now(groups) for groups, engine, _, _ in ready]
        with self._mode():
            # All that may fail has been done for all groups before the first is written to.
            prepared = [self._prepared(*each, rate) for each, rate in zip(ready, rates, strict=True)]
        return ready, before, [each for each in prepared if each is not None]

    def _get_ready(self, ready: Sequence[Ready], before: Sequence[Lane | None]) -> None:
        """After a step get ready for more like it, if the short ways of the groups have lasted for it.

        Args:
            ready: the groups that made the step.
            before: these ways as they were before it; none if something else than a plain step was made.
        """
        repeat: Repeat | None = self.__dict__.get("_repeat")
        if repeat is not None and repeat.lasts():
            return
        self.__dict__.pop("_repeat", None)
        lanes = lanes_of([engine.rule for _, engine, _, _ in ready]) if before else []
        tried = self.__dict__.get("_tried")
        if not lanes or None in lanes or not same(lanes, before) or (tried is not None and same(lanes, tried)):
            return
        self._tried: list[Lane | None] = lanes
        with contextlib.suppress(LookupError):
            self._repeat: Repeat = Repeat(self.param_groups, self.state, ready)

    def _ready_groups(self) -> list[Ready]:
        """For each group with gradients its index, its engine, the gradients, and their positions.

        All groups are looked at before the first makes its step. There is none if torch only asks for the state.
        """
        repeat: Repeat | None = self.__dict__.get("_repeat")
        if repeat is not None:
            repeat.sure = False
        self._tell_of_keys(lambda group: self._row_of(group).defaults)
        if not self.state and asks_for_state(self.param_groups):
            for groups, _, present in self._gradients():
                # The rate of 0 is not the user's: it ends no schedule.
                rated = [{**group, "lr": self._first_rate(group)} for group in groups.groups]
                self._new_engine(groups.holding(rated), present)
            return []
        # Neither copies nor pickles have engines, and groups may be added or replaced.
        engines: dict[int, Engine] = self.__dict__.setdefault("_engines", {})
        if not engines:
            self._check_chosen()
        ready = []
        entries = self._known_entries()
        for groups, gradients, present in self._gradients():
            engine = engines.get(groups.index)
            if engine is None or not engine.holds(groups, self.state, present, entries):
                if any([gradient.is_sparse for gradient in gradients]):
                    self._check_sparse(groups)
                engine = self._adapted(groups, present, entries) or self._new_engine(groups, present)
            ready.append((groups, engine, gradients, present))
        return ready

    def _first_rate(self, group: Mapping[str, Any]) -> Any:
        """The rate that a group had in the beginning."""
        return self.defaults["lr"]

    def _known_entries(self) -> object:
        """Something that stands for the dictionaries in the state: that of the last step if they are the same."""
        # Looked at once, and not by each group: there may be hundreds. It keeps none of them, as engines keep it.
        entries = self.state.values()
        known, token = self.__dict__.get("_entries", ([], None))
        if token is None or len(entries) != len(known) or not all(map(operator.is_, entries, known)):
            token = object()
            self._entries = list(entries), token
        return token

    def _prepared(
        self, groups: Groups, engine: Engine, gradients: list[torch.Tensor], present: Sequence[int], rate: Any
    ) -> tuple[Prepared, Beside] | None:
        """The step of a core, but for what it writes."""
        try:
            return engine.prepared(gradients, present, groups, rate)
        except (TypeError, ValueError):
            # So nobody else pays for a look at every tensor in every step.
            sparse = any(gradient.is_sparse for gradient in gradients)
            if not sparse and engine.fits():
                raise
            if sparse:
                self._check_sparse(groups)
            return self._new_engine(groups, present).prepared(gradients, present, groups, rate)

    def _adapted(self, groups: Groups, present: Sequence[int], entries: object) -> Engine | None:
        """The engine of groups, with other tensors in the state or further parameters; None if it cannot have them."""
        # One that fails half-way is used no more.
        engine: Engine | None = self.__dict__["_engines"].pop(groups.index, None)
        if engine is None:
            return None
        # Of which the others had a state, or this one does not go on.
        self._note_new(groups, engine.positions.further(present))
        if not engine.grow(groups, self.state, present, entries):
            if not all_trainable(groups.parameters):
                return None
            if not engine.relink(groups, self.state, self._begun(groups), self._used_before(groups)):
                return None
            if not engine.holds(groups, self.state, present, entries):
                return None
        self._keep(groups, engine)
        return engine

    def _note_new(self, groups: Groups, present: Sequence[int]) -> None:
        """Note which parameters have no state yet."""
        if "_begun_now" in self.__dict__:
            given = groups.parameters
            self._begun_now += [(groups.index, given[place]) for place in present if not self.state.get(given[place])]

    def _begun(self, groups: Groups) -> list[int]:
        """Which parameters of groups have a state."""
        return [place for place, parameter in enumerate(groups.parameters) if self.state.get(parameter)]

    def _used_before(self, groups: Groups) -> list[Mapping[str, Any]]:
        """For each group its values when its state was last used."""
        known = self.__dict__.setdefault("_used_with", {})
        return [
            known[index][1] if index in known else group
            for index, group in zip(groups.indices, groups.groups, strict=True)
        ]

    def _new_engine(self, groups: Groups, present: Sequence[int]) -> Engine:
        """An engine for groups."""
        # Parameters that are never trained, such as indices and packed bits, may have state in loaded files.
        begun = [place for place in self._begun(groups) if trainable(groups.parameters[place])]
        self._note_new(groups, present)
        for group in groups.groups:
            self._row_of(group).check(group)
        with self._mode():
            engine = Engine(groups, self.state, [*begun, *present], self._used_before(groups))
        self._keep(groups, engine)
        return engine

    def _keep(self, groups: Groups, engine: Engine) -> None:
        """Keep the engine of groups, which was made or changed."""
        self.__dict__.setdefault("_engines", {})[groups.index] = engine
        self._forget_short_ways()
        for index in groups.indices:
            self._remember_values(index)

    def _remember_values(self, index: int) -> None:
        """Keep a group's values as those with which its state was used last."""
        group = self.param_groups[index]
        values = {key: value for key, value in group.items() if key != "params"}
        self.__dict__.setdefault("_used_with", {})[index] = group, values

    def _check_sparse(self, groups: Groups) -> None:
        """Raise for groups that take no sparse gradients."""
        for group, row in zip(groups.groups, groups.rows, strict=True):
            reason = row.why_not_sparse(group, row.called)
            if reason is not None:
                raise RuntimeError(reason)

    # ---------------------------------------------------------------- questions

    @_disable_dynamo
    def memory(self) -> MemoryReport:
        """How many bytes the state of all parameters takes, once each has had a gradient; `print` shows a table.

        Slots are under their keys in the state; numbers, such as steps, are left out.
        """
        rows: list[MemoryRow] = []
        for part in self._parts():
            positions = [place for place, parameter in enumerate(part.parameters) if trainable(parameter)]
            tensors = [real_view(part.parameters[place].detach()) for place in positions]
            pairs = list(zip(part.names_at(positions), tensors, strict=True))
            found = part.maker()(positions).memory(pairs) if pairs else []
            rows += [each._replace(slot=part.state_key(each.slot)[0] or each.slot) for each in found]
        return MemoryReport(rows)

    # ---------------------------------------------------------------- saving, loading and copying

    @_disable_dynamo
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the state that an optimizer of this class or of torch.optim's class of the same name gave.

        Slots of float16 and bfloat16 parameters become float32, with all the digits they were saved with. Numbers stay
        as they are, on the CPU unless the group is capturable. Tensors are copied: what was loaded stays as it is, and
        two optimizers may load it. In torch they would go on with the same moments.

        Args:
            state_dict: from `state_dict`.

        Raises:
            ValueError: if groups or shapes do not fit, or it is of another class; nothing has changed then.
        """
        given: Any = state_dict
        check_state_dict(given)
        loaded: list[dict[Any, Any]] = []

        def before(optimizer: torch.optim.Optimizer, given: dict[str, Any]) -> dict[str, Any]:
            # The last of the hooks sees what will be loaded. Torch, which for every entry looks through all groups and
            # casts it to the dtype of its parameter, is given none.
            state = loaded_state(given, self.param_groups, self._rows)
            if state is None:
                return given
            loaded.append(state)
            return {**given, "state": {}}

        handle = self.register_load_state_dict_pre_hook(before)
        # Where `__setstate__` finds it.
        self._loading = loaded
        try:
            super().load_state_dict(state_dict)
        finally:
            handle.remove()
            del self._loading

    def __setstate__(self, state: dict[str, Any]) -> None:
        loaded = self.__dict__.get("_loading")
        super().__setstate__({**state, "state": loaded[0]} if loaded else state)
        if not loaded:
            # A copy's state is another one's. What is loaded is that of the same parameters.
            self.__dict__.pop("_engines", None)
        self.__dict__.pop("_used_with", None)
        for name in ("_repeat", "_tried", "_entries"):
            self.__dict__.pop(name, None)
        for group, row in zip(self.param_groups, self._rows, strict=True):
            # Checkpoints of older versions of torch lack what came later.
            for key in row.later:
                group.setdefault(key, row.defaults[key])
            group.update(row.fixed)
        for index in range(len(self.param_groups)):
            self._remember_values(index)
        if not loaded:
            fit_numbers(self.state, self.param_groups, self._rows)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """A copy with the hooks, which torch.optim loses."""
        twin = object.__new__(type(self))
        memo[id(self)] = twin
        twin.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        for name in _HOOKS:
            setattr(twin, name, copy.copy(getattr(self, name)))
        return twin


# As users know what they inherit.
Optimizer = TorchAdapter
call_methods(TorchAdapter, "Optimizer", is_of_library)

_METHODS = (
    "step", "zero_grad", "add_param_group", "state_dict", "load_state_dict", "memory", "register_step_pre_hook",
    "register_step_post_hook", "register_state_dict_pre_hook", "register_state_dict_post_hook",
    "register_load_state_dict_pre_hook", "register_load_state_dict_post_hook",
)  # fmt: skip
"""What users call, those of torch's own among them."""


def _with_methods(cls: type, text: str) -> str:
    """The page of a class, with what users of all optimizers read and call."""
    title = f"`param_groups`, `state` and `defaults` as in torch.optim; methods (help({cls.__name__}.step) tells more)"
    own = ("plan",) if hasattr(cls, "plan") else ()
    return f"{text}\n\n{summaries(cls, [*own, *_METHODS], title)}"


def _with_flags(cls: type[TorchAdapter], text: str) -> str:
    """The page of a class, with torch's flags, and with what users call."""
    return _with_methods(cls, with_arguments(text, cls.row.signature().parameters, FLAGS, "Torch's flags"))


def _check_flags(values: dict[str, Any], row: TorchRow) -> None:
    """Raise, as torch does, for flags that exclude each other."""
    if values.get("fused") and values.get("differentiable"):
        raise RuntimeError("`fused` does not support `differentiable`")
    if values.get("fused") and values.get("foreach"):
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
    if not row.tensors_need_capturable or not values.get("foreach") or values.get("capturable"):
        return
    if isinstance(values["lr"], torch.Tensor):
        raise ValueError("lr as a Tensor is not supported for capturable=False and foreach=True")
    for index, beta in enumerate(values.get("betas", ())):
        if isinstance(beta, torch.Tensor):
            raise ValueError(f"betas[{index}] as a Tensor is not supported for capturable=False and foreach=True")

"""One parameter group's core optimizer, whose slots are the tensors in the torch optimizer's state."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch._subclasses.fake_tensor import is_fake

from ...backends import Variable
from ...backends.scope import Mode
from ...optimizers.core.hyperparameters import exchange
from ...optimizers.core.insertion import Insertion
from ...optimizers.core.optimizer import Optimizer
from ...optimizers.core.prepared import Alone, Beside, Prepared
from ..pairing import Numbers, Pairing
from .keys import name_at
from .linking import Linker, real_view
from .number_tensors import NumberTensors, merged
from .table import TorchRow

_dtype_of = operator.attrgetter("dtype")
_SETS = 16
"""For how many sets of parameters their cells are kept."""


class Inputs(NamedTuple):
    """What a step on tensors reads and writes.

    Attributes:
        parameters: real tensors.
        gradients: one for each parameter, or None.
        state: for each of the core's variables what holds it: a number, or a tensor, or several if parameters share it.
    """

    parameters: list[torch.Tensor]
    gradients: list[Any]
    state: list[list[Any]]


class Engine:
    """Runs the steps of one group. It lasts until the group's parameters, their state or the slots they need change.

    Args:
        row: how the group's values and the state are called.
        group: the parameter group.
        state: of the optimizer. What is missing in it is made.
        positions: which of the group's parameters take part.
        before: the group's values when its state was last used. What has been switched on since may begin.
        first: the number of the group's first parameter in `state_dict`, by which errors name it.

    Raises:
        KeyError: if state lacks a piece.
        ValueError: if a hyperparameter is not allowed, or state does not fit its parameter.
        AssertionError: if the group is capturable, and a parameter on the CPU.
    """

    def __init__(
        self, row: TorchRow, group: Mapping[str, Any], state: Any, positions: Sequence[int], before: Mapping[str, Any],
        first: int,
    ) -> None:  # fmt: skip
        self._row, self._state, self._first = row, state, first
        self._given = list(group["params"])
        self._arrange(*_places(self._given, positions))
        if group.get("capturable") and any(parameter.device.type == "cpu" for parameter in self._parameters):
            raise AssertionError(
                "If capturable=True, params and state_steps must be on supported devices, and a parameter is on the CPU"
            )
        linker = self._linker(group, self._parameters, self._own, before)
        self._rule, numbers = linker.link()
        self._take_stock(linker, numbers)
        # The group's copy of the rate that a schedule of the core gives.
        self._shown: float | None = None
        if self._rule.learning_rate_schedule is not None:
            self._pairing.read()
            self._shown = float(self._rule.learning_rate)
        self.keys_read = [*row.hyperparameters, *(key for key in ("differentiable", "capturable") if key in group)]
        self.read = operator.itemgetter(*self.keys_read)
        self.live = False
        self.values: Any = None
        # Whether attributes of the core may have changed since a step of all groups at once; the rate is none. And
        # whether numbers have been exchanged for others, from which nothing follows but scalars.
        self.changed, self.renumbered = True, False
        self.follow(group)

    def _arrange(self, own: list[int], places: dict[int, int]) -> None:
        """Take note of the positions of the parameters that take part, and where each position leads to among these."""
        self._own, self._place = own, places
        everyone = range(len(self._given))
        self.positions: Sequence[int] = everyone if len(places) == len(everyone) else list(places)
        self._repeated = len(self.positions) != len(self._own)
        self._parameters = [self._given[position] for position in self._own]

    def _linker(
        self, group: Mapping[str, Any], parameters: Sequence[torch.Tensor], positions: Sequence[int],
        before: Mapping[str, Any], known: Optimizer | None = None,
    ) -> Linker:  # fmt: skip
        """What builds a core for parameters at some positions of the group, and links it to their state."""
        row = self._row
        attributes = row.attributes(group)
        return Linker(
            lambda: row.make(attributes),
            row,
            self._state,
            parameters,
            [name_at(group, self._first, position) for position in positions],
            bool(group.get("capturable")),
            row.attributes(before),
            known,
        )

    def _take_stock(self, linker: Linker, numbers: Sequence[Numbers[NumberTensors]]) -> None:
        """Remember what was linked, to see whether it still is what it was."""
        self._keys, self._all_alike = linker.keys(), linker.all_alike()
        self._linked: list[torch.Tensor] = []
        self.entries: list[Any] = []
        self._remember_entries(linker.entries)
        self._complex: list[torch.Tensor] = []
        self._numbers_unknown = False
        self._pairing: Pairing[NumberTensors] = Pairing(numbers, self.contents())
        self._note(linker.parameters, self._pairing.objects, numbers)

    def _note(
        self, parameters: Sequence[torch.Tensor], tensors: Sequence[Any], numbers: Sequence[Numbers[NumberTensors]]
    ) -> None:
        """Remember what belongs to parameters that were linked, behind what is remembered."""
        self._cells = self._rule.cells.parameters
        # The core has other lists now.
        self.changed = True
        self._some_cells: dict[tuple[int, ...], list[Variable]] = {}
        self._entries: object = None
        self._linked += parameters
        # Stand-ins for tensors, such as those of FakeTensorMode, have no values.
        for each in numbers:
            own = each.containers.tensors
            if set(map(type, own)) != {torch.Tensor} and any(map(is_fake, own)):
                self._numbers_unknown = True
        # Of these the core has views, which stay where they are when a tensor is given other memory.
        if any([dtype.is_complex for dtype in set(map(_dtype_of, parameters))]):
            self._complex += [tensor for tensor in (*parameters, *tensors) if _is_complex(tensor)]
        self._addresses = [tensor.data_ptr() for tensor in self._complex]

    def relink(self, group: dict[str, Any], state: Any, begun: Sequence[int], before: Mapping[str, Any]) -> bool:
        """Go on with other tensors as the state of the same parameters; whether this could be done.

        Args:
            group: the parameter group as it is now.
            state: of the optimizer, as it is now.
            begun: which of the group's parameters have a state.
            before: the group's values when this was last used.

        Raises:
            As for a new engine.
        """
        given = group["params"]
        if len(given) != len(self._given) or not all(map(operator.is_, given, self._given)) or self._repeated:
            return False
        unlike = group.get("capturable") or group.get("differentiable") or self._shown is not None
        if unlike or not self._row.builds_on_shapes or list(begun) != self._own:
            return False
        if not group.keys() >= set(self.keys_read):
            # Of a flag that the group has no more.
            return False
        if any([not _is_as_built(cell) for cell in self._cells]):
            # The core that is known is for parameters of other shapes.
            return False
        self._state = state
        dtypes = [cell.dtype_name for cells in self._rule.cells.grouped for cell in cells]
        linker = self._linker(group, self._parameters, self._own, before, self._rule)
        numbers = linker.link()[1]
        if [cell.dtype_name for cells in self._rule.cells.grouped for cell in cells] != dtypes:
            self._rule.forget_plan()
        self._take_stock(linker, numbers)
        return self.follow(group)

    def grow(self, group: dict[str, Any], state: Any, present: Sequence[int], entries: object) -> bool:
        """Let further parameters of the group take part; whether this could be done, and all else is what it was.

        Args:
            group: the parameter group as it is now.
            state: of the optimizer, as it is now. What is missing in it is made.
            present: which of the group's parameters have a gradient.
            entries: as in `holds`.

        Raises:
            As for a new engine.
        """
        further = self.further(present)
        parameters = [group["params"][position] for position in further]
        unlike = group.get("capturable") or group.get("differentiable") or self._repeated or self._shown is not None
        if not further or unlike or self._row.iterations is not None or len(set(map(id, parameters))) < len(further):
            return False
        if any(state.get(parameter) for parameter in parameters):
            # It was used elsewhere.
            return False
        if not self.holds(group, state, self.positions, entries):
            return False
        # All is as it was, but that these have no state yet: a part of its own, which then becomes one of the whole.
        linker = self._linker(group, parameters, further, group)
        part, numbers = linker.link()
        insertion = Insertion(self._own, further)
        try:
            both = [merged(one, another, insertion) for one, another in zip(self.numbers, numbers, strict=True)]
            self._rule.take_in(part, insertion)
        except (LookupError, ValueError):
            return False
        self._arrange(insertion.numbers, insertion.places(self._place))
        # Of nothing else than the class's own keys.
        entries = [entry for entry in linker.entries if entry]
        self.entries = [*self.entries, *entries]
        tensors = self._contents_of(entries)
        self._pairing = Pairing(both, [*self._pairing.objects, *tensors])
        self._note(parameters, tensors, numbers)
        return True

    def further(self, present: Sequence[int]) -> list[int]:
        """Those of some positions in the group whose parameters do not take part yet."""
        return [position for position in present if position not in self._place]

    # ---------------------------------------------------------------- whether it still holds

    def holds(self, group: dict[str, Any], state: Any, present: Sequence[int], entries: object) -> bool:
        """Whether parameters, state and needed slots are what they were; if so, changed hyperparameters are taken over.

        Args:
            group: the parameter group as it is now.
            state: of the optimizer, as it is now.
            present: which of the group's parameters have a gradient.
            entries: another object when the state has got other dictionaries.

        Raises:
            ValueError: if a hyperparameter is not allowed.
        """
        given = group["params"]
        if state is not self._state or len(given) != len(self._given) or not all(map(operator.is_, given, self._given)):
            return False
        if present != self.positions and not self._place.keys() >= set(present):
            return False
        if entries is not self._entries:
            self._entries = entries
            self._remember_entries(map(self._state.get, self._linked))
        try:
            if not self._pairing.holds(self.contents()):
                return False
        except KeyError:
            return False
        if self._complex and [tensor.data_ptr() for tensor in self._complex] != self._addresses:
            return False
        try:
            values = self.read(group)
        except KeyError:
            # Of a flag that the group has no more.
            return False
        return (not self.live and alike(values, self.values)) or self.follow(group)

    def fits(self) -> bool:
        """Whether parameters and slots have the shapes and dtypes that they had when this was made, side by side."""
        return all(
            _is_as_built(cell) and cell.array.device == cells[0].array.device
            for cells in self._rule.cells.grouped
            for cell in cells
        )

    def _remember_entries(self, entries: Iterable[Any]) -> None:
        """The state's own dictionaries: to look a parameter up in it takes longer than to see that all are the same."""
        self.entries = [entry for entry in entries if entry]
        # Where nobody else keeps anything, all there is is read in a third of the time.
        keys = self._keys
        self.alone = all([type(entry) is dict and entry.keys() == keys for entry in self.entries])
        reader = _reader if self._all_alike else _reader_of_some
        self._read_entry = dict.values if self.alone else reader(keys)

    def contents(self) -> list[Any]:
        """All that the class itself keeps in the state for the parameters that take part.

        Raises:
            KeyError: if something is missing.
        """
        return self._contents_of(self.entries)

    def _contents_of(self, entries: Sequence[Any]) -> list[Any]:
        return [*itertools.chain.from_iterable(map(self._read_entry, entries))]

    def follow(self, group: Mapping[str, Any]) -> bool:
        """Take over the group's hyperparameters that have changed. False if they need slots that were not made."""
        rule, now = self._rule, self.read(group)
        anew = self.values is None or self.live
        values = [None] * len(now) if anew else list(self.values)
        # If some of them are refused, all will be taken over that are there then.
        self.values = None
        changed, live = {}, False
        for place, new in enumerate(now):
            old = values[place]
            if new is old and old is not None:
                continue
            if type(new) is float and type(old) is float:
                if new != old:
                    changed[self.keys_read[place]] = values[place] = new
            elif old is None or not alike(new, old):
                changed[self.keys_read[place]], values[place] = new, kept(new)
                # What a tensor or an array holds may change at any time: it is read in every step.
                live = live or not _shows_changes(new)
        more = anew or not changed.keys() <= self._row.hyperparameters.keys()
        self.changed = self.changed or more
        for name, value in self._row.attributes(changed).items():
            if name == "learning_rate":
                if self._shown is None or value != self._shown:
                    self._shown = None
                    rule.write_learning_rate(value)
            elif vars(rule).get(name) is value:
                continue
            elif exchange(rule, name, value):
                self.renumbered = True
            else:
                if rule.lacks_slots_for(name, value):
                    return False
                self.changed = more = True
                setattr(rule, name, value)
        if more:
            takes_rows = self._row.why_not_sparse(group, type(rule).__name__) is None
            if takes_rows is not rule.takes_rows:
                self.changed, rule.takes_rows = True, takes_rows
        self.live, self.values = live, tuple(values)
        return True

    def needs_tensors(self, group: Mapping[str, Any]) -> bool:
        """Whether numbers of this step lie on a device or are differentiated, so that the host cannot read them."""
        if group.get("differentiable") or group.get("capturable") or self._numbers_unknown:
            return True
        if not self.live:
            return False
        attributes = vars(self._rule) | {"learning_rate": self._rule.cells.rate.array}
        return any(isinstance(attributes[name], torch.Tensor) for name in self._row.attributes(group))

    # ---------------------------------------------------------------- steps

    def rate_now(self, group: Mapping[str, Any]) -> Any:
        """The rate of a step that follows, which a schedule may give; None if numbers of the step lie in tensors."""
        if self.needs_tensors(group):
            return None
        if self._rule.rate_follows_steps:
            self._pairing.read()
        return self._rule.rate_at(self._rule.cells.iterations.array, self._rule.cells.rate.array)

    def prepared(
        self, gradients: Sequence[torch.Tensor], present: Sequence[int], group: dict[str, Any], rate: Any
    ) -> tuple[Prepared, Beside] | None:
        """A step, but for what it writes, and what writes the numbers in the state; None if there is nothing to do.

        Args:
            gradients: one for each parameter that has one.
            present: their positions in the group.
            group: the parameter group.
            rate: from `rate_now`.
        """
        if self.needs_tensors(group):
            return Alone(self._prepared_on_tensors(gradients, present)), _nothing_beside
        gradients, places = self._prepared(gradients, present)
        # All of them, in their order, need not be named.
        some = None if isinstance(places, range) else tuple(places)
        self._pairing.read()
        step = self._rule.prepared(gradients, None if some is None else self._cells_at(some), rate)
        if step is None:
            return None
        shown = self._rate_shown_next()
        return step, lambda numbers: self._writing(numbers, some, group, shown)

    def _rate_shown_next(self) -> float | None:
        """The rate that the group will show, where a schedule gives it."""
        if self._shown is None:
            return None
        rule = self._rule
        try:
            return float(rule.base_rate_at(rule.cells.iterations.array + 1, rule.cells.rate.array))
        except Exception:
            # A schedule that has ended says so in the step that needs it.
            return self._shown

    def _writing(
        self, numbers: dict[int, Any], places: Sequence[int] | None, group: dict[str, Any], shown: float | None
    ) -> list[functools.partial[Any]]:
        """What writes the numbers that a step changes, and shows the rate of the next."""
        calls = self._pairing.writing(numbers, places)
        if shown is not None:
            calls.append(functools.partial(operator.setitem, group, "lr", shown))
            calls.append(functools.partial(setattr, self, "_shown", shown))
            calls.append(functools.partial(setattr, self, "values", kept(self.read({**group, "lr": shown}))))
        return calls

    @property
    def rule(self) -> Optimizer:
        """The core's optimizer."""
        return self._rule

    @property
    def numbers(self) -> list[Numbers[NumberTensors]]:
        """Those that stand in the state."""
        return self._pairing.numbers

    def is_plain(self, group: Mapping[str, Any], present: Sequence[int]) -> bool:
        """Whether a step is one of the core on the gradients as they are, and changes nothing in the group."""
        return (
            present == self.positions
            and self._shown is None
            and not (self._repeated or self._complex)
            and not self.needs_tensors(group)
        )

    def _prepared(
        self, gradients: Sequence[torch.Tensor], present: Sequence[int]
    ) -> tuple[Sequence[torch.Tensor], Sequence[int]]:
        """Real gradients, and the places of their parameters among those that take part."""
        if self._complex:
            # A gradient may be a conjugate that was not computed yet.
            gradients = [real_view(gradient.resolve_conj()) for gradient in _whole(gradients)]
        if present == self.positions and not self._repeated:
            return gradients, range(len(self._cells))
        places = [self._place[position] for position in present]
        if self._repeated:
            once = dict(zip(places, gradients, strict=True))
            return list(once.values()), list(once)
        return gradients, places

    def _cells_at(self, places: tuple[int, ...]) -> list[Variable]:
        if places not in self._some_cells:
            if len(self._some_cells) >= _SETS:
                # Sets that never come again would fill the memory.
                self._some_cells.clear()
            self._some_cells[places] = [self._cells[place] for place in places]
        return self._some_cells[places]

    def _prepared_on_tensors(self, gradients: Sequence[torch.Tensor], present: Sequence[int]) -> Callable[[], None]:
        """As `prepared`, with the numbers of this step in tensors: differentiable, and without a look at any value."""
        inputs = self.inputs(gradients, present)
        changes = self._changed(inputs)
        following = torch.is_grad_enabled()

        def write() -> None:
            with Mode(torch.is_grad_enabled, torch.set_grad_enabled, following):
                self._write(inputs, *changes)

        return write

    def inputs(self, gradients: Sequence[torch.Tensor], present: Sequence[int], compiling: bool = False) -> Inputs:
        """What a step on tensors reads and writes.

        Args:
            gradients: one for each parameter that has one.
            present: their positions in the group.
            compiling: whether a number that differs in the next step means to be compiled again.
        """
        rule, cells = self._rule, self._rule.variables
        aligned: list[Any] = [None] * len(self._cells)
        gradients, places = self._prepared(_whole(gradients), present)
        for place, gradient in zip(places, gradients, strict=True):
            aligned[place] = gradient
        stored: dict[int, list[torch.Tensor]] = {}
        for each in self.numbers:
            for cell, tensor in zip(each.cells, each.containers.tensors, strict=True):
                stored.setdefault(id(cell), []).append(tensor)
        held = [stored.get(id(cell), [cell.array]) for cell in cells]
        if self._row.iterations is None:
            # Nothing depends on the number of calls where it is not stored.
            held[cells.index(rule.cells.iterations)] = [0]
        if compiling:
            # A count that is not stored only tells whether there was a step.
            held = [[min(values[0], 1)] if type(values[0]) is int else values for values in held]
            if rule.cells.rate in cells:
                held[cells.index(rule.cells.rate)] = [torch.as_tensor(rule.cells.rate.array, dtype=torch.float64)]
        return Inputs([real_view(parameter) for parameter in self._parameters], aligned, held)

    def run(self, inputs: Inputs) -> None:
        """Make the step. `torch.compile` follows."""
        self._write(inputs, *self._changed(inputs))

    def _changed(self, inputs: Inputs) -> tuple[list[Any], list[Any]]:
        """The parameters and the state after the step."""
        parameters, state = inputs.parameters, [tensors[0] for tensors in inputs.state]
        if torch.is_grad_enabled():
            # What a graph remembers must not be what is written to below.
            parameters = [parameter.clone() for parameter in parameters]
            state = [value.clone() if isinstance(value, torch.Tensor) else value for value in state]
        return self._rule.stateless_apply(state, inputs.gradients, parameters)

    def _write(self, inputs: Inputs, changed: list[Any], after: list[Any]) -> None:
        for old, gradient, new in zip(inputs.parameters, inputs.gradients, changed, strict=True):
            if gradient is not None:
                old.copy_(new)
        for cell, held, new in zip(self._rule.variables, inputs.state, after, strict=True):
            if cell is self._rule.cells.rate:
                continue
            if isinstance(held[0], torch.Tensor):
                for old in held:
                    old.copy_(new)
            elif cell is not self._rule.cells.iterations:
                cell.array = new


def _places(given: Sequence[Any], positions: Iterable[int]) -> tuple[list[int], dict[int, int]]:
    """Which of a group's parameters take part, and for each position where its parameter stands among these.

    A parameter that a group has twice takes part once, where it stands first.
    """
    identities, own = list(map(id, given)), sorted(set(positions))
    if len(set(identities)) == len(identities):
        return own, dict(zip(own, range(len(own)), strict=True))
    first = dict(zip(reversed(identities), reversed(range(len(given))), strict=True))
    firsts = [first[each] for each in identities]
    own = sorted({firsts[position] for position in own})
    places = dict(zip(own, range(len(own)), strict=True))
    return own, {position: places[each] for position, each in enumerate(firsts) if each in places}


def _nothing_beside(numbers: dict[int, Any]) -> list[functools.partial[Any]]:
    return []


def _whole(gradients: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Sparse ones as dense ones."""
    return [gradient.to_dense() if gradient.is_sparse else gradient for gradient in gradients]


def _is_as_built(cell: Variable) -> bool:
    """Whether an array has the shape and the dtype that its cell was made for."""
    backend, array = cell.backend, cell.array
    return backend.shape(array) == cell.shape and backend.dtype_name(array) == cell.dtype_name


def _is_complex(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_complex()


def _reader(keys: set[str]) -> Callable[[Mapping[str, Any]], Iterable[Any]]:
    """A function that reads some keys of a dictionary."""
    # Of a single key an itemgetter gives no tuple.
    return operator.itemgetter(*keys, *list(keys)[:1]) if keys else lambda entry: ()


def _reader_of_some(keys: set[str]) -> Callable[[Mapping[str, Any]], Iterable[Any]]:
    """The same where some entries lack some of the keys: of these it gives None."""
    return lambda entry: map(entry.get, keys)


def alike(values: Any, others: Any) -> bool:
    """Whether values of a group are those that were kept."""
    try:
        return bool(values == others)
    except (ArithmeticError, ValueError, RuntimeError):
        # A decimal that signals refuses. An array in place of a number or a tuple says for each element what it is.
        return False


def kept(value: Any) -> Any:
    """Values of a group as they are now: lists may change in place."""
    return type(value)(map(kept, value)) if type(value) in (tuple, list) else value


def _shows_changes(value: Any) -> bool:
    """Whether a value that has changed is unlike the one that was kept."""
    if type(value) in (tuple, list):
        return all(map(_shows_changes, value))
    return value is None or isinstance(value, (bool, int, float, str))

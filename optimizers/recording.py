"""Recording an optimizer's rule: one parameter's whole update, and `begin_step`, run on symbols.

A rule is recorded twice. Unlike programs, and attributes that changed meanwhile, mean that it does what a program
cannot: it is then run by whole arrays.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar, overload

from ..backends import HOST, Array, Scope, Variable, compute_dtype
from ..backends.passes import scalars_alone
from ..backends.program import Program, Recorder, Scalars, Symbol, Unrecordable
from .cells import STRUCTURE, CellKeeper, frozen, restore, snapshot

_PLAIN = (float, int, str, bool)
_OURS = __name__.rpartition(".")[0]

_Recorded = TypeVar("_Recorded")


class BeginProgram(NamedTuple):
    """`begin_step`, recorded.

    Attributes:
        programs: what it reads and writes of each parameter with a gradient.
        results: a program without arrays, for the numbers it gives to host scalars.
        cells: for each result where it stands: a position among the shared scalars, or a parameter's number and a
            position among its scalars.
    """

    programs: tuple[Program, ...]
    results: Program
    cells: tuple[tuple[int | None, int], ...]


def record_update(
    rule: Any, index: int, divisor: Any, clipped: bool
) -> tuple[Program | None, str | None]:
    """The program of a parameter's update, or why there is none."""
    return _twice(rule, lambda: record(rule, index, divisor, clipped))


def record_begin(
    rule: Any, present: Sequence[int], divisor: Any, clipped: bool
) -> tuple[BeginProgram | None, str | None]:
    """The program of `begin_step` for some parameters, or why there is none."""
    return _twice(rule, lambda: _record_begin(rule, present, divisor, clipped))


def _twice(rule: Any, make: Callable[[], _Recorded]) -> tuple[_Recorded | None, str | None]:
    """What is recorded, twice alike. Whatever the rule did to its attributes is undone."""
    before = snapshot(rule)
    fingerprint = _fingerprint(rule)
    try:
        made = make()
        if made != make():
            return None, "the rule is not the same twice (a random number, a counter)"
        if _fingerprint(rule) != fingerprint:
            return None, "the rule changes an attribute of its optimizer"
    except Unrecordable as reason:
        return None, f"it cannot be recorded: {reason}"
    except Exception as error:
        return None, f"recording it raised {type(error).__name__}: {error}"
    finally:
        restore(rule, before)
    return made, None


def record(rule: Any, index: int, divisor: Any, clipped: bool) -> Program:
    """Run one parameter's whole update on symbols."""
    scalars = Scalars()
    scope, rate = _scope_of_scalars(rule, scalars)
    recorder, gradient = _add_parameter(rule, index, scope, scalars, "")
    with scope:
        factor = scalars.named("factor") if clipped else None
        rule._update_one(index, rule._prepare(index, gradient, divisor, factor), rate)
    cells = rule._grouped[index]
    written = {id(cell) for cell, _ in scope.writes()}
    if written - {id(cell) for cell in cells}:
        raise Unrecordable("a write to what the whole step shares")
    return recorder.program(_outputs(cells, scope, written))


def _record_begin(rule: Any, present: Sequence[int], divisor: Any, clipped: bool) -> BeginProgram:
    scalars = Scalars()
    scope, rate = _scope_of_scalars(rule, scalars)
    recorded = {index: _add_parameter(rule, index, scope, scalars, f"{index}/") for index in present}
    factors = {index: scalars.named(f"{index}/factor") if clipped else None for index in present}
    with scope:
        gradients = _Lazy(present, lambda index: rule._prepare(index, recorded[index][1], divisor, factors[index]))
        rule.begin_step(gradients, [rule._parameters[index] for index in present], rate)
    places: dict[int, tuple[int | None, int]] = {id(cell): (None, k) for k, cell in enumerate(rule._shared)}
    for index in present:
        places |= {id(cell): (index, k) for k, cell in enumerate(rule._numbers[index])}
    numbers: list[Symbol] = []
    cells: list[tuple[int | None, int]] = []
    written = set()
    for cell, value in scope.writes():
        written.add(id(cell))
        if cell.backend is HOST:
            if id(cell) not in places:
                raise Unrecordable("a write to the learning rate or the number of steps")
            value = value if isinstance(value, Symbol) else scalars.constant(value)
            if not value.is_scalar:
                raise Unrecordable("an array written in place of a number")
            numbers.append(value)
            cells.append(places[id(cell)])
    owned = {id(cell) for index in present for cell in rule._grouped[index]}
    if any(id(cell) not in owned and cell.backend is not HOST for cell, _ in scope.writes()):
        raise Unrecordable("a write to an array that the whole step shares")
    programs = tuple(
        recorded[index][0].program(_outputs(rule._grouped[index], scope, written)) for index in present
    )
    place, names, constants, operations = scalars.listed()
    everything = Program(0, (), (), (), names, constants, operations)
    return BeginProgram(programs, scalars_alone(everything, [place[symbol.number] for symbol in numbers]), tuple(cells))


def _scope_of_scalars(rule: Any, scalars: Scalars) -> tuple[Scope, Symbol]:
    """A scope in which what the whole step shares is a symbol; and the symbol of the rate."""
    scope = Scope()
    rate = scalars.named("rate")
    # What a rule reads as its learning_rate is the rate before `decay`.
    scope.hold(rule._rate, scalars.named("base_rate"))
    scope.hold(rule._iterations, scalars.named("count"))
    for position, cell in enumerate(rule._shared):
        scope.hold(cell, scalars.named(f"shared{position}") if cell.backend is HOST else cell.value)
    return scope, rate


def _add_parameter(rule: Any, index: int, scope: Scope, scalars: Scalars, prefix: str) -> tuple[Recorder, Symbol]:
    """Let the cells of a parameter hold symbols; its recorder, and the symbol of its gradient."""
    parameter = rule._parameters[index]
    name = compute_dtype(parameter.dtype_name)
    recorder = Recorder(scalars, name, parameter.backend.dtype(name), parameter.shape)
    for cell in rule._grouped[index]:
        scope.hold(cell, recorder.array())
    for position, cell in enumerate(rule._numbers[index]):
        scope.hold(cell, scalars.named(f"{prefix}number{position}"))
    return recorder, recorder.array()


def _outputs(cells: Sequence[Variable], scope: Scope, written: set[int]) -> list[tuple[int, Symbol]]:
    outputs = [(position, scope.get(cell)) for position, cell in enumerate(cells) if id(cell) in written]
    if not all(isinstance(value, Symbol) and not value.is_scalar for _, value in outputs):
        raise Unrecordable("a number written in place of an array")
    return outputs


class _Lazy(Sequence[Array]):
    """The gradients of parameters, each made when it is read."""

    def __init__(self, indices: Sequence[int], make: Callable[[int], Array]) -> None:
        self._indices = list(indices)
        self._make = make

    @overload
    def __getitem__(self, position: int) -> Array: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[Array]: ...
    def __getitem__(self, position: int | slice) -> Any:
        indices = self._indices[position]
        return list(map(self._make, indices)) if isinstance(indices, list) else self._make(indices)

    def __len__(self) -> int:
        return len(self._indices)


# -------------------------------------------------------------------- what has changed since


class Seen:
    """The attributes of a rule as they were when it was recorded.

    Args:
        rule: the optimizer.
        divisor: of its gradients.
    """

    __slots__ = ("_classes", "_count", "_divisor", "_lists", "_plain", "_plain_values", "_rest")

    def __init__(self, rule: CellKeeper, divisor: Any) -> None:
        attributes = {name: value for name, value in vars(rule).items() if name not in STRUCTURE}
        self._count, self._divisor = len(vars(rule)), divisor
        # One look at all plain values together is ten times as fast as one at each.
        plain = [name for name, value in attributes.items() if type(value) in _PLAIN or value is None]
        self._plain = operator.itemgetter(*plain, "built")
        self._plain_values = self._plain(vars(rule))
        others = {name: value for name, value in attributes.items() if name not in plain}
        self._lists = [(name, value, len(value)) for name, value in others.items() if _is_list_of_cells(value)]
        # What cannot change need not be read again, as long as it is the same object.
        self._rest = [
            (name, value if _is_fixed(value) else _CHANGES, _frozen(value))
            for name, value in others.items()
            if not _is_list_of_cells(value)
        ]
        self._classes = _of_classes(rule)

    def still(self, rule: CellKeeper, divisor: Any) -> bool:
        """Whether all has the same value."""
        attributes = vars(rule)
        if len(attributes) != self._count or divisor != self._divisor or self._plain(attributes) != self._plain_values:
            return False
        for name, cells, length in self._lists:
            if attributes[name] is not cells or len(cells) != length:
                return False
        if self._classes and _of_classes(rule) != self._classes:
            return False
        return all([attributes[name] is same or _frozen(attributes[name]) == value for name, same, value in self._rest])


def _of_classes(rule: CellKeeper) -> list[Any]:
    """What the user's own classes hold: methods by identity, values by value."""
    own = [kind for kind in type(rule).__mro__ if not kind.__module__.startswith(_OURS) and kind is not object]
    return [frozen(dict(vars(kind))) for kind in own]


_CHANGES = object()


def _is_fixed(value: Any) -> bool:
    """Whether neither a value nor anything in it can change."""
    if type(value) is tuple:
        return all(map(_is_fixed, value))
    return type(value) in _PLAIN or value is None


def _is_list_of_cells(value: Any) -> bool:
    return type(value) is list and (not value or isinstance(value[0], Variable))


def _fingerprint(rule: CellKeeper) -> Any:
    """All attributes a rule may have read, by value; lists of cells by identity."""
    return tuple((name, _frozen(value)) for name, value in vars(rule).items() if name not in STRUCTURE)


def _frozen(value: Any) -> Any:
    if type(value) in _PLAIN or value is None:
        return value
    if type(value) is list and value and isinstance(value[0], Variable):
        return id(value), len(value)
    if isinstance(value, CellKeeper):
        return _fingerprint(value), value._rate._array
    return frozen(value)

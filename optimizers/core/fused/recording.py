"""Recording an optimizer's rule: one parameter's whole update, and `begin_step`, run on symbols.

Besides arrays, step counts and rates, the numbers among an optimizer's attributes are symbols too: they become named
scalars of the program, so that another number in the next step costs nothing. What a rule does where an attribute is
zero, None or no float may be another thing: such values are constants, and a change records again.

A rule is recorded four times: twice with its numbers as symbols, once with them as they are, and once with others.
Unlike programs, and attributes that changed meanwhile, mean that it does what a program cannot: it is then run by whole
arrays. Where only numbers as they are lead to a program, or to another one, they are its constants.

Parameters that differ in the lengths of their axes only have one recording, where the rule is one of this library's and
does not ask for these. A user's rule may do something else for each parameter; it is recorded for all of them, once
where that gives a program that is known.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar, overload

from ....backends import HOST, Array, Scope, Variable, compute_dtype
from ....backends.lengths import lengths_watched
from ....backends.mistakes import line_of_error, line_of_function
from ....backends.programs.passes import own_scalars, scalars_alone
from ....backends.programs.program import Program, Unrecordable
from ....backends.programs.recorder import FreeSymbol, RecordedScalars, Recorder, Symbol
from ....backends.programs.scalars import same_with
from ..configuration import STRUCTURE, Kept, has_cells
from ..rule import Rule
from .attributes import Fingerprint, classes_of, numbers_of, of_optimizers_alone, settings_of
from .others import Others
from .scalars import DIVISOR, FACTOR, number_names, of_parameter, scope_of_symbols, shared_numbers

_Recorded = TypeVar("_Recorded")
_Make: TypeAlias = Callable[[RecordedScalars], _Recorded]
_Found: TypeAlias = tuple[_Recorded | None, str | None]
"""What was recorded and None, or None and why nothing was."""

_second = operator.itemgetter(1)
_dtype_name_of, _shape_of = operator.attrgetter("dtype_name"), operator.attrgetter("shape")

_ANOTHER = 0.8125
"""What numbers are multiplied by to have others, which are in their range if that reaches to zero."""


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


class Recordings(NamedTuple):
    """What was recorded.

    Attributes:
        kinds: for each parameter its kind.
        free: whether the optimizer's numbers are scalars in all programs.
        updates: for each kind of parameters the program of their updates and None, or None and why there is none.
        by_axes: whether parameters of a kind have equally many axes.
    """

    kinds: list[Any]
    free: bool
    updates: dict[Any, tuple[Program | None, str | None]]
    by_axes: bool = False


def record_updates(rule: Rule, scaled: bool, clipped: bool) -> Recordings:
    """The programs of all parameters' updates.

    Args:
        rule: the optimizer.
        scaled: whether gradients are divided by a number.
        clipped: whether they are multiplied by one.
    """
    if of_optimizers_alone(rule):
        recordings = _record_kinds(rule, scaled, clipped)
        if recordings is not None:
            return recordings
    # For a user's rule, or one that asks how long axes are, each parameter may be of a kind of its own.
    kinds = list(range(len(rule.cells.parameters)))
    printing = why_not_silent(rule)
    if printing is not None:
        return Recordings(kinds, True, dict.fromkeys(kinds, (None, printing)))
    return Recordings(kinds, *_record_some(rule, dict(zip(kinds, kinds, strict=True)), scaled, clipped))


def _record_kinds(rule: Rule, scaled: bool, clipped: bool, by_axes: bool = False) -> Recordings | None:
    """The same of a rule of this library's: once for each kind of parameters, and for all optimizers that are alike.
    None if it asks for the lengths of axes, of which a kind knows nothing. One that asks how many axes there are, as
    some do that treat matrices in another way than vectors, is recorded for each number of them."""
    everyone = range(len(rule.cells.parameters))
    kinds = kinds_of(rule, everyone, by_axes)
    # Of each kind the first.
    some: dict[Any, int] = dict(zip(reversed(kinds), reversed(everyone), strict=True))
    # By identities, which are unique as long as what was recorded keeps the objects.
    classes = classes_of(rule)
    identities = tuple(tuple(map(id, values)) for values in classes)
    key = settings_of(rule), _cells_of(rule), identities, scaled, clipped, by_axes
    known = _RECORDED.get(key, ([], {}))[1]
    found = {kind: known[kind] for kind in some if kind in known}
    if len(found) == len(some):
        return Recordings(kinds, True, found, by_axes)
    with lengths_watched() as lengths:
        free, further = _record_some(rule, {kind: some[kind] for kind in some if kind not in found}, scaled, clipped)
        asked, asked_axes = lengths.asked, lengths.asked_axes
    if asked:
        return None
    if asked_axes and not by_axes:
        return _record_kinds(rule, scaled, clipped, by_axes=True)
    if free:
        while len(_RECORDED) >= _OPTIMIZERS and key not in _RECORDED:
            _RECORDED.pop(next(iter(_RECORDED), None), None)
        # What a constraint does is its own affair, and what failed may not fail again.
        lasting = {kind: each for kind, each in further.items() if kind[-1] is None and each[0] is not None}
        _RECORDED[key] = classes, {**known, **lasting}
    return Recordings(kinds, free, {**found, **further}, by_axes)


_Update: TypeAlias = tuple[Program | None, str | None]
"""The program of a parameter's update and None, or None and why there is none."""


def _record_some(rule: Rule, some: dict[Any, int], scaled: bool, clipped: bool) -> tuple[bool, dict[Any, _Update]]:
    """Whether the optimizer's numbers are scalars in all programs; and for each kind, of which a position is given, the
    program."""
    with _Session(rule) as session:
        ordered = sorted(some.items(), key=_second)
        found = session.recorded(
            [functools.partial(record, rule, session.others, index, scaled, clipped) for _, index in ordered]
        )
    if session.others.order is not None:
        # One pass would run ahead of the updates that read or write what is another parameter's.
        return session.free, dict.fromkeys(some, (None, session.others.order))
    return session.free, {kind: session.judged(*each) for (kind, _), each in zip(ordered, found, strict=True)}


_RECORDED: dict[Any, tuple[list[list[Any]], dict[Any, _Update]]] = {}
"""What optimizers of this library do that are alike but for their numbers, for each kind of parameters. Their classes
belong to the kind, with all that they hold: who replaces a method has it recorded."""
_OPTIMIZERS = 64
"""How many kinds of optimizers are remembered."""


def why_not_silent(rule: Rule) -> str | None:
    """Why a user's rule that shows values is run by whole arrays, or None if it shows none."""
    for keeper in rule.all_optimizers():
        function = vars(keeper).get("update_step", type(keeper).update_step)
        if "print" in getattr(getattr(function, "__code__", None), "co_names", ()):
            return f"print() in {line_of_function(function)}, which shows values in every step"
    return None


def _cells_of(rule: Rule) -> tuple[Any, ...]:
    """What slots and numbers an optimizer was built with, which its attributes may not tell any more."""
    names = {(name, position is None): None for _, name, position in rule.named_cells()}
    attributes = [
        name
        for keeper in rule.all_optimizers()
        for name, value in vars(keeper).items()
        if name not in STRUCTURE and has_cells(value)
    ]
    return *names, *attributes


def record_begin(
    rule: Rule, present: Sequence[int], scaled: bool, clipped: bool
) -> tuple[BeginProgram | None, str | None, bool]:
    """The program of `begin_step` for some parameters, or why there is none; and whether it has numbers as scalars."""
    with _Session(rule) as session:
        make = functools.partial(_record_begin, rule, session.others, present, scaled, clipped)
        (found,) = session.recorded([make])
    return *session.judged(*found), session.free


def kinds_of(rule: Rule, positions: Sequence[int], by_axes: bool) -> list[Any]:
    """For some parameters what all have in common for which a rule of this library does the same.

    Args:
        rule: the optimizer.
        positions: of the parameters.
        by_axes: whether it may do something else where there are more axes, or fewer.
    """
    grouped, numbers = rule.cells.grouped, rule.cells.numbers
    parameters = [rule.cells.parameters[index] for index in positions]
    # What is in one piece is compared as one: most are the same object.
    same: dict[Any, Any] = {}
    kinds = []
    for index, parameter, own in zip(positions, parameters, rule.differences(parameters), strict=True):
        kind = (
            tuple(map(_dtype_name_of, grouped[index])),
            set(map(_shape_of, grouped[index])) == {parameter.shape},
            parameter.ndim if by_axes else None,
            len(numbers[index]),
            own,
            type(parameter),
            parameter.sink is parameter,
            parameter.backend.name,
            # What a constraint looks at is its own affair.
            None if parameter.constraint is None else index,
        )
        kinds.append(same.setdefault(kind, kind))
    return kinds


class _Turn:
    """Whose turn it is of several recordings: all that symbols know of these, which would else hold the optimizer.

    Attributes:
        scalars: of the recording that is being made.
    """

    def __init__(self) -> None:
        self.scalars = RecordedScalars()

    def now(self) -> RecordedScalars:
        """As above."""
        return self.scalars


class _Session:
    """Recordings of one rule, between which its attributes may not change. Whatever the rule did to them is undone."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._numbers = numbers_of(rule)
        self._turn = _Turn()
        self._symbols = [FreeSymbol(number.name, self._turn.now) for number in self._numbers]
        self.others = Others(rule, self._turn.now)
        self.free = True
        self._changed = False

    def __enter__(self) -> _Session:
        self._fingerprint = Fingerprint(self._rule)
        self._kept = Kept(self._rule).__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._changed = not self._fingerprint.holds()
            self._kept.put_back()
        finally:
            self._kept.__exit__()

    def judged(self, made: _Recorded | None, reason: str | None) -> tuple[_Recorded | None, str | None]:
        """What was recorded, once it is known whether the attributes are as they were."""
        return (None, _CHANGES) if self._changed and made else (made, reason)

    def recorded(self, makes: Sequence[_Make[_Recorded]]) -> list[_Found[_Recorded]]:
        """What each gives, with numbers as scalars or as constants; or why nothing is recorded.

        All are recorded in one way before they are in the next: numbers are exchanged once, and not for each.
        """
        found = self._tried(makes, self._symbols)
        firsts: dict[Any, int] = {}
        for place, (made, _) in enumerate(found):
            firsts.setdefault(place if made is None else made, place)
        known: set[Any] = set()
        results: dict[int, _Found[_Recorded]] = {}
        # Of those that give the same the first is looked at; the others where that is not as it should be.
        for places in (list(firsts.values()), range(len(found))):
            left = [place for place in places if place not in results and found[place][0] not in known]
            looked_at = self._looked_at([makes[place] for place in left], [found[place] for place in left])
            results.update(zip(left, looked_at, strict=True))
            known |= {made for made, _ in looked_at if made is not None and self.free}
        return [results.get(place, each) for place, each in enumerate(found)]

    def _looked_at(
        self, makes: Sequence[_Make[_Recorded]], found: Sequence[_Found[_Recorded]]
    ) -> list[_Found[_Recorded]]:
        """What was recorded with numbers as scalars, if it is the same in other ways; or as constants; or why not."""
        plain = self._tried(makes, []) if self._numbers else list(found)
        same = self._same(makes, found, plain) if self._numbers else [True] * len(found)
        results = [one if alike else other for alike, one, other in zip(same, found, plain, strict=True)]
        for one, other, alike in zip(found, plain, same, strict=True):
            # What cannot be recorded for the same reason in both ways says nothing of numbers.
            if not alike and (one[0] is not None or one != other):
                self.free = False
        for symbols, free in ((self._symbols, True), ([], False)):
            places = [place for place, alike in enumerate(same) if alike is free and results[place][0] is not None]
            again = self._tried([makes[place] for place in places], symbols)
            for place, once_more in zip(places, again, strict=True):
                results[place] = _twice(results[place], once_more)
        return results

    def _same(
        self, makes: Sequence[_Make[_Recorded]], found: Sequence[_Found[_Recorded]], plain: Sequence[_Found[_Recorded]]
    ) -> list[bool]:
        """Whether what has numbers as scalars does the same as what has them as constants, with other numbers too.

        With some numbers a rule that does not look at their values only, but at their types, might by chance do so.
        """
        before = [number.read() for number in self._numbers]
        values = self._values()
        same = [_agree(one, other, values) for (one, _), (other, _) in zip(found, plain, strict=True)]
        places = [place for place, alike in enumerate(same) if alike]
        try:
            for number, value in zip(self._numbers, before, strict=True):
                number.write(value * _ANOTHER)
            values = self._values()
            others = self._tried([makes[place] for place in places], [])
            for place, (other, _) in zip(places, others, strict=True):
                same[place] = _agree(found[place][0], other, values)
        finally:
            for number, value in zip(self._numbers, before, strict=True):
                number.write(value)
        return same

    def _values(self) -> dict[str, Any]:
        return {number.name: number.read() for number in self._numbers}

    def _tried(self, makes: Sequence[_Make[_Recorded]], symbols: Sequence[FreeSymbol]) -> list[_Found[_Recorded]]:
        """What each records with numbers as they are, or with symbols in their places; or why nothing."""
        before = [number.read() for number in self._numbers]
        given = [*symbols, *before[len(symbols) :]]
        try:
            for number, symbol in zip(self._numbers, symbols, strict=False):
                number.write(symbol)
            found = [self._tried_one(make) for make in makes]
            if not all(_is_still(number.read(), value) for number, value in zip(self._numbers, given, strict=True)):
                found = [(None, reason or _CHANGES) for _, reason in found]
        finally:
            # All: what is tried out may set those too that are as they are.
            for number, value in zip(self._numbers, before, strict=True):
                number.write(value)
        return found

    def _tried_one(self, make: _Make[_Recorded]) -> _Found[_Recorded]:
        self._turn.scalars = RecordedScalars()
        try:
            return make(self._turn.scalars), None
        except Unrecordable as reason:
            return None, f"it cannot be recorded: {reason}"
        except Exception as error:
            line = line_of_error(error)
            where = "" if line is None else f" in {line}"
            return None, f"recording it raised {type(error).__name__}{where}: {error}"


def _twice(found: _Found[_Recorded], again: _Found[_Recorded]) -> _Found[_Recorded]:
    """What was recorded, if it is the same once more."""
    if again[0] == found[0]:
        return found
    return None, again[1] or "the rule is not the same twice (a random number, a counter)"


def _is_still(now: Any, given: Any) -> bool:
    """Whether a number is what it was, or equal."""
    return now is given or (type(now) is type(given) is float and now == given)


_CHANGES = "the rule changes an attribute of its optimizer"


def _agree(made: Any, plain: Any, values: dict[str, Any]) -> bool:
    """Whether there are programs with numbers as scalars, which do with these values what those with constants do."""
    if made is None or plain is None:
        return False
    if isinstance(made, Program):
        return same_with(made, plain, values)
    return (
        made.cells == plain.cells
        and same_with(made.results, plain.results, values)
        and all(same_with(one, other, values) for one, other in zip(made.programs, plain.programs, strict=True))
    )


def record(
    rule: Rule, others: Others, index: int, scaled: bool, clipped: bool, scalars: RecordedScalars
) -> Program:
    """Run one parameter's whole update on symbols."""
    scope, rate = scope_of_symbols(rule, scalars)
    with lengths_watched():
        # What is asked in here is not asked by the rule.
        recorder, gradient = _add_parameter(rule, index, scope, scalars)
    with others, scope:
        divisor = scalars.named(DIVISOR) if scaled else None
        factor = scalars.named(FACTOR) if clipped else None
        rule.update_parameter(index, rule.prepared_gradient(index, gradient, divisor, factor), rate)
    cells = rule.cells.grouped[index]
    written = {id(cell) for cell, _ in scope.writes()}
    if written - {id(cell.sink) for cell in cells}:
        others.order = "an update writes a number, which others may read"
        raise Unrecordable("a write to what the whole step shares")
    return recorder.program(_outputs(cells, scope, written))


def _record_begin(
    rule: Rule, others: Others, present: Sequence[int], scaled: bool, clipped: bool, scalars: RecordedScalars
) -> BeginProgram:
    scope, rate = scope_of_symbols(rule, scalars)
    for name, cell in shared_numbers(rule):
        # Which it may write.
        scope.hold(cell, scalars.named(name))
    recorded = {index: _add_parameter(rule, index, scope, scalars, among_others=True) for index in present}
    factors = {index: scalars.named(of_parameter(index, FACTOR)) if clipped else None for index in present}
    divisor = scalars.named(DIVISOR) if scaled else None
    with others, scope:
        gradients = _Lazy(
            present, lambda index: rule.prepared_gradient(index, recorded[index][1], divisor, factors[index])
        )
        rule.begin_step(gradients, [rule.cells.parameters[index] for index in present], rate)
    results, cells = _numbers_written(rule, present, scope, scalars)
    written = {id(cell) for cell, _ in scope.writes()}
    programs = tuple(
        own_scalars(recorded[index][0].program(_outputs(rule.cells.grouped[index], scope, written)))
        for index in present
    )
    place, names, constants, operations = scalars.listed()
    everything = Program(0, (), (), (), names, constants, operations)
    return BeginProgram(programs, scalars_alone(everything, [place[symbol.number] for symbol in results]), tuple(cells))


def _numbers_written(
    rule: Rule, present: Sequence[int], scope: Scope, scalars: RecordedScalars
) -> tuple[list[Symbol], list[tuple[int | None, int]]]:
    """The numbers that `begin_step` gave cells on the host, and where these stand: see `BeginProgram`."""
    places: dict[int, tuple[int | None, int]] = {id(cell): (None, k) for k, cell in enumerate(rule.cells.shared)}
    for index in present:
        places |= {id(cell): (index, k) for k, cell in enumerate(rule.cells.numbers[index])}
    results: list[Symbol] = []
    cells: list[tuple[int | None, int]] = []
    for cell, value in scope.writes():
        if cell.backend is not HOST:
            continue
        if id(cell) not in places:
            raise Unrecordable("a write to the learning rate or the steps")
        value = value if isinstance(value, Symbol) else scalars.constant(value)
        if value.scalars is not scalars:
            raise Unrecordable(f"{value.scalars.foreign} written in place of a number")
        if not value.is_scalar:
            raise Unrecordable("an array written in place of a number")
        results.append(value)
        cells.append(places[id(cell)])
    return results, cells


def _add_parameter(
    rule: Rule, index: int, scope: Scope, scalars: RecordedScalars, among_others: bool = False
) -> tuple[Recorder, Symbol]:
    """Let the cells of a parameter hold symbols; its recorder, and the symbol of its gradient."""
    parameter = rule.cells.parameters[index]
    name = compute_dtype(parameter.dtype_name)
    other = next((cell for cell in rule.cells.grouped[index] if cell.shape != parameter.shape), None)
    if other is not None:
        raise Unrecordable(f"slot {other.name!r} has shape {other.shape}, its parameter {parameter.shape}")
    recorder = Recorder(scalars, name, parameter.backend.dtype(name), parameter.shape)
    for cell in rule.cells.grouped[index]:
        scope.hold(cell, recorder.array())
    cells = rule.cells.numbers[index]
    for cell, own in zip(cells, number_names(len(cells)), strict=True):
        scope.hold(cell, scalars.named(of_parameter(index, own) if among_others else own))
    gradient = recorder.array()
    if parameter.sink is not parameter:
        scope.hold(parameter.sink, recorder.record("fill", [scalars.constant(0.0)]))
    return recorder, gradient


def _outputs(cells: Sequence[Variable], scope: Scope, written: set[int]) -> list[tuple[int, Symbol]]:
    outputs = [(position, scope.get(cell.sink)) for position, cell in enumerate(cells) if id(cell.sink) in written]
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

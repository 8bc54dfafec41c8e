"""What of an optimizer a rule may not change while it is tried out, and what it may not read: it is no state."""

from __future__ import annotations

import ast
import contextlib
import operator
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ....backends import Variable, backend_of
from ....backends.mistakes import RuleMistake, WrongValue, line_of_rule
from ....backends.scope import Cell
from ....backends.wording import number_of
from ....backends.written import put_into, running_code, running_statement, text
from ..configuration import STRUCTURE, Snapshot, restore, snapshot
from ..rule import Rule
from .remedies import STEP_NUMBER, change_of, counts, kept_in_build, setting_of
from .source import line_of_setting


class _Trials(threading.local):
    """Which optimizers this thread tries out now, by their identities, and whether each is the outermost one."""

    def __init__(self) -> None:
        self.roles: dict[int, bool] = {}


_TRIALS = _Trials()


def is_on_trial(keeper: object, itself: bool = False) -> bool:
    """Whether this thread tries out an optimizer now; other threads may do anything with it meanwhile.

    Args:
        keeper: the optimizer.
        itself: whether to ask for the outermost one alone, and for none inside of it.
    """
    role = _TRIALS.roles.get(id(keeper))
    return role is not None and (role or not itself)


@contextlib.contextmanager
def undone(rule: Rule) -> Iterator[Callable[[], None]]:
    """A context in which attributes are guarded, and after which they are what they were.

    It gives a function that raises RuleMistake if something was changed until then that is no state.
    """
    keepers = list(rule.all_optimizers())
    before = [(keeper, snapshot(keeper)) for keeper in keepers]
    arrays = [(cell, cell.array) for cell in [*rule.cells.parameters, *(named.cell for named in rule.named_cells())]]

    def check() -> None:
        _check_attributes(before)
        replaced = [cell for cell, array in arrays if cell.array is not array]
        if replaced:
            raise RuleMistake(
                f"{line_of_setting(type(rule).update_step, 'array')} sets the `array` of {replaced[0].name!r}, which a "
                f"step does not read. Write {_assigning(type(rule).update_step, 'array')}."
            )

    roles = _TRIALS.roles
    try:
        for keeper in keepers:
            attributes = vars(keeper)
            for name, value in list(attributes.items()):
                if type(value) is list and any(isinstance(item, Variable) for item in value):
                    attributes[name] = _GuardedList(name, value, len(keeper.cells.parameters))
        _TRIALS.roles = {id(keeper): keeper is rule for keeper in keepers}
        yield check
    finally:
        _TRIALS.roles = roles
        for cell, array in arrays:
            cell.array = array
        for keeper, taken in before:
            restore(keeper, taken)


def _check_attributes(before: Iterable[tuple[Rule, Snapshot]]) -> None:
    """Raise if a rule has put something into a list, a dictionary or a set that is an attribute, or taken it out."""
    for keeper, ((_, attributes), _) in before:
        for name, (value, contents) in attributes.items():
            if name not in STRUCTURE and contents is not value and not _holds_same(value, contents):
                here, there = (list(each.values()) if isinstance(each, dict) else list(each)
                               for each in (value, contents))
                new = [item for item in here if not any(item is other for other in there)]
                line, remedy = change_of(type(keeper).update_step, name, new)
                raise RuleMistake(f"{line} changes what is in `self.{name}`, {_NO_STATE}. {remedy}")


def _holds_same(value: Any, contents: Any) -> bool:
    """Whether two containers have the same objects in them."""
    if len(value) != len(contents):
        return False
    if isinstance(value, dict):
        return all(key in contents and contents[key] is item for key, item in value.items())
    return all(map(operator.is_, value, contents))


def check_no_attribute(rule: Rule, cell: Cell, known: set[str]) -> None:
    """Raise RuleMistake if a rule has given a cell an attribute that it did not have, and take it away."""
    more = [name for name in vars(cell) if name not in known]
    if not more:
        return
    for name in more:
        del vars(cell)[name]
    raise RuleMistake(
        f"{line_of_setting(type(rule).update_step, more[0])} sets `{more[0]}` of {cell.name!r}, which nothing reads. "
        f"Write {_assigning(type(rule).update_step, more[0])}."
    )


def _assigning(function: Any, attribute: str) -> str:
    """How the line that sets an attribute of a cell is written."""
    return "`self.assign({}, {})`".format(*setting_of(function, attribute))


class _GuardedList(list[Any]):
    """A list of slots, whose places are not to be assigned to, and are found by numbers."""

    def __init__(self, name: str, cells: Iterable[Any], count: int) -> None:
        super().__init__(cells)
        self._name = name
        self._count = count

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, Variable):
            raise RuleMistake(
                f"{line_of_rule()} looks for the slot of a parameter in the list `self.{self._name}` by the parameter. "
                f"Write `self.{self._name}[self.variable_index(variable)]`."
            )
        try:
            return super().__getitem__(place)
        except IndexError:
            count = number_of(len(self), "slots")
            if len(self) < self._count and place in range(self._count):
                raise WrongValue(
                    f"{line_of_rule()}: the list `self.{self._name}` has {count} for {self._count} parameters. Append "
                    "one for each parameter in build, and None for a parameter that has none."
                ) from None
            raise WrongValue(
                f"{line_of_rule()}: index {place} is out of range, because `self.{self._name}` has {count}. Write "
                f"`self.{self._name}[self.variable_index(variable)]`."
            ) from None

    def __setitem__(self, place: Any, value: Any) -> None:
        raise RuleMistake(
            f"{line_of_rule()} puts another value into the list of slots `self.{self._name}`, which leaves the slot as "
            f"it is. Write {put_into()}."
        )


def refuse_rate() -> None:
    """Raise RuleMistake, because a rule that is tried out reads the optimizer's rate."""
    read = "self.lr" if running_code() == "self.lr" else "self.learning_rate"
    raise RuleMistake(
        f"{line_of_rule()} reads `{read}`, which is not always the rate of the step: `decay`, torch's groups and "
        "step(..., learning_rate=0.1) change that. Write `learning_rate`, the argument."
    )


def refuse_attribute(name: str, value: Any) -> None:
    """Raise, because a rule that is tried out sets an attribute.

    Args:
        name: of the attribute.
        value: what it is set to.

    Raises:
        RuleMistake: always.
    """
    backend, statement = backend_of(value), running_statement()
    is_array = backend is not None and bool(backend.shape(value))
    given = text(statement.value, "value") if isinstance(statement, ast.Assign) else "value"
    instead = STEP_NUMBER if counts(statement) else kept_in_build(name, is_array, given if is_array else "value")
    raise RuleMistake(f"{line_of_rule()} sets `self.{name}`, {_NO_STATE}. {instead}")


_NO_STATE = "which is not saved, and under jit stays as it was when the step was compiled"

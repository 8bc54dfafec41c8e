"""What of an optimizer a rule may not change while it is tried out, and what it may not read: it is no state."""

from __future__ import annotations

import contextlib
import operator
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ....backends import Variable, backend_of
from ....backends.mistakes import RuleMistake, WrongValue, line_of_function, line_of_rule
from ....backends.scope import Cell
from ..configuration import STRUCTURE, Snapshot, restore, snapshot
from ..rule import Rule
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
                f"{line_of_function(type(rule).update_step)} sets the `array` of {replaced[0].name!r}, which is not "
                "what a step reads: write self.assign(variable, value)."
            )

    roles = _TRIALS.roles
    try:
        for keeper in keepers:
            attributes = vars(keeper)
            for name, value in list(attributes.items()):
                if type(value) is list and any(isinstance(item, Variable) for item in value):
                    attributes[name] = _GuardedList(name, value)
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
                raise RuleMistake(
                    f"{line_of_function(type(keeper).update_step)} changes what is in self.{name}, but {_NO_STATE}. "
                    "State is made in build: slots by self.add_optimizer_variables(variables, name), numbers by "
                    "self.add_scalar(name, 0.0); the number of a step is self.step_of(variable)."
                )


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
        f"{line_of_setting(type(rule).update_step, more[0])} sets `{more[0]}` of {cell.name!r}, which nothing reads: "
        "write self.assign(variable, value), or self.assign_sub(variable, learning_rate * direction)."
    )


class _GuardedList(list[Any]):
    """A list of slots, whose places are not to be assigned to, and are found by numbers."""

    def __init__(self, name: str, cells: Iterable[Any]) -> None:
        super().__init__(cells)
        self._name = name

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, Variable):
            raise RuleMistake(
                f"{line_of_rule()} looks for the slot of a parameter in the list self.{self._name}: write "
                f"self.{self._name}[self.variable_index(variable)]."
            )
        try:
            return super().__getitem__(place)
        except IndexError:
            raise WrongValue(
                f"{line_of_rule()}: the list self.{self._name} has {len(self)} slots, fewer than there are parameters: "
                "append one for each in build, and None for a parameter that has none."
            ) from None

    def __setitem__(self, place: Any, value: Any) -> None:
        raise RuleMistake(
            f"{line_of_rule()} puts another value into the list of slots self.{self._name}, which leaves the slot as "
            f"it is: write self.assign(self.{self._name}[i], value)."
        )


def refuse_rate() -> None:
    """Raise RuleMistake, because a rule that is tried out reads the optimizer's rate."""
    raise RuleMistake(
        f"{line_of_rule()} reads self.learning_rate, which is not always the rate of the step (step(..., "
        "learning_rate=0.1), groups of torch and `decay` have others): write learning_rate, which update_step and "
        "begin_step are given."
    )


def refuse_attribute(name: str, value: Any) -> None:
    """Raise, because a rule that is tried out sets an attribute.

    Args:
        name: of the attribute.
        value: what it is set to.

    Raises:
        RuleMistake: always.
    """
    backend = backend_of(value)
    if backend is not None and backend.shape(value):
        instead = (
            f"Make a slot in build, self.{name} = self.add_optimizer_variables(variables, {name.strip('_')!r}), and "
            f"write self.assign(self.{name}[self.variable_index(variable)], value)."
        )
    else:
        instead = (
            f"Make it in build, self.{name} = self.add_scalar({name.strip('_')!r}, 0.0), and write "
            f"self.assign(self.{name}, value) in begin_step; the number of a step is self.step_of(variable)."
        )
    raise RuleMistake(f"{line_of_rule()} sets self.{name}, but {_NO_STATE}. {instead}")


_NO_STATE = (
    "attributes are no state: under jit they stay what they were when it was compiled, and nothing saves them"
)

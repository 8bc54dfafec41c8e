"""What of an optimizer a rule may not change while it is tried out, and what it may not read: it is no state."""

from __future__ import annotations

import ast
import contextlib
import functools
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ....backends import HOST, Variable, backend_of
from ....backends.mistakes import RuleMistake, WrongValue, is_of_a_rule, line_of_rule
from ....backends.source import running_code, running_statement, text
from ....backends.wording import number_of
from ....backends.written import (
    instead_of_reading,
    instead_of_setting,
    put_into,
    slot_in,
)
from ..configuration import STRUCTURE, Kept, frozen, holds_same, shallow
from ..rule import Rule
from .kept_arrays import KeptArrays
from .remedies import STEP_NUMBER, array_kept_in, change_of, counts, kept_in_build
from .source import names_in_rule


class _Trials(threading.local):
    """Which optimizers this thread tries out now, by their identities, and whether each is the outermost one."""

    def __init__(self) -> None:
        self.roles: dict[int, bool] = {}


_TRIALS = _Trials()


def is_on_trial(keeper: object, itself: bool = False) -> bool:
    """Whether this thread tries out an optimizer now; what other threads set meanwhile is no rule's doing, and stays.

    Args:
        keeper: the optimizer.
        itself: whether to ask for the outermost one alone, and for none inside of it.
    """
    role = _TRIALS.roles.get(id(keeper))
    return role is not None and (role or not itself)


@contextlib.contextmanager
def undone(rule: Rule) -> Iterator[Attributes]:
    """A context in which attributes and cells are guarded, and after which they are what they were."""
    keepers = list(rule.all_optimizers())
    cells = dict.fromkeys([*rule.cells.parameters, *(named.cell for named in rule.named_cells())])
    kinds: list[tuple[Any, Any]] = [(cell, type(cell)) for cell in cells]
    roles, arrays = _TRIALS.roles, KeptArrays(keepers)
    with contextlib.ExitStack() as stack:
        before = [stack.enter_context(Kept(keeper)) for keeper in keepers]
        for keeper, kept in zip(keepers, before, strict=True):
            # What no rule names, another thread may fill: it is its user's.
            named = names_in_rule(type(keeper))
            others = [] if named is None else kept.attributes.keys() - named - STRUCTURE
            kept.attributes |= {name: (kept.attributes[name][0],) * 2 for name in others}
        try:
            for cell, kind in kinds:
                cell.__class__ = _telling(kind)
            for keeper in keepers:
                attributes = vars(keeper)
                for name, value in list(attributes.items()):
                    if type(value) is list and any(isinstance(item, Variable) for item in value):
                        attributes[name] = _GuardedList(name, value, len(keeper.cells.parameters))
            _TRIALS.roles = {id(keeper): keeper is rule for keeper in keepers}
            yield Attributes(keepers, before, arrays)
        finally:
            _TRIALS.roles = roles
            for cell, kind in kinds:
                cell.__class__ = kind
            for kept in before:
                kept.put_back()
            arrays.put_back()


class Attributes:
    """What lists, dictionaries and sets hold that are attributes: a rule may only put there what it finds again.

    So a dictionary may keep, under a shape or a dtype, what follows from that. A count is another one the next time.

    Args:
        keepers: the optimizers.
        before: for each what it had at first.
        arrays: what those held at first that are attributes.
    """

    def __init__(self, keepers: Sequence[Rule], before: Sequence[Kept], arrays: KeptArrays) -> None:
        self._arrays = arrays
        self._known = [
            (keeper, {
                name: (value, contents)
                for name, (value, contents) in kept.attributes.items()
                if name not in STRUCTURE and contents is not value
            })
            for keeper, kept in zip(keepers, before, strict=True)
        ]  # fmt: skip
        self._memos: list[tuple[Rule, str]] = []
        self.have_grown = False

    def check(self, may_grow: bool = True) -> None:
        """Look at what a run has changed.

        Args:
            may_grow: whether there may be something new in a dictionary or a set, which is no array.

        Raises:
            RuleMistake: if more is changed.
        """
        self.have_grown = False
        self._arrays.check()
        for keeper, attributes in self._known:
            for name, (value, contents) in attributes.items():
                if holds_same(value, contents):
                    continue
                here, there = (list(each.values()) if isinstance(each, dict) else list(each)
                               for each in (value, contents))
                new = [item for item in here if not any(item is other for other in there)]
                grows, arrays = _has_all(value, contents), any(map(_has_array, new))
                if grows and arrays and _has_shapes_as_keys(value):
                    raise RuleMistake(array_kept_in(type(keeper).update_step, name))
                if not (may_grow and grows) or arrays:
                    line, remedy = change_of(type(keeper).update_step, name, new)
                    raise RuleMistake(f"{line} changes what is in `self.{name}`, {_NO_STATE}. {remedy}")
                self._memos.append((keeper, name))
                attributes[name] = value, shallow(value)
                self.have_grown = True

    def keep_memos(self) -> None:
        """Have the optimizers know in which of their attributes a rule keeps what belongs to no configuration."""
        for keeper, name in self._memos:
            vars(keeper)["_memos"] = keeper._memos | {name}


def _has_all(value: Any, contents: Any) -> bool:
    """Whether a dictionary or a set has what it had before, and perhaps more; a list has an order, which counts."""
    if isinstance(value, dict):
        return all(key in value and frozen(value[key]) == frozen(item) for key, item in contents.items())
    return isinstance(value, set) and value >= contents


def _has_shapes_as_keys(value: Any) -> bool:
    """Whether a dictionary keeps things under shapes, dtypes and the like, and not by parameters or names."""
    return isinstance(value, dict) and not any(isinstance(key, (int, str)) for key in value)


def _has_array(value: Any) -> bool:
    """Whether something is an array, or a container with one in it."""
    if isinstance(value, Mapping):
        return any(map(_has_array, value.values()))
    if isinstance(value, (list, tuple, set, frozenset)):
        return any(map(_has_array, value))
    return isinstance(value, Variable) or backend_of(value) not in (None, HOST)


def _read_array(cell: Variable) -> Any:
    """The array of a cell, which a rule that is tried out may not ask for: a step holds others."""
    if _is_of_the_rule():
        raise RuleMistake(
            f"{line_of_rule()} reads the `array` of {cell.name!r}, which is not what it holds in a step. "
            f"Write {instead_of_reading('array')}."
        )
    return vars(cell)["array"]


def _keep_array(cell: Variable, array: Any) -> None:
    vars(cell)["array"] = array


def _set_attribute(cell: Variable, name: str, value: Any) -> None:
    """Set an attribute of a cell; a rule that is tried out may set no array, and no new attributes."""
    is_new = name not in vars(cell) and not hasattr(type(cell), name)
    if (is_new or name == "array") and _is_of_the_rule():
        what = "which nothing reads" if is_new else "which a step does not read"
        called = f"`{name}`" if is_new else f"the `{name}`"
        raise RuleMistake(f"{line_of_rule()} sets {called} of {cell.name!r}, {what}. Write {instead_of_setting()}.")
    object.__setattr__(cell, name, value)


def _is_of_the_rule() -> bool:
    """Whether a rule that is tried out does what is done to a cell."""
    return bool(_TRIALS.roles) and is_of_a_rule(sys._getframe(2).f_code.co_filename)


@functools.lru_cache(maxsize=64)
def _telling(kind: type[Any]) -> type[Any]:
    """A class of cells that tell what a rule asks of them."""
    # As the only parent: what has others has another layout in memory, and objects cannot become such.
    members = {"array": property(_read_array, _keep_array), "__setattr__": _set_attribute}
    return type(kind.__name__, (kind,), {"__module__": kind.__module__, "__qualname__": kind.__qualname__, **members})


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
                f"Write `{slot_in(f'self.{self._name}')}`."
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
                f"`{slot_in(f'self.{self._name}')}`."
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

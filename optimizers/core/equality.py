"""Optimizers as values: they compare and hash by what they were made with, and are nodes of JAX's trees.

A jitted function keeps its static arguments by hash and calls no rule again for an equal one. So whoever has been
hashed cannot change any more. As a node of a tree an optimizer has its numbers for leaves, so it may also be an
argument that is not static, be mapped over and be differentiated. Those that were given as arrays are arrays there too,
for those who trace arrays only, as equinox does.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from typing import Any

from ...backends import HOST, Variable, backend_of, is_number, ops, register_node
from ...backends.mistakes import called_by_rule
from ...backends.scope import any_scope
from .building import CellKeeper
from .configuration import STRUCTURE, frozen, note_setting
from .declaring import check_declared, declaring, settable
from .hyperparameters import Number, hyperparameters, remember_array
from .own_rules.configurations import is_own, remembering
from .own_rules.guarding import is_on_trial, refuse_attribute
from .own_rules.reserved_names import check_attribute, check_class
from .synonyms import CALLED_HERE

_RATE = "learning_rate"
_ELSEWHERE = "a leaf"


class ComparedByValue(CellKeeper):
    """Equality, hash and tree of an optimizer. A base of `Optimizer`."""

    _schedule: Callable[..., Any] | None

    def __init_subclass__(cls, **keywords: Any) -> None:
        check_class(cls)
        super().__init_subclass__(**keywords)
        for name, value in list(vars(cls).items()):
            if isinstance(value, types.MemberDescriptorType):
                # Of what `__slots__` names, all attributes are kept where copies and comparisons look for them.
                delattr(cls, name)
        if "__init__" in vars(cls):
            cls.__init__ = declaring(cls.__init__)  # type: ignore[method-assign]  # of the class itself
            if is_own(cls):
                cls.__init__ = remembering(cls.__init__)  # type: ignore[method-assign]  # as above

    def __new__(cls, *arguments: Any, **keywords: Any) -> Any:
        """Make the class known to JAX, if JAX is there."""
        register_node(cls, _flatten, _unflatten)
        return super().__new__(cls)

    def __eq__(self, other: object) -> bool:
        """Whether both are of one class and were made with equal arguments; what they have learned does not count."""
        if self is other:
            return True
        return type(self) is type(other) and frozen(self) == frozen(other)

    def __hash__(self) -> int:
        """By value. From now on the optimizer refuses changes."""
        number = hash(frozen(self))
        # But not where a rule asks, as one does with a method whose results Python keeps.
        if not any_scope():
            vars(self)["_hashed"] = True
        return number

    def __setattr__(self, name: str, value: Any) -> None:
        if is_on_trial(self):
            refuse_attribute(name, value)
        note_setting(self, name)
        if called_by_rule():
            check_attribute(self, name, value)
        if name[0] != "_":
            self._refuse_change(name)
            attributes = vars(self)
            # What `build` makes, a class declares too.
            if name not in attributes and name not in STRUCTURE and not attributes.get("_building"):
                check_declared(self, name, lambda: settable(type(self), self), lambda: CALLED_HERE)
        object.__setattr__(self, name, value)


class _Rest:
    """An optimizer without its numbers; it compares by what remains."""

    __slots__ = ("optimizer", "value")

    def __init__(self, optimizer: ComparedByValue) -> None:
        self.optimizer = optimizer
        self.value = frozen(optimizer)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Rest) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)


def numbers_of(keeper: ComparedByValue) -> dict[str, Any]:
    """The numbers in use, the rate included if it is one. What is off stays off, with the slots it does not need."""
    attributes = vars(keeper)
    rate = {_RATE: keeper.cells.rate.value} if keeper._schedule is None else {}
    return rate | {
        name: attributes[name]
        for name, kind in hyperparameters(type(keeper)).items()
        if isinstance(kind, Number) and name in attributes and not kind.is_off(attributes[name])
    }


def _flatten(optimizer: ComparedByValue) -> tuple[list[Any], _Rest]:
    rest = optimizer.unbuilt_copy()
    leaves: list[Any] = []
    for keeper in rest.all_optimizers():
        numbers = numbers_of(keeper)
        leaves += [_leaf_of(keeper, name, number) for name, number in numbers.items()]
        keeper._arrays = {}
        # Numbers that were given may be traced ones, which nothing static may keep.
        keeper._made_with = {name: value for name, value in keeper._made_with.items() if name not in numbers}
        for name in numbers:
            if name == _RATE:
                keeper.cells.rate = Variable.scalar(0.0, _RATE)
            else:
                vars(keeper)[name] = _ELSEWHERE
    return leaves, _Rest(rest)


def _unflatten(rest: _Rest, leaves: Iterable[Any]) -> Any:
    optimizer = rest.optimizer.unbuilt_copy()
    # JAX also puts trees together from derivatives, batches and objects of its own: nothing is checked.
    remaining = iter(leaves)
    for keeper in optimizer.all_optimizers():
        if keeper._schedule is None:
            leaf = next(remaining)
            keeper.cells.rate.array = _number_of(leaf)
            remember_array(keeper, _RATE, leaf)
        for name in hyperparameters(type(keeper)):
            if vars(keeper).get(name) is _ELSEWHERE:
                leaf = next(remaining)
                vars(keeper)[name] = _number_of(leaf)
                remember_array(keeper, name, leaf)
    return optimizer


def _leaf_of(keeper: ComparedByValue, name: str, number: Any) -> Any:
    """A number, or the array that it was given as if it has not changed since."""
    array = keeper._arrays.get(name)
    return array if array is not None and is_number(number) and float(array) == number else number


def _number_of(leaf: Any) -> Any:
    """A leaf as a float where the host can read one."""
    backend = backend_of(leaf)
    if backend in (None, HOST) or backend.shape(leaf) != ():
        return leaf
    return ops.convert_to_number(leaf)

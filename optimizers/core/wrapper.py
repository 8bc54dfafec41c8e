"""Optimizers around another one, which do something with what its rule does.

A wrapper is the optimizer that it is put around, with one more rule: its class is made of its own and of the other's,
when it is first asked for. So it has that one's hyperparameters, slots, conventions and settings under the names that
these have anyway, in every front end, and is recorded and stored as they are; nothing is passed on by hand. Its
`update_step` may run the rule inside, `super().update_step`, on a cell in the place of the parameter, which collects
by how much that rule changes it: see `delta_of`.

What concerns a whole step, such as whether it is made at all, is no rule, and so no wrapper: that stands in `step.py`.
"""

from __future__ import annotations

import copyreg
import functools
import inspect
import types
import weakref
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from ...backends import Array, DeltaVariable, Variable, ops
from ...backends.arguments import bound, named_in
from ...backends.wording import called
from .configuration import STRUCTURE
from .equality import ComparedByValue
from .optimizer import Optimizer, snake_case

_KINDS: weakref.WeakValueDictionary[tuple[type, type], type] = weakref.WeakValueDictionary()
"""The classes that were made, by those that they are made of."""


class _Inside(NamedTuple):
    """What a wrapper was put around.

    Attributes:
        attributes: the names of those that it had.
        name: its name.
        inside: what it was put around itself, if it is a wrapper.
    """

    attributes: tuple[str, ...]
    name: str
    inside: _Inside | None


class Wrapper(Optimizer):
    r"""An optimizer around another one: subclass it, and write in `update_step` what becomes of that one's step.

    Args:
        optimizer: any other one, unbuilt; a user's own, and another wrapper, too. It is copied with all its settings:
            from then on these are the wrapper's.
        name: what errors call it. Default: the wrapper's class and the optimizer's name.

    Raises:
        TypeError: if it is no optimizer.
        ValueError: if it was built already, has the same wrapper around it, or both have something of one name.

    All hyperparameters of the optimizer are the wrapper's: its rate is `wrapper.learning_rate`, and what was excluded
    from its weight decay stays so. Weight decay that is decoupled comes before the rule and is no part of its step;
    that of a `MultiOptimizer`'s rules is.

    Example:
        >>> import numpy as np
        >>> from gradwise import optimizers
        >>> class Halved(optimizers.Wrapper):
        ...     def update_step(self, gradient, variable, learning_rate):
        ...         delta = self.delta_of(super().update_step, gradient, variable, learning_rate)
        ...         self.assign_add(variable, delta / 2)
        >>> weights = np.array([1.0, 2.0])
        >>> Halved(optimizers.SGD(0.5)).apply([np.array([1.0, -1.0])], [weights])
        1
        >>> weights
        array([0.75, 2.25])
    """

    wrapper: ClassVar[type[Wrapper]]
    """Of a class that was made: the wrapper's own class."""
    wrapped: ClassVar[type[Optimizer]]
    """Of such a class: that of the optimizer inside."""
    _made_of: ClassVar[tuple[type[Wrapper], type[Optimizer]]]
    """Both, in classes that were made alone, whatever names users' classes have."""
    _inside: _Inside | None = None
    _copied: set[str]

    def __new__(cls, *arguments: Any, **keywords: Any) -> Any:
        """An object of the class that is made of this one and of the optimizer's."""
        if _MADE in vars(cls) and not (arguments or keywords):
            # As copies begin.
            return ComparedByValue.__new__(cls)
        own = _own(cls)
        given = bound(own.__name__, inspect.signature(own), arguments, keywords).arguments
        made = ComparedByValue.__new__(_joined(own, type(_checked(own, given.get("optimizer")))))
        if not isinstance(made, cls):
            # Of a class that was made for another optimizer; Python leaves this out then.
            made.__init__(*arguments, **keywords)
        return made

    def __init__(self, optimizer: Optimizer, name: str | None = None) -> None:
        inside = vars(optimizer.unbuilt_copy())
        vars(self).update(inside)
        known = {name for name in inside if name[0] != "_" and not hasattr(Optimizer, name)}
        self._copied = known - {*STRUCTURE, "name"}
        self._inside = _Inside(tuple(sorted(inside.keys() - STRUCTURE)), optimizer.name, inside.get("_inside"))
        self.name = name or f"{snake_case(type(self).wrapper.__name__)}_{optimizer.name}"

    def __reduce_ex__(self, protocol: Any) -> Any:
        """By the classes that its own is made of, because that has no place where it could be found."""
        return _unpickled, (type(self),), self.__getstate__()

    def __setattr__(self, name: str, value: Any) -> None:
        # While it is made: what it sets then are its own attributes.
        if name in vars(self).get("_copied", ()):
            kind = type(self)
            raise ValueError(f"{kind.wrapper.__name__} and {kind.wrapped.__name__} both have `{name}`: {_RENAME}.")
        super().__setattr__(name, value)

    # ---------------------------------------------------------------- the rule inside

    def delta_of(
        self, update_step: Callable[[Array, Variable, Any], None], gradient: Array, variable: Variable,
        learning_rate: Any,
    ) -> Array:  # fmt: skip
        """What a rule would add to a parameter, before it is rounded to that. Slots are changed; the parameter is not.

        Args:
            update_step: the rule, `super().update_step`.
            gradient, variable, learning_rate: as a rule has them.
        """
        stand_in = self._stand_in_for(variable)
        with stand_in.collecting_for(variable, ops.zeros_like(gradient)) as scope:
            update_step(gradient, stand_in, learning_rate)
        return scope.get(stand_in.delta)

    def _stand_in_for(self, variable: Variable) -> DeltaVariable:
        """The cell in the place of a parameter, which the rule inside knows as that parameter."""
        known = self.cells.stand_ins.get(id(variable))
        if known is not None:
            return known
        stand_in = DeltaVariable.standing_for(variable)
        for keeper in self.all_optimizers():
            place = keeper.cells.index.get(id(variable))
            if place is not None:
                keeper.cells.index[id(stand_in)] = place
        return self.cells.stand_ins.setdefault(id(variable), stand_in)

    # ---------------------------------------------------------------- configuration

    def unwrapped(self) -> Any:
        """The optimizer inside, unbuilt, with the settings that it has now."""
        assert self._inside is not None
        kind = type(self).wrapped
        other = ComparedByValue.__new__(kind)
        held = vars(self.unbuilt_copy())
        vars(other).update({
            name: value for name, value in held.items() if name in STRUCTURE or name in self._inside.attributes
        })  # fmt: skip
        other.name = self._inside.name
        if self._inside.inside is not None:
            other._inside = self._inside.inside
        return other

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this again: the optimizer inside, the name, and its own.

        Raises:
            TypeError: if it does not keep an argument under its name.
        """
        own, lost = {}, []
        for name in _arguments_of(type(self).wrapper):
            if hasattr(self, name):
                own[name] = getattr(self, name)
            else:
                lost.append(name)
        if lost:
            kept = ", ".join(f"self.{name}" for name in lost)
            raise TypeError(
                f"{type(self).__name__} has no configuration that it could be made from again: keep what was given in "
                f"{kept}."
            )
        named = {"name": self.name} if "name" in named_in(inspect.signature(type(self).wrapper)) else {}
        return {"optimizer": self.unwrapped(), **named, **own}

    @classmethod
    def from_config(cls, config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
        """A wrapper from what `get_config` gave.

        Args:
            config: the arguments, the optimizer among them.
            custom_objects: has no meaning here; the optimizer is given.

        Raises:
            TypeError, ValueError: as the constructor.
        """
        return _own(cls)(**config)


def _own(kind: type[Wrapper]) -> type[Wrapper]:
    """The wrapper's own class."""
    return kind._made_of[0] if _MADE in vars(kind) else kind


def _arguments_of(wrapper: type[Wrapper]) -> list[str]:
    """Those of the wrapper itself."""
    return [name for name in named_in(inspect.signature(wrapper)) if name not in ("optimizer", "name")]


def _joined(wrapper: type[Wrapper], kind: type[Optimizer]) -> type[Any]:
    """The class of a wrapper around an optimizer of a class."""
    made = _KINDS.get((wrapper, kind))
    if made is None:
        held = {
            _MADE: (wrapper, kind), "wrapper": wrapper, "wrapped": kind, "__init__": _constructor_of(wrapper),
            "__module__": wrapper.__module__, "__doc__": vars(wrapper)["__doc__"],
        }  # fmt: skip
        name = f"{wrapper.__name__}({kind.__name__})"
        made = types.new_class(name, (wrapper, kind), exec_body=lambda own: own.update(held))
        made = _KINDS.setdefault((wrapper, kind), made)
    return made


def _constructor_of(wrapper: type[Wrapper]) -> Callable[..., None]:
    """That of a class that is made with a wrapper. From a wrapper around it `super().__init__` leads here, too."""

    @functools.wraps(wrapper.__init__)
    def constructor(self: Wrapper, *arguments: Any, **keywords: Any) -> None:
        if type(self).wrapper is not wrapper:
            Wrapper.__init__(self, *arguments, **keywords)
            return
        wrapper.__init__(self, *arguments, **keywords)
        vars(self).pop("_copied", None)

    return constructor


def _unpickled(kind: type[Wrapper]) -> Any:
    return ComparedByValue.__new__(kind)


def _pickled_class(kind: type) -> Any:
    """What pickle writes of a class: where it is found, or what it was made of."""
    made_of = vars(kind).get(_MADE)
    return kind.__qualname__ if made_of is None else (_joined, made_of)


copyreg.pickle(type(Wrapper), _pickled_class)


def _checked(wrapper: type[Wrapper], given: Any) -> Optimizer:
    """An optimizer that a wrapper may be put around."""
    owner = wrapper.__name__
    if wrapper is Wrapper:
        raise TypeError("Wrapper does nothing by itself: write a subclass with an update_step, or take Lookahead, ...")
    if not isinstance(given, Optimizer):
        remedy = f": call it, {owner}({given.__name__}(...))" if isinstance(given, type) else ""
        raise TypeError(
            f"{owner} is put around an optimizer, such as {owner}(Adam(1e-3)), received {called(given)}{remedy}."
        )
    if given.built:
        raise ValueError(
            f"{owner}: {given.name!r} was built already, and has state that would be lost: give its unbuilt_copy(), "
            "which has none."
        )
    if isinstance(given, wrapper):
        raise ValueError(f"{owner}: {given.name!r} has one around it already: leave one out.")
    _check_apart(wrapper, type(given))
    return given


def _check_apart(wrapper: type[Wrapper], kind: type[Optimizer]) -> None:
    """Raise if a wrapper and what it is put around would take something for their own that is the other's."""
    own = [each for each in wrapper.__mro__ if each not in Wrapper.__mro__]
    inside = [each for each in kind.__mro__ if each not in Wrapper.__mro__]
    for each in own:
        if each in inside and _RULES.intersection(vars(each)):
            raise ValueError(
                f"{wrapper.__name__} and {kind.__name__} both inherit {each.__name__}, whose rule can stand around "
                "another one only once: let one of them inherit Wrapper, and share functions."
            )
    names = {name for each in inside for name in vars(each)}
    both = [name for each in own for name in vars(each) if name in names and not hasattr(Wrapper, name)]
    if both:
        raise ValueError(f"{wrapper.__name__} and {kind.__name__} both have `{both[0]}`: {_RENAME}.")


_MADE = "_made_of"
_RULES = frozenset(("begin_step", "build", "descend", "evaluation_value", "update_step"))
_RENAME = "call the wrapper's otherwise, or begin its name with two underscores, with which Python keeps it apart"

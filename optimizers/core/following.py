"""What an optimizer takes of its convention: the values that stand behind None, and what does not exist in it."""

from __future__ import annotations

from typing import Any, ClassVar

from ...backends import is_number
from .conventions import facts_of
from .hyperparameters import UNKNOWN, Fixed, Hyperparameter
from .rule import Rule


def conventions_having(kind: type[FollowsConvention], hyperparameter: Hyperparameter) -> list[str] | None:
    """The conventions of a class in which a hyperparameter means something; None if no convention says anything of it.

    Args:
        kind: the class.
        hyperparameter: of it.
    """
    name = hyperparameter.name
    if name == "weight_decay":
        return [each for each in kind.conventions if each in kind.weight_decay_forms]
    if name == "maximize":
        return [each for each in kind.conventions if facts_of(each).has_maximize]
    rows = kind.conventions.items()
    if not any([name in row for _, row in rows]) and not may_be_lacked(kind, hyperparameter):
        return None
    return [each for each, row in rows if name in row and not isinstance(row[name], Fixed)]


def may_be_lacked(kind: type[FollowsConvention], hyperparameter: Hyperparameter) -> bool:
    """Whether a hyperparameter need not exist in every convention of a class, or of one of its parents."""
    return hyperparameter.says_neutral or hyperparameter.name in kind.sometimes_lacked


class FollowsConvention(Rule):
    """Takes hyperparameters as its convention has them. A base of `Optimizer`; see there for the attributes."""

    conventions: ClassVar[dict[str, dict[str, Any]]]
    weight_decay_forms: ClassVar[dict[str, str]]
    sometimes_lacked: ClassVar[frozenset[str]]
    clipvalue: float | None
    decoupled_weight_decay: Any

    def _resolve(self, **arguments: Any) -> None:
        """Set hyperparameters; None takes the convention's own value."""
        for name, value in arguments.items():
            setattr(self, name, self._own_value(name) if value is None else value)

    def _refuse_if(self, unfit: Any, why: str, *names: str) -> None:
        """Raise if hyperparameters do not go together.

        Args:
            unfit: whether they do not.
            why: a sentence without its end.
            names: of those whose values it shall tell.
        """
        if unfit:
            given = " and ".join(f"{name}={getattr(self, name)!r}" for name in names)
            owner = f'{type(self).__name__}, convention "{self.convention}"'
            raise ValueError(f"{owner}: {why}{', received ' if given else ''}{given}.")

    def _own_value(self, name: str) -> Any:
        """The convention's own value of an argument, `Fixed` or not."""
        # A subclass may have put something plain in a hyperparameter's place.
        declared = (vars(kind).get(name) for kind in type(self).__mro__)
        known = next((each for each in declared if isinstance(each, Hyperparameter)), None)
        has_neutral = known is not None and known.neutral is not UNKNOWN and may_be_lacked(type(self), known)
        own = type(self).conventions[self.convention].get(name, known.neutral if known and has_neutral else None)
        return own.value if isinstance(own, Fixed) else own

    def _check_convention_has(self, hyperparameter: Hyperparameter, value: Any) -> None:
        """Refuse a value that means something in other conventions only."""
        convention, kind, name = vars(self).get("convention"), type(self), hyperparameter.name
        found = None if convention is None else self._conventions_with(hyperparameter)
        if found is None:
            return
        having, nothing = found
        same = value is nothing or (is_number(value) and value == nothing)
        if convention not in having and not same:
            where = f"it is always {nothing!r}"
            if having:
                add = f"add convention={having[0]!r} for its formula"
                where = f"it exists in {', '.join(map(repr, having))}; leave it out, or {add}"
            raise ValueError(
                f"{kind.__name__}: `{name}` does not exist in convention {convention!r}, received {value!r}; {where}."
            )

    def _conventions_with(self, hyperparameter: Hyperparameter) -> tuple[list[str], Any] | None:
        """The conventions in which a hyperparameter means something, and the value that changes nothing in the others;
        None if no convention says anything of it."""
        having = conventions_having(type(self), hyperparameter)
        if having is None:
            return None
        nothing = {"weight_decay": None, "maximize": False}
        name = hyperparameter.name
        return having, nothing[name] if name in nothing else self._own_value(name)

    def _check_combinations(self) -> None:
        clips = {name: getattr(self, name) for name in ("clipnorm", "clipvalue", "global_clipnorm")}
        given = {name: value for name, value in clips.items() if value is not None}
        owner = type(self).__name__
        if facts_of(self.convention).clipnorm_is_global:
            if self.global_clipnorm is not None:
                raise ValueError(
                    f'{owner}: convention "{self.convention}" has no `global_clipnorm`; its `clipnorm` is the global '
                    "norm."
                )
        elif len(given) > 1:
            raise ValueError(
                f"{owner}: only one of `clipnorm`, `clipvalue` and `global_clipnorm` can be set, received {given}."
            )

    def _decay_is_coupled(self) -> bool:
        coupled = type(self).weight_decay_forms.get(self.convention) == "coupled"
        return coupled and not self.decoupled_weight_decay

"""What a rule is given to read while it is tried out: it does all that an array does, but cannot be changed.

In NumPy and torch `gradient *= 2` changes the array itself, which is the caller's, or what another rule reads after
this one; in JAX, and while a rule is recorded, it only gives a name to another value.
"""

from __future__ import annotations

from typing import Any

from .mistakes import MissingAttribute, RuleMistake, line_of_rule, nearest
from .variable import Variable


class Given(Variable):
    """An array that a rule may read and not change. Made by `Given.over`."""

    def assign(self, value: Any) -> None:
        """Refused."""
        raise RuleMistake(
            f"{line_of_rule()} assigns to the {self.name}, which belongs to the caller: assign to the variable or a "
            "slot, or give the value a name of its own."
        )

    def assign_add(self, delta: Any) -> None:
        """Refused."""
        self.assign(delta)

    def assign_sub(self, delta: Any) -> None:
        """Refused."""
        self.assign(delta)

    def refuse_change(self, sign: str) -> Any:
        """See `Variable`."""
        raise RuleMistake(
            f"{line_of_rule()}: `{sign}` on the {self.name} would change the caller's array on some libraries and not "
            f"on others: write `{self.name} = {self.name} {sign.removesuffix('=')} ...`."
            if sign != "[...] ="
            else f"{line_of_rule()} sets elements of the {self.name}, which would change the caller's array: make a "
            "new value with ops.where(condition, value, other)."
        )

    def __str__(self) -> str:
        return str(self.value)

    def __format__(self, spec: str) -> str:
        return format(self.value, spec)

    def __len__(self) -> int:
        return len(self.value)

    def __jax_array__(self) -> Any:
        return self.value

    def __getattr__(self, name: str) -> Any:
        if name[:2] == "__":
            raise AttributeError(name)
        value = self.value
        try:
            return getattr(value, name)
        except AttributeError:
            raise MissingAttribute(_missing(self.name, value, name)) from None


def _missing(called: str, value: Any, name: str) -> str:
    near = nearest(name, [each for each in dir(value) if each[0] != "_"])
    meant = f"did you mean {near!r}?" if near is not None else "what every library has are functions of ops."
    return f"{line_of_rule()}: the {called} has no {name!r}: {meant}"

"""What a functional step computes from its scalars, once for all parameters.

Every parameter's rule asks for the same bias corrections of the same count. Of a number of the host's that costs
nothing; of a tracer, each would be traced, lowered and compiled again for every parameter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from .detect import backend_for, backend_of
from .python import HOST
from .scope import innermost_step

_Result = TypeVar("_Result")


def once(function: Callable[..., _Result], *scalars: Any) -> _Result:
    """What a function of scalars gives; where they are traced, computed for the first parameter that asks for it.

    So a rule says `once(self._weights_at, self.step_of(variable))` for what all parameters have in common. Whatever
    else the function looks at has to be the same for all of them.

    Args:
        function: of scalars; a method or a function that has a name, since a lambda is new each time.
        *scalars: numbers, 0-d arrays, traced scalars, or what decides as a number does, such as a dtype.

    Returns:
        What the function returns: a scalar, or a tuple of scalars, numbers and None.
    """
    step = innermost_step()
    if step is None or not any(map(_is_array, scalars)):
        return function(*scalars)
    owner = getattr(function, "__self__", None)
    # Objects are told apart by identity: optimizers that are equal may differ in what is traced in them.
    name = (id(owner), function.__func__) if hasattr(function, "__func__") else function
    key = name, *(id(scalar) if _is_array(scalar) else (type(scalar), scalar) for scalar in scalars)
    if key in step.computed:
        found: _Result = step.computed[key][1]
        return found
    result = function(*scalars)
    # In a transformation of the rule's own, such as a loop, nothing is kept that may not leave it, or would outlive it.
    here = step.level == backend_for(*filter(_is_array, scalars)).level()
    if here and all(_lasts(part, scalars) for part in (result if isinstance(result, tuple) else (result,))):
        # What has an identity in the key is kept beside it: an identity is unique only while the object lives.
        step.computed[key] = (owner, scalars), result
    return result


def _is_array(scalar: Any) -> bool:
    return backend_of(scalar) not in (None, HOST)


def _lasts(result: Any, scalars: tuple[Any, ...]) -> bool:
    backend = backend_of(result)
    if backend is None or backend is HOST:
        return True
    return any(_is_array(scalar) and backend.lasts_like(result, scalar) for scalar in scalars)

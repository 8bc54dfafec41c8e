"""What a traced step computes from its scalars, once for all parameters.

Every parameter's rule asks for the same bias corrections of the same count. On the host that costs nothing; traced,
each would be traced, lowered and compiled again for every parameter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .detect import HOST, backend_of
from .scope import StepScope, innermost_step


def once(name: Any, scalar: Any, compute: Callable[[], Any]) -> Any:
    """What a function gives of a scalar: from the step that runs, if it was asked for before.

    Args:
        name: of the function, with all else that it depends on.
        scalar: a number or a traced scalar.
        compute: calls the function.
    """
    backend = backend_of(scalar)
    step: StepScope | None = None if backend is None or backend is HOST else innermost_step()
    if backend is None or step is None:
        return compute()
    key = name, id(scalar)
    if key in step.computed:
        return step.computed[key][1]
    result = compute()
    # What was computed inside a transformation of the rule's own, such as a loop, may not leave it.
    if backend.traced_alike(scalar, result):
        # The scalar is kept beside it: an identity is unique only while the object lives.
        step.computed[key] = scalar, result
    return result

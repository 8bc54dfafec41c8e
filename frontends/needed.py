"""Words for a framework that is not installed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def needed(extra: str) -> Iterator[None]:
    """Import, in this context, what a front end is for.

    Args:
        extra: of gradwise, which brings it; the front end has the same name.

    Raises:
        ModuleNotFoundError: if a module is missing, with the command that installs it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or extra).partition(".")[0]
        raise ModuleNotFoundError(
            f"gradwise.frontends.{extra} needs {name}, which is not installed here: pip install 'gradwise[{extra}]' "
            f"installs it, or from a clone pip install '.[{extra}]'.",
            name=error.name,
        ) from error

"""Words for a framework that is not installed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def needed(extra: str, beside: str = "") -> Iterator[None]:
    """Import, in this context, what a front end is for.

    Args:
        extra: of gradwise, which brings it; the front end has the same name.
        beside: what to do where something else is missing than what it is named for. Default: the same.

    Raises:
        ModuleNotFoundError: if a module is missing, with the command that installs it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or extra).partition(".")[0]
        remedy = f": pip install 'gradwise[{extra}]' installs it, or from a clone pip install '.[{extra}]'."
        raise ModuleNotFoundError(
            f"gradwise.frontends.{extra} needs {name}, which is not installed here"
            + (f". {beside}" if beside and name != extra else remedy),
            name=error.name,
        ) from error

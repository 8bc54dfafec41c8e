"""Users' mistakes, and the sentence that each gives: a module for what is made in each framework, a page for each.

In a module every function is a mistake, and its docstring says in a few words which. `tests/errors/sentences/` has the
pages: `make refresh` writes them, tests compare them, and people read them, who judge what a newcomer is told.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import subprocess
import sys
import textwrap
import types
import warnings
from collections.abc import Callable
from pathlib import Path

MODULES = {
    "numpy": "in_numpy", "torch": "in_torch", "jax": "in_jax", "scipy": "in_scipy", "keras": "in_keras",
    "rules": "in_rules",
}  # fmt: skip
"""For each page its module."""
PAGES = Path(__file__).resolve().parents[2] / "errors" / "sentences"
_SILENCE = "nothing is said"


def titles(page: str) -> list[str]:
    """Of the mistakes on a page, as it is; no framework is needed to know them."""
    return re.findall(r"^## (.+)$", written(page), re.MULTILINE)


def written(page: str) -> str:
    """A page as it is."""
    path = _path(page)
    return path.read_text(encoding="utf-8") if path.exists() else ""


def section(page: str, title: str) -> str:
    """What a page has of a mistake."""
    return written(page).partition(f"## {title}\n")[2].partition("\n## ")[0].strip("\n")


def mistakes(page: str) -> dict[str, Callable[[], object]]:
    """The functions of a page's module under their titles, in their order."""
    module = importlib.import_module(f"{__name__}.{MODULES[page]}")
    own = [
        each
        for each in vars(module).values()
        if isinstance(each, types.FunctionType) and each.__module__ == module.__name__ and each.__name__[0] != "_"
    ]
    found = {str(each.__doc__).strip().rstrip("."): each for each in own}
    twice = [each.__name__ for each in own if each not in found.values()]
    assert not twice, f"the titles of {twice} are those of others"
    return found


def told(mistake: Callable[[], object]) -> str:
    """A mistake's code, and what it gives: an error, or a warning."""
    lines = inspect.getsource(mistake).splitlines()[2:]
    code = [line.rstrip() for line in textwrap.dedent("\n".join(lines)).strip("\n").splitlines()]
    return "\n".join([*(f"    {line}".rstrip() for line in code), "", sentence(mistake)])


def sentence(mistake: Callable[[], object]) -> str:
    """The error or the warning of a mistake, with its class, as a terminal shows it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # What stands in a rule is no mistake by itself.
        make = vars(sys.modules[mistake.__module__]).get("_make", _called)
        try:
            make(mistake)
        except Exception as error:
            return f"{type(error).__name__}: {_everywhere(_text(error))}"
    said = [each for each in caught if issubclass(each.category, (UserWarning, RuntimeWarning))]
    return "\n".join(f"{each.category.__name__}: {_everywhere(str(each.message))}" for each in said) or _SILENCE


def _called(mistake: Callable[[], object]) -> None:
    mistake()


def _text(error: BaseException) -> str:
    # Of a KeyError Python shows what it was given, in quotation marks.
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)


def _everywhere(text: str) -> str:
    """A sentence without what depends on the machine, on lines, and on how many models Keras made before."""
    text = re.sub(r"0x[0-9a-f]+", "0x...", text)
    text = re.sub(r"(\w\.py):\d+", r"\1:...", text)
    return re.sub(r"\b(sequential|adam_w|adam|sgd)_\d+", r"\1", text)


def is_told(text: str) -> bool:
    """Whether a mistake gives anything."""
    return not text.endswith(_SILENCE)


def page(name: str) -> str:
    """A page as it should be."""
    head = f"# What mistakes give: {name}\n\nWritten by `make refresh`; the code is in tests/helpers/mistakes/."
    return "\n\n".join([head, *(f"## {title}\n\n{told(each)}" for title, each in mistakes(name).items())]) + "\n"


def write(*names: str) -> None:
    """Write pages."""
    PAGES.mkdir(exist_ok=True)
    for name in names:
        _path(name).write_text(page(name), encoding="utf-8", newline="\n")


def write_all() -> None:
    """Write all of them, each in a process of its own, because Keras reads its settings once."""
    for name in MODULES:
        command = [sys.executable, "-c", f"from helpers import mistakes; mistakes.write({name!r})"]
        settings = {"KERAS_BACKEND": "torch", "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run(command, env={**os.environ, **settings}, check=True, stdout=subprocess.DEVNULL)


def _path(page: str) -> Path:
    return PAGES / f"{page}.md"

"""Docstrings as pages of help(): put together when they are read."""

from __future__ import annotations

import abc
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from .arguments import without_types
from .mathematics import readable

_ENTRY = re.compile(r"    (?=\S)(\*{0,2}\w+(?:, \*{0,2}\w+)*): ")
_SEE = re.compile(r"^    \*{0,2}\w+(?:, \*{0,2}\w+)*: see [^.\n]*\.(?:\n|\Z| )", re.MULTILINE)
"""An argument of which another page tells, whatever follows in its line."""
_AFTER_ARGUMENTS = re.compile(r"^(?:Raises|Returns|Attributes|Example):", re.MULTILINE)
_SPHINX = re.compile(r":\w+:`~?([^`]*)`")
_WIDTH = 116
"""Of a line that tells of a method; pydoc puts four characters before it."""
_LIBRARY = f"{__name__.partition('.')[0]}."

if TYPE_CHECKING:
    _Metaclass = abc.ABCMeta
else:
    # So that users' classes may inherit from an abstract class or a protocol besides.
    _Metaclass = type(Protocol)


class Paged(_Metaclass):
    """The class of classes whose page tells of all that they have, with a line each.

    pydoc would add everything that they inherit, which here is a whole engine: it is told of what a user's own classes
    define. `dir` is whole for everybody else, such as completion and mocks.
    """

    def __dir__(cls) -> list[str]:
        names = list(super().__dir__())
        if sys._getframe(1).f_code is not inspect.classify_class_attrs.__code__:
            return names
        ours = next((each for each in cls.__mro__ if f"{each.__module__}.".startswith(_LIBRARY)), object)
        own = {name for each in cls.__mro__ if each not in ours.__mro__ for name in vars(each)}
        return [name for name in names if name in own and name not in _OF_EVERY_CLASS]

    # pydoc would find this class's own text in the place of theirs.
    __doc__ = type.__dict__["__doc__"]
    __instancecheck__ = abc.ABCMeta.__instancecheck__
    __subclasscheck__ = abc.ABCMeta.__subclasscheck__


_OF_EVERY_CLASS = frozenset((
    "__annotations__", "__signature__", "__abstractmethods__", "own_tables", "sometimes_lacked",
))  # fmt: skip
"""What classes have beside what their authors write."""


class Page:
    """A class's docstring. Its formulas, which are in TeX in the file, are in signs that a terminal shows.

    Args:
        text: as it stands in the file.
        finish: makes the page of a class from the text.
        formulas: whether it has any; those of users' classes stay as they are, whatever a `$` stands for there.
    """

    def __init__(
        self, text: str, finish: Callable[[type, str], str] | None = None, formulas: bool = True
    ) -> None:
        self.text, self._finish, self._formulas = inspect.cleandoc(text), finish, formulas
        self._page: str | None = None

    def __get__(self, instance: Any, owner: type) -> str:
        if self._page is None:
            try:
                text = readable(self.text) if self._formulas else self.text
                self._page = text if self._finish is None else self._finish(owner, text)
            except Exception:
                # Who reads a text, as decorators of classes do, asks for no error.
                self._page = self.text
        return self._page

    @property
    def summary(self) -> str:
        """Its first line."""
        return readable(self.text.partition("\n")[0])


def show_as_page(kind: type, finish: Callable[[type, str], str] | None = None, formulas: bool = True) -> None:
    """Make a page of a class's docstring, if it has one.

    Args:
        kind: the class.
        finish, formulas: as of `Page`.
    """
    text = vars(kind).get("__doc__")
    if isinstance(text, str):
        kind.__doc__ = Page(text, finish, formulas)  # type: ignore[assignment]  # of which reading gives a string


def with_arguments(
    text: str, names: Iterable[str], told: Mapping[str, str], title: str, edited: bool = True
) -> str:
    """A page on which arguments that it does not tell of itself follow its own, with a line each.

    Args:
        text: the page.
        names: of all arguments, in their order; of what takes any number with its stars.
        told: what is said of them.
        title: over the lines.
        edited: whether lines are left out that refer to another page for what then follows here.
    """
    after = _AFTER_ARGUMENTS.search(text)
    place = len(text) if after is None else after.start()
    before = text[:place]
    if edited:
        before = _SEE.sub(lambda found: "    " if found[0][-1] == " " else "", before)
        before = re.sub(r"^Args:\n(?!    )\n?", "", before, flags=re.MULTILINE)
    own = first_sentences(before)
    lines = [f"    {name}: {told[bare]}" for name in names if (bare := name.strip("*")) in told and bare not in own]
    parts = [before.rstrip(), "\n".join([f"{title}:", *lines]) if lines else "", text[place:]]
    return "\n\n".join(part for part in parts if part)


def first_sentences(text: str) -> dict[str, str]:
    """For each argument that a page tells of the first sentence about it."""
    section = re.search(r"^Args:\n((?:    .*\n?|\n(?=    ))*)", text, re.MULTILINE)
    found: dict[str, str] = {}
    for entry in [] if section is None else re.split(r"\n(?=    \S)", section[1]):
        named = _ENTRY.match(entry)
        if named is not None:
            said = " ".join(entry[named.end() :].split())
            sentence = re.split(r"(?<=\.)\s", said, maxsplit=1)[0]
            found.update((name.strip("* "), sentence) for name in named[1].split(","))
    return found


def summaries(kind: type, names: Iterable[str], title: str) -> str:
    """Methods and properties of a class, with their arguments and a line of each.

    Args:
        kind: the class.
        names: of these.
        title: over the lines.
    """
    return "\n".join([f"{title}:", *(_summary(name, getattr(kind, name)) for name in names)])


def _summary(name: str, thing: Any) -> str:
    first, _, rest = (inspect.getdoc(thing) or "").partition("\n\n")[0].partition("\n")
    # Those of frameworks may go on in the next line, and refer to others in Sphinx's way.
    told = first if first.endswith(".") else re.split(r"(?<=\.)\s", f"{first} {' '.join(rest.split())}", maxsplit=1)[0]
    told = readable(_SPHINX.sub(r"`\1`", told)).strip()
    arguments = f"({', '.join(without_types(inspect.signature(thing)))})" if callable(thing) else ""
    return "\n".join(textwrap.wrap(f"    {name}{arguments}: {told}", _WIDTH, subsequent_indent=" " * 8))

"""Words for names that do not exist: which were probably meant, and which there are.

Every message about an unknown name is put together here: of arguments, attributes, parameters, slots, conventions, ops,
and what modules have.
"""

from __future__ import annotations

import importlib
import importlib.util
import operator
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

from .detect import describe, shown

_ALIKE = 0.7
"""From which likeness on, of at most 1, a name was probably meant."""
_PART, _FEW_LETTERS = 0.75, 3
"""How alike a name and a part of it are, and of how many letters that part says nothing."""
_ALL_LETTERS = 0.9
"""How alike names are at least that differ in the order of two letters, or in one that is there twice."""
_MOST = 10
"""Of so many names all are listed."""

Synonyms = Mapping[str, Sequence[tuple[str, ...]]]
"""For each name that is used elsewhere what may be meant by it: the first of these that is there is, if it is whole."""


def same(*meanings: Sequence[str]) -> dict[str, list[tuple[str, ...]]]:
    """Synonyms from names that all mean the same: each stands for each of the others.

    Args:
        *meanings: for each meaning the names that it has anywhere.
    """
    found: dict[str, list[tuple[str, ...]]] = {}
    for names in meanings:
        for name in names:
            found.setdefault(name, []).extend((other,) for other in names if other != name)
    return found


NO_SYNONYMS: Synonyms = {}


def nearest_first(name: str, known: Iterable[str]) -> list[str]:
    """Names in the order of their likeness to a name; of those that are equally alike the earlier ones first.

    Args:
        name: any text, also a regular expression.
        known: the names.
    """
    return sorted(dict.fromkeys(known), key=lambda other: -_likeness(name, other))


def meant(name: str, known: Iterable[str], synonyms: Synonyms = NO_SYNONYMS, alike: float = _ALIKE) -> list[str]:
    """The names that were probably meant by one that does not exist: its synonyms, else the one that is most alike.

    A name that means something elsewhere is no misspelling: where that is not there, none was meant.

    Args:
        name: the name.
        known: the names that there are.
        synonyms: what is meant by names that are used elsewhere.
        alike: from which likeness on, of at most 1, a name was probably meant.

    Returns:
        Names, or an empty list.
    """
    known = list(dict.fromkeys(known))
    if name in synonyms:
        return synonyms_of(name, known, synonyms)
    likely = nearest_first(name, known)[:1]
    if likely and _likeness(name, likely[0]) >= alike:
        return likely
    # A synonym that was misspelt.
    longer = [each for each in synonyms if len(each) > _FEW_LETTERS]
    likely = nearest_first(name, longer)[:1]
    return synonyms_of(likely[0], known, synonyms) if likely and _likeness(name, likely[0]) >= alike else []


def synonyms_of(name: str, known: Iterable[str], synonyms: Synonyms) -> list[str]:
    """Those of some known names that mean what a name does."""
    known = set(known)
    return next((list(names) for names in synonyms.get(name, ()) if known.issuperset(names)), [])


def did_you_mean(names: Sequence[str], known: Iterable[str], synonyms: Synonyms = NO_SYNONYMS) -> str:
    """The question whether other names were meant by some that do not exist, with a space before it; or nothing.

    Args:
        names: those that do not exist.
        known, synonyms: as in `meant`.
    """
    known = list(known)
    pairs = [(name, " and ".join(f"`{each}`" for each in meant(name, known, synonyms))) for name in names]
    found = [(name, others) for name, others in pairs if others]
    if not found:
        return ""
    if len(names) == 1:
        return f" Did you mean {found[0][1]}?"
    return f" Did you mean {', '.join(f'{others} for `{name}`' for name, others in found)}?"


def which_instead(names: Sequence[str], known: Iterable[str], what: str, synonyms: Synonyms = NO_SYNONYMS) -> str:
    """What is said behind an error about names that do not exist: which were meant; if that is not known, which exist.

    Args:
        names: those that do not exist.
        known, synonyms: as in `meant`.
        what: what those that there are are called, as in "Its arguments".

    Returns:
        One or two sentences, with a space before them.
    """
    known = list(known)
    likely = [meant(name, known, synonyms) for name in names]
    question = did_you_mean(names, known, synonyms)
    if all(likely):
        return question
    first = [each for names in likely for each in names]
    return f"{question} {what} are {listed([*first, *known], quoted=False)}."


def no_such_name(module: str, name: str, known: Iterable[str], elsewhere: Mapping[str, str] | None = None) -> Exception:
    """The error of a module that is asked, in its `__getattr__`, for what it has not.

    Args:
        module: its name.
        name: what it was asked for.
        known: what it has.
        elsewhere: for names that are found elsewhere, or are nowhere, what to do.

    Returns:
        An AttributeError. Inside of `from module import name`, where Python would not tell of it, an ImportError if
        there is something to tell: others ask so for the module alone, with a name that nothing has.
    """
    known = list(known)
    if name.startswith("__"):
        return AttributeError(f"module {module!r} has no attribute {name!r}")
    remedy = (elsewhere or {}).get(name)

    def said() -> str:
        if remedy is None:
            return f"There is no {module}.{name}.{which_instead([name], known, 'Its names')}"
        nearly = [each for each in known if _one_letter_apart(name, each)]
        own = f", or {module}.{nearly[0]} if that was meant" if nearly else ""
        return f"{module} has no `{name}`: {remedy}{own}."

    asker = sys._getframe(1).f_back
    importing = asker is not None and asker.f_code.co_name == "_handle_fromlist" and name.isidentifier()
    if importing and (remedy or meant(name, known)) and importlib.util.find_spec(f"{module}.{name}") is None:
        return ImportError(said(), name=module)
    return SaidWhenRead(said)


class _File(ModuleType):
    """A module whose name people type for what it has, such as `adamw` for `AdamW`."""

    def __reduce__(self) -> Any:
        # As cloudpickle does with what is a module and no more.
        return importlib.import_module, (self.__name__,)


def name_files(package: str, names: Iterable[str]) -> None:
    """Have Python's error where a file of a package is called say which names were meant.

    It names the type of what is called; a method `__call__` would make such a file look like a function to others.

    Args:
        package: its name.
        names: what it has from files of its own.
    """
    found: dict[str, list[str]] = {}
    for name in names:
        file = str(getattr(vars(sys.modules[package])[name], "__module__", ""))
        if file in sys.modules and file.rpartition(".")[0] == package:
            found.setdefault(file, []).append(f"{package.rpartition('.')[2]}.{name}")
    for file, own in found.items():
        sys.modules[file].__class__ = type(f"module (write {' or '.join(own)})", (_File,), {"__module__": __name__})


class SaidWhenRead(AttributeError):
    """An AttributeError of which the text is made when it is read: `hasattr` and `getattr` with a default read none.

    Args:
        said: the text, or a function of nothing that gives it.
    """

    def __init__(self, said: str | Callable[[], str]) -> None:
        super().__init__(said)

    @property
    def args(self) -> tuple[Any, ...]:  # type: ignore[override]  # of which others only read
        """The text."""
        held: tuple[Any, ...] = BaseException.args.__get__(self)  # type: ignore[attr-defined]  # as above
        if held and callable(held[0]):
            held = (held[0](),)
            BaseException.args.__set__(self, held)  # type: ignore[attr-defined]  # as above
        return held

    def __str__(self) -> str:
        return str(self.args[0])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.args[0]!r})"

    def __reduce__(self) -> Any:
        kind = AttributeError if type(self) is SaidWhenRead else type(self)
        return kind, self.args, self.__dict__


# As which tracebacks show it, and users know it.
SaidWhenRead.__name__ = SaidWhenRead.__qualname__ = AttributeError.__name__
SaidWhenRead.__module__ = AttributeError.__module__


def called(value: object) -> str:
    """What a value is, for an error message; of a class its name, and that it is one."""
    return f"the class {value.__name__}" if isinstance(value, type) else describe(value)


def of_class(kind: type) -> str:
    """Something of a class, where its text would be long."""
    return f"an object of class {kind.__name__}"


def number_of(count: int, things: str) -> str:
    """A count with what is counted, such as "2 steps" and "1 step"."""
    return f"{count} {things if count != 1 else things.removesuffix('s')}"


def listed(known: Iterable[str], near: str = "", quoted: bool = True) -> str:
    """Names as text: those that are most like a name first, and of many how many more there are.

    Args:
        known: the names.
        near: the name. Default: in the order in which they are given.
        quoted: whether in quotation marks.
    """
    names = nearest_first(near, known) if near else list(dict.fromkeys(known))
    texts = [shown(name) if quoted else str(name) for name in names]
    if len(texts) <= _MOST:
        return ", ".join(texts) or "none"
    return f"{', '.join(texts[:_MOST])} and {len(texts) - _MOST} more"


def _one_letter_apart(name: str, other: str) -> bool:
    return len(name) == len(other) and sum(map(operator.ne, name, other)) == 1


def _two_exchanged(name: str, other: str) -> bool:
    """Whether two letters that follow one another stand in the other order."""
    apart = [place for place, (one, another) in enumerate(zip(name, other, strict=False)) if one != another]
    if len(name) != len(other) or len(apart) != 2 or apart[1] != apart[0] + 1:
        return False
    first, second = apart
    return name[first] == other[second] and name[second] == other[first]


def _one_twice(short: str, long: str) -> bool:
    """Whether a name is another with one of its letters doubled."""
    doubled = (place for place in range(1, len(long)) if long[place] == long[place - 1])
    return len(long) == len(short) + 1 and any(long[:place] + long[place + 1 :] == short for place in doubled)


def _likeness(name: str, other: str) -> float:
    """How alike two names are, at most 1; letters and digits count, in whichever case."""
    # Only for words about mistakes: who makes none does not wait for the import.
    from difflib import SequenceMatcher

    short, long = sorted(("".join(filter(str.isalnum, text.lower())) for text in (name, other)), key=len)
    ratio = SequenceMatcher(a=long, b=short, autojunk=False).ratio()
    if _two_exchanged(short, long) or _one_twice(short, long):
        # All letters are there.
        ratio = max(ratio, _ALL_LETTERS)
    # Of names that are paths people search for a part.
    return max(ratio, _PART) if len(short) > _FEW_LETTERS and short in long else ratio

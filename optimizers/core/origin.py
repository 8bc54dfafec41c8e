"""Who wrote a class or a function: gradwise or somebody else; and, of gradwise, its optimizers or a front end.

Two questions, because a front end's classes are gradwise's own and yet are not what optimizers know of each other: they
put methods of theirs in the place of a rule's.
"""

from __future__ import annotations

_LIBRARY = f"{__name__.partition('.')[0]}."
_OPTIMIZERS = f"{__name__.rpartition('.core.')[0]}."


def is_of_library(thing: object) -> bool:
    """Whether a class or a function, or what stands in its place, is written in gradwise, front ends included."""
    return str(getattr(thing, "__module__", "")).startswith(_LIBRARY)


def outside_library(kind: type) -> list[type]:
    """A class and those it inherits from, without those that are gradwise's, front ends included."""
    return [each for each in kind.__mro__ if each is not object and not each.__module__.startswith(_LIBRARY)]


def outside_optimizers(kind: type) -> list[type]:
    """A class and those it inherits from, without those of `gradwise.optimizers`: a front end's classes are left."""
    return [each for each in kind.__mro__ if each is not object and not each.__module__.startswith(_OPTIMIZERS)]

"""What Python's lists hold, read by compiled code that holds Python's lock.

To hand over the identities of many objects takes longer than a step of a small model computes. Python's headers publish
the structures that are read here; whether they are as they say is tried out once.
"""

from __future__ import annotations

import functools
import sys
import sysconfig
from collections.abc import Callable
from typing import Any, TypeVar

import numpy

from ..losses import PerformanceWarning
from .compiled import compiled
from .placeholders import Subroutine, carray, pointer

Answer = TypeVar("Answer")

_TYPE, _LENGTH, _ITEMS, _FIELDS = 1, 2, 3, 4
"""The positions of fields in a PyListObject, in words of 8 bytes. Every object has the first."""


@Subroutine
def items_of(identity: int) -> Any:
    """The identities of what a list holds, where the list has them."""
    fields = carray(pointer(identity), (_FIELDS,), dtype=numpy.int64)
    return carray(pointer(fields[_ITEMS]), (fields[_LENGTH],), dtype=numpy.int64)


@Subroutine
def word_of(address: int, place: int) -> int:
    """A word of 8 bytes of a structure of C, such as an object, whose identity is its address."""
    return carray(pointer(address), (place + 1,), dtype=numpy.int64)[place]  # type: ignore[no-any-return]  # as said


@Subroutine
def kind_of(identity: int) -> int:
    """The identity of an object's class."""
    return int(word_of(identity, _TYPE))


@compiled("boolean(int64, int64, int64)", otherwise=lambda *_: False, with_lock=True)
def all_of_kinds(identity: int, one: int, another: int) -> bool:
    """Whether all that a list holds is of one of two classes.

    Args:
        identity: of the list.
        one: the identity of a class.
        another: likewise.
    """
    for item in items_of(identity):
        kind = kind_of(item)
        if kind not in (one, another):
            return False
    return True


@compiled("boolean(int64, int64)", otherwise=lambda *_: False, with_lock=True)
def same_objects(identity: int, other: int) -> bool:
    """Whether two lists hold the same objects in the same order.

    Args:
        identity: of a list.
        other: likewise.
    """
    some, others = items_of(identity), items_of(other)
    if some.size != others.size:
        return False
    for position in range(some.size):
        one, another = some[position], others[position]
        if one != another:
            return False
    return True


@compiled("boolean(int64[::1], int64, int64[::1])", otherwise=lambda *_: False)
def word_at(addresses: Any, place: int, words: Any) -> bool:
    """Read one word of 8 bytes of each of some structures of C; True.

    Args:
        addresses: of the structures.
        place: of the word.
        words: is filled.
    """
    for position in range(addresses.size):
        words[position] = word_of(addresses[position], place)
    return True


TRIALS: list[Any] = []
"""All that were made, or will be; `cache_clear` forgets the answer of one."""


def tried_out(trial: Callable[[], Answer]) -> Callable[[], Answer | None]:
    """A trial that is made once. One that fails says None: without a glance, each step looks for itself."""

    @functools.cache
    @functools.wraps(trial)
    def result() -> Answer | None:
        try:
            return trial()
        except PerformanceWarning:
            # One that the user has made an error.
            raise
        except Exception:
            # Another release may lack what the trial itself is made with.
            return None

    TRIALS.append(result)
    return result


@tried_out
def readable() -> bool:
    """Whether lists and objects have the structure that is expected."""
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED") or sys.maxsize < 2**62:
        return False
    some: list[Any] = [1.5, "one", 2.5]
    # Kept, because an identity is unique only while the object lives.
    numbers, empty = [some[0], *some[2:]], some[:0]
    return bool(
        all_of_kinds.run(id(some), id(float), id(str))
        and all_of_kinds.run(id(numbers), id(float), id(float))
        and all_of_kinds.run(id(empty), id(float), id(str))
        and not all_of_kinds.run(id(some), id(float), id(int))
    )


@tried_out
def comparable() -> bool:
    """Whether lists can be compared by what they hold."""
    if not readable():
        return False
    some: list[Any] = [1.5, "one", 2.5]
    # Kept, because an identity is unique only while the object lives.
    same, other, shorter = [*some], [*some[:2], "two"], some[:2]
    return bool(
        same_objects.run(id(some), id(same))
        and not same_objects.run(id(some), id(other))
        and not same_objects.run(id(some), id(shorter))
    )

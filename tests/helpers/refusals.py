"""For tests of errors: that the message names what it must, and that nothing has changed, bit for bit."""

from __future__ import annotations

import contextlib

import pytest

from gradwise.backends import HOST, Variable, backend_of
from gradwise.optimizers import Optimizer
from gradwise.optimizers.core.cells import Cells

CACHES = ("_templates", "fusion", "_remembered", "taken")
"""What an optimizer may change without anyone seeing it."""


def photograph(thing):
    """Everything that could change about a thing: types, identities, dtypes, bytes, names, attributes."""
    if isinstance(thing, Variable):
        return {name: photograph(value) for name, value in vars(thing).items() if name != "_backend"}
    if isinstance(thing, (Optimizer, Cells)):
        return {name: photograph(value) for name, value in vars(thing).items() if name not in CACHES}
    if isinstance(thing, dict):
        return {key: photograph(value) for key, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return (type(thing), *map(photograph, thing))
    if isinstance(thing, set):
        return frozenset(thing)
    backend = backend_of(thing)
    if backend is None:
        return id(thing)
    if backend is HOST:
        return (type(thing), repr(thing))
    grad = thing.grad if getattr(thing, "is_leaf", False) else None
    written = (getattr(thing, "_version", None), id(grad))
    dense = backend.not_dense(thing) is None
    readable = backend.concrete(thing) and dense and "meta" not in str(getattr(thing, "device", ""))
    bits = backend.to_numpy(thing).tobytes() if readable else b""
    return (id(thing), backend.name, str(thing.dtype), tuple(thing.shape), bits, *written)


@contextlib.contextmanager
def unchanged(*things):
    """Optimizers, arrays, cells and trees of them end as they began."""
    before = photograph(things)
    yield
    assert photograph(things) == before


@contextlib.contextmanager
def refused(kind, *named, keeps=()):
    """An exception of exactly this kind, or of one of several, says all the words in one line; `keeps` is kept."""
    with unchanged(*keeps), pytest.raises(kind) as caught:
        yield
    message = str(caught.value)
    assert caught.type in (kind if isinstance(kind, tuple) else (kind,))
    assert message and "\n" not in message
    missing = [word for word in named if word not in message]
    assert not missing, f"{missing} not in {message!r}"

"""`pytest --algorithm lion` runs what concerns a class: tests that are given it, or a framework's name for it.

A run that lost one of its processes ends with 3, as where pytest itself fails, so that `make` keeps nothing of it.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from helpers.selection import concerns, names_of


def pytest_addoption(parser: pytest.Parser) -> None:
    words = "only tests that are given this algorithm, by gradwise's or a framework's name, or that look at all"
    parser.addoption("--algorithm", action="append", default=[], metavar="NAME", help=words)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = config.getoption("--algorithm")
    if not wanted:
        return
    try:
        names = names_of(wanted)
    except KeyError as error:
        raise pytest.UsageError(f"--algorithm {error.args[0]}") from None

    def kept(item: pytest.Item) -> bool:
        call = getattr(item, "callspec", None)
        given = call is not None and (concerns(call.id, names) or concerns(list(call.params.values()), names))
        return given or item.get_closest_marker("every_algorithm") is not None

    config.hook.pytest_deselected(items=[item for item in items if not kept(item)])
    items[:] = [item for item in items if kept(item)]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What modules and tests are made of stays until the end. Looking through it again and again for what could go,
    while a thousand kernels are compiled, took an eighth of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)


@pytest.fixture(scope="module")
def quick_collection() -> None:
    """`gc.collect()` looks at what was made since, and not at all that a thousand tests before have left."""
    gc.collect()
    gc.freeze()


LOST: list[object] = []


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object, error: object) -> None:
    if error:
        LOST.append(node)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if LOST:
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR

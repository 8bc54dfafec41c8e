"""What users' mistakes give: each the sentence that is on its page in `sentences/`, and none is silent."""

from __future__ import annotations

import importlib

import pytest
from helpers import mistakes

from gradwise import optimizers

MARKS = {"numpy": [], "torch": [pytest.mark.torch], "jax": [pytest.mark.jax], "scipy": []}
"""Keras's page is compared on each of its backends, in `frontends/keras/each_backend/`."""


@pytest.mark.parametrize(("page", "title"), [
    pytest.param(page, title, marks=marks, id=f"{page}: {title}")
    for page, marks in MARKS.items()
    for title in mistakes.titles(page)
])  # fmt: skip
def test_sentence(page, title):
    mistake = mistakes.mistakes(page)[title]
    assert mistakes.told(mistake) == mistakes.section(page, title), "`make refresh` writes the pages"


@pytest.mark.parametrize("page", [pytest.param(page, marks=marks) for page, marks in MARKS.items()])
def test_pages_have_all(page):
    if page == "jax":
        pytest.importorskip("optax")
    if page == "scipy":
        pytest.importorskip("scipy")
    assert mistakes.titles(page) == list(mistakes.mistakes(page))


@pytest.mark.parametrize("page", mistakes.MODULES)
def test_nothing_is_silent_and_all_is_one_sentence_or_two(page):
    for title in mistakes.titles(page):
        *_, said = mistakes.section(page, title).splitlines()
        assert mistakes.is_told(said), title
        assert len(said) < 400, (title, said)
        words = said.partition(": ")[2]
        assert words[:1] != " " and not words.endswith(("..", ":.", ",")), (title, said)
        assert not any(inner in words for inner in ("_fitting", "__init__", "site-packages", " at 0x")), title


def test_there_are_more_than_38():
    assert sum(len(mistakes.titles(page)) for page in mistakes.MODULES) > 38


MODULES = ["gradwise", "gradwise.optimizers", "gradwise.schedules", "gradwise.frontends.scipy"]


@pytest.mark.parametrize("name", ["dummy", "", "__name", "not a name"])
@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_imported_whatever_else_is_asked_of_it(module, name):
    """Many give `__import__` a name that nothing has, to be given the module that they name."""
    pytest.importorskip("scipy")
    assert __import__(module, fromlist=[name]) is importlib.import_module(module)


def test_imports_that_are_misspelt():
    with pytest.raises(ImportError, match="Did you mean `Adamax`"):
        from gradwise.optimizers import AdamX  # noqa: F401
    with pytest.raises(ImportError, match=r"write `from gradwise.frontends import torch as optim`"):
        from gradwise import torch  # noqa: F401
    with pytest.raises(ImportError, match="cannot import name 'Xyzzy'"):
        from gradwise.optimizers import Xyzzy  # noqa: F401
    from gradwise.optimizers import adam

    assert adam.Adam is optimizers.Adam

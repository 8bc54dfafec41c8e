"""What users' mistakes give in the front end of Keras: on all backends the sentences on the page. And help()."""

from __future__ import annotations

import inspect

import pytest
from helpers import mistakes

from gradwise.frontends import keras as gkeras


@pytest.mark.parametrize("title", mistakes.titles("keras"))
def test_sentence(title):
    mistake = mistakes.mistakes("keras")[title]
    assert mistakes.told(mistake) == mistakes.section("keras", title), "`make refresh` writes the pages"


def test_the_page_has_all():
    assert mistakes.titles("keras") == list(mistakes.mistakes("keras"))


@pytest.mark.parametrize("kind", [getattr(gkeras, name) for name in ("SGD", "Adam", "AdamW", "Nadam", "Lion")])
def test_help_is_a_page(kind):
    text = inspect.getdoc(kind)
    own, _, common = text.partition("Arguments of all optimizers:\n")
    assert "learning_rate: " in own and "see the module" not in text
    told = [line.split(":")[0].strip() for line in common.partition("\n\n")[0].splitlines()]
    assert told[-2:] == ["name", "**kwargs"]

"""What users' mistakes give in the front end of Keras: on all backends the sentences on the page."""

from __future__ import annotations

import pytest
from helpers import mistakes


@pytest.mark.parametrize("title", mistakes.titles("keras"))
def test_sentence(title):
    mistake = mistakes.mistakes("keras")[title]
    assert mistakes.told(mistake) == mistakes.section("keras", title), "`make refresh` writes the pages"


def test_the_page_has_all():
    assert mistakes.titles("keras") == list(mistakes.mistakes("keras"))

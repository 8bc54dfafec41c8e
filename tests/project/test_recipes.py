"""The recipes run, in their order, and print what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers.documents import check_prints

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
FRAMEWORKS = {
    "PyTorch": (pytest.mark.torch,),
    "JAX": (pytest.mark.jax,),
    "Keras": (pytest.mark.keras, pytest.mark.torch),
    "NumPy": (),
}
OF_EACH = (
    "Warm-up and cosine", "A rate for each", "No decay on biases", "Freezing", "Accumulating", "A moving average",
    "Saving and resuming",
)  # fmt: skip


def section(framework):
    return re.split(r"^## ", TEXT, flags=re.MULTILINE)[1 + list(FRAMEWORKS).index(framework)]


def test_each_framework_has_each_recipe():
    assert re.findall(r"^## (.*)$", TEXT, flags=re.MULTILINE) == list(FRAMEWORKS)
    for framework in FRAMEWORKS:
        titles = re.findall(r"^\*\*(.*?)\*\*", section(framework), flags=re.MULTILINE)
        assert all(any(title.startswith(each) for title in titles) for each in OF_EACH), framework


def test_the_page_on_counts_prints_what_it_says(tmp_path):
    check_prints((ROOT / "docs" / "counts.md").read_text(encoding="utf-8"), tmp_path)


@pytest.mark.parametrize("framework", [pytest.param(name, marks=marks) for name, marks in FRAMEWORKS.items()])
def test_recipes_print_what_they_say(framework, tmp_path):
    check_prints(section(framework), tmp_path)

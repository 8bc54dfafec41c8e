"""The page on rules of one's own runs, prints what it says, and names every function of `ops`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers.documents import check_prints

from gradwise.backends import ops

TEXT = (Path(__file__).parents[2] / "docs" / "own_rules.md").read_text(encoding="utf-8")


@pytest.mark.torch
def test_it_prints_what_it_says(tmp_path):
    pytest.importorskip("numba")
    check_prints(TEXT, tmp_path)


def section(title):
    return re.split(r"^## ", TEXT, flags=re.MULTILINE)[1 + titles().index(title)]


def titles():
    return re.findall(r"^## (.*)$", TEXT, flags=re.MULTILINE)


def test_all_functions_are_named():
    listed = section("All functions of ops").partition("`help(")[0]
    named = re.findall(r"`(\w+)(?:\(.*?\))?`", listed)
    assert sorted(named) == sorted(ops.__all__)


def test_links_lead_to_sections():
    anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles()}
    links = re.findall(r"\]\(#(.*?)\)", TEXT)
    assert set(links) == anchors and len(links) == len(anchors)

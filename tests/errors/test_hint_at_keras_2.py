"""The hint that arguments are Keras 2's is given once, wherever optimizers are made, unless filters say otherwise."""

from __future__ import annotations

import warnings

import pytest

from gradwise.optimizers import Adam, Nadam


def made_in_two_lines():
    for _ in range(2):
        Adam(lr=1e-3, decay=1e-4)
    Adam(lr=1e-3, decay=1e-4)
    Nadam(lr=1e-3, decay=1e-4)


@pytest.mark.parametrize(("action", "owners"), [
    ("default", ["Adam", "Nadam"]), ("always", ["Adam", "Adam", "Adam", "Nadam"]), ("ignore", []),
])  # fmt: skip
def test_hint_is_given_once(action, owners):
    for _ in range(2):
        # What was said under other filters is said again.
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter(action)
            made_in_two_lines()
        assert [str(each.message).partition(" ")[0] for each in caught] == owners
        assert {each.filename for each in caught} <= {__file__}


def test_hint_may_be_an_error():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            with pytest.raises(UserWarning, match="as in Keras 2"):
                Adam(lr=1e-3, decay=1e-4)

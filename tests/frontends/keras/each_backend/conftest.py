"""Tests for one backend of Keras, which is chosen when Keras is imported: test_frontend_keras.py runs them for each.

Elsewhere they are not collected, so that here test modules may import Keras at their top.
"""

import os

import pytest

collect_ignore_glob = [] if os.environ.get("GRADWISE_KERAS_TESTS") else ["test_*.py"]


def pytest_configure(config: pytest.Config) -> None:
    # Keras's Variables and tensors speak to NumPy in the way of its first version.
    config.addinivalue_line("filterwarnings", "ignore:__array__ implementation doesn't accept:DeprecationWarning")

"""What several modules compare with: Keras, in one process for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from helpers.keras_peer import Ask, running_keras


@pytest.fixture(scope="session")
def ask_keras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Keras's process, if a test needs it."""
    with running_keras(tmp_path_factory.mktemp("keras")) as ask:
        yield ask

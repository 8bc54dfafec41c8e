"""Who waits for a compiler is told so: after a second, once, and nobody who does not wait."""

import logging
import os
import subprocess
import sys
import textwrap
import threading

import pytest

from gradwise.backends.kernels import waiting


@pytest.fixture
def impatient(monkeypatch):
    """As if all the time that may pass without a word had passed."""
    monkeypatch.setattr(waiting, "_PATIENCE", [0.0])


class Ear(logging.Handler):
    """Hears what is said, and in which thread one may wait for it."""

    def __init__(self):
        super().__init__()
        self.heard, self.something = [], threading.Event()

    def emit(self, record):
        self.heard.append(record.getMessage())
        self.something.set()


@pytest.fixture
def ear():
    handler = Ear()
    logging.getLogger("gradwise").addHandler(handler)
    yield handler
    logging.getLogger("gradwise").removeHandler(handler)


def waited(ear, sentence, until):
    """What is heard inside; with nothing to be heard, after some seconds."""
    ear.something.clear()
    with waiting.said_if_long(lambda: sentence):
        ear.something.wait(until)
    return ear.heard


def test_it_is_said_while_it_lasts_and_once(impatient, ear):
    assert waited(ear, "compiles", until=60) == ["compiles"]
    assert waited(ear, "compiles again", until=0.05) == ["compiles"]


def test_what_is_short_is_not_spoken_of(monkeypatch, ear):
    monkeypatch.setattr(waiting, "_PATIENCE", [1000.0])
    assert waited(ear, "compiles", until=0.0) == []
    assert 0 < waiting._PATIENCE[0] < 1000


def test_several_short_ones_are_long(monkeypatch, ear):
    """What was spent counts: the next may take less."""
    monkeypatch.setattr(waiting, "_PATIENCE", [1000.0])
    for _ in range(2):
        before = waiting._PATIENCE[0]
        assert waited(ear, "compiles", until=0.01) == []
        assert waiting._PATIENCE[0] < before


def test_who_knows_is_not_told(impatient, ear):
    waiting.say_nothing()
    assert waited(ear, "compiles", until=0.05) == []


def test_an_error_inside_passes_on(impatient):
    with pytest.raises(KeyError, match="inside"), waiting.said_if_long(lambda: ""):
        raise KeyError("inside")


def test_without_another_thread_nothing_is_said(impatient, monkeypatch, ear):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Timer, "start", refuse)
    assert waited(ear, "compiles", until=0.0) == []


CHILD = """
import logging, os, sys
{before}
from gradwise.backends.kernels import waiting
waiting._PATIENCE[:] = [{patience}]
import numpy as np
from gradwise.optimizers import SGD
parameters = [np.ones(3)]
for _ in range(3):
    SGD(0.1).apply([np.ones(3)], parameters)
"""


def stderr_of(folder, patience=0.0, before=""):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CHILD).format(patience=patience, before=before)],
        env={**os.environ, "GRADWISE_CACHE_DIR": str(folder)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stderr


@pytest.mark.fast
def test_a_process_that_compiles_says_so_and_the_next_does_not(tmp_path):
    said = stderr_of(tmp_path)
    assert said.count("gradwise compiles update rules") == 1 and str(tmp_path / "kernels") in said
    assert len(said.splitlines()) == 1 and "python -m gradwise warm-up" in said
    assert stderr_of(tmp_path) == ""


@pytest.mark.fast
@pytest.mark.parametrize("patience, level, expected", [(0.0, "WARNING", 1), (0.0, "ERROR", 0), (1000.0, "INFO", 0)])
def test_a_logger_that_was_set_up_gets_it(patience, level, expected, tmp_path):
    before = f"logging.basicConfig(stream=sys.stderr, format='%(name)s: %(message)s', level=logging.{level})"
    said = [line for line in stderr_of(tmp_path, patience, before).splitlines() if line.startswith("gradwise: ")]
    assert len(said) == expected

"""`python -m gradwise warm-up`: what is compiled ahead is what steps need, which is counted, not timed."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from gradwise import __main__ as command
from gradwise import warm_up
from gradwise.optimizers.registry import ALGORITHMS

COUNTED = """
import json, sys
import numpy as np
from gradwise import optimizers
from gradwise.backends.kernels import compiled
{before}
for arguments in {arguments}:
    for shape in ((5, 3), (30_000,)):
        optimizer = optimizers.Adagrad(0.25, jit_compile=True, **arguments)
        parameters = [ones(shape)]
        for _ in range(3):
            optimizer.apply([ones(shape)], parameters)
print(json.dumps([compiled.TALLY, "numba" in sys.modules]))
"""
NUMPY = "ones = lambda shape: np.ones(shape, 'float32')"


def environment(folder):
    return {**os.environ, "GRADWISE_CACHE_DIR": str(folder), "GRADWISE_NUM_THREADS": "2"}


def run(folder, *arguments, **changes):
    return subprocess.run(
        [sys.executable, "-m", "gradwise", *arguments], env={**environment(folder), **changes}, cwd="/",
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def counted(folder, arguments, before=NUMPY):
    code = COUNTED.format(arguments=arguments, before=before)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(folder), cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A folder with all that Adagrad needs in float32."""
    folder = tmp_path_factory.mktemp("filled")
    done = run(folder, "warm-up", "--optimizer", "adagrad", "--dtype", "float32")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" and str(folder / "kernels") in done.stdout
    return folder, done.stdout


@pytest.mark.fast
def test_steps_after_it_compile_nothing(filled):
    folder, _ = filled
    arguments = [
        {}, {"convention": "torch", "weight_decay": 0.5}, {"convention": "torch", "maximize": True},
        {"convention": "optax"}, {"convention": "keras2"}, {"clipvalue": 0.5}, {"use_ema": True},
        {"global_clipnorm": 3.0},
    ]  # fmt: skip
    # A gradient that is turned round is copied in squares.
    before = f"{NUMPY}\noptimizers.Adagrad().apply([ones((200, 200)).T], [ones((200, 200))])"
    tally, imported = counted(folder, arguments, before)
    assert tally["compiled"] == 0 and tally["found"] > 8 and not imported


@pytest.mark.fast
@pytest.mark.torch
def test_steps_of_torch_after_it_compile_nothing(filled):
    """In threads of torch's, where it lends them; and by the front end."""
    before = """
import torch
from gradwise.frontends import torch as optim
ones = torch.ones
for size in (10, 200_000):
    for options in ({}, {"weight_decay": 0.1}, {"maximize": True}, {"lr_decay": 0.1}):
        parameter = torch.nn.Parameter(torch.ones(size))
        optimizer = optim.Adagrad([parameter], **options)
        for _ in range(3):
            parameter.grad = torch.ones(size)
            optimizer.step()
"""
    tally, _ = counted(filled[0], [{}], before)
    assert tally["compiled"] == 0 and tally["found"] > 4


@pytest.mark.fast
def test_a_second_time_finds_all(filled):
    folder, first = filled
    done = run(folder, "warm-up", "--optimizer", "Adagrad", "--dtype", "float32")
    assert done.returncode == 0, done.stderr
    compiled = int(first.splitlines()[-1].split()[0])
    assert compiled > 8 and f"0 functions compiled, {compiled} were there already" in done.stdout


def test_dtypes_and_names(monkeypatch):
    """Of all, or of those that are named, each once."""
    monkeypatch.setattr(warm_up, "why_not", lambda: None)
    asked = []

    def noted(pieces, done):
        asked.append({(piece.algorithm.__name__, piece.dtype) for piece in pieces})
        return warm_up.Outcome(0, len(pieces), 0, [])

    monkeypatch.setattr(warm_up, "warm_up", noted)
    assert command.main(["warm-up"]) == 0
    assert command.main(["warm-up", "--optimizer", "ADAM", "--optimizer", "sgd", "--dtype", "float64"]) == 0
    assert asked[0] == {(each.__name__, dtype) for each in ALGORITHMS for dtype in ("float32", "float64")}
    assert asked[1] == {("Adam", "float64"), ("SGD", "float64")}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_in_every_convention(algorithm):
    """Each switch of its own is among them, and what users add."""
    found = list(warm_up.variants(algorithm))
    assert {each["convention"] for each in found} == set(algorithm.conventions)
    own = {name for name, kind in vars(algorithm).items() if isinstance(kind, warm_up.Flag)}
    assert own | {"clipvalue", "use_ema", "global_clipnorm"} <= {name for each in found for name in each}
    assert all(isinstance(algorithm(**each), algorithm) for each in found)
    steps = warm_up.first_steps_of([algorithm], ["float32"])
    assert [piece.arguments for piece in steps] == found


@pytest.mark.fast
def test_nowhere_to_keep_it(tmp_path):
    done = run("/dev/null/folder", "warm-up", "--optimizer", "sgd", HOME="/dev/null/home", XDG_CACHE_HOME="")
    assert done.returncode == 1 and "/dev/null" in done.stderr and "set GRADWISE_CACHE_DIR" in done.stderr


def test_without_numba(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "numba", None)
    assert command.main(["warm-up"]) == 1
    assert "Numba is not installed" in capsys.readouterr().err


def test_an_optimizer_that_is_none(capsys):
    assert command.main(["warm-up", "--optimizer", "Adma"]) == 1
    said = capsys.readouterr().err
    assert "'Adma'" in said and all(algorithm.__name__ in said for algorithm in ALGORITHMS)


def test_what_fails_is_said(monkeypatch, capsys, tmp_path):
    pytest.importorskip("numba")
    monkeypatch.setenv("GRADWISE_CACHE_DIR", str(tmp_path))
    outcome = warm_up.Outcome(3, 0, 2, ["There is no room."])
    monkeypatch.setattr(warm_up, "warm_up", lambda pieces, done: outcome)
    assert command.main(["warm-up", "--optimizer", "sgd"]) == 1
    said = capsys.readouterr()
    assert "3 functions compiled" in said.out and "1 of them are not kept" in said.err and "no room" in said.err


@pytest.mark.fast
def test_a_bar_where_there_is_a_terminal(monkeypatch, capsys, tmp_path):
    pytest.importorskip("rich")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    pieces = warm_up.first_steps_of(warm_up.algorithms_named(["SGD"]), ["float32"])
    with warm_up._progress(len(pieces)) as done:
        for piece in pieces:
            done(piece)
    assert "SGD" in capsys.readouterr().out


def test_the_command_line_without_a_command(capsys):
    assert command.main([]) == 0
    said = capsys.readouterr().out
    assert said.startswith("gradwise ") and f"numpy             {np.__version__}" in said
    with pytest.raises(SystemExit) as ended:
        command.main(["--help"])
    assert ended.value.code == 0 and "warm-up" in capsys.readouterr().out

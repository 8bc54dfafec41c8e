"""A library that nobody knows is added as a contributor would: one file in `backends/` and one line in `detect.py`.

It happens to a copy of the package, and optimizers are run in a process that imports the copy. The library offers no
more than `backends/base.py` asks for: it does not follow the Array API standard, and NumPy cannot read its arrays.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.rooms import FOLDERS, Rooms, circles, homes

from gradwise.backends import base
from gradwise.backends.detect import LIBRARIES, Library

FUNCTIONS = (
    "asarray", "astype", "full", "full_like", "sqrt", "square", "sum", "where", "maximum", "minimum", "abs", "sign",
    "exp", "expm1", "log", "log1p", "cos", "floor", "ceil", "isfinite", "mean", "max",
)  # fmt: skip
"""What the library has, named one by one in the documentation of part 1."""

LIBRARY = f'''
"""Tiny arrays."""

import numpy as _numpy

float32, float64, int32, int64, bool = (f"tiny.{{name}}" for name in ("float32", "float64", "int32", "int64", "bool"))


def _read(value):
    return value.held if isinstance(value, Array) else value


def _dtype(dtype):
    return None if dtype is None else dtype.removeprefix("tiny.")


class Array:
    """Arrays of this library."""

    __array_ufunc__ = None

    def __init__(self, held):
        self.held = _numpy.asarray(held)
        self.dtype, self.shape, self.device = f"tiny.{{self.held.dtype}}", self.held.shape, "here"

    def __array__(self, *_, **__):
        raise TypeError("not without asking")

    def __float__(self):
        return float(self.held)

    def __int__(self):
        return int(self.held)


def _operator(name):
    def method(self, *others):
        result = getattr(self.held, name)(*map(_read, others))
        return result if result is NotImplemented else Array(result)

    return method


for _name in "add sub mul truediv floordiv mod pow".split():
    for _method in (f"__{{_name}}__", f"__r{{_name}}__"):
        setattr(Array, _method, _operator(_method))
for _name in "neg abs lt le gt ge eq ne".split():
    setattr(Array, f"__{{_name}}__", _operator(f"__{{_name}}__"))


def _function(name):
    return lambda *arguments: Array(getattr(_numpy, name)(*map(_read, arguments)))


for _name in {FUNCTIONS[4:]!r}:
    globals()[_name] = _function(_name)


def asarray(value, dtype=None, device=None, copy=None):
    return Array(_numpy.array(_read(value), dtype=_dtype(dtype)))


def astype(array, dtype):
    return Array(array.held.astype(_dtype(dtype)))


def full(shape, value, dtype=None, device=None):
    return Array(_numpy.full(shape, _read(value), dtype=_dtype(dtype)))


def full_like(array, value, dtype=None):
    return Array(_numpy.full_like(array.held, _read(value), dtype=_dtype(dtype)))
'''

ARRAYS = '''
"""Arrays of a tiny library."""

import tiny

from .base import Backend
from .programs.interpreter import OPERATORS, interpret


class TinyBackend(Backend):
    """Tiny arrays."""

    name = "tiny"
    namespace = tiny

    def to_numpy(self, array):
        """What it holds."""
        return array.held
'''

SHARED_MEMORY = '''
    writable = True

    def write(self, target, value):
        """Into its memory."""
        target.held[...] = value.held

    def why_not_variable(self, array):
        """Nothing."""

    def extent(self, array):
        """All of its own memory."""
        return array.held.ctypes.data, array.held.ctypes.data + array.held.nbytes

    shares_memory = True

    def address(self, array, dtype, shape, order, write):
        """In C order alone."""
        plain = self.dtype_name(array) == dtype and array.shape == shape and order is None
        return array.held.ctypes.data if plain and array.held.flags.c_contiguous else None

    def empties(self, arrays):
        """Like these."""
        return [tiny.full_like(array, 0.0) for array in arrays]

    def plain_copy(self, array, dtype, order):
        """In C order."""
        return tiny.asarray(array, dtype=dtype)

    def flat_view(self, array):
        """Of NumPy's array inside."""
        return array.held.reshape(-1)
'''

PROGRAMS = '''
    program_way = "tiny"

    def run_program(self, program, dtype, inputs, scalars, compiled):
        """One parameter after another."""

        def apply(name, operands):
            if name == "fill":
                return tiny.full((), operands[0], dtype)
            if name == "select":
                return self.select(operands[0] != 0.0, *operands[1:])
            if name in ("maximum", "minimum"):
                return getattr(self, name)(*operands)
            if name == "sum_of_squares":
                return self.namespace.sum(self.namespace.square(self.cast(operands[0], "float64")))
            return (OPERATORS.get(name) or getattr(tiny, name))(*operands)

        written = [interpret(program, arrays, scalars, apply) for arrays in zip(*inputs, strict=True)]
        return [list(column) for column in zip(*written, strict=True)]
'''

TINY = Library("tiny", ("Array",), ".tiny", "TinyBackend")
LINE = f"    Library{tuple(TINY)!r},\n"

RUN = """
import copy, pickle, sys
import gradwise, numpy, tiny
from gradwise.backends import Variable, backend_of
from gradwise.optimizers.registry import ALGORITHMS

assert gradwise.__file__.startswith(sys.argv[1]), gradwise.__file__
assert "gradwise.backends.tiny" not in sys.modules
backend = backend_of(tiny.asarray([1.0]))
assert backend.name == "tiny" and copy.deepcopy(backend) is backend and pickle.loads(pickle.dumps(backend)) is backend
VALUES = numpy.random.default_rng(0).normal(size=(5, 6)).astype("float32")
OPTIONS = {}, dict(global_clipnorm=0.5, weight_decay=0.01, use_ema=True, ema_overwrite_frequency=2)


def functional(algorithm, options, array):
    optimizer = algorithm(0.01, **options)
    params = {"w": array(VALUES[0]), "b": array(VALUES[1, 0])}
    state = optimizer.init(params)
    for values in VALUES[2:]:
        params, state = optimizer.step(params, {"w": array(values), "b": array(values[0])}, state)
    return [Variable(params[name]).numpy() for name in params]


def imperative(algorithm, options, array, cell, way):
    optimizer = algorithm(0.01, **options)
    parameters = [cell(array(VALUES[0])), cell(array(VALUES[1]))]
    for values in VALUES[2:]:
        optimizer.apply([array(values), array(values[::-1])], parameters)
    ways = {group.way for group in optimizer.execution_report()}
    assert way in (None, *ways) and len(ways) == 1, ways
    return [Variable(parameter).numpy() for parameter in parameters]


def same(ours, theirs):
    return all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in zip(ours, theirs, strict=True))


cell = (lambda array: array) if backend.writable else Variable
for algorithm in ALGORITHMS:
    for options in OPTIONS:
        if next(iter(algorithm.conventions)) not in algorithm.weight_decay_forms:
            options = {name: value for name, value in options.items() if name != "weight_decay"}
        expected = functional(algorithm, options, numpy.array)
        assert same(functional(algorithm, options, tiny.asarray), expected), (algorithm, options)
        expected = imperative(algorithm, options, numpy.array, lambda array: array, None)
        assert same(imperative(algorithm, options, tiny.asarray, cell, sys.argv[2]), expected), (algorithm, options)
"""


@pytest.mark.parametrize(
    "parts, way",
    [
        pytest.param(ARRAYS, "eager", id="arrays"),
        pytest.param(ARRAYS + SHARED_MEMORY, "fused", id="shared memory", marks=pytest.mark.fast),
        pytest.param(ARRAYS + PROGRAMS, "tiny", id="programs"),
    ],
)
def test_one_file_and_one_line(parts, way, tmp_path):
    copies = {package: tmp_path.joinpath(*package.split(".")) for package in FOLDERS}
    for package, folder in FOLDERS.items():
        copies[package].mkdir(parents=True)
        for file in filter(Path.is_file, folder.iterdir()):
            shutil.copy2(file, copies[package])
    (tmp_path / "tiny.py").write_text(LIBRARY, encoding="utf-8")
    (tmp_path / "gradwise" / "backends" / "tiny.py").write_text(parts, encoding="utf-8")
    table = tmp_path / "gradwise" / "backends" / "detect.py"
    before = table.read_text(encoding="utf-8")
    after = re.sub(r"^LIBRARIES = \(\n", lambda found: found[0] + LINE, before, flags=re.M)
    assert after == before.replace("LIBRARIES = (\n", "LIBRARIES = (\n" + LINE) != before
    table.write_text(after, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path), way],
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rooms = Rooms(copies, (TINY, *LIBRARIES))
    assert not rooms.away_from_home() and not circles(rooms.ours)


def test_a_library_is_at_home_in_its_own_file():
    """Also one that no module may import as long as it has none, such as CuPy."""
    assert homes(LIBRARIES)["cupy"] == ()
    assert homes((*LIBRARIES, TINY._replace(name="cupy", file=".cupy")))["cupy"] == ("backends.cupy",)
    assert homes((*LIBRARIES, TINY._replace(name="cupy", file=".cuda.cupy")))["cupy"] == ("backends.cuda.",)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_asked_of_a_library_is_documented(name):
    assert f"`{name}`" in base.Arrays.__doc__

"""Python's own errors about arguments name a class that users know; files that have a class's name say which it is."""

from __future__ import annotations

import importlib
import inspect
import pickle
import traceback

import cloudpickle
import pytest

import gradwise
from gradwise import optimizers, schedules
from gradwise.optimizers import Optimizer, OptimizerState
from gradwise.optimizers.registry import ALGORITHMS


def called_wrongly(thing):
    """For each public method of something Python's error about an argument that none has."""
    for name in dir(thing):
        method = inspect.getattr_static(thing, name)
        function = getattr(method, "__func__", method)
        if name[0] != "_" and inspect.isfunction(function):
            with pytest.raises(TypeError) as caught:
                getattr(thing, name)(*range(20), no_such_argument=1)
            yield name, str(caught.value)


@pytest.mark.parametrize("kind", [Optimizer, optimizers.MultiOptimizer, *ALGORITHMS])
@pytest.mark.every_algorithm
def test_methods_are_those_of_a_class_that_users_know(kind):
    made = kind({"bias": optimizers.SGD()}) if kind is optimizers.MultiOptimizer else kind()
    known = {each.__name__ for each in kind.__mro__ if getattr(optimizers, each.__name__, None) is each}
    found = dict(called_wrongly(made))
    assert {"apply", "init", "step", "exclude_from_weight_decay", "memory"} <= found.keys()
    for name, text in found.items():
        assert text.split("(")[0] in {f"{each}.{name}" for each in known}, text


def front_end_of_torch():
    torch = pytest.importorskip("torch")
    from gradwise.frontends import torch as front_end

    parameter = torch.nn.Parameter(torch.ones(2))
    return [
        getattr(front_end, name)([parameter]) for name in front_end.classes.__all__
    ], front_end.wrap(optimizers.Adam(), [parameter])


def test_methods_of_the_front_end_of_torch():
    classes, wrapped = front_end_of_torch()
    for made in (*classes, wrapped):
        found = dict(called_wrongly(made))
        assert {"add_param_group", "load_state_dict", "memory"} <= found.keys()
        for name, text in found.items():
            known = {"Optimizer", type(made).__name__, "Wrapped"}
            assert text.split("(")[0].split(".<locals>")[0] in {f"{each}.{name}" for each in known}, text
    adam = next(each for each in classes if type(each).__name__ == "Adam")
    with pytest.raises(TypeError, match=r"^Adam\.step\(\) got an unexpected keyword argument 'foo'"):
        adam.step(foo=1)


@pytest.mark.parametrize("kind", [Optimizer, optimizers.Adam])
@pytest.mark.parametrize("library", [pickle, cloudpickle])
def test_methods_are_pickled_and_seen_in_tracebacks(kind, library):
    for name in dir(kind):
        method = getattr(kind, name)
        if name[0] != "_" and inspect.isroutine(method):
            assert library.loads(pickle.dumps(method)) == method
    assert library.loads(library.dumps(kind(0.25).apply)).__self__ == kind(0.25)
    try:
        kind().apply([1.0], ["a"])
    except (TypeError, ValueError) as error:
        frames = traceback.extract_tb(error.__traceback__)
        assert any(frame.name == "apply" and frame.filename.endswith("imperative.py") for frame in frames)
    assert inspect.getsource(kind.apply).lstrip().startswith("def apply(")


FILES = {
    **{("optimizers", kind.__module__.rpartition(".")[2]): kind.__name__ for kind in ALGORITHMS},
    ("schedules", "cosine"): "CosineDecay or schedules.CosineDecayRestarts",
    ("schedules", "exponential"): "ExponentialDecay",
    ("schedules", "inverse_time"): "InverseTimeDecay",
    ("schedules", "piecewise"): "PiecewiseConstantDecay",
    ("schedules", "plateau"): "ReduceLROnPlateau",
    ("schedules", "polynomial"): "PolynomialDecay",
}  # fmt: skip


@pytest.mark.parametrize("package, name", FILES)
def test_a_file_that_is_called_names_its_class(package, name):
    found: dict[str, object] = {}
    exec(f"from gradwise.{package} import {name} as file", found)  # as users write it
    file = found["file"]
    with pytest.raises(TypeError) as caught:
        file(0.1)
    assert str(caught.value) == f"'module (write {package}.{FILES[package, name]})' object is not callable"
    assert not callable(file) and inspect.ismodule(file) and file is importlib.import_module(file.__name__)
    assert cloudpickle.loads(cloudpickle.dumps(lambda: file))() is file
    with pytest.raises((AttributeError, TypeError), match=FILES[package, name].split(" ")[0]):
        getattr(getattr(gradwise, package), name)(0.1)


def test_every_file_is_in_the_table():
    files = {each.__module__.rpartition(".")[::2] for each in map(vars(schedules).get, schedules.__all__)}
    named = {("schedules", name) for package, name in files if package == "gradwise.schedules"}
    assert named - FILES.keys() == {("schedules", "base"), ("schedules", "composition"), ("schedules", "registry")}
    assert OptimizerState.__module__ == "gradwise.optimizers.core.state"

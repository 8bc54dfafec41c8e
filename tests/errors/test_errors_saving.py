"""Configurations and files that cannot be read, and that reading them runs nothing that is in them."""

from __future__ import annotations

import contextlib
import pickle

import numpy as np
import pytest
from helpers.libraries import EVERY_LIBRARY, label, ones, parameter, values
from helpers.refusals import refused, unchanged

from gradwise import optimizers, schedules
from gradwise.optimizers import SGD, Adam, Nadam
from gradwise.optimizers.registry import ALGORITHMS

KNOWN = [algorithm.__name__.lower() for algorithm in ALGORITHMS]

# ---------------------------------------------------------------- names


MEANT = {
    "adamm": ["`adam`?"], "": KNOWN, "adam_w": ["`adamw`?"], "lamb": KNOWN, "optimizer": ["`multioptimizer`?"],
    "gradwise.optimizers.Adam": ["`adam`?"], "os.system": KNOWN,
}  # fmt: skip


@pytest.mark.parametrize(("name", "meant"), MEANT.items())
def test_unknown_names(name, meant):
    with refused(ValueError, repr(name), *meant):
        optimizers.get(name)
    for config in ({"class_name": name, "config": {}}, {"class_name": name}):
        with refused(ValueError, repr(name), *meant, keeps=[config]):
            optimizers.deserialize(config)
        with refused(ValueError, repr(name), *meant, keeps=[config]):
            optimizers.get(config)


@pytest.mark.parametrize("identifier", [3, Adam, object(), ["adam"], b"adam", np.array("adam")], ids=label)
def test_what_names_no_optimizer(identifier):
    shown = f"the class {identifier.__name__}" if isinstance(identifier, type) else repr(identifier)
    remedy = "Call it, " if isinstance(identifier, type) else "such as Adam(1e-3), or a name, such as 'adam'"
    with refused(ValueError, "optimizer", shown, remedy):
        optimizers.get(identifier)


@pytest.mark.parametrize("config", [None, "adam", 3, ["adam"], {}, {"config": {}}, {"class_name": Adam}], ids=label)
def test_what_is_no_configuration(config):
    with refused((TypeError, ValueError), "class_name", "config", keeps=[config]):
        optimizers.deserialize(config)


@pytest.mark.parametrize("arguments", [None, 3, "fast", [0.1]], ids=label)
def test_what_holds_no_arguments(arguments):
    config = {"class_name": "Adam", "config": arguments}
    with refused((TypeError, ValueError), "'config'", "dict", keeps=[config]):
        optimizers.deserialize(config)


def test_arguments_in_configurations_are_checked():
    for arguments, named in (
        ({"beta_1": 1.5}, ("Adam", "`beta_1`", "1.5", "[0, 1)")),
        ({"betas": [0.9, 0.999]}, ("Adam", "betas")),
        ({"convention": "adam"}, ("Adam", "'adam'", "'keras'")),
        ({"learning_rate": "fast"}, ("Adam", "learning_rate", "'fast'")),
    ):
        config = {"class_name": "Adam", "config": arguments}
        with refused(ValueError, *named, keeps=[config]):
            optimizers.deserialize(config)
        with refused(ValueError, *named, keeps=[arguments]):
            Adam.from_config(arguments)


def test_schedules_in_configurations_are_checked():
    optimizer = Adam(0.1)
    for rate, kind, named in (
        ({"class_name": "Cosine", "config": {}}, ValueError, ("'Cosine'", "CosineDecay")),
        ({"class_name": "ExponentialDecay", "config": 3}, TypeError, ("'ExponentialDecay'", "config")),
        ({"config": {}}, TypeError, ("class_name", "config")),
        ({}, TypeError, ("class_name", "config")),
    ):
        config = {"class_name": "Adam", "config": {"learning_rate": rate}}
        with refused(kind, *named, keeps=[config]):
            optimizers.deserialize(config)
        if not rate:
            # Outside of a configuration it is no schedule.
            kind, named = ValueError, ("{}", "MultiOptimizer")
        with refused(kind, *named, keeps=[optimizer, rate]):
            optimizer.learning_rate = rate


# ---------------------------------------------------------------- what cannot be written down


def test_functions_cannot_be_serialized():
    def warm(step):
        return 0.1

    for rate in (lambda: 0.1, lambda step: 0.1, warm):
        optimizer = Adam(rate)
        for write in (optimizer.get_config, lambda optimizer=optimizer: optimizers.serialize(optimizer)):
            with refused(TypeError, "function", "LearningRateSchedule", "get_config", keeps=[optimizer]):
                write()
        with unchanged(optimizer):
            assert optimizer.learning_rate == 0.1


def test_schedules_without_a_configuration_cannot_be_serialized():
    class Constant(schedules.LearningRateSchedule):
        def rate(self, step):
            return 0.1

    optimizer = Adam(Constant())
    with refused(NotImplementedError, "'Constant'", "get_config", keeps=[optimizer]):
        optimizer.get_config()


# ---------------------------------------------------------------- loading runs nothing


class Trap:
    """Leaves a mark when it is unpickled or called."""

    sprung = False

    @staticmethod
    def spring(*_):
        Trap.sprung = True
        return 0.1

    def __reduce__(self):
        return (Trap.spring, ())

    __call__ = spring


@pytest.fixture
def trap():
    assert pickle.loads(pickle.dumps(Trap())) == 0.1 and Trap.sprung
    Trap.sprung = False
    yield Trap()
    assert not Trap.sprung


@pytest.fixture
def without_pickle(monkeypatch):
    """A context in which pickle cannot be used. (Numba, which compiles steps, may keep its own cache with it.)"""

    def refuse(*_, **__):
        raise AssertionError("pickle was used")

    @contextlib.contextmanager
    def context():
        with monkeypatch.context() as patch:
            for name in ("load", "loads", "Unpickler", "dump", "dumps", "Pickler"):
                patch.setattr(pickle, name, refuse)
            yield

    return context


def trained(library):
    optimizer = Nadam(0.1, use_ema=True, gradient_accumulation_steps=2)
    parameters = [parameter(library, [[1.0, 2.0]], name="kernel"), parameter(library, [3.0], name="bias")]
    for _ in range(3):
        optimizer.apply([ones(library, 1, 2), ones(library, 1)], parameters)
    return optimizer, parameters


@pytest.mark.parametrize("library", EVERY_LIBRARY)
@pytest.mark.parametrize("kind", ["dictionary", "npz"])
def test_saving_and_loading(library, kind, tmp_path, without_pickle):
    optimizer, parameters = trained(library)
    copies, store = [parameter(library, values(each), name="copy") for each in parameters], {}
    with without_pickle():
        with unchanged(optimizer, parameters):
            optimizer.save_own_variables(store)
        assert all(type(each) is np.ndarray and each.dtype.kind in "fi" for each in store.values())
        loaded = optimizers.deserialize(optimizers.serialize(optimizer))
        loaded.build(copies)
        if kind == "npz":
            np.savez(tmp_path / "state.npz", **store)
            with np.load(tmp_path / "state.npz", allow_pickle=False) as opened:
                loaded.load_own_variables(opened)
        else:
            loaded.load_own_variables(store)
    for _ in range(2):
        optimizer.apply([ones(library, 1, 2), ones(library, 1)], parameters)
        loaded.apply([ones(library, 1, 2), ones(library, 1)], copies)
    assert [values(each) for each in parameters] == [values(each) for each in copies]
    assert [values(cell) for cell in optimizer.variables] == [values(cell) for cell in loaded.variables]


@pytest.mark.parametrize("position", [0, 1, 2, -1])
def test_pickled_objects_in_a_file_are_not_read(position, tmp_path, trap):
    optimizer, parameters = trained("numpy")
    store = {}
    optimizer.save_own_variables(store)
    key = list(store)[position]
    store[key] = np.full(store[key].shape, trap, object)
    np.savez(tmp_path / "state.npz", **store)
    opened = np.load(tmp_path / "state.npz", allow_pickle=False)
    with opened, unchanged(optimizer, parameters), pytest.raises(ValueError, match="allow_pickle=False"):
        optimizer.load_own_variables(opened)


def test_what_another_version_pickled_says_so():
    """It would go on with fresh slots."""
    state = Adam().__getstate__()
    del state["cells"]
    with refused(ValueError, "Adam", "pickled", "another version", "set_weights"):
        Adam.__new__(Adam).__setstate__({**state, "_iterations": 3})


def test_where_the_state_is_kept_is_not_taken_by_something_else():
    optimizer = Adam()
    with refused(AttributeError, "Adam", "cells", keeps=[optimizer]):
        optimizer.cells = []


def test_configurations_are_data(trap, without_pickle):
    code = "gAN9cQAu"
    for hostile in (
        {"class_name": "Trap", "module": __name__, "registered_name": "Trap", "config": {}},
        {"class_name": "__lambda__", "config": {"value": [code, None, None]}},
        {"class_name": "function", "module": "builtins", "config": "eval", "registered_name": "function"},
        {"class_name": "system", "module": "os", "config": {"command": "true"}, "registered_name": None},
    ):
        for config in (hostile, {"class_name": "Adam", "config": {"learning_rate": hostile}}):
            with without_pickle(), refused((TypeError, ValueError), keeps=[config]):
                optimizers.deserialize(config)
    for name in ("beta_1", "epsilon", "clipnorm", "use_ema", "ema_overwrite_frequency"):
        with refused(ValueError, "Adam", f"`{name}`"):
            optimizers.deserialize({"class_name": "Adam", "config": {name: trap}})


def test_the_users_own_classes_must_be_given():
    class Own(SGD):
        pass

    config = optimizers.serialize(Own(0.1))
    with refused(ValueError, "'Own'", "custom_objects", keeps=[config]):
        optimizers.deserialize(config)
    assert type(optimizers.deserialize(config, {"Own": Own})) is Own

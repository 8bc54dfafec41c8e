"""Steps for other parameters than the last one, and first steps: put together of what is known, in proportion."""

from __future__ import annotations

import collections
import random

import numpy as np
import pytest
from backend_table import array, distance, read

from gradwise.backends import backend_of
from gradwise.optimizers import Adam
from gradwise.optimizers.fused import Fusion
from gradwise.optimizers.lane import Lane

pytestmark = pytest.mark.fast
LIBRARIES = ["numpy", pytest.param("torch", marks=pytest.mark.torch)]
OF_TORCH = 2.0


@pytest.fixture
def counted(monkeypatch):
    """How often what is slow is done: general steps, short ways that are put together, addresses asked one by one."""
    counts = collections.Counter()

    def count(owner, name, what):
        before = getattr(owner, name)

        def counting(*arguments, **keywords):
            counts[what] += 1
            return before(*arguments, **keywords)

        monkeypatch.setattr(owner, name, counting)

    count(Fusion, "prepare", "general steps")
    count(Lane, "__init__", "ways")
    for library in ("numpy", "torch"):
        count(type(backend_of(array(library, 0.0))), "address", "addresses")
    return counts


class Twins:
    """Two optimizers on equal parameters: one by whole arrays of NumPy, one in one pass over a library's arrays."""

    def __init__(self, library, shapes, **arguments):
        generator = np.random.default_rng(3)
        self.library, self.generator = library, generator
        self.eager = [np.asarray(generator.normal(size=shape), np.float32) for shape in shapes]
        self.fused = [array(library, value) for value in self.eager]
        arguments = {"convention": "torch", **arguments}
        self.by_arrays, self.in_one_pass = Adam(0.1, jit_compile=False, **arguments), Adam(0.1, **arguments)
        self.by_arrays.build(self.eager)
        self.in_one_pass.build(self.fused)

    def step(self, places):
        """One step of both for the parameters at some places, with new gradients."""
        values = [np.asarray(self.generator.normal(size=self.eager[place].shape), np.float32) for place in places]
        self.by_arrays.apply(values, [self.eager[place] for place in places])
        gradients = [array(self.library, value) for value in values]
        self.in_one_pass.apply(gradients, [self.fused[place] for place in places])
        self.check()

    def check(self):
        found = [read(value) for value in self.fused]
        if self.library == "numpy":
            assert [value.tobytes() for value in found] == [value.tobytes() for value in self.eager]
        else:  # Torch's own root need not be the nearest number.
            assert all(distance(a, b, b) <= OF_TORCH for a, b in zip(found, self.eager, strict=True))


SHAPES = ((3, 4), (), (5,), (3, 4), (0,), (2, 2, 2))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("arguments", [{}, {"global_clipnorm": 0.5}, {"weight_decay": 0.1}, {"convention": "keras"}])
def test_sets_that_take_turns_are_put_together_once(library, arguments, counted):
    twins = Twins(library, SHAPES, **arguments)
    sets = [(0, 2, 4), (1, 3, 5), (5, 4, 3, 2, 1, 0), (2,)]
    for places in sets:
        twins.step(places)
    counted.clear()
    for _ in range(3):
        for places in sets:
            twins.step(places)
    # Those by whole arrays.
    assert counted["general steps"] == 12 and counted["ways"] == 0


@pytest.mark.parametrize("library", LIBRARIES)
def test_sets_that_never_come_again(library, counted):
    twins, draw = Twins(library, ((3, 4),) * 20), random.Random(0)
    twins.step(range(20))
    for _ in range(40):
        counted.clear()
        twins.step(sorted(draw.sample(range(20), 10)))
        assert counted["general steps"] == 1
    assert len(twins.in_one_pass._fusion._lanes._kept) <= 8


@pytest.mark.parametrize("library", LIBRARIES)
def test_no_array_is_asked_alone(library, counted):
    found = []
    for count in (10, 100):
        parameters = [array(library, np.ones(3)) for _ in range(count)]
        optimizer = Adam(0.1, convention="torch")
        optimizer.build(parameters)
        counted.clear()
        for some in (parameters[: count // 2], parameters):
            optimizer.apply([array(library, np.ones(3)) for _ in some], some)
            assert {group.way for group in optimizer.execution_report()} == {"fused"}
            assert sum(group.parameters for group in optimizer.execution_report()) == len(some)
        found.append(dict(counted))
    assert found == [{"ways": 2}, {"ways": 2}]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("warm", [False, True])
def test_memory_that_meets_is_seen_in_any_step(library, warm):
    """In a first one, and in one for parameters whose memory was moved."""
    whole = array(library, np.arange(12.0))
    parameters = [whole[:6], whole[6:]]
    optimizer, others = Adam(0.1), Adam(0.1, jit_compile=False)
    twins = [np.arange(6.0, dtype=np.float32), np.arange(6.0, 12.0, dtype=np.float32)]
    optimizer.build(parameters)
    others.build(twins)
    if warm:
        optimizer.apply([array(library, np.ones(6))] * 2, parameters)
        others.apply([np.ones(6, np.float32)] * 2, twins)
    # A gradient in the memory of another parameter, which the step writes.
    optimizer.apply([parameters[1], array(library, np.ones(6))], parameters)
    others.apply([twins[1].copy(), np.ones(6, np.float32)], twins)
    assert [group.way for group in optimizer.execution_report()] == ["eager"]
    assert np.allclose(read(parameters[0]), twins[0]) and np.allclose(read(parameters[1]), twins[1])


@pytest.mark.parametrize("library", LIBRARIES)
def test_parameters_that_share_memory_are_updated_one_after_another(library):
    whole = array(library, np.zeros(9))
    parameters = [whole[:6], whole[3:]]
    optimizer = Adam(0.1)
    optimizer.build(parameters)
    optimizer.apply([array(library, np.ones(6))] * 2, parameters)
    assert {group.reason for group in optimizer.execution_report()} == {
        "parameters, slots or gradients share memory"
    }


@pytest.mark.torch
def test_a_parameter_that_comes_late_is_looked_at():
    import torch

    parameters = [torch.ones(4), torch.ones(4)]
    optimizer = Adam(0.1)
    optimizer.build(parameters)
    optimizer.apply([torch.ones(4)], parameters[:1])
    parameters[1].untyped_storage().resize_(8)
    with pytest.raises(TypeError, match="its memory was given back"):
        optimizer.apply([torch.ones(4), torch.ones(4)], parameters)
    assert parameters[0].tolist() == pytest.approx([0.9] * 4) and optimizer.iterations == 1


@pytest.mark.torch
def test_moved_memory_is_looked_at_again():
    import torch

    parameters = [torch.ones(4), torch.ones(4)]
    optimizer = Adam(0.1)
    for _ in range(3):
        optimizer.apply([torch.ones(4)] * 2, parameters)
    # Now one lies in what the other's slot is.
    parameters[0].data = optimizer.momentums[1].value
    optimizer.apply([torch.ones(4)] * 2, parameters)
    assert {group.reason for group in optimizer.execution_report()} == {
        "parameters, slots or gradients share memory"
    }

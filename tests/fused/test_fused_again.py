"""The short way of one pass: when nothing but gradients has moved since the last step, and when something has."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.backend_table import array, distance, read

from gradwise.optimizers import Adam, Nadam

pytestmark = pytest.mark.fast
LIBRARIES = ["numpy", pytest.param("torch", marks=pytest.mark.torch)]
OF_TORCH = 2.0
"""The cap of `test_parity` on the distance of torch by whole arrays."""


class Pair:
    """Two optimizers on equal parameters: one by whole arrays of NumPy, one in one pass over a library's arrays."""

    def __init__(self, library, shapes=((3, 4), (), (5,)), **arguments):
        generator = np.random.default_rng(3)
        self.library, self.generator = library, generator
        self.eager = [np.asarray(generator.normal(size=shape), np.float32) for shape in shapes]
        self.fused = [array(library, value) for value in self.eager]
        self.by_arrays, self.in_one_pass = Adam(0.1, jit_compile=False, **arguments), Adam(0.1, **arguments)

    def gradients(self):
        """New arrays of the library."""
        shapes = [value.shape for value in self.eager]
        return [array(self.library, np.asarray(self.generator.normal(size=shape), np.float32)) for shape in shapes]

    def step(self, gradients=None):
        """One step of both; whether the second one was ready for it."""
        gradients = self.gradients() if gradients is None else gradients
        self.by_arrays.apply([None if gradient is None else read(gradient) for gradient in gradients], self.eager)
        before = self.in_one_pass.fusion.lane
        self.in_one_pass.apply(gradients, self.fused)
        found = [read(value) for value in self.fused]
        if self.library == "numpy" or {group.way for group in self.in_one_pass.execution_report()} == {"fused"}:
            assert [value.tobytes() for value in found] == [value.tobytes() for value in self.eager]
        else:  # Torch's own root need not be the nearest number.
            assert all(distance(a, b, b) <= OF_TORCH for a, b in zip(found, self.eager, strict=True))
        return before is not None and self.in_one_pass.fusion.lane is before


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("arguments", [{}, {"global_clipnorm": 0.5}, {"convention": "torch", "weight_decay": 0.1}])
def test_new_gradients_in_every_step(library, arguments):
    pair = Pair(library, **arguments)
    assert not pair.step()
    assert all(pair.step() for _ in range(5))


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_same_gradients_with_other_values(library):
    pair = Pair(library)
    gradients = pair.gradients()
    pair.step(gradients)
    for _ in range(3):
        gradients[0] *= 2
        assert pair.step(gradients)


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_gradient_has_a_norm_of_its_own(library):
    pair = Pair(library, clipnorm=0.5)
    assert not pair.step()
    assert all(pair.step() for _ in range(4))


def test_parameters_of_two_dtypes_and_a_part_of_them():
    eager, fused = ([np.ones(3, np.float32), np.ones(4), np.ones(2, np.float32)] for _ in range(2))
    by_arrays, in_one_pass = Nadam(0.1, jit_compile=False), Nadam(0.1)
    lanes = []
    for step in range(6):
        chosen = [0, 1, 2] if step < 3 else [2, 1]
        for optimizer, weights in ((by_arrays, eager), (in_one_pass, fused)):
            gradients = [np.full_like(weights[k], np.sin(step + k)) for k in chosen]
            optimizer.apply(gradients, [weights[k] for k in chosen])
        lanes.append(in_one_pass.fusion.lane)
        assert [weight.tobytes() for weight in fused] == [weight.tobytes() for weight in eager]
        assert in_one_pass.iterations == step + 1
    assert lanes[0] is lanes[2] and lanes[3] is lanes[5] and None not in lanes


def test_what_does_not_fit_is_left_to_the_general_step():
    pair = Pair("numpy", shapes=((3, 4), (5,)))
    pair.step()
    good = pair.gradients()
    for bad in ([good[1], good[0]], [good[0], None], [good[0], 1.0], [good[0], good[1].tolist()], good[:1]):
        missing = any(gradient is None for gradient in bad)
        with pytest.warns(UserWarning) if missing else pytest.raises((TypeError, ValueError)):
            pair.in_one_pass.apply(bad, pair.fused)
        pair.in_one_pass.apply(good, pair.fused)
    with pytest.raises(TypeError, match="Put it into a list"):
        pair.in_one_pass.apply(np.ones((2, 2)), pair.fused)


def test_a_schedule_that_raises_changes_nothing():
    weights = np.ones(3)

    def rate(step):
        if step == 2:
            raise ZeroDivisionError("no rate")
        return 0.1

    optimizer = Adam(rate)
    for _ in range(2):
        optimizer.apply([np.ones(3)], [weights])
    before = weights.copy()
    with pytest.raises(ZeroDivisionError, match="no rate"):
        optimizer.apply([np.ones(3)], [weights])
    assert optimizer.iterations == 2 and weights.tobytes() == before.tobytes()


def test_generators_are_not_used_up():
    weights = [np.ones(3), np.ones(2)]
    optimizer = Adam(0.1)
    for _ in range(3):
        optimizer.apply((np.ones_like(weight) for weight in weights), iter(weights))
        optimizer.apply_gradients((np.ones_like(weight), weight) for weight in weights)
    assert optimizer.iterations == 6


@pytest.mark.filterwarnings("ignore:Gradients do not exist:UserWarning")
def test_a_gradient_that_is_missing_and_back():
    pair = Pair("numpy", convention="torch")
    pair.step()
    assert pair.step()
    assert not pair.step([None, *pair.gradients()[1:]])
    # The first has counted one step less now: it is updated apart from the others.
    assert not pair.step()
    assert pair.step()


def test_gradients_that_do_not_lie_plainly():
    pair = Pair("numpy")
    pair.step()
    assert pair.step()
    strided, one, two = pair.gradients()
    # What kernels cannot read is copied, and the step is as short.
    assert pair.step([np.repeat(strided, 2, axis=1)[:, ::2], one, two])
    bytes_ = np.zeros(4 * 12 + 1, np.uint8)
    unaligned = bytes_[1:].view(np.float32).reshape(3, 4)
    unaligned[...] = strided
    assert not unaligned.flags.aligned
    assert pair.step([unaligned, one, two])
    assert pair.step([strided.copy(order="F"), one, two])
    # Another kernel reads another dtype.
    assert not pair.step([strided.astype(np.float64), one, two])
    assert pair.step([strided.astype(np.float64), one, two])
    pair.step()
    assert pair.step()


def test_gradients_in_memory_that_is_written():
    """A gradient that is a part of a parameter must be read before the parameter is written."""
    pair = Pair("numpy", shapes=((8,), (8,)))
    pair.step()
    assert pair.step()
    for parameters, optimizer in ((pair.eager, pair.by_arrays), (pair.fused, pair.in_one_pass)):
        optimizer.apply([parameters[1][::-1].copy(), parameters[0][:]], parameters)
    assert [value.tobytes() for value in pair.fused] == [value.tobytes() for value in pair.eager]


@pytest.mark.torch
def test_tensors_whose_data_is_replaced():
    pair = Pair("torch", shapes=((4, 4), (3,)))
    pair.step()
    assert pair.step()
    pair.eager[0] *= 2
    pair.fused[0].data = pair.fused[0].data.clone() * 2
    # Where it lies now is looked at, and that is all that is new.
    assert pair.step()
    assert pair.step()
    pair.eager[0][...] = pair.eager[0].T.copy()
    pair.fused[0].data = pair.fused[0].data.t()
    assert not pair.step()


@pytest.mark.torch
def test_autograd_sees_that_parameters_were_written():
    import torch

    weights = torch.ones(3, requires_grad=True)
    optimizer = Adam(0.1)
    for _ in range(3):
        loss = (weights**2).sum()
        version = weights._version
        optimizer.apply([torch.ones(3)], [weights])
        assert weights._version > version
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def test_looking_at_arrays():
    from gradwise.backends.kernels import addresses

    assert addresses.works()
    arrays = [np.zeros((3, 4)), np.zeros(()), np.zeros((0, 2)), np.arange(6.0)[2:]]
    held = [np.zeros_like(array) for array in arrays for _ in range(2)]
    look = addresses.ArrayLookout([array.shape for array in arrays], [None] * 4, [np.dtype(np.float64)] * 3)
    places = [each.__array_interface__["data"][0] for each in (*held, *arrays)]
    assert look(held, arrays).tolist() == [[*places[2 * k : 2 * k + 2], places[8 + k]] for k in range(4)]
    strange = [
        np.zeros((4, 3)).T, np.zeros((3, 8))[:, ::2], np.zeros((3, 4), np.float32), np.zeros((3, 4), ">f8"),
        np.zeros((4, 3)), np.zeros(12), np.zeros((3, 4, 1)), np.ma.zeros((3, 4)), None, 0.0, "text", arrays,
    ]  # fmt: skip
    for each in strange:
        assert look(held, [each, *arrays[1:]]) is None
        assert look([held[0], each, *held[2:]], arrays) is None


@pytest.mark.parametrize(
    "change",
    [lambda array: array.setflags(write=False), lambda array: setattr(array, "shape", (2, 2)),
     lambda array: array.resize((8,), refcheck=False), lambda array: setattr(array, "dtype", np.int64)],
    ids=["read-only", "reshaped", "resized", "renamed"],
)  # fmt: skip
@pytest.mark.parametrize("slot", [False, True])
def test_looking_at_memory_that_was_changed(change, slot):
    from gradwise.backends.kernels import addresses

    held = [np.zeros(4), np.zeros(4)]
    look = addresses.ArrayLookout([(4,)], [None], [np.dtype(np.float64)] * 3)
    assert look(held, [np.ones(4)]) is not None
    change(held[slot])
    assert look(held, [np.ones(4)]) is None


def test_without_looking_at_many_arrays_at_once(monkeypatch):
    from gradwise.backends.kernels import addresses

    monkeypatch.setattr(addresses, "works", lambda: False)
    pair = Pair("numpy")
    assert not any(pair.step() for _ in range(3))

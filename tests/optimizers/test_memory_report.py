"""`memory` says what an optimizer keeps; averages and counts are had without its cells."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.user_optimizers import Adafactor

from gradwise import optimizers, schedules
from gradwise.optimizers import SGD, Adam, MultiOptimizer, Optimizer


def params(dtype=np.float32):
    return {"bias": np.ones(3, dtype), "kernel": np.ones((4, 3), dtype)}


class Shape:
    def __init__(self, shape, dtype="float32"):
        self.shape, self.dtype = shape, dtype


CASES = {
    "two slots": (Adam(), params(), {"momentum": 60, "velocity": 60}),
    "none": (SGD(), params(), {}),
    "double": (Adam(), params(np.float64), {"momentum": 120, "velocity": 120}),
    "half, stored single": (Adam(), params(np.float16), {"momentum": 60, "velocity": 60}),
    "half, stored so": (Adam(slot_dtype={"momentum": "float16"}), params(np.float16), {"momentum": 30, "velocity": 60}),
    "averages and sums": (
        SGD(use_ema=True, gradient_accumulation_steps=2), params(), {"average": 60, "gradient_accumulator": 60},
    ),
    "rows and columns": (Adafactor(), params(), {"row": 16, "column": 12, "square": 12}),
    "several": (MultiOptimizer({"bias": SGD(momentum=0.9)}, default=Adam()), params(), {
        "optimizers/adam/momentum": 48, "optimizers/adam/velocity": 48, "optimizers/sgd/momentum": 12,
    }),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_bytes_of_each_slot(name):
    optimizer, given, expected = CASES[name]
    report = optimizer.memory(given)
    assert report.by_slot == expected and report.total == sum(expected.values())
    assert not optimizer.built
    assert sum(report.by_parameter.values()) == sum(report.by_dtype.values()) == report.total
    lines = str(report).split("\n")
    assert lines[0].split() == ["parameter", "slot", "shape", "dtype", "bytes"]
    assert lines[-1].split() == ["total", f"{report.total:,}"]
    # Shapes suffice, and what was built is asked without.
    shapes = {key: Shape(array.shape, array.dtype) for key, array in given.items()}
    assert optimizer.memory(shapes) == report
    built = optimizer.unbuilt_copy()
    built.build(given)
    assert built.memory() == report
    state = optimizer.init(given)
    kept = [array for tree in state.slots.values() for array in tree.values() if array is not None]
    assert sum(array.nbytes for array in kept if array.ndim) == report.total


def test_rows():
    rows = Adafactor().memory(params())
    assert rows[0] == ("bias", "square", (3,), "float32", 12) and rows[1] == ("kernel", "row", (4,), "float32", 16)
    assert Adafactor().memory(params()).by_parameter == {"kernel": 28, "bias": 12}

    class Sharing(Optimizer):
        def build(self, variables):
            super().build(variables)
            self.shared = self.add_variable((5,), name="shared")

    report = Sharing().memory(params())
    assert report.by_parameter == {None: 20} and "(all)" in str(report)


def test_nothing_is_allocated():
    huge = {"w": Shape((10**6, 10**6), "bfloat16")}
    assert Adam().memory(huge).total == 8 * 10**12


@pytest.mark.torch
def test_of_torch():
    import torch

    from gradwise.frontends import torch as optim

    with torch.device("meta"):
        layer = torch.nn.Linear(1000, 1000)
    assert Adam().memory(layer.named_parameters()).by_parameter == {"weight": 8_000_000, "bias": 8_000}
    with pytest.raises(TypeError, match=r"class Linear\. Give `model.named_parameters\(\)"):
        Adam().memory(layer)
    layer = torch.nn.Linear(4, 3)
    optimizer = optim.Adam([{"params": [layer.weight]}, {"params": [layer.bias], "amsgrad": True}])
    report = optimizer.memory()
    assert sorted(report.by_slot.items()) == [("exp_avg", 60), ("exp_avg_sq", 60), ("max_exp_avg_sq", 12)]
    assert optim.wrap(Adafactor(), layer.named_parameters()).memory().by_parameter == {"weight": 28, "bias": 12}


@pytest.mark.jax
def test_of_jax():
    import jax

    shapes = jax.eval_shape(lambda: {"w": jax.numpy.ones((3, 5))})
    assert Adam().memory(shapes).by_slot == {"momentum": 60, "velocity": 60}


def test_what_has_no_memory_to_tell():
    with pytest.raises(ValueError, match=r"Optimizer 'adam' is not built: give the parameters, memory\(params\)"):
        Adam().memory()
    with pytest.raises(TypeError, match="Parameter 'w' has no shape and dtype"):
        Adam().memory({"w": 3.0})
    with pytest.raises(ValueError, match="dtype int32, which cannot be optimized"):
        Adam().memory({"w": Shape((3,), "int32")})


def test_averages_of_the_imperative_path():
    optimizer, weights = SGD(0.5, use_ema=True, ema_momentum=0.5), params()
    with pytest.raises(ValueError, match=r"'sgd' has no averages yet: it was not built"):
        optimizer.averages()
    for _ in range(2):
        optimizer.apply(params(), weights)
    bias, kernel = optimizer.averages()
    assert kernel[0, 0] == bias[0] == 0.25
    kernel[:] = 7.0
    assert optimizer.averages()[1][0, 0] == 0.25
    with pytest.raises(ValueError, match=r"'sgd' keeps no averages: make it with use_ema=True"):
        SGD().averages()
    functional = SGD(0.5, use_ema=True, ema_momentum=0.5)
    assert functional.averages(functional.init(params()))["bias"].tolist() == [0.0] * 3


def test_counts_of_calls_and_updates():
    seen = []

    class Asked(schedules.LearningRateSchedule):
        def rate(self, step):
            seen.append(int(step))
            return 0.1

    optimizer, weights = optimizers.SGD(Asked(), gradient_accumulation_steps=3), np.ones(2)
    state = optimizer.init(weights)
    stepped = weights
    for made in range(1, 8):
        optimizer.apply([np.ones(2)], [weights])
        stepped, state = optimizer.step(stepped, np.ones(2), state)
        assert optimizer.calls_made == made == int(state.iterations)
        assert optimizer.iterations == optimizer.updates_at(state) == optimizer.updates_after(made) == made // 3
    assert seen[0] == 0 and max(seen) == 6
    alone = SGD()
    alone.apply([np.ones(2)], [weights])
    assert alone.calls_made == alone.iterations == 1

"""Training with Keras's own loops: the same curves as with Keras's own classes, files, precision, freezing."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from helpers.selection import WHOLE
from small import BACKEND, TRAINS, WEIGHTS, X, Y, distance, losses, model, values

from gradwise.frontends import keras as gkeras

pytestmark = pytest.mark.skipif(not TRAINS, reason="Keras does not train on NumPy")

BOUND = 2e-5
"""Of losses near 1, after two epochs of four steps."""

CURVES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"momentum": 0.5, "nesterov": True}),
    ("Adam", {"use_ema": True, "ema_overwrite_frequency": 3, "global_clipnorm": 0.5}),
    ("Nadam", {"gradient_accumulation_steps": 2, "weight_decay": 0.1}),
]


@pytest.mark.parametrize(("name", "arguments"), CURVES, ids=[name for name, _ in CURVES])
def test_curves_are_those_of_kerass_class(name: str, arguments: dict[str, Any]) -> None:
    own = model(getattr(gkeras, name)(0.03, **arguments))
    theirs = model(getattr(keras.optimizers, name)(0.03, **arguments))
    np.testing.assert_allclose(losses(own), losses(theirs), atol=BOUND)
    assert distance(values(own.optimizer.variables[:1]), values(theirs.optimizer.variables[:1])) == 0.0


def test_a_batch_and_evaluation() -> None:
    own, theirs = model(gkeras.Adam(0.03)), model(keras.optimizers.Adam(0.03))
    for _ in range(3):
        assert own.train_on_batch(X, Y) == pytest.approx(theirs.train_on_batch(X, Y), abs=BOUND)
    assert own.evaluate(X, Y, verbose=0) == pytest.approx(theirs.evaluate(X, Y, verbose=0), abs=BOUND)


# torch's own compiler uses it.
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.crossing
def test_compiled_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    if BACKEND == "torch" and not WHOLE:
        import torch

        # The graphs; the C++ that is made of them, which takes most of the time, in `make crossings`.
        monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    try:
        compiled = losses(model(gkeras.Adam(0.03), jit_compile=True))
    except Exception:
        try:
            losses(model(keras.optimizers.Adam(0.03), jit_compile=True))
        except Exception as error:
            # torch 2.4 does not compile what Keras 3.8 does with optree.
            pytest.skip(f"Keras's own steps do not compile here either: {type(error).__name__}")
        raise
    np.testing.assert_allclose(compiled, losses(model(gkeras.Adam(0.03), jit_compile=False)), atol=BOUND)


# -------------------------------------------------------------------- files

SWAPS = {
    "ours": (gkeras.Nadam, gkeras.Nadam),
    "ours to Keras's": (gkeras.Nadam, keras.optimizers.Nadam),
    "Keras's to ours": (keras.optimizers.Nadam, gkeras.Nadam),
}


@pytest.mark.parametrize(("before", "after"), SWAPS.values(), ids=SWAPS)
def test_training_goes_on_from_a_file(before: Any, after: Any, tmp_path: Path) -> None:
    first = model(before(0.03))
    losses(first)
    first.save(tmp_path / "model.keras")
    first.save_weights(tmp_path / "model.weights.h5")
    expected = losses(first)

    weights = model(after(0.03))
    weights.optimizer.build(weights.trainable_variables)
    weights.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_allclose(losses(weights), expected, atol=BOUND)

    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is type(first.optimizer)
    if before is not after:
        state = [variable.numpy() for variable in loaded.optimizer.variables]
        loaded.compile(optimizer=after.from_config(loaded.optimizer.get_config()), loss=loaded.loss)
        loaded.optimizer.build(loaded.trainable_variables)
        loaded.optimizer.set_weights(state)
    np.testing.assert_allclose(losses(loaded), expected, atol=BOUND)


def test_a_clone_trains_alike() -> None:
    first = model(gkeras.Adam(0.03, amsgrad=True))
    twin = keras.models.clone_model(first)
    twin.set_weights(WEIGHTS)
    twin.compile(optimizer=gkeras.Adam.from_config(first.optimizer.get_config()), loss=first.loss)
    np.testing.assert_array_equal(losses(first), losses(twin))


# -------------------------------------------------------------------- precision


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "bfloat16"])
def test_low_precision(policy: str) -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        own, theirs = model(gkeras.Adam(0.03)), model(keras.optimizers.Adam(0.03))
        found, expected = losses(own), losses(theirs)
    finally:
        keras.config.set_dtype_policy(before)
    assert found[1] < found[0]
    assert isinstance(own.optimizer, keras.optimizers.LossScaleOptimizer) == (policy == "mixed_float16")
    if policy == "bfloat16":
        # Keras's Adam does not move: it rounds 0.999 to 1.
        assert expected[0] == expected[1]
        assert {v.dtype for v in own.trainable_variables} == {"bfloat16"}
        assert {v.dtype for v in own.optimizer.variables[2:]} == {"float32"}
    else:
        np.testing.assert_allclose(found, expected, rtol=0.01)


# -------------------------------------------------------------------- models


def test_layers_may_be_frozen_between_fits() -> None:
    made = model(gkeras.Adam(0.03, use_ema=True))
    losses(made)
    before = [value.copy() for value in made.get_weights()]
    made.get_layer("first").trainable = False
    made.compile(optimizer=made.optimizer, loss="mean_squared_error")
    losses(made)
    after = made.get_weights()
    assert distance(after[:2], before[:2]) == 0.0
    assert min(np.abs(one - other).max() for one, other in zip(after[2:], before[2:], strict=True)) > 0
    assert int(made.optimizer.iterations.numpy()) == 16


def test_layers_that_were_frozen_need_a_new_optimizer() -> None:
    made = model(gkeras.Adam(0.03))
    made.get_layer("first").trainable = False
    made.compile(optimizer=made.optimizer, loss="mean_squared_error")
    losses(made)
    made.get_layer("first").trainable = True
    made.compile(optimizer=made.optimizer, loss="mean_squared_error")
    said = r"'model/first/kernel' is not one of the 2 variables .* make a new one for another model"
    with pytest.raises(ValueError, match=said):
        losses(made)


@pytest.mark.parametrize("train", [losses, lambda other: other.train_on_batch(X, Y)], ids=["fit", "train_on_batch"])
@pytest.mark.parametrize("scaled", [False, True])
def test_one_optimizer_serves_one_model(train: Any, scaled: bool) -> None:
    optimizer = gkeras.Adam(0.03)
    first = model(keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer)
    losses(first)
    before = values([*first.trainable_variables, *first.optimizer.variables])
    with pytest.raises(ValueError, match="An optimizer serves one model"):
        train(model(first.optimizer))
    assert distance(values([*first.trainable_variables, *first.optimizer.variables]), before) == 0.0
    losses(first)


def test_nothing_is_moved_through_copies_on_torch() -> None:
    if BACKEND != "torch":
        pytest.skip("JAX compiles steps itself")
    made = model(gkeras.Adam(0.03, clipnorm=1.0, use_ema=True, weight_decay=0.1))
    losses(made)
    report = made.optimizer.core.execution_report()
    assert [group.way for group in report] == ["fused"] * len(report)
    assert report

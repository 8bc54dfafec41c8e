"""`update_step`, Keras's hook: what a subclass overrides is obeyed, and what it calls makes a step."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from helpers.selection import crossing
from rules import all_facts
from small import PEERS, TRAINS, gradients, losses, model, values, variables

from gradwise.frontends import keras as gkeras

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {}, "clipped": {"clipnorm": 0.5}, "averaging": {"use_ema": True, "ema_momentum": 0.9},
    "accumulating": {"gradient_accumulation_steps": 2}, "decaying": {"weight_decay": 0.1},
}  # fmt: skip


def slower(kind: Any) -> Any:
    """Another rate for variables of each shape."""

    class Slower(kind):
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            super().update_step(gradient, variable, learning_rate * (0.0 if len(variable.shape) == 1 else 0.5))

    return Slower


def scaled(kind: Any) -> Any:
    """Other gradients, and a correction of the variable before and after, and a slot of its own."""

    class Scaled(kind):
        def build(self, variables: Any) -> None:
            if self.built:
                return
            super().build(variables)
            self.calls = [self.add_variable_from_reference(variable, "calls") for variable in variables]

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            calls = self.calls[self._get_variable_index(variable)]
            self.assign_add(calls, keras.ops.ones(calls.shape))
            self.assign(variable, variable * 0.5)
            super().update_step(gradient * calls.value, variable, learning_rate)
            self.assign_sub(variable, keras.ops.full(variable.shape, 0.01, variable.dtype))

    return Scaled


def replaced(kind: Any) -> Any:
    """Another rule altogether."""

    class Replaced(kind):
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            variable.assign_sub(keras.ops.sign(gradient) * learning_rate)

    return Replaced


def smoothed(kind: Any) -> Any:
    """The gradient, and the rate, of the rule are Variables of the subclass."""

    class Smoothed(kind):
        def build(self, variables: Any) -> None:
            if self.built:
                return
            super().build(variables)
            self.sums = [self.add_variable_from_reference(variable, "sum") for variable in variables]
            self.rate = self.add_variable((), name="rate", initializer="ones")

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            gathered = self.sums[self._get_variable_index(variable)]
            self.assign(gathered, gathered * 0.9 + gradient)
            self.assign(self.rate, keras.ops.ones(()) * 0.02)
            super().update_step(gathered, variable, self.rate)

    return Smoothed


def run(kind: Any, **options: Any) -> list[np.ndarray]:
    optimizer, parameters = kind(0.05, **options), variables()
    for row in gradients(6):
        optimizer.apply(row, parameters)
    return values(parameters)


@crossing(("name", "change", "option"), [*PEERS], [slower, scaled, smoothed, replaced], [*OPTIONS])
def test_a_subclass_moves_as_one_of_keras_s_class(name: str, change: Any, option: str) -> None:
    options = {**({"weight_decay": 0.004} if all_facts()[name].decays else {}), **OPTIONS[option]}
    own = run(change(getattr(gkeras, name)), **options)
    for expected, found in zip(run(change(getattr(keras.optimizers, name)), **options), own, strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)


@pytest.mark.skipif(not TRAINS, reason="Keras does not train on NumPy")
def test_in_fit() -> None:
    def trained(module: Any) -> Any:
        network = model(scaled(module.Adam)(0.05))
        losses(network)
        return [*network.get_weights(), *values(network.optimizer.calls)]

    for expected, found in zip(trained(keras.optimizers), trained(gkeras), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


# A product of factors is one for all variables: Keras multiplies it for each.
@pytest.mark.parametrize("name", [name for name in PEERS if all_facts()[name].product is None])
def test_called_by_itself_it_is_one_step_of_one_variable(name: str) -> None:
    results = []
    for module in (keras.optimizers, gkeras):
        parameters = variables()
        optimizer = getattr(module, name)(0.05)
        optimizer.build(parameters)
        for gradient, variable in zip(gradients(1)[0][:2], parameters[:2], strict=True):
            optimizer.update_step(keras.ops.convert_to_tensor(gradient), variable, 0.05)
        results.append([*values(parameters), *values(optimizer.variables)])
    for expected, found in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)


def test_what_it_is_not_built_for_is_refused() -> None:
    optimizer = gkeras.Adam(0.1)
    stranger = keras.Variable(np.ones(3, "float32"))
    with pytest.raises(ValueError, match="not built"):
        optimizer.update_step(keras.ops.ones(3), stranger, 0.1)
    optimizer.build(variables())
    with pytest.raises(ValueError, match="Unknown variable"):
        optimizer.update_step(keras.ops.ones(3), stranger, 0.1)


def test_a_subclass_that_fails_changes_nothing() -> None:
    class Failing(gkeras.Adam):
        failing = False

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            super().update_step(gradient, variable, learning_rate)
            if self.failing and variable is parameters[-1]:
                raise OverflowError("the user's own")

    optimizer, parameters = Failing(0.1), variables()
    rows = gradients(3)
    optimizer.apply(rows[0], parameters)
    before = [*values(parameters), *values(optimizer.variables)]
    optimizer.failing = True
    with pytest.raises(OverflowError):
        optimizer.apply(rows[1], parameters)
    for kept, now in zip(before, [*values(parameters), *values(optimizer.variables)], strict=True):
        np.testing.assert_array_equal(kept, now)


PARTS = [
    name for name in (
        "_get_current_learning_rate", "_clip_gradients", "_clip_by_norm", "_apply_weight_decay",
        "_backend_apply_gradients", "_backend_update_step", "_backend_increment_gradient_accumulators",
        "_backend_reset_gradient_accumulators", "_update_model_variables_moving_average", "learning_rate",
    ) if hasattr(keras.optimizers.Optimizer, name)
]  # fmt: skip


REMEDIES = {
    "learning_rate": "For another rate pass a callable",
    "clip": "To change gradients override `apply",
    "_backend_apply_gradients": "For another rule override `update_step",
    "_backend_update_step": "For another rule override `update_step",
    "weight_decay": "Override `apply",
    "accumulators": "Override `apply",
    "moving_average": "Override `apply",
}
"""By a part of the name."""


@pytest.mark.parametrize("name", PARTS)
def test_a_subclass_whose_change_would_be_ignored_is_refused(name: str) -> None:
    def own(self: Any, *arguments: Any) -> Any:
        raise AssertionError("it is not called")

    (remedy,) = (remedy for part, remedy in REMEDIES.items() if part in name)
    with pytest.raises(TypeError, match=f"Slower overrides {name}, .* {remedy}"):
        type("Slower", (gkeras.SGD,), {name: own})
    with pytest.raises(TypeError, match=f"Slower overrides {name}, .* {remedy}"):
        type("Slower", (type("Mixin", (), {name: own}), gkeras.SGD), {})
    # One that makes its steps itself may call what it likes.
    type("Slower", (gkeras.SGD,), {name: own, "apply": lambda self, grads, trainable_variables=None: None})

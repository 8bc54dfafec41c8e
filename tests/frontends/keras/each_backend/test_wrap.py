"""`wrap`, `get`, `serialize` and `deserialize`: core optimizers, the user's own included, in Keras."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from small import PEERS, TRAINS, distance, gradients, losses, model, values, variables

from gradwise import optimizers
from gradwise.backends import ops
from gradwise.frontends import keras as gkeras
from gradwise.optimizers import Optimizer
from gradwise.optimizers.core.hyperparameters import Number


@keras.saving.register_keras_serializable("tests")
class Signs(Optimizer):
    """A rule of a user's own, with a slot and a number of its own."""

    pull = Number("[0, 1]")

    def __init__(self, learning_rate: Any = 0.01, pull: float = 0.5, **keywords: Any) -> None:
        super().__init__(learning_rate, **keywords)
        self.pull = pull

    def build(self, variables: Any) -> None:
        super().build(variables)
        self.memories = self.add_optimizer_variables(variables, "memory")
        self.fade = self.add_scalar("fade", 1.0)

    def begin_step(self, gradients: Any, variables: Any, learning_rate: Any) -> None:
        self.assign(self.fade, self.fade * 0.5)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        memory = self.memories[self._get_variable_index(variable)]
        self.assign(memory, memory * self.pull + gradient)
        self.assign_sub(variable, learning_rate * (1 - self.fade) * ops.sign(memory))


@keras.saving.register_keras_serializable("tests")
class Rows(Optimizer):
    """A rule with a number for each row of a matrix."""

    def build(self, variables: Any) -> None:
        super().build(variables)
        self.rows = [self.add_variable_from_reference(v, "row", shape=v.shape[:1]) for v in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        row = self.rows[self.variable_index(variable)]
        squares = ops.reshape(ops.square(gradient), (*row.shape, -1))
        self.assign(row, ops.moving_average(row, ops.mean(squares, axis=1), 0.9))
        size = ops.reshape(ops.sqrt(row) + 1e-8, row.shape + (1,) * (variable.ndim - 1))
        self.assign_sub(variable, learning_rate * gradient / size)


CORES: dict[str, Any] = {
    "torch's Adam": lambda: optimizers.Adam(0.03, convention="torch", weight_decay=0.1),
    "torch's SGD": lambda: optimizers.SGD(0.03, momentum=0.5, convention="torch", dampening=0.25),
    "optax's Nadam": lambda: optimizers.Nadam(0.03, convention="optax"),
    "scheduled": lambda: optimizers.Adam(optimizers.schedules.ExponentialDecay(0.03, 4, 0.5), slot_dtype="bfloat16"),
    "own": lambda: Signs(0.03, pull=0.25, clipnorm=1.0),
    "slots of other shapes": lambda: Rows(0.03),
}


def trained_by_hand(optimizer: Any) -> list[np.ndarray]:
    parameters = variables()
    for row in gradients(4):
        optimizer.apply(row, parameters)
    return values(parameters)


@pytest.mark.parametrize("make", CORES.values(), ids=CORES)
def test_steps_are_the_cores(make: Any) -> None:
    core = make()
    arrays = [np.array(value, dtype="float32") for value in values(variables())]
    for row in gradients(4):
        core.apply([np.asarray(keras.ops.convert_to_numpy(gradient)) for gradient in row], arrays)
    template = make()
    wrapped = gkeras.wrap(template)
    assert isinstance(wrapped, keras.optimizers.Optimizer)
    assert distance(trained_by_hand(wrapped), [array.astype("float64") for array in arrays]) <= 1e-6
    assert not template.built


@pytest.mark.parametrize("make", CORES.values(), ids=CORES)
def test_wrapped_optimizers_train_and_are_saved(make: Any, tmp_path: Path) -> None:
    wrapped = gkeras.wrap(make())
    revived = keras.optimizers.deserialize(keras.optimizers.serialize(wrapped))
    assert revived.get_config() == wrapped.get_config()
    if not TRAINS:
        return
    made = model(wrapped)
    found = losses(made)
    assert found[1] < found[0]
    made.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(losses(loaded), losses(made), atol=1e-6)


def test_attributes_of_the_core_act() -> None:
    wrapped = gkeras.wrap(Signs(0.03))
    expected = trained_by_hand(gkeras.wrap(Signs(0.06, pull=0.25)))
    wrapped.core.pull = 0.25
    wrapped.learning_rate = 0.06
    assert distance(trained_by_hand(wrapped), expected) == 0.0


def test_what_the_state_takes() -> None:
    made = model(gkeras.wrap(Rows()))
    with pytest.raises(ValueError, match=r"'rows' has no variables yet: give memory\(model.trainable_variables\)"):
        gkeras.wrap(Rows()).memory()
    wanted = {variable.path: 4 * variable.shape[0] for variable in made.trainable_variables}
    assert made.optimizer.memory(made.trainable_variables).by_parameter == wanted
    made.optimizer.build(made.trainable_variables)
    assert made.optimizer.memory().by_parameter == wanted
    count = sum(np.prod(variable.shape) for variable in made.trainable_variables)
    assert gkeras.Adam().memory(made.trainable_variables).by_slot == {"momentum": 4 * count, "velocity": 4 * count}


def test_wrap_takes_optimizers_of_the_core_only() -> None:
    with pytest.raises(TypeError, match=r"wrap takes an optimizer of gradwise.optimizers, received 'adam'"):
        gkeras.wrap("adam")


# What only Keras has.
OTHERS = [name for name in ("Adafactor", "Ftrl", "Lion") if name not in PEERS]
IDENTIFIERS: dict[str, Any] = {
    "adam": gkeras.Adam,
    "AdamW": gkeras.AdamW,
    "gradwise>adam": gkeras.Adam,
    **{name.lower(): getattr(keras.optimizers, name) for name in OTHERS},
}


@pytest.mark.parametrize(("identifier", "kind"), IDENTIFIERS.items(), ids=IDENTIFIERS)
def test_get_by_name(identifier: str, kind: Any) -> None:
    assert isinstance(gkeras.get(identifier), kind)


def test_get_anything_else() -> None:
    own = gkeras.Adam()
    assert gkeras.get(own) is own
    assert gkeras.get(None) is None
    assert gkeras.get(optimizers.Adagrad()).core.initial_accumulator_value == 0.1
    theirs = keras.optimizers.serialize(keras.optimizers.Adam(0.25, beta_1=0.5))
    before = dict(theirs)
    assert type(gkeras.get(theirs)) is gkeras.Adam
    assert gkeras.get(theirs).get_config() == keras.optimizers.Adam.from_config(theirs["config"]).get_config()
    assert theirs == before
    with pytest.raises(ValueError, match=r"Could not interpret optimizer identifier"):
        gkeras.get(7)


@pytest.mark.parametrize("name", PEERS)
def test_serialized_optimizers_come_back(name: str) -> None:
    kind = getattr(gkeras, name)
    optimizer = kind(0.25, clipnorm=0.5, name="own")
    serialized = gkeras.serialize(optimizer)
    assert serialized["registered_name"] == f"gradwise>{name}"
    for revive in (gkeras.deserialize, keras.optimizers.deserialize):
        assert type(revive(serialized)) is kind
        assert revive(serialized).get_config() == optimizer.get_config()
    assert pickle.loads(pickle.dumps(optimizer)).get_config() == optimizer.get_config()


@pytest.mark.parametrize("kind", optimizers.registry.WRAPPERS)
def test_wrappers_around_an_optimizer_are_trained_with_saved_and_gone_on_with(kind: Any, tmp_path: Path) -> None:
    start, slopes = np.linspace(-1, 1, 6).reshape(3, 2).astype("float32"), np.linspace(2, -1, 6).reshape(3, 2)

    def made() -> Any:
        return kind(optimizers.AdamW(0.125, weight_decay=0.1))

    core, params = made(), start.copy()
    state = core.init(params)
    variable = keras.Variable(start, name="kernel")
    optimizer = gkeras.wrap(made())
    for number in range(7):
        gradient = (slopes * (1 - number / 4)).astype("float32")
        params, state = core.step(params, gradient, state)
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), params, rtol=1e-5, atol=1e-6)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again.core == optimizer.core and type(again.core) is type(core)

    if not TRAINS or kind not in (optimizers.Lookahead, optimizers.ScheduleFree):
        return
    once = model(gkeras.wrap(made()))
    losses(once, 4)
    twice = model(gkeras.wrap(made()))
    losses(twice, 2)
    twice.save(tmp_path / "it.keras")
    loaded = keras.models.load_model(tmp_path / "it.keras")
    losses(loaded, 2)
    for one, other in zip(once.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)

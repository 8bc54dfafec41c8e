"""Numbers of every kind in every place where a number may stand: every place takes and refuses the same."""

from __future__ import annotations

import decimal
import fractions
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from gradwise import optimizers, schedules


def _torch(value: Any) -> Any:
    import torch

    return torch.tensor(value)


def _jax(value: Any) -> Any:
    import jax.numpy as jnp

    return jnp.asarray(value)


TAKEN = {
    "float": 0.25,
    "Fraction": fractions.Fraction(1, 4),
    "Decimal": decimal.Decimal("0.25"),
    "float16": np.float16(0.25),
    "float32": np.float32(0.25),
    "float64": np.float64(0.25),
    "longdouble": np.longdouble(0.25),
    "bfloat16": ml_dtypes.bfloat16(0.25),
    "0-d array": np.array(0.25),
    "0-d array of float16": np.array(0.25, np.float16),
    "tensor": lambda: _torch(0.25),
    "array of JAX": lambda: _jax(0.25),
}
REFUSED = {
    "True": True,
    "NumPy's True": np.True_,
    "0-d array of bool": np.array(True),
    "tensor of bool": lambda: _torch(True),
    "array of JAX of bool": lambda: _jax(True),
    "text": "0.25",
    "complex": 0.25 + 0j,
    "list": [0.25],
    "NaN": float("nan"),
    "Decimal NaN": decimal.Decimal("NaN"),
    "signalling NaN": decimal.Decimal("sNaN"),
    "negative Fraction": fractions.Fraction(-1, 4),
    "too large a Fraction": fractions.Fraction(10**400),
    "too small a Fraction": -fractions.Fraction(10**400),
    "infinite Decimal": decimal.Decimal("Infinity"),
    "integer that no float holds": 10**400,
    "dates": np.timedelta64(1),
}
MARKS = {"tensor": "torch", "array of JAX": "jax"}


def _kinds(table: dict[str, Any]) -> list[Any]:
    return [
        pytest.param(value, id=name, marks=[getattr(pytest.mark, MARKS[key]) for key in MARKS if name.startswith(key)])
        for name, value in table.items()
    ]


# ---------------------------------------------------------------- places: each gives a number that the kind has made


def _moved(optimizer: Any) -> float:
    weight = np.ones(3)
    optimizer.apply([np.full(3, 0.5)], [weight])
    return float(weight[0])


def constructor(value: Any) -> float:
    return _moved(optimizers.SGD(value))


def constructor_of_another(value: Any) -> float:
    return _moved(optimizers.Adam(0.1, beta_1=value, epsilon=value))


def optional(value: Any) -> float:
    return _moved(optimizers.SGD(0.1, clipnorm=value))


def attribute(value: Any) -> float:
    optimizer = optimizers.SGD(1.0)
    optimizer.learning_rate = value
    return _moved(optimizer)


def attribute_of_another(value: Any) -> float:
    optimizer, weight = optimizers.SGD(1.0, weight_decay=0.5), np.ones(3)
    for step in range(4):
        if step == 3:
            optimizer.weight_decay = value
        optimizer.apply([np.full(3, 0.5)], [weight])
    return float(weight[0])


def schedule(value: Any) -> float:
    return _moved(optimizers.SGD(lambda step: value))


def schedule_in_the_short_way(value: Any) -> float:
    optimizer, weight = optimizers.SGD(lambda step: 1.0 if step < 3 else value), np.ones(3)
    for _ in range(4):
        optimizer.apply([np.full(3, 0.5)], [weight])
    return float(weight[0])


def argument_of_a_schedule(value: Any) -> float:
    return _moved(optimizers.SGD(schedules.ExponentialDecay(value, 4, 0.5)))


def functional(value: Any) -> float:
    optimizer = optimizers.SGD(value)
    weight = np.ones(3)
    return float(optimizer.step(weight, np.full(3, 0.5), optimizer.init(weight))[0][0])


def functional_override(value: Any) -> float:
    optimizer, weight = optimizers.SGD(1.0), np.ones(3)
    state = optimizer.init(weight)
    for _ in range(3):
        weight, state = optimizer.step(weight, np.full(3, 0.5), state, learning_rate=value)
    return float(weight[0])


def functional_state(value: Any) -> float:
    optimizer, weight = optimizers.SGD(1.0), np.ones(3)
    state = optimizer.with_learning_rate(optimizer.init(weight), value)
    return float(optimizer.step(weight, np.full(3, 0.5), state)[0][0])


def _torch_moved(make: Any, change: Any = None) -> float:
    import torch

    from gradwise.frontends import torch as front

    weight = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = make(front, weight)
    for step in range(4):
        weight.grad = torch.full((3,), 0.5 + step, dtype=torch.float64)
        if change is not None and step == 3:
            change(optimizer.param_groups[0])
        optimizer.step()
    return float(weight.detach()[0])


def torch_constructor(value: Any) -> float:
    return _torch_moved(lambda front, weight: front.SGD([weight], lr=value))


def torch_pair(value: Any) -> float:
    return _torch_moved(lambda front, weight: front.Adam([weight], betas=(value, value)))


def torch_own_group(value: Any) -> float:
    return _torch_moved(lambda front, weight: front.SGD([{"params": [weight], "lr": value}], lr=1.0))


def torch_group_later(value: Any) -> float:
    return _torch_moved(lambda front, weight: front.SGD([weight], lr=0.1), lambda group: group.update(lr=value))


def torch_group_later_another(value: Any) -> float:
    return _torch_moved(
        lambda front, weight: front.AdamW([weight], lr=0.1), lambda group: group.update(weight_decay=value)
    )


def torch_pair_later(value: Any) -> float:
    return _torch_moved(
        lambda front, weight: front.Adam([weight], lr=0.1), lambda group: group.update(betas=[value, value])
    )


def torch_wrapped(value: Any) -> float:
    return _torch_moved(
        lambda front, weight: front.wrap(optimizers.RMSprop(0.1), [weight]),
        lambda group: group.update(lr=value, rho=value),
    )


def _optax_moved(transformation: Any) -> float:
    import jax.numpy as jnp
    import optax

    weight = jnp.ones(3)
    state = transformation.init(weight)
    updates, _ = transformation.update(jnp.full(3, 0.5), state, weight)
    return float(optax.apply_updates(weight, updates)[0])


def optax_constructor(value: Any) -> float:
    from gradwise.frontends import optax as front

    return _optax_moved(front.sgd(value))


def optax_another(value: Any) -> float:
    from gradwise.frontends import optax as front

    return _optax_moved(front.adamw(0.1, b1=value, weight_decay=value))


def optax_schedule(value: Any) -> float:
    from gradwise.frontends import optax as front

    return _optax_moved(front.sgd(lambda count: value))


CORE = [
    constructor, constructor_of_another, optional, attribute, attribute_of_another, schedule, schedule_in_the_short_way,
    argument_of_a_schedule, functional, functional_override, functional_state,
]  # fmt: skip
OF_TORCH = [
    torch_constructor, torch_pair, torch_own_group, torch_group_later, torch_group_later_another, torch_pair_later,
    torch_wrapped,
]  # fmt: skip
OF_OPTAX = [optax_constructor, optax_another, optax_schedule]
PLACES = [
    *CORE,
    *(pytest.param(place, marks=pytest.mark.torch) for place in OF_TORCH),
    *(pytest.param(place, marks=pytest.mark.jax) for place in OF_OPTAX),
]


def _made(kind: Any) -> Any:
    return kind() if callable(kind) else kind


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", _kinds(TAKEN))
def test_taken(kind: Any, place: Any) -> None:
    """As the float that it stands for, to the last bit."""
    assert place(_made(kind)) == place(0.25)
    assert place(0.25) != place(0.5)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", _kinds(REFUSED))
def test_refused(kind: Any, place: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        place(_made(kind))

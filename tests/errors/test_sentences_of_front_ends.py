"""Wrong calls in the front ends for torch and optax: each names what was called and says what to do, in their words."""

from __future__ import annotations

import pytest

from gradwise import optimizers


def front_ends():
    """What the cases below are written with."""
    torch = pytest.importorskip("torch")
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    from gradwise.frontends import optax as goptax
    from gradwise.frontends import torch as optim

    model = torch.nn.Linear(3, 2)
    model(torch.ones(1, 3)).sum().backward()
    tree = {"w": jax.numpy.ones((2, 3)), "b": jax.numpy.ones(3)}
    adam = goptax.adam(0.1)
    return {
        "torch": torch, "optim": optim, "m": model, "o": optim.Adam(model.parameters()), "jax": jax, "optax": optax,
        "goptax": goptax, "P": tree, "t": adam, "s": adam.init(tree), "core": optimizers,
    }  # fmt: skip


TORCH = {
    "optim.Adam(0.001, m.parameters())": "Parameters come first, `Adam(model.parameters(), lr=0.001)`",
    "optim.Adam('params')": "Adam takes parameters first, received 'params' of type str. Write `Adam(",
    "optim.Adam(m.parameters(), betas=0.9)": "Invalid betas: 0.9 (Adam: expected 2 numbers, such as",
    "o.step(list(m.parameters()))": "Adam.step takes a closure, which computes the loss, or nothing, received",
    "o.step(1.0)": "Write `loss.backward()`, then `optimizer.step()`",
    "o.step(grads=1)": "Adam.step() got an unexpected keyword argument 'grads'",
    "o.minimize(1)": "Adam has no attribute `minimize`: call loss.backward(), then step()",
    "o.init(1)": "Adam has no attribute `init`: it has its state itself",
    "o.update(1)": "Adam has no attribute `update`: call backward(), then step()",
    "o.load_state_dict(o)": "received an object of class Adam. Write `load_state_dict(other.state_dict())`",
    "o.load_state_dict('file.pt')": "`load_state_dict(torch.load(path, weights_only=True))`",
    "o.add_param_group(None)": "Write `add_param_group({'params': parameters})`",
    "o.add_param_group(list(m.parameters()))": "param_group must be a dict, but got <class 'list'>. Write",
}
OPTAX = {
    "goptax.adam(None)": "adam: `learning_rate` must be a number in [0, inf), a schedule or a callable of the step",
    "goptax.adam(-0.1)": "adam: `learning_rate` must be a number in [0, inf), received -0.1",
    "goptax.adam(P, 0.1)": "adam: `learning_rate` comes first, received a tree of arrays. Parameters go to `state =",
    "goptax.adam({'w': 0.1})": "write `optax.partition(",
    "goptax.adam(optax.cosine_decay_schedule)": "adam: `learning_rate` must be a callable of the step, or of nothing, "
    "received a function with the arguments (init_value, decay_steps, alpha=0.0, exponent=1.0). Write `lambda step:",
    "goptax.adam(0.1, b1=None)": "adam: `b1` must be a number in [0, 1), received None",
    "goptax.adam(0.1, mu_dtype='float99')": "adam: the dtype of moments must be one of JAX's, such as jnp.bfloat16",
    "goptax.adamw(0.1, mask='w').update(P, goptax.adamw(0.1, mask='w').init(P), P)": "A mask has True or False",
    "t.init()": "Transformation.init() missing 1 required positional argument: 'params'",
    "t.update(P)": "Transformation.update() missing 1 required positional argument: 'state'",
    "t.learning_rate": "optax.inject_hyperparams(adam)(learning_rate=0.1)` has it in `state.hyperparams`",
    "goptax.to_optimizer(optax.adam(0.1)).build([__import__('numpy').ones(3)])": "TransformationOptimizer updates "
    "arrays of JAX, and parameter 'variable_0' is one of numpy: give `gradwise.backends.Variable(jnp.asarray(array))`",
}  # fmt: skip


@pytest.mark.parametrize("call", [*TORCH, *OPTAX])
def test_a_wrong_call_says_what_to_do(call):
    with pytest.raises((TypeError, ValueError, AttributeError)) as caught:
        eval(call, front_ends())  # as users write it
    assert {**TORCH, **OPTAX}[call] in str(caught.value), str(caught.value)


def test_right_calls_of_the_kinds_above():
    found = front_ends()
    for call in (
        "goptax.adadelta()", "goptax.adadelta(None).init(P)", "goptax.sgd(0.1, momentum=None)",
        "goptax.adam(optax.cosine_decay_schedule(0.1, 10))", "goptax.adam(jax.numpy.asarray(0.1))",
        "goptax.adam(0.1, mu_dtype=None)", "goptax.adamw(0.1, mask=True).init(P)",
        "o.step(lambda: m(torch.ones(1, 3)).sum())", "o.step(None)",
        "goptax.to_optimizer(optax.adam(0.1)).init(P)",
    ):  # fmt: skip
        eval(call, found)  # as users write it

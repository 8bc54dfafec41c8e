"""Steps inside of a user's own `torch.compile`: one graph, compiled once, with the results of steps outside."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.every_convention import EVERY, called, existing
from helpers.releases import recompiling
from helpers.user_optimizers import Alternating, HalfAdam, Lamb

from gradwise import schedules
from gradwise.optimizers import SGD, Adam, Nadam
from gradwise.optimizers.core.conventions import facts_of
from gradwise.optimizers.registry import ALGORITHMS

pytestmark = [
    pytest.mark.torch,
    # Torch's compiler itself calls what it has deprecated.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning:torch"),
]
SHAPES = [(4, 3), (5,), ()]


@pytest.fixture(autouse=True)
def compile_whole():
    """Compile whole graphs only, and those once."""
    import torch

    torch._dynamo.reset()
    with recompiling(at_most=1, or_fail=True):
        yield lambda function, backend="aot_eager": torch.compile(function, fullgraph=True, backend=backend)
    torch._dynamo.reset()


def tensors(seed, scale=1.0):
    import torch

    generator = np.random.default_rng(seed)
    return [torch.tensor(generator.normal(size=shape) * scale, dtype=torch.float32) for shape in SHAPES]


def tree(leaves):
    return {"layer": {"kernel": leaves[0], "bias": leaves[1]}, "scale": [leaves[2]]}


def close(a, b):
    """To a few units of float32: compiled code may contract a multiplication and an addition."""
    pairs = [(x.detach().numpy(), y.detach().numpy()) for x, y in zip(a, b, strict=True)]
    return all(np.allclose(x, y, rtol=1e-6, atol=1e-6) for x, y in pairs)


def leaves_of(params):
    return [params["layer"]["kernel"], params["layer"]["bias"], params["scale"][0]]


# ---------------------------------------------------------------- pure steps


def backend_for(algorithm):
    """Whether a step is one graph is seen without what comes behind it, which costs three times as much. That is there
    for one of the library's own, for what users write, and where each of the library's own steps in place."""
    return "eager" if algorithm in ALGORITHMS and algorithm is not Adam else "aot_eager"


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, HalfAdam, Alternating], ids=lambda kind: kind.__name__)
def test_pure_steps(algorithm, compile_whole):
    optimizer = algorithm(0.1, global_clipnorm=1.0, use_ema=True, **existing(algorithm, {"weight_decay": 0.01}))
    step = compile_whole(lambda params, grads, state: optimizer.step(params, grads, state), backend_for(algorithm))
    params = expected = tree(tensors(0))
    state = own = optimizer.init(params)
    for number in range(1, 4):
        if number == 3:
            state, own = (optimizer.with_learning_rate(each, 0.05) for each in (state, own))
        grads = tree(tensors(number))
        params, state = step(params, grads, state)
        expected, own = optimizer.step(expected, grads, own)
    assert close(leaves_of(params), leaves_of(expected)) and int(state.iterations) == 3
    assert type(state) is type(own) and set(state.slots) == set(own.slots)


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, HalfAdam, Lamb], ids=lambda kind: kind.__name__)
def test_parameters_of_any_length_are_one_graph(algorithm):
    """Where torch takes lengths for symbols: when it is told so, or when it meets another."""
    import torch

    optimizer = algorithm(0.1, global_clipnorm=1.0, use_ema=True, **existing(algorithm, {"weight_decay": 0.01}))
    step = torch.compile(optimizer.step, fullgraph=True, backend=backend_for(algorithm), dynamic=True)
    for length in (3, 5, 7):
        kernel = torch.linspace(-1.0, 1.0, 2 * length).reshape(length, 2).clone()  # A view is another graph.
        params = expected = {"kernel": kernel, "bias": torch.ones(length)}
        state = own = optimizer.init(params)
        for _ in range(2):
            grads = {name: value + 0.5 for name, value in params.items()}
            params, state = step(params, grads, state)
            expected, own = optimizer.step(expected, grads, own)
        assert close(params.values(), expected.values())


def test_pure_steps_with_a_rate_schedule_and_a_rate_of_each_call(compile_whole):

    optimizer = SGD(schedules.ExponentialDecay(0.1, 2, 0.5), momentum=0.9)
    step = compile_whole(lambda params, grads, state: optimizer.step(params, grads, state))
    given = compile_whole(lambda params, grads, state, rate: optimizer.step(params, grads, state, rate))
    params = expected = tree(tensors(0))
    state = own = optimizer.init(params)
    for number in range(1, 6):
        grads = tree(tensors(number))
        params, state = step(params, grads, state)
        expected, own = optimizer.step(expected, grads, own)
    assert close(leaves_of(params), leaves_of(expected))
    # Torch may take a number for a constant, and then, once, for one that changes.
    with recompiling(at_most=2):
        for rate in (0.1, 0.2, 0.3, 0.4):
            params, state = given(params, grads, state, rate)
            expected, own = optimizer.step(expected, grads, own, rate)
    assert close(leaves_of(params), leaves_of(expected))


def test_a_whole_training_step_is_one_graph(compile_whole):
    import torch

    optimizer = Adam(0.1)
    inputs, targets = torch.randn(16, 3), torch.randn(16, 2)

    def loss(params):
        return ((inputs @ params["kernel"] + params["bias"] - targets) ** 2).mean()

    @compile_whole
    def train(params, state):
        grads = torch.func.grad(loss)(params)
        return optimizer.step(params, grads, state)

    params = {"kernel": torch.zeros(3, 2), "bias": torch.zeros(2)}
    state, before = optimizer.init(params), float(loss(params))
    for _ in range(5):
        params, state = train(params, state)
    assert float(loss(params)) < before


def test_derivatives_through_a_compiled_step(compile_whole):
    import torch

    optimizer = SGD(0.1)
    step = compile_whole(lambda params, grads, state: optimizer.step(params, grads, state)[0])
    params = {"w": torch.ones(3)}
    grads = {"w": torch.full((3,), 2.0, requires_grad=True)}
    step(params, grads, optimizer.init(params))["w"].sum().backward()
    assert torch.allclose(grads["w"].grad, torch.full((3,), -0.1))


# ---------------------------------------------------------------- steps in place


def in_place(optimizer, compiled, steps=4, missing=False):
    import torch

    weights = [torch.nn.Parameter(tensor) for tensor in tensors(0)]
    optimizer.build(weights)
    step = compiled(lambda gradients: optimizer.apply(gradients, weights))
    for number in range(1, steps + 1):
        optimizer.learning_rate = 0.1 / number
        gradients = tensors(number)
        step([None, *gradients[1:]] if missing else gradients)
    return weights


STEPS_OF_ALL_AND_OF_EACH = [
    (kind, convention) for kind, convention in EVERY
    if convention == next(iter(kind.conventions)) or facts_of(convention).counts_steps_of_each
]  # fmt: skip


@pytest.mark.parametrize(("algorithm", "convention"), STEPS_OF_ALL_AND_OF_EACH, ids=called)
def test_steps_in_place(algorithm, convention, compile_whole):
    import torch

    optimizer, outside = (algorithm(convention=convention, clipnorm=1.0) for _ in range(2))
    weights = in_place(optimizer, compile_whole)
    assert close(weights, in_place(outside, lambda function: function))
    assert optimizer.iterations == 4 and type(optimizer.iterations) is int
    assert close(*([torch.as_tensor(cell.numpy()) for cell in each.variables] for each in (optimizer, outside)))


def test_a_missing_gradient(compile_whole):
    optimizer = Nadam(convention="torch")
    weights = in_place(optimizer, compile_whole, missing=True)
    assert (weights[0].detach().numpy() == tensors(0)[0].numpy()).all()
    assert not close(weights[1:], tensors(0)[1:]) and [cell.value for cell in optimizer.cells.steps] == [0, 4, 4]


def test_compiled_code_steps_the_arrays_themselves_in_one_pass():
    """Inductor, the compiler's usual end, copies nothing: the operator gets the parameters' own memory."""
    import torch

    optimizer, outside = Adam(jit_compile=True), Adam(jit_compile=True)
    weights = in_place(optimizer, lambda function: torch.compile(function, fullgraph=True))
    expected = in_place(outside, lambda function: function)
    assert all(torch.equal(a, b) for a, b in zip(weights, expected, strict=True))
    assert [group.way for group in optimizer.execution_report()] == ["fused"] and optimizer.fusion.lane is not None


def test_an_optimizer_that_is_not_built(compile_whole):
    import torch

    weights, optimizer = tensors(0), Adam(0.1)
    with pytest.raises((RuntimeError, torch._dynamo.exc.Unsupported), match=r"not built: call build\(variables\)"):
        compile_whole(lambda gradients: optimizer.apply(gradients, weights))(tensors(1))


# ---------------------------------------------------------------- gradwise's own use of the compiler


@pytest.mark.parametrize("rule", [Nadam, Lamb])
def test_jit_compile_on_devices(rule, monkeypatch):
    """What runs on devices if the compiler is asked for, here made to run on the CPU: compiled once for all rates."""

    from gradwise.backends.torch.backend import TorchBackend

    def run(optimizer):
        weights = tensors(0)
        for number in range(1, 5):
            optimizer.learning_rate = 0.1 / number
            optimizer.apply(tensors(number), weights)
        return weights

    expected = run(rule(0.1, jit_compile=False))
    monkeypatch.setattr(TorchBackend, "address", lambda self, *arguments, **keywords: None)
    monkeypatch.setattr(TorchBackend, "lookout", lambda *arguments, **keywords: None)
    monkeypatch.setattr(TorchBackend, "takes_programs", lambda self, array: True)
    optimizer = rule(0.1, jit_compile=True)
    with recompiling(at_most=1, or_fail=True):
        result = run(optimizer)
    assert [group.way for group in optimizer.execution_report()] == ["compiled"]
    assert close(result, expected)

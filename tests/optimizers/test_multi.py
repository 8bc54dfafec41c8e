"""`MultiOptimizer`: each parameter makes the very step that its rule would make alone."""

from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pytest
from helpers.libraries import array, parameter, values
from helpers.selection import crossing

from gradwise import optimizers, schedules
from gradwise.optimizers import SGD, Adam, AdamW, Lion, MultiOptimizer, Nadam, Optimizer, RMSprop

SHAPES = {"a/kernel": (3, 4), "a/bias": (4,), "b/kernel": (4, 2), "b/bias": (2,)}
LIBRARIES = ["numpy", "array_api_strict", "torch", "jax"]


class Halving(Optimizer):
    """A user's rule, whose step depends on all of its own gradients."""

    def build(self, variables):
        super().build(variables)
        self.halvings = self.add_scalar("halving", 1.0)

    def begin_step(self, gradients, variables, learning_rate):
        self.assign(self.halvings, self.halvings * 0.5)

    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, gradient * (learning_rate * self.halvings.value))


RULES = {
    "two alike": lambda: ({"bias$": Adam(0.1)}, Adam(0.01, beta_1=0.5)),
    "conventions": lambda: (
        {"bias$": SGD(0.1, momentum=0.5, weight_decay=0.1, convention="torch"), "b/k": Nadam(0.1, convention="torch")},
        RMSprop(0.1, centered=True, convention="optax"),
    ),
    "one slot each": lambda: ({"bias$": Lion(0.1)}, SGD(0.1, momentum=0.5)),
    "products": lambda: ({"^a/": Nadam(0.1)}, Nadam(0.01, weight_decay=0.5)),
    "schedules": lambda: ({"bias$": SGD(schedules.CosineDecay(0.5, 4))}, Adam(lambda step: 0.1 / (1.0 + step))),
    "decay of the rate": lambda: ({"bias$": SGD(0.5, decay=0.5)}, AdamW(0.1)),
    "clipped": lambda: ({"bias$": SGD(0.1, clipnorm=0.5), "b/k": SGD(0.1, clipvalue=0.25)}, SGD(0.1)),
    "clipped in conventions": lambda: ({"bias$": SGD(0.1, clipnorm=0.5, convention="torch")}, SGD(0.1, clipnorm=0.25)),
    "a user's own": lambda: ({"bias$": Halving(0.5)}, Adam(0.1)),
    "maximize": lambda: ({"bias$": SGD(0.1, maximize=True, convention="torch")}, SGD(0.1, convention="torch")),
}
OPTIONS = {
    "plain": {},
    "scaled": {"loss_scale_factor": 4.0},
    "averages": {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2},
    "accumulated": {"gradient_accumulation_steps": 2},
}


def arrays(seed, dtype="float32"):
    random = np.random.default_rng(seed)
    return {name: random.normal(size=shape).astype(dtype) for name, shape in SHAPES.items()}


def owners_in(rules):
    """The optimizer of each parameter: a second, obvious way to tell."""
    claims, default = rules
    return {
        name: next((optimizer for pattern, optimizer in claims.items() if re.search(pattern, name)), default)
        for name in SHAPES
    }


def stepped(optimizer, library, params, gradients, cells=None):
    """After some imperative steps, by name."""
    cells = cells or {name: parameter(library, value, name=name) for name, value in params.items()}
    for step in gradients:
        optimizer.apply([array(library, step[name]) for name in cells], list(cells.values()))
    return {name: values(cell) for name, cell in cells.items()}


def named_cells(library, params):
    from gradwise.backends import Variable

    return {name: Variable(array(library, value), name=name) for name, value in params.items()}


def alone(make, library, params, gradients, **options):
    """The same by each rule's own optimizer, on its own parameters."""
    found, owners = {}, owners_in(make)
    for optimizer in {id(each): each for each in owners.values()}.values():
        for name, value in options.items():
            setattr(optimizer, name, value)
        own = {name: value for name, value in params.items() if owners[name] is optimizer}
        found |= stepped(optimizer, library, own, gradients, named_cells(library, own))
    return found


@crossing(
    ("rule", "library", "option"),
    list(RULES),
    [pytest.param(each, marks=getattr(pytest.mark, each) if each in ("torch", "jax") else ()) for each in LIBRARIES],
    list(OPTIONS),
)
def test_each_parameter_makes_the_step_of_its_rule(rule, library, option):
    make, options = RULES[rule], OPTIONS[option]
    params, gradients = arrays(0), [arrays(seed) for seed in range(1, 6)]
    rules, default = make()
    together = MultiOptimizer(rules, default, **options)
    found = stepped(together, library, params, gradients, named_cells(library, params))
    expected = alone(make(), library, params, gradients, **options)
    for name in SHAPES:
        np.testing.assert_array_equal(found[name], expected[name], name)
    assert together.iterations == (2 if "gradient_accumulation_steps" in options else 5)


@pytest.mark.parametrize("way", ["apart", "whole arrays", pytest.param("jit", marks=pytest.mark.jax)])
@pytest.mark.parametrize("make", RULES.values(), ids=RULES)
def test_functional_steps_are_the_imperative_ones(make, way):
    params, gradients = arrays(0), [arrays(seed) for seed in range(1, 5)]
    expected = stepped(MultiOptimizer(*make()), "numpy", params, gradients, named_cells("numpy", params))
    library = "jax" if way == "jit" else "numpy"
    optimizer = MultiOptimizer(*make(), jit_compile=False if way == "whole arrays" else "auto")
    held = {name: array(library, value) for name, value in params.items()}
    state, step = optimizer.init(held), optimizer.step
    if way == "jit":
        import jax

        step = jax.jit(optimizer.step)
    for each in gradients:
        held, state = step(held, {name: array(library, value) for name, value in each.items()}, state)
    for name in SHAPES:
        np.testing.assert_allclose(values(held[name]), expected[name], rtol=0 if way != "jit" else 1e-5, atol=1e-6)


@pytest.mark.fast
def test_all_rules_share_the_pass():
    optimizer = MultiOptimizer({"bias$": SGD(0.1, momentum=0.5)}, Adam(0.1), global_clipnorm=1.0, jit_compile=True)
    params = arrays(0)
    cells = named_cells("numpy", params)
    stepped(optimizer, "numpy", params, [arrays(1), arrays(2)], cells)
    assert {group.way for group in optimizer.execution_report()} == {"fused"}
    assert optimizer.fusion.lane is not None


def test_a_global_norm_is_that_of_all():
    params, gradients = arrays(0), [arrays(1)]
    norm = np.sqrt(sum(np.sum(np.square(value.astype(np.float64))) for value in gradients[0].values()))
    optimizer = MultiOptimizer({"bias$": SGD(0.5)}, SGD(1.0), global_clipnorm=0.125)
    found = stepped(optimizer, "numpy", params, gradients, named_cells("numpy", params))
    for name, before in params.items():
        rate = 0.5 if name.endswith("bias") else 1.0
        np.testing.assert_allclose(found[name], before - rate * gradients[0][name] * 0.125 / norm, rtol=1e-5)


def test_own_norms_hold_beside_that_of_all():
    params, gradients = arrays(0), [arrays(1)]
    optimizer = MultiOptimizer({"bias$": SGD(1.0, clipnorm=0.01)}, SGD(1.0), global_clipnorm=0.125)
    found = stepped(optimizer, "numpy", params, gradients, named_cells("numpy", params))
    for name, before in params.items():
        if name.endswith("bias"):
            np.testing.assert_allclose(np.linalg.norm(found[name] - before), 0.01, rtol=1e-4)
        else:
            norm = np.sqrt(sum(np.sum(np.square(value.astype(np.float64))) for value in gradients[0].values()))
            np.testing.assert_allclose(found[name], before - gradients[0][name] * 0.125 / norm, rtol=1e-5)


def test_the_rate_multiplies_all_and_rules_keep_theirs():
    params, gradients = arrays(0), [arrays(1)]
    rules = SGD(0.5), SGD(0.25)
    optimizer = MultiOptimizer({"bias$": rules[0]}, rules[1], learning_rate=0.5)
    cells = named_cells("numpy", params)
    first = stepped(optimizer, "numpy", params, gradients, cells)
    np.testing.assert_allclose(first["a/bias"], params["a/bias"] - 0.25 * gradients[0]["a/bias"], rtol=1e-6)
    rules[0].learning_rate = 1.0
    optimizer.learning_rate = 1.0
    second = stepped(optimizer, "numpy", params, gradients, cells)
    np.testing.assert_allclose(second["a/bias"], first["a/bias"] - gradients[0]["a/bias"], rtol=1e-6)
    np.testing.assert_allclose(second["b/kernel"], first["b/kernel"] - 0.25 * gradients[0]["b/kernel"], rtol=1e-6)


def test_missing_gradients_leave_parameters_and_counts_as_they_are():
    params = arrays(0)
    optimizer = MultiOptimizer({"bias$": Adam(0.1, convention="torch")}, SGD(0.1))
    cells = named_cells("numpy", params)
    optimizer.build(list(cells.values()))
    gradients = arrays(1)
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizer.apply([gradients["a/kernel"], None, None, None])
    np.testing.assert_array_equal(cells["a/bias"].numpy(), params["a/bias"])
    assert [cell.value for cell in optimizer.optimizers["adam"].cells.steps] == [0, 0]
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizer.apply([None, gradients["a/bias"], None, None])
    assert [cell.value for cell in optimizer.optimizers["adam"].cells.steps] == [1, 0]


PATTERNS = {
    "an expression": "bias$",
    "paths": ("a/bias", "b/bias"),
    "a function": lambda path, variable: variable.ndim == 1,
}


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_what_tells_parameters(pattern):
    plan = MultiOptimizer([(pattern, SGD(0.1))], Adam(0.1)).plan(arrays(0))
    assert {row.parameter: row.optimizer for row in plan} == {
        name: "sgd" if name.endswith("bias") else "adam" for name in SHAPES
    }


@pytest.mark.parametrize("later", [False, True])
def test_exclusions_of_the_whole_hold_beside_those_of_rules(later):
    def decayed(optimizer, cells):
        optimizer.apply([np.zeros(shape, np.float32) for shape in SHAPES.values()], list(cells.values()))
        return {name for name, cell in cells.items() if not np.array_equal(cell.numpy(), params[name])}

    params = arrays(0)
    rule = AdamW(0.5, weight_decay=0.5)
    rule.exclude_from_weight_decay(var_names=["^a/kernel"])
    optimizer, cells = MultiOptimizer({"kernel": rule}, AdamW(0.25, weight_decay=0.5)), named_cells("numpy", params)
    if later:
        assert decayed(optimizer, cells) == {"a/bias", "b/kernel", "b/bias"}
        params = {name: cell.numpy().copy() for name, cell in cells.items()}
    optimizer.exclude_from_weight_decay(var_names=["b/bias"])
    assert decayed(optimizer, cells) == {"a/bias", "b/kernel"}
    assert [row.parameter for row in optimizer.plan(params) if row.weight_decay is None] == ["a/kernel", "b/bias"]


def test_hyperparameters_alone_change_the_default():
    default = AdamW(0.5, weight_decay=0.25)
    optimizer = MultiOptimizer({"bias$": {"weight_decay": None, "learning_rate": 0.125, "clipnorm": 1.0}}, default)
    own = optimizer.optimizers["adam_w_1"]
    assert type(own) is AdamW and (own.weight_decay, own.learning_rate, own.clipnorm) == (None, 0.125, 1.0)
    assert (default.weight_decay, default.learning_rate, default.clipnorm) == (0.25, 0.5, None)


def test_the_plan_is_a_table():
    optimizer = MultiOptimizer({"bias$": SGD(0.5)}, AdamW(0.25), use_ema=True)
    plan = optimizer.plan(arrays(0))
    assert len(plan) == 4 and not optimizer.built
    row = next(row for row in plan if row.parameter == "a/kernel")
    assert row == (
        "a/kernel", (3, 4), "float32", "adam_w", 0.25, 0.004, ("average", "momentum", "velocity"), 3 * 12 * 4,
    )  # fmt: skip
    lines = str(plan).split("\n")
    assert lines[0].split() == ["parameter", "shape", "dtype", "optimizer", "learning_rate", "weight_decay", "slots",
                                "bytes"]  # fmt: skip
    assert lines[-1].split() == ["4", "parameters", str(sum(row.bytes for row in plan))]


MISTAKES = {
    "no optimizer": (lambda: MultiOptimizer({"a": "adam"}), TypeError, "a rule is an optimizer.*'adam'"),
    "no mapping": (lambda: MultiOptimizer(3), TypeError, "`rules` must be a dictionary from patterns to optimizers"),
    "no pattern": (lambda: MultiOptimizer({3: SGD()}), TypeError, "a pattern is a regular expression"),
    "no expression": (lambda: MultiOptimizer({"(": SGD()}), ValueError, r"the pattern '\(' is no regular expression"),
    "nobody": (
        lambda: MultiOptimizer({"bias$": SGD()}).plan(arrays(0)), ValueError,
        "no rule claims 'a/kernel', 'b/kernel': give a rule for it, or a `default`. So far",
    ),
    "two": (
        lambda: MultiOptimizer({"^a": SGD(), "bias$": Adam()}, SGD()).plan(arrays(0)), ValueError,
        "parameter 'a/bias' is claimed by the pattern '\\^a' and by the pattern 'bias\\$'. Only one rule",
    ),
    "none": (
        lambda: MultiOptimizer({"gamma": SGD()}, Adam()).plan(arrays(0)), ValueError,
        "the pattern 'gamma' matches no parameter's name; the names are 'a/bias', 'b/bias', 'a/kernel'",
    ),
    "an unknown path": (
        lambda: MultiOptimizer({("a/bias", "c"): SGD()}, Adam()).plan(arrays(0)), ValueError,
        "its rules name the parameter 'c', which does not exist; the parameters are 'a/bias'",
    ),
    "built": (lambda: MultiOptimizer({"a": built()}), ValueError, "'sgd' was built already"),
    "for the whole model": (
        lambda: MultiOptimizer({"a": SGD(global_clipnorm=1.0)}), ValueError,
        "'sgd' has global_clipnorm=1.0, but the global norm concerns the whole model: give it to MultiOptimizer itself",
    ),
    "a global norm by its older name": (
        lambda: MultiOptimizer({"a": SGD(clipnorm=1.0, convention="keras2")}), ValueError, "as `global_clipnorm`",
    ),
    "weight decay": (
        lambda: MultiOptimizer({"a": SGD()}, weight_decay=0.1), ValueError, "`weight_decay` belongs to the rules",
    ),
    "no default": (lambda: MultiOptimizer({"a": {"weight_decay": 0.1}}), ValueError, "give a `default`"),
    "no hyperparameter": (
        lambda: MultiOptimizer({"a": {"weight_deca": 0.1}}, SGD()), ValueError,
        "SGD has no hyperparameter 'weight_deca'. Did you mean `weight_decay`?",
    ),
}  # fmt: skip


def built():
    optimizer = SGD(0.1)
    optimizer.build([np.ones(2)])
    return optimizer


@pytest.mark.parametrize(("make", "kind", "words"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_told(make, kind, words):
    with pytest.raises(kind, match=words):
        make()


def test_a_failed_build_leaves_nothing_behind():
    optimizer = MultiOptimizer({"bias$": SGD(0.1, momentum=0.5)})
    with pytest.raises(ValueError, match="no rule claims"):
        stepped(optimizer, "numpy", arrays(0), [arrays(1)], named_cells("numpy", arrays(0)))

    class Failing(Adam):
        def build(self, variables):
            super().build(variables)
            raise RuntimeError("no")

    optimizer = MultiOptimizer({"bias$": SGD(0.1, momentum=0.5)}, Failing(0.1))
    with pytest.raises(RuntimeError, match="no"):
        optimizer.build(list(named_cells("numpy", arrays(0)).values()))
    assert not any(keeper.built or keeper.cells.parameters for keeper in optimizer.all_optimizers())


def test_values_and_copies():
    def make(rate=0.1):
        return MultiOptimizer({"bias$": SGD(rate, momentum=0.5)}, AdamW(0.01), global_clipnorm=1.0)

    optimizer = make()
    assert optimizer == make() and hash(make()) == hash(make()) and optimizer != make(0.2)
    restored = optimizers.deserialize(optimizers.serialize(optimizer))
    assert restored == optimizer and restored.optimizers["sgd"] is not optimizer.optimizers["sgd"]
    params, gradients = arrays(0), [arrays(1), arrays(2)]
    cells = named_cells("numpy", params)
    stepped(optimizer, "numpy", params, gradients, cells)
    other, theirs = pickle.loads(pickle.dumps((optimizer, cells)))
    third, others = copy.deepcopy((optimizer, cells))
    expected = stepped(optimizer, "numpy", params, gradients, cells)
    for each, held in ((other, theirs), (third, others)):
        found = stepped(each, "numpy", params, gradients, held)
        for name in SHAPES:
            np.testing.assert_array_equal(found[name], expected[name])
    config = optimizer.get_config()
    assert type(optimizer).from_config(config) == make()
    assert not any(each.built for _, each in config["rules"])


def test_weights_travel():
    params, gradients = arrays(0), [arrays(1), arrays(2)]
    first, second = (MultiOptimizer({"bias$": SGD(0.1, momentum=0.5)}, Adam(0.01)) for _ in range(2))
    cells = named_cells("numpy", params)
    stepped(first, "numpy", params, gradients, cells)
    others = named_cells("numpy", {name: cell.numpy() for name, cell in cells.items()})
    second.build(list(others.values()))
    second.set_weights([variable.numpy() for variable in first.variables])
    expected = stepped(first, "numpy", params, gradients, cells)
    found = stepped(second, "numpy", params, gradients, others)
    for name in SHAPES:
        np.testing.assert_array_equal(found[name], expected[name])


@pytest.mark.parametrize(("factor", "rate", "said"), [
    (0.5, 0.1, "0.05"), (1.0, 0.1, "0.1"), (0.0, 0.1, "0.0"), (1.0, abs, f"{abs}"), (abs, 1.0, f"{abs}"),
    (0.5, abs, f"0.5 * {abs}"), (abs, 0.5, f"0.5 * {abs}"), (abs, round, f"{abs} * {round}"),
])  # fmt: skip
def test_plan_has_the_rate_of_the_rule_times_that_of_all(factor, rate, said):
    optimizer = MultiOptimizer({"bias$": SGD(rate)}, default=SGD(1.0), learning_rate=factor)
    of_bias, _ = optimizer.plan({"bias": np.ones(2), "kernel": np.ones(3)})
    assert str(of_bias.learning_rate) == said

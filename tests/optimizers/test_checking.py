"""`check` runs an optimizer on every way there is and says where they differ."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from helpers.user_optimizers import Adafactor

from gradwise.backends import NUMPY, Variable, ops, trials
from gradwise.backends.mistakes import RuleMistake
from gradwise.optimizers import SGD, MultiOptimizer, Optimizer
from gradwise.optimizers.core.own_rules import problem
from gradwise.optimizers.core.own_rules.check_report import WaysDiffer

NAMES = [backend.name for backend in trials.libraries()]
needs_torch = pytest.mark.skipif("torch" not in NAMES, reason="torch is not installed")


@pytest.fixture
def numpy_alone(monkeypatch):
    """What does not concern libraries is tried on NumPy, which takes the least time."""
    monkeypatch.setattr(trials, "libraries", lambda: [NUMPY])


def params():
    chance = np.random.default_rng(0)
    return {"layer": {"kernel": np.asarray(chance.normal(size=(4, 3)), np.float32), "bias": np.zeros(3, np.float32)}}


def test_all_ways_of_a_rule_of_ones_own():
    given, optimizer = params(), Adafactor()
    before = copy.deepcopy(given)
    report = optimizer.check(given, steps=1)
    ways = {(row.way, row.dtype) for row in report}
    assert len(ways) == len(report)
    assert {row.dtype for row in report} >= {"float32", "float16"}
    for name in NAMES:
        assert {f"{name}, in place, whole arrays", f"{name}, functional, whole arrays"} <= {way for way, _ in ways}
    assert ("jax, under jit" in {way for way, _ in ways}) is ("jax" in NAMES)
    assert {"numpy, in place, column-major", "numpy, in place", "numpy, functional"} <= {way for way, _ in ways}
    assert report[0].same_bits and report[0].distance == 0.0 and all(row.distance < 8.0 for row in report)
    # Neither what was given nor the optimizer has changed.
    assert not optimizer.built and optimizer.iterations == 0
    for name, array in given["layer"].items():
        assert array.tobytes() == before["layer"][name].tobytes()
    lines = str(report).split("\n")
    assert lines[0].split() == ["way", "dtype", "recorded", "eps", "apart", "same", "bits", "parameter"]
    assert len(lines) == 1 + len(report) and any("the reduction mean" in line for line in lines)


def test_what_is_recorded_has_the_same_bits(numpy_alone):
    pytest.importorskip("numba")
    report = SGD(0.1).check(params(), steps=1)
    recorded = {row.way for row in report if row.recorded and row.dtype == "float32"}
    assert {"numpy, in place", "numpy, functional", "numpy, in place, column-major"} <= recorded
    assert all(row.same_bits for row in report if row.recorded and row.way.startswith("numpy"))
    assert not any("whole" in way for way in recorded)


class CentredRows(Optimizer):
    """Of matrices the rows are centred, which no program does."""

    def update_step(self, gradient, variable, learning_rate):
        if variable.ndim > 1:
            gradient = gradient - ops.mean(gradient, axis=-1, keepdims=True)
        self.assign_sub(variable, gradient * learning_rate)


def test_what_is_recorded_in_part_says_so(numpy_alone):
    pytest.importorskip("numba")
    report = CentredRows().check(params(), steps=1)
    row = next(row for row in report if row.way == "numpy, in place" and row.dtype == "float32")
    assert row.partly and not row.recorded and "layer/kernel" in row.note
    line = next(line for line in str(report).split("\n") if line.startswith("numpy, in place ") and "float32" in line)
    assert line.split()[4] == "partly"
    assert not any(row.partly for row in SGD(0.1).check(params(), steps=1))


class ByCells(Optimizer):
    """A right rule with cells on the right of arrays."""

    fault = False

    def build(self, variables):
        super().build(variables)
        self.means = self.add_optimizer_variables(variables, "mean")

    def update_step(self, gradient, variable, learning_rate):
        mean = self.means[self.variable_index(variable)]
        self.assign(mean, 0.5 * gradient + 0.5 * mean)
        if self.fault and type(variable.value).__module__.startswith("array_api_strict"):
            raise TypeError("its own fault")
        self.assign_sub(variable, (gradient + 1.0) * mean * learning_rate)


class ByCellsWithAFault(ByCells):
    fault = True


@pytest.fixture
def strict_beside(monkeypatch):
    pytest.importorskip("array_api_strict")
    every = trials.libraries()
    monkeypatch.setattr(trials, "libraries", lambda: [every[0], every[-1]])
    assert trials.libraries()[-1].name == "array_api_strict"


@pytest.mark.parametrize(("optimizer", "reason"), [
    (ByCells(0.1), "left out: its arrays refuse cells on their right, as in `array * cell`"),
    (SGD(0.1, momentum=0.5, slot_dtype="bfloat16"), "left out: array_api_strict has no dtype 'bfloat16'. Choose"),
])  # fmt: skip
def test_what_a_library_lacks_is_no_fault_of_a_rule(optimizer, reason, strict_beside):
    report = optimizer.check(params(), steps=1)
    left_out = [row for row in report if row.way.startswith("array_api_strict") and not row.ran]
    assert left_out and all(row.note.startswith(reason) for row in left_out)
    assert all(row.ran for row in report if row.way.startswith("numpy"))


def test_the_fault_of_a_rule_there_is_told(strict_beside):
    with pytest.raises(WaysDiffer, match=r"on array_api_strict, .* it raises TypeError in .*: its own fault"):
        ByCellsWithAFault(0.1).check(params(), steps=1)


def test_a_dtype_that_a_library_lacks_is_told_in_a_step():
    strict = pytest.importorskip("array_api_strict")
    optimizer = SGD(0.1, momentum=0.5, slot_dtype="bfloat16")
    with pytest.raises(TypeError, match=r"^array_api_strict has no dtype 'bfloat16'\. Choose another one"):
        optimizer.apply([strict.ones(2)], [Variable(strict.ones(2))])


def test_nothing_is_drawn_beside_what_is_given_nor_looked_at_twice(numpy_alone, monkeypatch):
    seen = {"drawn": 0, "looked at": 0}

    def counted(name, function):
        def counting(*arguments):
            seen[name] += 1
            return function(*arguments)

        return counting

    monkeypatch.setattr(trials, "drawn", counted("drawn", trials.drawn))
    monkeypatch.setattr(problem, "_are_finite", counted("looked at", problem._are_finite))
    tree = {"w": np.ones(2, np.float32)}
    for steps in (2, 8):
        SGD(0.1).check(tree, gradients={"w": np.ones(2, np.float32)}, steps=steps)
    # For parameters whose values may not be known.
    assert seen == {"drawn": 2, "looked at": 2}


class Differing(Optimizer):
    """Which does something else in a library, and for a parameter of two axes."""

    library = "torch"

    def update_step(self, gradient, variable, learning_rate):
        other = variable.backend.name == self.library and variable.ndim == 2
        self.assign_sub(variable, gradient * (learning_rate * (1.001 if other else 1.0)))


class Failing(Optimizer):
    def update_step(self, gradient, variable, learning_rate):
        if variable.backend.name == "torch":
            raise OSError("nobody is at home")
        self.assign_sub(variable, gradient * learning_rate)


class ByItsClass(Optimizer):
    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, gradient * (2.0 if isinstance(gradient, np.ndarray) else 1.0))


@needs_torch
@pytest.mark.torch
@pytest.mark.parametrize(("kind", "said"), [
    (Differing, r"on torch, in place, whole arrays \(float32\) parameter 'layer/kernel' is .* eps from where whole"),
    (Failing, r"on torch, in place, whole .* raises OSError in test_checking.py:\d+ \(update_step\): nobody is"),
])  # fmt: skip
def test_the_first_way_that_differs_is_named(kind, said):
    with pytest.raises(WaysDiffer, match=said) as caught:
        kind(0.1).check(params(), steps=1)
    far = [row for row in caught.value.report if row.distance > 64]
    # Keras may be there, with torch below it.
    assert far and all(row.way.startswith(("torch", "keras")) for row in far)
    assert all(math.isfinite(row.distance) is (kind is Differing) for row in far)
    assert "OSError" in str(caught.value.report) or kind is Differing


def test_mistakes_are_told_as_in_a_step():
    with pytest.raises(TypeError, match=r"test_checking.py:\d+ \(update_step\) asks for the class of an array"):
        ByItsClass(0.1).check(params())


def test_gradients_and_shapes(numpy_alone):
    """Given gradients are those of every step; where there are only shapes, all is drawn."""

    class Shape:
        shape, dtype = (2, 3), "float32"

    class Kept(Optimizer):
        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, gradient)

    gradient = np.full((2, 3), 0.5)
    for given, gradients in (({"w": Shape()}, {"w": gradient}), ([Shape()], None)):
        assert all(row.distance < 2 for row in Kept(0.1).check(given, gradients, steps=1))
    with pytest.raises(ValueError, match="tree of gradients does not have the structure"):
        SGD(0.1).check(params(), {"w": gradient})
    for wrong in (0, 1.5, True):
        with pytest.raises(ValueError, match=r"SGD.check: `steps` must be an integer >= 1"):
            SGD(0.1).check(params(), steps=wrong)
    with pytest.raises(TypeError, match="Parameter 'w' has no shape and dtype, received 'kernel'"):
        SGD(0.1).check({"w": "kernel"})


def test_several_rules_exclusions_and_cells(numpy_alone):
    """What tells parameters by name or identity does so on every way."""
    given = {"kernel": Variable(np.ones((2, 2), np.float32)), "bias": Variable(np.ones(2, np.float32))}
    inside = SGD(0.1, weight_decay=0.5)
    inside.exclude_from_weight_decay([given["kernel"]])
    optimizer = MultiOptimizer({"bias": SGD(0.5)}, default=inside)
    report = optimizer.check(given, {"kernel": np.zeros((2, 2)), "bias": np.zeros(2)}, steps=1)
    assert all(row.distance < 2 for row in report)
    assert given["kernel"].numpy().tolist() == [[1.0, 1.0], [1.0, 1.0]]


class Normalizing(Optimizer):
    """Which divides by what may be zero, or by what is not."""

    def __init__(self, learning_rate=0.1, epsilon=0.0, **keywords):
        super().__init__(learning_rate, **keywords)
        self.epsilon = epsilon

    def update_step(self, gradient, variable, learning_rate):
        if variable.ndim == 2:
            gradient = gradient / (ops.norm(gradient) + self.epsilon)
        self.assign_sub(variable, gradient * learning_rate)


def test_no_numbers_of_zero_gradients_are_told_with_the_parameter(numpy_alone):
    zeros = {"layer": {"kernel": np.zeros((4, 3)), "bias": np.ones(3)}}
    for gradients in (None, zeros):
        with pytest.raises(RuleMistake, match=(
            r"Normalizing makes NaN of parameter 'layer/kernel' in step 1 on numpy, in place, whole arrays \(float32\)"
            r", where it was finite and all elements of its gradient are zero: .* epsilon"
        )):  # fmt: skip
            Normalizing().check(params(), gradients)
    assert all(row.distance < 8 for row in Normalizing(epsilon=1e-8).check(params(), steps=2))


def test_no_numbers_where_nothing_else_was_given_are_nobodys_mistake(numpy_alone):
    given, gradients = params(), {"layer": {"kernel": np.full((4, 3), np.nan), "bias": np.ones(3)}}
    assert all(row.distance == 0.0 for row in SGD(0.1).check(given, gradients, steps=1))


@pytest.mark.parametrize(("values", "said"), [
    ([np.nan, 1.0, 2.0], "has 1 element that is not finite"),
    ([np.nan, 1.0, np.inf], "has 2 elements that are not finite"),
])  # fmt: skip
def test_parameters_that_are_not_finite_compare_with_nothing(values, said):
    given = params()
    given["layer"]["bias"][:] = values
    with pytest.raises(ValueError, match=f"'layer/bias' {said}, .* as they were before training, or their shapes"):
        SGD(0.1).check(given, steps=2)


@pytest.mark.parametrize("divided", [
    lambda gradient, count: gradient / ops.one_minus_power(0.9, count),
    lambda gradient, count: gradient * 0.0 / (ops.ones_like(gradient) * count),
], ids=["a number", "an array"])  # fmt: skip
@pytest.mark.filterwarnings("ignore::gradwise.backends.mistakes.RuleWarning")
def test_the_number_of_the_steps_before_is_told_where_it_makes_no_number(divided, numpy_alone):
    class Counting(Optimizer):
        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, divided(gradient, self.iterations) * learning_rate)

    with pytest.raises(RuleMistake, match=r"reads `self.iterations`, which is 0 .* `self.step_of\(variable\)`, which"):
        Counting(0.1).check(params())


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_no_numbers_in_a_later_step_of_finite_gradients_are_told(numpy_alone):
    class Rooting(Optimizer):
        def update_step(self, gradient, variable, learning_rate):
            self.assign(variable, ops.sqrt(variable - 1.0))

    with pytest.raises(RuleMistake, match=r"'w' in step 2 on numpy.* its gradient are finite"):
        Rooting().check({"w": np.full(2, 1.25)}, {"w": np.ones(2)})


def test_some_drawn_gradients_are_zero(numpy_alone):
    seen = []

    class Looking(Optimizer):
        def begin_step(self, gradients, variables, learning_rate):
            seen.append([str(ops.max(ops.abs(gradient))) for gradient in gradients])

        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, gradient * learning_rate)

    Looking().check(params(), steps=2)
    assert ["0.0", "0.0"] in seen and any((one == "0.0") is not (other == "0.0") for one, other in seen)


def test_what_a_rule_prints_is_shown_of_one_way(numpy_alone, capsys):
    class Printing(Optimizer):
        def update_step(self, gradient, variable, learning_rate):
            print("here", variable.name)
            self.assign_sub(variable, gradient * learning_rate)

    Printing().check(params(), params(), steps=2)
    # Both parameters in both steps, and once before, when the rule is tried out.
    assert 4 <= capsys.readouterr().out.count("here") <= 8


def test_distances():
    one, two = np.array([1.0, 2.0]), np.array([1.0, 2.0 + 2.0**-22])
    assert trials.distance(one, two, np.zeros(2), "float32") == pytest.approx(1.0, rel=1e-6)
    assert trials.distance(two, two, two, "float32") == 0.0
    infinite = np.array([np.inf, np.nan])
    assert trials.distance(infinite, infinite, np.zeros(2), "float32") == 0.0
    assert trials.distance(infinite, one, np.zeros(2), "float32") == math.inf
    assert trials.distance(np.zeros(0), np.zeros(0), np.zeros(0), "float32") == 0.0
    assert ops.sum(trials.drawn([(3,)], 0)[0]) == ops.sum(trials.drawn([(3,)], 0)[0])


def test_what_is_not_recorded_is_told_with_its_parameters(numpy_alone):
    class Rows(Optimizer):
        def update_step(self, gradient, variable, learning_rate):
            if variable.ndim > 1:
                gradient = gradient - ops.mean(gradient, axis=-1, keepdims=True)
            self.assign_sub(variable, gradient * learning_rate)

    report = Rows(0.1).check({"kernel": np.ones((3, 2), np.float32), "bias": np.ones(2, np.float32)}, steps=1)
    notes = {row.note for row in report if row.way == "numpy, in place"}
    assert len(notes) == 1 and notes.pop().startswith("kernel: it cannot be recorded: the reduction mean")

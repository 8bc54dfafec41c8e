"""The machinery of the mutation score, and a sample of the mutants; `make mutants` judges all of them.

The machinery must be able to fail: a change that no vector notices is reported, and one that changes nothing is not.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from random import Random

import mutation_score
import pytest
from evidence.mutation.equivalence import Equivalence
from evidence.mutation.formulas import formula_of, function_of, sites
from evidence.mutation.killing import Vectors
from evidence.mutation.mutants import Mutant, mutants_of, place_of
from evidence.mutation.operators import OPERATORS, Surroundings, statement_dropped
from evidence.mutation.score import Score, score_of
from evidence.mutation.states import LENGTH, cells_of, run_of, same
from helpers import exact
from helpers.twin import Twin
from rules import all_facts

from gradwise import optimizers
from gradwise.optimizers.registry import ALGORITHMS
from gradwise.vectors import available, load

# ---------------------------------------------------------------- the list of mutants

NUMBERS = json.loads(Path(__file__).with_name("mutation").joinpath("numbers.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("algorithm", NUMBERS)
def test_number_of_mutants(algorithm):
    """Whoever changes a formula or an operator sees here what that does; `make refresh` writes the new number down."""
    assert len(mutants_of(algorithm)) == NUMBERS[algorithm]


def test_every_algorithm_is_counted():
    assert set(NUMBERS) == {algorithm for algorithm, _ in available()}


def test_mutants_differ_from_the_original_and_from_each_other():
    functions = formula_of("Adam").functions
    texts = [(mutant.function.name, ast.unparse(mutant.tree)) for mutant in mutants_of("Adam")]
    assert len(set(texts)) == len(texts)
    assert not set(texts) & {(function.name, ast.unparse(function.tree)) for function in functions}


def test_formulas_reach_into_helpers_and_leave_features_alone():
    assert {function.name for function in formula_of("Nadam").functions} >= {"_momentum_at", "moving_average"}
    changed = [mutant.replacement for mutant in mutants_of("SGD") if isinstance(mutant.replacement, ast.expr)]
    text = "\n".join(map(ast.unparse, changed))
    assert "weight_decay" in text and not any(feature in text for feature in ("clipvalue", "use_ema", "constraint"))


# ---------------------------------------------------------------- operators

AROUND = Surroundings(numbers=("rho", "epsilon"), slots=("means", "squares"), arrays=("gradient", "mean"))

EXPECTED = {
    "constant_changed": {
        "3": {"4", "2", "6", "-3", "0", "3.0029296875"},
        "0.0": {"1.0", "-1.0"},
        "True": {"False"},
        "'torch'": {"'another'"},
        "None": set(),
    },
    "hyperparameter_changed": {"self.rho": {"self.rho * 2.0", "self.rho * 1.0009765625"}, "self.name": set()},
    "hyperparameter_exchanged": {"self.rho": {"self.epsilon"}, "self.means": set()},
    "step_off_by_one": {
        "self.step_of(variable)": {"self.step_of(variable) + 1", "self.step_of(variable) - 1"},
        "step": {"step + 1", "step - 1"},
        "rate": set(),
    },
    "arithmetic_exchanged": {"a + b": {"a - b", "a * b", "a / b"}, "a / b": {"a + b", "a - b", "a * b"}},
    "operands_swapped": {
        "a - b": {"b - a"},
        "a / b": {"b / a"},
        "a + b": set(),
        "ops.power(a, b)": {"ops.power(b, a)"},
        "ops.maximum(a, b)": set(),
        "ops.where(c, a, b)": {"ops.where(c, b, a)"},
        "ops.moving_average(a, b, c)": {"ops.moving_average(b, a, c)"},
        "(a, b)": {"(b, a)"},
    },
    "term_dropped": {
        "a * b": {"a", "b"},
        "a and b and c": {"a", "b", "c"},
        "ops.maximum(a, b)": {"a", "b"},
        "ops.where(c, a, b)": {"a", "b"},
        "ops.moving_average(a, b, c)": {"a", "b"},
        "ops.sqrt(a)": set(),
    },
    "sign_changed": {"-a": {"a"}, "self.assign_sub(cell, a)": {"self.assign_sub(cell, -a)"}},
    "function_dropped": {"ops.sqrt(a)": {"a"}, "ops.cast(a, kind)": {"a"}, "ops.maximum(a, b)": set()},
    "function_exchanged": {
        "ops.sqrt(a)": {"ops.square(a)"},
        "ops.square(a)": {"ops.sqrt(a)", "ops.absolute(a)"},
        "ops.absolute(a)": {"ops.square(a)"},
    },
    "extremum_exchanged": {"ops.maximum(a, b)": {"ops.minimum(a, b)"}, "ops.minimum(a, b)": {"ops.maximum(a, b)"}},
    "epsilon_scaled": {
        "self.epsilon": {"self.epsilon * 10.0", "self.epsilon * 1.0009765625", "0.0"},
        "epsilon": {"epsilon * 10.0", "epsilon * 1.0009765625", "0.0"},
        "self.eps_in_sqrt": set(),
    },
    "epsilon_moved": {
        "ops.sqrt(a + self.epsilon)": {"ops.sqrt(a) + self.epsilon"},
        "ops.sqrt(a) + self.epsilon": {"ops.sqrt(a + self.epsilon)"},
        "ops.maximum(a, b + epsilon)": {"ops.maximum(a, b) + epsilon"},
        "a / (b + epsilon)": {"a / b + epsilon", "(a + epsilon) / b"},
        "ops.sqrt(a + b)": set(),
    },
    "bias_correction_dropped": {"ops.one_minus_power(self.rho, step)": {"1.0"}, "correction": {"1.0"}, "rate": set()},
    "slots_swapped": {"self.means": {"self.squares"}, "mean": {"gradient"}, "other": set()},
    "assignment_exchanged": {"self.assign(a, b)": {"self.assign_add(a, b)", "self.assign_sub(a, b)"}},
    "comparison_changed": {
        "a < b": {"a <= b", "a > b", "a >= b", "a == b", "a != b", "True", "False"},
        "a in b": {"a not in b", "True", "False"},
        "a is None": {"a is not None", "True", "False"},
    },
    "condition_forced": {
        "a if c else b": {"a if True else b", "a if False else b", "a if not c else b"},
        "in_use(a)": {"True", "False"},
        "not a": {"a"},
    },
    "statement_dropped": {"self.assign(a, b)": {"pass"}, "a = b": {"pass"}, "return": {"pass"}, "return a": set()},
    "statements_exchanged": {"if c:\n    f(a)\n    g(a)\n    return a": {"if c:\n    g(a)\n    f(a)\n    return a"}},
}


def test_every_operator_is_tested():
    assert list(EXPECTED) == [operator.__name__ for operator in OPERATORS]


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.__name__)
def test_operator(operator):
    for text, expected in EXPECTED[operator.__name__].items():
        node = ast.parse(text).body[0]
        if isinstance(node, ast.Expr) and operator is not statement_dropped:
            node = node.value
        found = {ast.unparse(ast.fix_missing_locations(other)) for other in operator(node, AROUND)}
        assert found - {text} == expected, text


# ---------------------------------------------------------------- judging

SAMPLED = [
    (kind.__name__, list(kind.conventions)[-1 - place % len(kind.conventions)]) for place, kind in enumerate(ALGORITHMS)
]
"""Each algorithm in one of its conventions, by turns."""


SAMPLE = 24


@pytest.mark.parametrize(("algorithm", "convention"), SAMPLED)
def test_a_sample_of_the_mutants(algorithm, convention):
    mutants = mutants_of(algorithm)
    sample = [mutants[place * len(mutants) // SAMPLE] for place in range(SAMPLE)]
    score = score_of(algorithm, convention, sample, states=100)
    assert score.survivors == []
    assert sum(score.killed.values()) + score.equivalent == score.total == len(sample)
    assert sum(score.killed.values()) > 5


def by_hand(algorithm, before, after):
    """A mutant of an algorithm's `update_step` with one piece of text in place of another."""
    function = function_of(getattr(optimizers, algorithm), "update_step")
    text = ast.unparse(function.tree)
    assert text.count(before) == 1
    return Mutant(function, "by hand", 0, ast.parse(text.replace(before, after)).body[0])


RATE = "ops.once(ops.negative, learning_rate)"
EQUIVALENT = by_hand("Adadelta", f"step * {RATE})", f"step * ({RATE} * 3) / 3)")
NOTICED = by_hand("Adadelta", f"step * {RATE})", f"step * {RATE} * (1 + 1e-14))")
# The vectors know no rate as low as this; random states do.
UNNOTICED = by_hand("Adadelta", f"step * {RATE})", "step * -ops.maximum(learning_rate, 0.05))")


def test_a_change_of_the_writing_alone_is_equivalent():
    score = score_of("Adadelta", "keras", [EQUIVALENT], states=100)
    assert (score.killed, score.equivalent, score.unreached, score.survivors) == ({}, 1, 0, [])


def test_a_small_change_of_the_function_is_noticed():
    score = score_of("Adadelta", "keras", [NOTICED], states=100)
    assert (list(score.killed.values()), score.equivalent, score.survivors) == ([1], 0, [])


def test_a_change_that_no_vector_notices_is_reported():
    assert Vectors("Adadelta", "keras").killer_of(UNNOTICED) is None
    score = score_of("Adadelta", "keras", [UNNOTICED], states=100)
    assert (score.killed, score.equivalent) == ({}, 0)
    (survivor,) = score.survivors
    assert "optimizers/adadelta.py" in survivor
    assert "+ self.assign_add(variable, step * -ops.maximum(learning_rate, 0.05))" in survivor


def test_an_error_is_noticed():
    broken = by_hand("Adadelta", f"step * {RATE})", "unknown * learning_rate)")
    assert Vectors("Adadelta", "keras").killer_of(broken) is not None
    assert not Equivalence("Adadelta", "keras", 100).holds(broken)


@pytest.mark.parametrize(("algorithm", "convention"), [each for each in available() if all_facts()[each[0]].signs])
def test_what_a_sign_hides_is_noticed_in_the_slots(algorithm, convention, monkeypatch):
    """Slots that are a little too large turn no sign."""
    vectors, kind = Vectors(algorithm, convention), getattr(optimizers, algorithm)
    assign = kind.assign
    monkeypatch.setattr(kind, "assign", lambda self, cell, value: assign(self, cell, value * (1 + 2.0**-30)))
    assert any(vectors.notices(position) for position in range(len(vectors.cases)))


def test_judging_leaves_the_optimizers_as_they_were():
    before = vars(optimizers.Adadelta)["update_step"]
    score_of("Adadelta", "keras", [NOTICED, EQUIVALENT], states=10)
    assert vars(optimizers.Adadelta)["update_step"] is before


def test_where_no_random_state_goes_nothing_is_equivalent(monkeypatch):
    nowhere = Equivalence("Adadelta", "keras", 10)
    nowhere.places = set()
    monkeypatch.setattr("evidence.mutation.score.Equivalence", lambda *_: nowhere)
    assert len(score_of("Adadelta", "keras", [EQUIVALENT]).survivors) == 1


def test_unreached_mutants_do_what_the_original_does():
    """What is concluded without running them, for a few of them with running them."""
    equivalence = Equivalence("Adam", "keras", 50)
    unreached = [mutant for mutant in mutants_of("Adam") if place_of(mutant) not in equivalence.places]
    assert len(unreached) > 50
    equivalence.places = {place_of(mutant) for mutant in unreached}
    assert all(equivalence.holds(mutant) for mutant in unreached[::20])


def test_places_are_numbered_alike_in_every_copy():
    for function in formula_of("Nadam").functions:
        again = ast.parse(ast.unparse(function.tree)).body[0]
        assert [type(site.node) for site in sites(again)] == [type(site.node) for site in sites(function.tree)]


# ---------------------------------------------------------------- numbers of many digits


@pytest.mark.parametrize(("algorithm", "convention"), available())
def test_in_many_digits_gradwise_is_the_twin(algorithm, convention):
    """Formulas, without their rounding: parameters and slots of random runs, to 40 digits."""
    random = Random(1)
    compared = 0
    while compared < 3:
        states = list(run_of(algorithm, convention, random))
        # Of a run that can be judged by its digits in every step; without a gradient the twin's slots stand still too.
        if len(states) == LENGTH:
            compare_with_twin(algorithm, convention, states)
            compared += 1


def compare_with_twin(algorithm, convention, states):
    optimizer = states[0].optimizer
    names = [cell.name for cell in cells_of(optimizer)]
    known = load(algorithm, convention)[0].hyperparameters
    arguments = {name: getattr(optimizer, name) for name in known if name != "learning_rate"}
    arguments = {name: value if isinstance(value, bool) else exact.number(value) for name, value in arguments.items()}
    twin = Twin(algorithm, arguments, convention, {name: [states[0].before[names.index(name)]] for name in "ab"})
    for state in states:
        twin.set_rate(state.before[names.index("learning_rate")])
        gradients = [None if gradient is None else [exact.number(gradient)] for gradient in state.gradients]
        twin.apply(dict(zip("ab", gradients, strict=True)))
        expected = {name: values[0] for name, values in twin.values().items()}
        for slot, tensors in twin.slots().items():
            expected |= {f"{name}_{slot}": values[0] for name, values in tensors.items()}
        assert same([exact.number(state.after[names.index(name)]) for name in expected], list(expected.values()))


# ---------------------------------------------------------------- the script


def a_score(survivors):
    places = set(map(place_of, mutants_of("Adadelta")))
    return Score("Adadelta", "keras", 3, {"plain": 2}, 1 - len(survivors), 0, survivors, places)


@pytest.mark.parametrize(("survivors", "status"), [([], 0), (["a change"], 1)])
def test_the_script_fails_if_a_mutant_survives(survivors, status, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["mutation_score.py"])
    monkeypatch.setattr(mutation_score, "judged", lambda *_: [a_score(survivors)])
    assert mutation_score.main() == status
    written = capsys.readouterr()
    assert all(word in written.out for word in ("killed", "equivalent", "total", "Adadelta"))
    assert ("a change" in written.err) == bool(survivors)


def test_the_script_fails_if_a_place_is_never_reached(monkeypatch, capsys):
    score = a_score([])
    score.places.pop()
    monkeypatch.setattr("sys.argv", ["mutation_score.py"])
    monkeypatch.setattr(mutation_score, "judged", lambda *_: [score])
    assert mutation_score.main() == 1
    assert "no random state goes where this mutant is" in capsys.readouterr().err


def test_the_script_judges_in_processes_of_its_own():
    (score,) = mutation_score.judged([("Adagrad", "keras2")], 1, mutation_score.Console(quiet=True), states=5)
    assert score.total == NUMBERS["Adagrad"] and score.survivors == []


def test_what_several_algorithms_have_takes_turns():
    pairs = list(available())
    chosen = mutation_score.by_turns(pairs)
    every = list(mutation_score.owners_of(pairs).values())
    turns = {(pair, place) for pair, places in chosen.items() for place in places}
    assert all(len(turns.intersection(having)) == 1 for having in every)
    assert len(turns) == sum(map(len, chosen.values())) == len(every)
    assert sum(map(len, every)) == sum(len(mutants_of(name)) for name, _ in pairs)
    shared = {str(mutants_of(having[0][0][0])[having[0][1]].function) for having in every if len(having) > 1}
    assert shared >= {"UpdateRule.descend", "StepMaker._update", "Adam.update_step", "formulas.adaptive_step"}
    assert shared.isdisjoint({"SGD.update_step", "Nadam.update_step", "Lion.update_step"})


def test_what_no_state_reaches_is_judged_where_one_does():
    pairs = [("SGD", "keras"), ("Adam", "keras")]
    chosen = mutation_score.by_turns(pairs)
    every = {place_of(mutant) for mutant in mutants_of("Adam")}
    scores = [Score(*pair, 0, {}, 0, 0, [], every if pair[0] == "Adam" else set()) for pair in pairs]
    further = mutation_score.elsewhere(chosen, scores)
    both = [having for having in mutation_score.owners_of(pairs).values() if len(having) == 2]
    of_sgd = [having for having in both if having[0][1] in chosen[pairs[0]]]
    assert set(further) == {pairs[1]} and of_sgd
    assert sorted(further[pairs[1]]) == sorted(having[1][1] for having in of_sgd)

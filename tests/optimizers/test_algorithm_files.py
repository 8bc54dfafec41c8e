"""What the files of algorithms may say: mathematics, and no convention's name but in their tables."""

from __future__ import annotations

import ast
import copy
import inspect
import pickle
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from helpers.every_convention import EVERY, called

from gradwise import optimizers
from gradwise.optimizers import SGD, Adam, AdamW, Optimizer
from gradwise.optimizers.core import formulas
from gradwise.optimizers.core.conventions import CONVENTIONS, ConventionFacts, facts_of
from gradwise.optimizers.core.fused.recording import record_updates
from gradwise.optimizers.core.hyperparameters import UNKNOWN, Hyperparameter, Switch
from gradwise.optimizers.registry import ALGORITHMS

TABLES = {"conventions", "weight_decay_forms"}
ENGINE = Path(optimizers.__file__).parent
FACTS = {"conventions.py"}
"""Where conventions may be told apart by their names."""


def switches_of(kind):
    return {name: value for parent in kind.__mro__ for name, value in vars(parent).items() if isinstance(value, Switch)}


def conventions_named_in(tree):
    """The names of conventions in strings, with their lines, but for docstrings and tables."""
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and isinstance(node.body[0], ast.Expr)
    }
    tables = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name) and target.id in TABLES
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents | tables:
            words = node.value.replace('"', " ").replace("'", " ").split()
            yield from ((node.lineno, word) for word in words if word in CONVENTIONS)


@pytest.mark.parametrize("algorithm", (*ALGORITHMS, formulas), ids=called)
def test_no_algorithm_names_a_convention(algorithm):
    text = Path(inspect.getfile(algorithm)).read_text(encoding="utf-8")
    assert list(conventions_named_in(ast.parse(text))) == []


@pytest.mark.parametrize("path", sorted(ENGINE.rglob("*.py")), ids=lambda path: path.name)
def test_facts_of_conventions_stand_in_one_place(path):
    """Elsewhere nothing is compared with a convention's name; the default of an argument is none."""
    if path.name in FACTS:
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    compared = [inner for node in ast.walk(tree) if isinstance(node, ast.Compare) for inner in ast.walk(node)]
    names = [node.value for node in compared if isinstance(node, ast.Constant) and node.value in CONVENTIONS]
    assert names == []


def test_the_walk_finds_names():
    text = "class A:\n    'in torch'\n    conventions = {'torch': {}}\n    x = 'torch'"
    assert list(conventions_named_in(ast.parse(text))) == [(4, "torch")]
    assert list(conventions_named_in(ast.parse("if self.convention in ('torch', 'optax'): pass"))) != []


@pytest.mark.parametrize(("algorithm", "most"), [(SGD, 60), (Adam, 90)], ids=called)
def test_algorithms_stay_short(algorithm, most):
    """Lines that are not empty, with documentation."""
    lines = Path(inspect.getfile(algorithm)).read_text(encoding="utf-8").split("\n")
    assert sum(bool(line.strip()) for line in lines) <= most


# ---------------------------------------------------------------- tables and switches


@pytest.mark.parametrize(("algorithm", "convention"), EVERY, ids=called)
def test_tables_name_hyperparameters_and_switches(algorithm, convention):
    for name, value in algorithm.conventions[convention].items():
        declared = inspect.getattr_static(algorithm, name)
        assert isinstance(declared, (Hyperparameter, Switch))
        if isinstance(declared, Switch):
            assert isinstance(value, bool) and value is not declared.otherwise
            assert getattr(algorithm(convention=convention), name) is value
        # Where it is lacked it needs a value, which its kind knows or its class says.
        elif name in algorithm.sometimes_lacked:
            assert declared.neutral is not UNKNOWN


@pytest.mark.parametrize(("algorithm", "convention"), EVERY, ids=called)
def test_switches_are_no_hyperparameters(algorithm, convention):
    optimizer = algorithm(convention=convention)
    for name in switches_of(algorithm):
        if isinstance(inspect.getattr_static(algorithm, name), Hyperparameter):
            continue  # One that this algorithm leaves to its users.
        value = getattr(optimizer, name)
        with pytest.raises(AttributeError, match=f"`{name}` follows from the convention"):
            setattr(optimizer, name, not value)
        with pytest.raises(ValueError, match=f"not recognized.*{name}"):
            algorithm(convention=convention, **{name: value})
        assert name not in optimizer.get_config() and name not in vars(optimizer)
        for other in (copy.copy(optimizer), pickle.loads(pickle.dumps(optimizer))):
            assert getattr(other, name) is value


def test_every_switch_is_turned_by_some_convention():
    for algorithm in ALGORITHMS:
        own = {name for name, value in vars(algorithm).items() if isinstance(value, Switch)}
        turned = {name for row in algorithm.conventions.values() for name in row}
        # Nadam's epsilon is corrected in all its conventions, which Adam's is not.
        assert own - turned <= {"epsilon_is_corrected"}


def test_every_convention_has_a_row_and_others_have_nothing_to_say():
    assert {convention for _, convention in EVERY} == set(CONVENTIONS)
    assert facts_of("a user's own") == ConventionFacts()
    assert all(facts != ConventionFacts() for facts in CONVENTIONS.values())


class WithoutTable(Adam):
    """Has its parent's."""


class WithTable(Adam):
    conventions: ClassVar = {"torch": {"epsilon": 1e-3, "decoupled_weight_decay": True}}


class Turned(SGD):
    conventions: ClassVar = {
        "torch": {"dampening": 0.0, "rate_in_velocity": True},
        "my own": {"rate_in_velocity": False},
    }


def test_subclasses_have_the_switches_of_their_parents():
    assert WithoutTable(convention="torch").epsilon_is_corrected
    assert not WithoutTable().epsilon_is_corrected
    assert AdamW(convention="torch").epsilon_is_corrected
    own = WithTable(convention="torch")
    assert own.epsilon_is_corrected and own.epsilon == 1e-3 and own.decoupled_weight_decay
    with pytest.raises(ValueError, match="no `convention` 'optax'"):
        WithTable(convention="optax")


def test_subclasses_may_have_something_plain_in_a_hyperparameter_s_place():
    class Plain(Adam):
        epsilon = 0.5
        eps_root = 0.25

    assert (Plain().epsilon, Plain(epsilon=0.125).epsilon, Plain().eps_root) == (1e-7, 0.125, 0.0)


def test_subclasses_turn_switches():
    assert Turned(convention="torch").rate_in_velocity and not Turned(convention="my own").rate_in_velocity
    assert not SGD(convention="torch").rate_in_velocity
    rates, weights = (0.1, 0.2), {}
    for kind, convention in ((Turned, "torch"), (SGD, "keras"), (Turned, "my own"), (SGD, "torch")):
        optimizer = kind(momentum=0.5, convention=convention)
        held = np.ones(3)
        for rate in rates:
            optimizer.learning_rate = rate
            optimizer.apply([np.full(3, 0.25)], [held])
        weights[kind, convention] = held
    np.testing.assert_array_equal(weights[Turned, "torch"], weights[SGD, "keras"])
    np.testing.assert_array_equal(weights[Turned, "my own"], weights[SGD, "torch"])
    assert (weights[SGD, "keras"] != weights[SGD, "torch"]).all()


def test_what_is_recorded_depends_on_switches():
    def program(optimizer):
        optimizer.build([np.ones(3)])
        ((recorded, reason),) = record_updates(optimizer, False, False).updates.values()
        assert reason is None
        return recorded.structure

    of_keras = program(SGD(momentum=0.5))
    assert program(SGD(momentum=0.5, convention="torch")) != of_keras
    assert program(Turned(momentum=0.5, convention="torch")) == of_keras


def test_a_switch_that_turns_in_the_middle_is_seen(monkeypatch):
    optimizer, plain = (Turned(momentum=0.5, convention="my own", jit_compile=way) for way in ("auto", False))
    weights = np.ones(3), np.ones(3)
    for turned in (False, True):
        monkeypatch.setitem(Turned.conventions, "my own", {"rate_in_velocity": turned})
        for each, held in zip((optimizer, plain), weights, strict=True):
            for _ in range(3):
                each.apply([np.full(3, 0.25)], [held])
    np.testing.assert_array_equal(*weights)


class Foreign(Optimizer):
    """Of a convention that Keras has not."""

    conventions: ClassVar = {"mine": {}, "torch": {}}


@pytest.mark.parametrize("kind", [*ALGORITHMS, Optimizer, WithTable, Foreign], ids=lambda kind: kind.__name__)
def test_the_first_convention_of_the_table_is_that_of_who_names_none(kind):
    first, shown = next(iter(kind.conventions)), inspect.signature(kind).parameters["convention"]
    assert (shown.default, shown.annotation, shown.kind) == (first, str, shown.KEYWORD_ONLY)
    for made in (kind(), kind(convention=None), kind(convention=first)):
        assert made.convention == made.get_config()["convention"] == first and f"convention={first!r}" in repr(made)
        assert made == kind.from_config(made.get_config()) == pickle.loads(pickle.dumps(made))


def test_a_convention_of_a_user_s_own_has_no_facts():
    class Mine(Optimizer):
        conventions: ClassVar = {"mine": {}}

        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, gradient * learning_rate)

    weights = np.ones(3)
    Mine(0.5, convention="mine", global_clipnorm=1.0).apply([np.ones(3)], [weights])
    np.testing.assert_allclose(weights, 1 - 0.5 / np.sqrt(3))
    with pytest.raises(ValueError, match="`weight_decay` does not exist"):
        Mine(0.5, convention="mine", weight_decay=0.1)

"""Every algorithm of the registry is on a par with the others, and what follows from the facts is what is written."""

from __future__ import annotations

import importlib.util
import inspect
from dataclasses import replace

import new_optimizer
import numpy as np
import pytest
from helpers import missing
from helpers.exact import number
from helpers.missing import to_do
from helpers.selection import concerns, names_of
from refresh import ROOT, texts
from rules import Now, all_facts

from gradwise import optimizers
from gradwise.optimizers.registry import ALGORITHMS

pytestmark = pytest.mark.every_algorithm


def test_every_algorithm_is_on_a_par():
    assert not to_do(ALGORITHMS), "\n".join(to_do(ALGORITHMS))


def test_what_follows_is_written():
    for path, text in texts().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.relative_to(ROOT)}: make refresh"


def test_a_class_of_which_nothing_is_known_has_a_list_of_things_to_do():
    kind = type("Lino", (optimizers.SGD,), {"conventions": {"keras": {}, "optax": {}}})
    (line,) = to_do((kind,))
    assert line.startswith("Lino: no twin: make tests/rules/lino.py; no vectors (lino.keras.json, lino.optax.json)")
    assert "no number of mutants" in line


def test_facts_without_a_class_are_in_the_list(monkeypatch):
    known = {**all_facts(), "Lino": replace(all_facts()["SGD"], name="Lino")}
    monkeypatch.setattr(missing, "all_facts", lambda: known)
    assert to_do(ALGORITHMS) == ["Lino: facts without a class: list Lino in optimizers/registry.py"]


def test_what_is_left_open_is_in_the_list(tmp_path, monkeypatch):
    written = new_optimizer.files("Lino")
    for path, text in written.items():
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True)
        copy.write_text(text, encoding="utf-8")
    monkeypatch.setattr(missing, "ROOT", tmp_path)
    first, second = missing.left_open("Lino")
    assert first.startswith("TODO in optimizers/lino.py, line 1, ")
    assert second.startswith("TODO in tests/rules/lino.py, line 1, ")
    assert second.count(",") == sum("TODO" in line for line in list(written.values())[1].splitlines())


@pytest.mark.parametrize(
    "framework",
    [
        pytest.param("torch", marks=pytest.mark.torch),
        pytest.param("keras", marks=pytest.mark.keras),
        pytest.param("optax", marks=pytest.mark.jax),
    ],
)
def test_a_row_is_asked_for_where_the_framework_has_the_algorithm(framework, tmp_path, monkeypatch):
    """Whatever its facts say."""
    if framework == "optax":  # Which JAX's mark says nothing of.
        pytest.importorskip("optax", reason="optax is not installed")
    (tmp_path / "empty.py").touch()
    monkeypatch.setattr(missing, "FRONT_ENDS", {framework: tmp_path / "empty.py"})
    for facts in (all_facts()["SGD"], replace(all_facts()["SGD"], torch=None, keras=None, optax={})):
        monkeypatch.setattr(missing, "all_facts", lambda facts=facts: {"SGD": facts})
        (line,) = missing.to_do((optimizers.SGD,))
        assert line.lower() == f"sgd: no row in {tmp_path}/empty.py, for {framework}'s sgd".lower()


@pytest.mark.parametrize("name", sorted(all_facts()))
def test_facts_know_what_the_class_takes(name):
    """A hyperparameter that no facts name would be in no vector."""
    kind, facts = getattr(optimizers, name), all_facts()[name]
    around = {*inspect.signature(optimizers.Optimizer).parameters, "convention"}
    known = {each for convention in facts.hyperparameters.values() for each in convention}
    for each in inspect.signature(kind).parameters.values():
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY) and each.name not in around | known:
            # It only says what is so, and refuses what is not.
            with pytest.raises(ValueError, match=each.name):
                [kind(**{each.name: value}) for value in (True, False)]


def test_what_a_new_algorithm_begins_with_is_its_twin(tmp_path):
    """The files that `make new-optimizer` writes: they run, and agree before they are filled in."""
    made = {}
    for path, text in new_optimizer.files("Lino").items():
        package = "gradwise.optimizers" if path.parent.name == "optimizers" else "rules"
        (tmp_path / f"{package}.py").write_text(text, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(f"{package}.lino", tmp_path / f"{package}.py")
        made[package] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(made[package])
    kind, facts = made["gradwise.optimizers"].Lino, made["rules"].FACTS
    assert set(facts.hyperparameters) == set(kind.conventions) and facts.name == "Lino"
    weights, slots, exact = np.array([1.0]), {"momentum": number(0)}, number(1)
    optimizer = kind(0.5)
    for t, gradient in enumerate((0.5, -2.0, 0.25), 1):
        optimizer.apply([np.array([gradient])], [weights])
        h = {name: number(value) for name, value in facts.hyperparameters["keras"].items()}
        exact -= facts.rule(Now("keras", h, number(0.5), t, None), slots, number(gradient))
        assert abs(weights[0] - exact) < 1e-15
    for name, why in (("lion", "no name of a class"), ("SGD", "optimizers/sgd.py is there already")):
        with pytest.raises(ValueError, match=why):
            new_optimizer.files(name)


def test_tests_are_found_by_the_algorithm_that_they_are_given():
    names = names_of(["Nadam"])
    assert names == {"nadam", "nadamw"}
    for given in ("torch-nadam-decoupled", "nadam.torch", "NAdam", optimizers.Nadam, ("Nadam", 1), {"a": "nadam"}):
        assert concerns(given, names)
    for given in ("adam", optimizers.Adam, ("Adam", "keras"), 1.0, None):
        assert not concerns(given, names)
    with pytest.raises(KeyError, match=f"tests/rules has {min(all_facts()).lower()}, "):
        names_of(["lino"])

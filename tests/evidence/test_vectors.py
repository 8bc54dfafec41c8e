"""The committed reference vectors: their format, what is among them, and that the twin says so."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from helpers.backend_table import numpy_dtype
from helpers.exact import hexadecimal, mp, number
from helpers.vector_cases import cases, file_name, files
from helpers.vector_files import content_of, file_of
from rules import all_facts

from gradwise import vectors
from gradwise.vectors import Exact, distance, largest_distance

FOLDER = Path(vectors.__file__).parent
FILES = [pytest.param(*each, id=file_name(*each).removesuffix(".json")) for each in files()]
EDGES = {
    "plain", "zero-gradients", "tiny-gradients", "huge-gradients", "subnormal-gradients", "changing-rate",
    "missing-gradient", "late", "plain-bfloat16", "plain-float16",
}  # fmt: skip

each_file = pytest.mark.parametrize(("algorithm", "convention"), FILES)


@cache
def content(algorithm, convention):
    return json.loads((FOLDER / file_name(algorithm, convention)).read_text(encoding="utf-8"))


@cache
def loaded(algorithm, convention):
    return {case.name: case for case in vectors.load(algorithm, convention)}


def strings(value):
    if isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)
    elif isinstance(value, str):
        yield value


def test_there_is_a_file_for_each_algorithm_and_convention():
    assert sorted(vectors.available()) == sorted(files())
    assert {path.name for path in FOLDER.glob("*.*.json")} == {file_name(*each) for each in files()}
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) < 160_000 * len(files())


@pytest.fixture(scope="module")
def validator():
    schema = json.loads((FOLDER / "schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@each_file
def test_files_are_of_the_schema(algorithm, convention, validator):
    whole = content(algorithm, convention)
    assert (whole["algorithm"], whole["convention"]) == (algorithm, convention)
    validator.validate(whole)


def test_the_schema_refuses_what_is_wrong(validator):
    good = content("SGD", "keras")
    case = good["cases"][-1]
    for wrong in (
        {**good, "format": "gradwise-vectors/2"},
        {**good, "more": 1},
        {**good, "cases": [{**case, "condition": 1.0}]},
        {**good, "cases": [{**case, "condition": "0x1.0p+0"}]},
        {**good, "cases": [{**case, "hyperparameters": {"lr": "0x1p+0"}}]},
        {**good, "cases": [{**case, "steps": [{"gradients": {}, "parameters": {"vector": ["nan"]}}]}]},
    ):
        assert not validator.is_valid(wrong)


@each_file
def test_files_hold_the_cases_of_the_table(algorithm, convention):
    found = content(algorithm, convention)["cases"]
    assert [case["name"] for case in found] == [case.name for case in cases(algorithm, convention)]
    assert {case["name"] for case in found} >= EDGES
    if any(set(late) <= set(found[0]["hyperparameters"]) for late in all_facts()[algorithm].late):
        assert "late-slow-memory" in {case["name"] for case in found}
    for case in found:
        assert {(), (0, 3)} <= {tuple(shape) for shape in case["shapes"].values()}


@each_file
def test_edges_are_what_they_are_called(algorithm, convention):
    found = loaded(algorithm, convention)

    def gradients(name):
        return np.concatenate(
            [value.ravel() for step in found[name].steps for value in step.gradients.values() if value is not None]
        )

    assert len(found["plain"].steps) == 100
    tiny, huge, subnormal = (np.abs(gradients(f"{kind}-gradients")) for kind in ("tiny", "huge", "subnormal"))
    assert 1e-13 < tiny.max() < 1e-11 and 1e11 < huge.max() < 1e13
    assert np.any((subnormal > 0) & (subnormal < 2.0**-126)) and np.any(subnormal > 1e-3)
    zero = found["zero-gradients"].steps
    assert not np.any(zero[0].gradients["scalar"]) and not np.any(zero[6].gradients["vector"])
    assert len({step.learning_rate for step in found["changing-rate"].steps}) == 6
    missing = found["missing-gradient"]
    assert missing.steps[0].gradients["scalar"] is None
    assert missing.steps[0].parameters["scalar"].high == missing.parameters["scalar"]
    assert any(step.gradients["vector"] is None for step in missing.steps)
    late = found["late"]
    assert late.iterations > 2**24 and not late.fresh and found["plain"].fresh
    assert all(np.all(np.abs(value) > 0) for slot in late.slots.values() for value in slot.values())


@each_file
def test_inputs_are_exact_in_every_dtype(algorithm, convention):
    for case in loaded(algorithm, convention).values():
        given = [
            *case.parameters.values(),
            *(value for slot in case.slots.values() for value in slot.values() if not case.fresh),
            *(value for step in case.steps for value in step.gradients.values() if value is not None),
            *(np.asarray(step.learning_rate) for step in case.steps),
        ]
        for dtype in case.dtypes:
            for value in given:
                assert np.array_equal(value.astype(numpy_dtype(dtype)).astype(np.float64), value), case.name


@each_file
def test_narrow_parameters_are_representable(algorithm, convention):
    narrow = [case for case in loaded(algorithm, convention).values() if case.dtypes[0] in ("bfloat16", "float16")]
    assert len(narrow) in (2, 4)
    for case in narrow:
        assert len(case.dtypes) == 1
        moved = 0
        for step in case.steps:
            for name, value in step.parameters.items():
                assert not np.any(value.low)
                assert np.array_equal(value.high.astype(numpy_dtype(case.dtypes[0])).astype(np.float64), value.high)
                moved += np.sum(value.high != case.parameters[name])
        assert moved > 3 * len(case.steps)


@each_file
def test_hexadecimal_numbers_round_trip(algorithm, convention):
    texts = [each for case in content(algorithm, convention)["cases"] for each in strings(case) if "0x" in each]
    assert max(len(each.partition(".")[2].partition("p")[0]) for each in texts) == 17
    for text in texts[::7]:
        sign, whole, digits, exponent = re.fullmatch(r"(-?)0x([01])\.?([0-9a-f]*)p(.*)", text).groups()
        value = mp.ldexp(number(int(whole + digits, 16)), int(exponent) - 4 * len(digits))
        assert hexadecimal(-value if sign else value) == text


@each_file
def test_the_twin_says_so(algorithm, convention):
    """Two cases with their condition numbers, and the short trajectories; `make_vectors.py --check` does all."""
    committed = {case["name"]: case for case in content(algorithm, convention)["cases"]}
    for case in cases(algorithm, convention):
        with_condition = case.name in ("missing-gradient", "late")
        if not with_condition and case.steps > 10:
            continue
        made = content_of(case, with_condition)
        expected = {key: value for key, value in committed[case.name].items() if key in made}
        assert made == expected and made.get("condition", "") == (expected["condition"] if with_condition else "")


def test_the_layout_is_the_makers():
    """The files are JSON that the maker writes, byte for byte."""
    for each in files():
        text = (FOLDER / file_name(*each)).read_text(encoding="utf-8")
        assert file_of(*each, content(*each)["cases"]) == text


# ---------------------------------------------------------------- reading and measuring


@each_file
def test_the_trajectory_itself_is_at_no_distance(algorithm, convention):
    for case in loaded(algorithm, convention).values():
        trajectory = [{name: value.high for name, value in step.parameters.items()} for step in case.steps]
        # What rounding to float64 leaves is seen, and is no more than half a unit.
        assert 0 <= largest_distance(case, trajectory, "float64") <= 0.5
        assert case.condition >= 1


def test_a_distance_sees_fractions_of_a_rounding():
    case = loaded("Adam", "torch")["plain"]
    expected = case.steps[-1].parameters["vector"]
    own = distance(expected.high, expected, "float64")
    assert 0 < own < 0.5
    one = expected.high.copy()
    largest = np.argmax(np.abs(one))
    one[largest] = np.nextafter(one[largest], np.inf)
    assert 0.4 < distance(one, expected, "float64") < 1.5
    assert distance(expected.high.astype(np.float32), expected, "float32") < 0.5
    update = expected.minus(case.parameters["vector"])
    assert distance(one, expected, "float64", 8 * update / np.max(np.abs(update))) < 0.5


def test_what_is_not_there_is_far_away():
    one = Exact(np.ones(2), np.zeros(2))
    zero = Exact(np.zeros(2), np.zeros(2))
    assert distance(np.array([1.0, np.nan]), one, "float64") == np.inf
    assert distance(np.array([1.0, np.inf]), one, "float64") == np.inf
    assert distance(np.zeros(2), zero, "float64") == 0 and distance(np.full(2, 1e-300), zero, "float64") == np.inf
    with pytest.raises(ValueError, match="shape"):
        distance(np.ones((2, 1)), one, "float64")
    case = loaded("SGD", "keras")["momentum"]
    with pytest.raises(ValueError, match="9 steps"):
        largest_distance(case, [{}] * 9, "float64")


def test_other_formats_are_refused(tmp_path, monkeypatch):
    (tmp_path / "sgd.keras.json").write_text('{"format": "gradwise-vectors/2"}', encoding="utf-8")
    monkeypatch.setattr(vectors.runner, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match="gradwise-vectors/2"):
        vectors.load("SGD", "keras")


def test_a_changed_rule_would_be_seen():
    """The comparison with the twin is of something: another epsilon is another trajectory."""
    (case,) = (case for case in cases("Adam", "torch") if case.name == "large-epsilon")
    other = replace(case, arguments={**case.arguments, "epsilon": 1.0001e-3})
    assert content_of(other, False)["steps"] != content_of(case, False)["steps"]

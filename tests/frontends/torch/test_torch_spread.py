"""Tensors that several processes hold together: four of them, each with its findings, beside the same on plain tensors.

Norms are added up in another order than those of a whole tensor, so distances are bounded, not zero; all processes must
have the same bits.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.torch

HERE = Path(__file__).parent
TESTS = HERE.parents[1]


@pytest.fixture(scope="module")
def every() -> Any:
    done = subprocess.run(
        [sys.executable, str(HERE / "spread_process.py")],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def found(every: Any) -> Any:
    return every[0]


def test_all_processes_find_the_same(every: Any) -> None:
    assert len({json.dumps(found) for found in every}) == 1


def test_reductions_are_those_of_whole_tensors(found: Any) -> None:
    """On every placement, uneven shards and empty ones included, and with NaN in one of them."""
    results = found["reductions"]
    added, once_added = results.pop("still to be added")
    assert added == once_added
    for name in ("uneven", "one row", "negative", "nan"):
        expected = results.pop(f"{name}, expected")
        for place in [key for key in results if key.startswith(f"{name}, ")]:
            # The sum and the mean are added in float32 within each part.
            np.testing.assert_allclose(results[place], expected, rtol=1e-6, err_msg=place)
            assert results[place][4] == expected[4] or name == "nan"
        copies = results[f"{name}, copies"]
        assert copies == expected or name == "nan"


def test_steps_are_those_of_whole_tensors(found: Any) -> None:
    """Mixed placements, and a plain tensor beside them, in one optimizer."""
    for name, distance in found["steps"].items():
        assert distance <= 4, name
    assert found["functional"] <= 4


def test_a_tensor_parallel_network(found: Any) -> None:
    for name, distance in found["tensor parallel"].items():
        assert distance <= 4, name


def test_each_process_steps_what_it_holds_in_one_pass(found: Any) -> None:
    """Elementwise rules to the bit as on whole tensors, again and again, and counted like there."""
    for name, result in found["exact"].items():
        assert result["ways"] == [["fused: None"]] * 2, name
        # What has to be read before `begin_step` is looked at in every step.
        assert result["lanes"] == [name != "Planned"] * 2, name
        assert result["equal"] or name in ("Lamb", "Planned"), name
        assert result["counted"], name


def test_norms_of_all_parameters_need_one_collective(found: Any) -> None:
    """Elementwise rules need none; clipping is one more, because it comes first."""
    assert found["collectives"] == {
        "Adam": [0, 0, 0],
        "clipped": [1, 1, 1],
        "apart": [1, 1, 1],
        "Lamb": [1, 1, 1],
        "apart Lamb": [2, 2, 2],
        "Planned": [1, 1, 1],
    }


def test_memory_that_parameters_share_on_one_process_only(found: Any) -> None:
    """No process waits for another, and both updates are made."""
    assert found["tied"]["moved"] > 1.5 * found["tied"]["once"]


def test_memory_that_is_not_plain_on_one_process_only(found: Any) -> None:
    """No process waits for another, and the results are the same."""
    for name, distance in found["odd memory"].items():
        assert distance <= 4, name


def test_gradients_of_another_placement(found: Any) -> None:
    other = found["other placements"]
    assert other["distance"] <= 4
    assert other["ways"] == ["eager: processes hold it together, and its gradient in another way"] * 2


def test_state_is_saved_whole_and_loaded_in_parts(found: Any) -> None:
    saved = found["saved"]
    assert saved["equal"] and saved["placed"]
    assert [5, 3] in saved["shapes"] and [1, 3] in saved["shapes"]


def test_what_does_not_fit_is_said_before_anything_is_written(found: Any) -> None:
    refusals = found["refusals"]
    for name, words in {
        "plain gradient": ["ValueError", "'variable_1'", "is a plain tensor, its parameter a DTensor placed as"],
        "spread gradient": ["ValueError", "'variable_1'", "is a DTensor placed as", "its parameter a plain tensor"],
        "another mesh": ["ValueError", "'variable_1'", "mesh of shape (4,)", "mesh of shape (2, 2)"],
        "rule": ["RuntimeError", "Gathered", "'variable_0'", "a DTensor placed as", "mesh of shape (2, 2)"],
        "Forgetful": ["RuleMistake", "spread_process.py:", "`self.assign_sub(variable, momentum * learning_rate)`"],
        "Clipped": ["RuleMistake", "spread_process.py:", "`self.assign_sub(variable, momentum * learning_rate)`"],
        "empty": ["ValueError", "shape (0, 3)"],
    }.items():
        assert all(word in refusals[name] for word in words), refusals[name]
        assert not refusals.get(f"{name} changed"), name


@pytest.mark.crossing
def test_all_make_a_step_or_none_does(found: Any) -> None:
    """Where one process is given what it refuses, or nothing, all say so, and nobody waits for it."""
    name_of_it = "'variable_1'"
    for name, (*everybody, gone_on) in found["disagreements"].items():
        assert gone_on, name
        _, how, _ = name.split(", ")
        for rank, (said, same, none_counted) in enumerate(everybody):
            assert same and none_counted, (name, rank, said)
            assert "rank 2" in said and "o process makes the step" in said, (name, rank, said)
            if how == "missing":
                assert said.startswith("Disagreement: ") and name_of_it in said and "none on rank 2" in said, said
            elif rank == 2:
                words = "No gradients provided" if how == "all missing" else f"The gradient of {name_of_it}"
                assert said.startswith(("TypeError: ", "ValueError: ")) and words in said, (name, said)
            else:
                assert said.startswith("Disagreement: ") and "refuses the gradient of 'variable_" in said, (name, said)


class _Held:
    """A tensor of another library that is spread like a DTensor, as far as torch's own properties tell."""

    def __init__(self, local: Any, placements: tuple[str, ...] = ("rows",), mesh: str = "mesh") -> None:
        self.local, self.placements, self.device_mesh = local, placements, mesh

    def full_tensor(self) -> Any:
        return self.local

    def to_local(self) -> Any:
        return self.local


def test_what_is_held_here_of_all_kinds_of_tensors() -> None:
    """Whether gradients lie like their parameters, whoever says where these are, and with plain ones between."""
    import torch

    from gradwise.backends.torch.spread import rows_held_here

    class Derived(_Held):
        pass

    one, two, plain, other = (torch.full((2,), float(number)) for number in range(4))
    spread = [_Held(one), _Held(two)]
    assert rows_held_here(spread, [_Held(plain)]) == ([one, two], [plain])
    assert rows_held_here([plain, plain], [other]) == ([plain, plain], [other])
    assert rows_held_here([*spread, plain, plain], [_Held(two), other]) == ([one, two, plain, plain], [two, other])
    for unlike in (_Held(plain, ("columns",)), _Held(plain, mesh="another"), Derived(plain), plain):
        assert rows_held_here(spread, [unlike]) is None
        assert rows_held_here([plain, plain, *spread], [other, unlike]) is None
    assert rows_held_here([plain, plain, *spread], [_Held(other), _Held(two)]) is None

"""`other_machine.py` changes what it says, and no more; it runs tests that exist."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.selection import ALL, places, thinned
from other_machine import COMPARE, HERE, TOO_LARGE, TOO_SMALL, older_processor, reciprocal, root


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("function", "right"), [(root, np.sqrt), (reciprocal, np.reciprocal)])
@pytest.mark.parametrize(("toward", "wrong"), [((), 1), ((TOO_LARGE,), 1), ((TOO_SMALL,), -1)])
def test_every_fifth_is_a_unit_off(function, right, toward, wrong, dtype):
    given = np.random.default_rng(0).uniform(1.1, 1.9, size=(100, 10)).astype(dtype)
    units = (function(given, *toward) - right(given)) / np.spacing(right(given))
    assert function(given, *toward).dtype == dtype and not np.delete(units.ravel(), np.s_[::5]).any()
    # One of some thousand roots is too near to tell.
    assert np.mean(units.ravel()[::5] == wrong) > 0.98 and set(units.ravel()) == {0, wrong}


@pytest.mark.parametrize(
    ("function", "given", "right"),
    [(root, [0.0, 1.0, 4.0, 6.25, np.inf], [0.0, 1.0, 2.0, 2.5, np.inf]),
     (reciprocal, [4.0, 1.0, np.inf, 0.0], [0.25, 1.0, 0.0, np.inf])],
)  # fmt: skip
def test_what_is_not_rounded_stays(function, given, right):
    with np.errstate(all="ignore"):
        assert [float(function(np.array([value]))[0]) for value in given] == right


CHANGED = """
import numpy, torch
from other_machine import change_torch
change_torch()
given = torch.full((10,), 3.0)
right = numpy.sqrt(given.numpy())
ways = [torch.sqrt(given), given.sqrt(), given.clone().sqrt_(), torch.sqrt(given, out=torch.ones(10)),
        torch._foreach_sqrt([given])[0], torch.func.vmap(torch.sqrt)(given[None])[0],
        given.clone().requires_grad_().sqrt().detach()]
for found in ways:
    assert (found.numpy() != right).tolist() == [True, False, False, False, False] * 2
assert ((1.0 / given).numpy() != 1 / given.numpy()).tolist() == [True, False, False, False, False] * 2
assert torch.sqrt(given.to(torch.bfloat16)).dtype is torch.bfloat16
assert torch.sqrt(torch.arange(3)).dtype is torch.float32
"""


@pytest.mark.torch
def test_torch_is_wrong_however_it_is_asked():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHANGED],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_libraries_are_held_to_older_processors():
    program = "import numpy._core._multiarray_umath as m; print(sum(m.__cpu_features__[x] for x in m.__cpu_dispatch__))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], env=os.environ | older_processor(), capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "0"


def test_files_that_compare_exist():
    assert [path.name for path in places(COMPARE)] == list(COMPARE)


def test_few_parameter_sets_are_kept_at_equal_distances():
    name = next(name for name, count in COMPARE.items() if count == 4)
    everything = next(name for name, count in COMPARE.items() if count == ALL)
    first, second = (lambda: None), (lambda: None)
    items = [SimpleNamespace(path=Path(name), function=first, place=place) for place in range(12)]
    items += [SimpleNamespace(path=Path(name), function=second, place=12)]
    items += [SimpleNamespace(path=Path(everything), function=first, place=place) for place in range(13, 33)]
    assert [item.place for item in thinned(items, COMPARE)] == [0, 3, 6, 9, *range(12, 33)]

"""The tests that compare, computed as another processor might: `python tests/other_machine.py [pytest's arguments]`.

What a library is not obliged to round correctly comes out differently elsewhere, so a test that passes here may demand
what only this processor gives. This runs such tests

- with roots and reciprocals of torch's CPU tensors a unit in the last place too large in every fifth element (what
  torch gives depends on the processor: 0.6 % of roots are wrong on one, 18 % on another), and so with wrong quotients
  of a number by a tensor, which torch computes from reciprocals;
- with Numba, XLA, torch, NumPy and BLAS held to the instructions of older processors: other vectors, sums in another
  order.

This file is also the plugin of pytest that changes torch: `-p other_machine`.
"""

from __future__ import annotations

import os
import platform
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from helpers.selection import ALL, keep, places

HERE = Path(__file__).parent
EVERY = 5
"""One element of so many is wrong."""

TOO_LARGE, TOO_SMALL = np.inf, 0.0
"""What wrong roots and reciprocals are nearer to than right ones."""

# ---------------------------------------------------------------- torch's functions


def a_unit_off(right: Any, exact: Any, toward: float) -> Any:
    """A NumPy array, changed in every fifth element, but not where the result has not been rounded."""
    chosen = (np.arange(right.size).reshape(right.shape) % EVERY == 0) & np.isfinite(right) & (right != 0)
    return np.where(chosen & ~exact, np.nextafter(right, np.asarray(toward, right.dtype)), right)


def root(x: Any, toward: float = TOO_LARGE) -> Any:
    right = np.sqrt(x)
    return a_unit_off(right, right.astype(np.longdouble) ** 2 == x, toward)


def reciprocal(x: Any, toward: float = TOO_LARGE) -> Any:
    right = np.reciprocal(x)
    return a_unit_off(right, right.astype(np.longdouble) * x == 1, toward)


def of_tensors(function: Callable[[Any, float], Any], toward: float) -> Callable[[Any], Any]:
    """As torch's kernels on the CPU: 16 bits are computed in 32, integers give torch's usual dtype."""
    import torch

    def kernel(x: Any) -> Any:
        if x.is_complex():  # Nobody here compares roots of complex numbers.
            return torch.from_numpy(np.asarray(getattr(np, NUMPY_NAMES[function])(x.detach().resolve_conj().numpy())))
        dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
        wide = x.detach().to(dtype if dtype in (torch.float32, torch.float64) else torch.float32).resolve_neg()
        with np.errstate(all="ignore"):
            found = function(wide.numpy(), toward)
        return torch.empty_like(x, dtype=dtype).copy_(torch.from_numpy(found))

    return kernel


NUMPY_NAMES = {root: "sqrt", reciprocal: "reciprocal"}


def change_torch(toward: float = TOO_LARGE) -> None:
    """For the rest of this process, below autograd, transformations and multi-tensor functions."""
    import torch

    library = torch.library.Library("aten", "IMPL")
    change_torch.library = library  # type: ignore[attr-defined]  # Its kernels live as long as it does.

    def resized(out: Any, value: Any) -> Any:
        return (out if out.shape == value.shape else out.resize_(value.shape)).copy_(value)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Warning only once for all operators", UserWarning)
        for function, name in NUMPY_NAMES.items():
            kernel = of_tensors(function, toward)
            library.impl(name, kernel, "CPU")
            library.impl(f"{name}.out", lambda x, *, out, kernel=kernel: resized(out, kernel(x)), "CPU")
            library.impl(f"{name}_", lambda x, kernel=kernel: x.copy_(kernel(x)), "CPU")


# ---------------------------------------------------------------- what runs

COMPARE = {
    # Ways to run a program beside NumPy's whole arrays, bit for bit or within the published bounds.
    "test_lowering.py": ALL,
    "test_fused.py": 4, "test_fused_again.py": ALL, "test_fused_properties.py": ALL, "test_reductions.py": 12,
    "test_parity.py": 60, "test_parity_table.py": 20, "test_vectors.py": 12, "test_nonfinite.py": 12,
    "test_user_optimizer.py": ALL, "test_conventions.py": ALL, "test_functional.py": ALL, "test_backends.py": ALL,
    # 16 bits: a float32 step that is an eps off seldom rounds to a neighbour.
    "test_low_precision.py": 200, "test_low_precision_table.py": 20,
    # Torch: its own arithmetic, threads and optimizers. (Its compiler keeps headers for the processor's own vectors in
    # one folder, with which code for none does not compile.)
    "test_torch_native.py": ALL, "test_torch_threads.py": ALL, "test_live_torch.py": ALL,
    "test_peer_defects.py": ALL, "test_frontend_torch.py": 8, "test_frontend_torch_around.py": 8,
    "test_frontend_torch_checkpoints.py": 8, "test_frontend_torch_optim_db.py": 4, "test_frontend_torch_wrap.py": 8,
    "test_frontend_torch_defects.py": ALL,
    # JAX: what XLA joins into one loop.
    "test_jax_functional.py": 2, "test_jax_transformations.py": 2, "test_jax_sharding.py": ALL,
    "test_jax_loops.py": ALL, "test_live_optax.py": 8, "test_optimizer_values.py": 4,
    # Whole trainings, in which sums are BLAS's.
    "test_train_digits.py": 4, "test_readme.py": ALL, "test_frontend_scipy.py": ALL,
}  # fmt: skip
"""The files of tests that compare what libraries compute, and how many parameter sets of each test run at most."""


# ---------------------------------------------------------------- the plugin


def pytest_addoption(parser: Any) -> None:
    parser.addoption("--thinned", action="store_true", help="fewer parameter sets, as `COMPARE` says")


def pytest_configure(config: Any) -> None:
    change_torch()


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    if config.getoption("thinned"):
        keep(config, items, COMPARE)


# ---------------------------------------------------------------- the run


def older_processor() -> dict[str, str]:
    """Environment variables that hold libraries to instructions which every processor of this kind has."""
    import numpy._core._multiarray_umath as numpy_core

    held = {
        "NUMBA_CPU_NAME": "generic",
        "NPY_DISABLE_CPU_FEATURES": " ".join(numpy_core.__cpu_dispatch__),
        "ATEN_CPU_CAPABILITY": "default",
    }
    if platform.machine().lower() in ("x86_64", "amd64"):
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_max_isa=AVX2".strip()
        held |= {"OPENBLAS_CORETYPE": "Nehalem", "MKL_CBWR": "COMPATIBLE", "XLA_FLAGS": flags}
    return held


def main(arguments: list[str]) -> None:
    """Run pytest in this process's place; without arguments, on the files of `COMPARE`."""
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | older_processor() | {"PYTHONPATH": path}
    chosen = ["-n", "2", "--thinned", *places(COMPARE)]
    command = [sys.executable, "-m", "pytest", "-p", "other_machine", *(arguments or chosen)]
    os.execve(sys.executable, command, environment)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Things that are given in place of arrays, by name: each is made anew, because a step may write into it."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np

from gradwise.backends import Variable


class Imitation:
    """Has what an array has, and is none."""

    dtype, shape, ndim, size = "float32", (3,), 1, 3

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return [1.0, 1.0, 1.0][index]


def _read_only():
    array = np.ones(3)
    array.setflags(write=False)
    return array


def _strict():
    import array_api_strict

    return array_api_strict.ones(3)


THINGS = {
    "None": lambda: None,
    "True": lambda: True,
    "zero": lambda: 0,
    "one": lambda: 1,
    "minus one": lambda: -1,
    "half": lambda: 0.5,
    "NaN": lambda: math.nan,
    "infinity": lambda: math.inf,
    "a huge integer": lambda: 10**400,
    "complex": lambda: 1j,
    "text": lambda: "abc",
    "bytes": lambda: b"abc",
    "an empty list": list,
    "an empty dictionary": dict,
    "a list of numbers": lambda: [1.0, 1.0, 1.0],
    "a tuple of numbers": lambda: (1.0, 1.0, 1.0),
    "a ragged list": lambda: [[1.0], [1.0, 2.0]],
    "a set": lambda: {1.0},
    "a dictionary": lambda: {"kernel": 1.0},
    "a range": lambda: range(3),
    "an iterator": lambda: iter([1.0, 2.0, 3.0]),
    "a generator": lambda: (each for each in (np.ones(2), np.ones(3))),
    "an object": object,
    "a class": lambda: np.ndarray,
    "a module": lambda: math,
    "an imitation": Imitation,
    "float64": lambda: np.ones(3),
    "float32": lambda: np.ones(3, np.float32),
    "float16": lambda: np.ones(3, np.float16),
    "bfloat16": lambda: np.ones(3, ml_dtypes.bfloat16),
    "float8": lambda: np.ones(3, ml_dtypes.float8_e4m3fn),
    "int4": lambda: np.ones(3, ml_dtypes.int4),
    "int64": lambda: np.ones(3, np.int64),
    "uint64": lambda: np.ones(3, np.uint64),
    "bool": lambda: np.ones(3, bool),
    "complex128": lambda: np.ones(3, complex),
    "longdouble": lambda: np.ones(3, np.longdouble),
    "objects": lambda: np.array([1, None, "x"], object),
    "strings": lambda: np.array(["a", "b", "c"]),
    "structured": lambda: np.zeros(3, [("a", "f4")]),
    "dates": lambda: np.ones(3, "M8[D]"),
    "big-endian float32": lambda: np.ones(3, ">f4"),
    "big-endian float64": lambda: np.ones(3, ">f8"),
    "big-endian int32": lambda: np.ones(3, ">i4"),
    "of another shape": lambda: np.ones(4),
    "a column": lambda: np.ones((3, 1)),
    "a row": lambda: np.ones((1, 3)),
    "of one element": lambda: np.ones(1),
    "0-d": lambda: np.ones(()),
    "a NumPy scalar": lambda: np.float64(1),
    "empty": lambda: np.ones(0),
    "empty with an axis": lambda: np.ones((0, 3)),
    "of many axes": lambda: np.ones((1,) * 32),
    "strided": lambda: np.ones(12)[::4],
    "reversed": lambda: np.ones(3)[::-1],
    "unaligned": lambda: np.frombuffer(bytearray(25), np.uint8)[1:].view(np.float64),
    "read-only": _read_only,
    "broadcast": lambda: np.broadcast_to(1.0, (3,)),
    "a subclass": lambda: np.ones(3).view(np.recarray),
    "masked": lambda: np.ma.array(np.ones(3), mask=[1, 0, 0]),
    "all NaN": lambda: np.full(3, np.nan),
    "enormous": lambda: np.full(3, 1e308),
    "a cell": lambda: Variable(np.ones(3), name="stranger"),
    "a cell of a number": lambda: Variable(1.0),
    "a cell of integers": lambda: Variable(np.ones(3, int)),
    "of array_api_strict": _strict,
    "a list of arrays": lambda: [np.ones(2), np.ones(3)],
    "a dictionary of arrays": lambda: {"kernel": np.ones(2), "bias": np.ones(3)},
    "pairs": lambda: [(np.ones(2), np.ones(2))],
}


def _torch_things():
    import torch

    def inference():
        with torch.inference_mode():
            return torch.ones(3)

    return {
        "torch float32": lambda: torch.ones(3),
        "torch float64": lambda: torch.ones(3, dtype=torch.float64),
        "torch bfloat16": lambda: torch.ones(3, dtype=torch.bfloat16),
        "torch float8": lambda: torch.ones(3, dtype=torch.float8_e4m3fn),
        "torch int32": lambda: torch.ones(3, dtype=torch.int32),
        "torch uint16": lambda: torch.ones(3, dtype=torch.uint16),
        "torch bool": lambda: torch.ones(3, dtype=torch.bool),
        "torch complex64": lambda: torch.ones(3, dtype=torch.complex64),
        "torch of another shape": lambda: torch.ones(3, 1),
        "torch 0-d": lambda: torch.ones(()),
        "torch empty": lambda: torch.ones(0),
        "torch strided": lambda: torch.ones(6)[::2],
        "torch expanded": lambda: torch.ones(1).expand(3),
        "torch negated later": lambda: torch.ones(3, dtype=torch.complex64).conj().imag,
        "torch sparse": lambda: torch.ones(3).to_sparse_coo(),
        "torch on meta": lambda: torch.ones(3, device="meta"),
        "torch leaf": lambda: torch.ones(3, requires_grad=True),
        "torch result": lambda: torch.ones(3, requires_grad=True) * 2,
        "torch in inference": inference,
        "torch dtype": lambda: torch.float32,
    }


def _jax_things():
    import jax
    import jax.numpy as jnp

    def deleted():
        array = jnp.ones(3)
        array.delete()
        return array

    return {
        "jax float32": lambda: jnp.ones(3),
        "jax bfloat16": lambda: jnp.ones(3, jnp.bfloat16),
        "jax float8": lambda: jnp.ones(3, jnp.float8_e4m3fn),
        "jax int32": lambda: jnp.ones(3, jnp.int32),
        "jax bool": lambda: jnp.ones(3, bool),
        "jax complex64": lambda: jnp.ones(3, jnp.complex64),
        "jax float0": lambda: np.zeros(3, jax.dtypes.float0),
        "jax of another shape": lambda: jnp.ones((3, 1)),
        "jax 0-d": lambda: jnp.ones(()),
        "jax empty": lambda: jnp.ones(0),
        "jax key": lambda: jax.random.key(0),
        "jax keys": lambda: jax.random.split(jax.random.key(0), 3),
        "jax shape": lambda: jax.ShapeDtypeStruct((3,), jnp.float32),
        "jax deleted": deleted,
    }


def things(library):
    """What there is in the tests of one library: that which belongs to none, and its own."""
    return {**THINGS, **{"numpy": dict, "torch": _torch_things, "jax": _jax_things}[library]()}

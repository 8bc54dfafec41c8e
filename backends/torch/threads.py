"""Torch's own threads, lent to compiled passes over tensors.

After each of its operations torch lets its threads wait awake for the next one, for milliseconds. A pass in other
threads would share the processors with them: on two processors it takes a fifth longer. So on tensors a pass is given
to the team of threads that OpenMP keeps for torch, where that is the OpenMP of GNU and already loaded.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Sequence
from typing import Any

import numpy
import torch

from ..kernels.threads import asked_threads

_FORKED: list[bool] = []


class TorchThreads:
    """OpenMP's threads, lent to compiled code: a `Team` of `kernels/table.py`."""

    def __init__(self, parallel: Any) -> None:
        self._parallel = parallel

    def size(self) -> int:
        """As many as torch is set to use."""
        return asked_threads() or int(torch.get_num_threads())

    def ready(
        self, function: int, shares: Sequence[Any], addresses: Any, scalars: Any, sums: Any, threads: int
    ) -> functools.partial[Any]:
        """A call that has all shares done. Python's own threads run meanwhile; an interruption waits until the end."""
        work = numpy.concatenate(shares)
        bounds = numpy.cumsum([0, *map(len, shares)], dtype=numpy.int64)
        following = numpy.zeros(1, dtype=numpy.int64)
        arrays = addresses, scalars, sums
        fields = numpy.array(
            [following.ctypes.data, bounds.ctypes.data, len(shares), work.ctypes.data,
             *(number for array in arrays for number in (array.ctypes.data, *array.shape))],
            dtype=numpy.int64,
        )  # fmt: skip
        call: Any = functools.partial(self._parallel, function, fields.ctypes.data, threads, 0)
        # What is known by its address only has to live as long as the call.
        call.kept = fields, following, bounds, work, arrays
        return call  # type: ignore[no-any-return]  # a partial, which may keep more


def torch_threads() -> TorchThreads | None:
    """Torch's threads, if they can be had."""
    # A child process has none of its parent's threads, and GNU's OpenMP would wait for them.
    return None if _FORKED else _loaded()


@functools.cache
def _loaded() -> TorchThreads | None:
    if not hasattr(os, "RTLD_NOLOAD") or "OpenMP" not in torch.__config__.parallel_info().partition("Environment")[0]:
        return None
    try:
        parallel = ctypes.CDLL("libgomp.so.1", mode=os.RTLD_NOLOAD).GOMP_parallel
    except (OSError, AttributeError):
        return None
    parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    parallel.restype = None
    return TorchThreads(parallel)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _FORKED.append(True))

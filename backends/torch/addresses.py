"""Where torch's CPU tensors lie and whether they are plain, asked of many at once through torch's interface for C.

Asking each tensor in Python takes longer than a step of a small model, and a storage's length longer still. The
functions are those that torch keeps unchanged for compiled models; a tensor's handle there is a place that holds what
`_cdata` says. Whether this is so is tried out once.
"""

from __future__ import annotations

import ctypes
import functools
import math
import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import torch

from ..kernels.compiled import compiled
from ..kernels.layouts import ELEMENTS, ITEM, KIND, LENGTHS, layouts, lies_so
from ..kernels.lists import readable, tried_out
from ..kernels.placeholders import asked, carray, pointer, room
from ..strides import Order

_QUESTIONS = ("device_type", "dtype", "dim", "sizes", "strides", "storage_offset", "storage_size", "data_ptr")
_DEVICE, _DTYPE, _AXES, _LENGTHS, _STRIDES, _OFFSET, _STORAGE, _DATA = range(len(_QUESTIONS))
_INT = 0xFFFFFFFF
_LIBRARIES = "libtorch_cpu.so", "libtorch_cpu.dylib", "torch_cpu.dll"
_implementation = operator.attrgetter("_cdata")


# It holds Python's lock, so that nobody changes a tensor meanwhile. Where it cannot be compiled, nothing is ever found
# to be like before, and each step looks for itself.
@compiled(
    "boolean(int64[::1], int64[::1], int64[:, ::1], int64[:, ::1])",
    otherwise=lambda *_: False, with_lock=True,
)  # fmt: skip
def _look(functions: Any, handles: Any, expected: Any, addresses: Any) -> bool:
    """Whether tensors lie on the CPU as expected, in storages that are long enough; and where they lie.

    Args:
        functions: the addresses of those that answer the questions.
        handles: what each tensor's handle holds.
        expected: the rows of `layouts`.
        addresses: is filled; a row for each parameter, the gradient's is the last.
    """
    rows, last = addresses.shape[0], addresses.shape[1] - 1
    place = room(64)
    answers = carray(pointer(place), (8,), dtype=numpy.int64)
    for position in range(handles.size):
        answers[:] = 0
        for question in range(functions.size):
            if asked(functions[question], handles.ctypes.data + 8 * position, place + 8 * question) != 0:
                return False
        if answers[_DEVICE] & _INT != 0 or answers[_DTYPE] & _INT != expected[position, KIND]:
            return False
        if not lies_so(answers[_LENGTHS], answers[_STRIDES], answers[_AXES], 1, expected, position):
            return False
        elements, start = expected[position, ELEMENTS], answers[_DATA]
        end = (answers[_OFFSET] + elements) * expected[position, ITEM]
        if elements > 0 and (start == 0 or end > answers[_STORAGE]):
            return False
        if position >= rows * last:
            addresses[position - rows * last, last] = start
        else:
            addresses[position // last, position % last] = start
    return True


@functools.cache
def _functions() -> tuple[Any, Any] | None:
    """Torch's functions for C: what gives a dtype, and the addresses of all; None if it has none."""
    for path in (Path(torch.__file__).parent / "lib" / name for name in _LIBRARIES):
        if path.exists():
            try:
                library = ctypes.CDLL(str(path))
                found = [getattr(library, f"aoti_torch_get_{question}") for question in _QUESTIONS]
            except (OSError, AttributeError):
                return None
            addresses = [ctypes.cast(each, ctypes.c_void_p).value for each in found]
            return found[_DTYPE], numpy.array(addresses, dtype=numpy.int64)
    return None


@functools.cache
def _number_of(dtype: Any) -> int:
    """What stands for a dtype in torch's interface for C."""
    functions = _functions()
    assert functions is not None
    example, number = torch.empty(1, dtype=dtype), ctypes.c_int32()
    if functions[0](ctypes.byref(ctypes.c_void_p(example._cdata)), ctypes.byref(number)) != 0:
        raise RuntimeError(f"Torch does not say what stands for {dtype}.")
    return number.value


class Questions:
    """What tells at a glance where tensors lie. See `Backend.lookout`.

    Args:
        shapes: of the parameters.
        orders: in which their elements lie.
        dtypes: torch's own, of the arrays of each parameter and of its gradient.
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], orders: Sequence[Order], dtypes: Sequence[Any]) -> None:
        functions = _functions()
        assert functions is not None
        self._functions = functions[1]
        self._expected = layouts(shapes, orders, [(_number_of(dtype), dtype.itemsize) for dtype in dtypes])
        self._size = len(shapes), len(dtypes)

    def __call__(self, tensors: Sequence[Any]) -> Any:
        """The addresses of held tensors and of gradients, or None. All are tensors with a storage, and are kept."""
        if len(tensors) != len(self._expected):
            return None
        addresses = numpy.empty(self._size, dtype=numpy.int64)
        handles = numpy.fromiter(map(_implementation, tensors), numpy.int64, len(tensors))
        return addresses if _look.run(self._functions, handles, self._expected, addresses) else None


class RowQuestions:
    """What tells at a glance where the arrays of one parameter and a gradient of some of its rows lie.

    Args:
        shape: of the parameter, which is row-major.
        axes: how many of its axes, the first, name a row.
        dtypes: torch's own, of its arrays and of the gradient's rows.
    """

    def __init__(self, shape: tuple[int, ...], axes: int, dtypes: Sequence[Any]) -> None:
        functions = _functions()
        assert functions is not None
        self._functions = functions[1]
        kinds = [(_number_of(dtype), dtype.itemsize) for dtype in (*dtypes, torch.int64)]
        # How many rows there are, each step tells.
        rows = layouts([shape, (0, *shape[axes:]), (axes, 0)], [None] * 3, [(0, 0)] * 2)
        self._expected = numpy.array([rows[min(max(0, place - len(dtypes) + 2), 2)] for place in range(len(kinds))])
        self._expected[:, [KIND, ITEM]] = kinds
        self._axes, self._row_size = axes, math.prod(shape[axes:])
        self._stride = LENGTHS + (self._expected.shape[1] - LENGTHS) // 2
        self._known = 0, self._expected

    def _expected_of(self, count: int) -> Any:
        """The rows of `layouts`, where the gradient has so many rows."""
        known, expected = self._known
        if count != known:
            expected = self._expected.copy()
            expected[-2, [ELEMENTS, LENGTHS]] = count * self._row_size, count
            expected[-1, [ELEMENTS, LENGTHS + 1, self._stride]] = self._axes * count, count, count
            # In one piece: another thread may look at the same time.
            self._known = count, expected
        return expected

    def __call__(self, tensors: Sequence[Any], count: int) -> Any:
        """The addresses of held tensors, of the gradient's rows and of its coordinates, or None; see `Questions`."""
        expected = self._expected_of(count)
        addresses = numpy.empty((1, len(expected)), dtype=numpy.int64)
        handles = numpy.fromiter(map(_implementation, tensors), numpy.int64, len(tensors))
        return addresses if _look.run(self._functions, handles, expected, addresses) else None


@tried_out
def works() -> bool:
    """Whether torch answers as is expected."""
    if _functions() is None or not readable():
        return False
    base = torch.zeros(4, 6)
    plain = [base, base[1:], base.t(), torch.nn.Parameter(torch.zeros(3)), torch.zeros(()), torch.zeros(0, 3)]
    orders = [None, None, (1, 6), None, None, None]
    found = Questions([tuple(tensor.shape) for tensor in plain], orders, [torch.float32] * 2)([*plain, *plain])
    short = torch.zeros(4, 6)
    short.untyped_storage().resize_(92)
    others = [base.t(), base[:, ::2], base.double(), base.int(), base[1:], short, torch._efficientzerotensor((4, 6))]
    return (
        found is not None
        and found.tolist() == [[tensor.data_ptr()] * 2 for tensor in plain]
        and all(Questions([(4, 6)], [None], [torch.float32] * 2)([base, other]) is None for other in others)
    )

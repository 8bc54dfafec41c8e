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
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import torch

from ..kernels.compiled import compiled
from ..kernels.layouts import ELEMENTS, ITEM, KIND, LENGTHS, layouts, lies_so
from ..kernels.lists import all_of_kinds, items_of, kind_of, readable, tried_out, word_at, word_of
from ..kernels.placeholders import Subroutine, asked, carray, pointer, room
from ..own_threads import in_own_thread
from ..strides import Order

_QUESTIONS = ("device_type", "dtype", "dim", "sizes", "strides", "storage_offset", "storage_size", "data_ptr")
_DEVICE, _DTYPE, _AXES, _LENGTHS, _STRIDES, _OFFSET, _STORAGE, _DATA = range(len(_QUESTIONS))
_INT = 0xFFFFFFFF
_WORDS = 24
"""So many words of 8 bytes the implementation of each tensor has at least."""
_LIBRARIES = "libtorch_cpu.so", "libtorch_cpu.dylib", "torch_cpu.dll"
_implementation = operator.attrgetter("_cdata")
# Calls of methods through `map` take half as long as in a loop.
_data_ptr, _is_neg = torch.Tensor.data_ptr, torch.Tensor.is_neg
_TENSOR, _PARAMETER = id(torch.Tensor), id(torch.nn.Parameter)


@Subroutine
def _start_of(
    handle: int, functions: Any, place: int, answers: Any, expected: Any, position: int, keys: int, strange: int
) -> int:
    """Where a tensor lies, if it lies on the CPU as expected, in a storage that is long enough; else -1.

    Args:
        handle: where its handle stands.
        functions: the addresses of those that answer the questions.
        place: where answers are put.
        answers: what stands there.
        expected: the rows of `layouts`.
        position: of the tensor's row.
        keys: the word of its implementation that says by which code it is handled; 0 if that is not known.
        strange: the bits that this word has of what is no plain tensor.
    """
    if keys > 0 and word_of(word_of(handle, 0), keys) & strange != 0:
        return -1
    answers[:] = 0
    for question in range(functions.size):
        if asked(functions[question], handle, place + 8 * question) != 0:
            return -1
    if answers[_DEVICE] & _INT != 0 or answers[_DTYPE] & _INT != expected[position, KIND]:
        return -1
    if not lies_so(answers[_LENGTHS], answers[_STRIDES], answers[_AXES], 1, expected, position):
        return -1
    elements = expected[position, ELEMENTS]
    end = (answers[_OFFSET] + elements) * expected[position, ITEM]
    if elements > 0 and (answers[_DATA] == 0 or end > answers[_STORAGE]):
        return -1
    return answers[_DATA]  # type: ignore[no-any-return]  # an array of numbers


# They hold Python's lock, so that nobody changes a tensor meanwhile. Where they cannot be compiled, nothing is ever
# found to be like before, and each step looks for itself.
@compiled(
    "boolean(int64[::1], int64[::1], int64[:, ::1], int64[:, ::1])",
    otherwise=lambda *_: False, with_lock=True,
)  # fmt: skip
def _look(functions: Any, handles: Any, expected: Any, addresses: Any) -> bool:
    """Where tensors lie, one after another; whether all lie as expected.

    Args:
        functions, expected: as of `_start_of`.
        handles: what each tensor's handle holds.
        addresses: is filled; a row for each parameter, the gradient's is the last.
    """
    rows, last = addresses.shape[0], addresses.shape[1] - 1
    place = room(64)
    answers = carray(pointer(place), (8,), dtype=numpy.int64)
    for position in range(handles.size):
        start = _start_of(handles.ctypes.data + 8 * position, functions, place, answers, expected, position, 0, 0)
        if start < 0:
            return False
        if position >= rows * last:
            addresses[position - rows * last, last] = start
        else:
            addresses[position // last, position % last] = start
    return True


@compiled(
    "boolean(int64[::1], int64, int64, int64, int64[:, ::1], int64[:, ::1], int64, int64, int64)",
    otherwise=lambda *_: False, with_lock=True,
)  # fmt: skip
def _look_in_list(
    functions: Any, tensors: int, kind: int, other: int, expected: Any, addresses: Any, handle: int, keys: int,
    strange: int,
) -> bool:  # fmt: skip
    """The same of what a list holds, if that is plain tensors of two classes.

    Args:
        functions, expected, addresses: as of `_look`.
        tensors: the identity of the list.
        kind, other: those of the classes.
        handle: the word of a tensor in Python that is its handle.
        keys, strange: as of `_start_of`.
    """
    rows, last = addresses.shape[0], addresses.shape[1] - 1
    items = items_of(tensors)
    place = room(64)
    answers = carray(pointer(place), (8,), dtype=numpy.int64)
    for position in range(items.size):
        if kind_of(items[position]) not in (kind, other):
            return False
        where = items[position] + 8 * handle
        start = _start_of(where, functions, place, answers, expected, position, keys, strange)
        if start < 0:
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


class Words(NamedTuple):
    """Where tensors themselves say what else each would have to be asked, in words of 8 bytes.

    Attributes:
        handle: the word of a tensor in Python that is its handle.
        keys: the word of its implementation that says by which code it is handled. What is sparse or wrapped by a
            transformation, and what is negated or conjugated only when it is read, shows it there.
        strange: the bits that this word has of no plain tensor.
    """

    handle: int
    keys: int
    strange: int


def _zeros(*shape: int) -> torch.Tensor:
    """Whatever the dtype and the device are that new tensors have unless something else is said."""
    return torch.zeros(shape, dtype=torch.float32, device="cpu")


@tried_out
@in_own_thread
def words() -> Words | None:
    """Which words these are; None if they are not what Python is told of the same tensors.

    In a thread of its own no mode or transformation of torch's reaches it that its caller is in: inside of
    `torch.func.grad` each new tensor is wrapped, for example, and in inference mode none is like others.
    """
    plain, numbers = _zeros(3), torch.zeros(3, dtype=torch.complex64, device="cpu").conj()
    some = [
        plain, torch.nn.Parameter(plain), plain[1:], torch._neg_view(plain), plain.to_sparse(), numbers, numbers.imag,
        plain.to("meta"), torch._efficientzerotensor((3,), device="cpu"),
    ]  # fmt: skip
    keys = [torch._C._dispatch_keys(tensor).raw_repr() for tensor in some]
    implementations = numpy.array(list(map(_implementation, some)), dtype=numpy.int64)
    told = numpy.array(keys, dtype=numpy.uint64).view(numpy.int64)
    # The first two words are those of every object in Python, and the first of an implementation leads to its code.
    objects = numpy.array(list(map(id, some)), dtype=numpy.int64)
    handle = _word_with(implementations, objects, range(2, torch.Tensor.__basicsize__ // 8))
    word = _word_with(told, implementations, range(1, _WORDS))
    return None if handle is None or word is None else Words(handle, word, ~int(told[0]))


def _word_with(expected: Any, structures: Any, places: Iterable[int]) -> int | None:
    """The place of the word that holds what is expected of each of some structures."""
    found = numpy.empty(len(structures), dtype=numpy.int64)
    for place in places:
        if word_at.run(structures, place, found) and (found == expected).all():
            return place
    return None


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
        self._words = words()

    def __call__(self, held: Sequence[Any], gradients: Sequence[Any], more: bool) -> Any:
        """The addresses of held tensors and of gradients, or None. All are kept.

        Args:
            held: one parameter's after another's.
            gradients: of the parameters.
            more: whether what is held was never looked at, or is only read.
        """
        tensors = [*held, *gradients]
        if len(tensors) != len(self._expected):
            return None
        addresses = numpy.empty(self._size, dtype=numpy.int64)
        functions, expected = self._functions, self._expected
        if self._words is not None:
            found = _look_in_list.run(
                functions, id(tensors), _TENSOR, _PARAMETER, expected, addresses, *self._words
            )  # fmt: skip
            return addresses if found else None
        if not all_of_kinds.run(id(tensors), _TENSOR, _PARAMETER) or not are_plain(tensors if more else gradients):
            return None
        return addresses if _look.run(functions, _handles_of(tensors), expected, addresses) else None


def are_plain(tensors: Sequence[Any]) -> bool:
    """Whether tensors have memory that can be read and is what they hold."""
    try:
        # What has none (sparse, wrapped by a transformation) raises.
        list(map(_data_ptr, tensors))
        # What is written would have been given other memory together with a negation that is put off.
        return not any(map(_is_neg, tensors))
    except RuntimeError:
        return False


def _handles_of(tensors: Sequence[Any]) -> Any:
    """What the handles of tensors hold."""
    return numpy.fromiter(map(_implementation, tensors), numpy.int64, len(tensors))


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
        handles = _handles_of(tensors)
        return addresses if _look.run(self._functions, handles, expected, addresses) else None


@tried_out
@in_own_thread
def works() -> bool:
    """Whether torch answers as is expected."""
    if _functions() is None or not readable():
        return False
    base = _zeros(4, 6)
    plain = [base, base[1:], base.t(), torch.nn.Parameter(_zeros(3)), _zeros(), _zeros(0, 3)]
    orders = [None, None, (1, 6), None, None, None]
    found = Questions([tuple(tensor.shape) for tensor in plain], orders, [torch.float32] * 2)(plain, plain, True)
    short = _zeros(4, 6)
    short.untyped_storage().resize_(92)
    nothing = torch._efficientzerotensor((4, 6), dtype=base.dtype, device=base.device)
    others = [base.t(), base[:, ::2], base.double(), base.int(), base[1:], short, nothing]
    return (
        found is not None
        and found.tolist() == [[tensor.data_ptr()] * 2 for tensor in plain]
        and all(Questions([(4, 6)], [None], [torch.float32] * 2)([base], [other], True) is None for other in others)
    )

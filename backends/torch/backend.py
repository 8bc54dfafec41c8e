"""PyTorch's tensors: on the CPU and on devices, spread over processes, differentiated, mapped and compiled."""

from __future__ import annotations

import ctypes
import functools
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any

import array_api_compat.torch
import numpy
import torch

from ..base import Backend
from ..dtypes import FLOATING, Array
from ..kernels.compiler import has_numba
from ..programs.interpreter import interpret
from ..programs.program import Program
from ..reductions import sum_of_squares
from ..rows import Rows
from ..scope import Mode
from ..strides import Order, dense_order, elements_overlap
from . import sparse, spread
from .agreement import Agreement
from .foreach import apply_to_lists, run_compiled
from .threads import torch_threads

_PLAIN = (torch.Tensor, torch.nn.Parameter)
_says_leaf, _layout_of = operator.attrgetter("is_leaf"), operator.attrgetter("layout")
_dtype_of, _is_nested = operator.attrgetter("dtype"), operator.attrgetter("is_nested")
_PLAIN_ONES = frozenset(_PLAIN)
_DTYPES = {name: getattr(torch, name) for name in FLOATING}
_NUMBERS = (torch.int64, torch.float64)
_NUMPY_KNOWS = (
    "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool",
)  # fmt: skip
"""The real dtypes that torch and NumPy have in common."""
# Private, but the only ways to ask; where they are missing, such tensors still show by type, requires_grad or address.
_is_functional_tensor = getattr(torch, "_is_functional_tensor", lambda x: False)
_is_zerotensor = getattr(torch.Tensor, "_is_zerotensor", lambda x: False)
_is_tracing = getattr(torch._C, "_is_tracing", lambda: False)
_watching_modes = getattr(torch._C, "_len_torch_dispatch_stack", lambda: 0)
_functorch = getattr(torch._C, "_functorch", None)
_is_functorch_wrapped = getattr(_functorch, "is_functorch_wrapped_tensor", lambda x: False)
_transformation = getattr(_functorch, "peek_interpreter_stack", lambda: None)


def _increments_of_lists() -> Callable[[list[Array]], None]:
    """What counts a change of each of several tensors, in one call where torch takes them together."""
    increment = torch.autograd.graph.increment_version
    try:
        increment([])
    except RuntimeError:

        def one_by_one(arrays: list[Array]) -> None:
            for array in arrays:
                increment(array)

        return one_by_one
    return increment


_increment_versions = _increments_of_lists()


def _known_to_numpy(array: Array) -> Array:
    """A CPU tensor of a kind that NumPy has: no bfloat16, no float8, no memory and no negation that is put off."""
    if _is_zerotensor(array):
        array = array.clone()
    narrow = array.dtype.is_floating_point and array.dtype not in (torch.float16, torch.float32, torch.float64)
    return array.float() if narrow else array.resolve_neg()


def _lent(array: Array) -> Any:
    """A dense CPU tensor's memory as a NumPy array of one axis, for as long as the tensor is kept. See `flat_view`.

    Torch's own way fixes the size of the storage for ever, so that its owner cannot give it back.
    """
    dtype = "uint16" if array.dtype is torch.bfloat16 else str(array.dtype).rpartition(".")[2]
    if array.numel() == 0:
        return numpy.empty(0, dtype=dtype)
    memory = (ctypes.c_byte * array.nbytes).from_address(array.data_ptr())
    return numpy.frombuffer(memory, dtype=dtype)


def _is_zero(value: Any) -> bool:
    """Whether a number is 0 and not -0."""
    return type(value) is float and value == 0.0 and math.copysign(1.0, value) > 0.0


def _has_memory(array: Array) -> bool:
    """Whether a strided tensor lies somewhere, in a storage that reaches as far as its elements."""
    count = array.numel()
    if count == 0:
        return True
    if not array.is_contiguous():
        count = 1 + sum((length - 1) * stride for length, stride in zip(array.shape, array.stride(), strict=True))
    # Torch's zeros that take no memory have a storage of their size, at no address.
    long_enough = (array.storage_offset() + count) * array.itemsize <= array.untyped_storage().nbytes()
    return bool(long_enough and not _is_zerotensor(array) and array.data_ptr())


class _Functions:
    """The standard's functions, as array-api-compat gives them but for some."""

    def __getattr__(self, name: str) -> Any:
        function = getattr(array_api_compat.torch, name)
        setattr(self, name, function)
        return function

    def sign(self, x: Array) -> Array:
        """Not by assigning NaN to elements, which torch's compiler cannot read where there are no axes."""
        return torch.where(torch.isnan(x), x, torch.sign(x))

    def sum(self, x: Array, **along: Any) -> Array:
        """Of all of a DTensor a plain number: see `spread`. Likewise `mean`, `max` and `min`."""
        whole = not along and spread.is_spread(x)
        return spread.sum_of(x) if whole else array_api_compat.torch.sum(x, **along)

    def mean(self, x: Array, **along: Any) -> Array:
        """See `sum`."""
        whole = not along and spread.is_spread(x)
        return spread.mean_of(x) if whole else array_api_compat.torch.mean(x, **along)

    def max(self, x: Array, **along: Any) -> Array:
        """See `sum`."""
        whole = not along and spread.is_spread(x)
        return spread.max_of(x) if whole else array_api_compat.torch.max(x, **along)

    def min(self, x: Array, **along: Any) -> Array:
        """See `sum`."""
        whole = not along and spread.is_spread(x)
        return -spread.max_of(-x) if whole else array_api_compat.torch.min(x, **along)


def _is_leaf(array: Array) -> bool:
    """Whether no differentiated operation has made it."""
    if torch.compiler.is_compiling():
        return bool(array.is_leaf)
    try:
        return bool(array.is_leaf)
    except RuntimeError:
        # So torch answers about a view that was made without a graph, once its memory has been written to.
        return True


class TorchBackend(Backend):
    """PyTorch tensors."""

    name = "torch"
    arrays_called = "torch's tensors"
    conversions = MappingProxyType({"numpy": "torch.from_numpy(array)"})
    how_gradients_come = "Call loss.backward() before the step"
    how_replaced = "the model was replaced by a copy, as by copy.deepcopy"
    how_names_come = "`model.named_parameters()`"
    how_parameters_come_first = "as in torch, `gradwise.frontends.torch.wrap({}, model.parameters())`"
    writable = True
    namespace = _Functions()

    def dtype(self, name: str) -> Any:
        """Torch's dtype of that name."""
        return _DTYPES.get(name) or getattr(torch, name)

    def cast(self, array: Array, name: str) -> Array:
        """The tensor in that dtype; differentiable."""
        return array.to(self.dtype(name))

    def full_like(self, array: Array, value: Any, name: str | None = None) -> Array:
        """A tensor that needs no gradient; mesh, place and memory format follow the reference."""
        dtype = None if name is None else self.dtype(name)
        if _is_zero(value):
            # Of large arrays, memory that nobody has touched yet. What goes without saying takes time to say.
            return torch.zeros_like(array) if dtype in (None, array.dtype) else torch.zeros_like(array, dtype=dtype)
        return torch.full_like(array, value, dtype=dtype, requires_grad=False)

    def all_full_like(self, arrays: Sequence[Array], value: Any, names: Sequence[str]) -> list[Array]:
        """Zeros in the tensors' own dtypes at once."""
        own = {name: self.dtype(name) for name in set(names)}
        if _is_zero(value) and list(map(_dtype_of, arrays)) == [own[name] for name in names]:
            return list(map(torch.zeros_like, arrays))
        return super().all_full_like(arrays, value, names)

    def full_beside(self, shape: tuple[int, ...], value: Any, name: str, like: Array) -> Array:
        """What belongs to a DTensor is one."""
        if spread.is_spread(like):
            return spread.full_beside(shape, value, self.dtype(name), like)
        return self.full(shape, value, name, like)

    def copy(self, array: Array) -> Array:
        """A detached clone."""
        return array.detach().clone()

    def from_numpy(self, array: Any, name: str, like: Array) -> Array:
        """Through a copy, so that the tensor shares no memory with the NumPy array."""
        if array.dtype.name not in _NUMPY_KNOWS or min(array.strides, default=0) < 0:
            # Such as the bfloat16 of ml_dtypes, which torch cannot read.
            array = numpy.array(array, dtype=numpy.float64)
        made = torch.tensor(array, dtype=self.dtype(name), device=like.device)
        return spread.spread_like(made, like) if spread.is_spread(like) else made

    def to_numpy(self, array: Array) -> Any:
        """A NumPy copy; bfloat16, which NumPy lacks, comes as float32. All processes must ask for a DTensor's."""
        return _known_to_numpy(spread.whole(array.detach()).cpu().clone()).numpy()

    def number(self, value: float | int, like: Array) -> Array:
        """A 0-d tensor on the CPU, where reading it waits for no device."""
        return torch.tensor(value, dtype=torch.int64 if isinstance(value, int) else torch.float64)

    def concrete(self, array: Array) -> bool:
        """Plain CPU tensors that are not being differentiated, mapped or compiled."""
        return (
            type(array) in _PLAIN
            and array.device.type == "cpu"
            and not (array.requires_grad and torch.is_grad_enabled())
            and not torch.compiler.is_compiling()
            and not _is_functorch_wrapped(array)
            and not _is_functional_tensor(array)
        )

    def item(self, array: Array) -> float | int:
        """The value of a 0-d tensor."""
        return array.item()  # type: ignore[no-any-return]  # of a 0-d tensor: a Python number

    def sqrt(self, array: Array) -> Array:
        """The square root, with derivative zero at zero."""
        # What torch.compile traces has no wrappers of torch.func to ask for, and cannot ask.
        wrapped = not torch.compiler.is_compiling() and self.traced(array)
        if not (wrapped or (array.requires_grad and torch.is_grad_enabled())):
            return torch.sqrt(array)
        at_zero = array == 0
        return torch.where(at_zero, array.detach(), torch.sqrt(torch.where(at_zero, torch.ones_like(array), array)))

    def is_trained(self, array: Array) -> bool:
        """A leaf that requires gradients."""
        return bool(array.requires_grad and _is_leaf(array))

    def why_not_variable(self, array: Array) -> str | None:
        """Results of differentiated operations, wrapped, inference and expanded tensors cannot be changed in place."""
        if self.traced(array):
            return "it is being transformed by torch.func. Use the optimizer's init and step, which return new values"
        if array.requires_grad and not _is_leaf(array):
            return (
                "it was computed by autograd and is no leaf. Pass `tensor.detach().requires_grad_()`, or the tensor "
                "that it was computed from"
            )
        if array.is_inference() and not torch.is_inference_mode_enabled():
            return "it was made in inference mode. Pass a clone"
        if not torch.compiler.is_compiling() and _is_zerotensor(array):
            return "it is one of torch's zeros that take no memory. Pass a clone"
        strided = array.layout is torch.strided and not array.is_contiguous()
        if strided and elements_overlap(array.shape, array.stride()):
            return "its elements share memory. Pass a clone"
        return None

    def all_variable(self, arrays: Sequence[Array]) -> bool:
        """Leaves that are parameters, asked one question after another."""
        return (
            set(map(type, arrays)) == {torch.nn.Parameter}
            and set(map(_layout_of, arrays)) == {torch.strided}
            and not torch.compiler.is_compiling()
            and all(map(_says_leaf, arrays))
            and not any(map(torch.Tensor.is_inference, arrays))
            and not any(map(_is_zerotensor, arrays))
            and all(map(torch.Tensor.is_contiguous, arrays))
            and not any(map(_is_functorch_wrapped, arrays))
        )

    def why_apart(self, array: Array, parameter: Array) -> str | None:
        """Torch computes on one device, and with DTensors of one mesh only."""
        if array.device == parameter.device:
            apart = spread.is_spread(array) or spread.is_spread(parameter)
            return spread.why_apart(array, parameter) if apart else None
        return f"lies on {array.device}, its parameter on {parameter.device}"

    def why_no_values(self, array: Array) -> str | None:
        """What `untyped_storage().resize_` took away, torch's own functions would read all the same."""
        if spread.is_spread(array) and not torch.compiler.is_compiling():
            array = spread.local_part(array)
        if torch.compiler.is_compiling() or type(array) not in _PLAIN or array.layout is not torch.strided:
            return None
        if array.is_nested:
            return "it is nested: pad it"
        if array.is_meta or _is_functorch_wrapped(array) or _is_zerotensor(array) or _has_memory(array):
            return None
        if _is_functional_tensor(array):
            return None
        held = array.untyped_storage().nbytes()
        return f"its storage holds {held} bytes and it needs more: its memory was given back"

    def traced(self, array: Array) -> bool:
        """Tensors wrapped by `torch.func`."""
        return bool(_is_functorch_wrapped(array))

    def not_dense(self, array: Array) -> str | None:
        """Any layout but the strided one, and what has several shapes."""
        # torch.compile cannot ask whether a tensor is nested.
        if not torch.compiler.is_compiling() and array.is_nested:
            return "nested"
        if array.layout == torch.strided:
            return None
        return f"in the layout {array.layout}" if array.is_mkldnn else "sparse"

    def rows(self, array: Array) -> Rows | None:
        """Of tensors in coordinates."""
        if type(array) not in _PLAIN or array.layout is not torch.sparse_coo or self.traced(array):
            return None
        array = array.detach()
        for part in (array._values(), array._indices()):
            if self.why_no_values(part) is not None:
                # Torch would add up what is not there; who looks at it says what is wrong.
                return Rows(array._indices(), part, tuple(array.shape), array.to_dense)
        return sparse.rows_of(array)

    def taken(self, array: Array, places: Any) -> Array:
        """By their indices."""
        return sparse.taken(array.detach(), places)

    def put(self, array: Array, places: Any, values: Array) -> None:
        """By their indices."""
        sparse.put(array, places, values)

    def arithmetic(self) -> AbstractContextManager[Any]:
        """An imperative step builds no graph."""
        return Mode(torch.is_grad_enabled, torch.set_grad_enabled, False)

    def write(self, target: Array, value: Array) -> None:
        """Copy in place, outside of any graph; autograd sees the new version."""
        with torch.no_grad():
            target.copy_(spread.placed_as(value, target) if spread.is_spread(target) else value)

    def computes_itself(self, array: Array) -> bool:
        """With classes of torch's own packages."""
        return type(array).__module__.partition(".")[0] == "torch"

    def extent(self, array: Array) -> tuple[int, int]:
        """That of the storage; wrapped tensors, which may hide it, count as lying everywhere."""
        if type(array) not in _PLAIN:
            return 0, 2**63
        storage = array.untyped_storage()
        return storage.data_ptr(), storage.data_ptr() + storage.nbytes()

    def may_share_memory(self, a: Array, b: Array) -> bool:
        """Whether both lie in one storage; wrapped tensors, which may hide it, count as sharing."""
        if type(a) not in _PLAIN or type(b) not in _PLAIN:
            return True
        if _is_zerotensor(a) or _is_zerotensor(b):
            return False
        return bool(a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr())

    def same_memory(self, a: Array, b: Array) -> bool:
        """By data pointer and strides."""
        return bool(a is b or (a.data_ptr() == b.data_ptr() and a.stride() == b.stride()))

    def fits_plainly(self, gradient: Array, parameter: Array) -> bool:
        """Two plain tensors of one dtype, shape and device."""
        return (
            type(gradient) is torch.Tensor
            and type(parameter) in _PLAIN
            and gradient.dtype is parameter.dtype
            and not gradient.is_nested
            and gradient.shape == parameter.shape
            and gradient.layout is torch.strided
            and gradient.device == parameter.device
            and not _is_functorch_wrapped(gradient)
            and not _is_functorch_wrapped(parameter)
        )

    shares_memory = True

    def order(self, array: Array) -> Order:
        """From the strides."""
        strided = type(array) in _PLAIN and array.layout is torch.strided and not array.is_nested
        return dense_order(array.shape, array.stride()) if strided and not array.is_contiguous() else None

    def address(self, array: Array, dtype: str, shape: tuple[int, ...], order: Order, write: bool) -> int | None:
        """Only plain tensors give it: nothing that is wrapped, fake, on a device, or being differentiated."""
        plain = type(array) in _PLAIN and array.is_cpu and array.dtype is _DTYPES.get(dtype)
        if not plain or array.layout is not torch.strided or array.is_nested or array.shape != shape:
            return None
        if not (array.is_contiguous() if order is None else dense_order(shape, array.stride()) == order):
            return None
        if array.is_neg() or not self.concrete(array) or not _has_memory(array):
            return None
        address = int(array.data_ptr())
        return None if address % array.itemsize else address

    def held_here(self, arrays: Sequence[Array]) -> Sequence[Array] | None:
        """Of DTensors their local tensors."""
        return spread.held_here(arrays) if spread.is_spread(arrays[0]) else arrays

    def rows_held_here(
        self, held: Sequence[Array], gradients: Sequence[Array]
    ) -> tuple[Sequence[Array], Sequence[Array]] | None:
        """See `held_here`."""
        return spread.rows_held_here(held, gradients)

    def lookout(
        self, shapes: Sequence[tuple[int, ...]], orders: Sequence[Order], dtypes: Sequence[str], read: int = 0
    ) -> Callable[..., Any] | None:
        """By torch's interface for C, if there is the compiler to ask it."""
        if not has_numba():
            return None
        from . import addresses, lookout

        if not addresses.works():
            return None
        return lookout.TensorLookout(shapes, orders, [_DTYPES[name] for name in dtypes], read)

    def row_lookout(
        self, shape: tuple[int, ...], axes: int, dtypes: Sequence[str]
    ) -> tuple[Any, Callable[[Sequence[Any], Sequence[Any]], Any]] | None:
        """Of gradients in coordinates."""
        if not has_numba():
            return None
        from ..kernels import rows
        from . import addresses, lookout

        if not addresses.works():
            return None
        table = rows.RowTable(shape, axes, dtypes, self.threads)
        return table, lookout.RowLookout(table, shape, axes, [_DTYPES[name] for name in dtypes])

    def watched(self) -> bool:
        """By torch's compiler or tracer, by `torch.func`, by a mode that sees all, or by forward differentiation."""
        return bool(
            torch.compiler.is_compiling()
            or _is_tracing()
            or _watching_modes()
            or _transformation() is not None
            or getattr(torch.autograd.forward_ad, "_current_level", -1) >= 0
        )

    def plain_number(self, array: Array) -> float | int | None:
        """On the CPU, and not differentiated."""
        plain = type(array) is torch.Tensor and array.dtype in _NUMBERS and not array.ndim
        if plain and self.concrete(array) and not array.is_neg() and _has_memory(array):
            return array.item()  # type: ignore[no-any-return]  # of these dtypes
        return None

    def empties(self, arrays: Sequence[Array]) -> list[Array]:
        """Tensors that need no gradient."""
        return list(map(torch.empty_like, arrays))

    def of_plain_class(self, array: Array) -> bool:
        """No subclass."""
        return type(array) in _PLAIN

    def plain_copy(self, array: Array, dtype: str, order: Order) -> Array:
        """By a copy into new memory: a clone of torch's zeros that take no memory takes none either."""
        if order is None:
            copy = torch.empty(array.shape, dtype=_DTYPES[dtype])
        else:
            copy = torch.empty_strided(array.shape, order, dtype=_DTYPES[dtype])
        return copy.copy_(array.detach())

    def flat_view(self, array: Array) -> Any:
        """Through NumPy, which shares the memory of CPU tensors."""
        return _lent(array)

    def threads(self) -> Any:
        """Torch's, which would otherwise be in the way."""
        return torch_threads()

    def logarithm_in_compiled_code(self, number: float) -> Array | None:
        """While torch's compiler reads, which compiles `math.log` for one number only."""
        if not torch.compiler.is_dynamo_compiling():
            return None
        return torch.log(torch.scalar_tensor(number, dtype=torch.float64))

    counts_writes = True

    def wrote(self, arrays: Sequence[Array]) -> None:
        """Autograd refuses a graph that saved an older version."""
        _increment_versions(list(arrays))

    program_way = "foreach"
    compiled_way = "compiled"

    def takes_programs(self, array: Array) -> bool:
        """Plain tensors on devices: on the CPU, multi-tensor functions gain nothing."""
        plain = type(array) in _PLAIN and array.layout is torch.strided
        return plain and array.device.type != "cpu" and not _is_functorch_wrapped(array)

    def run_program(
        self, program: Program, dtype: str, inputs: Sequence[Sequence[Array]], scalars: Sequence[float], compiled: bool
    ) -> list[list[Array]]:
        """By `torch._foreach_*` functions, a launch for each operation, not for each parameter; or by the compiler."""
        wide = [[tensor.detach().to(_DTYPES[dtype]) for tensor in tensors] for tensors in inputs]
        if compiled:
            return run_compiled(program, wide, scalars)
        return interpret(program, wide, scalars, functools.partial(apply_to_lists, like=wide[0]))

    def sum_of_squares(self, array: Array) -> Array:
        """On plain CPU tensors by the definition that all CPU paths share; elsewhere a 0-d tensor, read by nobody."""
        if spread.is_spread(array):
            return spread.sums_of_squares([array], self.sum_of_squares, alone=True)[0]
        if self.concrete(array):
            plain = _known_to_numpy(array.detach()).contiguous()
            return sum_of_squares(_lent(plain))
        return torch.sum(torch.square(array.to(torch.float64)))

    def sums_of_squares(self, arrays: Iterable[Array]) -> list[Array]:
        """With one exchange for all DTensors of a mesh."""
        return spread.sums_of_squares(arrays, self.sum_of_squares)

    def added_together(self, arrays: Sequence[Array], sums: Sequence[Sequence[float]]) -> list[list[float]]:
        """With one exchange for all DTensors of a mesh."""
        return spread.added_together(arrays, sums)

    def agreement(
        self, arrays: Sequence[Array], names: Sequence[str], present: Iterable[int], refused: int | None = None
    ) -> AbstractContextManager[Any] | None:
        """Of DTensors."""
        if _PLAIN_ONES.issuperset(map(type, arrays)):
            return None
        together = [position for position, array in enumerate(arrays) if spread.is_spread(array)]
        return Agreement(arrays, names, together, present, refused) if together else None

    def all_row_major(self, arrays: Sequence[Array]) -> bool:
        """Plain tensors, asked one question after another."""
        return (
            _PLAIN_ONES.issuperset(map(type, arrays))
            and set(map(_layout_of, arrays)) == {torch.strided}
            and not any(map(_is_nested, arrays))
            and all(map(torch.Tensor.is_contiguous, arrays))
        )

    def whereabouts(self, array: Array) -> str | None:
        """The placements of a DTensor."""
        return f"a DTensor {spread.placed(array)}" if spread.is_spread(array) else None

"""PyTorch tensors: CPU, CUDA, meta, DTensor, under autograd, torch.func and torch.compile."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import array_api_compat.torch
import torch

from . import torch_spread
from .base import FLOATING, Array, Backend, elements_overlap
from .interpreter import interpret
from .reductions import sum_of_squares
from .torch_foreach import apply_to_lists, run_compiled
from .torch_lookout import Lookout
from .torch_threads import torch_threads

_PLAIN = (torch.Tensor, torch.nn.Parameter)
_DTYPES = {name: getattr(torch, name) for name in FLOATING}
_NUMPY_KNOWS = (
    "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool",
)  # fmt: skip
"""The real dtypes that torch and NumPy have in common."""
# Private, but the only way to ask; where it is missing, wrapped tensors still show by their type or requires_grad.
_is_functorch_wrapped = getattr(getattr(torch._C, "_functorch", None), "is_functorch_wrapped_tensor", lambda x: False)


def _readable(array: Array) -> Array:
    """A CPU tensor that NumPy can read: it has no bfloat16, no float8 and no negation that is put off."""
    narrow = array.dtype.is_floating_point and array.dtype not in (torch.float16, torch.float32, torch.float64)
    return array.float() if narrow else array.resolve_neg()


class _Functions:
    """The standard's functions, as array-api-compat gives them but for one."""

    def __getattr__(self, name: str) -> Any:
        function = getattr(array_api_compat.torch, name)
        setattr(self, name, function)
        return function

    def sign(self, x: Array) -> Array:
        """Not by assigning NaN to elements, which torch's compiler cannot read where there are no axes."""
        return torch.where(torch.isnan(x), x, torch.sign(x))

    def sum(self, x: Array) -> Array:
        """Of a DTensor a plain number: see `torch_spread`. Likewise `mean` and `max`."""
        return torch_spread.sum_of(x) if torch_spread.is_spread(x) else array_api_compat.torch.sum(x)

    def mean(self, x: Array) -> Array:
        """See `sum`."""
        return torch_spread.mean_of(x) if torch_spread.is_spread(x) else array_api_compat.torch.mean(x)

    def max(self, x: Array) -> Array:
        """See `sum`."""
        return torch_spread.max_of(x) if torch_spread.is_spread(x) else array_api_compat.torch.max(x)


class TorchBackend(Backend):
    """PyTorch tensors."""

    name = "torch"
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
        return torch.full_like(array, value, dtype=dtype, requires_grad=False)

    def copy(self, array: Array) -> Array:
        """A detached clone."""
        return array.detach().clone()

    def from_numpy(self, array: Any, name: str, like: Array) -> Array:
        """Through a copy, so that the tensor shares no memory with the NumPy array."""
        import numpy

        if array.dtype.name not in _NUMPY_KNOWS or min(array.strides, default=0) < 0:
            # Such as the bfloat16 of ml_dtypes, which torch cannot read.
            array = numpy.array(array, dtype=numpy.float64)
        made = torch.tensor(array, dtype=self.dtype(name), device=like.device)
        return torch_spread.spread_like(made, like) if torch_spread.is_spread(like) else made

    def to_numpy(self, array: Array) -> Any:
        """A NumPy copy; bfloat16, which NumPy lacks, comes as float32. All processes must ask for a DTensor's."""
        return _readable(torch_spread.whole(array.detach()).cpu().clone()).numpy()

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

    def why_not_variable(self, array: Array) -> str | None:
        """Results of differentiated operations, wrapped, inference and expanded tensors cannot be changed in place."""
        if self.traced(array):
            return "it is being transformed by torch.func: use the optimizer's init and step, which return new values"
        if array.requires_grad and not array.is_leaf:
            return "it is the result of a differentiated operation: pass the leaf it was computed from, or its detach()"
        if array.is_inference() and not torch.is_inference_mode_enabled():
            return "it was made in inference mode: pass a clone"
        if array.layout is torch.strided and elements_overlap(array.shape, array.stride()):
            return "its elements share memory: pass a clone"
        return None

    def why_apart(self, array: Array, parameter: Array) -> str | None:
        """Torch computes on one device, and with DTensors of one mesh only."""
        if array.device == parameter.device:
            apart = torch_spread.is_spread(array) or torch_spread.is_spread(parameter)
            return torch_spread.why_apart(array, parameter) if apart else None
        return f"lies on {array.device}, its parameter on {parameter.device}"

    def traced(self, array: Array) -> bool:
        """Tensors wrapped by `torch.func`."""
        return bool(_is_functorch_wrapped(array))

    def sparse(self, array: Array) -> bool:
        """Any layout but the strided one."""
        return bool(array.layout != torch.strided)

    def arithmetic(self) -> AbstractContextManager[Any]:
        """An imperative step builds no graph."""
        return torch.no_grad()

    def write(self, target: Array, value: Array) -> None:
        """Copy in place, outside of any graph; autograd sees the new version."""
        with torch.no_grad():
            target.copy_(value)

    def may_share_memory(self, a: Array, b: Array) -> bool:
        """Whether both lie in one storage; wrapped tensors, which may hide it, count as sharing."""
        if type(a) not in _PLAIN or type(b) not in _PLAIN:
            return True
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
            and gradient.shape == parameter.shape
            and gradient.layout is torch.strided
            and gradient.device == parameter.device
            and not _is_functorch_wrapped(gradient)
            and not _is_functorch_wrapped(parameter)
        )

    shares_memory = True

    def address(self, array: Array, dtype: str, write: bool) -> int | None:
        """Only plain tensors give it: nothing that is wrapped, fake, on a device, or being differentiated."""
        plain = type(array) in _PLAIN and array.is_cpu and array.dtype is _DTYPES.get(dtype)
        if not plain or array.layout is not torch.strided or not array.is_contiguous() or array.is_neg():
            return None
        return int(array.data_ptr()) if self.concrete(array) else None

    def lookout(self, held: Sequence[Sequence[Array]], dtype: str) -> Callable[[Sequence[Any]], Any] | None:
        """Asked of each tensor, as few questions as tell."""
        return Lookout(held, _DTYPES[dtype])

    def still_at(self, array: Array, address: int) -> bool:
        """The data of a tensor may have been replaced or transposed."""
        return bool(array.data_ptr() == address and array.is_contiguous())

    def of_plain_class(self, array: Array) -> bool:
        """No subclass."""
        return type(array) in _PLAIN

    def plain_copy(self, array: Array, dtype: str) -> Array:
        """A contiguous copy."""
        return array.detach().to(_DTYPES[dtype]).clone(memory_format=torch.contiguous_format)

    def flat_view(self, array: Array) -> Any:
        """Through NumPy, which shares the memory of CPU tensors."""
        return array.detach().view(-1).numpy()

    def threads(self) -> Any:
        """Torch's, which would otherwise be in the way."""
        return torch_threads()

    def logarithm_in_compiled_code(self, number: float) -> Array | None:
        """While torch's compiler reads, which compiles `math.log` for one number only."""
        if not torch.compiler.is_dynamo_compiling():
            return None
        return torch.log(torch.scalar_tensor(number, dtype=torch.float64))

    def wrote(self, arrays: Sequence[Array]) -> None:
        """Autograd refuses a graph that saved an older version."""
        torch.autograd.graph.increment_version(list(arrays))

    program_way = "foreach"
    compiled_way = "compiled"

    def takes_programs(self, array: Array) -> bool:
        """Plain tensors on devices: on the CPU, multi-tensor functions gain nothing."""
        plain = type(array) in _PLAIN and array.layout is torch.strided
        return plain and array.device.type != "cpu" and not _is_functorch_wrapped(array)

    def run_program(
        self, program: Any, dtype: str, inputs: Sequence[Sequence[Array]], scalars: Sequence[float], compiled: bool
    ) -> list[list[Array]]:
        """By `torch._foreach_*` functions, a launch for each operation, not for each parameter; or by the compiler."""
        wide = [[tensor.detach().to(_DTYPES[dtype]) for tensor in tensors] for tensors in inputs]
        if compiled:
            return run_compiled(program, wide, scalars)
        return interpret(program, wide, scalars, functools.partial(apply_to_lists, like=wide[0]))

    def sum_of_squares(self, array: Array) -> Array:
        """On plain CPU tensors by the definition that all CPU paths share; elsewhere a 0-d tensor, read by nobody."""
        if torch_spread.is_spread(array):
            return self.sums_of_squares([array])[0]
        if self.concrete(array):
            return sum_of_squares(_readable(array.detach()).numpy())
        return torch.sum(torch.square(array.to(torch.float64)))

    def sums_of_squares(self, arrays: Iterable[Array]) -> list[Array]:
        """With one exchange for all DTensors of a mesh."""
        return torch_spread.sums_of_squares(arrays, self.sum_of_squares)

    def whereabouts(self, array: Array) -> str | None:
        """The placements of a DTensor."""
        return f"a DTensor {torch_spread.placed(array)}" if torch_spread.is_spread(array) else None

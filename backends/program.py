"""Recording: a rule run on symbols becomes a straight-line program.

Arrays and scalars are recorded apart. Scalars (rates, step counts and what follows from them) are evaluated once a step
on the host in double precision; array operations are what a lowering turns into one pass over memory. What a symbol
cannot answer (its truth, its value, its length) raises `Unrecordable`, which means: run this rule eagerly.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .base import Array, Backend, is_number
from .detect import HOST, register_type

ELEMENTWISE = (
    "add", "subtract", "multiply", "divide", "negative", "square", "sqrt", "abs", "sign", "maximum", "minimum",
    "select", "less", "less_equal", "greater", "greater_equal", "fill",
)  # fmt: skip
"""Array operations with one result in IEEE arithmetic, so that every lowering gives the same bits."""


class Unrecordable(Exception):
    """A rule did something that cannot be recorded; the message says what, and in which line."""


class Program(NamedTuple):
    """A recorded rule for one parameter.

    Attributes:
        inputs: the number of arrays read; operand k < inputs is the k-th of them.
        operations: of arrays; the i-th makes operand `inputs + i`. Operands are ("array", k) or ("scalar", k).
        outputs: pairs of an input and the operand written to it at the end.
        scalars: which scalar values the array operations use; ("scalar", k) is the k-th of them.
        scalar_inputs: the names of the values that change from step to step.
        constants: the numbers the rule brought.
        scalar_operations: over inputs, then constants, then their own results.
    """

    inputs: int
    operations: tuple[tuple[str, tuple[tuple[str, int], ...]], ...]
    outputs: tuple[tuple[int, int], ...]
    scalars: tuple[int, ...]
    scalar_inputs: tuple[str, ...]
    constants: tuple[float, ...]
    scalar_operations: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def structure(self) -> Any:
        """What a kernel depends on: no number is part of it."""
        return self.inputs, self.operations, self.outputs, len(self.scalars)

    def traffic(self, item_size: int) -> int:
        """Bytes moved for each parameter: what is read and what is written."""
        used = {number for _, operands in self.operations for kind, number in operands if kind == "array"}
        used |= {number for _, number in self.outputs}
        reads = sum(1 for number in range(self.inputs) if number in used)
        return item_size * (reads + len(self.outputs))

    def __str__(self) -> str:
        names = [*self.scalar_inputs, *(f"{constant:.17g}" for constant in self.constants)]
        first = len(names)
        lines = []
        for position, (name, operands) in enumerate(self.scalar_operations, first):
            names.append(f"s{position}")
            lines.append(f"s{position} = {name}({', '.join(names[operand] for operand in operands)})")
        for position, (name, typed) in enumerate(self.operations, self.inputs):
            shown = [f"a{number}" if kind == "array" else names[self.scalars[number]] for kind, number in typed]
            lines.append(f"a{position} = {name}({', '.join(shown)})")
        lines += [f"write a{target} <- a{source}" for target, source in self.outputs]
        return "\n".join(lines)


class Symbol:
    """What a rule receives in place of an array or a scalar while it is recorded."""

    __slots__ = ("dtype", "dtype_name", "number", "recorder", "shape")
    __array_ufunc__ = None

    def __init__(
        self, recorder: Recorder, number: int, dtype_name: str, dtype: Any, shape: tuple[int, ...] | None
    ) -> None:
        self.recorder = recorder
        self.number = number
        self.dtype_name = dtype_name
        self.dtype = dtype
        self.shape = shape if shape is not None else ()

    @property
    def is_scalar(self) -> bool:
        """Whether the host evaluates it."""
        return self.recorder.is_scalar(self)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def _refuse(self, what: str) -> Any:
        raise Unrecordable(f"{what} in {_line_outside()}")

    def __bool__(self) -> bool:
        return bool(self._refuse("the truth of a value that is only known as the step runs"))

    def __float__(self) -> float:
        return float(self._refuse("float() of a value that is only known as the step runs"))

    def __int__(self) -> int:
        return int(self._refuse("int() of a value that is only known as the step runs"))

    __index__ = __int__

    def __len__(self) -> int:
        return int(self._refuse("len() of an array"))

    def __iter__(self) -> Any:
        return self._refuse("iteration over an array")

    def __getitem__(self, key: Any) -> Any:
        return self._refuse("indexing of an array")

    def __pow__(self, other: Any) -> Any:
        if is_number(other) and other == 2 and not self.is_scalar:
            return self.recorder.apply("multiply", self, self)
        return self.recorder.apply("power", self, other)

    def __rpow__(self, other: Any) -> Any:
        return self.recorder.apply("power", other, self)

    def __neg__(self) -> Any:
        return self.recorder.apply("negative", self)

    def __abs__(self) -> Any:
        return self.recorder.apply("abs", self)

    __hash__ = object.__hash__


def _install(method: str, name: str, reflected: bool) -> None:
    def forward(self: Symbol, other: Any) -> Any:
        return self.recorder.apply(name, self, other)

    def backward(self: Symbol, other: Any) -> Any:
        return self.recorder.apply(name, other, self)

    setattr(Symbol, f"__{method}__", forward)
    if reflected:
        setattr(Symbol, f"__r{method}__", backward)


for _method, _name in (
    ("add", "add"), ("sub", "subtract"), ("mul", "multiply"), ("truediv", "divide"), ("floordiv", "floor_divide"),
    ("mod", "remainder"),
):  # fmt: skip
    _install(_method, _name, True)
for _method, _name in (
    ("lt", "less"), ("le", "less_equal"), ("gt", "greater"), ("ge", "greater_equal"), ("eq", "equal"),
    ("ne", "not_equal"),
):  # fmt: skip
    _install(_method, _name, False)


class Recorder:
    """Collects the operations of one parameter's update.

    Args:
        dtype_name: the dtype arrays are computed in.
        dtype: the parameter's library's own object for it, which is what a rule compares with.
        shape: the parameter's shape.
    """

    def __init__(self, dtype_name: str, dtype: Any, shape: tuple[int, ...]) -> None:
        self._dtype_name = dtype_name
        self._dtype = dtype
        self._shape = shape
        self._inputs = 0
        self._operations: list[tuple[str, tuple[tuple[str, int], ...]]] = []
        self._known: dict[Any, Symbol] = {}
        self._scalar_names: list[str] = []
        self._scalar_nodes: list[Any] = []
        self._scalar_symbols: set[int] = set()
        self._used: dict[int, int] = {}
        self._kept: list[Symbol] = []

    def array(self) -> Symbol:
        """The next input array."""
        assert not self._operations
        self._inputs += 1
        return Symbol(self, self._inputs - 1, self._dtype_name, self._dtype, self._shape)

    def scalar(self, name: str) -> Symbol:
        """A scalar that changes from step to step."""
        return self._scalar_node(("input", name))

    def is_scalar(self, symbol: Symbol) -> bool:
        """Whether the host evaluates it."""
        return id(symbol) in self._scalar_symbols

    def _scalar_node(self, node: Any) -> Symbol:
        # A constant is known by how it is written: 1, 1.0 and True are equal and not the same, as are 0.0 and -0.0.
        key = ("scalar", node, repr(node[1]) if node[0] == "constant" else None)
        if key not in self._known:
            symbol = Symbol(self, len(self._scalar_nodes), "float64", "float64", None)
            self._scalar_nodes.append(node)
            self._scalar_symbols.add(id(symbol))
            self._kept.append(symbol)
            self._known[key] = symbol
        return self._known[key]

    def apply(self, name: str, *operands: Any) -> Any:
        """Record an operation on symbols and numbers."""
        symbols = []
        for operand in operands:
            if isinstance(operand, Symbol):
                if operand.recorder is not self:
                    raise Unrecordable(f"a value of another recording in {_line_outside()}")
                symbols.append(operand)
            elif is_number(operand):
                symbols.append(self._scalar_node(("constant", operand)))
            else:
                raise Unrecordable(f"an array that is no part of the optimizer's state in {_line_outside()}")
        if all(map(self.is_scalar, symbols)) and name != "fill":
            return self._scalar_node((name, tuple(symbol.number for symbol in symbols)))
        if name not in ELEMENTWISE:
            raise Unrecordable(f"{name} of an array, whose bits are not the same everywhere, in {_line_outside()}")
        typed = tuple(
            ("scalar", self._used.setdefault(symbol.number, len(self._used)))
            if self.is_scalar(symbol)
            else ("array", symbol.number)
            for symbol in symbols
        )
        key = (name, typed)
        if key not in self._known:
            number = self._inputs + len(self._operations)
            symbol = Symbol(self, number, self._dtype_name, self._dtype, self._shape)
            self._operations.append(key)
            self._known[key] = symbol
        return self._known[key]

    def program(self, outputs: Sequence[tuple[int, Symbol]]) -> Program:
        """What was recorded, with what is written at the end."""
        names = [node[1] for node in self._scalar_nodes if node[0] == "input"]
        constants = [node[1] for node in self._scalar_nodes if node[0] == "constant"]
        order: dict[int, int] = {}
        for position, node in enumerate(self._scalar_nodes):
            if node[0] == "input":
                order[position] = names.index(node[1])
        seen_constants = 0
        for position, node in enumerate(self._scalar_nodes):
            if node[0] == "constant":
                order[position] = len(names) + seen_constants
                seen_constants += 1
        operations: list[tuple[str, tuple[int, ...]]] = []
        for position, node in enumerate(self._scalar_nodes):
            if node[0] not in ("input", "constant"):
                order[position] = len(names) + len(constants) + len(operations)
                operations.append((node[0], tuple(order[operand] for operand in node[1])))
        return Program(
            self._inputs,
            tuple(self._operations),
            tuple((target, symbol.number) for target, symbol in outputs if symbol.number != target),
            tuple(order[number] for number in self._used),
            tuple(names),
            tuple(constants),
            tuple(operations),
        )


class _Functions:
    """The namespace of symbols."""

    def __getattr__(self, name: str) -> Callable[[Symbol], Any]:
        if name in ("sum", "mean", "max"):
            raise Unrecordable(f"the reduction {name} in {_line_outside()}")
        return lambda symbol: symbol.recorder.apply(name, symbol)


class SymbolBackend(Backend):
    """Symbols of a recording."""

    name = "program"
    namespace = _Functions()

    def dtype_name(self, array: Array) -> str:
        """The dtype it stands for."""
        return str(array.dtype_name)

    def shape(self, array: Array) -> tuple[int, ...]:
        """The parameter's shape; () for a scalar."""
        return tuple(array.shape)

    def cast(self, array: Array, name: str) -> Array:
        """Scalars stay as they are; arrays have one dtype only."""
        if not array.is_scalar and name != array.dtype_name:
            raise Unrecordable(f"a cast from {array.dtype_name} to {name} in {_line_outside()}")
        return array

    def full_like(self, array: Array, value: Any, name: str | None = None) -> Array:
        """A constant array."""
        return array.recorder.apply("fill", value)

    def concrete(self, array: Array) -> bool:
        """Never."""
        return False

    def widest_float(self, scalar: Array) -> Array:
        """The host's numbers are as wide as can be."""
        return scalar

    def select(self, predicate: Array, a: Array, b: Array) -> Array:
        """Recorded."""
        return a if a is b else _recorder_of(predicate, a, b).apply("select", predicate, a, b)

    def maximum(self, a: Array, b: Array) -> Array:
        """Recorded."""
        return _recorder_of(a, b).apply("maximum", a, b)

    def minimum(self, a: Array, b: Array) -> Array:
        """Recorded."""
        return _recorder_of(a, b).apply("minimum", a, b)

    def sum_of_squares(self, array: Array) -> Array:
        """A reduction cannot be part of one elementwise pass."""
        raise Unrecordable(f"the reduction sum_of_squares in {_line_outside()}")


def _recorder_of(*values: Any) -> Recorder:
    return next(value.recorder for value in values if isinstance(value, Symbol))


SYMBOLS = SymbolBackend()
register_type(Symbol, SYMBOLS)


def _line_outside() -> str:
    """The line of the rule that is being recorded: the first one outside of the folder this file is in."""
    frame: Any = sys._getframe(1)
    here = __file__.rpartition("/")[0]
    while frame is not None and frame.f_code.co_filename.startswith(here):
        frame = frame.f_back
    if frame is None:
        return "unknown code"
    return f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno} ({frame.f_code.co_name})"


# -------------------------------------------------------------------- scalars on the host

_INFIX = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "floor_divide": "//", "remainder": "%", "less": "<",
    "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!=",
}  # fmt: skip
_EVALUATORS: dict[Any, Callable[..., tuple[float, ...]]] = {}


def scalar_evaluator(program: Program) -> Callable[[dict[str, Any]], tuple[float, ...]]:
    """A function from this step's values, by name, to the scalars the array operations use, in double precision."""
    key = (len(program.scalar_inputs), len(program.constants), program.scalar_operations, program.scalars)
    function = _EVALUATORS.get(key)
    if function is None:
        function = _EVALUATORS[key] = _compile_scalars(program)
    names, constants = program.scalar_inputs, program.constants
    return lambda values: function(*[values[name] for name in names], *constants)


def evaluate_scalars(program: Program, values: dict[str, Any]) -> tuple[float, ...]:
    """The scalars that the array operations use in one step."""
    return scalar_evaluator(program)(values)


def _compile_scalars(program: Program) -> Callable[..., tuple[float, ...]]:
    count = len(program.scalar_inputs) + len(program.constants)
    lines = [f"def evaluate({', '.join(f'x{position}' for position in range(count))}):"]
    for position, (name, operands) in enumerate(program.scalar_operations, count):
        arguments = [f"x{operand}" for operand in operands]
        if name in _INFIX:
            expression = f"{arguments[0]} {_INFIX[name]} {arguments[1]}"
        elif name == "negative":
            expression = f"-{arguments[0]}"
        elif name == "select":
            expression = f"{arguments[1]} if {arguments[0]} else {arguments[2]}"
        else:
            expression = f"{name}({', '.join(arguments)})"
        lines.append(f"    x{position} = {expression}")
    lines.append(f"    return ({''.join(f'float(x{position}), ' for position in program.scalars)})")
    functions = {name: getattr(HOST.namespace, name) for name in dir(HOST.namespace) if not name.startswith("_")}
    functions |= {"maximum": HOST.maximum, "minimum": HOST.minimum, "abs": abs, "float": float, "math": math}
    exec(compile("\n".join(lines), "<scalars of a program>", "exec"), functions)
    return functions["evaluate"]  # type: ignore[no-any-return]  # made in the line above

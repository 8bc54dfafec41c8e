"""Recording: a rule run on symbols becomes a straight-line program.

Arrays and scalars are recorded apart. Scalars (rates, step counts and what follows from them) are evaluated once a step
on the host in double precision; array operations are what a lowering turns into one pass over memory. What a symbol
cannot answer (its truth, its value, its length) raises `Unrecordable`, which means: run this rule eagerly.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from ..base import Array, Backend, is_number
from ..detect import HOST, register_type
from ..variable import value_of

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
        reductions: pairs of a name in `scalar_inputs` and the operand whose sum of squares it stands for.
    """

    inputs: int
    operations: tuple[tuple[str, tuple[tuple[str, int], ...]], ...]
    outputs: tuple[tuple[int, int], ...]
    scalars: tuple[int, ...]
    scalar_inputs: tuple[str, ...]
    constants: tuple[float, ...]
    scalar_operations: tuple[tuple[str, tuple[int, ...]], ...]
    reductions: tuple[tuple[str, int], ...] = ()

    @property
    def structure(self) -> Any:
        """What a kernel depends on: no number is part of it."""
        reduced = tuple(operand for _, operand in self.reductions)
        return self.inputs, self.operations, self.outputs, len(self.scalars), reduced

    @property
    def read(self) -> list[int]:
        """The inputs that it reads."""
        used = {number for _, operands in self.operations for kind, number in operands if kind == "array"}
        used |= {number for _, number in (*self.outputs, *self.reductions)}
        return [number for number in range(self.inputs) if number in used]

    def traffic(self, item_sizes: int | Sequence[int]) -> int:
        """Bytes moved for each element in one pass: what is read and what is written.

        Args:
            item_sizes: of a number in all inputs, or of one in each.
        """
        sizes = [item_sizes] * self.inputs if isinstance(item_sizes, int) else item_sizes
        return sum(sizes[number] for number in (*self.read, *(target for target, _ in self.outputs)))

    @property
    def work(self) -> int:
        """Operations for each element; each sum of squares is two."""
        return len(self.operations) + 2 * len(self.reductions)

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
        lines += [f"{name} = sum_of_squares(a{operand})" for name, operand in self.reductions]
        lines += [f"write a{target} <- a{source}" for target, source in self.outputs]
        return "\n".join(lines)


class Symbol:
    """What a rule receives in place of an array or a scalar while it is recorded.

    Args:
        scalars: of the recording.
        recorder: of the parameter that the array belongs to; None for a scalar, which the host evaluates.
        number: among the recorder's arrays, or among the scalars.
        dtype_name: the dtype's name.
        dtype: the parameter's library's own object for it, which is what a rule compares with.
        shape: the shape.
    """

    __slots__ = ("dtype", "dtype_name", "number", "recorder", "scalars", "shape")
    __array_ufunc__ = None

    def __init__(
        self, scalars: Scalars, recorder: Recorder | None, number: int, dtype_name: str, dtype: Any,
        shape: tuple[int, ...],
    ) -> None:  # fmt: skip
        self.scalars = scalars
        self.recorder = recorder
        self.number = number
        self.dtype_name = dtype_name
        self.dtype = dtype
        self.shape = shape

    @property
    def is_scalar(self) -> bool:
        """Whether the host evaluates it."""
        return self.recorder is None

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
            return apply("multiply", self, self)
        return apply("power", self, other)

    def __rpow__(self, other: Any) -> Any:
        return apply("power", other, self)

    def __neg__(self) -> Any:
        return apply("negative", self)

    def __abs__(self) -> Any:
        return apply("abs", self)

    def __hash__(self) -> int:
        # A number that is looked up in a set or a dictionary would be found there; a symbol would not.
        return int(self._refuse("the hash of a value that is only known as the step runs"))


def _install(method: str, name: str, reflected: bool) -> None:
    def forward(self: Symbol, other: Any) -> Any:
        return apply(name, self, other)

    def backward(self: Symbol, other: Any) -> Any:
        return apply(name, other, self)

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


def apply(name: str, *operands: Any) -> Symbol:
    """Record an operation on symbols, cells that hold symbols, and numbers; at least one is a symbol itself."""
    scalars = next(operand.scalars for operand in operands if isinstance(operand, Symbol))
    symbols = []
    for operand in map(value_of, operands):
        if isinstance(operand, Symbol):
            if operand.scalars is not scalars:
                raise Unrecordable(f"a value of another recording in {_line_outside()}")
            symbols.append(operand)
        elif is_number(operand):
            symbols.append(scalars.constant(operand))
        else:
            raise Unrecordable(f"an array that is no part of the optimizer's state in {_line_outside()}")
    recorders = {id(symbol.recorder): symbol.recorder for symbol in symbols if symbol.recorder is not None}
    if not recorders:
        return scalars.node((name, tuple(symbol.number for symbol in symbols)))
    if len(recorders) > 1:
        raise Unrecordable(f"an operation on arrays of two parameters in {_line_outside()}")
    if name not in ELEMENTWISE:
        raise Unrecordable(f"{name} of an array, whose bits are not the same everywhere, in {_line_outside()}")
    (recorder,) = recorders.values()
    return recorder.record(name, symbols)


_Listed: TypeAlias = tuple[dict[int, int], tuple[str, ...], tuple[float, ...], tuple[tuple[str, tuple[int, ...]], ...]]


class Scalars:
    """The scalars of a recording: inputs, constants, and what follows from them."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._known: dict[Any, Symbol] = {}
        self._listed: _Listed | None = None
        self._reductions: dict[tuple[int, int], tuple[str, Recorder]] = {}

    def named(self, name: str) -> Symbol:
        """A scalar that changes from step to step."""
        return self.node(("input", name))

    def constant(self, value: float) -> Symbol:
        """A number that the rule brought."""
        return self.node(("constant", value))

    def sum_of_squares(self, array: Symbol) -> Symbol:
        """A scalar that is known after a pass over memory."""
        assert array.recorder is not None
        key = (id(array.recorder), array.number)
        if key not in self._reductions:
            self._reductions[key] = (f"sum_of_squares_{len(self._reductions)}", array.recorder)
        return self.named(self._reductions[key][0])

    def reductions_of(self, recorder: Recorder) -> tuple[tuple[str, int], ...]:
        """The sums over arrays of one parameter."""
        return tuple((name, number) for (_, number), (name, owner) in self._reductions.items() if owner is recorder)

    def node(self, node: Any) -> Symbol:
        """An input, a constant, or an operation on other nodes; the same symbol for the same node."""
        # A constant is known by how it is written: 1, 1.0 and True are equal and not the same, as are 0.0 and -0.0.
        key = (node, repr(node[1]) if node[0] == "constant" else None)
        if key not in self._known:
            self._known[key] = Symbol(self, None, len(self._nodes), "float64", "float64", ())
            self._nodes.append(node)
        return self._known[key]

    def listed(self) -> _Listed:
        """Where each node is found in the three lists, counted through: inputs, constants, operations."""
        # Programs recorded together share them: each of hundreds of parameters would have thousands of its own.
        if self._listed is not None and len(self._listed[0]) == len(self._nodes):
            return self._listed
        kinds = {"input": 0, "constant": 1}
        ordered = sorted(range(len(self._nodes)), key=lambda number: kinds.get(self._nodes[number][0], 2))
        place = {number: position for position, number in enumerate(ordered)}
        inputs = tuple(node[1] for node in self._nodes if node[0] == "input")
        constants = tuple(node[1] for node in self._nodes if node[0] == "constant")
        operations = tuple(
            (node[0], tuple(place[operand] for operand in node[1]))
            for node in self._nodes
            if node[0] not in kinds
        )
        self._listed = place, inputs, constants, operations
        return self._listed


class Recorder:
    """Collects the operations of one parameter's update.

    Args:
        scalars: of the recording.
        dtype_name: the dtype arrays are computed in.
        dtype: the parameter's library's own object for it.
        shape: the parameter's shape.
    """

    def __init__(self, scalars: Scalars, dtype_name: str, dtype: Any, shape: tuple[int, ...]) -> None:
        self.scalars = scalars
        self._kind = (dtype_name, dtype, shape)
        self._inputs = 0
        self._operations: list[tuple[str, tuple[tuple[str, int], ...]]] = []
        self._known: dict[Any, Symbol] = {}
        self._used: dict[int, int] = {}

    def array(self) -> Symbol:
        """The next input array."""
        assert not self._operations
        self._inputs += 1
        return Symbol(self.scalars, self, self._inputs - 1, *self._kind)

    def record(self, name: str, symbols: Sequence[Symbol]) -> Symbol:
        """An elementwise operation on arrays of this parameter and scalars."""
        typed = tuple(
            ("scalar", self._used.setdefault(symbol.number, len(self._used)))
            if symbol.is_scalar
            else ("array", symbol.number)
            for symbol in symbols
        )
        key = (name, typed)
        if key not in self._known:
            number = self._inputs + len(self._operations)
            self._operations.append(key)
            self._known[key] = Symbol(self.scalars, self, number, *self._kind)
        return self._known[key]

    def program(self, outputs: Sequence[tuple[int, Symbol]]) -> Program:
        """What was recorded, with what is written at the end."""
        place, names, constants, operations = self.scalars.listed()
        return Program(
            self._inputs,
            tuple(self._operations),
            tuple((target, symbol.number) for target, symbol in outputs if symbol.number != target),
            tuple(place[number] for number in self._used),
            names,
            constants,
            operations,
            self.scalars.reductions_of(self),
        )


class _Functions:
    """The namespace of symbols."""

    def __getattr__(self, name: str) -> Callable[[Symbol], Any]:
        if name in ("sum", "mean", "max"):
            raise Unrecordable(f"the reduction {name} in {_line_outside()}")
        return lambda symbol: apply(name, symbol)


class SymbolBackend(Backend):
    """Symbols of a recording."""

    name = "program"
    namespace = _Functions()
    numbers_on_host = True

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
        """A constant array; a scalar of the same value."""
        if array.is_scalar:
            return value
        symbol = value if isinstance(value, Symbol) else array.scalars.constant(value)
        return array.recorder.record("fill", [symbol])

    def concrete(self, array: Array) -> bool:
        """Never."""
        return False

    def widest_float(self, scalar: Array) -> Array:
        """The host's numbers are as wide as can be."""
        return scalar

    def select(self, predicate: Array, a: Array, b: Array) -> Array:
        """Recorded."""
        return a if a is b else apply("select", predicate, a, b)

    def maximum(self, a: Array, b: Array) -> Array:
        """Recorded."""
        return apply("maximum", a, b)

    def minimum(self, a: Array, b: Array) -> Array:
        """Recorded."""
        return apply("minimum", a, b)

    def sum_of_squares(self, array: Array) -> Array:
        """A scalar, known after a pass over memory."""
        return array * array if array.is_scalar else array.scalars.sum_of_squares(array)


SYMBOLS = SymbolBackend()
register_type(Symbol, SYMBOLS)


def _line_outside() -> str:
    """The line of the rule that is being recorded: the first one outside of `backends`."""
    frame: Any = sys._getframe(1)
    here = f"{Path(__file__).parents[1]}{os.sep}"
    while frame is not None and frame.f_code.co_filename.startswith(here):
        frame = frame.f_back
    if frame is None:
        return "unknown code"
    return f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno} ({frame.f_code.co_name})"


# -------------------------------------------------------------------- scalars on the host

_Evaluator: TypeAlias = Callable[..., tuple[float, ...]]

_INFIX = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "floor_divide": "//", "remainder": "%", "less": "<",
    "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!=",
}  # fmt: skip
_EVALUATORS: dict[Any, tuple[_Evaluator, _Evaluator]] = {}


def scalar_evaluator(program: Program, exact: bool = False) -> Callable[[dict[str, Any]], tuple[float, ...]]:
    """A function from this step's values, by name, to the scalars the array operations use, in double precision.

    What follows from an optimizer's own numbers alone is computed when one of them has changed: `values["self"]` has
    them, and is another object then. Without it, they stand among the other values, and all is computed each time.

    Args:
        program: whose scalars.
        exact: leave integers as they are.
    """
    lasting = tuple(name.startswith("self.") for name in program.scalar_inputs)
    key = (lasting, len(program.constants), program.scalar_operations, program.scalars, exact)
    functions = _EVALUATORS.get(key)
    if functions is None:
        functions = _EVALUATORS[key] = _compile_scalars(program, lasting, "" if exact else "float")
    prepare, evaluate = functions
    constants = program.constants
    names = [name for name, lasts in zip(program.scalar_inputs, lasting, strict=True) if not lasts]
    own = [name for name, lasts in zip(program.scalar_inputs, lasting, strict=True) if lasts]
    held: tuple[Any, tuple[float, ...]] = (None, ())

    def evaluated(values: dict[str, Any]) -> tuple[float, ...]:
        nonlocal held
        given, prepared = values.get("self"), held
        if given is None or prepared[0] is not given:
            # Kept in one piece: another thread may have another optimizer's.
            held = prepared = given, prepare(*map((given or values).__getitem__, own), *constants)
        return evaluate(*[values[name] for name in names], *prepared[1])

    if not own:
        prepared = prepare(*constants)
        return lambda values: evaluate(*[values[name] for name in names], *prepared)
    return evaluated


def _compile_scalars(program: Program, lasting: tuple[bool, ...], convert: str) -> tuple[_Evaluator, _Evaluator]:
    """What is computed from an optimizer's own numbers and constants alone, and the rest, which takes that."""
    inputs, first = len(program.scalar_inputs), len(program.scalar_inputs) + len(program.constants)
    lasts = [*lasting, *(True for _ in program.constants)]
    for _, operands in program.scalar_operations:
        lasts.append(all(lasts[operand] for operand in operands))
    lines: dict[bool, list[str]] = {True: [], False: []}
    for position, (name, operands) in enumerate(program.scalar_operations, first):
        arguments = [f"x{operand}" for operand in operands]
        if name in _INFIX:
            expression = f"{arguments[0]} {_INFIX[name]} {arguments[1]}"
        elif name == "negative":
            expression = f"-{arguments[0]}"
        elif name == "select":
            expression = f"{arguments[1]} if {arguments[0]} else {arguments[2]}"
        else:
            expression = f"{name}({', '.join(arguments)})"
        lines[lasts[position]].append(f"    x{position} = {expression}")
    needed = set(program.scalars)
    for position, (_, operands) in enumerate(program.scalar_operations, first):
        needed |= set() if lasts[position] else set(operands)
    handed = [f"x{k}" for k in sorted(needed) if lasts[k]]
    own = [f"x{k}" for k in range(first) if lasts[k]]
    others = [f"x{k}" for k in range(inputs) if not lasts[k]]
    source = [f"def prepare({', '.join(own)}):", *lines[True]]
    source += [f"    return ({''.join(f'{name}, ' for name in handed)})"]
    source += [f"def evaluate({', '.join([*others, *handed])}):", *lines[False]]
    source += [f"    return ({''.join(f'{convert}(x{position}), ' for position in program.scalars)})"]
    functions = {name: getattr(HOST.namespace, name) for name in dir(HOST.namespace) if not name.startswith("_")}
    functions |= {"maximum": HOST.maximum, "minimum": HOST.minimum, "abs": abs, "float": float, "math": math}
    exec(compile("\n".join(source), "<scalars of a program>", "exec"), functions)
    return functions["prepare"], functions["evaluate"]


# -------------------------------------------------------------------- comparing programs


def same_with(one: Program, other: Program, values: dict[str, float]) -> bool:
    """Whether two programs are the same, to the last bit, where some of their scalars have certain values.

    Compared is what is written, as expressions, for several samples of all other scalars.

    Args:
        one: a program.
        other: another one.
        values: of scalars, by their names.
    """
    compared = 0
    for sample in (_Sample(values, seed) for seed in range(3)):
        known: dict[Any, int] = {}
        found = _expressions(one, sample, known)
        if found != _expressions(other, sample, known):
            return False
        compared += found is not None
    return compared > 0


class _Sample(dict[str, float]):
    """Values of scalars by name; of those that are not given, some that differ."""

    def __init__(self, values: dict[str, float], seed: int) -> None:
        super().__init__(values)
        self._seed = seed

    def __missing__(self, name: str) -> float:
        # Counts are integers; a parameter's own numbers may be that, or fractions.
        if name == "count" or ("number" in name and self._seed < 2):
            return (1, 2, 1000)[self._seed]
        return (sum(map(ord, name)) % 89 + 1) / 97 * (1.0, 0.5, 3.0)[self._seed]


def _expressions(program: Program, sample: _Sample, known: dict[Any, int]) -> Any:
    """What is written and summed up; equal expressions have equal numbers in `known`. None without a value."""
    try:
        every = scalar_evaluator(program, exact=True)(sample)
    except (ArithmeticError, ValueError, TypeError):
        return None
    if not program.operations and not program.inputs:
        return [(type(value), repr(value)) for value in every]
    scalars = [repr(float(value)) for value in every]
    numbers: list[int] = [known.setdefault(("input", k), len(known)) for k in range(program.inputs)]
    for name, operands in program.operations:
        key = name, *((kind, numbers[k] if kind == "array" else scalars[k]) for kind, k in operands)
        numbers.append(known.setdefault(key, len(known)))
    return (
        program.inputs,
        [(target, numbers[source]) for target, source in program.outputs],
        [(name, numbers[source]) for name, source in program.reductions],
    )

"""Recording: an update rule is run on symbols, which write down what is done with them; that is its program.

Arrays and scalars are recorded apart. What a symbol cannot answer (its truth, its value, its length) raises
`Unrecordable`, which means: run this rule eagerly.

A rule with a velocity, whose steps become smaller:

    >>> from gradwise.backends import ops
    >>> def rule(weights, velocity, gradient, rate, count):
    ...     velocity = velocity * 0.5 + gradient
    ...     return weights - velocity * (rate / ops.sqrt(count)), velocity

It is given symbols: for the three arrays of a parameter, and for two numbers that change from step to step.

    >>> scalars = RecordedScalars()
    >>> recorder = Recorder(scalars, "float32", "float32", shape=(3, 2))
    >>> weights, velocity, gradient = recorder.array(), recorder.array(), recorder.array()
    >>> new_weights, new_velocity = rule(weights, velocity, gradient, scalars.named("rate"), scalars.named("count"))

What was written down, with what is written into the first two arrays at the end. Arrays are numbered from a0, the
results of operations on them included; s3 and s4 are computed once a step, as the host's numbers (see `scalars`):

    >>> print(recorder.program([(0, new_weights), (1, new_velocity)]))
    s3 = sqrt(count)
    s4 = divide(rate, s3)
    a3 = multiply(a1, 0.5)
    a4 = add(a3, a2)
    a5 = multiply(a4, s4)
    a6 = subtract(a0, a5)
    write a0 <- a6
    write a1 <- a4

`kernels.lowering` shows the loop that becomes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from ..base import Backend
from ..detect import register_type
from ..dtypes import Array, is_number
from ..mistakes import line_of_rule
from ..variable import value_of
from .program import COMPARISONS, ELEMENTWISE, Program, Unrecordable


class Symbol:
    """What a rule receives in place of an array or a scalar while it is recorded.

    Args:
        scalars: of the recording.
        recorder: of the parameter that the array belongs to; None for a scalar, one of the host's numbers in a step.
        number: among the recorder's arrays, or among the scalars.
        dtype_name: the dtype's name.
        dtype: the parameter's library's own object for it, which is what a rule compares with.
        shape: the shape.
    """

    __slots__ = ("dtype", "dtype_name", "number", "recorder", "scalars", "shape")
    __array_ufunc__ = None

    def __init__(
        self, scalars: RecordedScalars, recorder: Recorder | None, number: int, dtype_name: str, dtype: Any,
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
        """Whether it is a scalar, one of the host's numbers in a step."""
        return self.recorder is None

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def _refuse(self, what: str) -> Any:
        raise Unrecordable(f"{what} in {line_of_rule()}")

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

    def __str__(self) -> str:
        return str(self._refuse("the text of a value that is only known as the step runs, as print() needs it,"))

    def __format__(self, spec: str) -> str:
        return str(self)

    def __repr__(self) -> str:
        # Debuggers ask for it.
        return f"<a value of shape {self.shape} that is only known as the step runs>"

    def __getattr__(self, name: str) -> Any:
        if name[:1] == "_" or name in Symbol.__slots__:
            raise AttributeError(name)
        return self._refuse(f"the attribute {name!r} of {'a number' if self.is_scalar else 'an array'}")

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


class ArraySymbol(Symbol):
    """What stands for an array. NumPy, when it refuses to compute with it, tells it from a scalar by its class."""

    __slots__ = ()


class FreeSymbol(Symbol):
    """A number that becomes an input of each recording in which it is used, of several that are made in turn.

    Args:
        name: of the input.
        now: gives the scalars of the recording that is being made.
    """

    __slots__ = ("_name", "_now")

    def __init__(self, name: str, now: Callable[[], RecordedScalars]) -> None:
        self._name, self._now = name, now
        self.recorder, self.dtype_name, self.dtype, self.shape = None, "float64", "float64", ()

    @property
    def scalars(self) -> RecordedScalars:  # type: ignore[override]  # found when it is asked for
        """Of the recording."""
        return self._now()

    @property
    def number(self) -> int:  # type: ignore[override]
        """Among the scalars."""
        return self._now().named(self._name).number


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


def _symbols_of(operands: Sequence[Any]) -> tuple[list[Symbol], RecordedScalars]:
    """Operands as symbols of one recording, and its scalars."""
    scalars = next(operand.scalars for operand in operands if isinstance(operand, Symbol))
    symbols = []
    for operand in map(value_of, operands):
        if isinstance(operand, Symbol):
            if operand.scalars is not scalars:
                raise _unlike(scalars, operand.scalars)
            symbols.append(operand)
        elif is_number(operand):
            symbols.append(scalars.constant(operand))
        else:
            raise Unrecordable(f"an array that is no part of the optimizer's state in {line_of_rule()}")
    return symbols, scalars


def apply(name: str, *operands: Any) -> Symbol:
    """Record an operation on symbols, cells that hold symbols, and numbers; at least one is a symbol itself."""
    symbols, scalars = _symbols_of(operands)
    recorders = {id(symbol.recorder): symbol.recorder for symbol in symbols if symbol.recorder is not None}
    if not recorders:
        return scalars.node((name, tuple(symbol.number for symbol in symbols)))
    if len(recorders) > 1:
        raise Unrecordable(f"an operation on arrays of two parameters in {line_of_rule()}")
    if name not in ELEMENTWISE:
        raise Unrecordable(f"{name} of an array, whose bits are not the same everywhere, in {line_of_rule()}")
    (recorder,) = recorders.values()
    numbers = symbols[1:] if name == "select" else symbols
    if name != "fill" and all(each.is_scalar or recorder.is_truth(each) for each in numbers):
        # Libraries have different dtypes for what becomes of truths and numbers without one.
        raise Unrecordable(f"{name} without an array of numbers among its operands in {line_of_rule()}")
    return recorder.record(name, symbols)


_Listed: TypeAlias = tuple[dict[int, int], tuple[str, ...], tuple[float, ...], tuple[tuple[str, tuple[int, ...]], ...]]


def _unlike(one: RecordedScalars, other: RecordedScalars) -> Unrecordable:
    """Why symbols of two recordings do not meet."""
    return Unrecordable(f"{one.foreign or other.foreign or 'a value of another recording'} in {line_of_rule()}")


class RecordedScalars:
    """The scalars of a recording: inputs, constants, and what follows from them.

    Args:
        foreign: of what is recorded beside a recording, what that calls its symbols where it meets them.
    """

    def __init__(self, foreign: str | None = None) -> None:
        self.foreign = foreign
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

    def __init__(self, scalars: RecordedScalars, dtype_name: str, dtype: Any, shape: tuple[int, ...]) -> None:
        self.scalars = scalars
        self._kind = (dtype_name, dtype, shape)
        self._inputs = 0
        self._operations: list[tuple[str, tuple[tuple[str, int], ...]]] = []
        self._known: dict[Any, Symbol] = {}
        self._used: dict[int, int] = {}
        self._truths: set[int] = set()

    def array(self) -> Symbol:
        """The next input array."""
        assert not self._operations
        self._inputs += 1
        return ArraySymbol(self.scalars, self, self._inputs - 1, *self._kind)

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
            if name in COMPARISONS:
                self._truths.add(number)
            self._operations.append(key)
            self._known[key] = ArraySymbol(self.scalars, self, number, *self._kind)
        return self._known[key]

    def is_truth(self, array: Symbol) -> bool:
        """Whether an array of this parameter is the result of a comparison, which has no numbers."""
        return array.number in self._truths

    def program(self, outputs: Sequence[tuple[int, Symbol]]) -> Program:
        """What was recorded, with what is written at the end.

        Raises:
            Unrecordable: if that is an array of another parameter.
        """
        if any(symbol.recorder is not self for _, symbol in outputs):
            raise Unrecordable("an array of another parameter written in place of one's own")
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
        if name in ("sum", "mean", "max", "min"):
            raise Unrecordable(f"the reduction {name} in {line_of_rule()}")
        if name in ("reshape", "expand_dims", "matrix_transpose"):
            raise Unrecordable(f"{name}, which makes an array of another shape, in {line_of_rule()}")
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
            raise Unrecordable(f"a cast from {array.dtype_name} to {name} in {line_of_rule()}")
        if not array.is_scalar and array.recorder.is_truth(array):
            one, zero = map(array.scalars.constant, (1.0, 0.0))
            return array.recorder.record("select", [array, one, zero])
        return array

    def full_like(self, array: Array, value: Any, name: str | None = None) -> Array:
        """A constant array; a scalar of the same value."""
        if array.is_scalar:
            return value
        symbol = value if isinstance(value, Symbol) else array.scalars.constant(value)
        if symbol.scalars is not array.scalars:
            raise _unlike(array.scalars, symbol.scalars)
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
register_type(ArraySymbol, SYMBOLS)
register_type(FreeSymbol, SYMBOLS)

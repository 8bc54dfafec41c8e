"""gradwise as a method of SciPy: `scipy.optimize.minimize(fun, x0, jac=jac, method=minimize_method(Adam(0.1)))`.

Callbacks, bounds, options, warnings, messages and results are those of SciPy's own methods BFGS and L-BFGS-B.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..backends import describe, shown
from ..backends.arguments import instead
from ..optimizers import Optimizer, get
from ..optimizers.core.run import Run
from .needed import needed
from .wording import ArgumentsOfCore, InCore

with needed("scipy"):
    from scipy.optimize import (  # type: ignore[import-untyped]  # it shows mypy no types
        Bounds,
        OptimizeResult,
        OptimizeWarning,
    )

__all__ = ["minimize_method"]

_Array = npt.NDArray[Any]

_DTYPES = ("float16", "float32", "float64")
_SCHEMES = ("2-point", "3-point")
_NO_TEST = "take options={'gtol': 1e-6}, which stops when the gradient is small"
_OF_OTHER_METHODS = {
    **dict.fromkeys(("ftol", "fatol", "xtol", "xatol", "xrtol"), _NO_TEST),
    "maximize": "minimize -fun",
}
"""Options that no step knows, with what to do; those of SciPy's own methods are called nearly like one of these."""
_OPTIONS = ("gtol", "maxiter", "return_best", "return_all", "disp", "finite_diff_scheme", "eps")
_SUCCESS, _MAXITER, _INFINITE, _NAN, _STOPPED = 0, 1, 2, 3, 99
_MESSAGES = {
    _SUCCESS: "Optimization terminated successfully.",
    _MAXITER: "Maximum number of iterations has been exceeded.",
    _INFINITE: "Infinite result encountered.",
    _NAN: "NaN result encountered.",
    _STOPPED: "`callback` raised `StopIteration`.",
}


def minimize_method(core_optimizer: Any) -> Callable[..., OptimizeResult]:
    """A `method` for `scipy.optimize.minimize`: the steps of an optimizer of gradwise in SciPy's conventions.

    Args:
        core_optimizer: an optimizer, your own rules included; or a name such as "adam", or a dictionary from
            `serialize`. No run changes it: each has a state of its own, from the settings that the optimizer then has.

    Returns:
        A callable that `minimize` takes as `method`, for any number of runs and threads. What it makes of `minimize`'s
        arguments:

        - `x0`: float16, float32 and float64 stay what they are; integers become float64.
        - `jac`: a callable or True. Otherwise finite differences; their scheme is an option, because `minimize` turns
          "3-point" into None for any method that is not its own.
        - `bounds`: `x` is clipped to them at the start and after every step. Finite differences keep within them.
        - `constraints`, `hess` and `hessp` are not used: a RuntimeWarning.
        - `callback`: called after every iteration, as `callback(x)` or `callback(intermediate_result=...)` with `x` and
          `fun`. StopIteration ends the run with status 99.
        - `tol`: sets `gtol`.

        Its options; others are an OptimizeWarning:

        - `gtol` (1e-5): success is a gradient, projected onto the bounds, of no absolute component above it. It is the
          only such test: where values may rise between steps, a small change of `x` or `fun` says nothing.
        - `maxiter` (15000): the most iterations.
        - `return_best` (False): return the iterate of the lowest `fun`, not the last one. Values need not fall from
          step to step; the last iterate is the one that `gtol` was tested on.
        - `return_all` (False): put all iterates, `x0` first, into the result as `allvecs`.
        - `disp` (False): print a summary; a failure is an OptimizeWarning.
        - `finite_diff_scheme` ("2-point"): or "3-point", with twice the evaluations.
        - `eps`: the absolute step of finite differences, a number or one for each component. Default: for "2-point"
          the root of the resolution of x's dtype (1.5e-8 for float64); for "3-point" the cube root times max(1, |x|).

        The result has `x`, `fun`, `jac`, `nit`, `nfev`, `njev`, `success`, `status` and `message`; with `use_ema` also
        `averages`, the moving average of `x`. `status` is 0 for success, 1 after `maxiter` iterations, 2 and 3 where
        `fun`, the gradient or `x` became infinite or NaN, 99 after StopIteration.

    Raises:
        ValueError: if `core_optimizer` names no optimizer, or climbs (`maximize=True`). In a run: if bounds, an option
            or what `fun` or `jac` returns does not fit.

    Example:
        >>> import numpy as np
        >>> from scipy.optimize import minimize
        >>> from gradwise.frontends.scipy import minimize_method
        >>> from gradwise.optimizers import Adam
        >>> def fun(x):
        ...     return np.sum((x - 3.0) ** 2)
        >>> result = minimize(fun, np.zeros(2), jac=lambda x: 2 * (x - 3.0), method=minimize_method(Adam(0.1)))
        >>> result.success, result.x.round(3)
        (True, array([3., 3.]))
    """
    optimizer = get(core_optimizer)
    if optimizer is None:
        raise ValueError("Expected an optimizer, its name or its configuration, received None: give Adam(1e-3).")
    if optimizer.maximize:
        raise ValueError(
            f"Optimizer {optimizer.name!r} has maximize=True, and minimize does not maximize. Leave maximize out, and "
            "minimize -fun, with the gradient -jac."
        )
    return _Method(optimizer)


class _Method:
    """What `minimize` calls. It keeps nothing of a run, so that threads may share it."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer

    def __repr__(self) -> str:
        return f"minimize_method({self._optimizer!r})"

    def __call__(
        self,
        fun: Callable[..., Any],
        x0: Any,
        args: tuple[Any, ...] = (),
        *,
        jac: Callable[..., Any] | None = None,
        hess: Any = None,
        hessp: Any = None,
        bounds: Any = None,
        constraints: Any = (),
        callback: Callable[..., Any] | None = None,
        tol: float | None = None,
        gtol: float | None = None,
        maxiter: int | None = None,
        disp: bool = False,
        return_all: bool = False,
        return_best: bool = False,
        finite_diff_scheme: str = "2-point",
        eps: Any = None,
        **unknown_options: Any,
    ) -> OptimizeResult:
        """Minimize; see `minimize_method`. `minimize` passes options on as keywords."""
        self._warn_of_unused(hess, hessp, constraints, unknown_options)
        gtol = _number_from("gtol", gtol if gtol is not None else tol, 1e-5)
        maxiter = _number_from("maxiter", maxiter, 15000)
        start = _checked_start(x0)
        box = _Box.of(bounds, start)
        gradient = _gradient_function(jac, finite_diff_scheme, eps, box)
        function = _Function(fun, gradient, args, _both_at_once(fun, jac))
        report = _reporter(callback)
        optimizer = self._optimizer

        point = function.at(box.clip(start.copy()))
        run = Run(optimizer, point.x)
        best, iterates, iterations = point, [point.x], 0
        while (status := _verdict(point, box, gtol, iterations >= maxiter)) is None:
            point = function.at(box.clip(run.step(point.x, point.jac)))
            iterations += 1
            if return_all:
                iterates.append(point.x)
            if point.fun < best.fun:
                best = point
            try:
                report(point)
            except StopIteration:
                status = _STOPPED
                break

        message = _MESSAGES[status]
        chosen = best if return_best else point
        result = OptimizeResult(
            x=chosen.x, fun=chosen.fun, jac=chosen.jac, nit=iterations, nfev=function.values, njev=function.gradients,
            success=status == _SUCCESS, status=status, message=message,
        )  # fmt: skip
        if return_all:
            result["allvecs"] = iterates
        if optimizer.use_ema:
            result["averages"] = box.clip(optimizer.averages(run.state))
        if disp:
            if status == _SUCCESS:
                print(message)
            else:
                warnings.warn(message, OptimizeWarning, stacklevel=3)
            print(f"         Current function value: {chosen.fun:f}")
            print(f"         Iterations: {iterations:d}")
            print(f"         Function evaluations: {function.values:d}")
            print(f"         Gradient evaluations: {function.gradients:d}")
        return result

    def _warn_of_unused(self, hess: Any, hessp: Any, constraints: Any, unknown_options: dict[str, Any]) -> None:
        # SciPy's words and categories. Level 4 is who called `minimize`.
        name = type(self._optimizer).__name__
        if hess is not None:
            text = f"Method {name} does not use Hessian information (hess). It is ignored: leave it out."
            warnings.warn(text, RuntimeWarning, stacklevel=4)
        if hessp is not None:
            unused = "Hessian-vector product information (hessp)"
            text = f"Method {name} does not use {unused}. It is ignored: leave it out."
            warnings.warn(text, RuntimeWarning, stacklevel=4)
        if np.any(constraints):
            text = f"Method {name} cannot handle constraints. They are ignored: give bounds, or add a penalty to fun."
            warnings.warn(text, RuntimeWarning, stacklevel=4)
        if unknown_options:
            names = ", ".join(unknown_options)
            there = InCore(type(self._optimizer), self._optimizer.convention)
            remedies = ArgumentsOfCore(there, "minimize_method(OPTIMIZER)", _OF_OTHER_METHODS)
            said = instead(list(unknown_options), _OPTIONS, elsewhere=remedies)
            warnings.warn(f"Unknown solver options: {names}.{said}", OptimizeWarning, stacklevel=4)


class _Point(NamedTuple):
    x: _Array
    fun: Any
    jac: _Array


class _Box(NamedTuple):
    """Bounds in the shape and dtype of x; whether there are none is known, because it saves a look at all of them."""

    lower: _Array
    upper: _Array
    boundless: bool

    @classmethod
    def of(cls, bounds: Any, start: _Array) -> _Box:
        if bounds is None:
            return cls(np.full_like(start, -np.inf), np.full_like(start, np.inf), True)
        if isinstance(bounds, Bounds):
            lower, upper = bounds.lb, bounds.ub
        else:
            lower, upper = _sides(bounds, len(start))
        try:
            below, above = (np.broadcast_to(side, start.shape).astype(start.dtype) for side in (lower, upper))
        except ValueError:
            raise ValueError("The number of bounds is not compatible with the length of `x0`.") from None
        if np.any(above < below):
            raise ValueError("An upper bound is less than the corresponding lower bound.")
        return cls(below, above, False)

    def clip(self, x: _Array) -> _Array:
        return x if self.boundless else np.clip(x, self.lower, self.upper)

    def projected(self, point: _Point) -> _Array:
        """The gradient without what points out of the box, as in L-BFGS-B."""
        if self.boundless:
            return point.jac
        gradient = np.maximum(point.jac, point.x - self.upper)
        projected: _Array = np.minimum(gradient, point.x - self.lower)
        return projected


def _sides(bounds: Iterable[Any], count: int) -> tuple[_Array, _Array]:
    """The lower and the upper bounds of SciPy's older form: (min, max) pairs, None for no bound."""
    try:
        # None becomes NaN.
        pairs = [[np.asarray(side, float).item() for side in (low, high)] for low, high in bounds]
    except (TypeError, ValueError):
        raise ValueError("`bounds` must be a `Bounds` or a sequence of (min, max) pairs of numbers or None.") from None
    if len(pairs) != count:
        raise ValueError(
            f"The number of bounds is not compatible with the length of `x0`: received {len(pairs)} bounds for "
            f"{count} variables. Give one (min, max) pair for each variable."
        )
    lower, upper = np.reshape(pairs, (count, 2)).T
    return np.where(np.isnan(lower), -np.inf, lower), np.where(np.isnan(upper), np.inf, upper)


class _Function:
    """The objective and its gradient, counted.

    Args:
        fun: the objective.
        gradient: a function of this, x, the value there and `args`.
        args: further arguments of the user's functions.
        both: what gives the value and the gradient in one call, or None.
    """

    def __init__(
        self, fun: Callable[..., Any], gradient: Callable[..., Any], args: tuple[Any, ...],
        both: Callable[..., Any] | None,
    ) -> None:  # fmt: skip
        self._fun, self._gradient, self._args, self._both = fun, gradient, args, both
        self.values = self.gradients = 0

    def at(self, x: _Array) -> _Point:
        if self._both is None:
            value = self.value(x)
            given = self._gradient(self, x.copy(), value, self._args)
        else:
            found = self._both(x.copy(), *self._args)
            self.values += 1
            value, given = _checked_value(found[0]), found[1]
        self.gradients += 1
        gradient = given if type(given) is np.ndarray and given.ndim else np.atleast_1d(np.asarray(given))
        if gradient.shape != x.shape:
            raise ValueError(
                f"The gradient has shape {gradient.shape}, but `x0` has shape {x.shape}: jac must return one "
                "number for each element of `x0`."
            )
        # Users may fill the same array in each call. To copy takes less time than to ask for the same dtype.
        return _Point(x, value, gradient.copy() if gradient.dtype is x.dtype else gradient.astype(x.dtype))

    def value(self, x: _Array) -> Any:
        """The objective, called with a copy because users may change what they are given."""
        self.values += 1
        return _checked_value(self._fun(x.copy(), *self._args))


def _checked_value(value: Any) -> Any:
    if type(value) is float:
        return value
    try:
        if not np.isscalar(value):
            value = np.asarray(value).item()
        float(value)
    except (TypeError, ValueError):
        raise ValueError(
            f"The user-provided objective function must return a scalar value, received {describe(value)}: return one "
            "number, such as its sum."
        ) from None
    return value


def _both_at_once(fun: Any, jac: Any) -> Callable[..., Any] | None:
    """The user's function of value and gradient, where `jac` was True.

    `minimize` makes two functions of it, of which each compares x with that of the call before: this takes as long as a
    step of a thousand numbers. Where it is no longer known what it makes, these two are called.
    """
    makes_two = getattr(jac, "__self__", None) is fun and type(fun).__module__.startswith("scipy.optimize.")
    return getattr(fun, "fun", None) if makes_two else None


def _gradient_function(jac: Any, scheme: str, eps: Any, box: _Box) -> Callable[..., _Array]:
    if callable(jac):
        return lambda function, x, value, args: jac(x, *args)
    scheme = jac if isinstance(jac, str) else scheme
    if scheme not in _SCHEMES:
        known = " or ".join(map(repr, _SCHEMES))
        raise ValueError(f"`finite_diff_scheme` must be {known}, received {shown(scheme)}.")

    def by_differences(function: _Function, x: _Array, value: Any, args: tuple[Any, ...]) -> _Array:
        if not (np.isfinite(value) and np.isfinite(x).all()):
            return np.full(x.shape, np.nan)
        if scheme == "2-point":
            return _quotients(function, x, value, box.clip(x + _one_sided(x, _steps(x, eps, 1 / 2), box)))
        steps = _steps(x, eps, 1 / 3)
        central = np.minimum(x - box.lower, box.upper - x) >= abs(steps)
        # Where a bound is in the way, both points lie on the other side of it.
        near = np.where(central, steps, _one_sided(x, 2 * steps, box) / 2)
        first = _quotients(function, x, value, box.clip(x + near))
        second = _quotients(function, x, value, box.clip(x + np.where(central, -steps, 2 * near)))
        return np.where(central, (first + second) / 2, 2 * first - second)

    return by_differences


def _steps(x: _Array, eps: Any, power: float) -> _Array:
    """SciPy's steps, but by the resolution of x's dtype where SciPy may take that of float64 for any."""
    resolution = float(np.finfo(x.dtype).eps) ** power
    relative = resolution * np.where(x >= 0, 1.0, -1.0) * np.maximum(1.0, abs(x))
    # As in BFGS, which has an absolute step for "2-point" only.
    own = np.full(x.shape, resolution) if power == 1 / 2 else relative
    try:
        steps = np.broadcast_to(own if eps is None else np.asarray(eps, float), x.shape).astype(x.dtype)
    except (TypeError, ValueError):
        raise ValueError(
            f"`eps` must be a number or one for each of the {len(x)} components of x, received {describe(eps)}."
        ) from None
    return np.where(x + steps == x, relative, steps).astype(x.dtype)


def _one_sided(x: _Array, steps: _Array, box: _Box) -> _Array:
    """The same steps, the other way or shorter where they would leave the box; 0 where it has no width."""
    below, above = x - box.lower, box.upper - x
    room = np.where(steps >= 0, above, below)
    turned = np.where(abs(steps) <= room, steps, -steps)
    longest = np.where(above >= below, above, -below)
    return np.where(abs(steps) <= np.maximum(below, above), turned, longest)


def _quotients(function: _Function, x: _Array, value: Any, moved: _Array) -> _Array:
    """For each component, the difference quotient to where that component alone has moved; 0 if it has not."""
    gradient = np.zeros(x.shape)
    for index in np.flatnonzero(moved != x):
        point = x.copy()
        point[index] = moved[index]
        width = float(moved[index]) - float(x[index])
        gradient[index] = (float(function.value(point)) - float(value)) / width
    return gradient


def _verdict(point: _Point, box: _Box, gtol: float, exhausted: bool) -> int | None:
    """The status to stop with, or None to go on."""
    if not exhausted and _goes_on(point, box, gtol):
        return None
    largest = np.maximum.reduce(np.abs(box.projected(point))) if point.x.size else 0.0
    if not _seems_finite(point, box, largest):
        for values in (point.fun, point.x, point.jac):
            if not np.isfinite(values).all():
                return _NAN if np.isnan(values).any() else _INFINITE
    if largest <= gtol:
        return _SUCCESS
    return _MAXITER if exhausted else None


_GLANCED_AT = {np.dtype("float64"): (2**50, 1e-290), np.dtype("float32"): (2**22, 1e-30)}
"""For a dtype, of how many components squares are added up without an error of half the sum, and from which sum on
rounding near zero is none of it."""


def _goes_on(point: _Point, box: _Box, gtol: float) -> bool:
    """Whether a glance shows that all is finite, and some component of the gradient larger than `gtol`.

    The squares of components that are not add up to `gtol`'s times their number at most. To look for the largest takes
    several times as long.
    """
    jac = point.jac
    most, least = _GLANCED_AT.get(jac.dtype, (0, 0.0))
    if not box.boundless or jac.size > most or not math.isfinite(point.fun):
        return False
    squares = float(np.vdot(jac, jac))
    return max(2.0 * jac.size * gtol * gtol, least) < squares < math.inf and math.isfinite(np.vdot(point.x, point.x))


def _seems_finite(point: _Point, box: _Box, largest: Any) -> bool:
    """Whether a glance shows that all is finite; large numbers may need a closer look.

    Where there are no bounds, the largest component of the gradient is as finite as all of them.
    """
    quickly = box.boundless and math.isfinite(largest) and math.isfinite(point.fun)
    return quickly and math.isfinite(np.vdot(point.x, point.x))


def _reporter(callback: Callable[..., Any] | None) -> Callable[[_Point], Any]:
    """The callback, called in the form that its signature asks for."""
    if callback is None:
        return lambda point: None
    if set(inspect.signature(callback).parameters) == {"intermediate_result"}:
        return lambda point: callback(intermediate_result=OptimizeResult(x=point.x.copy(), fun=point.fun))
    return lambda point: callback(point.x.copy())


def _checked_start(x0: Any) -> _Array:
    start = np.atleast_1d(np.asarray(x0))
    if start.ndim != 1:
        raise ValueError("'x0' must only have one dimension.")
    start = start.astype(float) if start.dtype.kind in "biuO" else start
    if start.dtype not in _DTYPES:
        raise ValueError(f"`x0` has dtype {start.dtype}; it must be {', '.join(_DTYPES)} or made of integers.")
    return start


def _number_from(name: str, value: Any, default: Any) -> Any:
    if value is None:
        return default
    try:
        if value >= 0:
            return value
    except (TypeError, ValueError):
        pass
    raise ValueError(f"`{name}` must be a number in [0, inf), received {describe(value)}.")

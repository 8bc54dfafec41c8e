"""`gradwise.frontends.scipy` beside SciPy's own methods: the same calls, conventions, warnings and results."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import numpy as np
import pytest
from helpers import user_optimizers
from helpers.releases import seeded
from rules import all_facts

from gradwise import optimizers, schedules

RATES = {name: facts.descends for name, facts in all_facts().items()}
CURVATURES = np.array([1.0, 4.0, 10.0])
GOAL = np.array([1.0, -2.0, 0.5])
START = np.array([3.0, 1.0, -1.0])


def quadratic(x: Any) -> Any:
    return 0.5 * np.sum(CURVATURES * (x - GOAL) ** 2)


def slope(x: Any) -> Any:
    return CURVATURES * (x - GOAL)


def adam(rate: Any = 0.1, **arguments: Any) -> Any:
    return optimizers.Adam(rate, **arguments)


def sum_of_squares(x: Any) -> Any:
    with np.errstate(over="ignore"):
        return np.sum(x**2)


def run(optimizer: Any = None, fun: Any = quadratic, x0: Any = START, *, jac: Any = slope, **arguments: Any) -> Any:
    from scipy.optimize import minimize

    from gradwise.frontends.scipy import minimize_method

    return minimize(fun, x0, jac=jac, method=minimize_method(adam() if optimizer is None else optimizer), **arguments)


def bfgs(**arguments: Any) -> Any:
    from scipy.optimize import minimize

    return minimize(quadratic, START, jac=slope, method="BFGS", **arguments)


def converging(name: str) -> Any:
    """An optimizer that comes to rest at the minimum, if need be with a rate that does."""
    facts = all_facts()[name]
    rate = facts.descends if facts.settles else schedules.ExponentialDecay(0.1, decay_steps=50, decay_rate=0.5)
    return getattr(optimizers, name)(rate, **({"weight_decay": 0.0} if facts.decays else {}))


def plain_loop(optimizer: Any, steps: int, x: Any = START, gradient: Any = slope) -> list[Any]:
    iterates, state = [x], optimizer.init(x)
    for _ in range(steps):
        x, state = optimizer.step(x, gradient(x), state)
        iterates.append(x)
    return iterates


# ---------------------------------------------------------------- optimizers


@pytest.mark.parametrize("name", RATES)
def test_every_algorithm_finds_the_minimum(name: str) -> None:
    result = run(converging(name))
    assert result.success and result.status == 0, result
    np.testing.assert_allclose(result.x, GOAL, atol=1e-4)
    assert np.max(abs(result.jac)) <= 1e-5 < np.max(abs(slope(START)))
    assert result.nfev == result.njev == result.nit + 1


@pytest.mark.parametrize("name", RATES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_iterates_are_those_of_a_plain_loop_to_the_bit(name: str, dtype: str) -> None:
    def gradient(x: Any) -> Any:
        return slope(x).astype(dtype)

    optimizer = getattr(optimizers, name)(RATES[name])
    x = START.astype(dtype)
    result = run(optimizer, x0=x, jac=gradient, options={"maxiter": 25, "return_all": True})
    expected = plain_loop(optimizer, 25, x, gradient)
    assert result.nit == 25 and len(result.allvecs) == 26
    for mine, theirs in zip(result.allvecs, expected, strict=True):
        assert mine.dtype == theirs.dtype == dtype
        assert mine.tobytes() == theirs.tobytes()


@pytest.mark.parametrize(
    "make",
    [
        lambda: user_optimizers.MomentumSGD(learning_rate=0.01),
        lambda: user_optimizers.HalfAdam(0.2),
        lambda: user_optimizers.Alternating(0.01),
        lambda: adam(schedules.CosineDecay(0.5, decay_steps=40)),
        lambda: adam(lambda step: 0.5 / (step + 1)),
        lambda: optimizers.SGD(0.05, momentum=0.9, gradient_accumulation_steps=2, global_clipnorm=1.0),
    ],
    ids=["own", "delegating", "own scalars", "schedule", "callable", "accumulating"],
)
def test_what_else_is_an_optimizer(make: Any) -> None:
    result = run(make(), options={"maxiter": 30})
    assert result.x.tobytes() == plain_loop(make(), 30)[-1].tobytes()


@pytest.mark.parametrize("identifier", ["adam", "config"])
def test_names_and_configurations(identifier: str) -> None:
    given = optimizers.serialize(adam(0.001)) if identifier == "config" else identifier
    assert run(given, options={"maxiter": 5}).x.tobytes() == plain_loop(adam(0.001), 5)[-1].tobytes()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: None, "received None"),
        (lambda: "adamant", "Unknown optimizer"),
        (lambda: optimizers.Adam, "Call it, `Adam"),
        (lambda: optimizers.SGD(convention="torch", maximize=True), "Leave maximize out"),
    ],
    ids=["None", "name", "class", "maximize"],
)
def test_what_is_no_optimizer_to_minimize_with(make: Any, message: str) -> None:
    from gradwise.frontends.scipy import minimize_method

    with pytest.raises(ValueError, match=message):
        minimize_method(make())


def test_rosenbrock() -> None:
    from scipy.optimize import rosen, rosen_der

    result = run(adam(0.02), rosen, [-1.2, 1.0], jac=rosen_der)
    assert result.success
    np.testing.assert_allclose(result.x, 1.0, atol=1e-4)


# ---------------------------------------------------------------- what the objective gives and gets


@pytest.mark.parametrize("scheme", ["2-point", "3-point"])
def test_the_gradient_in_every_form(scheme: str) -> None:
    exact = run()
    counted = run(fun=lambda x: (quadratic(x), slope(x)), jac=True)
    assert counted.x.tobytes() == exact.x.tobytes()
    assert (counted.nfev, counted.njev) == (exact.nfev, exact.njev)
    # `minimize` makes None of these; the scheme is an option.
    for jac in (None, False, "2-point", "3-point", "cs"):
        result = run(jac=jac, options={"finite_diff_scheme": scheme})
        assert result.success
        np.testing.assert_allclose(result.x, GOAL, atol=1e-5)
        assert result.nfev == (result.nit + 1) * {"2-point": 4, "3-point": 7}[scheme]
        assert result.njev == result.nit + 1


@pytest.mark.parametrize("scheme", ["2-point", "3-point"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("eps", [None, 2.0**-10])
def test_differences_keep_within_the_bounds(scheme: str, dtype: str, eps: Any) -> None:
    from scipy.optimize import Bounds

    lower = np.array([-1.0, 0.0, 0.25, 2.0, 0.0, 0.1], dtype)
    upper = np.array([1.0, 1.0, 0.25, np.inf, 2.0**-15, 0.7], dtype)
    seen = []

    def fun(x: Any) -> Any:
        seen.append(x)
        return np.sum(np.exp(x.astype("float64")))

    for x in (lower, upper, np.clip(np.full_like(lower, 0.2), lower, upper)):
        x = np.where(np.isfinite(x), x, 3).astype(dtype)
        options = {"finite_diff_scheme": scheme, "eps": eps, "maxiter": 0}
        with np.errstate(all="raise"):
            gradient = run(fun=fun, x0=x, jac=None, bounds=Bounds(lower, upper), options=options).jac
        close = 2e-2 if dtype == "float32" or eps else 1e-6
        expected = np.exp(x) * (lower != upper)
        np.testing.assert_allclose(gradient, expected, rtol=close)
    assert all(np.all((lower <= point) & (point <= upper)) and point.dtype == dtype for point in seen)


@pytest.mark.parametrize("eps", [None, 1e-6, [1e-6, 1e-4, 1e-30]])
def test_two_point_differences_are_those_of_bfgs(eps: Any) -> None:
    from scipy.optimize import minimize, rosen

    x = np.array([1.5, -3.0, 1e9])
    options = {"maxiter": 0} | ({} if eps is None else {"eps": np.asarray(eps)})
    mine, theirs = run(fun=rosen, x0=x, jac=None, options=options), minimize(rosen, x, method="BFGS", options=options)
    assert mine.jac.tobytes() == theirs.jac.tobytes()
    assert (mine.nfev, mine.njev) == (theirs.nfev, theirs.njev)


def test_two_point_differences_near_bounds_are_those_of_l_bfgs_b() -> None:
    from scipy import optimize

    x, bounds = np.array([1.5, -3.0, 0.5, 1e9]), [(0, 1.5), (-3.0, None), (0.5 - 1e-5, 0.5 + 1e-9), (None, 1e9)]
    visited: list[list[bytes]] = []

    def rosen(point: Any) -> Any:
        visited[-1].append(point.tobytes())
        return optimize.rosen(point)

    for method in ("L-BFGS-B", None):
        visited.append([])
        options = {"eps": 1e-6, "maxiter": 0}
        if method:
            optimize.minimize(rosen, x, method=method, bounds=bounds, options=options)
        else:
            run(fun=rosen, x0=x, jac=None, bounds=bounds, options=options)
    assert visited[0][:5] == visited[1]


def test_arguments_reach_both_functions() -> None:
    result = run(fun=lambda x, goal, scale: scale * np.sum((x - goal) ** 2),
                 jac=lambda x, goal, scale: 2 * scale * (x - goal), args=(GOAL, 2.0))  # fmt: skip
    np.testing.assert_allclose(result.x, GOAL, atol=1e-5)
    alone = run(fun=lambda x, goal: np.sum((x - goal) ** 2), jac=None, args=1.5, x0=[0.0])
    np.testing.assert_allclose(alone.x, 1.5, atol=1e-5)


@pytest.mark.parametrize(
    ("x0", "dtype"),
    [([3, 1, -1], "float64"), (START.astype("float32"), "float32"), (START.astype("float16"), "float16")],
    ids=["integers", "float32", "float16"],
)
def test_dtypes_and_shapes_of_the_start(x0: Any, dtype: str) -> None:
    result = run(x0=x0, options={"maxiter": 3})
    assert result.x.dtype == result.jac.dtype == dtype
    assert run(fun=lambda x: (x[0] - 2.0) ** 2, jac=None, x0=5).x.shape == (1,)
    with pytest.raises(ValueError, match="'x0' must only have one dimension"):
        run(x0=START[None])


def test_functions_that_change_what_they_get_change_nothing() -> None:
    def spoiled(function: Any) -> Any:
        def called(x: Any) -> Any:
            value = function(x)
            x[:] = np.nan
            return value

        return called

    buffer = np.empty(3)

    def reused(x: Any) -> Any:
        buffer[:] = slope(x)
        return buffer

    options = {"return_best": True}
    assert run(adam(1.0), jac=reused, options=options).jac.tobytes() == run(adam(1.0), options=options).jac.tobytes()

    start = START.copy()
    callback = spoiled(lambda x: None)
    result = run(fun=spoiled(quadratic), jac=spoiled(slope), x0=start, callback=callback, options={"return_all": True})
    assert result.x.tobytes() == run().x.tobytes()
    np.testing.assert_array_equal(start, START)
    result.allvecs[0][:] = 0.0
    np.testing.assert_array_equal(start, START)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fun": lambda x: x}, "must return a scalar value"),
        ({"fun": lambda x: None}, "must return a scalar value"),
        ({"jac": lambda x: x[:2]}, r"gradient has shape \(2,\), but `x0` has shape \(3,\)"),
        ({"options": {"maxiter": -1}}, "`maxiter` must be a number in"),
        ({"tol": float("nan")}, "`gtol` must be a number in"),
        ({"jac": None, "options": {"finite_diff_scheme": "4-point"}}, "'2-point' or '3-point', received '4-point'"),
        ({"bounds": [(0, 1)]}, "number of bounds is not compatible"),
        ({"bounds": [(1, 0)] * 3}, "upper bound is less than"),
        ({"bounds": [(0, 1), (0,), (0, 1)]}, "`bounds` must be a `Bounds` or a sequence"),
        ({"jac": None, "options": {"eps": [1e-6, 1e-6]}}, "`eps` must be a number or one for each of the 3"),
        ({"x0": START.astype("complex128")}, "`x0` has dtype complex128"),
        ({"x0": START.astype("longdouble")}, "`x0` has dtype"),
        ({"x0": ["a"]}, "`x0` has dtype"),
    ],
)
def test_errors(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(**arguments)


# ---------------------------------------------------------------- bounds


@pytest.mark.parametrize("name", RATES)
def test_bounds_hold_at_every_evaluation(name: str) -> None:
    from scipy.optimize import Bounds, minimize

    seen = []

    def fun(x: Any) -> Any:
        seen.append(x)
        return quadratic(x)

    lower, upper = np.array([1.5, -np.inf, -5.0]), np.array([np.inf, -2.5, 5.0])
    optimizer = converging(name)
    result = run(optimizer, fun=fun, bounds=Bounds(lower, upper))
    assert result.success
    expected = minimize(quadratic, START, jac=slope, method="L-BFGS-B", bounds=Bounds(lower, upper))
    np.testing.assert_allclose(result.x, expected.x, atol=1e-4)
    assert all(np.all((lower <= x) & (x <= upper)) for x in seen)
    pairs = zip([1.5, None, -5], [None, -2.5, 5], strict=True)
    assert run(optimizer, bounds=pairs).x.tobytes() == result.x.tobytes()


# ---------------------------------------------------------------- how it stops


def test_tolerance_and_success() -> None:
    loose, strict = run(tol=1e-2), run(tol=1e-8)
    assert np.max(abs(loose.jac)) <= 1e-2 and np.max(abs(strict.jac)) <= 1e-8 and loose.nit < strict.nit
    # As in `minimize`, an option goes before `tol`.
    assert run(tol=1e-8, options={"gtol": 1e-2}).nit == loose.nit
    at_once = run(x0=GOAL)
    assert at_once.success and (at_once.nit, at_once.nfev) == (0, 1)
    assert at_once.message == bfgs().message


@pytest.mark.parametrize("maxiter", [0, 3])
def test_the_most_iterations(maxiter: int) -> None:
    mine, theirs = run(options={"maxiter": maxiter}), bfgs(options={"maxiter": maxiter})
    for key in ("success", "status", "message", "nit"):
        assert mine[key] == theirs[key]
    assert set(theirs) - set(mine) == {"hess_inv"} and set(mine) <= set(theirs)
    assert mine.fun == quadratic(mine.x) and np.array_equal(mine.jac, slope(mine.x))


@pytest.mark.parametrize("new_form", [True, False])
def test_callbacks(new_form: bool) -> None:
    seen: list[Any] = []

    def by_result(intermediate_result: Any) -> None:
        assert intermediate_result.fun == quadratic(intermediate_result.x)
        seen.append(intermediate_result.x)

    def by_x(x: Any) -> None:
        seen.append(x)

    result = run(callback=by_result if new_form else by_x, options={"maxiter": 7, "return_all": True})
    assert len(seen) == 7
    np.testing.assert_array_equal(seen, result.allvecs[1:])


@pytest.mark.parametrize("new_form", [True, False])
def test_a_callback_that_stops(new_form: bool) -> None:
    def by_result(intermediate_result: Any) -> None:
        if intermediate_result.fun < 5.0:
            raise StopIteration

    def by_x(x: Any) -> None:
        if quadratic(x) < 5.0:
            raise StopIteration

    callback = by_result if new_form else by_x
    mine, theirs = run(callback=callback), bfgs(callback=callback)
    assert (mine.success, mine.status, mine.message) == (theirs.success, theirs.status, theirs.message)
    assert mine.status == 99 and mine.fun < 5.0 and mine.nit > 0


@pytest.mark.parametrize(
    ("fun", "jac", "status", "word"),
    [
        (lambda x: np.nan if x[0] < 2.5 else x[0], None, 3, "NaN"),
        (lambda x: -np.inf if x[0] < 2.5 else x[0], lambda x: np.ones(3), 2, "Infinite"),
        (lambda x: x[0], lambda x: np.full(3, np.nan if x[0] < 2.5 else 1.0), 3, "NaN"),
        (lambda x: np.nan, lambda x: np.ones(3), 3, "NaN"),
    ],
    ids=["NaN", "infinity", "gradient", "at once"],
)
def test_values_that_are_not_finite(fun: Any, jac: Any, status: int, word: str) -> None:
    result = run(fun=fun, jac=jac)
    assert not result.success and result.status == status and result.message.startswith(word)
    assert result.nit < 10


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_start_that_is_not_finite(value: float) -> None:
    with np.errstate(all="raise", invalid="ignore"):
        result = run(x0=[value, 0.0, 1.0], jac=None)
    assert result.status in (2, 3) and result.nit == 0 and result.nfev == 1


def test_divergence_ends() -> None:
    result = run(optimizers.SGD(10.0), fun=sum_of_squares, jac=lambda x: 2 * x)
    assert not result.success and result.status in (2, 3) and result.nit < 1000
    # What was best is still there for who asks.
    best = run(optimizers.SGD(10.0), fun=sum_of_squares, jac=lambda x: 2 * x, options={"return_best": True})
    np.testing.assert_array_equal(best.x, START)


def test_the_last_iterate_or_the_best() -> None:
    options = {"maxiter": 20, "return_all": True}
    last, best = run(adam(1.0), options=options), run(adam(1.0), options=options | {"return_best": True})
    values = [quadratic(x) for x in last.allvecs]
    assert last.fun == values[-1] > best.fun == min(values)
    assert best.fun == quadratic(best.x) and np.array_equal(best.jac, slope(best.x)) and best.nit == 20


def test_averages_of_the_iterates() -> None:
    optimizer = adam(use_ema=True, ema_momentum=0.9)
    result = run(optimizer, bounds=[(None, 2.0)] * 3, options={"maxiter": 5})
    assert result.averages.shape == (3,) and np.all(result.averages <= 2.0)
    assert not np.array_equal(result.averages, result.x) and "averages" not in run(options={"maxiter": 1})


# ---------------------------------------------------------------- SciPy's words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"hess": lambda x: np.diag(CURVATURES)}, "information (hess). It is ignored: leave it out."),
        ({"hessp": lambda x, p: CURVATURES * p}, "(hessp). It is ignored: leave it out."),
        ({"constraints": {"type": "eq", "fun": lambda x: x[0]}}, "They are ignored: give bounds, or add"),
        ({"options": {"ftol": 1e-9, "xtol": 1}}, "xtol. For `ftol` take options={'gtol': 1e-6}, which stops when"),
    ],
    ids=["hess", "hessp", "constraints", "options"],
)
def test_what_is_not_used_is_warned_of_as_bfgs_does_and_with_what_to_do(arguments: dict[str, Any], words: str) -> None:
    with pytest.warns((UserWarning, RuntimeWarning)) as mine:
        result = run(**arguments)
    with pytest.warns((UserWarning, RuntimeWarning)) as theirs:
        bfgs(**arguments)
    assert result.success
    said = str(mine[0].message)
    assert said.startswith(str(theirs[0].message).replace("BFGS", "Adam")) and words in said
    assert mine[0].category is theirs[0].category and mine[0].filename == theirs[0].filename == __file__


def test_what_is_printed(capsys: Any) -> None:
    from scipy.optimize import OptimizeWarning

    run(options={"disp": True})
    mine = capsys.readouterr().out.splitlines()
    bfgs(options={"disp": True})
    theirs = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in mine] == [line.partition(":")[0] for line in theirs]
    with pytest.warns(OptimizeWarning, match="Maximum number of iterations") as caught:
        run(options={"disp": True, "maxiter": 1})
    assert caught[0].filename == __file__ and "Iterations: 1" in capsys.readouterr().out


# ---------------------------------------------------------------- one method, many runs


def test_a_run_leaves_no_trace() -> None:
    from scipy.optimize import minimize

    from gradwise.frontends.scipy import minimize_method

    optimizer = adam(schedules.CosineDecay(0.5, decay_steps=100))
    weights = np.zeros(2)
    optimizer.apply([np.ones(2)], [weights])
    before = copy.deepcopy((optimizer.get_config(), [variable.numpy() for variable in optimizer.variables]))
    method = minimize_method(optimizer)
    first = minimize(quadratic, START, jac=slope, method=method, options={"maxiter": 100})
    nested = minimize(lambda x: minimize(quadratic, x, jac=slope, method=method, options={"maxiter": 2}).fun,
                      START, method=method, options={"maxiter": 2})  # fmt: skip
    assert nested.nit == 2
    # Another length in between, then the same again.
    minimize(sum_of_squares, np.ones(2), method=method, options={"maxiter": 10})
    again = minimize(quadratic, START, jac=slope, method=method, options={"maxiter": 100})
    assert first.x.tobytes() == again.x.tobytes() and first.nit == again.nit
    after = (optimizer.get_config(), [variable.numpy() for variable in optimizer.variables])
    np.testing.assert_equal(after, before)
    assert repr(method) == f"minimize_method({optimizer!r})"


def test_threads_share_a_method() -> None:
    from scipy.optimize import minimize

    from gradwise.frontends.scipy import minimize_method

    method = minimize_method(adam())
    starts = [START * factor for factor in (1.0, 2.0, -1.0, 0.5)]
    results: list[Any] = [None] * len(starts)

    def work(index: int) -> None:
        results[index] = minimize(quadratic, starts[index], jac=slope, method=method, options={"maxiter": 100})

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(starts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result, start in zip(results, starts, strict=True):
        assert result.x.tobytes() == run(x0=start, options={"maxiter": 100}).x.tobytes()


def test_methods_are_copied_and_pickled() -> None:
    from scipy.optimize import minimize

    from gradwise.frontends.scipy import minimize_method

    method = minimize_method(adam())
    for other in (pickle.loads(pickle.dumps(method)), copy.deepcopy(method)):
        assert minimize(quadratic, START, jac=slope, method=other).x.tobytes() == run().x.tobytes()


@pytest.mark.parametrize("host", ["basinhopping", "dual_annealing"])
def test_inside_global_optimizers(host: str) -> None:
    from scipy import optimize

    from gradwise.frontends.scipy import minimize_method

    def fun(x: Any) -> Any:
        return float(np.cos(14.5 * x[0] - 0.3) + (x[0] + 0.2) * x[0])

    def gradient(x: Any) -> Any:
        return np.array([-14.5 * np.sin(14.5 * x[0] - 0.3) + 2 * x[0] + 0.2])

    # With this rate, steps from one valley end in it.
    local = {"method": minimize_method(optimizers.SGD(0.005)), "jac": gradient}
    if host == "basinhopping":
        result = seeded(optimize.basinhopping, fun, [1.0], minimizer_kwargs=local, niter=30, seed=0)
    else:
        result = seeded(optimize.dual_annealing, fun, [(-2.0, 2.0)], minimizer_kwargs=local, maxiter=100, seed=0)
    np.testing.assert_allclose(result.x, -0.195, atol=1e-3)
    np.testing.assert_allclose(result.fun, -1.0009, atol=1e-4)


def test_huge_iterates_are_finite() -> None:
    start = np.array([1e200, -1e300])
    arguments = {"fun": lambda x: (0.5, np.array([1.0, 0.0])), "x0": start, "jac": True, "options": {"maxiter": 3}}
    result = run(optimizers.SGD(1e199), **arguments)
    assert (result.status, result.nit, result.nfev, result.njev) == (1, 3, 4, 4)
    np.testing.assert_allclose(result.x, [7e199, -1e300])


def test_the_start_is_not_the_result() -> None:
    start = np.array([3.0])
    result = run(fun=lambda x: (0.0, np.zeros(1)), x0=start, jac=True)
    assert result.nit == 0 and not np.may_share_memory(result.x, start)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("gtol", [0.0, 1e-30, 1e-5, 0.3, np.inf])
@pytest.mark.parametrize("special", [0.0, 1e-40, 1e-5, 0.3, 1.0, 1e30, 1e200, np.inf, np.nan])
def test_a_glance_at_a_gradient_says_what_a_close_look_does(special, gtol, dtype, monkeypatch):
    with np.errstate(over="ignore"):
        ends = np.array([0.3, special, -special, 1e-5], dtype=dtype)
    values = (ends[:1], ends[1:2], ends[:2], ends[2:], np.zeros(3, dtype), np.repeat(ends[1:2], 50))
    frontend = pytest.importorskip("gradwise.frontends.scipy")
    box = frontend._Box.of(None, np.zeros(1, dtype))
    pairs = [(x, jac) for jac in values for x in (np.ones_like(jac), jac)]
    points = [frontend._Point(x, fun, jac) for x, jac in pairs for fun in (0.0, special)]
    quickly = [frontend._verdict(point, box, gtol, False) for point in points]
    monkeypatch.setattr(frontend, "_GLANCED_AT", {})
    assert quickly == [frontend._verdict(point, box, gtol, False) for point in points]

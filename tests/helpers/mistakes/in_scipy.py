"""In the front end of SciPy."""

import numpy as np
from scipy.optimize import minimize

from gradwise import optimizers
from gradwise.frontends.scipy import minimize_method


def _fun(x):
    return ((x - 3.0) ** 2).sum()


def _jac(x):
    return 2 * (x - 3.0)


def optimizer_as_method():
    """An optimizer in place of a method."""
    minimize(_fun, np.zeros(2), jac=_jac, method=optimizers.Adam(0.1))


def class_as_method():
    """A class in place of an optimizer."""
    minimize(_fun, np.zeros(2), jac=_jac, method=minimize_method(optimizers.Adam))


def name_misspelt():
    """An optimizer by a name that is misspelt."""
    minimize(_fun, np.zeros(2), jac=_jac, method=minimize_method("adamm"))


def rate_as_method():
    """A rate in place of an optimizer."""
    minimize_method(0.1)


def option_misspelt():
    """An option that is misspelt."""
    minimize(_fun, np.zeros(2), jac=_jac, method=minimize_method(optimizers.Adam(0.1)), options={"maxitr": 10})


def option_of_others():
    """An option that other methods have."""
    minimize(_fun, np.zeros(2), jac=_jac, method=minimize_method(optimizers.Adam(0.1)), options={"ftol": 1e-6})


def option_of_the_optimizer():
    """An argument of the optimizer as an option."""
    minimize(_fun, np.zeros(2), jac=_jac, method=minimize_method("adam"), options={"learning_rate": 0.1})


def option_out_of_range():
    """An option that is out of its range."""
    minimize(_fun, np.zeros(2), jac=_jac, method=minimize_method(optimizers.Adam(0.1)), options={"maxiter": -1})


def climbing():
    """An optimizer that climbs."""
    minimize_method(optimizers.Adam(0.1, maximize=True, convention="torch"))


def constrained():
    """Constraints, which no step obeys."""
    constraint = {"type": "ineq", "fun": lambda x: x[0]}
    method = minimize_method(optimizers.Adam(0.1))
    minimize(_fun, np.zeros(2), jac=_jac, method=method, constraints=constraint)


def hessian():
    """A Hessian, which no step uses."""
    minimize(_fun, np.zeros(2), jac=_jac, hess=lambda x: np.eye(2), method=minimize_method(optimizers.Adam(0.1)))


def gradient_of_another_shape():
    """A gradient of another shape."""
    minimize(_fun, np.zeros(2), jac=lambda x: np.ones(3), method=minimize_method(optimizers.Adam(0.1)))


def value_of_several():
    """A function with several values."""
    minimize(lambda x: x - 3.0, np.zeros(2), jac=_jac, method=minimize_method(optimizers.Adam(0.1)))


def bounds_too_few():
    """Bounds for other numbers of variables."""
    minimize(_fun, np.zeros(2), jac=_jac, bounds=[(0, 1)] * 3, method=minimize_method(optimizers.Adam(0.1)))


def pattern_of_no_name():
    """A pattern that is in no name."""
    optimizer = optimizers.AdamW(0.1, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    minimize(_fun, np.zeros(2), jac=_jac, method=minimize_method(optimizer))

"""In SciPy's own dialect: any optimizer of gradwise is a method of scipy.optimize.minimize."""

import numpy as np
from scipy.optimize import minimize

from gradwise import optimizers
from gradwise.frontends.scipy import minimize_method

rng = np.random.default_rng(0)
inputs = rng.normal(size=(200, 3))
targets = inputs @ np.array([1.0, -2.0, 0.5]) + 3.0


def loss(params):
    error = inputs @ params[:3] + params[3] - targets
    return (error**2).mean(), 2 * np.append(inputs.T @ error, error.sum()) / len(error)


method = minimize_method(optimizers.Adam(0.1))
result = minimize(loss, np.zeros(4), jac=True, method=method, bounds=[(-1.5, None)] * 4, tol=1e-6)

print(result.x.round(3), result.message)  # [ 1.007 -1.5    0.516  2.981] Optimization terminated successfully.

"""Keras 2.2's optimizers in plain Python, one element at a time, written from its documented update rules.

Every function takes lists of parameters and of gradients per step, each a flat list of floats, and gives the parameters
after the last step. Powers are written out as products, and nothing is shared with the library.
"""

from __future__ import annotations

import math


def clipped(gradients, clipnorm=None, clipvalue=None):
    """First by the norm of all gradients together, then by value."""
    if clipnorm is not None:
        norm = math.sqrt(sum(g * g for gradient in gradients for g in gradient))
        if norm >= clipnorm:
            gradients = [[g * clipnorm / norm for g in gradient] for gradient in gradients]
    if clipvalue is not None:
        gradients = [[min(max(g, -clipvalue), clipvalue) for g in gradient] for gradient in gradients]
    return gradients


def train(algorithm, start, steps, lr, decay=0.0, clipnorm=None, clipvalue=None, **arguments):
    """The parameters after all steps."""
    parameters = [list(values) for values in start]
    states = [[{} for _ in values] for values in start]
    shared = {}
    for count, gradients in enumerate(steps):
        rate = lr / (1 + decay * count)
        gradients = clipped(gradients, clipnorm, clipvalue)
        shared["count"] = count
        if algorithm is nadam:
            prepare_nadam(shared, **arguments)
        for values, gradient, state in zip(parameters, gradients, states, strict=True):
            for position, g in enumerate(gradient):
                values[position] = algorithm(values[position], g, state[position], rate, shared, **arguments)
    return parameters


def sgd(p, g, s, rate, shared, momentum=0.0, nesterov=False):
    v = momentum * s.get("m", 0.0) - rate * g
    s["m"] = v
    return p + momentum * v - rate * g if nesterov else p + v


def rmsprop(p, g, s, rate, shared, rho=0.9, epsilon=1e-7):
    a = rho * s.get("a", 0.0) + (1 - rho) * g * g
    s["a"] = a
    return p - rate * g / (math.sqrt(a) + epsilon)


def adagrad(p, g, s, rate, shared, epsilon=1e-7):
    a = s.get("a", 0.0) + g * g
    s["a"] = a
    return p - rate * g / (math.sqrt(a) + epsilon)


def adadelta(p, g, s, rate, shared, rho=0.95, epsilon=1e-7):
    a = rho * s.get("a", 0.0) + (1 - rho) * g * g
    d = s.get("d", 0.0)
    update = g * math.sqrt(d + epsilon) / math.sqrt(a + epsilon)
    s["a"] = a
    s["d"] = rho * d + (1 - rho) * update * update
    return p - rate * update


def adam(p, g, s, rate, shared, beta_1=0.9, beta_2=0.999, epsilon=1e-7, amsgrad=False):
    t = shared["count"] + 1
    scaled = rate * math.sqrt(1 - beta_2**t) / (1 - beta_1**t)
    m = beta_1 * s.get("m", 0.0) + (1 - beta_1) * g
    v = beta_2 * s.get("v", 0.0) + (1 - beta_2) * g * g
    s["m"], s["v"] = m, v
    if amsgrad:
        v = s["vhat"] = max(s.get("vhat", 0.0), v)
    return p - scaled * m / (math.sqrt(v) + epsilon)


def adamax(p, g, s, rate, shared, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    t = shared["count"] + 1
    m = beta_1 * s.get("m", 0.0) + (1 - beta_1) * g
    u = max(beta_2 * s.get("u", 0.0), abs(g))
    s["m"], s["u"] = m, u
    return p - rate / (1 - beta_1**t) * m / (u + epsilon)


def prepare_nadam(shared, beta_1=0.9, schedule_decay=0.004, **_):
    t = shared["count"] + 1
    shared["now"] = beta_1 * (1 - 0.5 * 0.96 ** (t * schedule_decay))
    shared["next"] = beta_1 * (1 - 0.5 * 0.96 ** ((t + 1) * schedule_decay))
    shared["product"] = shared.get("product", 1.0) * shared["now"]


def nadam(p, g, s, rate, shared, beta_1=0.9, beta_2=0.999, epsilon=1e-7, schedule_decay=0.004):
    t = shared["count"] + 1
    now, following, product = shared["now"], shared["next"], shared["product"]
    m = beta_1 * s.get("m", 0.0) + (1 - beta_1) * g
    v = beta_2 * s.get("v", 0.0) + (1 - beta_2) * g * g
    s["m"], s["v"] = m, v
    direction = (1 - now) * g / (1 - product) + following * m / (1 - product * following)
    return p - rate * direction / (math.sqrt(v / (1 - beta_2**t)) + epsilon)

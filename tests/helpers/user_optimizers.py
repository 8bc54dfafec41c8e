"""Optimizers as users write them, for tests: the issue's own example, unchanged but for its imports, and others."""

from __future__ import annotations

from gradwise.backends import ops
from gradwise.optimizers import Adam, Optimizer


class MomentumSGD(Optimizer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.momentum = 0.9

    def build(self, variables):
        super().build(variables)
        self.momentums = []
        for variable in variables:
            self.momentums.append(self.add_variable_from_reference(reference_variable=variable, name="momentum"))

    def update_step(self, gradient, variable, learning_rate):
        learning_rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        m = self.momentums[self._get_variable_index(variable)]
        self.assign(
            m,
            ops.subtract(
                ops.multiply(m, ops.cast(self.momentum, variable.dtype)),
                ops.multiply(gradient, learning_rate),
            ),
        )
        self.assign_add(variable, m)


class HalfAdam(Optimizer):
    """Delegates to an Adam of its own, with half the rate."""

    def __init__(self, learning_rate=0.01, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.inner = Adam(amsgrad=True)

    def build(self, variables):
        super().build(variables)
        self.inner.build(variables)

    def update_step(self, gradient, variable, learning_rate):
        self.inner.update_step(gradient, variable, learning_rate * 0.5)


class Alternating(Optimizer):
    """Steps by the gradient on odd updates and by its sign on even ones, and counts the even ones."""

    def build(self, variables):
        super().build(variables)
        self.even = self.add_scalar("even", 0.0)

    def begin_step(self, gradients, variables, learning_rate):
        self.assign_add(self.even, ops.where((self.iterations + 1) % 2 == 0, 1.0, 0.0))

    def update_step(self, gradient, variable, learning_rate):
        ops.cond(
            self.step_of(variable) % 2 == 0,
            lambda: self.assign_sub(variable, ops.sign(gradient) * learning_rate),
            lambda: self.assign_sub(variable, gradient * learning_rate),
        )


class Lamb(Optimizer):
    """Adam's direction, with a layer's rate."""

    def build(self, variables):
        super().build(variables)
        self.means, self.squares = self.add_optimizer_variables(variables, ["mean", "square"])

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        mean, square = self.means[index], self.squares[index]
        self.assign(mean, ops.moving_average(mean, gradient, 0.9))
        self.assign(square, ops.moving_average(square, ops.square(gradient), 0.99))
        direction = mean / (ops.sqrt(square) + 1e-6)
        own, other = ops.norm(variable), ops.norm(direction)
        ratio = ops.where(own > 0.0, ops.where(other > 0.0, own / (other + 1e-12), 1.0), 1.0)
        self.assign_sub(variable, direction * (learning_rate * ratio))


class Adafactor(Optimizer):
    """Of matrices it keeps a mean square of each row and of each column, of all else one of each element."""

    def __init__(self, learning_rate=0.01, beta_2=0.99, epsilon=1e-30, clip_threshold=1.0, **keywords):
        super().__init__(learning_rate, **keywords)
        self.beta_2, self.epsilon, self.clip_threshold = beta_2, epsilon, clip_threshold

    def build(self, variables):
        super().build(variables)
        self.rows, self.columns, self.squares = [], [], []
        for variable in variables:
            shape, factored = variable.shape, variable.ndim >= 2
            row = column = square = None
            if factored:
                row = self.add_variable_from_reference(variable, "row", shape=shape[:-1])
                column = self.add_variable_from_reference(variable, "column", shape=shape[:-2] + shape[-1:])
            else:
                square = self.add_variable_from_reference(variable, "square")
            self.rows.append(row)
            self.columns.append(column)
            self.squares.append(square)

    def update_step(self, gradient, variable, learning_rate):
        index = self.variable_index(variable)
        row, column, square = self.rows[index], self.columns[index], self.squares[index]
        new = ops.square(gradient) + self.epsilon
        if square is not None:
            self.assign(square, ops.moving_average(square, new, self.beta_2))
            update = gradient / ops.sqrt(square)
        else:
            self.assign(row, ops.moving_average(row, ops.mean(new, axis=-1), self.beta_2))
            self.assign(column, ops.moving_average(column, ops.mean(new, axis=-2), self.beta_2))
            share = row / ops.mean(row, axis=-1, keepdims=True)
            update = gradient / ops.sqrt(ops.expand_dims(share, -1) * ops.expand_dims(column, -2))
        size = ops.sqrt(ops.mean(ops.square(update)))
        self.assign_sub(variable, update * (learning_rate / ops.maximum(size / self.clip_threshold, 1.0)))

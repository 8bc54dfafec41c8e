"""A rule of your own, on every array library: slots in build, the mathematics in update_step."""

import torch

from gradwise import schedules
from gradwise.backends import ops
from gradwise.optimizers import Optimizer


class Signum(Optimizer):
    def __init__(self, learning_rate=1e-4, beta=0.9, **keywords):
        super().__init__(learning_rate, **keywords)
        self.beta = beta

    def build(self, variables):
        super().build(variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient, variable, learning_rate):
        momentum = self.momentums[self.variable_index(variable)]
        self.assign(momentum, momentum * self.beta + gradient * (1 - self.beta))
        self.assign_sub(variable, ops.sign(momentum) * learning_rate)


torch.manual_seed(0)
inputs = torch.randn(200, 3)
targets = inputs @ torch.tensor([1.0, -2.0, 0.5]) + 3.0
model = torch.nn.Linear(3, 1)
optimizer = Signum(schedules.PolynomialDecay(0.02, decay_steps=1000, end_learning_rate=0.0))
for _ in range(1000):
    model.zero_grad()
    loss = ((model(inputs)[:, 0] - targets) ** 2).mean()
    loss.backward()
    optimizer.apply([p.grad for p in model.parameters()], model.parameters())

print(f"loss {loss:.4f}")  # loss 0.0000

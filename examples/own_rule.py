"""A rule of your own, on every array library: slots in build, the mathematics in update_step."""

import torch

from gradwise import schedules
from gradwise.backends import ops
from gradwise.optimizers import Optimizer


class Lion(Optimizer):
    def __init__(self, learning_rate=1e-4, beta_1=0.9, beta_2=0.99, **keywords):
        super().__init__(learning_rate, **keywords)
        self.beta_1, self.beta_2 = beta_1, beta_2

    def build(self, variables):
        super().build(variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient, variable, learning_rate):
        momentum = self.momentums[self.variable_index(variable)]
        direction = ops.sign(momentum * self.beta_1 + gradient * (1 - self.beta_1))
        self.assign_sub(variable, direction * learning_rate)
        self.assign(momentum, momentum * self.beta_2 + gradient * (1 - self.beta_2))


torch.manual_seed(0)
inputs = torch.randn(200, 3)
targets = inputs @ torch.tensor([1.0, -2.0, 0.5]) + 3.0
model = torch.nn.Linear(3, 1)
optimizer = Lion(schedules.PolynomialDecay(0.02, decay_steps=1000, end_learning_rate=0.0))
for _ in range(1000):
    model.zero_grad()
    loss = ((model(inputs)[:, 0] - targets) ** 2).mean()
    loss.backward()
    optimizer.apply([p.grad for p in model.parameters()], model.parameters())

print(f"loss {loss:.4f}")  # loss 0.0000

"""Torch's own way of training, with gradwise's optimizer; the README shows it."""

import torch

from gradwise.frontends import torch as optim

torch.manual_seed(0)
inputs = torch.randn(200, 3)
targets = inputs @ torch.tensor([1.0, -2.0, 0.5]) + 3.0
model = torch.nn.Linear(3, 1)
optimizer = optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.0)
scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=300)
for _ in range(300):
    optimizer.zero_grad()
    loss = ((model(inputs)[:, 0] - targets) ** 2).mean()
    loss.backward()
    optimizer.step()
    scheduler.step()

print(f"loss {loss:.4f}")  # loss 0.0000

"""A training step to compile, and all that it changes."""

from __future__ import annotations

from typing import Any

import numpy as np

import nn
import tinygrad_seq as tg
from nn import optim


def model_and_step(executor: str | None = None) -> tuple[nn.Module, optim.Optimizer, Any]:
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.2), nn.Linear(4, 2))
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    def step(x: tg.Tensor) -> tg.Tensor:
        loss = (model(x) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return model, optimizer, tg.compile(step, executor=executor)


def everything(model: nn.Module, optimizer: optim.Optimizer, gradients: bool = True) -> list[Any]:
    """Parameters, gradients, the optimizer's state and the random stream, as plain numbers."""
    found: list[Any] = [p.detach().numpy().copy() for p in model.parameters()]
    if gradients:
        found += [None if p.grad is None else p.grad.numpy().copy() for p in model.parameters()]
    for state in optimizer.state.values():
        found += [v.numpy().copy() if isinstance(v, tg.Tensor) else v for v in state.values()]
    return [*found, tg.default_generator.get_state()]


def equal(a: list[Any], b: list[Any]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def grad_of(w: tg.Tensor) -> list[float]:
    assert w.grad is not None
    return w.grad.tolist()

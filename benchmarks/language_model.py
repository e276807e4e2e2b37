"""One training step of a character-level language model, and one character drawn from it, on our engine.

Embedding, recurrent layers, linear layer, cross-entropy, backward pass, clipping of the gradient's norm at 5, Adam.
Float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nn
import nn.functional as F
import tinygrad_seq as tg
from nn import optim

from .workloads import Workload


class LanguageModel(nn.Module):
    """tokens (T, B) -> scores (T, B, V)."""

    def __init__(self, w: Workload) -> None:
        self.embedding = nn.Embedding(w.V, w.H)
        self.lstm = getattr(nn, w.kind)(w.H, w.H, w.L)
        self.head = nn.Linear(w.H, w.V)
        self.load_state_dict({name: tg.tensor(weight) for name, weight in w.weights().items()})

    def forward(self, tokens: tg.Tensor) -> tg.Tensor:
        scores: tg.Tensor = self.head(self.lstm(self.embedding(tokens))[0])
        return scores


def ours(w: Workload, executor: str | None = None, device: str = "cpu", compiled: bool = False) -> Callable[[], float]:
    """A function that does one step and returns the loss; compiled, if that is said or an executor is named."""
    model = LanguageModel(w).to(device)
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    x, y = [tg.tensor(tokens, device=device) for tokens in w.batch()]

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        loss = F.cross_entropy(model(x).reshape(-1, w.V), y.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        return loss.detach()

    run = tg.compile(step, executor=executor) if executor or compiled else step
    return lambda: float(run(x, y))


def sampling(w: Workload, executor: str | None = None) -> Callable[[], int]:
    """A function that draws one character, batch 1, and returns it."""
    model = LanguageModel(w)
    generator = tg.Generator(0)

    def step(token: tg.Tensor, state: Any) -> tuple[tg.Tensor, Any]:
        with tg.no_grad():
            hidden, state = model.lstm(model.embedding(token), state)
            return tg.multinomial(model.head(hidden)[-1].softmax(-1), generator=generator), state

    run: Any = tg.compile(step, executor=executor) if executor else step
    held: list[Any] = list(run(tg.tensor([[1]]), None))

    def draw() -> int:
        held[:] = run(*held)
        return int(held[0])

    return draw

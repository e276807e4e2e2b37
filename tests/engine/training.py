"""A small language model in training, for tests that compare devices."""

from __future__ import annotations

import numpy as np

import nn
import nn.functional as F
import tinygrad_seq as tg


def trained(kind: str, device: str, *, compiled: bool = False, steps: int = 5) -> tuple[list[float], nn.ModuleList]:
    """The losses of some steps of one on a device, and the model that came of it."""
    tg.manual_seed(0)
    parts = [nn.Embedding(5, 4), getattr(nn, kind)(4, 6, 2, dropout=0.2), nn.Linear(6, 5)]
    embedding, recurrent, head = model = nn.ModuleList(parts).to(device)
    optimizer = nn.optim.Adam(model.parameters(), lr=0.01)
    tokens = tg.tensor(np.arange(24).reshape(8, 3) % 5, device=device)

    def step(tokens: tg.Tensor) -> tg.Tensor:
        hidden, _ = recurrent(embedding(tokens[:-1]))
        loss = F.cross_entropy(head(hidden).reshape(-1, 5), tokens[1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        return loss.detach()

    run = tg.compile(step) if compiled else step
    return [run(tokens).item() for _ in range(steps)], model

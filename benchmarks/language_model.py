"""One training step of a character-level language model, ours and PyTorch's.

Embedding, LSTM stack, linear layer, cross-entropy, backward pass, clipping of the gradient's norm at 5, Adam. Float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import nn
import nn.functional as F
import tinygrad_seq as tg
from nn import optim


class Workload(NamedTuple):
    """The sizes of a step: V vocabulary, H hidden, L layers, B batch, T time steps."""

    name: str
    V: int
    H: int
    L: int
    B: int
    T: int

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets, (T, B) integers."""
        rng = np.random.default_rng(0)
        return rng.integers(0, self.V, (self.T, self.B)), rng.integers(0, self.V, (self.T, self.B))


W2 = Workload("W2", V=65, H=128, L=2, B=50, T=50)
W3 = Workload("W3", V=65, H=512, L=2, B=64, T=64)


class LanguageModel(nn.Module):
    """tokens (T, B) -> scores (T, B, V)."""

    def __init__(self, w: Workload, kind: str = "LSTM") -> None:
        self.embedding = nn.Embedding(w.V, w.H)
        self.lstm = getattr(nn, kind)(w.H, w.H, w.L)
        self.head = nn.Linear(w.H, w.V)

    def forward(self, tokens: tg.Tensor) -> tg.Tensor:
        scores: tg.Tensor = self.head(self.lstm(self.embedding(tokens))[0])
        return scores


def ours(
    w: Workload, kind: str = "LSTM", executor: str | None = None, device: str = "cpu", compiled: bool = False
) -> Callable[[], float]:
    """A function that does one step and returns the loss; compiled, if that is said or an executor is named."""
    tg.manual_seed(0)
    model = LanguageModel(w, kind).to(device)
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


def torch_peer(w: Workload, *, fused: bool, kind: str = "LSTM", device: str = "cpu") -> Callable[[], float]:
    """The same step in PyTorch: with its fused layer, or with the composition that ours is, in eager operations.

    Raises:
        ImportError: if PyTorch is not installed.
    """
    import torch

    torch.manual_seed(0)
    embedding, lstm = torch.nn.Embedding(w.V, w.H), getattr(torch.nn, kind)(w.H, w.H, w.L)
    head = torch.nn.Linear(w.H, w.V)
    for module in (embedding, lstm, head):
        module.to(device)
    parameters = [*embedding.parameters(), *lstm.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=2e-3)
    x, y = (torch.from_numpy(tokens).to(device) for tokens in w.batch())

    def composition(xs: torch.Tensor) -> torch.Tensor:
        for k in range(w.L):
            W_hh = getattr(lstm, f"weight_hh_l{k}").T
            bias = getattr(lstm, f"bias_ih_l{k}") + getattr(lstm, f"bias_hh_l{k}")
            xW = xs @ getattr(lstm, f"weight_ih_l{k}").T + bias
            h = c = torch.zeros(w.B, w.H, device=device)
            outputs = []
            for xW_t in xW.unbind(0):
                i, f, g, o = (xW_t + h @ W_hh).chunk(4, dim=-1)
                i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
                c = f * c + i * g
                h = o * torch.tanh(c)
                outputs.append(h)
            xs = torch.stack(outputs)
        return xs

    def step() -> float:
        features = embedding(x)
        hidden = lstm(features)[0] if fused else composition(features)
        loss = torch.nn.functional.cross_entropy(head(hidden).reshape(-1, w.V), y.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        return loss.item()

    return step

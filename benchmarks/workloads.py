"""The workloads: one training step of a character-level language model, and one character drawn from one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Workload(NamedTuple):
    """The sizes of a step: V vocabulary, H hidden, L layers, B batch, T time steps; LSTM or RNN."""

    name: str
    V: int
    H: int
    L: int
    B: int
    T: int
    kind: str = "LSTM"

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets, (T, B) integers."""
        rng = np.random.default_rng(0)
        return rng.integers(0, self.V, (self.T, self.B)), rng.integers(0, self.V, (self.T, self.B))

    def weights(self) -> dict[str, np.ndarray]:
        """Initial parameters in PyTorch's names and shapes, the same for every candidate."""
        rows = (4 if self.kind == "LSTM" else 1) * self.H
        shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (self.V, self.H)}
        for k in range(self.L):
            shapes |= {f"lstm.weight_ih_l{k}": (rows, self.H), f"lstm.weight_hh_l{k}": (rows, self.H)}
            shapes |= {f"lstm.bias_ih_l{k}": (rows,), f"lstm.bias_hh_l{k}": (rows,)}
        shapes |= {"head.weight": (self.V, self.H), "head.bias": (self.V,)}
        rng, bound = np.random.default_rng(1), self.H**-0.5
        return {name: rng.uniform(-bound, bound, shape).astype(np.float32) for name, shape in shapes.items()}


W1 = Workload("W1", V=65, H=100, L=1, B=1, T=25)
W2 = Workload("W2", V=65, H=128, L=2, B=50, T=50)
W3 = Workload("W3", V=65, H=512, L=2, B=64, T=64)
W4 = W2._replace(name="W4", kind="RNN")
W5 = Workload("W5", V=65, H=1024, L=2, B=256, T=128)
LONG = W2._replace(name="T=400", T=400)
G = Workload("G", V=65, H=512, L=2, B=1, T=1)  # sampling

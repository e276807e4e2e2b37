"""How much memory a training step takes at its peak, and how much `tg.checkpoint` saves.

Resident memory above what the process held before the step, each candidate in a process of its own. A small step goes
before, so that what a library sets up once is not counted. Linux only: the figures are the kernel's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import nn
import nn.functional as F
import tinygrad_seq as tg
from nn import optim

from .language_model import LanguageModel, ours
from .peers import torch_step
from .processes import Make, alive, in_turn, markdown
from .workloads import W2, W3, Workload

LONG = Workload("long", V=65, H=128, L=1, B=50, T=400)
PIECES = 20  # √T


def in_pieces(w: Workload, count: int, executor: str | None = None) -> Callable[[], float]:
    """The step of `ours`, which keeps the states between `count` pieces of the sequence alone; compiled or not."""
    tg.manual_seed(0)
    model = LanguageModel(w)
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    x, y = [tg.tensor(tokens) for tokens in w.batch()]

    def piece(tokens: tg.Tensor, target: tg.Tensor, h: tg.Tensor, c: tg.Tensor) -> Any:
        hidden, (h, c) = model.lstm(model.embedding(tokens), (h, c))
        return F.cross_entropy(model.head(hidden).reshape(-1, w.V), target.reshape(-1), reduction="sum"), h, c

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        h = c = tg.zeros(w.L, w.B, w.H)
        total: tg.Tensor = tg.zeros(())
        for tokens, target in zip(x.chunk(min(count, w.T)), y.chunk(min(count, w.T)), strict=True):
            part, h, c = tg.checkpoint(piece, tokens, target, h, c)
            total = total + part
        loss = total / (w.T * w.B)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        return loss.detach()

    run = tg.compile(step, executor=executor) if executor else step
    return lambda: float(run(x, y))


MAKERS: dict[str, Callable[[Workload], Callable[[], float]]] = {
    "eager": ours,
    "NumPy executor": lambda w: ours(w, "numpy"),
    "native executor": lambda w: ours(w, "native"),
    "native executor, checkpoints at 4 places": lambda w: in_pieces(w, 4, "native"),
    f"checkpoints at {PIECES} places": lambda w: in_pieces(w, PIECES),
    "PyTorch, same composition": lambda w: torch_step(w, fused=False),
    "PyTorch, fused nn.LSTM": torch_step,
}
CANDIDATES: dict[Workload, tuple[str, ...]] = {
    W2: ("eager", "PyTorch, same composition", "PyTorch, fused nn.LSTM"),
    W3: tuple(name for name in MAKERS if name != f"checkpoints at {PIECES} places"),
    LONG: ("eager", f"checkpoints at {PIECES} places"),
}


def resident(field: str) -> int:
    """The process's memory in KiB: VmRSS is now, VmHWM the most so far."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


def watched(w: Workload, name: str) -> Callable[[], float]:
    """A step of this candidate; returns the MiB that it took at its peak beyond what was there before the first."""
    small = MAKERS[name](w._replace(B=2, T=2))
    for _ in range(3):
        small()
    step = MAKERS[name](w)
    before = resident("VmRSS")

    def run() -> float:
        Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak begins anew
        step()
        return (resident("VmHWM") - before) / 1024

    return run


def makes(w: Workload) -> dict[str, Make]:
    return {name: Make("benchmarks.memory:watched", (w, name)) for name in CANDIDATES[w]}


def peaks(candidates: dict[str, Make], rounds: int = 3) -> dict[str, tuple[float, float]]:
    """MiB at the peak of a step and its seconds, for each candidate that is installed."""
    with alive(candidates) as running:
        turns = in_turn(running, rounds)
    return {name: (median(mib for _, mib in each), median(s for s, _ in each)) for name, each in turns.items()}


def main(rounds: int = 3) -> None:
    for w in CANDIDATES:
        found = peaks(makes(w), rounds)
        first = found["eager"][0]
        rows = [("", "MiB", "of the first", "ms")]
        rows += [(name, f"{mib:.0f}", f"{mib / first:.2f}", f"{s * 1e3:.0f}") for name, (mib, s) in found.items()]
        print(f"\nMemory at the peak of one training step, {w.name} = {w[1:6]} (V, H, L, B, T):\n\n{markdown(rows)}")

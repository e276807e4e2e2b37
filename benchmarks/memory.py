"""How much memory a training step takes at its peak, and how much `tg.checkpoint` saves.

Resident memory above what the process held before the step, each candidate in a process of its own. A small step goes
before, so that what a library sets up once is not counted. Linux only: the figures are the kernel's.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nn
import nn.functional as F
import tinygrad_seq as tg

from .language_model import W2, Workload, ours, torch_peer
from .timing import table

LONG = Workload("long", V=65, H=128, L=1, B=50, T=400)
PIECES = 20  # √T


def checkpointed(w: Workload) -> Callable[[], float]:
    """Forward and backward of an LSTM language model that keeps the states between pieces of the sequence alone."""
    tg.manual_seed(0)
    embedding, lstm, head = nn.Embedding(w.V, w.H), nn.LSTM(w.H, w.H, w.L), nn.Linear(w.H, w.V)
    x, y = w.batch()
    targets = tg.tensor(y)

    def piece(tokens: tg.Tensor, target: tg.Tensor, h: tg.Tensor, c: tg.Tensor) -> Any:
        hidden, (h, c) = lstm(embedding(tokens), (h, c))
        return F.cross_entropy(head(hidden).reshape(-1, w.V), target.reshape(-1), reduction="sum"), h, c

    def step() -> float:
        h = c = tg.zeros(w.L, w.B, w.H)
        loss: tg.Tensor = tg.zeros(())
        count = min(PIECES, w.T)
        for tokens, target in zip(tg.tensor(x).chunk(count), targets.chunk(count), strict=True):
            part, h, c = tg.checkpoint(piece, tokens, target, h, c)
            loss = loss + part
        loss.backward()
        return loss.item()

    return step


def stored(w: Workload) -> Callable[[], float]:
    """The same without checkpoints."""
    tg.manual_seed(0)
    embedding, lstm, head = nn.Embedding(w.V, w.H), nn.LSTM(w.H, w.H, w.L), nn.Linear(w.H, w.V)
    x, y = w.batch()

    def step() -> float:
        loss = F.cross_entropy(head(lstm(embedding(x))[0]).reshape(-1, w.V), y.reshape(-1), reduction="sum")
        loss.backward()
        return loss.item()

    return step


CANDIDATES: dict[str, tuple[Callable[[Workload], Callable[[], float]], Workload]] = {
    "tinygrad_seq": (ours, W2),
    "PyTorch, same composition": (lambda w: torch_peer(w, fused=False), W2),
    "PyTorch, fused nn.LSTM": (lambda w: torch_peer(w, fused=True), W2),
    "everything stored": (stored, LONG),
    f"checkpoints at {PIECES} places": (checkpointed, LONG),
}


def resident(field: str) -> int:
    """The process's memory in KiB: VmRSS is now, VmHWM the most so far."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


def measure(name: str) -> None:
    """Print the MiB that a step of this candidate takes."""
    make, w = CANDIDATES[name]
    make(w._replace(B=2, T=2))()
    step = make(w)
    before = resident("VmRSS")
    for _ in range(3):
        step()
    print((resident("VmHWM") - before) / 1024)


def peak(name: str) -> float | None:
    """The same from a process of its own; None where the peer is not installed."""
    done = subprocess.run([sys.executable, "-m", "benchmarks.memory", name], capture_output=True, text=True)
    if "ModuleNotFoundError: No module named 'torch'" in done.stderr:
        return None
    if done.returncode:
        raise RuntimeError(f"benchmarks.memory {name}: {done.stderr}")
    return float(done.stdout)


def main() -> None:
    for title, w in ((f"training step, W2 = {W2[1:]}", W2), (f"forward and backward, {LONG[1:]}", LONG)):
        peaks = {name: peak(name) for name, (_, workload) in CANDIDATES.items() if workload is w}
        first = next(iter(peaks.values()))
        rows = [("", "MiB", "of the first")]
        rows += [(name, f"{mib:.0f}", f"{mib / (first or 1):.2f}") for name, mib in peaks.items() if mib is not None]
        print(f"\nMemory at the peak of one {title} (V, H, L, B, T):\n{table(rows)}")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        measure(sys.argv[1])
    else:
        main()

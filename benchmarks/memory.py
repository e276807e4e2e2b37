"""How much memory a training step takes at its peak, and how much `tg.checkpoint` saves.

Resident memory above what the process held before the step, each candidate in a process of its own. A small step goes
before, so that what a library sets up once is not counted. Linux only: the figures are the kernel's.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nn
import nn.functional as F
import tinygrad_seq as tg
from nn import optim

from .language_model import W2, W3, LanguageModel, Workload, ours, torch_peer
from .timing import table

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


Make = Callable[[Workload], Callable[[], float]]
TORCH: dict[str, Make] = {
    "PyTorch, same composition": lambda w: torch_peer(w, fused=False),
    "PyTorch, fused nn.LSTM": lambda w: torch_peer(w, fused=True),
}
CANDIDATES: dict[Workload, dict[str, Make]] = {
    W2: {"tinygrad_seq": ours, **TORCH},
    W3: {
        "tinygrad_seq": ours,
        "compiled, NumPy executor": lambda w: ours(w, executor="numpy"),
        "compiled, native executor": lambda w: ours(w, executor="native"),
        "compiled, native executor, checkpoints at 4 places": lambda w: in_pieces(w, 4, "native"),
        **TORCH,
    },
    LONG: {"tinygrad_seq": ours, f"checkpoints at {PIECES} places": lambda w: in_pieces(w, PIECES)},
}


def resident(field: str) -> int:
    """The process's memory in KiB: VmRSS is now, VmHWM the most so far."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


def measure(workload: str, name: str) -> None:
    """Print the MiB that a step of this candidate takes once it is under way, and how long it takes in ms."""
    w, makes = next((w, makes) for w, makes in CANDIDATES.items() if w.name == workload)
    small = makes[name](w._replace(B=2, T=2))
    for _ in range(3):
        small()
    step = makes[name](w)
    before = resident("VmRSS")
    for _ in range(3):  # of which a compiled one runs as it is, then is recorded, then replayed
        step()
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak begins anew
    times = []
    for _ in range(3):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    print((resident("VmHWM") - before) / 1024, statistics.median(times) * 1e3)


def peak(workload: str, name: str) -> tuple[float, float] | None:
    """The same from a process of its own; None where the peer is not installed."""
    command = [sys.executable, "-m", "benchmarks.memory", workload, name]
    done = subprocess.run(command, capture_output=True, text=True)
    if "ModuleNotFoundError: No module named 'torch'" in done.stderr:
        return None
    if done.returncode:
        raise RuntimeError(f"benchmarks.memory {workload} {name}: {done.stderr}")
    mib, ms = map(float, done.stdout.split())
    return mib, ms


def main() -> None:
    for w, makes in CANDIDATES.items():
        found = {name: figures for name in makes if (figures := peak(w.name, name)) is not None}
        first = found["tinygrad_seq"][0]
        rows = [("", "MiB", "of the first", "ms")]
        rows += [(name, f"{mib:.0f}", f"{mib / first:.2f}", f"{ms:.0f}") for name, (mib, ms) in found.items()]
        print(f"\nMemory at the peak of one training step, {w.name} = {w[1:]} (V, H, L, B, T):\n{table(rows)}")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measure(*sys.argv[1:])
    else:
        main()

"""Training steps on a GPU: tokens per second, time and memory, beside PyTorch with cuDNN and its eager composition.

Float32, once with products in full precision and once with operands rounded to TF32, which is stated. Without a GPU it
says so, and measures nothing.
"""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import tinygrad_seq as tg

from .language_model import ours
from .peers import torch_step
from .timing import interleaved
from .workloads import W2, W3, W5, Workload

WORKLOADS = {w.name: w for w in (W2, W3, W5)}
CUDNN = "PyTorch, cuDNN"
CANDIDATES: dict[str, Callable[[Workload], Callable[[], Any]]] = {
    "compiled": lambda w: ours(w, device="cuda", compiled=True),
    "eager": lambda w: ours(w, device="cuda"),
    CUDNN: lambda w: torch_step(w, fused=True, device="cuda"),
    "PyTorch, composition": lambda w: torch_step(w, fused=False, device="cuda"),
}
FULL, ROUNDED = "full precision", "TF32"
WARMUP, ROUNDS = 5, 15


def main() -> None:
    """All workloads, each precision in a process of its own."""
    try:
        tg.zeros(1, device="cuda")
    except RuntimeError as error:
        print(f"No figures: {error}")
        return
    tg.show_config()
    for precision in (FULL, ROUNDED):
        subprocess.run([sys.executable, "-m", "benchmarks.gpu", precision], check=True)


def measure(precision: str) -> None:
    """The table for one precision, line by line, so that what was measured is there if the rest is not."""
    candidates = {c: make for c, make in CANDIDATES.items() if _settle(precision) or "PyTorch" not in c}
    print(f"\nOne training step, float32, {precision}; medians of {ROUNDS} in ms, MiB at the peak:\n")
    _print_row("", *CANDIDATES, "tokens/s", "cuDNN / compiled", *[f"MiB {c}" for c in CANDIDATES])
    _print_row(*["---"] * (3 + 2 * len(CANDIDATES)))
    for name, w in WORKLOADS.items():
        runs: dict[str, Callable[[], Any]] = {}
        peaks: dict[str, float] = {}
        for c, make in candidates.items():
            runs[c], peaks[c] = _made(make, w)
        seconds = interleaved(runs, rounds=ROUNDS, warmup=1)  # each returns the loss, so it waits for the GPU
        runs.clear()
        _tidy()
        times = [f"{seconds[c] * 1e3:.2f}" if c in seconds else "" for c in CANDIDATES]
        speed = f"{w.B * w.T / seconds['compiled']:,.0f}"
        ratio = f"{seconds[CUDNN] / seconds['compiled']:.2f}" if CUDNN in seconds else ""
        _print_row(name, *times, speed, ratio, *[f"{peaks[c] / 2**20:.0f}" if c in peaks else "" for c in CANDIDATES])


def _print_row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def _made(make: Callable[[Workload], Callable[[], Any]], w: Workload) -> tuple[Callable[[], Any], float]:
    """A candidate that is warm, and the bytes that it took at its peak, beside what was there before it."""
    _tidy()
    before = _bytes(tg.cuda.memory_allocated, "memory_allocated")
    tg.cuda.reset_peak_memory_stats()
    if peer := _peer():
        peer.reset_peak_memory_stats()
    run = make(w)
    for _ in range(WARMUP):
        run()
    return run, _bytes(tg.cuda.max_memory_allocated, "max_memory_allocated") - before


def _bytes(ours: Callable[[], int], theirs: str) -> int:
    """A figure of the memory that we hold, and PyTorch beside us."""
    peer = _peer()
    return ours() + (getattr(peer, theirs)() if peer else 0)


def _peer() -> Any:
    """PyTorch's functions for GPUs, if it is loaded and has one."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_available() else None


def _tidy() -> None:
    """Give back what nobody uses, to the driver too: PyTorch has another pool."""
    gc.collect()
    tg.cuda.empty_cache()
    if peer := _peer():
        peer.empty_cache()


def _settle(precision: str) -> bool:
    """Set both libraries' precision; whether PyTorch with CUDA is there."""
    tg.set_float32_matmul_precision("high" if precision == ROUNDED else "highest")
    if find_spec("torch") is None:
        print("(PyTorch is not installed, so no peer)")
        return False
    import torch

    torch.set_float32_matmul_precision("high" if precision == ROUNDED else "highest")
    torch.backends.cudnn.allow_tf32 = precision == ROUNDED
    return bool(torch.cuda.is_available())


if __name__ == "__main__":
    if len(sys.argv) == 2:
        measure(sys.argv[1])
    else:
        main()

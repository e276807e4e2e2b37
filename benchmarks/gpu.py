"""Training steps on a GPU: tokens per second, time and memory, beside PyTorch with cuDNN and its eager composition.

Float32, once with products in full precision and once with operands rounded to TF32, which is stated. Without a GPU it
says so, and measures nothing.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import tinygrad_seq as tg

from .language_model import W2, Workload, ours, torch_peer
from .timing import interleaved, table

WORKLOADS = {
    "W2": W2,
    "W3": Workload("W3", V=65, H=512, L=2, B=64, T=64),
    "W5": Workload("W5", V=65, H=1024, L=2, B=256, T=128),
}
CANDIDATES: dict[str, Callable[[Workload], Callable[[], Any]]] = {
    "compiled": lambda w: ours(w, device="cuda", compiled=True),
    "eager": lambda w: ours(w, device="cuda"),
    "PyTorch, cuDNN": lambda w: torch_peer(w, fused=True, device="cuda"),
    "PyTorch, composition": lambda w: torch_peer(w, fused=False, device="cuda"),
}
FULL, ROUNDED = "full precision", "TF32"


def main() -> None:
    """All workloads, each precision in a process of its own, as are the figures of memory."""
    try:
        tg.zeros(1, device="cuda")
    except RuntimeError as error:
        print(f"No figures: {error}")
        return
    tg.show_config()
    for precision in (FULL, ROUNDED):
        subprocess.run([sys.executable, "-m", "benchmarks.gpu", precision], check=True)


def measure(precision: str) -> None:
    """The table for one precision."""
    with_peer = _settle(precision)
    rows: list[tuple[str, ...]] = [("", *[f"{name} ms" for name in CANDIDATES], "tokens/s", "cuDNN / compiled")]
    for name, w in WORKLOADS.items():
        made = {c: make(w) for c, make in CANDIDATES.items() if with_peer or "PyTorch" not in c}
        seconds = interleaved(made, rounds=15, warmup=5)  # each returns the loss, so it waits for the GPU
        cells = [f"{seconds[c] * 1e3:.2f}" if c in seconds else "" for c in CANDIDATES]
        speed = f"{w.B * w.T / seconds['compiled']:,.0f}"
        ratio = f"{seconds['PyTorch, cuDNN'] / seconds['compiled']:.2f}" if with_peer else ""
        rows.append((name, *cells, speed, ratio))
        made.clear()
        tg.cuda.empty_cache()
    print(f"\nOne training step, float32, {precision}; medians of 15:")
    print(table(rows))
    print(table([("MiB at the peak", *CANDIDATES), *[(n, *_peaks(n, precision, with_peer)) for n in WORKLOADS]]))


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


def _peaks(workload: str, precision: str, with_peer: bool) -> list[str]:
    found = []
    for candidate in CANDIDATES:
        if "PyTorch" in candidate and not with_peer:
            found.append("")
            continue
        given = [sys.executable, "-m", "benchmarks.gpu", precision, workload, candidate]
        found.append(subprocess.run(given, capture_output=True, text=True, check=True).stdout.split()[-1])
    return found


def peak(precision: str, workload: str, candidate: str) -> None:
    """Print the MiB that a few steps take at their peak."""
    _settle(precision)
    run = CANDIDATES[candidate](WORKLOADS[workload])
    for _ in range(5):
        run()
    if "PyTorch" in candidate:
        import torch

        most = torch.cuda.max_memory_allocated()
    else:
        most = tg.cuda.max_memory_allocated()
    print(f"{most / 2**20:.0f}")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        peak(*sys.argv[1:])
    elif len(sys.argv) == 2:
        measure(sys.argv[1])
    else:
        main()

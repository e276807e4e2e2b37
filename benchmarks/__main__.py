"""Run all benchmarks: `python -m benchmarks`; one: `python -m benchmarks step`.

Those that lean on matrix products run twice, each time in a process of its own: with the BLAS kernels that NumPy's
library picks by itself, and with Haswell's, to which some machines pin it.
"""

from __future__ import annotations

import os
import subprocess
import sys

import tinygrad_seq as tg

from . import compiled, engines, gpu, import_time, memory, products, recording, recurrent
from .language_model import W2, ours, torch_peer
from .timing import interleaved, table


def training_step() -> None:
    """W2 beside PyTorch."""
    print()
    tg.show_config()
    candidates = {"tinygrad_seq": ours(W2)}
    try:
        candidates["PyTorch, same composition"] = torch_peer(W2, fused=False)
        candidates["PyTorch, fused nn.LSTM"] = torch_peer(W2, fused=True)
    except ImportError:
        print("(PyTorch is not installed, so no peer: `make peers` installs it)")
    seconds = interleaved(candidates, rest=0.15)
    mine = seconds["tinygrad_seq"]
    print(f"\nOne training step, W2 = {W2[1:]} (V, H, L, B, T), median of 15:")
    rows = [("", "ms", "our time / theirs")]
    print(table(rows + [(name, f"{s * 1e3:.1f}", f"{mine / s:.2f}") for name, s in seconds.items()]))


def sequence_length() -> None:
    """Is the cost linear in T?"""
    seconds = interleaved({"50": ours(W2), "400": ours(W2._replace(T=400))}, rounds=11)
    print(f"\nStep time at T=400 / T=50: {seconds['400'] / seconds['50']:.2f} (8 is linear)")


def own_process(part: str, **environment: str) -> None:
    """Run one part where nothing else was imported: a peer's objects would slow Python's garbage collector."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_CORETYPE")}
    subprocess.run([sys.executable, "-m", "benchmarks", part], env=clean | environment, check=True)


def main() -> None:
    parts = {
        "step": training_step,
        "length": sequence_length,
        "recurrent": recurrent.main,
        "products": products.main,
        "compiled": compiled.main,
        "gpu": gpu.main,
        "import": import_time.main,
        "recording": recording.main,
        "memory": memory.main,
        "engines": engines.main,
    }
    if len(sys.argv) == 2:
        if sys.argv[1] not in parts:
            sys.exit(f"benchmarks: there is no part {sys.argv[1]!r}; there are {', '.join(parts)}")
        parts[sys.argv[1]]()
        return
    for kernels in ({}, {"OPENBLAS_CORETYPE": "Haswell"}):
        own_process("step", **kernels)
        own_process("length", **kernels)
        own_process("recurrent", **kernels)
        own_process("products", **kernels)
        own_process("compiled", **kernels)
    for part in ("import", "recording", "memory", "engines"):
        own_process(part)


if __name__ == "__main__":
    main()

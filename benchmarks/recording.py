"""What it costs to record one elementwise operation on a (8,) float32 array, and to go back through it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_seq as tg

from .timing import interleaved, table

LENGTH = 1000  # operations in a chain
Chain = Callable[[], Any]


def chains() -> dict[str, tuple[Chain, Chain]]:
    """For each engine that is installed: a chain of tanh forward, and forward and back."""
    start = np.linspace(-1, 1, 8, dtype=np.float32)
    ours = tg.tensor(start, requires_grad=True)

    def forward(x: Any, tanh: Callable[[Any], Any]) -> Any:
        for _ in range(LENGTH):
            x = tanh(x)
        return x

    found: dict[str, tuple[Chain, Chain]] = {
        "tinygrad_seq": (lambda: forward(ours, tg.tanh), lambda: forward(ours, tg.tanh).backward(start))
    }
    try:
        import mygrad

        theirs = mygrad.tensor(start)
        found["MyGrad"] = (lambda: forward(theirs, mygrad.tanh), lambda: forward(theirs, mygrad.tanh).backward(start))
    except ImportError:
        pass
    try:
        import torch

        leaf = torch.tensor(start, requires_grad=True)
        seed = torch.tensor(start)
        found["PyTorch"] = (lambda: forward(leaf, torch.tanh), lambda: forward(leaf, torch.tanh).backward(seed))
    except ImportError:
        pass
    try:
        import autograd.numpy as anp
        from autograd import make_vjp

        record = make_vjp(lambda x: forward(x, anp.tanh))  # (start) -> (what goes back, value)
        found["HIPS autograd"] = (lambda: record(start), lambda: record(start)[0](start))
    except ImportError:
        pass
    return found


def main() -> None:
    found = chains()
    x = np.linspace(-1, 1, 8, dtype=np.float32)

    def bare() -> None:
        y = x
        for _ in range(LENGTH):
            y = np.tanh(y)

    candidates = {"bare NumPy": bare} | {f"{name} forward": f for name, (f, _) in found.items()}
    candidates |= {f"{name} both": b for name, (_, b) in found.items()}
    micros = {name: 1e6 * s / LENGTH for name, s in interleaved(candidates, rounds=15).items()}
    print("\nOne tanh of a (8,) float32 array, µs, median of 15 chains of 1000; forward above the bare NumPy call:")
    rows = [("", "forward above NumPy", "theirs / ours", "forward + backward", "theirs / ours")]
    above = {name: micros[f"{name} forward"] - micros["bare NumPy"] for name in found}
    both = {name: micros[f"{name} both"] for name in found}
    for name in found:
        ratios = [figures[name] / figures["tinygrad_seq"] for figures in (above, both)]
        rows.append((name, f"{above[name]:.2f}", f"{ratios[0]:.1f}", f"{both[name]:.2f}", f"{ratios[1]:.1f}"))
    print(table(rows))
    million()


def million() -> None:
    """A chain of a million operations, there and back."""
    x = tg.ones(1, requires_grad=True)
    start = time.perf_counter()
    y = x
    for _ in range(1_000_000):
        y = y + 1.0
    middle = time.perf_counter()
    y.backward()
    end = time.perf_counter()
    print(f"\nA chain of 1,000,000 operations: forward {middle - start:.1f} s, backward {end - middle:.1f} s")


if __name__ == "__main__":
    main()

"""What it costs to record one elementwise operation on a (8,) float32 array, and to go back through it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .processes import Make, estimate, markdown, seconds

LENGTH = 1000  # operations in a chain
ENGINES = ("tinygrad_seq", "PyTorch", "HIPS autograd", "MyGrad")
BARE = "bare NumPy"


def chain(engine: str, back: bool) -> Callable[[], Any]:
    """A chain of tanh, forward or forward and back.

    Raises:
        ImportError: if the engine is not installed.
    """
    start = np.linspace(-1, 1, 8, dtype=np.float32)

    def forward(x: Any, tanh: Callable[[Any], Any]) -> Any:
        for _ in range(LENGTH):
            x = tanh(x)
        return x

    if engine == BARE:
        return lambda: forward(start, np.tanh)
    if engine == "HIPS autograd":
        import autograd.numpy as anp
        from autograd import make_vjp

        record = make_vjp(lambda x: forward(x, anp.tanh))  # (start) -> (what goes back, value)
        return (lambda: record(start)[0](start)) if back else (lambda: record(start))
    x: Any
    seed: Any = start
    tanh: Callable[[Any], Any]
    if engine == "tinygrad_seq":
        import tinygrad_seq as tg

        x, tanh = tg.tensor(start, requires_grad=True), tg.tanh
    elif engine == "PyTorch":
        import torch

        x, tanh, seed = torch.tensor(start, requires_grad=True), torch.tanh, torch.tensor(start)
    else:
        import mygrad

        x, tanh = mygrad.tensor(start), mygrad.tanh
    return (lambda: forward(x, tanh).backward(seed)) if back else (lambda: forward(x, tanh))


def makes() -> dict[str, Make]:
    """Each engine there, and there and back."""
    return {
        f"{engine} {'both' if back else 'forward'}": Make("benchmarks.recording:chain", (engine, back))
        for engine in ENGINES
        for back in (False, True)
    }


def main(rounds: int = 15) -> None:
    found = seconds({BARE: Make("benchmarks.recording:chain", (BARE, False))} | makes(), rounds)
    micros = {name: [1e6 * s / LENGTH for s in each] for name, each in found.items()}
    print("\nOne tanh of a (8,) float32 array, µs, in chains of 1000; forward above the bare NumPy call:\n")
    rows = [("", "forward above NumPy", "forward and backward")]
    for engine in ENGINES:
        if f"{engine} both" in micros:
            above = [a - b for a, b in zip(micros[f"{engine} forward"], micros[BARE], strict=True)]
            rows.append((engine, str(estimate(above)), str(estimate(micros[f"{engine} both"]))))
    print(markdown(rows))
    million()


def million() -> None:
    """A chain of a million operations, there and back."""
    import tinygrad_seq as tg

    x = tg.ones(1, requires_grad=True)
    start = time.perf_counter()
    y = x
    for _ in range(1_000_000):
        y = y + 1.0
    middle = time.perf_counter()
    y.backward()
    end = time.perf_counter()
    print(f"\nA chain of 1,000,000 operations: forward {middle - start:.1f} s, backward {end - middle:.1f} s")

"""Eager and compiled steps, for training and for sampling, beside other engines, all in processes of their own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from statistics import median

from .processes import HERE, Candidate, Make, alive, estimate, in_turn, markdown, ratio
from .workloads import LONG, W1, W2, W3, W4, G, Workload

WORKLOADS = {w.name: w for w in (W1, W2, W3, W4, LONG, G)}
EXECUTORS = ("numpy", *(["native"] if find_spec("llvmlite") else []))
OURS = {"tinygrad_seq, eager": None} | {
    f"tinygrad_seq, {'NumPy' if e == 'numpy' else e} executor": e for e in EXECUTORS
}
FUSED, COMPOSED, JAX, HIPS = "PyTorch, fused layer", "PyTorch, same composition", "JAX, jit", "HIPS autograd"
BY_HAND = "NumPy by hand"
ROUNDS = 15


def makes(w: Workload, threads: int | None = None) -> dict[str, Make]:
    """The candidates for a workload, but PyTorch's fused layer. HIPS autograd where a step takes less than a second."""
    function = "benchmarks.language_model:" + ("sampling" if w.name == "G" else "ours")
    found = {name: Make(function, (w, executor)) for name, executor in OURS.items()}
    if w.name == "G":
        return found | {
            BY_HAND: Make("benchmarks.peers:numpy_sampling", (w,)),
            JAX: Make("benchmarks.peers:jax_sampling", (w,)),
        }
    found[JAX] = Make("benchmarks.peers:jax_step", (w,))
    if w.kind == "LSTM" and w.T < 100:
        found[COMPOSED] = Make("benchmarks.peers:torch_step", (w, threads, False))
    if w.H < 512 and w.T < 100:
        found[HIPS] = Make("benchmarks.peers:autograd_step", (w,))
    return found


def fastest_peer(w: Workload, kernels: str | None = None) -> tuple[int, Make] | None:
    """PyTorch with one thread or with one for each core, whichever is faster; None where it is not installed."""
    function = "benchmarks.peers:" + ("torch_sampling" if w.name == "G" else "torch_step")
    threads = {str(n): Make(function, (w, n)) for n in sorted({1, os.cpu_count() or 1})}
    with alive(threads, kernels) as candidates:
        if not candidates:
            return None
        turns = in_turn(candidates, 3)
        best = min(turns, key=lambda n: median(s for s, _ in turns[n]))
    return int(best), threads[best]


def main(rounds: int = ROUNDS, kernels: Sequence[str | None] = (None, "Haswell"), names: Sequence[str] = ()) -> None:
    """Print the tables, ready for docs/figures.md, once for each choice of OpenBLAS's kernels."""
    for choice in kernels:
        said = f"pinned to {choice} (OPENBLAS_CORETYPE)" if choice else "not pinned"
        print(f"\nOpenBLAS's kernels {said}; {rounds} rounds.", flush=True)
        tables(rounds, choice, [WORKLOADS[name] for name in names or WORKLOADS])
    start()
    if executor_memory := steady_bytes():
        print(f"A compiled step of W2 asks for {executor_memory / 1024:.0f} KiB at most that it did not have before.")


def tables(rounds: int, kernels: str | None, workloads: Sequence[Workload]) -> None:
    """Ratios, times and memory: a column for each workload, a row for each candidate."""
    order = [FUSED, *OURS, COMPOSED, JAX, HIPS, BY_HAND]
    times: dict[str, dict[str, list[float]]] = {}
    peaks: dict[str, dict[str, int | None]] = {}
    threads: dict[str, int] = {}
    for w in workloads:
        peer = fastest_peer(w, kernels)
        candidates = makes(w, peer[0] if peer else None)
        if peer is not None:
            threads[w.name], candidates[FUSED] = peer
        with alive(candidates, kernels) as running:
            times[w.name] = {name: [s for s, _ in turns] for name, turns in in_turn(running, rounds).items()}
            peaks[w.name] = {name: candidate.peak for name, candidate in running.items()}
        print(f"({w.name} is measured)", file=sys.stderr, flush=True)

    def show(title: str, cell: Callable[[str, str], str], names: Sequence[str]) -> None:
        rows = [["", *names]]
        for name in order:
            row = [cell(w, name) if name in times[w] else "" for w in names]
            rows += [[name, *row]] if any(row) else []
        print(f"\n{title}:\n\n{markdown(rows)}", flush=True)

    def faster(w: str, name: str) -> str:
        found = times[w]
        return str(ratio(found[FUSED], found[name])) if FUSED in found and name != FUSED else ""

    if threads:
        show("PyTorch's time with its fused layer / the row's: larger is faster (95 % interval)", faster, list(times))
        print("\nPyTorch's threads: " + ", ".join(f"{w} {n}" for w, n in threads.items()))
    show("Milliseconds", lambda w, name: f"{estimate(times[w][name]).median * 1e3:.2f}", list(times))
    large = [w for w in times if w in (W2.name, W3.name, LONG.name)]
    if large and any(peak for w in large for peak in peaks[w].values()):
        show("Peak memory of the whole process, MiB", lambda w, name: f"{(peaks[w][name] or 0) / 1024:.0f}", large)
    if W2.name in times and LONG.name in times:
        eager = [times[w]["tinygrad_seq, eager"] for w in (LONG.name, W2.name)]
        print(f"\nEager step at T=400 / at T=50 (8 is linear): {ratio(*eager)}")


def start() -> None:
    """How long it takes to record and compile."""
    program = (
        "import time; t = time.perf_counter()\n"
        "from benchmarks.language_model import ours\n"
        "from benchmarks.workloads import {w}\n"
        "step = ours({w}, {executor!r})\n"
        "s = time.perf_counter(); step(); u = time.perf_counter(); step(); v = time.perf_counter()\n"
        "print(f'{{u - t:.2f}} {{v - u:.2f}}')"
    )
    print()
    for w in ("W2", "W1"):
        for executor in EXECUTORS:
            given = [sys.executable, "-c", program.format(w=w, executor=executor)]
            done = subprocess.run(given, stdout=subprocess.PIPE, text=True, check=True, cwd=HERE)
            first, second = done.stdout.split()
            print(f"{w}, {executor}: first step (eager) {first} s after the start, the second recorded in {second} s")


def steady_step(w: Workload) -> Callable[[], int]:
    """Bytes that a compiled step asks for anew at each call, at their peak (what tracemalloc sees)."""
    import tracemalloc

    from .language_model import ours

    step = ours(w, "numpy")

    def run() -> int:
        step()
        tracemalloc.start()
        step()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    return run


def steady_bytes(w: Workload = W2) -> int:
    """The same, from a process of its own."""
    with contextlib.closing(Candidate(Make("benchmarks.compiled:steady_step", (w,)))) as candidate:
        return int(candidate.run(1)[1])

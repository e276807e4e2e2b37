"""Compiled training and sampling steps beside PyTorch's fused layers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import tinygrad_seq as tg

from .language_model import W2, LanguageModel, Workload, ours, torch_peer
from .timing import interleaved, table

WORKLOADS = {
    "W1: H=100, 1 layer, batch 1, T=25": (Workload("W1", V=65, H=100, L=1, B=1, T=25), "LSTM", 21),
    "W2: H=128, 2 layers, batch 50, T=50": (W2, "LSTM", 15),
    "W3: H=512, 2 layers, batch 64, T=64": (Workload("W3", V=65, H=512, L=2, B=64, T=64), "LSTM", 5),
    "W4: W2 as a tanh RNN": (W2, "RNN", 21),
    "W2 at T=400": (W2._replace(T=400), "LSTM", 5),
}
SAMPLING = "G: one character, H=512, 2 layers, batch 1"
EXECUTORS = ("numpy", *(["native"] if find_spec("llvmlite") else []))


def sampling(executor: str | None, H: int = 512, L: int = 2, V: int = 65) -> Callable[[], Any]:
    """One character drawn, batch 1."""
    model = LanguageModel(Workload("G", V, H, L, 1, 1))
    generator = tg.Generator(0)

    def step(token: tg.Tensor, state: Any) -> tuple[tg.Tensor, Any]:
        with tg.no_grad():
            hidden, state = model.lstm(model.embedding(token), state)
            return tg.multinomial(model.head(hidden)[-1].softmax(-1), generator=generator), state

    run: Any = tg.compile(step, executor=executor) if executor else step
    held: list[Any] = list(run(tg.tensor([[1]]), None))

    def draw() -> int:
        held[:] = run(*held)
        return int(held[0])

    return draw


def torch_sampling(H: int = 512, L: int = 2, V: int = 65) -> Callable[[], Any]:
    """The same in PyTorch."""
    import torch

    embedding, lstm, head = torch.nn.Embedding(V, H), torch.nn.LSTM(H, H, L), torch.nn.Linear(H, V)
    held: list[Any] = [torch.tensor([[1]]), None]

    def draw() -> int:
        with torch.no_grad():
            hidden, held[1] = lstm(embedding(held[0]), held[1])
            held[0] = torch.multinomial(head(hidden)[-1].softmax(-1), 1)
        return int(held[0])

    return draw


def main() -> None:
    print()
    tg.show_config()
    header = ("", "eager ms", *[f"{e} ms" for e in EXECUTORS], "PyTorch ms", *[f"PyTorch / {e}" for e in EXECUTORS])
    header += tuple([f"/ {e} at once" for e in EXECUTORS])
    rows: list[tuple[str, ...]] = [header]
    for name in (*WORKLOADS, SAMPLING):  # each in a process of its own, whose memory nobody else has used
        given = [sys.executable, "-m", "benchmarks.compiled", name]
        line = subprocess.run(given, stdout=subprocess.PIPE, text=True, check=True).stdout
        rows.append((name, *line.rstrip("\n").split("\t")))
    print(
        "\nOne training step (embedding, layers, linear, cross-entropy, backward, clipping, Adam), one sampling step;"
    )
    print("float32, medians of turns (of ten steps in W1, twenty in G); PyTorch with its fused layer, its time / ours.")
    print("Each rests until the threads of the one before sleep. At once: in turn with PyTorch alone, without a rest.")
    print(table(rows))
    _start()
    print(f"A compiled step of W2 asks for {steady_bytes() / 1024:.0f} KiB at most that it did not have before.")


def measure(name: str) -> None:
    """Print the figures of one workload, with tabs between them."""
    peers = find_spec("torch") is not None
    if name == SAMPLING:
        candidates = {"eager": sampling(None)} | {e: sampling(e) for e in EXECUTORS}
        candidates |= {"PyTorch": torch_sampling()} if peers else {}
        print(*_figures(candidates, 21, turn=20), sep="\t")
        return
    w, kind, rounds = WORKLOADS[name]
    candidates = {"eager": ours(w, kind)} | {e: ours(w, kind, e) for e in EXECUTORS}
    candidates |= {"PyTorch": torch_peer(w, fused=True, kind=kind)} if peers else {}
    print(*_figures(candidates, rounds, turn=10 if w.B == 1 else 1), sep="\t")


def _figures(candidates: dict[str, Callable[[], Any]], rounds: int, turn: int) -> list[str]:
    seconds = interleaved(candidates, rounds=rounds, warmup=2, turn=turn, rest=0.15)
    times = [f"{seconds[k] * 1e3:.2f}" if k in seconds else "" for k in ("eager", *EXECUTORS, "PyTorch")]
    found = [seconds] * len(EXECUTORS)
    if "PyTorch" in candidates:
        pairs = [{e: candidates[e], "PyTorch": candidates["PyTorch"]} for e in EXECUTORS]
        found += [interleaved(pair, rounds=rounds, warmup=1, turn=turn) for pair in pairs]
    ratios = [
        f"{s['PyTorch'] / s[e]:.2f}" if "PyTorch" in s else "" for s, e in zip(found, EXECUTORS * 2, strict=False)
    ]
    return [*times, *ratios]


def _start() -> None:
    """How long it takes to record and compile."""
    program = (
        "import time; t = time.perf_counter()\n"
        "from benchmarks.compiled import WORKLOADS, ours\n"
        "step = ours(*list(WORKLOADS.values())[{n}][:2], {executor!r})\n"
        "s = time.perf_counter(); step(); u = time.perf_counter(); step(); v = time.perf_counter()\n"
        "print(f'{{u - t:.2f}} {{v - u:.2f}}')"
    )
    for n, name in ((1, "W2"), (0, "W1")):
        for executor in EXECUTORS:
            given = [sys.executable, "-c", program.format(n=n, executor=executor)]
            first, second = subprocess.run(given, capture_output=True, text=True, check=True).stdout.split()
            print(
                f"{name}, {executor}: first step (eager) {first} s after the start, the second recorded in {second} s"
            )


def steady_bytes() -> int:
    """Bytes that a compiled step of W2 asks for anew at each call, at their peak (what tracemalloc sees)."""
    import tracemalloc

    run = ours(W2, executor="numpy")
    for _ in range(4):
        run()
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


if __name__ == "__main__":
    measure(sys.argv[1])

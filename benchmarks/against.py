"""Two checkouts in turn: is this one slower, or larger, than the other? `python -m benchmarks compiled --against PATH`.

Both run the benchmarks of this checkout, in processes of their own, with `tinygrad_seq` and `nn` of theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import compiled, memory, recording
from .processes import HERE, Make, alive, in_turn, markdown, ratio

PAIRS = 15
STINT = 5  # pairs until both start anew: where memory came to lie makes processes of the same code differ


def chosen(part: str, names: Sequence[str] = ()) -> dict[str, Make]:
    """What a part measures of ours, by name."""
    if part == "recording":
        return {name: make for name, make in recording.makes().items() if name.startswith("tinygrad_seq")}
    found: dict[str, Make] = {}
    if part == "compiled":
        for w in [compiled.WORKLOADS[name] for name in names or compiled.WORKLOADS]:
            found |= {f"{w.name}: {name}": make for name, make in compiled.makes(w).items() if name in compiled.OURS}
    elif part == "memory":
        for w in memory.CANDIDATES:
            found |= {f"{w.name}: {name}": make for name, make in memory.makes(w).items() if "PyTorch" not in name}
    else:
        raise ValueError(f"benchmarks: --against takes recording, compiled or memory, not {part!r}")
    return found


def main(
    part: str, other: Path, rounds: int = PAIRS, kernels: Sequence[str | None] = (None,), names: Sequence[str] = ()
) -> None:
    """Print this checkout's figures / the other's, pair by pair: below 1, this one is better."""
    other = other.resolve()
    for choice in kernels:
        print(f"\n{part}: {HERE} / {other}, {rounds} pairs, OpenBLAS's kernels {choice or 'not pinned'};")
        print("median and its 95 % interval, below 1 is better:\n")
        rows = [("", "ms there", "ms here", "time") + (("MiB at the peak",) if part == "memory" else ())]
        for name, make in chosen(part, names).items():
            turns: dict[str, list[tuple[float, Any]]] = {"there": [], "here": []}
            for done in range(0, rounds, STINT):
                with alive({"there": make._replace(checkout=other), "here": make}, choice) as pair:
                    for side, each in in_turn(pair, min(STINT, rounds - done)).items():
                        turns[side] += each
            times = {side: [s for s, _ in each] for side, each in turns.items()}
            row = [name, *[f"{sorted(each)[rounds // 2] * 1e3:.2f}" for each in times.values()]]
            row.append(_exact(times["here"], times["there"]))
            if part == "memory":
                row.append(_exact([mib for _, mib in turns["here"]], [mib for _, mib in turns["there"]]))
            rows.append(tuple(row))
        print(markdown(rows), flush=True)


def _exact(here: Sequence[float], there: Sequence[float]) -> str:
    found = ratio(here, there)
    return f"{found.median:.3f} ({found.low:.3f}–{found.high:.3f})"

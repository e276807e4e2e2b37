"""Run all benchmarks: `python -m benchmarks`; one: `python -m benchmarks compiled`; `--help` shows the options."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tinygrad_seq.terminal import escape_unprintable

from . import against, compiled, distributed, engines, gpu, import_time, learning, memory, recording, recurrent
from .processes import HERE, environment

KERNELS: dict[str, tuple[str | None, ...]] = {"free": (None,), "Haswell": ("Haswell",), "both": (None, "Haswell")}


def own_process(part: str, kernels: Sequence[str | None]) -> None:
    """A part that computes in its own process, once for each choice of OpenBLAS's kernels."""
    for choice in kernels:
        print(f"\nOpenBLAS's kernels {choice or 'not pinned'}:", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{part}"]
        subprocess.run(command, env=environment(choice), cwd=HERE, check=True)


def pytorch_inputs(names: Sequence[str]) -> None:
    from .pytorch_inputs import main as compare  # takes PyTorch

    compare(names)


def main() -> None:
    escape_unprintable()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = ("compiled", "recurrent", "products", "import", "recording", "memory", "engines")
    parser.add_argument(
        "part",
        nargs="?",
        choices=[*names, "gpu", "distributed", "learning", "pytorch-inputs"],
        help="which benchmark; all but the last four if not said",
    )
    parser.add_argument("--against", type=Path, metavar="PATH", help="compare with the checkout there")
    parser.add_argument("--rounds", type=int, help="how many turns each candidate has (2 for a quick look)")
    parser.add_argument("--kernels", choices=KERNELS, help="OpenBLAS's: its own choice, pinned, or each in turn")
    parser.add_argument("--workloads", nargs="+", default=[], choices=compiled.WORKLOADS, help="of compiled")
    parser.add_argument("--text", type=Path, metavar="FILE", help="of learning; Python's documentation if not said")
    parser.add_argument("--minutes", type=float, default=3.0, help="of learning, for each model")
    parser.add_argument("--names", nargs="+", default=[], metavar="NAME", help="of pytorch-inputs: these, case by case")
    parser.add_argument("--cells", action="store_true", help="of learning: each kind of recurrent layer")
    given = parser.parse_args()
    if given.rounds is not None and given.rounds < 1:
        parser.error("--rounds takes 1 or more")
    if given.part is None:
        if len(sys.argv) > 1:
            parser.error("an option takes the name of a part")
        for name in names:  # each in a process of its own
            subprocess.run([sys.executable, "-m", "benchmarks", name], cwd=HERE, check=True)
        return
    rounds = {} if given.rounds is None else {"rounds": given.rounds}
    if given.against is not None:
        if given.part not in ("recording", "compiled", "memory"):
            parser.error("--against takes recording, compiled or memory")
        kernels = KERNELS[given.kernels or "free"]
        against.main(given.part, given.against, kernels=kernels, names=given.workloads, **rounds)
        return
    kernels = KERNELS[given.kernels or "both"]
    parts: dict[str, Callable[[], None]] = {
        "compiled": lambda: compiled.main(kernels=kernels, names=given.workloads, **rounds),
        "recurrent": lambda: recurrent.main(kernels=kernels, **rounds),
        "products": lambda: own_process("products", kernels),
        "gpu": gpu.main,
        "import": import_time.main,
        "recording": lambda: recording.main(**rounds),
        "memory": lambda: memory.main(**rounds),
        "engines": engines.main,
        "distributed": lambda: distributed.main(**rounds),
        "pytorch-inputs": lambda: pytorch_inputs(given.names),
        "learning": lambda: (learning.each_cell if given.cells else learning.main)(given.text, given.minutes),
    }
    parts[given.part]()


if __name__ == "__main__":
    main()

"""One candidate in a process of its own: `python worker.py CHECKOUT MODULE:FUNCTION ARGUMENTS`.

The benchmarks come from where this file lies, `tinygrad_seq` and `nn` from CHECKOUT, which may be another version.
ARGUMENTS is JSON; a list in it is a workload. It warms up, says so, and then runs as many steps as each line that it
reads asks for. `processes.py` starts it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

WARM_UP = 3  # a compiled step runs as it is, then is recorded, then replayed


def peak_memory() -> int | None:
    """The most memory that this process had so far, in KiB. Linux only: what getrusage says includes the parent's."""
    try:
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
    except OSError:
        return None
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def main(checkout: str, make: str, arguments: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer

    def answer(**what: Any) -> None:
        print(json.dumps(what), file=answers, flush=True)

    harness = Path(__file__).resolve().parent.parent
    sys.path[0] = str(harness)  # it was the folder of this file
    importlib.import_module("benchmarks")  # from here on its modules come from here
    sys.path[0] = checkout
    from benchmarks.workloads import Workload

    module, _, function = make.partition(":")
    given = [Workload(*a) if isinstance(a, list) else a for a in json.loads(arguments)]
    try:
        run = getattr(importlib.import_module(module), function)(*given)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] in ("benchmarks", "tinygrad_seq", "nn"):
            raise
        answer(missing=error.name)
        return
    engine = sys.modules.get("tinygrad_seq")
    if engine is not None and not Path(str(engine.__file__)).is_relative_to(checkout):
        raise ImportError(f"benchmarks: {checkout} has no tinygrad_seq; {engine.__file__} was imported")
    for _ in range(WARM_UP):
        run()
    answer(ready=True)
    for line in sys.stdin:
        value: Any = None
        start = time.perf_counter()
        for _ in range(int(line)):
            value = run()
        seconds = time.perf_counter() - start
        answer(seconds=seconds, value=value if isinstance(value, int | float) else None, peak=peak_memory())


if __name__ == "__main__":
    main(*sys.argv[1:])

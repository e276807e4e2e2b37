"""Candidates in processes of their own, all alive and warm, one running at a time.

In one process they disturb each other: threads of one library wait for work on a core that the other uses, and each
finds the caches and the allocator as the other left them. So each has a process, takes its turn when it is told to, and
ratios are taken round by round.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent.parent
PINS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # what changes OpenBLAS's choice of kernels
REST = 0.15  # seconds: OpenBLAS's threads look for work for another 0.1 s after a product
TURN = 0.1  # seconds that a turn takes at least


class Make(NamedTuple):
    """How a candidate is made: `module:function` of the benchmarks, its arguments, and whose `tinygrad_seq` it uses."""

    function: str
    arguments: tuple[Any, ...] = ()
    checkout: Path = HERE


def environment(kernels: str | None) -> dict[str, str]:
    """This process's, but for OpenBLAS's choice of kernels, and no PYTHONPATH: no other checkout is found."""
    found = {k: v for k, v in os.environ.items() if k not in PINS and k != "PYTHONPATH"}
    return found | ({"OPENBLAS_CORETYPE": kernels} if kernels else {})


class Candidate:
    """A process that made a candidate, warmed up, and waits.

    Raises:
        ModuleNotFoundError: if what it needs is not installed.
        RuntimeError: if it failed; its own words went to stderr.
    """

    def __init__(self, make: Make, kernels: str | None = None) -> None:
        self.make = make
        worker = str(Path(__file__).with_name("worker.py"))
        arguments = [str(make.checkout), make.function, json.dumps(make.arguments)]
        self._process = subprocess.Popen(
            [sys.executable, worker, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=make.checkout,
            env=environment(kernels),
        )
        try:
            answer = self._answer()
            if "missing" in answer:
                raise ModuleNotFoundError(f"benchmarks: {answer['missing']} is not installed", name=answer["missing"])
            self.peak: int | None = None
            self.steps = max(1, math.ceil(TURN / self.run(1)[0]))
        except BaseException:
            self.close()
            raise

    def run(self, steps: int) -> tuple[float, Any]:
        """Seconds for each of so many steps, and what the last one returned."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # _answer says it in words
            self._process.stdin.write(f"{steps}\n")
            self._process.stdin.flush()
        answer = self._answer()
        self.peak = answer["peak"]
        return answer["seconds"] / steps, answer["value"]

    def turn(self) -> tuple[float, Any]:
        """The same for a whole turn, after some untimed steps: caches are warm and the clock is up."""
        self.run(max(1, self.steps // 4))
        return self.run(self.steps)

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"benchmarks: {self.make.function}{self.make.arguments} failed in {self.make.checkout}")
        found: dict[str, Any] = json.loads(line)
        return found


@contextlib.contextmanager
def alive(makes: Mapping[str, Make], kernels: str | None = None) -> Iterator[dict[str, Candidate]]:
    """The candidates whose engines are installed, each warm before the next is started."""
    with contextlib.ExitStack() as stack:
        found: dict[str, Candidate] = {}
        for name, make in makes.items():
            try:
                found[name] = Candidate(make, kernels)
            except ModuleNotFoundError:
                continue
            stack.callback(found[name].close)
        yield found


def in_turn(candidates: Mapping[str, Candidate], rounds: int) -> dict[str, list[tuple[float, Any]]]:
    """Seconds for a step and what it returned, for each candidate and round. Every other round goes backwards."""
    found: dict[str, list[tuple[float, Any]]] = {name: [] for name in candidates}
    for number in range(rounds):
        for name in list(candidates)[:: -1 if number % 2 else 1]:
            time.sleep(REST)
            found[name].append(candidates[name].turn())
    return found


def seconds(makes: Mapping[str, Make], rounds: int, kernels: str | None = None) -> dict[str, list[float]]:
    """Seconds for a step, for each candidate that is installed and each round."""
    with alive(makes, kernels) as candidates:
        return {name: [s for s, _ in turns] for name, turns in in_turn(candidates, rounds).items()}


class Estimate(NamedTuple):
    """A median, and the interval that holds the true one with a probability of 95 %."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}–{self.high:.2f})"


def estimate(values: Sequence[float]) -> Estimate:
    """The median with its order-statistics interval: no assumption on how values are distributed.

    Fewer than six values have no such interval: theirs is their whole range, of a lower probability.
    """
    ordered, n = sorted(values), len(values)
    below = 0.0  # how likely it is that at most k of n values are on one side of the true median
    k = 0
    while (below := below + math.comb(n, k) / 2**n) <= 0.025:
        k += 1
    k = max(k, 1)
    return Estimate(statistics.median(ordered), ordered[k - 1], ordered[n - k])


def ratio(above: Sequence[float], below: Sequence[float]) -> Estimate:
    """`above` / `below`, round by round."""
    return estimate([a / b for a, b in zip(above, below, strict=True)])


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as a table, the first one its head."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])

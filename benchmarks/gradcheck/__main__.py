"""The catalogue under each checker, and a whole LSTM under ours: `python -m benchmarks.gradcheck [--quick] [lstm]`."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time

import numpy as np

import nn
import tinygrad_seq as tg

from ..timing import table
from .case import Case
from .catalogue import CORRECT, WRONG
from .checkers import Checker, installed
from .judge import by_kind_and_route, judged, score


def main(seeds: int = 20) -> None:
    """Print what our checker finds of each kind on each route, and how the others do on pairs with small inputs."""
    print(f"\n{len(WRONG)} wrong gradients and {len(CORRECT)} right ones, {seeds} draws of each, default settings.")
    start = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(min(seeds, os.cpu_count() or 1)) as pool:
        findings = [one for of_seed in pool.map(judged, range(seeds), chunksize=1) for one in of_seed]
    for large, title in ((False, "every entry"), (True, "large inputs, by directions")):
        print(f"\ntinygrad_seq, {title}: found/planted, accused/right")
        print(by_kind_and_route(findings, large))
    print(f"\nall: {score(findings)} in {time.perf_counter() - start:.0f} s")
    for one in findings:
        if not one.is_right:
            print(f"  {'missed' if one.of_wrong else 'accused'}: {one.name} (seed {one.seed}, {one.verdict})")
    others(seeds)


def others(seeds: int) -> None:
    """Print the same of each checker, of pairs with small inputs alone."""
    rows = [("", "mistakes found", "false alarms", "s per check")]
    print("\npairs with small inputs, each checker at its default settings:")
    for name, check in installed().items():
        start = time.perf_counter()
        found, alarms = (counted(check, cases, seeds) for cases in (WRONG, CORRECT))
        each = (time.perf_counter() - start) / (found[1] + alarms[1])
        rows.append((name, f"{found[0]} of {found[1]}", f"{alarms[0]} of {alarms[1]}", f"{each:.3f}"))
    print(table(rows))


def counted(check: Checker, cases: dict[str, Case], seeds: int) -> tuple[int, int]:
    """How many a checker finds fault with, and of how many."""
    np.seterr(all="ignore")
    pairs = [case for case in cases.values() if case.route == "pair" and not case.large]
    found = sum(check(case, case.draw(np.random.default_rng(seed))) for seed in range(seeds) for case in pairs)
    return found, seeds * len(pairs)


def lstm() -> None:
    """Print how long a whole two-layer LSTM takes: every parameter, the input and both states."""
    for H, T, B in ((32, 20, 4), (128, 50, 50)):
        tg.manual_seed(0)
        module = nn.LSTM(H, H, num_layers=2)
        states = [tg.randn(2, B, H), tg.randn(2, B, H)]
        start = time.perf_counter()
        report = tg.gradcheck(WholeLSTM(module), [tg.randn(T, B, H), *states])
        tested = sum(i.tested for i in report.inputs)
        print(f"H={H}, T={T}, B={B}: {report.verdict} in {time.perf_counter() - start:.1f} s, {tested} entries tested")


class WholeLSTM(nn.Module):
    """An LSTM as a function of its input and of both states, with all of its outputs."""

    def __init__(self, module: nn.LSTM) -> None:
        self.lstm = module

    def forward(self, x: tg.Tensor, h: tg.Tensor, c: tg.Tensor) -> list[tg.Tensor]:
        output, (h, c) = self.lstm(x, (h, c))
        return [output, h, c]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gradcheck", description=__doc__)
    parser.add_argument("part", nargs="?", choices=["lstm"], help="time whole LSTMs, not the catalogue")
    parser.add_argument("--seeds", type=int, default=20, help="draws of each entry, 0, 1, ...")
    parser.add_argument("--quick", action="store_true", help="one draw")
    given = parser.parse_args()
    if given.part == "lstm":
        lstm()
    else:
        main(1 if given.quick else given.seeds)

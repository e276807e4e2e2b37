"""The catalogue under each checker, and a whole LSTM under ours: `python -m benchmarks.gradcheck [SEEDS | lstm]`."""

from __future__ import annotations

import sys
import time

import numpy as np

import nn
import tinygrad_seq as tg

from ..timing import table
from .checkers import installed
from .correct import CORRECT
from .wrong import WRONG


def main(seeds: int = 3) -> None:
    """Print how many planted mistakes each checker finds in all draws, and how many correct functions it accuses."""
    np.seterr(all="ignore")
    rows = [("", "mistakes found", "false alarms", "s per check")]
    print(f"\n{len(WRONG)} wrong gradients and {len(CORRECT)} right ones, {seeds} draws of each, default settings:")
    for name, check in installed().items():
        found = alarms = 0
        start = time.perf_counter()
        for seed in range(seeds):
            draws = [np.random.default_rng(seed) for _ in range(2)]
            found += sum(check(case, case.draw(draws[0])) for case in WRONG.values())
            alarms += sum(check(case, case.draw(draws[1])) for case in CORRECT.values())
        each = (time.perf_counter() - start) / (seeds * (len(WRONG) + len(CORRECT)))
        of_wrong, of_right = f"{found} of {seeds * len(WRONG)}", f"{alarms} of {seeds * len(CORRECT)}"
        rows.append((name, of_wrong, of_right, f"{each:.3f}"))
    print(table(rows))


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
    if sys.argv[1:] == ["lstm"]:
        lstm()
    else:
        main(*[int(argument) for argument in sys.argv[1:2]])

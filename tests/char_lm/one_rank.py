"""The program, with something particular, mostly on one rank: `python -m tests.char_lm.one_rank HOW STEP train ...`."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from examples.char_lm import start, text, train
from examples.char_lm.cli import main
from examples.char_lm.text import Text
from tinygrad_seq import distributed as dist


class Clock(train.Clock):
    """On rank 1, one in whose step something happens, or that is fast."""

    steps = 0

    def stop(self) -> float:
        took = super().stop()
        if dist.get_rank() == 1:
            self.steps += 1
            if how == "fast":
                return took * 1000
            if self.steps == step and how == "stopped":
                os.kill(os.getpid(), signal.SIGTERM)
            elif self.steps == step and how == "fails":
                raise KeyError("a word")
        return took


class OtherText(Text):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.digest = "another"


if __name__ == "__main__":
    how, step = sys.argv[1], int(sys.argv[2])
    sys.modules["matplotlib"] = None  # type: ignore[assignment]  # drawing takes longer than the training
    vars(train)["Clock"] = Clock
    if how == "mapped":  # a text that is too long for memory, on all ranks
        vars(text)["IN_MEMORY"] = 100
    if how == "text" and os.environ["PMI_RANK"] == "1":
        vars(start)["Text"] = OtherText
    sys.exit(main(sys.argv[3:]))

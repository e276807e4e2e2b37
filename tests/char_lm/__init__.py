"""What the tests of `examples.char_lm` share: a small text, a small model, and the program in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_seq as tg
from examples.char_lm.checkpoint import Run
from examples.char_lm.cli import main

ROOT = Path(__file__).parent.parent.parent
FOX = "the quick brown fox jumps over the lazy dog.\n" * 40
SMALL = ["--hidden", "8", "--embedding", "4", "--batch", "4", "--chunk", "10", "--show-every", "1000"]
FOREVER = ["--minutes", "30", "--no-compile"]
PROGRAM = [sys.executable, "-m", "examples.char_lm"]


def train(text: Path, out: Path, *more: str, quiet: bool = True) -> int:
    """Train a small model in this process; eagerly, which for so few steps is faster."""
    said = ["--quiet"] if quiet else []
    return main(["train", "--text", str(text), "--out", str(out), *SMALL, "--no-compile", *said, *more])


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | more


def hear_hang_ups() -> None:
    """As on a terminal, even where the tests run under `nohup`."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def started(*arguments: object, **settings: Any) -> subprocess.Popen[str]:
    """The program in a process of its own."""
    piped: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment()}
    if os.name == "posix":
        piped["preexec_fn"] = hear_hang_ups
    piped |= settings
    return subprocess.Popen([*PROGRAM, *map(str, arguments)], cwd=ROOT, text=True, **piped)


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Until a file is there, or the process has ended."""
    while not path.exists() and process.poll() is None:
        time.sleep(0.01)


def load(folder: Path, name: str = "checkpoint.npz") -> Run:
    return Run.load(folder / name, "cpu")


def assert_same(a: Run, b: Run) -> None:
    """All of two runs is the same to the last bit, but how long they took."""
    assert a.step == b.step
    assert a.losses == b.losses
    assert a.recent == b.recent
    assert a.position == b.position
    assert [(j.step, j.training, j.nats) for j in a.judged] == [(j.step, j.training, j.nats) for j in b.judged]
    for (name, x), (_, y) in zip(a.model.named_parameters(), b.model.named_parameters(), strict=True):
        np.testing.assert_array_equal(x.detach().numpy(), y.detach().numpy(), err_msg=name)
    for k, entries in a.optimizer.state.items():
        for name, x in entries.items():
            y = b.optimizer.state[k][name]
            np.testing.assert_array_equal(
                x.numpy() if isinstance(x, tg.Tensor) else x, y if isinstance(y, int) else y.numpy()
            )
    assert a.state is not None
    assert b.state is not None
    for x, y in zip(a.state, b.state, strict=True):
        np.testing.assert_array_equal(x.numpy(), y.numpy())

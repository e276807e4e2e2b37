"""A run that is killed and resumed, again and again, at any moment, ends as one that never stopped: byte for byte."""

from __future__ import annotations

import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from examples.char_lm.cli import main

from .. import profiles
from ..systems import posix
from . import SMALL, assert_same, load, started

KILLS = 50 if profiles.DEEP else 1
STEPS = "400" if KILLS > 1 else "60"
SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """The folders of runs that nothing stopped, compiled and eager, and the text beside them."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "text.txt").write_text("the quick brown fox jumps over the lazy dog.\n" * 40, "utf-8")
    return {compiled: folder / f"compiled-{compiled}" for compiled in (True, False)}


def arguments(folder: Path, text: Path, compiled: bool) -> list[str]:
    more = ["--layers", "2", "--dropout", "0.3", "--embedding-dropout", "0.1", "--recurrent-dropout", "0.1"]
    new = ["train", "--text", str(text), "--out", str(folder), *SMALL, *more, "--steps", STEPS]
    return [*new, "--save-every", "0.001", "--quiet", *([] if compiled else ["--no-compile"])]


@posix
@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize(
    "compiled", [True, False] if KILLS > 1 else [False], ids=lambda c: "compiled" if c else "eager"
)
def test_a_run_killed_at_random_moments(whole: dict[bool, Path], tmp_path: Path, name: str, compiled: bool) -> None:
    number = signal.Signals[name]
    text = whole[compiled].parent / "text.txt"
    if not whole[compiled].exists():
        assert main(arguments(whole[compiled], text, compiled)) == 0
    moments = random.Random(f"{name} {compiled}" if KILLS == 1 else None)
    out = tmp_path / "out"
    new = arguments(out, text, compiled)
    again = ["train", "--resume", "--out", str(out), *new[new.index("--save-every") :]]

    def next_part() -> list[str]:
        return again if (out / "checkpoint.npz").exists() else new

    for _ in range(KILLS):
        if next_part() is again and load(out).step == int(STEPS):  # finished before the last kill: begin anew
            shutil.rmtree(out)
        with started(*next_part()) as process:
            time.sleep(moments.uniform(0.0, 2.5 if compiled else 1.5))
            process.send_signal(number)
            _, errors = process.communicate(timeout=120)
        # before Python has read the program's first line, a signal ends it as it ends any process
        if "Traceback" in errors:
            assert number == signal.SIGINT, errors
            assert "char_lm" not in errors, errors
        else:
            assert process.returncode in (0, -number, 128 + number), errors
    assert main(next_part()) == 0
    assert_same(load(whole[compiled]), load(out))
    assert_same(load(whole[compiled], "best.npz"), load(out, "best.npz"))
    assert not [*out.glob(".*.tmp")]

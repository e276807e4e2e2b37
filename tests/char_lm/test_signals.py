"""Ctrl-C, hang-ups and `nohup`: a training answers at once, saves, and stops, or goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from examples.char_lm import train as loop
from examples.char_lm.checkpoint import Run
from examples.char_lm.cli import main

from ..systems import posix
from . import FOREVER, ROOT, SMALL, environment, load, started, train, wait_for


@posix
def test_ctrl_c_before_the_first_save_is_answered_at_once_and_saves(text: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with started("train", "--text", text, "--out", out, *SMALL, *FOREVER) as process:
        assert process.stdout is not None
        while "starting" not in process.stdout.readline():
            pass
        time.sleep(0.3)  # a few steps
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        while "finishing this step, then saving" not in process.stdout.readline():
            pass
        assert time.monotonic() - began < 5
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert load(out).step > 0


@posix
def test_the_answer_does_not_wait_for_a_long_step() -> None:
    """Python's handlers wait for the step; the answer comes from a thread."""
    code = (
        "from examples.char_lm.signals import Requests\n"
        "with Requests(lambda text: print(text, flush=True)) as asked:\n"
        "    print('begun', flush=True)\n"
        "    sum(range(80_000_000))\n"  # one call of more than a second
        "    print('done', asked.stop, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(), text=True, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.4)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert said.splitlines() == [
        "",
        "finishing this step, then saving; Ctrl-C again stops at once, without",
        "done 2",
    ]


@posix
def test_a_second_ctrl_c_stops_at_once(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, show = tmp_path / "out", loop.show
    train(text, out, "--steps", "3")

    def twice(run: Run, *rest: Any) -> None:
        show(run, *rest)
        if run.step == 5:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0)

    monkeypatch.setattr(loop, "show", twice)
    assert main(["train", "--resume", "--no-compile", "--quiet", "--steps", "9", "--out", str(out)]) == 130
    assert load(out).step == 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@posix
def test_nohup_stays_in_force(text: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["train", "--text", text, "--out", out, *SMALL, *FOREVER, "--save-every", "0.05"]
    ignore = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN) and None  # noqa: E731
    with started(*arguments, preexec_fn=ignore) as process:
        wait_for(out / "checkpoint.npz", process)
        process.send_signal(signal.SIGHUP)
        before = load(out).step
        while load(out).step == before and process.poll() is None:
            time.sleep(0.02)
        assert process.poll() is None
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 143


@posix
def test_ctrl_c_during_imports() -> None:
    """At any moment from the program's first line on."""
    code = (
        "import os, runpy, signal, sys\n"
        "class Interrupts:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'numpy': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupts())\n"
        "runpy.run_module('examples.char_lm', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(), text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (130, "\nchar_lm: stopped\n")

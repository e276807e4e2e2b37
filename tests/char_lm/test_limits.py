"""Sizes that cannot be, texts of a few characters, and memory that runs out: one line says so."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from examples.char_lm import train as loop
from examples.char_lm.cli import main

from ..systems import linux
from . import ROOT, SMALL, environment
from .test_nothing_is_lost import Refusal


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (["--hidden", "1000000"], "needs about"),
        (["--layers", "100000", "--hidden", "2000"], "needs about"),
        (["--embedding", "1000000000"], "needs about"),
        (["--batch", "1", "--chunk", "1000000"], "too short"),
    ],
)
def test_impossible_sizes(text: Path, tmp_path: Path, refusal: Refusal, more: list[str], why: str) -> None:
    began = time.monotonic()
    arguments = ["train", "--text", str(text), "--out", str(tmp_path / "out"), "--steps", "1"]
    assert why in refusal([*arguments, *more])
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("length", range(1, 30))
def test_texts_of_a_few_characters(tmp_path: Path, capsys: pytest.CaptureFixture[str], length: int) -> None:
    path = tmp_path / "t.txt"
    path.write_text("abc"[:length] + "d" * (length - 3), "utf-8")
    tiny = ["--batch", "1", "--chunk", "1", "--hidden", "2", "--embedding", "2", "--steps", "2", "--no-compile"]
    status = main(["train", "--text", str(path), "--out", str(tmp_path / "out"), *tiny, "--quiet"])
    errors = capsys.readouterr().err
    assert (status, len(errors.splitlines())) in ((0, 0), (2, 1))
    if length <= 10:
        assert "the text is too short" in errors


@linux
def test_a_limit_on_memory(text: Path, tmp_path: Path) -> None:
    """As `ulimit -v` sets it: what does not fit is refused before it is tried, and what does not after all, then."""
    code = (
        "import re, resource, sys\n"
        "from examples.char_lm.cli import main\n"
        "used = int(re.search(r'VmSize:\\s+(\\d+)', open('/proc/self/status').read())[1]) * 1024\n"
        "limit = used + 340 * 2**20\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "for hidden in ('30000', '2200'):\n"
        "    print(main([*sys.argv[1:], '--hidden', hidden]))\n"
    )
    arguments = ["train", "--text", str(text), "--out", str(tmp_path), "--steps", "1", "--no-compile", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, env=environment(), text=True, capture_output=True
    )
    assert (done.returncode, done.stdout) == (0, "2\n2\n"), done.stderr
    before, after = done.stderr.splitlines()
    assert "needs about" in before
    assert "out of memory: take a smaller --hidden" in after


def test_running_out_of_memory_is_one_line(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Refusal
) -> None:
    def hungry(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(loop, "step_of", lambda run: hungry)
    arguments = ["train", "--text", str(text), "--out", str(tmp_path / "out"), *SMALL, "--no-compile", "--quiet"]
    assert "out of memory: take a smaller --hidden" in refusal([*arguments, "--steps", "2"])

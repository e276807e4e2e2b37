"""Whatever happens around a training, its work is kept: disks, pipes, kills, other trainings, bad runs."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tinygrad_seq as tg
from examples.char_lm import place as places
from examples.char_lm import train as loop
from examples.char_lm.checkpoint import Run
from examples.char_lm.cli import main
from examples.char_lm.judge import Judge

from ..systems import linux, posix
from . import FOREVER, ROOT, SMALL, environment, load, started, train, wait_for

Refusal = Callable[[list[str]], str]


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> set[Path]:
    """Folders in which there is no space left; a test adds and removes them."""
    folders: set[Path] = set()
    save = tg.save

    def limited(obj: Any, path: Path) -> None:
        if path.parent in folders:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        save(obj, path)

    monkeypatch.setattr(tg, "save", limited)
    return folders


def test_a_full_disk_does_not_stop_a_training(
    text: Path, tmp_path: Path, full: set[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, show = tmp_path / "out", loop.show

    def fill_and_free(run: Run, *rest: Any) -> None:
        full.update({out} if run.step == 3 else ())
        full.difference_update({out} if run.step == 9 else ())
        show(run, *rest)

    monkeypatch.setattr(loop, "show", fill_and_free)
    assert train(text, out, "--steps", "12", "--save-every", "1e-9") == 0
    warned = capsys.readouterr().err.splitlines()
    assert len(warned) == 6
    assert warned[0] == (
        f"char_lm: could not save to {out} at step 3: No space left on device. Training goes on; it will be tried again"
    )
    assert load(out).step == 12


def test_a_folder_that_went_away_is_made_again(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, show = tmp_path / "out", loop.show

    def remove(run: Run, *rest: Any) -> None:
        if run.step == 3:
            for path in out.iterdir():
                path.unlink()
            out.rmdir()
        show(run, *rest)

    monkeypatch.setattr(loop, "show", remove)
    assert train(text, out, "--steps", "6", "--save-every", "1e-9") == 0
    assert load(out).step == 6


def test_at_the_end_of_a_full_disk_another_folder_works(
    text: Path, tmp_path: Path, full: set[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b, c = (tmp_path / name for name in "abc")
    train(text, a, "--steps", "5")
    full.add(a)
    again = ["train", "--resume", "--no-compile", "--quiet", "--steps", "9", "--out", str(a)]
    answers = iter(["", str(b)])
    monkeypatch.setattr(places, "ask", lambda _: next(answers))
    assert main(again) == 1
    assert f"it is in {b}" in capsys.readouterr().err
    assert (load(a).step, load(b).step) == (5, 9)
    # nobody to ask: a temporary folder
    monkeypatch.setattr(places, "ask", lambda _: None)
    monkeypatch.setattr("tempfile.mkdtemp", lambda prefix: str(c))
    assert main(again) == 1
    assert load(c).step == 9
    # that one is full, too: what is there stays, and how to go on is said
    full.add(c)
    assert main(again) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"go on in another folder: train --resume {a} --out ANOTHER" in last
    assert main(["train", "--resume", str(a), "--out", str(tmp_path / "d"), "--quiet", "--steps", "9"]) == 0
    assert load(tmp_path / "d").step == 9
    assert load(tmp_path / "d", "best.npz").best is not None


@posix
def test_a_disk_that_is_really_full(text: Path, tmp_path: Path) -> None:
    """The system's own error, by a limit on the size of files."""
    limit = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000)); " + (
        "sys.argv = ['char_lm', *sys.argv[1:]]; runpy.run_module('examples.char_lm', run_name='__main__')"
    )
    arguments = ["train", "--text", str(text), "--out", str(tmp_path / "out"), *SMALL, "--no-compile", "--steps", "5"]
    done = subprocess.run(
        [sys.executable, "-c", limit, *arguments], cwd=ROOT, env=environment(TMPDIR=str(tmp_path)), text=True,
        capture_output=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "could be saved nowhere" in done.stderr.splitlines()[-1]
    assert not [*(tmp_path / "out").glob(".*.tmp")]


def test_pipes_that_nobody_reads_do_not_stop_a_training(text: Path, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    out, both = tmp_path / "out", {"stdout": write, "stderr": write}
    with started("train", "--text", text, "--out", out, *SMALL, "--no-compile", "--steps", "30", **both) as process:
        os.close(write)
        process.wait(60)
    assert process.returncode == 0
    assert load(out).step == 30


def test_there_may_be_no_output_at_all(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with `>&-`, or under pythonw."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert train(text, tmp_path, "--steps", "2", quiet=False) == 0


@linux
def test_output_on_a_full_device(text: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with open("/dev/full", "w") as full:
        arguments = ["train", "--text", text, "--out", out, *SMALL, "--no-compile", "--steps", "30"]
        with started(*arguments, stdout=full, stderr=full) as process:
            assert process.wait(60) == 0
        assert load(out).step == 30
        with started("sample", "--checkpoint", out, "--no-compile", "--length", "5", stdout=full) as process:
            _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (2, "char_lm: cannot write to standard output: No space left on device\n")


@posix
def test_sampling_into_head_ends_with_it(text: Path, tmp_path: Path) -> None:
    train(text, tmp_path, "--steps", "2")
    with started("sample", "--checkpoint", tmp_path, "--no-compile", "--length", "10000000") as process:
        assert process.stdout is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(60) == 1
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_two_trainings_in_one_folder(text: Path, tmp_path: Path, refusal: Refusal) -> None:
    out = tmp_path / "out"
    again = ["train", "--resume", "--no-compile", "--quiet", "--steps", "9", "--out", str(out)]
    with started("train", "--text", text, "--out", out, *SMALL, *FOREVER, "--save-every", "0.1") as process:
        wait_for(out / "checkpoint.npz", process)
        assert f"another training is running in {out}" in refusal(again)
        process.kill()
        process.communicate()
    step = load(out).step
    assert main([*again[:-3], str(step + 2), *again[-2:]]) == 0  # the lock went with the process
    assert load(out).step == step + 2


def test_what_a_killed_process_left_half_written_is_removed(text: Path, tmp_path: Path) -> None:
    train(text, tmp_path, "--steps", "2")
    left = [tmp_path / name for name in (".checkpoint.npz.0a1b2c3d.tmp", ".best.npz.0a1b2c3d.tmp")]
    for path in (*left, tmp_path / ".other.tmp"):
        path.write_bytes(bytes(100))
    assert main(["train", "--resume", "--no-compile", "--quiet", "--steps", "3", "--out", str(tmp_path)]) == 0
    assert not any(path.exists() for path in left)
    assert (tmp_path / ".other.tmp").exists()


def test_overwriting_keeps_the_old_run_until_the_new_one_is_better(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    train(text, out, "--steps", "40", "--lr", "0.01")
    good, best = ((out / name).read_bytes() for name in ("checkpoint.npz", "best.npz"))
    assert train(text, out, "--steps", "5", "--overwrite", quiet=False) == 0  # worse
    assert f"run before  {out / 'previous-1'}, not judged worse" in capsys.readouterr().out
    assert (out / "previous-1" / "checkpoint.npz").read_bytes() == good
    assert (out / "previous-1" / "best.npz").read_bytes() == best
    train(text, out, "--steps", "6", "--overwrite")  # of the two before, the better one is kept
    assert [path.name for path in out.glob("previous-*")] == ["previous-1"]
    assert (out / "previous-1" / "best.npz").read_bytes() == best
    assert train(text, out, "--steps", "120", "--lr", "0.03", "--overwrite", quiet=False) == 0  # better than both
    assert f"better than the run in {out / 'previous-1'}, which is removed" in capsys.readouterr().out
    assert not [*out.glob("previous-*")]
    # of another text, none is better
    other = tmp_path / "other.txt"
    other.write_text("abcdefgh\n" * 300, "utf-8")
    train(other, out, "--steps", "40", "--overwrite")
    assert load(out / "previous-1").step == 120


def test_a_new_run_that_never_saves_leaves_the_old_one_in_its_place(
    text: Path, tmp_path: Path, refusal: Refusal
) -> None:
    out = tmp_path / "out"
    train(text, out, "--steps", "2")
    whole = (out / "checkpoint.npz").read_bytes()
    diverging = ["--steps", "200", "--lr", "1e30", "--clip", "1e30", "--overwrite", "--quiet"]
    line = refusal(["train", "--text", str(text), "--out", str(out), *SMALL, *diverging])
    assert "lower --lr" in line
    assert "is as it was before" in line
    assert (out / "checkpoint.npz").read_bytes() == whole
    assert not [*out.glob("previous-*")]


@pytest.mark.parametrize("steps", ["7", "60"])
def test_a_run_worse_than_one_that_knows_nothing_is_not_saved(
    text: Path, tmp_path: Path, refusal: Refusal, steps: str
) -> None:
    """Finite, and worthless: neither over an old run, nor over its own better past."""
    out = tmp_path / "out"
    train(text, out, "--steps", "30")
    whole = (out / "checkpoint.npz").read_bytes()
    new = ["train", "--text", str(text), "--out", str(out), *SMALL, "--no-compile", "--quiet", "--overwrite"]
    line = refusal([*new, "--lr", "2000", "--steps", steps, "--save-every", "0.001"])
    assert "where a model that knows nothing has 3.37: lower --lr" in line
    again = ["train", "--resume", "--no-compile", "--quiet", "--out", str(out), "--save-every", "0.001"]
    if not (out / "previous-1").exists():
        assert (out / "checkpoint.npz").read_bytes() == whole
        assert "lower --lr" in refusal([*again, "--lr", "2000", "--steps", "90"])
        assert load(out, "best.npz").step <= 30
    else:
        assert (out / "previous-1" / "checkpoint.npz").read_bytes() == whole


def test_a_kill_between_the_last_and_the_best_model(text: Path, tmp_path: Path) -> None:
    train(text, tmp_path, "--steps", "20", "--lr", "0.01")
    (tmp_path / "best.npz").unlink()
    assert main(["train", "--resume", "--no-compile", "--quiet", "--out", str(tmp_path)]) == 0
    assert load(tmp_path, "best.npz").step == 20


def test_a_kill_in_the_last_judgement(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is saved before it is judged, and judged when the run goes on."""

    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt  # a second Ctrl-C

    with monkeypatch.context() as patch:
        patch.setattr(Judge, "__call__", stopped)
        assert train(text, tmp_path, "--steps", "5") == 130
    assert (load(tmp_path).step, load(tmp_path).judged) == (5, [])
    assert main(["train", "--resume", "--no-compile", "--quiet", "--out", str(tmp_path)]) == 0
    assert [j.step for j in load(tmp_path).judged] == [5]

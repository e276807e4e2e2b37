"""Whatever happens around a training, its work is kept: disks, pipes, signals, other trainings, bad runs."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
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
from . import ROOT, SMALL, environment, load, started, train

Refusal = Callable[[list[str]], str]
FOREVER = ["--minutes", "30", "--no-compile"]


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists() and process.poll() is None:
        time.sleep(0.01)


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

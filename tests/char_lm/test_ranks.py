"""The program under a launcher: what several processes train is what one does, and rank 0 alone is heard."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from examples.char_lm import ranks
from examples.char_lm.checkpoint import Run
from tinygrad_seq import distributed as dist

from ..distributed.launch import PATIENCE, mpiexec
from ..engine.strict_backend import installed, stand_in_only
from ..systems import posix
from . import ROOT, SMALL, environment, load, train

DROPOUT = ["--dropout", "0.3", "--embedding-dropout", "0.1", "--recurrent-dropout", "0.1"]
RANDOM = ["--batch", "5", "--layers", "2", *DROPOUT]


def launched(processes: int, how: str, *arguments: object) -> tuple[int, str, str]:
    """The exit code, standard output and standard error of so many processes, of which rank 1 is not as the others."""
    command = [mpiexec(), "-n", str(processes), sys.executable, "-m", "tests.char_lm.one_rank", *how.split()]
    done = subprocess.run(
        [*command, "train", *map(str, arguments), "--no-compile"],
        capture_output=True,
        text=True,
        env=environment(OPENBLAS_NUM_THREADS="1"),
        cwd=ROOT,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def assert_close(a: Run, b: Run) -> None:
    assert (a.step, a.position) == (b.step, b.position)
    assert [j.step for j in a.judged] == [j.step for j in b.judged]
    np.testing.assert_allclose([j.nats for j in a.judged], [j.nats for j in b.judged], rtol=1e-5)
    np.testing.assert_allclose(a.recent, b.recent, rtol=1e-4)
    for (name, x), (_, y) in zip(a.model.named_parameters(), b.model.named_parameters(), strict=True):
        np.testing.assert_allclose(x.detach().numpy(), y.detach().numpy(), rtol=0, atol=1e-5, err_msg=name)
    for x, y in zip(a.state or (), b.state or (), strict=True):
        np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=0, atol=1e-5)


@posix
def test_any_number_of_processes_train_what_one_does(text: Path, tmp_path: Path) -> None:
    """Two of them, until one is told to stop; then three, with a text in a file, whose streams they share unevenly."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train(text, whole, *RANDOM, "--steps", "60") == 0
    new = ["--text", text, "--out", parts, *SMALL, *RANDOM, "--steps", "60"]
    code, said, wrong = launched(2, "stopped 27", *new)
    assert code == 128 + signal.SIGTERM, wrong
    assert said.count("stopped at step 27; saved to") == 1, said
    assert said.count("2 processes train together, each on 2.5 of the 5 streams") == 1, said
    assert load(parts).step == 27
    code, said, wrong = launched(3, "mapped 0", "--resume", "--out", parts, "--save-every", "0.1")
    assert code == 0, wrong
    assert [*parts.glob("tokens-*.bin")]
    assert said.count("of the held-out last tenth of the text:") == 1, said
    assert_close(load(whole), load(parts))
    assert_close(load(whole, "best.npz"), load(parts, "best.npz"))


@posix
def test_an_interrupted_launcher_saves(text: Path, tmp_path: Path) -> None:
    """Ctrl-C reaches the launcher, which passes it on to all ranks."""
    out = tmp_path / "out"
    command = [mpiexec(), "-n", "2", sys.executable, "-m", "examples.char_lm", "train", "--text", str(text)]
    with subprocess.Popen(
        [*command, "--out", str(out), *SMALL, "--steps", "1000000", "--save-every", "0.01", "--no-compile"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(OPENBLAS_NUM_THREADS="1"),
        cwd=ROOT,
    ) as process:
        end = time.monotonic() + PATIENCE
        while not (out / "checkpoint.npz").exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode, said
    found = re.search(r"stopped at step (\d+); saved to", said)
    assert found is not None, said
    assert load(out).step == int(found[1])


@posix
def test_the_clock_is_that_of_rank_0(text: Path, tmp_path: Path) -> None:
    code, _, wrong = launched(
        2, "fast 0", "--text", text, "--out", tmp_path / "out", *SMALL, "--minutes", "0.005", "--quiet"
    )
    assert code == 0, wrong
    run = load(tmp_path / "out")
    assert run.step > 20
    assert 0.3 <= run.seconds < 30


@posix
@pytest.mark.parametrize(
    ("how", "more", "message"),
    [
        ("fails 5", [], r"rank 1 of 2 failed in step 6 (KeyError: 'a word')"),
        ("text 0", [], "char_lm: rank 1 reads another text than rank 0"),
        ("alike 0", ["--batch", "1"], "char_lm: 2 processes cannot share 1 streams: start 1 of them at most"),
    ],
)
def test_what_goes_wrong_on_one_rank_is_said_once(
    text: Path, tmp_path: Path, how: str, more: list[str], message: str
) -> None:
    given = [*SMALL, *more, "--steps", "40"]
    code, said, wrong = launched(2, how, "--text", text, "--out", tmp_path / "out", *given)
    assert code
    assert (said + wrong).count(message) == 1, said + wrong
    assert len([line for line in wrong.splitlines() if line.startswith(("char_lm:", "distributed:"))]) == 1, wrong


@stand_in_only
def test_processes_of_one_host_take_gpus_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    for others, found in (((5, 8), "cuda:1"), ((2, 8), "cuda"), ((0, 1), "cuda")):
        monkeypatch.setattr(dist, "get_node_local_rank", lambda rank=others[0]: rank)
        monkeypatch.setattr(dist, "get_world_size", lambda size=others[1]: size)
        with installed(2):
            assert ranks.device_of("cuda") == found
            assert ranks.device_of("cpu") == "cpu"
            assert ranks.device_of("cuda:0") == "cuda:0"

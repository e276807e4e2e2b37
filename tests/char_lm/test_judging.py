"""Judged while it trains, the best is kept, and the clock counts training only."""

from __future__ import annotations

import csv
import math
import os
import signal
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nn.functional as F
import tinygrad_seq as tg
from examples.char_lm import train as loop
from examples.char_lm.checkpoint import Judgement, Run
from examples.char_lm.cli import main
from examples.char_lm.judge import WARM_UP, Judge
from examples.char_lm.model import CharLM
from examples.char_lm.settings import Settings
from examples.char_lm.signals import Requests
from examples.char_lm.text import Corpus
from examples.char_lm.vocabulary import Vocabulary

from ..systems import posix
from . import FOX, load, train


def end_to_end(model: CharLM, tokens: Any) -> Any:
    """Nats of each token but the first, the plain way."""
    model.eval()
    with tg.no_grad():
        scores, _ = model(tg.tensor(tokens[:-1], dtype=tg.int64).unsqueeze(1))
        return F.cross_entropy(scores.squeeze(1), tg.tensor(tokens[1:], dtype=tg.int64), reduction="none").numpy()


@pytest.mark.parametrize("compiled", [True, False])
def test_one_stream_is_the_text_from_end_to_end(compiled: bool) -> None:
    tg.manual_seed(3)
    corpus = Corpus.of(FOX)
    model = CharLM(29, 4, 8, 2, 0.5)
    found = Judge(model, corpus.tokens, 1500, compiled=compiled)(250)
    assert model.training
    expected = end_to_end(model, corpus.tokens[1500 - WARM_UP : 1751])[WARM_UP:]
    assert found is not None
    np.testing.assert_allclose(found[0], expected.mean(), rtol=1e-6)
    assert found[1] == len(expected) == 250


def test_parallel_streams_cover_the_text_and_are_warm() -> None:
    """Each stream knows what came before it, so the figure is that of one reader, but for what lies farther back."""
    tg.manual_seed(3)
    tokens = np.random.default_rng(0).integers(0, 5, 4001)
    model = CharLM(5, 4, 8, 1)
    nats, read = Judge(model, tokens, 1000)() or (0.0, 0)
    assert read == 3000
    np.testing.assert_allclose(nats, end_to_end(model, tokens)[1000:].mean(), rtol=1e-5)
    nats, read = Judge(model, tokens, 1000)(600) or (0.0, 0)
    expected = end_to_end(model, tokens)
    chosen = [expected[1000 + k * 1000 :][:200] for k in range(3)]  # spread evenly over the part
    assert read == 600
    np.testing.assert_allclose(nats, np.mean(chosen), rtol=1e-5)


def test_a_judgement_can_be_given_up() -> None:
    model = CharLM(29, 4, 8, 1)
    assert Judge(model, Corpus.of(FOX).tokens, 500)(tick=lambda done: done > 0.3) is None
    assert model.training


def test_it_is_judged_at_equal_shares_and_the_best_is_kept(text: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    train(text, out, "--steps", "200", "--lr", "0.02")
    last, best = load(out), load(out, "best.npz")
    assert [j.step for j in last.judged] == list(range(20, 201, 20))
    assert last.best is not None
    assert best.step == last.best.step == min(last.judged, key=lambda j: j.nats).step
    assert best.judged[-1] == last.best
    nats, _ = Judge(best.model, Corpus.of(FOX).tokens, 1620)(best.settings.judged_tokens) or (0.0, 0)
    np.testing.assert_allclose(nats, last.best.nats, rtol=1e-6)
    with open(out / "metrics.csv", newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [int(row["step"]) for row in rows] == [j.step for j in last.judged]
    assert [float(row["held_out_nats"]) for row in rows] == [j.nats for j in last.judged]
    assert float(rows[-1]["best_held_out_nats"]) == last.best.nats


def test_a_held_out_loss_that_is_no_number_is_not_saved(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The checkpoint could not be read again."""
    train(text, tmp_path, "--steps", "20")
    monkeypatch.setattr(Judge, "__call__", lambda *_: (math.nan, 100))
    again = ["train", "--resume", "--no-compile", "--quiet", "--steps", "40", "--out", str(tmp_path)]
    assert main(again) == 2
    assert "the held-out loss became nan at step 40: lower --lr" in capsys.readouterr().err
    assert [j.step for j in load(tmp_path).judged] == [20]


@pytest.fixture
def worse_and_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judgements of a model that is best at first."""
    grades = iter([3.0, 3.1, 3.2, 3.3, 3.4, 3.5, 3.6, 3.7, 3.8, 3.9])
    monkeypatch.setattr(Judge, "__call__", lambda *_: (next(grades), 100))


@pytest.mark.usefixtures("worse_and_worse")
def test_overfitting_is_said_and_patience_stops(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert train(text, out, "--steps", "200", "--patience", "3", quiet=False) == 0
    said = capsys.readouterr().out
    assert said.count("the held-out loss rises since step 20: the model learns by heart") == 1
    assert "stopped early: 3 judgements without a better one" in said
    assert (load(out).step, load(out, "best.npz").step) == (80, 20)
    assert "the best, step 20 3.000 nats" in said
    assert main(["train", "--resume", "--out", str(out)]) == 0
    assert "this run is finished at step 80: the patience is out" in capsys.readouterr().out


def test_the_curve_is_drawn_at_each_judgement(
    text: Path, tmp_path: Path, pictures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib import pyplot
    from matplotlib.axes import Axes

    drawn: list[tuple[str, int]] = []
    plot = Axes.plot

    def spy(self: Any, x: Any, y: Any, *more: Any, **named: Any) -> Any:
        drawn.append((named["label"], len(x)))
        return plot(self, x, y, *more, **named)

    monkeypatch.setattr(Axes, "plot", spy)
    train(text, tmp_path / "out", "--steps", "40", "--dropout", "0.1")
    assert drawn == [
        ("training, with dropout, as it goes", 1), ("held out", 1),
        ("training, with dropout, as it goes", 2), ("held out", 2),
    ]  # fmt: skip
    assert (tmp_path / "out" / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert not pyplot.get_fignums()


def test_tensorboard_gets_the_same_figures(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Callable[[list[str]], str]
) -> None:
    """On a stand-in: the package is large, and optional."""
    arguments = ["train", "--text", str(text), "--out", str(tmp_path / "out"), "--steps", "40", "--tensorboard"]
    monkeypatch.setitem(sys.modules, "tensorboard.summary", None)
    assert 'pip install "tinygrad-seq[tensorboard]"' in refusal(arguments)
    scalars = []

    class Writer:
        def __init__(self, folder: str) -> None:
            assert folder == str(tmp_path / "out" / "events")
            assert (tmp_path / "out" / "checkpoint.npz").exists()  # what was there before is aside by now

        def add_scalar(self, tag: str, value: float, step: int) -> None:
            scalars.append((tag, value, step))

        def flush(self) -> None: ...

    stand_in: Any = types.ModuleType("tensorboard.summary")
    stand_in.Writer = Writer
    monkeypatch.setitem(sys.modules, "tensorboard", types.ModuleType("tensorboard"))
    monkeypatch.setitem(sys.modules, "tensorboard.summary", stand_in)
    train(text, tmp_path / "out", "--steps", "40", "--tensorboard")
    judged = load(tmp_path / "out").judged
    assert [x for x in scalars if x[0] == "held out"] == [("held out", j.nats, j.step) for j in judged]


def a_run(**settings: Any) -> Run:
    return Run.new(Settings(**({"hidden": 2, "embedding": 2, "judgements": 10} | settings)), Vocabulary("ab"), "cpu")


def test_judging_takes_a_bounded_share_of_the_time() -> None:
    run = a_run(minutes=1.0)
    run.step, run.seconds, run.judged = 50, 30.0, [Judgement(20, 10.0, 1.0, 1.0)]
    run.judging = 1.4
    assert loop.due(run)
    run.judging = 1.6  # more than 5 % of 30 seconds
    assert not loop.due(run)
    run.seconds = 60.0  # at the end in any case
    assert loop.due(run)


def test_a_stopped_process_does_not_use_up_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    clock, counted = loop.Clock(), []
    for took in (3.0, 0.2, 0.21, 3600.0, 0.19, 0.5, 0.2):
        clock.start()
        now += took
        counted.append(clock.stop())
    assert counted[0] == pytest.approx(3.0)  # the first one compiles
    assert counted[3] == pytest.approx(0.2, abs=0.02)  # Ctrl-Z, or a closed laptop
    assert counted[5] == pytest.approx(0.5)  # a busy machine


def test_what_a_longer_budget_does_to_the_learning_rate_is_said(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    train(text, out, "--steps", "60")
    again = ["train", "--resume", "--no-compile", "--out", str(out)]
    assert main(again) == 0
    said = capsys.readouterr().out
    assert "this run is finished at step 60: all of its 60 steps are used" in said
    assert "--steps 120" in said
    assert load(out).step == 60
    assert main([*again, "--steps", "120"]) == 0
    said = capsys.readouterr().out
    assert (
        "the learning rate goes from 5e-05 to 0.0025, since 50% of the budget are used now, where it was 100%" in said
    )
    assert main([*again, "--steps", "130", "--lr", "0.001"]) == 0
    assert load(out).settings.lr == 0.001


@posix
def test_ctrl_c_while_it_judges_saves(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The judgement is given up, and made up for when the run goes on: it ends as if nothing had happened."""
    train(text, tmp_path / "whole", "--steps", "60")
    judging = Judge._piece

    def interrupted(self: Judge, starts: Any, steps: int) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0)  # here Python runs the handler
        return judging(self, starts, steps)

    monkeypatch.setattr(Judge, "_piece", interrupted)
    out = tmp_path / "out"
    assert train(text, out, "--steps", "60", quiet=False) == 130
    monkeypatch.undo()
    assert "stopped at step 20; saved to" in capsys.readouterr().out
    assert load(out).judged == []
    assert main(["train", "--resume", "--no-compile", "--quiet", "--out", str(out)]) == 0
    assert [(j.step, j.nats) for j in load(out).judged] == [(j.step, j.nats) for j in load(tmp_path / "whole").judged]


@pytest.fixture
def asked() -> Iterator[Requests]:
    with Requests(print) as requests:
        yield requests


@posix
def test_sigusr1_saves_on_demand(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = loop.show

    def show(run: Run, *rest: Any) -> None:
        if run.step == 7:
            os.kill(os.getpid(), signal.SIGUSR1)
        sound(run, *rest)

    monkeypatch.setattr(loop, "show", show)
    train(text, tmp_path / "out", "--steps", "19", quiet=False)
    assert "saved at step 7 to" in capsys.readouterr().out

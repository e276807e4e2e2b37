"""The character-level language model as its user meets it: on the command line."""

from __future__ import annotations

import math
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg
from examples.char_lm.checkpoint import Run
from examples.char_lm.cli import main
from examples.char_lm.model import CharLM
from examples.char_lm.text import Corpus
from examples.char_lm.train import over_and_over
from examples.char_lm.write import Taste, write

from ..systems import posix
from . import FOX, ROOT, SMALL, assert_same, environment, load, started, train

Refusal = Callable[[list[str]], str]


def test_it_learns_reports_and_writes(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(text, tmp_path / "out", "--steps", "60", quiet=False) == 0
    shown = capsys.readouterr().out
    run = Run.load(tmp_path / "out" / "checkpoint.npz", "cpu")
    nats = run.judged[-1].nats
    assert nats < math.log(len(run.vocabulary))
    for words in (
        f"this model    {nats:.3f} nats",
        "unigram model",
        "uniform model",
        "checkpoint",
        "sample --checkpoint",
    ):
        assert words in shown
    checkpoint = str(tmp_path / "out" / "checkpoint.npz")
    written = []
    for seed in ("1", "1", "2"):
        assert main(["sample", "--checkpoint", checkpoint, "--prime", "the ", "--length", "30", "--seed", seed]) == 0
        written.append(capsys.readouterr().out)
    assert written[0] == written[1] != written[2]
    assert written[0].startswith("the ")
    assert len(written[0]) == 4 + 30 + 1


def test_a_resumed_run_ends_as_an_uninterrupted_one(text: Path, tmp_path: Path) -> None:
    settings = ["--layers", "2", "--dropout", "0.3", "--steps", "50"]
    train(text, tmp_path / "whole", *settings)
    out, save = tmp_path / "cut", ["--save-every", "0.0001", "--no-compile"]
    with started("train", "--text", text, "--out", out, *SMALL, *settings, *save) as process:
        while not (out / "checkpoint.npz").exists() and process.poll() is None:
            time.sleep(0.01)
        process.kill()  # at any moment: the file is whole
    assert 0 < load(out).step <= 50
    assert main(["train", "--resume", "--no-compile", "--out", str(out)]) == 0
    assert_same(load(tmp_path / "whole"), load(out))


@posix
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_stopping_saves_and_says_how_to_go_on(text: Path, tmp_path: Path, name: str) -> None:
    number = signal.Signals[name]
    out = tmp_path / "out"
    with started(
        "train", "--text", text, "--out", out, *SMALL, "--no-compile", "--minutes", "5", "--save-every", "0.2"
    ) as process:
        while not (out / "checkpoint.npz").exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(number)
        said, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    assert errors == ""
    assert "finishing this step, then saving" in said
    stopped_at = load(out).step
    assert f"stopped at step {stopped_at};" in said
    (line,) = [line for line in said.splitlines() if line.startswith("go on with: ")]
    more = [*shlex.split(line.removeprefix("go on with: ")), "--steps", str(stopped_at + 1), "--no-compile", "--quiet"]
    again = subprocess.run(more, env=environment(), cwd=ROOT, text=True, capture_output=True)
    assert (again.returncode, again.stderr) == (0, "")
    assert load(out).step == stopped_at + 1


def test_a_resumed_run_can_begin_the_text_anew(text: Path, tmp_path: Path) -> None:
    train(text, tmp_path, "--steps", "2")
    state: Any = Run.load(tmp_path / "checkpoint.npz", "cpu").state
    assert (state.reset()[0] == 0).all()


def test_bad_texts(tmp_path: Path, refusal: Refusal) -> None:
    path, out = tmp_path / "t.txt", tmp_path / "out"
    arguments = ["train", "--text", str(path), "--out", str(out), *SMALL, "--steps", "1"]
    assert "cannot read the text" in refusal(arguments)
    path.write_bytes(b"")
    assert "is empty" in refusal(arguments)
    path.write_bytes(b"caf\xe9 au lait")
    assert "byte 0xe9 at offset 3" in refusal([*arguments, "--encoding", "utf-8"])
    assert "no encoding 'klingon'" in refusal([*arguments, "--encoding", "klingon"])
    path.write_text("too short", "utf-8")
    assert "the text is too short" in refusal(arguments)
    (tmp_path / "empty").mkdir()
    assert "has no files" in refusal(["train", "--text", str(tmp_path / "empty"), "--out", str(out)])
    assert not (out / "checkpoint.npz").exists()


def test_bad_checkpoints(text: Path, tmp_path: Path, refusal: Refusal) -> None:
    out = tmp_path / "out"
    assert "there is no checkpoint" in refusal(["train", "--resume", "--out", str(out)])
    train(text, out, "--steps", "2")
    checkpoint = out / "checkpoint.npz"
    whole = checkpoint.read_bytes()
    sample = ["sample", "--checkpoint", str(checkpoint)]
    assert "'Q', which the model has never seen" in refusal([*sample, "--prime", "Q"])
    text.write_text(FOX.upper(), "utf-8")
    assert "is not the text that" in refusal(["train", "--resume", "--out", str(out)])
    text.write_text(FOX, "utf-8")
    assert "--hidden 8, not 9" in refusal(["train", "--resume", "--out", str(out), "--hidden", "9"])
    assert "(--overwrite)" in refusal(["train", "--text", str(text), "--out", str(out), *SMALL])
    assert checkpoint.read_bytes() == whole
    checkpoint.write_bytes(whole[:1000])
    assert "cut off" in refusal(sample)
    assert "cut off" in refusal(["train", "--resume", "--out", str(out)])
    assert checkpoint.read_bytes() == whole[:1000]
    tg.save({"x": tg.ones(1)}, checkpoint)
    assert "is not a checkpoint of this program" in refusal(sample)
    checkpoint.write_bytes(whole)
    stored = tg.load(checkpoint)
    stored["model"]["head.bias"] = tg.ones(3)
    tg.save(stored, checkpoint)
    assert "does not fit the model that it describes: head.bias has shape (3,)" in refusal(sample)
    stored["settings"]["hidden"] = "8"
    tg.save(stored, checkpoint)
    assert "does not fit the model that it describes" in refusal(sample)
    (tmp_path / "folder").mkdir()
    assert "there is no checkpoint" in refusal(["sample", "--checkpoint", str(tmp_path / "folder")])


def test_unusable_folders_and_devices(text: Path, tmp_path: Path, refusal: Refusal) -> None:
    (tmp_path / "file").write_text("")
    arguments = ["train", "--text", str(text), *SMALL, "--steps", "1"]
    assert "cannot write to the folder" in refusal([*arguments, "--out", str(tmp_path / "file")])
    assert "'cpu', 'cuda' or 'cuda:N'" in refusal([*arguments, "--device", "gpu"])
    try:
        tg.device("cuda").backend  # noqa: B018 - asks whether there is one
    except RuntimeError:
        assert "device 'cuda'" in refusal([*arguments, "--device", "cuda"])
    assert not (tmp_path / "out").exists()
    (tmp_path / "out" / "checkpoint.npz").mkdir(parents=True)
    assert "is a folder" in refusal([*arguments, "--out", str(tmp_path / "out")])


@pytest.mark.parametrize(
    "bad",
    [
        ["--lr", "-1"], ["--lr", "nan"], ["--minutes", "inf"], ["--steps", "0"], ["--hidden", "1.5"], ["--chunk", "x"],
        ["--dropout", "1"], ["--steps", "2", "--minutes", "1"], ["--resume", "--overwrite"], ["--color"],
    ],
)  # fmt: skip
def test_bad_options(capsys: pytest.CaptureFixture[str], bad: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["train", *bad])
    assert caught.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("char_lm: ")
    assert bad[0] in lines[0]


def test_training_carries_the_state_as_a_constant(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, returned, forward = [], [], CharLM.forward

    def spy(model: CharLM, tokens: Any, state: Any = None) -> Any:
        scores, after = forward(model, tokens, state)
        if model.training:
            given.append(state)
            returned.append(after)
        return scores, after

    monkeypatch.setattr(CharLM, "forward", spy)
    # a stream of 405 characters has 40 chunks of 10 and one of 4
    train(text, tmp_path, "--steps", "45", "--no-compile")
    anew = [step for step, state in enumerate(given) if state is None or not any(s.numpy().any() for s in state)]
    assert anew == [0, 41]
    for step, (before, state) in enumerate(zip(returned, given[1:], strict=False), start=1):
        if step not in anew:
            for x, y in zip(before, state, strict=True):
                assert not y.requires_grad
                np.testing.assert_array_equal(x.detach().numpy(), y.numpy())


def test_compiled_and_not_it_learns_the_same(text: Path, tmp_path: Path) -> None:
    runs = []
    for name, more in (("a", []), ("b", ["--no-compile"])):
        arguments = ["train", "--text", str(text), "--out", str(tmp_path / name), *SMALL, "--steps", "60", "--quiet"]
        assert main([*arguments, *more]) == 0
        runs.append(Run.load(tmp_path / name / "checkpoint.npz", "cpu"))
    assert [step for step, _ in runs[0].losses] == [20, 40, 60]
    np.testing.assert_allclose([loss for _, loss in runs[0].losses], [loss for _, loss in runs[1].losses], rtol=1e-4)
    for p, q in zip(*[run.model.parameters() for run in runs], strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-2, atol=1e-4)


def test_a_budget_can_be_raised(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(text, tmp_path / "out", "--steps", "3", quiet=False)
    more = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("train more"))
    moved = text.rename(tmp_path / "moved.txt")
    assert main([*shlex.split(more)[5:], "--text", str(moved)]) == 0
    run = Run.load(tmp_path / "out" / "checkpoint.npz", "cpu")
    assert run.step == 6
    assert run.settings.text == [str(moved)]


def test_any_alphabet(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("тише едешь дальше будешь " * 60, "utf-8")  # without a line break
    settings = {"env": environment(PYTHONIOENCODING="ascii"), "encoding": "utf-8"}

    def run(*arguments: object) -> str:
        with started(*arguments, "--no-compile", **settings) as process:
            said, errors = process.communicate()
        assert (process.returncode, errors) == (0, "")
        return said

    run("train", "--text", tmp_path / "t.txt", "--out", tmp_path, *SMALL, "--show-every", "0.001", "--steps", "5")
    said = run("sample", "--checkpoint", tmp_path / "checkpoint.npz", "--temperature", "1e-30")
    assert len(said) == 501
    assert set(said) <= set("тише едешь дальше будешь \n")


def test_it_runs_without_the_extra(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(text, tmp_path / "out", "--steps", "20", quiet=False) == 0
    assert "no loss curve: matplotlib is missing" in capsys.readouterr().out


def test_streams_cover_the_text_in_order() -> None:
    stream = nn.utils.stream(range(24), batch=2, steps=3)
    chunks = over_and_over(stream)
    first = [next(chunks) for _ in range(5)]
    assert first[0][0].tolist() == [[0, 12], [1, 13], [2, 14]]
    assert first[0][1].tolist() == [[1, 13], [2, 14], [3, 15]]
    assert first[1][0][0].tolist() == [3, 15]
    assert [len(x) for x, _, _ in first] == [3, 3, 3, 2, 3]
    assert [begins for _, _, begins in first] == [True, False, False, False, True]


def test_the_models_it_is_compared_with() -> None:
    corpus = Corpus.of("ab" * 50)
    assert corpus.uniform() == math.log(2)
    np.testing.assert_allclose(corpus.unigram(), math.log(2), atol=1e-3)
    assert (len(corpus.train), len(corpus.held_out)) == (90, 10)
    corpus = Corpus.of(FOX)
    counts = [FOX[:1620].count(c) + 1 for c in FOX[1621:]]
    np.testing.assert_allclose(corpus.unigram(), -np.mean(np.log(np.array(counts) / (1620 + 29))), rtol=1e-12)


def test_the_likeliest_text_is_always_the_same(text: Path, tmp_path: Path) -> None:
    train(text, tmp_path, "--steps", "5")
    run = load(tmp_path)
    texts = ["".join(write(run.model, run.vocabulary, "the", 20, Taste(0.0), tg.Generator(k))) for k in (0, 1)]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("compiled", [True, False])
def test_a_run_started_on_one_device_goes_on_on_another(text: Path, tmp_path: Path, compiled: bool) -> None:
    """On a stand-in for a GPU: as a run that stopped and went on at the same steps, on one device all the time."""
    from ..engine import host_kernels
    from ..engine.strict_backend import installed

    if compiled and host_kernels.COMPILER is None:
        pytest.skip("no g++, which stands in for a GPU here")
    more = ["--quiet", *([] if compiled else ["--no-compile"])]
    for name, devices in (("stayed", ["cpu", "cpu", "cpu"]), ("moved", ["cuda", "cpu", "cuda"])):
        with installed():
            start = ["--steps", "4", "--layers", "2", "--hidden", "16", "--dropout", "0.3", "--device", devices[0]]
            assert main(["train", "--text", str(text), "--out", str(tmp_path / name), *SMALL, *start, *more]) == 0
            for steps, device in zip(("8", "12"), devices[1:], strict=True):
                again = ["train", "--resume", "--out", str(tmp_path / name), "--steps", steps, "--device", device]
                assert main([*again, *more]) == 0
            checkpoint = tmp_path / name / "checkpoint.npz"
            run = Run.load(checkpoint, devices[-1])
            assert all(p.device.type == devices[-1] for p in run.model.parameters())
            sample = ["sample", "--checkpoint", str(checkpoint), "--length", "5", "--device", devices[-1]]
            assert main(sample) == 0
    a, b = (Run.load(tmp_path / name / "checkpoint.npz", "cpu") for name in ("stayed", "moved"))
    for (name, x), (_, y) in zip(a.model.named_parameters(), b.model.named_parameters(), strict=True):
        np.testing.assert_allclose(x.detach().numpy(), y.detach().numpy(), rtol=1e-3, atol=1e-4, err_msg=name)
    np.testing.assert_allclose([loss for _, loss in a.losses], [loss for _, loss in b.losses], rtol=1e-4)

"""What the model writes and scores, and how it reaches whoever reads it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nn.functional as F
import tinygrad_seq as tg
from examples.char_lm import output, progress
from examples.char_lm.cli import main
from examples.char_lm.progress import Progress
from examples.char_lm.vocabulary import Vocabulary
from examples.char_lm.write import Taste, until, write

from ..systems import posix
from . import FOX, PROGRAM, ROOT, SMALL, environment, load, started, train

Refusal = Callable[[list[str]], str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    (folder / "text.txt").write_text(FOX, "utf-8")
    train(folder / "text.txt", folder, "--steps", "40", "--lr", "0.03")
    return folder


@pytest.fixture
def sample(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def sampled(*arguments: str) -> str:
        capsys.readouterr()
        assert main(["sample", "--no-compile", "--checkpoint", str(folder), *arguments]) == 0
        return capsys.readouterr().out

    return sampled


def test_stopping_at_a_string(sample: Callable[..., str]) -> None:
    whole = sample("--length", "200", "--prime", "the ")
    stop = whole[30:33]
    assert sample("--length", "200", "--prime", "the ", "--stop", stop) == whole[: whole.index(stop, 4)] + "\n"
    pieces = ["ab", "c", "ababx", "ab", "aba", "c!", "never"]
    for stop in ("abac!", "c", "abx", "!", "zz", "r", "abcababxababac!n", "bc"):
        together = "".join(pieces)
        expected = together[: together.index(stop)] if stop in together else together
        assert "".join(until(pieces, stop)) == expected


def test_text_appears_as_it_is_written(folder: Path) -> None:
    with started("sample", "--checkpoint", folder, "--no-compile", "--length", "100000000") as process:
        assert process.stdout is not None
        assert len(process.stdout.read(20)) == 20  # long before the end
        process.kill()
        process.communicate()


def test_primes(sample: Callable[..., str], folder: Path, tmp_path: Path, refusal: Refusal) -> None:
    plain = sample("--prime", "the quick", "--length", "9")
    assert sample("--prime", "the quick", "--length", "9", "--no-prime") == plain.removeprefix("the quick")
    path = tmp_path / "prime.txt"
    path.write_text("the quick", "utf-8")
    assert sample("--prime-file", str(path), "--length", "9") == plain
    done = subprocess.run(
        [*PROGRAM, "sample", "--checkpoint", str(folder), "--prime-file", "-", "--length", "9", "--no-compile"],
        input="the quick", cwd=ROOT, env=environment(), text=True, capture_output=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (plain, "")
    command = ["sample", "--checkpoint", str(folder), "--prime", "THE QUthe quick"]
    assert "'T', which the model has never seen" in refusal(command)
    assert sample("--prime", "THEQUthe quick", "--skip-unknown", "--length", "9") == plain
    assert "cannot read the text" in refusal([*command[:3], "--prime-file", str(tmp_path / "none")])


def test_a_long_prime_is_as_a_short_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read in pieces: the text that follows is the same."""
    run, texts = load(folder), []
    for piece in (7, 1000):
        monkeypatch.setattr("examples.char_lm.write.PIECE", piece)
        generator = tg.Generator(0)
        texts.append("".join(write(run.model, run.vocabulary, FOX[:500], 30, Taste(), generator, compiled=False)))
    assert texts[0] == texts[1]


def test_several_samples(sample: Callable[..., str]) -> None:
    one, two = (sample("--seed", seed, "--length", "20") for seed in ("5", "6"))
    both = sample("--samples", "2", "--seed", "5", "--length", "20")
    assert both == f"--- 1 of 2, --seed 5 ---\n{one}--- 2 of 2, --seed 6 ---\n{two}"


P = np.array([0.05, 0.4, 0.1, 0.25, 0.2])


@pytest.mark.parametrize(
    ("taste", "allowed"),
    [
        (Taste(1.0), {0, 1, 2, 3, 4}),
        (Taste(1.0, top_k=1), {1}),
        (Taste(1.0, top_k=3), {1, 3, 4}),
        (Taste(1.0, top_k=9), {0, 1, 2, 3, 4}),
        (Taste(1.0, top_p=0.3), {1}),
        (Taste(1.0, top_p=0.41), {1, 3}),
        (Taste(1.0, top_p=0.84), {1, 3, 4}),
        (Taste(1.0, top_p=0.86), {1, 2, 3, 4}),
        (Taste(1.0, top_p=1.0), {0, 1, 2, 3, 4}),
        (Taste(1.0, top_k=3, top_p=0.4), {1}),  # 0.4 / 0.85 of what top_k left
        (Taste(1.0, top_k=3, top_p=0.5), {1, 3}),
        (Taste(0.0), {1}),
    ],
)
def test_tastes(taste: Taste, allowed: set[int]) -> None:
    scores = tg.tensor(np.tile(np.log(P), (2000, 1)), dtype=tg.float32)
    drawn = taste.draw(scores, tg.Generator(1)).numpy()[:, 0]
    assert set(drawn.tolist()) == allowed
    shares = np.bincount(drawn, minlength=5) / 2000
    expected = np.where([k in allowed for k in range(5)], P, 0.0)
    np.testing.assert_allclose(shares, expected / expected.sum(), atol=0.04)


def test_tastes_compiled(folder: Path) -> None:
    run = load(folder)
    for taste in (Taste(1.0, top_k=3), Taste(1.0, top_p=0.5), Taste(0.0)):
        texts = [
            "".join(write(run.model, run.vocabulary, "", 20, taste, tg.Generator(3), compiled=compiled))
            for compiled in (True, False)
        ]
        assert texts[0] == texts[1]


def test_score(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], refusal: Refusal) -> None:
    path, text = tmp_path / "t.txt", "the quick\n\nfox jumps over" * 20
    path.write_text(text, "utf-8")
    run = load(folder, "best.npz")
    tokens = run.vocabulary.encode("\n" + text, "").astype(np.int64)
    run.model.eval()
    with tg.no_grad():
        scores, _ = run.model(tg.tensor(tokens[:-1]).unsqueeze(1))
        nats = F.cross_entropy(scores.squeeze(1), tg.tensor(tokens[1:]), reduction="none").numpy()
    command = ["score", "--checkpoint", str(folder), "--text", str(path)]
    assert main([*command, "--no-compile"]) == 0
    total = float(nats.sum())
    said = capsys.readouterr().out
    assert f"{total:.2f} nats in all; {len(text)} characters in {text.count(chr(10)) + 1} lines" in said
    assert f"{total / 41:.3f} nats per line; {total / len(text):.4f} nats, " in said
    assert main([*command, "--each", "line", "--no-compile"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()[:-2]]
    assert [line for _, line in lines] == text.split("\n")
    np.testing.assert_allclose(sum(float(value) for value, _ in lines), total, rtol=1e-4)
    assert main([*command, "--each", "token"]) == 0
    tokens_said = [line.split("\t") for line in capsys.readouterr().out.splitlines()[:-2]]
    assert [eval(token) for _, token in tokens_said] == [*text]
    np.testing.assert_allclose([float(value) for value, _ in tokens_said], nats, atol=2e-4)
    standard_input = subprocess.run(
        [*PROGRAM, *command[:-1], "-", "--no-compile"], input=text, cwd=ROOT, env=environment(), text=True,
        capture_output=True,
    )  # fmt: skip
    assert (standard_input.stdout, standard_input.stderr) == (said, "")
    path.write_text("ÄÖ", "utf-8")
    assert "the text contains" in refusal(command)
    assert "is empty" in refusal([*command, "--skip-unknown"])


def test_init_from_keeps_what_both_texts_know(
    folder: Path, tmp_path: Path, refusal: Refusal, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "t.txt", tmp_path / "out"
    path.write_text("jumps über lazy dogs! " * 60, "utf-8")
    begin = [
        "train",
        "--text",
        str(path),
        "--out",
        str(out),
        "--init-from",
        str(folder),
        "--batch",
        "2",
        "--chunk",
        "5",
    ]
    assert main([*begin, "--steps", "1", "--lr", "1e-12", "--no-compile"]) == 0
    old, new = load(folder, "best.npz"), load(out)
    shared = [c for c in new.vocabulary.tokens if c in old.vocabulary.tokens]
    assert f"{len(shared)} of {len(new.vocabulary)} characters are known to it" in capsys.readouterr().out
    assert 0 < len(shared) < len(new.vocabulary)
    for name, x in new.model.named_parameters():
        y = dict(old.model.named_parameters())[name].detach().numpy()
        if name.startswith("recurrent."):
            np.testing.assert_allclose(x.detach().numpy(), y, atol=1e-9)
        else:
            for c in shared:
                mine, theirs = (r.vocabulary.tokens.index(c) for r in (new, old))
                np.testing.assert_allclose(x.detach().numpy()[mine], y[theirs], atol=1e-9)
    assert "leave one of them out" in refusal([*begin, "--resume"])
    other = [*begin[:4], str(tmp_path / "other"), *begin[5:], "--steps", "1", "--hidden", "9"]
    assert "was trained with --hidden 8, not 9" in refusal(other)


def test_quiet(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(text, tmp_path, "--steps", "3", "--show-every", "1e-9") == 0
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    """A terminal, as far as the program looks."""

    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """From now on, standard output is one. (In a fixture, pytest's own capturing would replace it.)"""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    return terminal


def test_what_would_steer_a_terminal_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    on_terminal(monkeypatch)
    text = "a :x: [bold]\tb\nc \x1b[31m \x07 \x9b1m \r \u202e \udc80 é 中"
    assert output.shown(text) == "a :x: [bold]\tb\nc \\x1b[31m \\x07 \\x9b1m \\r \\u202e \\udc80 é 中"


def test_what_is_no_terminal_gets_it_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert output.shown("\x1b[31m\r") == "\x1b[31m\r"


def test_lines_of_a_text_are_not_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", "40")
    with Progress() as bar:
        bar.update(0.5, "step 1")
        bar.say("x" * 100)
    assert "x" * 100 + "\n" in terminal.getvalue()


@pytest.mark.parametrize("columns", [10, 20, 40, 80, 200])
def test_progress_fits_into_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    terminal = on_terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", str(columns))
    with Progress() as bar:
        bar.update(0.42, "step 123456", "1.234 nats", "10:00 left", "1.780 bits/character", "95,000 characters/s")
    line = terminal.getvalue().split("\x1b[K")[0].removeprefix("\r")
    assert len(line) < columns
    assert " 42%" in line
    assert ("step 123456" in line) == (columns >= 20)
    assert ("1.234 nats" in line) == (columns >= 40)
    assert ("characters/s" in line) == (columns >= 200)
    assert ("#" in line) == (columns >= 20 and len(line) > 30)


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    monkeypatch.setenv("TERM", "dumb")
    with Progress() as bar:
        bar.update(0.1, "step 1")
        bar.update(0.2, "step 2")
        bar.say("hello")
    assert terminal.getvalue() == " 10%  step 1\nhello\n"


def test_progress_is_seen_from_the_first_step_on(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "EVERY_LINE", 0.0)
    assert train(text, tmp_path, "--steps", "3", quiet=False) == 0
    said = capsys.readouterr().out
    assert "0%  starting" in said
    assert " 33%  step 1  3.3" in said


@posix
def test_on_a_real_terminal(text: Path, tmp_path: Path) -> None:
    """A pseudo-terminal of 40 columns: every line of the bar fits, and the run is saved when the terminal is closed."""
    import pty

    primary, secondary = pty.openpty()
    out = tmp_path / "out"
    arguments = ["train", "--text", text, "--out", out, *SMALL, "--no-compile", "--minutes", "9"]
    settings: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), secondary)
    with started(
        *arguments, **settings, env=environment(COLUMNS="40", TERM="xterm"), start_new_session=True
    ) as process:
        os.close(secondary)
        seen, deadline = "", time.monotonic() + 30
        while "step 2" not in seen and time.monotonic() < deadline:
            seen += os.read(primary, 1000).decode()
        os.close(primary)  # whoever looked has gone
        process.send_signal(1)  # what the system sends then
        assert process.wait(60) == 129
    bars = [part for part in seen.replace("\r\n", "\n").split("\r") if part.endswith("\x1b[K") and part != "\x1b[K"]
    assert bars
    assert all(len(part.removesuffix("\x1b[K")) < 40 for part in bars)
    assert load(out).step > 0


def test_bytes_reach_a_pipe_as_they_are(tmp_path: Path) -> None:
    """Also those that are no text."""
    path = tmp_path / "t.bin"
    path.write_bytes(bytes([0, 255, 200, 65]) * 300)
    assert train(path, tmp_path / "out", "--tokens", "bytes", "--steps", "30", "--lr", "0.1") == 0
    command = [*PROGRAM, "sample", "--checkpoint", str(tmp_path / "out"), "--temperature", "0", "--no-compile"]
    done = subprocess.run([*command, "--length", "40"], cwd=ROOT, env=environment(), capture_output=True)
    assert len(done.stdout) == 41
    assert set(done.stdout[:-1]) <= {0, 255, 200, 65}
    assert len(Vocabulary("", "bytes")) == 256

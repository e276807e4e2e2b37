"""Checkpoints: a folder will do, and what `train` did not write is refused in one line, and quickly."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from examples.char_lm.checkpoint import Run
from examples.char_lm.cli import main

from . import load, train

Refusal = Callable[[list[str]], str]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder, which no test changes."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "text.txt").write_text("the quick brown fox jumps over the lazy dog.\n" * 20, "utf-8")
    train(folder / "text.txt", folder, "--steps", "21")
    return folder


def test_a_folder_is_taken_where_the_file_is(stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for path in (stored, stored / "best.npz"):  # of a folder, the best
        assert main(["sample", "--no-compile", "--length", "9", "--checkpoint", str(path)]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    for k, path in enumerate((stored, stored / "checkpoint.npz")):  # to go on with, the last
        out = tmp_path / str(k)
        again = ["train", "--resume", str(path), "--out", str(out), "--steps", "22", "--no-compile", "--quiet"]
        assert main(again) == 0
        assert load(out).step == 22
    assert load(stored).step == 21


def edited(change: Callable[[dict[str, Any]], object], stored: Path, path: Path) -> list[str]:
    """A command that reads a changed checkpoint."""
    content = tg.load(stored / "checkpoint.npz")
    change(content)
    tg.save(content, path)
    return ["sample", "--no-compile", "--length", "3", "--checkpoint", str(path)]


def put(*keys_and_value: Any) -> Callable[[dict[str, Any]], None]:
    """A change: the value at the end of a chain of keys."""
    *keys, last, value = keys_and_value

    def change(content: Any) -> None:
        for key in keys:
            content = content[key]
        content[last] = value

    return change


def first_entry(value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["optimizer"]["state"][0].update(value)


NONSENSE = {
    "batch 0": (put("settings", "batch", 0), "the setting batch is 0"),
    "a batch of True": (put("settings", "batch", True), "the setting batch is True"),
    "a batch of text": (put("settings", "batch", "4"), "the setting batch is '4'"),
    "100000 layers": (put("settings", "layers", 100_000), "7 parameters are not those of 100000 layers"),
    "a large state": (put("settings", "hidden", 10**7), "has shape"),
    "a larger state": (put("settings", "hidden", 10**30), "the setting hidden is 1000"),
    "a dropout of 1": (put("settings", "dropout", 1.0), "the setting dropout is 1.0"),
    "a negative rate": (put("settings", "lr", -1.0), "the setting lr is -1.0"),
    "a rate that is nan": (put("settings", "lr", float("nan")), "the setting lr is nan"),
    "no budget": (put("settings", "steps", None), "must have steps or minutes"),
    "an unknown setting": (put("settings", "color", 1), "color"),
    "unknown tokens": (put("tokens", "runes"), "kind of tokens"),
    "no settings": (lambda c: c.pop("settings"), "settings"),
    "a step of text": (put("step", "x"), "its step is 'x'"),
    "a negative position": (put("position", -1), "its position is -1"),
    "a position of 1.5": (put("position", 1.5), "its position is 1.5"),
    "seconds that are nan": (put("seconds", float("nan")), "its seconds is nan"),
    "another state": (put("state", (tg.zeros(1, 4, 9), tg.zeros(1, 4, 9))), "its state has shape (1, 4, 9)"),
    "half a state": (put("state", (tg.zeros(1, 4, 8),)), "its state has not 2 tensors"),
    "a state of text": (put("state", "hc"), "its state is not a tensor"),
    "nan weights": (
        put("model", "head.bias", tg.full((29,), float("nan"))),
        "head.bias has numbers that are not finite",
    ),
    "bool weights": (put("model", "head.bias", tg.zeros(29, dtype=tg.bool)), "head.bias has dtype bool"),
    "integer weights": (put("model", "head.bias", tg.zeros(29, dtype=tg.int64)), "head.bias has dtype int64"),
    "double weights": (put("model", "head.bias", tg.zeros(29, dtype=tg.float64)), "head.bias has dtype float64"),
    "a number for weights": (put("model", "head.bias", 0.0), "head.bias is not a tensor"),
    "a weight too many": (put("model", "head.more", tg.zeros(1)), "8 parameters"),
    "nan moments": (first_entry({"exp_avg": tg.full((29, 4), float("nan"))}), "not finite"),
    "moments of another shape": (first_entry({"exp_avg": tg.zeros(3)}), "has shape (3,)"),
    "moments of text": (first_entry({"exp_avg": "x"}), "exp_avg"),
    "an optimizer's step of text": (first_entry({"step": "x"}), "step"),
    "an optimizer of another kind": (first_entry({"momentum_buffer": tg.zeros(29, 4)}), "momentum_buffer"),
    "characters twice": (put("characters", "aab"), "its characters"),
    "fewer characters": (put("characters", "ab"), "embedding.weight has shape (29, 4), not (2, 4)"),
    "no characters": (put("characters", ""), "it knows no character"),
    "words of numbers": (put("words", [1]), "its words"),
    "losses of text": (put("losses", [("a", "b")]), "its losses"),
    "recent losses of text": (put("recent", "abc"), "its recent losses"),
    "half a judgement": (put("judged", [(1, 2.0)]), "its judgements"),
    "a random state of text": (put("random", "x"), "does not fit"),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_refused(stored: Path, tmp_path: Path, refusal: Refusal, name: str) -> None:
    change, why = NONSENSE[name]
    command = edited(change, stored, tmp_path / "c.npz")
    line = refusal(command)
    assert "does not fit the model that it describes" in line
    assert why in line


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("tinygrad_seq char_lm 4", "by a newer version of this program: format 4, and this one reads 3. Update it"),
        ("tinygrad_seq char_lm 1", "by an older version of this program: format 1, and this one reads 3"),
        ("tinygrad_seq char_lm x", "is not a checkpoint of this program"),
        (2, "is not a checkpoint of this program"),
    ],
)
def test_versions_say_what_they_are(stored: Path, tmp_path: Path, refusal: Refusal, kind: Any, why: str) -> None:
    assert why in refusal(edited(put("kind", kind), stored, tmp_path / "c.npz"))


def test_compressed_members_are_refused_unread(
    stored: Path, tmp_path: Path, refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few bytes may stand for gigabytes."""
    path = tmp_path / "c.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, zipfile.ZipFile(stored / "best.npz") as plain:
        for name in plain.namelist():
            archive.writestr(name, plain.read(name))
        archive.writestr("bomb.npy", bytes(10**6))
    monkeypatch.setattr(zipfile.ZipFile, "open", None)
    monkeypatch.setattr(zipfile.ZipFile, "read", None)
    assert "has compressed members" in refusal(["sample", "--checkpoint", str(path)])


def test_too_little_memory_says_so(stored: Path, refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    def hungry(path: Path) -> None:
        raise MemoryError

    monkeypatch.setattr(tg, "load", hungry)
    assert "not enough memory to read the checkpoint" in refusal(["sample", "--checkpoint", str(stored)])


def test_all_that_a_checkpoint_holds_is_checked(stored: Path) -> None:
    """What is new in a checkpoint must come into `NONSENSE`."""
    content = tg.load(stored / "checkpoint.npz")
    assert {*content} == {
        "kind", "settings", "tokens", "characters", "words", "model", "optimizer", "state", "random", "step",
        "position", "seconds", "judging", "recent", "losses", "judged",
    }  # fmt: skip
    run = Run.load(stored / "checkpoint.npz", "cpu")
    assert np.isfinite(run.training_loss)
    assert re.fullmatch("[0-9a-f]{64}", run.settings.digest)

"""Texts: encodings, files and folders, tokens, and large ones."""

from __future__ import annotations

import ast
import codecs
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import nn
import tinygrad_seq as tg
from examples.char_lm import reading
from examples.char_lm import text as texts
from examples.char_lm.cli import main
from examples.char_lm.errors import UserError
from examples.char_lm.recipe import choose
from examples.char_lm.text import Corpus, Text
from examples.char_lm.vocabulary import Vocabulary, split_words

from ..systems import linux
from . import FOX, ROOT, SMALL, assert_same, environment, load, train

Refusal = Callable[[list[str]], str]
RUSSIAN = "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему.\n" * 30
CHINESE = "道可道,非常道。名可名,非常名。无名天地之始;有名万物之母。\n" * 30


def read(path: Path, encoding: str | None = None) -> str:
    return "".join(reading.blocks(path, encoding))


@pytest.mark.parametrize("content", [FOX, RUSSIAN, CHINESE], ids=["english", "russian", "chinese"])
@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("utf-32-le", codecs.BOM_UTF32_LE),
        ("utf-32-be", codecs.BOM_UTF32_BE),
        ("utf-32-le", b""),
        ("utf-32-be", b""),
    ],
)
def test_unicode_is_known_by_its_bytes(tmp_path: Path, content: str, encoding: str, mark: bytes) -> None:
    """A mark is not a character, and NULs are not text."""
    path = tmp_path / "t.txt"
    path.write_bytes(mark + content.encode(encoding))
    assert read(path) == content


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes(FOX.encode(encoding))
    assert read(path) == FOX


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (CHINESE, "gb18030"),
    ],
)
def test_other_encodings_are_found_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, encoding: str
) -> None:
    pytest.importorskip("charset_normalizer", reason='the extra "examples"')
    path = tmp_path / "t.txt"
    path.write_bytes(content.encode(encoding))
    assert read(path) == content
    assert "is not UTF-8; read as" in capsys.readouterr().err
    assert read(path, encoding) == content
    assert capsys.readouterr().err == ""


def test_without_the_extra_the_way_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "charset_normalizer", None)
    path = tmp_path / "t.txt"
    path.write_bytes("café".encode("latin-1"))
    with pytest.raises(UserError, match=r"the byte 0xe9.*--encoding.*tinygrad-seq\[examples\]"):
        read(path)


@pytest.mark.parametrize("block", [1, 2, 3, 7, 1 << 22])
def test_blocks_may_end_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(reading, "BLOCK", block)
    path = tmp_path / "t.txt"
    content = "naïve 中文 🦊 fox the fox the fox the fox the fox\r\n" * 3
    path.write_text(content, "utf-8", newline="")
    assert read(path) == content
    for kind in ("characters", "words", "bytes"):
        source = Text([path], tokens=kind)
        corpus = source.corpus(tmp_path)
        assert corpus.vocabulary.decode(corpus.tokens.tolist()) == content
        assert source.digest == Text([path], tokens=kind).digest
    path.write_bytes(b"0123456789 caf\xe9 au lait")
    with pytest.raises(UserError, match="the byte 0xe9 at offset 14"):
        read(path, "utf-8")


def test_files_and_folders(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    (folder / "b").mkdir(parents=True)
    for name, content in (("c.txt", "three"), ("a.txt", "one"), ("b/x.txt", "two"), (".hidden", "never")):
        (folder / name).write_text(content, "utf-8")
    assert "".join(Text([folder]).blocks()) == "onetwothree"
    assert "".join(Text([folder / "c.txt", folder / "b"]).blocks()) == "threetwo"
    with pytest.raises(UserError, match="cannot read the text"):
        Text([folder, tmp_path / "none"])


def test_several_texts_are_learned_and_gone_on_with(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a", "b")]
    for path in paths:
        path.write_text(FOX, "utf-8")
    command = ["train", "--text", *map(str, paths), "--out", str(tmp_path / "out"), *SMALL, "--no-compile", "--quiet"]
    assert main([*command, "--steps", "2"]) == 0
    run = load(tmp_path / "out")
    assert run.settings.text == [str(path) for path in paths]
    assert main(["train", "--resume", "--out", str(tmp_path / "out"), "--no-compile", "--quiet", "--steps", "3"]) == 0


@pytest.mark.parametrize("kind", ["characters", "words", "bytes"])
def test_a_model_of_each_kind_of_tokens(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    out = tmp_path / "out"
    assert train(text, out, "--tokens", kind, "--steps", "20", "--lr", "0.1", "--batch", "2", quiet=False) == 0
    unit = {"characters": "character", "words": "word", "bytes": "byte"}[kind]
    assert f"nats per {unit} of the held-out last tenth" in capsys.readouterr().out
    assert main(["train", "--resume", "--out", str(out), "--no-compile", "--quiet", "--steps", "22"]) == 0
    assert load(out).vocabulary.kind == kind
    sample = ["sample", "--checkpoint", str(out), "--no-compile", "--length", "9", "--prime", "the fox"]
    sample += ["--temperature", "0"]  # the untrained bytes would be no UTF-8, which pytest reads
    assert main(sample) == 0
    assert capsys.readouterr().out.startswith("the fox")
    assert main(["score", "--checkpoint", str(out), "--text", str(text)]) == 0
    assert ("nats per " + unit in capsys.readouterr().out) == (kind != "characters")


def test_the_first_word_is_scored_where_the_text_has_no_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, other, out = tmp_path / "text.txt", tmp_path / "other.txt", tmp_path / "out"
    text.write_text(" hello world" * 300, "utf-8")
    other.write_text("hello world", "utf-8")
    assert train(text, out, "--tokens", "words", "--steps", "2", "--batch", "2") == 0
    capsys.readouterr()
    assert main(["score", "--checkpoint", str(out), "--text", str(other), "--each", "token"]) == 0
    pieces = [line.split("\t")[1] for line in capsys.readouterr().out.splitlines() if "\t" in line]
    assert "".join(map(ast.literal_eval, pieces)) == "hello world"


def test_words() -> None:
    assert ["".join(words) for words in split_words(["the qu", "ick fox", "", "."])] == [
        "the",
        " quick",
        "",
        " fox",
        ".",
    ]
    assert [w for words in split_words(["the qu", "ick  fox.\n"]) for w in words] == [
        "the",
        " quick",
        " ",
        " fox",
        ".",
        "\n",
    ]
    words = Vocabulary("abcdefghijklmnopqrstuvwxyz .", "words", [" fox", "the"])
    tokens = words.encode("the fox foxes.", "the text")
    assert [words.tokens[i] for i in tokens] == ["the", " fox", *" foxes."]  # what is no frequent word is spelled
    with pytest.raises(UserError, match="contains 'X'"):
        words.encode("the foX", "the text")


def test_a_large_text_is_read_from_a_file(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same result, and the file made once."""
    for name, limit in (("memory", 1 << 24), ("file", 100)):
        monkeypatch.setattr(texts, "IN_MEMORY", limit)
        train(text, tmp_path / name, "--steps", "21")
    assert_same(load(tmp_path / "memory"), load(tmp_path / "file"))
    assert not [*(tmp_path / "memory").glob("tokens-*")]
    (prepared,) = (tmp_path / "file").glob("tokens-*")
    assert prepared.stat().st_size == len(FOX)  # a byte each
    made = prepared.stat().st_mtime_ns
    corpus = Text([text]).corpus(tmp_path / "file")
    assert isinstance(corpus.tokens, np.memmap)
    assert prepared.stat().st_mtime_ns == made
    assert corpus.vocabulary.decode(corpus.tokens.tolist()) == FOX
    other = tmp_path / "other.txt"
    other.write_text(FOX.upper(), "utf-8")
    Text([other]).corpus(tmp_path / "file")
    assert not prepared.exists()


@linux
def test_a_large_text_takes_little_memory(tmp_path: Path) -> None:
    """40 MB with 5,000 different characters: beside the program itself, next to nothing."""
    path = tmp_path / "t.txt"
    points = np.random.default_rng(0).integers(0x4E00, 0x4E00 + 5000, 1_000_000, dtype=np.uint32)
    path.write_text(points.tobytes().decode("utf-32-le") * 14, "utf-8")
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from examples.char_lm import text\n"
        "import nn\n"
        "text.IN_MEMORY = 1000\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "before = peak()\n"
        "corpus = text.Text([Path(sys.argv[1])]).corpus(Path(sys.argv[2]))\n"
        "next(iter(nn.utils.stream(corpus.train, 64, 64)))\n"
        "print(peak() - before, len(corpus.tokens), corpus.tokens.dtype)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path)], cwd=ROOT, env=environment(), text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    grown, length, dtype = done.stdout.split()
    assert (int(length), dtype) == (14_000_000, "uint16")
    assert int(grown) < 130


def test_streams_of_arrays_are_lazy() -> None:
    """Pieces of a small dtype, as indices; the same as of a tensor."""
    array = np.arange(1000, dtype=np.uint16) % 300
    lazy, whole = (nn.utils.stream(x, 3, 7) for x in (array, tg.tensor(array.astype(np.int64))))
    for (x, y), (u, v) in zip(lazy, whole, strict=True):
        assert x.dtype == tg.int64
        assert (x.tolist(), y.tolist()) == (u.tolist(), v.tolist())
    passing = iter(nn.utils.stream(array, 3, 7))
    next(passing)
    array[7:15] = 9
    assert next(passing)[0][:, 0].tolist() == [9] * 7
    floats = next(iter(nn.utils.stream(np.zeros((20, 2), np.float32), 2, 4)))[0]
    assert (floats.dtype, floats.shape) == (tg.float32, (4, 2, 2))


def test_two_runs_with_the_same_steps_are_the_same(text: Path, tmp_path: Path) -> None:
    """What the recipe chooses for them does not depend on the machine."""
    for name in "ab":
        command = [
            "train",
            "--text",
            str(text),
            "--out",
            str(tmp_path / name),
            "--steps",
            "3",
            "--quiet",
            "--no-compile",
        ]
        assert main([*command, "--seed", "7"]) == 0
    assert_same(load(tmp_path / "a"), load(tmp_path / "b"))
    assert load(tmp_path / "a").settings == load(tmp_path / "b").settings


def test_the_recipe_keeps_what_is_given() -> None:
    settings = choose({"hidden": 77, "dropout": 0.1, "steps": 5, "lr": 1.0}, 10**6, 65)
    assert (settings.hidden, settings.dropout, settings.steps, settings.lr) == (77, 0.1, 5, 1.0)
    small, large = (choose({"steps": steps}, 10**6, 65) for steps in (100, 20_000))
    assert small.hidden < large.hidden
    assert small.dropout < large.dropout
    for tokens in (2, 9, 100, 10**4, 10**9):
        chosen = choose({"steps": 10}, tokens, 65)
        assert tokens // chosen.batch > chosen.chunk
        chosen.digest = ""
        chosen.check()


def test_the_unigram_model_of_a_large_text(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Corpus.of(FOX).unigram()
    monkeypatch.setattr(texts, "AT_ONCE", 7)
    assert Corpus.of(FOX).unigram() == expected

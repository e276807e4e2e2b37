"""The page to look into a model: its numbers are the model's."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nn
import nn.functional as F
import tinygrad_seq as tg
from examples.char_lm import report
from examples.char_lm.checkpoint import Run
from examples.char_lm.cli import main
from examples.char_lm.look import FEWEST, LENGTH, PIECE, REACH, features, look, ranked
from examples.char_lm.model import CharLM
from examples.char_lm.page import contents, html, texts
from examples.char_lm.vocabulary import Vocabulary

from . import FOX, load, train
from .pages import NASTY, TEXT, data_of, unpacked, untrained

Refusal = Callable[[list[str]], str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    (folder / "text.txt").write_text(FOX + TEXT * 8, "utf-8")
    train(folder / "text.txt", folder, "--steps", "60", "--lr", "0.03", "--layers", "2")
    (folder / "other.txt").write_text(TEXT, "utf-8")
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Path:
    other, out = str(folder / "other.txt"), folder / "page.html"
    assert main(["look", "--checkpoint", str(folder), "--text", other, "--out", str(out), "--no-compile"]) == 0
    return out


@pytest.fixture(scope="module")
def data(page: Path) -> dict[str, Any]:
    return data_of(page.read_bytes())


def tokens_of(run: Run) -> Any:
    return run.vocabulary.encode("\n" + TEXT, "the text")


def test_surprisals_are_those_of_score(folder: Path, data: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "--checkpoint", str(folder), "--text", str(folder / "other.txt")]) == 0
    total = re.search(r"([\d.]+) nats in all", capsys.readouterr().out)
    nats = unpacked(data["nats"], "<f4")
    assert len(nats) == len(TEXT) == len(data["pieces"])
    assert total is not None
    assert float(total[1]) == pytest.approx(nats.sum(), abs=0.02)
    assert "".join(data["pieces"]) == TEXT


def test_the_five_likeliest_are_right(folder: Path, data: dict[str, Any]) -> None:
    run = load(folder, "best.npz")
    tokens = tokens_of(run)
    run.model.eval()
    with tg.no_grad():
        p = run.model(tg.tensor(tokens[:-1], dtype=tg.int64).unsqueeze(1))[0].squeeze(1).softmax(-1).numpy()
    likeliest = unpacked(data["likeliest"], np.uint8, data["expected"])
    shares = (unpacked(data["roots_of_shares"], np.uint8, data["expected"]) / 255) ** 2
    assert data["expected"] == 5
    assert data["names"] == run.vocabulary.tokens
    np.testing.assert_array_equal(unpacked(data["tokens"], np.uint8), tokens[1:])
    np.testing.assert_allclose(np.take_along_axis(p, likeliest.astype(int), 1), -np.sort(-p)[:, :5], rtol=1e-4)
    np.testing.assert_allclose(shares, -np.sort(-p)[:, :5], atol=1 / 255)


def test_states_and_gates_are_those_of_the_lens(folder: Path, data: dict[str, Any]) -> None:
    run = load(folder, "best.npz")
    run.model.eval()
    with tg.no_grad(), nn.lens(run.model) as seen:
        run.model(tg.tensor(tokens_of(run), dtype=tg.int64).unsqueeze(1))
    assert len(data["units"]) >= 8
    assert {unit["name"][0] for unit in data["units"]} == {"0", "1"}
    for unit in data["units"]:
        layer, number = map(int, unit["name"].split("."))
        one = seen[f"recurrent.l{layer}"]
        expected = np.tanh(one.state("c")[1:, 0, number])
        np.testing.assert_allclose(unpacked(unit["states"], np.int8) / 127, expected, atol=0.51 / 127)
        packed = unpacked(unit["gates"], np.uint8, 2)
        halves = (packed[:, 0] >> 4, packed[:, 0] & 15, packed[:, 1] >> 4, packed[:, 1] & 15)
        for name, half in zip("ifgo", halves, strict=True):
            share = 2 * (half / 15) - 1 if name == "g" else half / 15
            np.testing.assert_allclose(
                share, one.gate(name)[1:, 0, number], atol=1.01 / 15 if name == "g" else 0.51 / 15
            )


def test_a_gradient_reaches_as_far_as_in_one_long_backward_pass(folder: Path) -> None:
    run = load(folder, "best.npz")
    tokens = tokens_of(run)
    seen = look(run.model, tokens, compiled=False)
    assert len(seen.positions) == FEWEST
    edges = np.linspace(0, len(TEXT), FEWEST + 1).astype(int)
    for n, a, b in zip(seen.positions, edges[:-1], edges[1:], strict=True):
        assert seen.nats[n] == seen.nats[a:b].max()
    run.model.eval()
    x = tg.tensor(tokens, dtype=tg.int64)
    for m in [0, 1, 8, 12, FEWEST - 1]:  # before and after the first window is whole
        n = int(seen.positions[m])
        with nn.lens(run.model) as through:
            scores, _ = run.model(x[: n + 1].unsqueeze(1))
            F.cross_entropy(scores[-1], x[n + 1 : n + 2]).backward()
        norms = through["recurrent.l0"].gradient_norm("c")[::-1, 0][:REACH]
        np.testing.assert_allclose(seen.reach[m, : len(norms)], norms, rtol=2e-3, atol=1e-7 * norms.max())
        assert not seen.reach[m, len(norms) :].any()


@pytest.mark.parametrize("length", [1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
@pytest.mark.parametrize("compiled", [False, True])
def test_any_length_and_nothing_of_the_model_changes(length: int, compiled: bool) -> None:
    tg.manual_seed(0)
    model = CharLM(3, 2, 4, 1, dropout=0.5)
    before = [p.detach().numpy().copy() for p in model.parameters()]
    tokens = np.arange(length + 1) * 7 % 3
    seen = look(model, tokens, compiled=compiled)
    assert seen.nats.shape == (length,)
    assert seen.likeliest.shape == seen.shares.shape == (length, 3)
    assert seen.states.shape == seen.gates["o"].shape == (length, 4)
    np.testing.assert_allclose(seen.shares.sum(-1), 1, rtol=1e-5)
    assert model.training
    for p, old in zip(model.parameters(), before, strict=True):
        assert p.requires_grad
        assert p.grad is None
        np.testing.assert_array_equal(p.detach().numpy(), old)


def test_features() -> None:
    text = 'He said:\n  "so it \nis"\n\n "never closed\n\n„Ja“ a'
    found = features([*text])
    inside = found["inside quotes"].astype(bool)
    assert "".join(c for c, q in zip(text, inside, strict=True) if q) == '"so it \nis"never closed\n„Ja'
    assert found["place in the line"][:11].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 2]
    assert found["indentation"][8:16].tolist() == [0, 1, 2, 2, 2, 2, 2, 2]
    ends = found["end of a word"].astype(bool)
    assert [text[: n + 1].split()[-1].strip('"„“') for n in np.flatnonzero(ends)] == (
        ["He", "said", "so", "it", "is", "never", "closed", "Ja", "a"]
    )
    words = features(["He", " said", ":", "\n"])
    assert words["place in the line"].tolist() == [2, 7, 8, 0]
    assert words["end of a word"].tolist() == [1, 1, 0, 0]


def test_ranking_finds_a_planted_unit() -> None:
    """Unit 2 of the second layer counts the characters since the line break, and forgets them there."""
    tg.manual_seed(0)
    vocabulary = Vocabulary(TEXT)
    model = CharLM(len(vocabulary), 4, 6, 2)
    values = model.state_dict()
    end_of_line = vocabulary.tokens.index("\n")
    embedding = values["embedding.weight"].numpy().copy()
    embedding[:, 3] = np.arange(len(vocabulary)) == end_of_line
    first, second = values["recurrent.weight_ih_l0"].numpy().copy(), values["recurrent.weight_ih_l1"].numpy().copy()
    bias_0, bias_1 = values["recurrent.bias_ih_l0"].numpy().copy(), values["recurrent.bias_ih_l1"].numpy().copy()
    back_0, back_1 = values["recurrent.weight_hh_l0"].numpy().copy(), values["recurrent.weight_hh_l1"].numpy().copy()
    i, f, g, o = np.arange(4) * 6
    for weights in (first, back_0):  # unit 5 of the first layer says "line break" at once
        weights[[i + 5, f + 5, g + 5, o + 5]] = 0
    first[g + 5, 3], bias_0[[i + 5, f + 5, o + 5]] = 20, [20, -20, 20]
    for weights in (second, back_1):  # and unit 2 of the second forgets when it hears that
        weights[[i + 2, f + 2, g + 2, o + 2]] = 0
    second[f + 2, 5], bias_1[[i + 2, f + 2, g + 2, o + 2]] = -60, [20, 20, 0.02, 20]
    model.load_state_dict(
        values
        | {"embedding.weight": tg.tensor(embedding)}
        | {"recurrent.weight_ih_l0": tg.tensor(first), "recurrent.weight_ih_l1": tg.tensor(second)}
        | {"recurrent.bias_ih_l0": tg.tensor(bias_0), "recurrent.bias_ih_l1": tg.tensor(bias_1)}
        | {"recurrent.weight_hh_l0": tg.tensor(back_0), "recurrent.weight_hh_l1": tg.tensor(back_1)}
        | {"recurrent.bias_hh_l0": tg.zeros(24), "recurrent.bias_hh_l1": tg.zeros(24)}
    )
    seen = look(model, vocabulary.encode("\n" + TEXT, "the text"), compiled=False)
    unit, correlation = ranked(seen.states, features([*TEXT]))["place in the line"][0]
    assert unit == 6 + 2
    assert correlation > 0.98


def test_ranking() -> None:
    rng = np.random.default_rng(0)
    followed = features([*FOX[:250], *'"quoted text" and more. ' * 10, *"   x\n\n "])
    noise = rng.integers(-100, 100, (len(followed["indentation"]), 12)).astype(np.int8)
    noise[:, 7] = 40 - 80 * followed["inside quotes"]
    noise[:, 3] = 0
    found = ranked(noise, followed)
    unit, correlation = found["inside quotes"][0]
    assert unit == 7
    assert correlation == pytest.approx(-1)
    assert all(len(units) == 5 and all(unit != 3 for unit, _ in units) for units in found.values())
    for name, units in found.items():
        for unit, r in units:
            assert r == pytest.approx(np.corrcoef(noise[:, unit], followed[name])[0, 1], abs=1e-4)
    assert ranked(noise, {"never": np.zeros(len(noise))}) == {}


@pytest.mark.parametrize("kind", ["characters", "bytes", "words"])
def test_a_text_stays_data(kind: str) -> None:
    text = NASTY * 3
    vocabulary = Vocabulary(text, kind, ["script", " <", "שלום"] if kind == "words" else ())
    run = untrained(vocabulary)
    tokens = vocabulary.encode(text, "the text")
    made = html(contents(run, tokens, NASTY, "cpu", False, run, ()))
    found = data_of(made)
    assert found["what"] == NASTY
    shown = "".join(found["pieces"])
    assert shown.count("</script>") == 6
    assert "\\x07\\x1b[31m\u2028\\u202e\tñ 語 שלום 😀\\r\n" in shown
    assert made.count(b"</script") == 2
    assert not set(shown) & {"\x07", "\x1b", "\u202e", "\r"}


def test_bytes_that_are_no_text() -> None:
    vocabulary = Vocabulary("", "bytes")
    tokens = np.frombuffer("é".encode() + b"\xff" + "語".encode()[:2], np.uint8)
    assert texts(vocabulary, tokens) == ["", "é", "\udcff", "", "\udce8\udcaa"]
    run = untrained(vocabulary)
    assert data_of(html(contents(run, tokens, "", "cpu", False, run, ())))["pieces"][2] == "\\udcff"


def test_size() -> None:
    """The page of as many characters as are shown by default, of those that take most room."""
    vocabulary = Vocabulary("\n" + "".join(map(chr, range(0x1F300, 0x1F300 + 299))))
    run = untrained(vocabulary, hidden=24)
    tokens = np.random.default_rng(0).integers(0, len(vocabulary), LENGTH)
    made = html(contents(run, tokens, "emoji", "cpu", True, run, ()))
    assert 1e6 < len(made) <= 3e6
    assert len(data_of(made)["pieces"]) == LENGTH


def test_of_the_held_out_part(folder: Path, capsys: pytest.CaptureFixture[str], refusal: Refusal) -> None:
    command = ["look", "--checkpoint", str(folder), "--no-compile", "--length", "50"]
    assert main([*command, "--units", "15", "3"]) == 0
    said = capsys.readouterr().out
    assert f"page  {folder / 'look.html'} (" in said
    found = data_of((folder / "look.html").read_bytes())
    whole = (folder / "text.txt").read_text("utf-8")
    start = len(whole) * 9 // 10
    assert "".join(found["pieces"]) == whole[start : start + 50]
    assert found["what"] == "text.txt, held out"
    assert [unit["name"] for unit in found["units"][:2]] == ["1.7", "0.3"]
    assert found["ranking"][-1] == {"feature": "asked for", "units": [[0, None], [1, None]]}
    assert found["curve"]["held_out"][-1][0] == load(folder).judged[-1].step  # the best model is older
    assert "units 0 to 15, not 16" in refusal([*command, "--units", "16"])
    assert "is empty" in refusal([*command, "--text", "/dev/null"])
    assert "never seen" in refusal([*command, "--text", str(__file__)])
    assert "cannot write the page" in refusal([*command, "--out", str(folder / "no" / "page.html")])
    (folder / "text.txt").write_text(whole + "more", "utf-8")
    try:
        assert "not the text that this model learned any more" in refusal(command)
    finally:
        (folder / "text.txt").write_text(whole, "utf-8")


def test_the_report_says_where_it_is(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    assert train(text, out, "--steps", "2", quiet=False) == 0
    assert f"look inside {out / 'look.html'}" in capsys.readouterr().out
    assert "".join(data_of((out / "look.html").read_bytes())["pieces"]) == FOX[len(FOX) * 9 // 10 :]

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "write_page", full)
    assert train(text, tmp_path / "other", "--steps", "2", quiet=False) == 0
    assert "no page to look inside: No space left on device" in capsys.readouterr().out

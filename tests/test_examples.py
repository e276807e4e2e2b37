"""The examples do what they say; `examples.char_lm` and `examples.custom_op` have tests of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from examples import long_memory, slides


def test_every_slide_is_a_line_of_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="draws with it")
    slides.main(["--steps", "2", "--out", str(tmp_path / "new" / "slides")])
    said = capsys.readouterr().out
    assert said.count("Slide") == 0
    for slide in slides.SLIDES:
        text, place = slides.code(slide)
        assert f"{slide.name}: {slide.equation}\n    {text}\n    {place}" in said
        path, line = place.split(":")
        assert text in (Path(slides.__file__).parent.parent / path).read_text("utf-8").splitlines()[int(line) - 1]
    pictures = {slide.picture.__name__ for slide in slides.SLIDES}
    assert {path.stem for path in (tmp_path / "new" / "slides").iterdir()} == pictures
    assert len(slides.SLIDES) == 12


def test_the_speller_learns() -> None:
    """After some training it is nearly sure of what can be known."""
    model = slides.trained("LSTM", 150, forget_bias=1.0)
    text = slides.SENTENCES[3]
    o = model(slides.encode(text[:-1]))
    sure = [o[t, 0, slides.CHARACTERS.index(c)].item() for t, c in enumerate(text[1:]) if c in "am lve,I"]
    assert sum(sure) / len(sure) > 0.8


def test_gradients_die_in_the_plain_network_and_live_in_the_lstm() -> None:
    """The deck's point: the word to predict depends on one far back."""
    gap = 20
    reach = {name: long_memory.reach(long_memory.run(name, gap, steps=0).before) for name in long_memory.NETWORKS}
    assert reach["RNN"] < 1e-4
    assert reach["LSTM, forget bias 1"] > 100 * reach["RNN"]
    assert reach["LSTM, forget bias 2"] > 1e-2
    rnn, lstm = (long_memory.run(name, gap, steps=800) for name in ("RNN", "LSTM, forget bias 2"))
    assert rnn.accuracy < 0.3  # one of eight by chance
    assert lstm.accuracy > 0.95
    assert long_memory.reach(lstm.after) > 1e3 * long_memory.reach(rnn.after)


def test_long_memory_as_a_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="draws with it")
    picture = tmp_path / "picture.svg"
    results: dict[str, Any] = long_memory.main(["--gap", "3", "--steps", "2", "--out", str(picture)])
    said = capsys.readouterr().out
    assert said.startswith("I am ")
    assert all(name in said for name in results)
    assert picture.read_text("utf-8").lstrip().startswith("<?xml")

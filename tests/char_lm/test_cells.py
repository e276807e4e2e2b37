"""The recurrent layers to choose from."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tinygrad_seq as tg
from examples.char_lm import cells, ranks
from examples.char_lm.checkpoint import parts
from examples.char_lm.cli import main
from examples.char_lm.folder import PAGE
from examples.char_lm.model import CharLM, count, shapes, size
from examples.char_lm.train import step_of

from . import assert_same, load, train

OTHERS = [cell for cell in cells.CELLS if cell != "lstm"]


@pytest.mark.parametrize("cell", cells.CELLS)
@pytest.mark.parametrize("sizes", [(11, 4, 8, 1), (11, 4, 8, 3), (11, 8, 8, 2)])
def test_sizes_are_known_without_a_model(cell: str, sizes: tuple[int, int, int, int]) -> None:
    model = CharLM(*sizes, cell=cell)
    found = {name: tuple(x.shape) for name, x in model.state_dict().items()}
    assert shapes(cell, *sizes) == found
    assert count(cell, *sizes[1:]) == len(found)
    assert size(cell, *sizes) == sum(map(math.prod, found.values()))
    _, state = model(tg.zeros(2, 1, dtype=tg.int64))
    assert tuple([s.shape[-1] for s in parts(state)]) == cells.state_sizes(cell, sizes[2])


@pytest.mark.parametrize("cell", OTHERS)
def test_a_text_in_pieces(cell: str) -> None:
    """The scores of a text read at once, and those of it read character by character."""
    model = CharLM(7, 4, 8, 2, cell=cell).eval()
    tokens = tg.randint(7, (9, 3))
    with tg.no_grad():
        wanted, _ = model(tokens)
        state = None
        for token, scores in zip(tokens, wanted, strict=True):
            found, state = model(token.unsqueeze(0), state)
            np.testing.assert_allclose(found[0].numpy(), scores.numpy(), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(copy.deepcopy(model)(tokens)[0].numpy(), wanted.numpy())


@pytest.mark.parametrize("cell", OTHERS)
def test_a_run_goes_on_from_its_file_as_if_it_had_not_stopped(cell: str, text: Path, tmp_path: Path) -> None:
    assert train(text, tmp_path, "--cell", cell, "--layers", "2", "--steps", "3", "--dropout", "0") == 0
    run = load(tmp_path)
    x, y = (tg.randint(20, (10, 4)) for _ in range(2))
    with ranks.joined():
        _, run.state = step_of(run)(x, y, run.state)
        run.save(tmp_path / "later.npz")
        again = load(tmp_path, "later.npz")
        assert_same(again, run)
        for each in (run, again):
            _, each.state = step_of(each)(x, y, each.state)
    assert_same(again, run)
    assert train(text, tmp_path, "--resume", "--steps", "5") == 0
    assert load(tmp_path).step == 5


@pytest.mark.parametrize("cell", OTHERS)
def test_what_a_trained_model_is_used_for(
    cell: str, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], refusal: Callable[[list[str]], str]
) -> None:
    assert train(text, tmp_path / "a", "--cell", cell, "--steps", "3") == 0
    where = ["--checkpoint", str(tmp_path / "a")]
    said = []
    for compiled in ([], ["--no-compile"]):
        assert main(["sample", *where, "--length", "12", "--temperature", "0", *compiled]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert main(["score", *where, "--text", str(text), "--no-compile"]) == 0
    begin = ["train", "--text", str(text), "--out", str(tmp_path / "b"), "--init-from", str(tmp_path / "a"), "--quiet"]
    assert main([*begin, "--steps", "1", "--batch", "2", "--chunk", "5", "--no-compile"]) == 0
    assert load(tmp_path / "b").settings.cell == cell
    assert f"an LSTM, and this model was trained with --cell {cell}" in refusal(["look", *where])
    assert not (tmp_path / "a" / PAGE).exists()
    again = ["train", "--text", str(text), "--out", str(tmp_path / "a"), "--resume", "--cell", "lstm"]
    assert f"was trained with --cell {cell}, not lstm" in refusal(again)


@pytest.mark.parametrize("cell", cells.CELLS)
def test_a_rank_has_the_state_of_its_streams(cell: str) -> None:
    _, state = CharLM(7, 4, 8, 2, cell=cell)(tg.randint(7, (3, 5)))
    for mine, whole in zip(parts(ranks.mine(state, slice(1, 3))), parts(state), strict=True):
        np.testing.assert_array_equal(mine.detach().numpy(), whole[:, 1:3].detach().numpy())


def test_a_cell_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--cell", "rnn"])
    assert "invalid choice: 'rnn'" in capsys.readouterr().err

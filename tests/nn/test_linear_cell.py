"""Cells that are linear in their state: a layer finds all their steps at once, where it may."""

from __future__ import annotations

from typing import Any

import pytest

import nn
import tinygrad_seq as tg

from .test_variants import CELLS, B, F, H, T, as_given, close, made, states_of

LINEAR = CELLS[1:]


class Decay(nn.LinearCell):
    """One of a user's own, whose output is not its state."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.linear = nn.Linear(input_size, 2 * hidden_size)

    def coefficients(self, xW: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        a, b = self.linear(xW).chunk(2, dim=-1)
        return tg.sigmoid(a), b

    @property
    def output_size(self) -> int:
        return self.hidden_size + self.input_size

    def read_out(self, h: tg.Tensor, x: tg.Tensor) -> tg.Tensor:
        return tg.cat([tg.tanh(h), x], dim=-1)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_cell_of_ones_own(bidirectional: bool) -> None:
    layer = nn.Recurrent(Decay, F, H, 2, bidirectional=bidirectional).double()
    x = tg.randn(T, B, F, dtype=tg.float64)
    output, _ = layer(x)
    assert output.shape == (T, B, (H + layer.cells[-1].input_size) * (1 + bidirectional))
    with nn.lens(layer):
        close(layer(x)[0], output)
    tg.gradcheck(lambda x: layer(x, lengths=[6, 3])[0], x)


def test_a_step_of_a_subclass_is_the_one_that_is_taken() -> None:
    class Clipped(nn.MinGRUCell):
        def step(self, xW: tg.Tensor, h: tg.Tensor) -> tg.Tensor:
            return super().step(xW, h).clamp(-0.1, 0.1)

    layer = nn.Recurrent(Clipped, F, H, 2)
    assert layer(5 * tg.randn(T, B, F))[0].abs().max().item() < 0.11
    patched = nn.Recurrent(nn.MinGRUCell, F, H)
    vars(patched.cells[0])["step"] = lambda xW, h: h + 1
    assert patched(tg.randn(T, B, F))[0][:, 0, 0].tolist() == [*range(1, T + 1)]


def test_a_cell_without_coefficients() -> None:
    with pytest.raises(NotImplementedError, match="LinearCell has no coefficients method: write one"):
        nn.Recurrent(nn.LinearCell, F, H, learned_state=False)(tg.ones(T, B, F))


@pytest.mark.parametrize("kind", LINEAR)
def test_all_steps_at_once_where_nothing_happens_in_between(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    all_steps = nn.LinearCell.all_steps

    def counted(self: Any, xW: tg.Tensor, *args: Any) -> tg.Tensor:
        calls.append(len(xW))
        return all_steps(self, xW, *args)

    monkeypatch.setattr(nn.LinearCell, "all_steps", counted)
    x = tg.randn(T, B, F, dtype=tg.float64)

    def count(layer: Any, *args: Any, **kwargs: Any) -> int:
        calls.clear()
        layer(*args, **kwargs)
        return len(calls)

    layer = made(kind, 2, bidirectional=True)
    assert count(layer, x) == 4
    assert count(layer, x, lengths=[T, T]) == 4
    assert count(layer, x, lengths=[T, 3]) == 0
    assert count(layer, x, lengths=[T, 0]) == 0
    assert count(layer, x[:1]) == 0
    assert count(layer, x[:, :0]) == 0
    with nn.lens(layer):
        assert count(layer, x) == 0
    for settings in ({"zoneout": 0.1}, {"recurrent_dropout": 0.1}):
        assert count(made(kind, **settings), x) == 0
    assert count(made(kind, recurrent_dropout=0.1).eval(), x) == 1


@pytest.mark.parametrize("kind", LINEAR)
def test_all_steps_at_once_are_the_steps(kind: str) -> None:
    """In both directions, from a state."""
    layer = made(kind, 2, bidirectional=True)
    x, state = tg.randn(T, B, F, dtype=tg.float64), as_given(states_of(layer))
    with nn.lens(layer):  # which looks at each step
        wanted, last = layer(x, state)
    output, final = layer(x, state)
    close(output, wanted)
    close(final, last)


@pytest.mark.parametrize("kind", LINEAR)
def test_recurrent_dropout_and_zoneout(kind: str) -> None:
    """Their expectations are those of every layer: of dropped states, one that was never there."""
    x = tg.randn(T, B, F, dtype=tg.float64)
    for settings in ({"recurrent_dropout": 1.0}, {"zoneout": 1.0}):
        layer = made(kind, **settings)
        output, _ = layer(x)
        if "zoneout" in settings:
            close(output, layer.cells[0].read_out(tg.zeros(T, B, *layer._sizes[0], dtype=tg.float64), x))
        else:
            close(output, tg.stack([layer(x_t.unsqueeze(0))[0][0] for x_t in x]))

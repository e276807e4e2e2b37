"""What the lens shows is what happens inside, and nothing changes by looking."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg


class Model(nn.Module):
    def __init__(self, kind: str = "LSTM", **settings: Any) -> None:
        self.rnn = getattr(nn, kind)(3, 4, **settings, dtype=tg.float64)

    def forward(self, x: Any, **settings: Any) -> Any:
        return self.rnn(x, **settings)[0]


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_gates_and_states_are_those_of_the_cells(kind: str) -> None:
    model = Model(kind, num_layers=2, bidirectional=True)
    x = tg.randn(5, 2, 3, dtype=tg.float64)
    unseen = model(x)
    with nn.lens(model) as seen:
        output = model(x)
    np.testing.assert_array_equal(output.detach().numpy(), unseen.detach().numpy())
    assert list(seen.layers) == ["rnn.l0", "rnn.l0_reverse", "rnn.l1", "rnn.l1_reverse"]
    for suffix in ("l0", "l0_reverse"):
        cell = getattr(nn, f"{kind}Cell")(3, 4, dtype=tg.float64)
        weights = {n: p for n, p in model.rnn.state_dict().items() if n.endswith(f"_{suffix}")}
        cell.load_state_dict({n.removesuffix(f"_{suffix}"): p for n, p in weights.items()})
        layer = seen[f"rnn.{suffix}"]
        state = tuple([tg.zeros(2, 4, dtype=tg.float64)] * len(cell.states))
        for t in range(5)[:: -1 if "reverse" in suffix else 1]:
            given = state if len(state) > 1 else state[0]
            if layer.gates:
                for name, gate in zip(layer.gates, cell.compute_gates(cell.project(x[t]), given), strict=True):
                    np.testing.assert_allclose(layer.gate(name)[t], gate.detach().numpy(), atol=1e-12)
            new = cell(x[t], given)
            state = new if isinstance(new, tuple) else (new,)
            for name, s in zip(layer.states, state, strict=True):
                np.testing.assert_allclose(layer.state(name)[t], s.detach().numpy(), atol=1e-12)
    assert layer.gates == {"LSTM": ("i", "f", "g", "o"), "GRU": ("r", "z", "n"), "RNN": ()}[kind]


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_gradient_norms_are_total_derivatives(kind: str) -> None:
    """∂L/∂h_t is the gradient of what follows from step t on, begun there."""
    model = Model(kind)
    x = tg.randn(5, 2, 3, dtype=tg.float64)

    def loss(output: tg.Tensor, start: int = 0) -> tg.Tensor:
        return (output.sin() * (tg.arange(start, 5).double() + 1.0).reshape(-1, 1, 1)).sum()

    with nn.lens(model) as seen:
        loss(model(x)).backward()
    layer = seen["rnn.l0"]
    for t in range(4):
        states = [tg.tensor(layer.state(name)[t]) for name in layer.states]

        def rest(*states: tg.Tensor, t: int = t) -> tg.Tensor:
            initial = tuple([s.unsqueeze(0) for s in states])
            output, _ = model.rnn(x[t + 1 :], initial if len(initial) > 1 else initial[0])
            return loss(tg.cat([states[0].unsqueeze(0), output]), t)

        found = list(tg.grad(rest, argnums=tuple(range(len(states))))(*states))
        if kind == "LSTM":  # c_t is also seen in h_t = o_t tanh(c_t)
            found[1] = found[1] + found[0] * tg.tensor(layer.gate("o")[t]) * (1 - states[1].tanh() ** 2)
        for name, g in zip(layer.states, found, strict=True):
            np.testing.assert_allclose(layer.gradient_norm(name)[t], g.norm(dim=1).detach().numpy(), rtol=1e-10)


def test_sequences_that_are_over_are_nan_in_their_own_places() -> None:
    model = Model(bidirectional=True)
    x = tg.randn(4, 3, 3, dtype=tg.float64)
    with nn.lens(model) as seen:
        model(x, lengths=[2, 4, 0]).sum().backward()
    for layer in seen.layers.values():
        there = ~np.isnan(layer.gate("f")[..., 0])
        np.testing.assert_array_equal(there, np.arange(4)[:, None] < [2, 4, 0])
        np.testing.assert_array_equal(~np.isnan(layer.gradient_norm("h")), there)
        with nn.lens(model) as alone:
            model(x[:2, :1]).sum().backward()
        np.testing.assert_allclose(layer.state("c")[:2, 0], alone[layer.name].state("c")[:, 0], atol=1e-12)
        assert layer.saturation("i")[0].shape == (4,)


def test_calls_add_up_and_cells_are_seen() -> None:
    cell = nn.LSTMCell(3, 4)
    state = None
    with nn.lens(cell) as seen:
        for _ in range(6):
            state = cell(tg.randn(2, 3), state)
    assert len(seen["LSTMCell"]) == 6
    assert seen["LSTMCell"].gate("o").shape == (6, 2, 4)
    with nn.lens(cell) as alone:
        h, _ = cell(tg.randn(3))
        h.sum().backward()
    assert alone["LSTMCell"].state("h").shape == (1, 1, 4)
    assert alone["LSTMCell"].gradient_norm("h").shape == (1, 1)


def test_saturated_gates() -> None:
    model = Model()
    with tg.no_grad():
        for p in model.parameters():
            p.zero_()
        model.rnn.bias_ih_l0.copy_(tg.tensor(np.repeat([50.0, -50.0, 50.0, 0.0], 4)))
    with nn.lens(model) as seen:
        model(tg.zeros(3, 1, 3, dtype=tg.float64))
    layer = seen["rnn.l0"]
    shares = {gate: [float(share.mean()) for share in layer.saturation(gate)] for gate in layer.gates}
    assert shares == {"i": [0, 1], "f": [1, 0], "g": [0, 1], "o": [0, 0]}
    assert "f  mean +0.00, closed 100%, open   0% of the time" in str(seen)
    assert "∂L" not in str(seen)


def test_the_lens_goes_away() -> None:
    model = Model()
    with nn.lens(model):
        assert copy.deepcopy(model).rnn.lens is None
    with pytest.raises(ValueError, match="x has shape"), nn.lens(model):
        model(tg.ones(1, 1, 1))
    assert model.rnn.lens is None
    assert "lens" not in vars(model.rnn)
    with nn.lens(model) as seen, pytest.raises(ValueError, match="a lens on this Model already"), nn.lens(model):
        pass
    with pytest.raises(KeyError, match="has not seen 'l9'"):
        seen["l9"]
    with pytest.raises(ValueError, match="Linear has no recurrent layer"), nn.lens(nn.Linear(2, 3)):
        pass
    with nn.lens(model) as seen:
        model(tg.ones(2, 1, 3, dtype=tg.float64))
    with pytest.raises(KeyError, match=r"layer 'rnn\.l0' has i, f, g, o, not 'z'"):
        seen["rnn.l0"].gate("z")


def test_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="draws with it")
    model = Model(num_layers=2)
    with nn.lens(model) as seen:
        model(tg.randn(5, 1, 3, dtype=tg.float64))[-1].sum().backward()
    for name, figure in (
        ("gates.png", nn.figures.gates(seen["rnn.l0"], "a b\nc")),
        ("gradients.svg", nn.figures.gradients(seen, "c")),
    ):
        figure.savefig(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1000
    assert "␣" in [label.get_text() for label in nn.figures.gates(seen["rnn.l0"], "a b\nc").axes[3].get_xticklabels()]
    with pytest.raises(ValueError, match="got 3 labels for 5 steps"):
        nn.figures.gates(seen["rnn.l0"], "abc")
    with nn.lens(plain := Model("RNN")) as seen:
        plain(tg.ones(2, 1, 3, dtype=tg.float64))
    with pytest.raises(ValueError, match="has no gates"):
        nn.figures.gates(seen["rnn.l0"], "ab")
    with pytest.raises(ValueError, match="no gradient of 'h' was seen"):
        nn.figures.gradients(seen)


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with nn.lens(model := Model()) as seen:
        model(tg.ones(2, 1, 3, dtype=tg.float64))
    with pytest.raises(ImportError, match=r"tinygrad-seq\[figures\]"):
        nn.figures.gates(seen["rnn.l0"], "ab")

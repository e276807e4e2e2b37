"""Faithful to the slides: the modules compute what the deck's equations say, to the last digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nn
import tinygrad_seq as tg

from . import reference

sizes = st.integers(1, 5)
ORDER = ["i", "f", "C", "o"]  # PyTorch's order of the gates, under the slides' names


def close(ours: tg.Tensor, theirs: Any) -> None:
    np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=0, atol=1e-12)


def per_gate(weight_ih: Any, weight_hh: Any, bias: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The stacked matrices of the module as the deck's four, each for [h, x]."""
    H = weight_hh.shape[1]
    rows = {gate: slice(k * H, (k + 1) * H) for k, gate in enumerate(ORDER)}
    W = {gate: np.concatenate([weight_hh[r], weight_ih[r]], axis=1) for gate, r in rows.items()}
    return W, {gate: bias[r] for gate, r in rows.items()}


def numbers(module: nn.Module) -> dict[str, Any]:
    return {name: value.numpy() for name, value in module.state_dict().items()}


@given(T=sizes, B=sizes, F=sizes, H=sizes, seed=st.integers(0, 99))
def test_lstm(T: int, B: int, F: int, H: int, seed: int) -> None:
    tg.manual_seed(seed)
    lstm = nn.LSTM(F, H, dtype=tg.float64)
    p = numbers(lstm)
    W, b = per_gate(p["weight_ih_l0"], p["weight_hh_l0"], p["bias_ih_l0"] + p["bias_hh_l0"])
    x, h, c = (tg.randn(*shape, dtype=tg.float64) for shape in ((T, B, F), (1, B, H), (1, B, H)))
    outputs, (h_n, c_n) = lstm(x, (h, c))
    for k in range(B):
        hs, C = reference.lstm(x.numpy()[:, k], h.numpy()[0, k], c.numpy()[0, k], W, b)
        close(outputs[:, k], hs)
        close(h_n[0, k], hs[-1])
        close(c_n[0, k], C)


@given(F=sizes, H=sizes, seed=st.integers(0, 99))
def test_lstm_cell(F: int, H: int, seed: int) -> None:
    tg.manual_seed(seed)
    cell = nn.LSTMCell(F, H, dtype=tg.float64)
    p = numbers(cell)
    W, b = per_gate(p["weight_ih"], p["weight_hh"], p["bias_ih"] + p["bias_hh"])
    x, h, c = (tg.randn(n, dtype=tg.float64) for n in (F, H, H))
    hs, C = reference.lstm(x.numpy()[None], h.numpy(), c.numpy(), W, b)
    new_h, new_c = cell(x, (h, c))
    close(new_h, hs[0])
    close(new_c, C)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@given(T=sizes, F=sizes, H=sizes, seed=st.integers(0, 99))
def test_rnn_and_its_output(nonlinearity: str, T: int, F: int, H: int, seed: int) -> None:
    tg.manual_seed(seed)
    rnn = nn.RNN(F, H, nonlinearity=nonlinearity, dtype=tg.float64)
    cell = nn.RNNCell(F, H, nonlinearity=nonlinearity, dtype=tg.float64)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in rnn.state_dict().items()})
    V = nn.Linear(H, 7, bias=False, dtype=tg.float64)
    p = numbers(rnn)
    f = np.tanh if nonlinearity == "tanh" else lambda z: np.maximum(z, 0)
    x, s = tg.randn(T, F, dtype=tg.float64), tg.randn(1, H, dtype=tg.float64)
    bias = p["bias_ih_l0"] + p["bias_hh_l0"]
    states = reference.rnn(x.numpy(), s.numpy()[0], p["weight_ih_l0"], p["weight_hh_l0"], bias, f)
    outputs, last = rnn(x, s)
    close(outputs, states)
    close(last[0], states[-1])
    close(nn.functional.softmax(V(outputs), -1), [reference.softmax(V.weight.detach().numpy() @ s_t) for s_t in states])
    close(cell(x[0], s[0]), states[0])


def test_two_layers_are_one_after_the_other() -> None:
    lstm = nn.LSTM(3, 4, num_layers=2, dtype=tg.float64)
    p = numbers(lstm)
    x = tg.randn(6, 3, dtype=tg.float64)
    zeros = np.zeros(4)
    below = x.numpy()
    for k in (0, 1):
        W, b = per_gate(p[f"weight_ih_l{k}"], p[f"weight_hh_l{k}"], p[f"bias_ih_l{k}"] + p[f"bias_hh_l{k}"])
        hs, _ = reference.lstm(below, zeros, zeros, W, b)
        below = np.array(hs)
    close(lstm(x)[0], below)

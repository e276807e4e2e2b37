"""minGRU, minLSTM, sLSTM and LRU: their papers' equations, and what all recurrent layers promise.

Compiled, with lengths that vary: tests/compiler/test_lengths.py.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg

T, B, F, H = 6, 2, 3, 4
CELLS = ["SLSTMCell", "MinGRUCell", "MinLSTMCell", "LRUCell"]
Numbers = dict[str, Any]


def sigma(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def tensors(state: Any) -> list[tg.Tensor]:
    return [state] if isinstance(state, tg.Tensor) else list(state)


def made(kind: str, *sizes: Any, **settings: Any) -> Any:
    """A layer whose parameters are not those of the beginning."""
    layer = nn.Recurrent(getattr(nn, kind), F, H, *sizes, dtype=tg.float64, **settings)
    with tg.no_grad():
        for p in layer.parameters():
            p.add_(0.2 * tg.randn(p.shape, dtype=tg.float64))
    return layer


def close(found: Any, wanted: Any, tolerance: float = 1e-11) -> None:
    found, wanted = (x.detach().numpy() if isinstance(x, tg.Tensor) else x for x in (found, wanted))
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)


# --- the equations of the papers, as loops ---


def min_gru(p: Numbers, x: Any, h: Any) -> tuple[Any, list[Any]]:
    W_z, W_h = np.split(p["linear.weight"], 2)
    b_z, b_h = np.split(p["linear.bias"], 2)
    outputs = []
    for x_t in x:
        z = sigma(x_t @ W_z.T + b_z)
        h_new = x_t @ W_h.T + b_h
        h = (1 - z) * h + z * h_new
        outputs.append(h)
    return np.stack(outputs), [h]


def min_lstm(p: Numbers, x: Any, h: Any) -> tuple[Any, list[Any]]:
    W_i, W_f, W_h = np.split(p["linear.weight"], 3)
    b_i, b_f, b_h = np.split(p["linear.bias"], 3)
    outputs = []
    for x_t in x:
        f, i = sigma(x_t @ W_f.T + b_f), sigma(x_t @ W_i.T + b_i)
        h_new = x_t @ W_h.T + b_h
        h = f / (f + i) * h + i / (f + i) * h_new
        outputs.append(h)
    return np.stack(outputs), [h]


def lru(p: Numbers, x: Any, state: Any) -> tuple[Any, list[Any]]:
    N = state.shape[1] // 2
    lam = np.exp(-np.exp(p["nu_log"]) + 1j * np.exp(p["theta_log"]))
    B, C = p["B_re"] + 1j * p["B_im"], p["C_re"] + 1j * p["C_im"]
    s, outputs = state[:, :N] + 1j * state[:, N:], []
    for x_t in x:
        s = lam * s + np.exp(p["gamma_log"]) * (x_t @ B.T)
        outputs.append((s @ C.T).real + x_t @ p["D"].T)
    return np.stack(outputs), [np.concatenate([s.real, s.imag], 1)]


def slstm(p: Numbers, x: Any, h: Any, c: Any, n: Any, m: Any) -> tuple[Any, list[Any]]:
    outputs = []
    for x_t in x:
        i, f, z, o = np.split(x_t @ p["weight_ih"].T + p["bias_ih"] + h @ p["weight_hh"].T + p["bias_hh"], 4, -1)
        before, m = m, np.maximum(np.log(sigma(f)) + m, i)
        i, f = np.exp(i - m), np.exp(np.log(sigma(f)) + before - m)
        c, n = f * c + i * np.tanh(z), f * n + i
        h = sigma(o) * c / n
        outputs.append(h)
    return np.stack(outputs), [h, c, n, m]


EQUATIONS: dict[str, Callable[..., tuple[Any, list[Any]]]] = {
    "MinGRUCell": min_gru, "MinLSTMCell": min_lstm, "LRUCell": lru, "SLSTMCell": slstm
}  # fmt: skip


def states_of(layer: Any) -> list[tg.Tensor]:
    """A state that has seen something: the sLSTM's normaliser is above 0."""
    drawn = [tg.randn(layer.num_layers * layer._directions, B, n, dtype=tg.float64) for n in layer._sizes[0]]
    return [s.abs() + 0.5 if letter == "n" else s for s, letter in zip(drawn, layer.states, strict=True)]


def as_given(states: list[tg.Tensor]) -> Any:
    return tuple(states) if len(states) > 1 else states[0]


@pytest.mark.parametrize("kind", CELLS)
def test_the_equations(kind: str) -> None:
    """The layer all at once, step by step, and its cell alone."""
    layer = made(kind)
    p = {name.removeprefix("cells.0."): value.numpy() for name, value in layer.state_dict().items()}
    x, state = tg.randn(T, B, F, dtype=tg.float64), states_of(layer)
    wanted, last = EQUATIONS[kind](p, x.numpy(), *[s.numpy()[0] for s in state])
    output, final = layer(x, as_given(state))
    close(output, wanted)
    for s, w in zip(tensors(final), last, strict=True):
        close(s[0], w)
    with nn.lens(layer):
        close(layer(x, as_given(state))[0], wanted)
    cell = layer.cells[0]
    one = as_given([s[0] for s in state])
    for x_t, y_t in zip(x, wanted, strict=True):
        one = cell(x_t, one)
        close(cell.read_out(tensors(one)[0], x_t), y_t)


def test_the_stabiliser_changes_no_output() -> None:
    """The sLSTM as the paper first writes it, with c and n that may overflow."""
    layer = made("SLSTMCell")
    p = {name.removeprefix("cells.0."): value.numpy() for name, value in layer.state_dict().items()}
    x = tg.randn(T, B, F, dtype=tg.float64)
    h, c, n = (np.zeros((B, H)) for _ in range(3))
    for x_t, y_t in zip(x.numpy(), layer(x)[0].detach().numpy(), strict=True):
        i, f, z, o = np.split(x_t @ p["weight_ih"].T + p["bias_ih"] + h @ p["weight_hh"].T + p["bias_hh"], 4, -1)
        c, n = sigma(f) * c + np.exp(i) * np.tanh(z), sigma(f) * n + np.exp(i)
        h = sigma(o) * c / n
        close(y_t, h)
    state = layer(x)[1]
    close(state[1] * tg.exp(state[3]), c[None])
    close(state[2] * tg.exp(state[3]), n[None])


def test_an_empty_slstm_takes_what_it_sees_first() -> None:
    """However small its input gate is, and whatever c and m are: 0 / 0 in the equations as they stand."""
    cell = nn.SLSTMCell(1, 1)
    with tg.no_grad():
        for p in cell.parameters():
            p.zero_()
        for gate, bias in enumerate([-1e4, 3.0, 0.7, 20.0]):
            cell.bias_ih[gate] = bias  # type: ignore[index]
    for c, m in ((0.0, 0.0), (5.0, 1e4)):
        state = tuple([tg.full((1, 1), value, requires_grad=True) for value in (0.0, c, 0.0, m)])
        h = cell(tg.ones(1, 1), state)[0]
        assert h.item() == pytest.approx(np.tanh(0.7), rel=1e-6)
        for p in cell.parameters():
            p.grad = None
        h.backward()
        assert all(bool(tg.isfinite(p.grad).all()) for p in cell.parameters() if p.grad is not None)
        assert all(s.grad is None or bool(tg.isfinite(s.grad).all()) for s in state)


@pytest.mark.parametrize("kind", ["SLSTMCell", "MinGRUCell", "MinLSTMCell"])
@pytest.mark.parametrize("dtype", [tg.float32, tg.float64])
@pytest.mark.parametrize("scale", [1.0, 1e2, 1e4])
def test_large_inputs(kind: str, dtype: Any, scale: float) -> None:
    """Means of candidates stay among these, and all gradients are finite."""
    layer = nn.Recurrent(getattr(nn, kind), F, H, dtype=dtype)
    x = (scale * tg.randn(20, B, F, dtype=dtype)).requires_grad_()
    output, _ = layer(x)
    output.sum().backward()
    for y in (output, x.grad, *[p.grad for p in layer.parameters()]):
        assert y is not None
        assert y.dtype == dtype
        assert bool(tg.isfinite(y).all())
    assert output.abs().max().item() <= (1.0 if kind == "SLSTMCell" else 10 * scale)


def test_gates_that_are_both_0_to_rounding() -> None:
    """minLSTM's f / (f + i), where σ underflows in both."""
    cell = nn.MinLSTMCell(1, 1)
    with tg.no_grad():
        cell.linear.weight.zero_()
        for gate, bias in enumerate([-1e4, -1e4 + 1, 3.0]):
            cell.linear.bias[gate] = bias  # type: ignore[index]
    f = sigma(1.0)
    assert cell(tg.ones(1, 1), tg.full((1, 1), 2.0)).item() == pytest.approx(f * 2 + (1 - f) * 3, rel=1e-4)


def test_the_units_of_an_lru_begin_on_their_ring() -> None:
    tg.manual_seed(0)
    cell = nn.LRUCell(F, 2, state_size=2000, r_min=0.5, r_max=0.9, max_phase=0.3)
    a, _ = cell.coefficients(tg.zeros(1, 4000))
    re, im = a.detach().numpy()[:2000], a.detach().numpy()[2000:]
    squared, phase = re**2 + im**2, np.arctan2(im, re)
    for found, low, high in ((squared, 0.25, 0.81), (phase, 0.0, 0.3)):
        assert low <= found.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < found.max() <= high
        assert found.mean() == pytest.approx((low + high) / 2, rel=0.05)  # uniform
    close(cell.gamma_log.exp().square(), 1 - squared, 1e-5)


@pytest.mark.parametrize("settings", [{"r_min": 0.9, "r_max": 0.9}, {"r_max": 1.1}, {"r_min": -0.1}, {"max_phase": 0}])
def test_an_lru_takes_a_ring_in_the_unit_disc(settings: Any) -> None:
    with pytest.raises(ValueError, match="LRUCell: takes 0 <= r_min < r_max <= 1 and max_phase > 0"):
        nn.LRUCell(F, H, **settings)
    with pytest.raises(ValueError, match="LRUCell: state_size"):
        nn.LRUCell(F, H, state_size=0)


# --- what all recurrent layers promise ---


@pytest.mark.parametrize("kind", CELLS)
def test_gradients(kind: str) -> None:
    """By the input, the state and every parameter, of all steps at once and of one after the other."""
    layer = made(kind, bidirectional=True)
    x, state = tg.randn(3, B, F, dtype=tg.float64), states_of(layer)
    for how in ({}, {"lengths": [1, 3]}):
        run = lambda x, *s: [y for part in layer(x, as_given(list(s)), **how) for y in tensors(part)]  # noqa: B023, E731
        tg.gradcheck(run, (x, *state))
    tg.gradcheck(layer, x, loss=lambda made: made[0].sin().sum())
    layer = made(kind)
    tg.gradgradcheck(lambda x: layer(x)[0], x)


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("form", ["lengths", "mask", "list", "packed"])
def test_each_sequence_gives_what_it_gives_alone(kind: str, bidirectional: bool, form: str) -> None:
    layer = made(kind, 2, bidirectional=bidirectional)
    lengths = [2, 5, 0, 1]
    x = tg.randn(5, 4, F, dtype=tg.float64)
    for b, n in enumerate(lengths):
        x[n:, b] = float("nan")
    if form == "lengths":
        output, state = layer(x, lengths=lengths)
    elif form == "mask":
        output, state = layer(x, mask=tg.arange(5).unsqueeze(1) < tg.tensor(lengths))
    elif form == "list":
        parts, state = layer([x[:n, b] for b, n in enumerate(lengths)])
        output = nn.utils.rnn.pad_sequence(parts)
    else:
        packed, state = layer(nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False))
        output = nn.utils.rnn.pad_packed_sequence(packed)[0]
    for b, n in enumerate(lengths):
        assert not output[n:, b].any()
        if n:
            alone, last = layer(x[:n, b])
            close(output[:n, b], alone)
            for s, w in zip(tensors(state), tensors(last), strict=True):
                close(s[:, b], w)
        else:
            assert not any(s[:, b].any() for s in tensors(state))


@pytest.mark.parametrize("kind", CELLS)
def test_a_stream_in_pieces(kind: str) -> None:
    layer = made(kind, 2)
    x = tg.randn(T, B, F, dtype=tg.float64)
    output, final = layer(x)
    state: Any = None
    for piece in x.split([3, 1, 2]):
        y, state = layer(piece, state)
        close(y, output[: len(piece)])
        output = output[len(piece) :]
    for s, w in zip(tensors(state), tensors(final), strict=True):
        close(s, w)
    close(layer(x, state.reset())[0], layer(x)[0])


@pytest.mark.parametrize("kind", CELLS)
def test_copies_and_files(kind: str) -> None:
    layer = made(kind, 2, learned_state=True)
    x = tg.randn(T, B, F, dtype=tg.float64)
    other = nn.Recurrent(getattr(nn, kind), F, H, 2, learned_state=True, dtype=tg.float64)
    other.load_state_dict(layer.state_dict())
    for same in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), other):
        close(same(x)[0], layer(x)[0], 0)


def test_zoneout_of_states_that_belong_together_is_refused() -> None:
    layer = made("SLSTMCell", zoneout=0.2)
    with pytest.raises(ValueError, match=r"zoneout=0.2 would mix c, n, m of two steps, which in SLSTMCell belong"):
        layer(tg.ones(T, B, F, dtype=tg.float64))
    made("SLSTMCell", zoneout=(0.2, 0.0, 0.0, 0.0))(tg.ones(T, B, F, dtype=tg.float64))


@pytest.mark.parametrize("kind", CELLS)
def test_nothing_infinite_on_the_way(kind: str) -> None:
    layer = made(kind)
    with tg.detect_anomaly():
        layer(tg.randn(T, B, F, dtype=tg.float64))[0].sum().backward()

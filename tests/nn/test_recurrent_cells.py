"""Cells beyond PyTorch's, against their equations written out, and cells on no sequence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg


def sigma(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def normed(z: Any, gain: Any, shift: Any = 0.0) -> Any:
    return (z - z.mean(-1, keepdims=True)) / np.sqrt(z.var(-1, keepdims=True) + 1e-5) * gain + shift


def random_cell(kind: str) -> tuple[Any, dict[str, Any], Any, Any, Any]:
    """A cell with random parameters, these, and an input with a state."""
    cell = getattr(nn, kind)(3, 4, dtype=tg.float64)
    for p in cell.parameters():
        p.data = tg.randn(p.shape, dtype=tg.float64)
    x, h, c = (tg.randn(2, n, dtype=tg.float64) for n in (3, 4, 4))
    return cell, {name: p.numpy() for name, p in cell.state_dict().items()}, x, h, c


def test_peephole_lstm_cell() -> None:
    cell, p, x, h, c = random_cell("PeepholeLSTMCell")
    z = x.numpy() @ p["weight_ih"].T + p["bias_ih"] + h.numpy() @ p["weight_hh"].T + p["bias_hh"]
    i, f, g, o = np.split(z, 4, -1)
    i, f = sigma(i + p["weight_ci"] * c.numpy()), sigma(f + p["weight_cf"] * c.numpy())
    new_c = f * c.numpy() + i * np.tanh(g)
    new_h = sigma(o + p["weight_co"] * new_c) * np.tanh(new_c)
    for ours, wanted in zip(cell(x, (h, c)), (new_h, new_c), strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), wanted, atol=1e-12)


def test_layer_norm_lstm_cell() -> None:
    cell, p, x, h, c = random_cell("LayerNormLSTMCell")
    z = normed(x.numpy() @ p["weight_ih"].T, p["gain_ih"]) + normed(h.numpy() @ p["weight_hh"].T, p["gain_hh"])
    i, f, g, o = np.split(z + p["bias_ih"] + p["bias_hh"], 4, -1)
    new_c = sigma(f) * c.numpy() + sigma(i) * np.tanh(g)
    new_h = sigma(o) * np.tanh(normed(new_c, p["gain_c"], p["shift_c"]))
    for ours, wanted in zip(cell(x, (h, c)), (new_h, new_c), strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), wanted, atol=1e-12)


def test_layer_norm_gru_and_rnn_cells() -> None:
    cell, p, x, h, _ = random_cell("LayerNormGRUCell")
    r, z, n = np.split(normed(x.numpy() @ p["weight_ih"].T, p["gain_ih"]) + p["bias_ih"], 3, -1)
    r_h, z_h, n_h = np.split(normed(h.numpy() @ p["weight_hh"].T, p["gain_hh"]) + p["bias_hh"], 3, -1)
    r, z = sigma(r + r_h), sigma(z + z_h)
    wanted = (1 - z) * np.tanh(n + r * n_h) + z * h.numpy()
    np.testing.assert_allclose(cell(x, h).detach().numpy(), wanted, atol=1e-12)
    cell, p, x, h, _ = random_cell("LayerNormRNNCell")
    summed = x.numpy() @ p["weight_ih"].T + p["bias_ih"] + h.numpy() @ p["weight_hh"].T + p["bias_hh"]
    wanted = np.tanh(normed(summed, p["gain"], p["shift"]))
    np.testing.assert_allclose(cell(x, h).detach().numpy(), wanted, atol=1e-12)


@pytest.mark.parametrize("kind", ["PeepholeLSTMCell", "LayerNormLSTMCell", "LayerNormGRUCell", "LayerNormRNNCell"])
def test_layers_of_the_variants(kind: str) -> None:
    options: dict[str, Any] = {"proj_size": 2} if "LSTM" in kind else {}
    module = nn.Recurrent(getattr(nn, kind), 3, 4, 2, bidirectional=True, dtype=tg.float64, **options)
    tg.gradcheck(lambda x: module(x, lengths=[3, 1])[0], tg.randn(3, 2, 3, dtype=tg.float64))
    assert all(name.startswith("cells.") for name in module.state_dict())
    getattr(nn, kind)(3, 4, bias=False)(tg.ones(2, 3))


CELLS = [nn.RNNCell, nn.LSTMCell, nn.GRUCell, nn.PeepholeLSTMCell, nn.LayerNormLSTMCell]


@pytest.mark.parametrize("cell", [*CELLS, nn.SLSTMCell, nn.MinGRUCell, nn.MinLSTMCell])
def test_a_cell_on_no_sequence(cell: Any) -> None:
    module, x = cell(2, 3), tg.zeros(0, 2, requires_grad=True)
    made = module(x)
    h = made if isinstance(made, tg.Tensor) else made[0]
    assert h.shape == (0, 3)
    h.sum().backward()
    assert x.grad is not None
    assert x.grad.shape == (0, 2)
    for p in module.parameters():
        assert p.grad is not None
        assert not p.grad.any()

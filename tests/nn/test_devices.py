"""Losses, layers and initial values stay on the device of what they are given: on one that refuses NumPy's arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import nn
import nn.functional as F
import tinygrad_seq as tg

from ..engine.strict_backend import assert_same, installed
from .test_init import FILLS
from .test_losses import CHECKED


@pytest.fixture(autouse=True, scope="module")
def _strict() -> Iterator[None]:
    with installed():
        yield


def on_both(function: Any, inputs: list[tg.Tensor], rtol: float = 1e-4, atol: float = 1e-5) -> None:
    """The same values and gradients on both devices, each of them there."""
    found = []
    for device in ("cpu", "cuda"):
        xs = [x.detach().to(device=device).requires_grad_() for x in inputs]
        y = function(*xs)
        assert y.device.type == device
        y.sum().backward()
        gradients = [x.grad for x in xs]
        assert all(g is not None and g.device.type == device for g in gradients)
        found.append([y.tolist(), *[g.tolist() for g in gradients if g is not None]])
    assert_same(found[0], found[1], rtol, atol)


@pytest.mark.parametrize("name", CHECKED)
def test_losses(name: str) -> None:
    function, inputs = CHECKED[name]
    for reduction in ("mean", "sum", "none"):
        on_both(lambda *xs, r=reduction: function(*xs, reduction=r), inputs())


def test_ctc() -> None:
    x = F.log_softmax(tg.randn(5, 2, 4), 2)
    for targets in ([[1, 1], [2, 3]], [1, 1, 2]):
        on_both(lambda x, t=targets: F.ctc_loss(x, t, [5, 4], [2, 1], zero_infinity=True), [x])
        on_both(lambda x, t=targets: F.ctc_loss(x, tg.tensor(t, device=x.device), tg.tensor([5, 4]), [2, 1]), [x])


def test_layers() -> None:
    layers = [nn.Hardtanh(), nn.Softplus(), nn.LogSigmoid(), nn.GELU(), nn.LogSoftmax(1)]
    on_both(nn.Sequential(*layers), [tg.randn(3, 4)])
    on_both(lambda x, w: F.layer_norm(x, (4,), w), [tg.randn(3, 4), tg.randn(4)])
    on_both(lambda x, y: F.cosine_similarity(x, y), [tg.randn(3, 4), tg.randn(3, 4)])
    on_both(lambda w: F.embedding([[1, 2]], w, 1), [tg.randn(3, 4)])


@pytest.mark.parametrize("name", sorted(FILLS.keys() - {"orthogonal_"}))  # the strict arrays have no linalg
def test_initial_values(name: str) -> None:
    drawn = [FILLS[name](tg.zeros(4, 5, device=device), generator=tg.Generator(1)) for device in ("cpu", "cuda")]
    assert [w.device.type for w in drawn] == ["cpu", "cuda"]
    assert_same(drawn[0].tolist(), drawn[1].tolist())


RECURRENT: dict[str, Any] = {
    "LSTM": lambda: nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2, forget_bias=1.0),
    "GRU": lambda: nn.GRU(3, 4, 2, learned_state=True),
    "RNN": lambda: nn.RNN(3, [4, 2], 2, bidirectional=True),
    "peepholes": lambda: nn.Recurrent(nn.PeepholeLSTMCell, 3, 4, zoneout=0.1),
    "layer norm": lambda: nn.Recurrent(nn.LayerNormGRUCell, 3, 4, 2, dropout=0.5, variational=True),
    "dropout": lambda: nn.LSTM(3, 4, recurrent_dropout=0.3),
}


@pytest.mark.parametrize("kind", RECURRENT)
@pytest.mark.parametrize("form", ["plain", "lengths", "mask", "list", "packed"])
def test_recurrent_layers(kind: str, form: str) -> None:
    """With the same random numbers on both; in float64, since layer norm magnifies the rounding of float32."""
    tg.manual_seed(0)
    module = RECURRENT[kind]().double()

    def run(x: tg.Tensor) -> tg.Tensor:
        tg.manual_seed(1)
        module.to(x.device)
        lengths = [5, 0, 2]
        if form == "list":
            outputs, state = module([x[:n, b] for b, n in enumerate(lengths)])
            output = tg.cat(outputs)
        elif form == "packed":
            packed, state = module(nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False))
            output, found = nn.utils.rnn.pad_packed_sequence(packed)
            assert found.tolist() == lengths
        else:
            settings: dict[str, Any] = {"lengths": lengths} if form == "lengths" else {}
            if form == "mask":
                settings["mask"] = tg.arange(5, device=x.device).unsqueeze(1) < tg.tensor(lengths, device=x.device)
            with nn.lens(module) as seen:
                output, state = module(x, **settings)
            assert all(layer.state("h").shape[:2] == (5, 3) for layer in seen.layers.values())
        whole = state.reset([1]).map(lambda s: s * 2)
        parts = [whole] if isinstance(whole, tg.Tensor) else list(whole)
        return output.sum() + sum([t.cos().sum() for t in parts], start=tg.zeros((), dtype=x.dtype, device=x.device))

    on_both(run, [tg.randn(5, 3, 3, dtype=tg.float64)], 1e-9, 1e-10)


def test_streams_and_cells() -> None:
    def run(x: tg.Tensor) -> tg.Tensor:
        tg.manual_seed(2)
        cell = nn.LSTMCell(3, 4, device=x.device)
        state: Any = None
        for x_t in x:
            state = cell(x_t, state)
        total = state[0].sum()
        for output, _ in nn.utils.tbptt(nn.GRU(3, 4, device=x.device), x, 2, 3):
            total = total + output.sum()
        for a, b in nn.utils.stream(tg.arange(20, device=x.device), 2, 4):
            assert a.device == b.device == x.device
        return total

    on_both(run, [tg.randn(5, 2, 3)])

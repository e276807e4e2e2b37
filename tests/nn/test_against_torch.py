"""The same numbers as PyTorch: outputs, states, all gradients, and state dicts that go either way."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg

torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")


def close(ours: Any, theirs: Any, atol: float = 1e-10) -> None:
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=0, atol=atol)


SETTINGS = list(itertools.product((1, 2), (True, False), (False, True), (False, True), (True, False)))


@pytest.mark.parametrize("kind", ["LSTM", "RNN tanh", "RNN relu"])
@pytest.mark.parametrize(("layers", "bias", "batch_first", "bidirectional", "batched"), SETTINGS)
def test_recurrent(kind: str, layers: int, bias: bool, batch_first: bool, bidirectional: bool, batched: bool) -> None:
    name, _, nonlinearity = kind.partition(" ")
    options: dict[str, Any] = {"num_layers": layers, "bias": bias, "batch_first": batch_first}
    options |= {"bidirectional": bidirectional} | ({"nonlinearity": nonlinearity} if nonlinearity else {})
    ours = getattr(nn, name)(3, 4, **options, dtype=tg.float64)
    theirs = getattr(torch.nn, name)(3, 4, **options, dtype=torch.float64)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    rng = np.random.default_rng(0)
    count, B, T = layers * (1 + bidirectional), 2, 5
    x = rng.standard_normal((*(((B, T) if batch_first else (T, B)) if batched else (T,)), 3))
    states = [rng.standard_normal((count, *((B,) if batched else ()), 4)) for _ in ours.states]
    given = [tg.tensor(a, requires_grad=True) for a in (x, *states)]
    given_torch = [torch.tensor(a, requires_grad=True) for a in (x, *states)]
    results = []
    for module, (xs, *ss) in ((ours, given), (theirs, given_torch)):
        output, final = module(xs, tuple(ss) if name == "LSTM" else ss[0])
        final = final if name == "LSTM" else (final,)
        results.append((output, *final))
        ((output**2).sum() + sum((s.tanh() * (k + 1)).sum() for k, s in enumerate(final))).backward()
    for a, b in zip(*results, strict=True):
        close(a, b)
    for a, b in zip(given, given_torch, strict=True):
        close(a.grad, b.grad)
    for (_, a), (_, b) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        close(a.grad, b.grad)


def test_state_dicts_go_back() -> None:
    ours, theirs = nn.LSTM(3, 4, 2), torch.nn.LSTM(3, 4, 2)
    theirs.load_state_dict({name: torch.from_numpy(value.numpy().copy()) for name, value in ours.state_dict().items()})
    x = np.random.default_rng(0).standard_normal((5, 2, 3)).astype(np.float32)
    close(ours(tg.tensor(x))[0], theirs(torch.from_numpy(x))[0], atol=1e-6)


def test_initial_values_have_the_same_range() -> None:
    torch.manual_seed(0)
    for ours, theirs in (
        (nn.LSTM(30, 40), torch.nn.LSTM(30, 40)),
        (nn.Linear(50, 60), torch.nn.Linear(50, 60)),
        (nn.RNNCell(30, 40), torch.nn.RNNCell(30, 40)),
    ):
        for (name, a), (_, b) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
            high = [np.abs(p.detach().numpy()).max() for p in (a, b)]
            assert abs(high[0] - high[1]) < 0.2 * high[1], name
    spread = nn.Embedding(100, 50).weight.detach().numpy().std()
    assert abs(spread - 1) < 0.1

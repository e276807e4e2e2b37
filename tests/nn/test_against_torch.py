"""The same numbers as PyTorch: outputs, states, all gradients, optimizers, and state dicts that go either way."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import nn
import nn.functional as F
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


OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("Adagrad", {"lr": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.01, "initial_accumulator_value": 0.1}),
    ("RMSprop", {"lr": 0.01}),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9, "momentum": 0.5, "weight_decay": 0.01}),
    ("RMSprop", {"lr": 0.01, "centered": True, "momentum": 0.5}),
    ("Adam", {"lr": 0.01}),
    ("Adam", {"lr": 0.01, "betas": (0.8, 0.9), "weight_decay": 0.1, "eps": 1e-4}),
    ("AdamW", {"lr": 0.01}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.2}),
]


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
def test_optimizers(name: str, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    start = [rng.standard_normal((3, 4)), rng.standard_normal(5)]
    ours = [tg.tensor(a, requires_grad=True) for a in start]
    theirs = [torch.tensor(a, requires_grad=True) for a in start]
    mine = getattr(nn.optim, name)(ours, **options)
    reference = getattr(torch.optim, name)(theirs, **options)
    for step in range(50):
        for optimizer, (a, b) in ((mine, ours), (reference, theirs)):
            optimizer.zero_grad()
            ((a**2).sum() * (1.0 + step % 3) + (b - 1.0).abs().sum() * 0.1 + (a[0, 0] * b[2]) ** 2).backward()
            optimizer.step()
    for a, b in zip(ours, theirs, strict=True):
        close(a, b, atol=1e-12)


def test_clipping() -> None:
    rng = np.random.default_rng(0)
    for size in (0.1, 10.0):
        grads = [size * rng.standard_normal((3, 4)), size * rng.standard_normal(5)]
        ours = [tg.zeros(*g.shape, dtype=tg.float64, requires_grad=True) for g in grads]
        theirs = [torch.zeros(g.shape, dtype=torch.float64, requires_grad=True) for g in grads]
        for p, q, g in zip(ours, theirs, grads, strict=True):
            p.grad, q.grad = tg.tensor(g), torch.tensor(g)
        close(nn.utils.clip_grad_norm_(ours, 2.0), torch.nn.utils.clip_grad_norm_(theirs, 2.0))
        for p, q in zip(ours, theirs, strict=True):
            close(p.grad, q.grad)


def test_losses() -> None:
    rng = np.random.default_rng(0)
    z, target = 5 * rng.standard_normal((6, 4, 3)), rng.integers(0, 4, (6, 3))
    for reduction in ("mean", "sum", "none"):
        theirs = torch.nn.functional.cross_entropy(torch.tensor(z), torch.tensor(target), reduction=reduction)
        close(F.cross_entropy(tg.tensor(z), target, reduction), theirs)

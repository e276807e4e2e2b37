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


KINDS = ["LSTM", "LSTM projected", "GRU", "RNN tanh", "RNN relu"]
SETTINGS = list(itertools.product((1, 2), (True, False), (False, True), (False, True)))


def both(kind: str, **options: Any) -> tuple[Any, Any]:
    """Ours and PyTorch's, with the same weights in float64."""
    name, _, variant = kind.partition(" ")
    options |= {"nonlinearity": variant} if name == "RNN" else {"proj_size": 2} if variant else {}
    ours = getattr(nn, name)(3, 4, **options, dtype=tg.float64)
    theirs = getattr(torch.nn, name)(3, 4, **options, dtype=torch.float64)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def as_tuple(state: Any) -> tuple[Any, ...]:
    return tuple(state) if isinstance(state, tuple) else (state,)


def compare(ours: Any, theirs: Any, run: Any, x: Any, states: list[Any]) -> None:
    """run(module, x, state) gives the same outputs and states, and all the same gradients, in both."""
    given = [tg.tensor(a, requires_grad=True) for a in (x, *states)]
    given_torch = [torch.tensor(a, requires_grad=True) for a in (x, *states)]
    results = []
    for module, (xs, *ss) in ((ours, given), (theirs, given_torch)):
        module.zero_grad()
        output, final = run(module, xs, (tuple(ss) if len(ss) > 1 else ss[0]) if ss else None)
        results.append((output, *as_tuple(final)))
        ((output**2).sum() + sum((s.tanh() * (k + 1)).sum() for k, s in enumerate(as_tuple(final)))).backward()
    for a, b in zip(*results, strict=True):
        close(a, b)
    for a, b in zip(given, given_torch, strict=True):
        close(a.grad, b.grad)
    for (_, a), (_, b) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        close(a.grad, b.grad)


def random_states(module: Any, count: int, *batch: int) -> list[Any]:
    rng = np.random.default_rng(1)
    sizes = (4,) if len(module.states) == 1 else (module.proj_size or 4, 4)
    return [rng.standard_normal((count, *batch, size)) for size in sizes]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("layers", "bias", "batch_first", "bidirectional"), SETTINGS)
def test_recurrent(kind: str, layers: int, bias: bool, batch_first: bool, bidirectional: bool) -> None:
    options = {"num_layers": layers, "bias": bias, "batch_first": batch_first, "bidirectional": bidirectional}
    ours, theirs = both(kind, **options)
    B, T = 2, 5
    for batch in ((B,), ()):
        x = np.random.default_rng(0).standard_normal((*((B, T) if batch and batch_first else (T, *batch)), 3))
        for states in (random_states(ours, layers * (1 + bidirectional), *batch), []):
            compare(ours, theirs, lambda module, x, state: module(x, state), x, states)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("lengths", [[5, 3, 1], [2, 5, 5, 1], [4], [1, 1]])
def test_packed(kind: str, bidirectional: bool, lengths: list[int]) -> None:
    ours, theirs = both(kind, num_layers=2, bidirectional=bidirectional)
    x = np.random.default_rng(0).standard_normal((5, len(lengths), 3))
    is_sorted = lengths == sorted(lengths, reverse=True)

    def run(module: Any, x: Any, state: Any) -> tuple[Any, Any]:
        rnn: Any = nn.utils.rnn if module is ours else torch.nn.utils.rnn
        packed = rnn.pack_padded_sequence(x, lengths, enforce_sorted=is_sorted)
        output, final = module(packed, state)
        padded, found = rnn.pad_packed_sequence(output, padding_value=7.0, total_length=6)
        assert found.tolist() == lengths
        return padded, final

    for states in (random_states(ours, 2 * (1 + bidirectional), len(lengths)), []):
        compare(ours, theirs, run, x, states)


@pytest.mark.parametrize("is_sorted", [True, False])
def test_packing(is_sorted: bool) -> None:
    lengths = [4, 2, 2, 1] if is_sorted else [2, 4, 1, 2]
    arrays = [np.random.default_rng(n).standard_normal((n, 3)) for n in lengths]
    ours, theirs = nn.utils.rnn, torch.nn.utils.rnn
    mine = ours.pack_sequence([tg.tensor(a) for a in arrays], enforce_sorted=is_sorted)
    other = theirs.pack_sequence([torch.tensor(a) for a in arrays], enforce_sorted=is_sorted)
    for a, b in zip(mine, other, strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            assert a.tolist() == b.tolist()
    for a, b in zip(ours.unpack_sequence(mine), theirs.unpack_sequence(other), strict=True):
        assert a.tolist() == b.tolist()
    for batch_first, side in itertools.product((False, True), ("left", "right")):
        padded = ours.pad_sequence([tg.tensor(a) for a in arrays], batch_first, -1.0, side)
        assert (
            padded.tolist() == theirs.pad_sequence([torch.tensor(a) for a in arrays], batch_first, -1.0, side).tolist()
        )


@pytest.mark.parametrize("kind", ["LSTMCell", "GRUCell", "RNNCell"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch", [(2,), ()])
def test_cells(kind: str, bias: bool, batch: tuple[int, ...]) -> None:
    ours = getattr(nn, kind)(3, 4, bias, dtype=tg.float64)
    theirs = getattr(torch.nn, kind)(3, 4, bias, dtype=torch.float64)
    ours.load_state_dict(theirs.state_dict())
    x = np.random.default_rng(0).standard_normal((*batch, 3))
    states = [np.random.default_rng(k).standard_normal((*batch, 4)) for k in range(len(ours.states))]

    def run(module: Any, x: Any, state: Any) -> tuple[Any, Any]:
        new = module(x, state) if state is not None else module(x)
        return as_tuple(new)[0], new

    compare(ours, theirs, run, x, states)
    compare(ours, theirs, run, x, [])


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

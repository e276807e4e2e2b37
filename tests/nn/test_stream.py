"""Long sequences in pieces: what is seen, and what the gradients are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nn
import tinygrad_seq as tg

from .test_gradients import with_parameters


@given(n=st.integers(2, 60), batch=st.integers(1, 5), steps=st.integers(1, 7))
def test_every_step_once_and_in_order(n: int, batch: int, steps: int) -> None:
    if n // batch < 2:
        with pytest.raises(ValueError, match="too short to predict"):
            nn.utils.stream(range(n), batch, steps)
        return
    pieces = list(nn.utils.stream(list(range(n)), batch, steps))
    assert len(pieces) == len(nn.utils.stream(list(range(n)), batch, steps))
    x, y = (tg.cat([piece[k] for piece in pieces]) for k in (0, 1))
    length = n // batch
    np.testing.assert_array_equal(x.numpy(), np.arange(length * batch).reshape(batch, length).T[:-1])
    np.testing.assert_array_equal(y.numpy(), x.numpy() + 1)


def test_goes_on_where_it_stopped() -> None:
    stream = nn.utils.stream(list(range(20)), 2, 4)
    whole = [x.tolist() for x, _ in stream]
    assert stream.position == 0
    passing = iter(stream)
    next(passing)
    other = nn.utils.stream(list(range(20)), 2, 4)
    other.position = stream.position
    assert [x.tolist() for x, _ in other] == whole[1:]
    for bad in ((3.0, 1, 1), ([1, 2, 3], 0, 1), ([1, 2, 3], 1, 0)):
        with pytest.raises(ValueError, match="stream: takes a sequence, batch and steps from 1 on"):
            nn.utils.stream(*bad)


@pytest.mark.parametrize(("k1", "k2"), [(2, 2), (1, 3), (2, 3), (2, 5), (3, 100), (1, 1)])
def test_truncated_gradients_are_finite_differences_with_the_past_frozen(k1: int, k2: int) -> None:
    lstm = nn.LSTM(2, 3, dtype=tg.float64)
    T = 7
    x = tg.randn(T, 2, 2, dtype=tg.float64)
    whole, _ = lstm(x)
    states: list[Any] = [None]  # by the number of steps before it
    for t in range(T):
        states.append(lstm(x[: t + 1])[1].detach())
    done = 0
    for output, state in nn.utils.tbptt(lstm, x, k1, k2):
        stop = min(done + k1, T)
        start = max(done + k1 - k2, 0)  # as far as the gradient reaches
        np.testing.assert_allclose(output.detach().numpy(), whole[done:stop].detach().numpy(), atol=1e-12)
        lstm.zero_grad()
        ((output**2).sum() + (state[1] ** 3).sum()).backward()

        def frozen(module: Any, start: int = start, stop: int = stop, done: int = done) -> tg.Tensor:
            y, (_, c) = module(x[start:stop], states[start])
            return (y[done - start :] ** 2).sum() + (c**3).sum()

        function, parameters = with_parameters(lstm, frozen)
        tg.gradcheck(function, parameters)
        wanted = tg.grad(function, argnums=tuple(range(len(parameters))))(*parameters)
        for p, g in zip(lstm.parameters(), wanted, strict=True):
            assert p.grad is not None
            np.testing.assert_allclose(p.grad.numpy(), g.numpy(), rtol=1e-10, atol=1e-12)
        done = stop
    assert done == T


def test_truncation_takes_whole_models_and_plain_states() -> None:
    cell = nn.GRUCell(2, 3)

    def network(x: tg.Tensor, state: Any) -> tuple[tg.Tensor, Any]:
        h = tg.zeros(2, 3) if state is None else state[0]
        outputs = []
        for x_t in x:
            h = cell(x_t, h)
            outputs.append(h)
        return tg.stack(outputs), (h,)

    pieces = list(nn.utils.tbptt(network, tg.randn(5, 2, 2), 2, 4))
    assert [len(output) for output, _ in pieces] == [2, 2, 1]
    for k1, k2 in ((0, 1), (3, 2)):
        with pytest.raises(ValueError, match="tbptt: takes 1 <= k1 <= k2"):
            list(nn.utils.tbptt(network, tg.randn(5, 2, 2), k1, k2))


@given(lengths=st.lists(st.integers(0, 50), max_size=200), batch_size=st.integers(1, 9), shuffle=st.booleans())
def test_batches_hold_each_sequence_once(lengths: list[int], batch_size: int, shuffle: bool) -> None:
    found = list(nn.utils.batches(lengths, batch_size, shuffle=shuffle, generator=tg.Generator(1)))
    assert sorted(n for numbers in found for n in numbers) == list(range(len(lengths)))
    assert sorted([len(numbers) for numbers in found], reverse=True)[:-1] == [batch_size] * (len(found) - 1)
    if not shuffle:
        assert [n for numbers in found for n in numbers] == list(range(len(lengths)))


def test_batches_are_shuffled_and_pad_little() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 2000).tolist()
    first, second = (list(nn.utils.batches(lengths, 20, generator=tg.Generator(k))) for k in (1, 2))
    assert first != second
    padded = sum(max(lengths[n] for n in numbers) * len(numbers) for numbers in first)
    assert padded < 1.1 * sum(lengths)
    means = [np.mean([lengths[n] for n in numbers]) for numbers in first]
    assert abs(np.corrcoef(means, range(len(means)))[0, 1]) < 0.3  # short ones do not come first
    with pytest.raises(ValueError, match="batches: batch_size must be"):
        next(nn.utils.batches([1], 0))

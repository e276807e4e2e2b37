"""NumPy's functions, called with tensors: the same numbers, as tensors with gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg

CALLS: list[Any] = [
    lambda x: np.sort(x),
    lambda x: np.sort(x, 0),
    lambda x: np.expand_dims(x, 0),
    lambda x: np.reshape(x, -1),
    lambda x: np.reshape(x, (2, 3)),
    lambda x: np.cumsum(x),
    lambda x: np.cumsum(x, axis=1),
    lambda x: np.std(x),
    lambda x: np.var(x, axis=0, ddof=1),
    lambda x: np.transpose(x),
    lambda x: np.broadcast_to(x, (2, 3, 2)),
    lambda x: np.max(x, axis=1, keepdims=True),
    lambda x: np.prod(x),
    lambda x: np.squeeze(x),
    lambda x: np.concatenate([x, x], axis=1),
    lambda x: np.stack([x, x]),
    lambda x: np.where(x > 0, x, 0.0),
    lambda x: np.mean(x, 0),
]


@pytest.mark.parametrize("call", CALLS)
def test_same_numbers_with_gradient(call: Any) -> None:
    x = tg.randn(3, 2, dtype=tg.float64, requires_grad=True)
    y = call(x)
    assert isinstance(y, tg.Tensor)
    np.testing.assert_allclose(y.detach().numpy(), call(x.detach().numpy()), rtol=1e-12)
    tg.gradcheck(call, x)


def test_positions() -> None:
    x = tg.randn(3, 2)
    calls: list[Any] = [lambda v: np.argsort(v), lambda v: np.argmin(v, 1), lambda v: np.argmax(v)]
    for call in calls:
        np.testing.assert_array_equal(call(x).numpy(), call(x.numpy()))
    unsigned = tg.tensor(np.array([3, 1, 2], np.uint8))
    assert (unsigned.argmin().item(), unsigned.amin().item(), unsigned.min(0).values.item()) == (1, 1, 1)

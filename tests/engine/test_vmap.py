"""`vmap`: one call per sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg


def test_gradients_per_sample() -> None:
    w, x = tg.randn(3), tg.randn(5, 3)
    loss = lambda w, x: ((x @ w) ** 2).sum()  # noqa: E731
    found = tg.vmap(tg.grad(loss), in_dims=(None, 0))(w, x)
    np.testing.assert_allclose(found.numpy(), (2 * (x @ w).unsqueeze(1) * x).numpy(), rtol=1e-5)


def test_dimensions_and_containers() -> None:
    x, y = tg.randn(4, 3), tg.randn(3, 4, 2)
    result = tg.vmap(lambda pair: {"sum": pair[0].sum() + pair[1].sum(), "row": pair[1]}, in_dims=0)((x, y[0]))
    assert result["sum"].shape == (4,)
    assert tg.vmap(lambda a, b: a * b, in_dims=(0, 1), out_dims=1)(x[:, 0], y).shape == (3, 4, 2)
    np.testing.assert_array_equal(tg.vmap(lambda a: a * 2, in_dims=1, out_dims=1)(y).numpy(), (y * 2).numpy())


def test_is_differentiable() -> None:
    tg.gradcheck(lambda x: tg.vmap(tg.grad(lambda v: (v**3).sum()))(x), tg.randn(3, 2))


def test_control_flow_on_values() -> None:
    assert tg.vmap(lambda v: v if v > 0 else -10 * v)(tg.tensor([1.0, -2.0])).tolist() == [1.0, 20.0]


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("must have as many samples", lambda: tg.vmap(lambda a, b: a)(tg.ones(2), tg.ones(3))),
        ("must have as many samples", lambda: tg.vmap(lambda a: a, in_dims=None)(tg.ones(2))),
        ("in_dims=.* has 1 entries for 2", lambda: tg.vmap(lambda a, b: a, in_dims=(0,))(tg.ones(2), tg.ones(2))),
        ("there are no samples", lambda: tg.vmap(lambda a: a)(tg.ones(0))),
        ("must have as many samples", lambda: tg.vmap(lambda a: a)((tg.ones(2), tg.ones(3)))),
    ],
)
def test_messages(message: str, call: Any) -> None:
    with pytest.raises(ValueError, match=f"vmap: .*{message}"):
        call()

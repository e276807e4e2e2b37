"""The worked example of an operation of one's own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_seq as tg
from examples import custom_op

from .engine.strict_backend import installed, is_on_device


@given(T=st.integers(0, 5), features=st.integers(0, 3), reverse=st.booleans())
def test_equals_the_composition(T: int, features: int, reverse: bool) -> None:
    a, x = tg.randn(T, features), tg.randn(T, features)
    y = [tg.zeros(features)]
    for a_t, x_t in zip(*[v.flip(0) if reverse else v for v in (a, x)], strict=True):
        y.append(a_t * y[-1] + x_t)
    found = custom_op.linear_scan(a, x, reverse=reverse)
    np.testing.assert_array_equal(
        found.numpy(), np.array([v.numpy() for v in y[:0:-1] if reverse] or [v.numpy() for v in y[1:]]).reshape(a.shape)
    )


@given(T=st.integers(1, 5), reverse=st.booleans())
def test_every_derivative(T: int, reverse: bool) -> None:
    a, x = tg.randn(T, 2), tg.randn(T, 2)
    f = lambda a, x: custom_op.linear_scan(a, x, reverse=reverse)  # noqa: E731
    tg.gradcheck(f, (a, x))
    tg.gradgradcheck(f, (a, x))
    tangents = (tg.randn(T, 2), tg.randn(T, 2))
    _, directional = tg.jvp(f, (a, x), tangents)
    J = tg.jacobian(f, argnums=(0, 1))(a, x)
    wanted = sum((J[i].reshape(2 * T, 2 * T) @ tangents[i].reshape(-1) for i in (0, 1)), start=tg.zeros(2 * T))
    np.testing.assert_allclose(directional.reshape(-1).numpy(), wanted.numpy(), rtol=1e-3, atol=1e-5)


def test_works_on_any_backend() -> None:
    with installed():
        x = tg.ones(3, 2, device="cuda", requires_grad=True)
        custom_op.linear_scan(x, x).sum().backward()
        assert x.grad is not None
        assert is_on_device(x.grad.array)


def test_program(capsys: pytest.CaptureFixture[str]) -> None:
    custom_op.main()
    shown = capsys.readouterr().out
    assert "right" in shown
    assert "[0.9, 0.5]" in shown

"""Clipping gradients, and parameters as a vector."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg

from .test_optim import close, leaf


def gradients(size: float) -> list[Any]:
    rng = np.random.default_rng(0)
    return [size * rng.standard_normal((3, 4)), size * rng.standard_normal(5), None]


def with_gradients(size: float) -> list[tg.Tensor]:
    parameters = []
    for g in gradients(size):
        p = tg.zeros(*(() if g is None else g.shape), dtype=tg.float64, requires_grad=True)
        p.grad = None if g is None else tg.tensor(g)
        parameters.append(p)
    return parameters


@pytest.mark.parametrize("norm_type", [2.0, 1, 3.0, 0.5, math.inf, "inf"])
@pytest.mark.parametrize("size", [0.01, 10.0])
def test_clipping_by_length(torch: Any, size: float, norm_type: Any) -> None:
    ours = with_gradients(size)
    theirs = [torch.zeros(p.shape, requires_grad=True) for p in ours]
    for q, g in zip(theirs, gradients(size), strict=True):
        q.grad = None if g is None else torch.tensor(g)
    mine = nn.utils.clip_grad_norm_((p for p in ours), 2.0, norm_type)
    reference = torch.nn.utils.clip_grad_norm_(theirs, 2.0, norm_type)
    np.testing.assert_allclose(mine.item(), reference.item(), rtol=1e-13)
    for p, q in zip(ours, theirs, strict=True):
        if q.grad is not None:
            close(p.grad, q.grad)
    assert ours[2].grad is None


def test_clipping_by_value() -> None:
    parameters = with_gradients(10.0)
    nn.utils.clip_grad_value_(parameters, 0.5)
    for p, g in zip(parameters, gradients(10.0), strict=True):
        if p.grad is not None:
            np.testing.assert_array_equal(p.grad.numpy(), np.clip(g, -0.5, 0.5))


def test_lengths_that_are_not_finite() -> None:
    p, q = leaf(1.0), leaf(2.0)
    assert nn.utils.clip_grad_norm_([p], 1.0).item() == 0
    p.grad, q.grad = tg.tensor([1.0], dtype=tg.float64), tg.tensor([math.nan], dtype=tg.float64)
    with pytest.raises(RuntimeError, match="clip_grad_norm_: the gradients have length nan"):
        nn.utils.clip_grad_norm_([p, q], 1.0, error_if_nonfinite=True)
    assert p.grad is not None
    assert p.grad.tolist() == [1.0]
    nn.utils.clip_grad_norm_([p, q], 1.0)
    assert math.isnan(p.grad.item())


def test_clipping_keeps_each_dtype() -> None:
    parameters = [leaf(1.0), leaf(1.0, dtype=tg.float32)]
    for p in parameters:
        p.grad = tg.full((1,), 3.0, dtype=p.dtype)
    nn.utils.clip_grad_norm_(parameters, 1.0)
    assert [p.grad.dtype for p in parameters if p.grad is not None] == [tg.float64, tg.float32]


def test_parameters_as_a_vector() -> None:
    layer = nn.Linear(3, 2)
    vector = nn.utils.parameters_to_vector(layer.parameters())
    assert vector.shape == (8,)
    vector.sum().backward()
    assert layer.weight.grad is not None
    other = nn.Linear(3, 2)
    weight = other.weight
    nn.utils.vector_to_parameters(vector, other.parameters())
    assert other.weight is weight
    for p, q in zip(layer.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())


def test_each_parameter_counts_once() -> None:
    p = leaf(1.0)
    p.grad = tg.tensor([3.0], dtype=tg.float64)
    assert nn.utils.clip_grad_norm_(iter([p, p]), 1.0).item() == 3
    assert p.grad is not None
    np.testing.assert_allclose(p.grad.numpy(), [1.0], rtol=1e-6)


@pytest.mark.parametrize("name", ["clip_grad_norm_", "clip_grad_value_"])
def test_an_exhausted_generator_is_told(name: str) -> None:
    parameters = nn.Linear(1, 1).parameters()
    assert len(list(parameters)) == 2
    with pytest.warns(UserWarning, match=f"{name}: the parameters are a generator without any left"):
        getattr(nn.utils, name)(parameters, 1.0)

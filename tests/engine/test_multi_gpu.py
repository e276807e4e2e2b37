"""Programs on two GPUs, of which one is the current one: each operation runs where its operands are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import nn.functional as F
import tinygrad_seq as tg

from . import host_kernels
from .strict_array import captured, current
from .strict_backend import installed, stand_in_only
from .training import trained

pytestmark = stand_in_only


@pytest.fixture(autouse=True)
def gpus() -> Iterator[Any]:
    with installed(2) as backend:
        yield backend
        assert current == [0]
    assert not captured


def on_second(numbers: Any, **settings: Any) -> tg.Tensor:
    return tg.tensor(numbers, device="cuda:1", **settings)


MADE: list[Any] = [
    lambda x: x * 2.0 + x.softmax(-1) @ x.T,
    lambda x: x[[0]] + x[:, :1] + tg.tril(x) + F.pad(x, (1, 0))[:, :2],
    lambda x: x.gather(1, on_second([[0], [1]])) + x.sort(0).values + x.max(0).values,
    lambda x: F.one_hot(x.long(), 5).float().sum(-1) + x.scatter(0, on_second([[1, 0]]), 2.0),
    lambda x: tg.where(x > 1.0, x, 0.0) + tg.rand_like(x) * 0.0 + tg.zeros_like(x) + tg.randn_like(x) * 0.0,
    lambda x: x.clone() + x.detach() + tg.cat([x, x])[:2] + tg.as_tensor(x.array) + tg.full_like(x, 2.0),
    lambda x: x.cumsum(0) + tg.einsum("ij,kj->ik", x, x) + x.unique().sum() + x.multinomial(1, True) * 0.0,
    lambda x: tg.tensor(x, dtype=tg.float64).float() ** x,
]


@pytest.mark.parametrize("f", MADE)
def test_operations_run_where_their_operands_are(f: Any) -> None:
    x = on_second([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = f(x)
    assert y.device == "cuda:1"
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.device == "cuda:1"


def test_devices_do_not_mix() -> None:
    x, y = on_second([1.0, 2.0]), tg.ones(2, device="cuda")
    with pytest.raises(RuntimeError, match=r"add: operands are on cuda:0 and cuda:1; move one with \.to\('cuda:1'\)"):
        x + y
    with pytest.raises(RuntimeError, match=r"copy_: operands are on cuda:1 and cuda:0; move one"):
        x.copy_(y)
    with pytest.raises(RuntimeError, match=r"assigning to an index: operands are on cuda:1 and cuda:0"):
        x[0] = y[0]


def test_a_graph_may_go_from_one_to_the_other() -> None:
    x = tg.tensor([1.0, 2.0], device="cuda", requires_grad=True)
    there = (x * x).to("cuda:1")
    loss = (there.exp() * there).sum() + (there.to("cuda:0") * x).to("cuda:1").sum()
    loss.backward()
    assert x.grad is not None
    assert x.grad.device == "cuda:0"
    here = tg.tensor([1.0, 2.0], requires_grad=True)
    y = here * here
    ((y.exp() * y).sum() + (y * here).sum()).backward()
    assert here.grad is not None
    np.testing.assert_allclose(x.grad.tolist(), here.grad.tolist(), rtol=1e-6)
    twice = tg.grad(lambda x: tg.grad(lambda x: (x.to("cuda:1") ** 3).sum())(x).sum())(tg.ones(2, device="cuda"))
    assert twice.tolist() == [6, 6]


def test_the_current_one_is_that_of_the_block() -> None:
    x = tg.ones(2, device="cuda")
    with tg.device("cuda:1"):
        assert tg.ones(2).device == "cuda:1"
        assert (x * 2.0).device == "cuda:0"
        assert tg.cuda.current_device() == 1
    assert tg.cuda.current_device() == 0
    with pytest.raises(RuntimeError, match="'cuda:2': there is none"):
        x.to("cuda:2")


@pytest.mark.skipif(host_kernels.COMPILER is None, reason="no g++, which stands in for a GPU's compiler here")
@pytest.mark.parametrize("compiled", [False, True])
def test_training_on_the_second_gpu(compiled: bool) -> None:
    losses = []
    for device in ("cpu", "cuda:1"):
        found, model = trained("LSTM", device, compiled=compiled)
        losses.append(found)
        assert all(p.device == device and p.grad is not None and p.grad.device == device for p in model.parameters())
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)

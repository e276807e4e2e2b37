"""requires_grad switched off and on again: the gradient, hooks and the place in graphs stay."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

import nn
import tinygrad_seq as tg


@pytest.mark.parametrize("way", ["requires_grad_", "requires_grad", "detach_"])
def test_frozen_and_unfrozen(way: str) -> None:
    p, calls = tg.ones(2, requires_grad=True), []
    p.register_hook(lambda g: calls.append(g.tolist()))
    before = (p * 2.0).sum()
    (p * 3.0).sum().backward()
    if way == "requires_grad_":
        p.requires_grad_(False)
    elif way == "requires_grad":
        p.requires_grad = False
    else:
        p.detach_()
    assert p.grad is not None
    assert p.grad.tolist() == [3.0, 3.0]
    assert not (p * 2.0).requires_grad
    p.requires_grad_(True)
    (p * 3.0).sum().backward()
    before.backward()  # a graph from before leads to the same leaf
    assert p.grad.tolist() == [8.0, 8.0]
    assert calls == [[3.0, 3.0], [3.0, 3.0], [2.0, 2.0]]


def test_while_frozen_no_gradient_is_left() -> None:
    p, q = tg.ones(2, requires_grad=True), tg.ones(2, requires_grad=True)
    y = (p * q).sum()
    p.requires_grad_(False)
    y.backward()
    assert p.grad is None
    assert q.grad is not None


def test_a_frozen_gradient_can_be_cleared_and_set() -> None:
    p = tg.ones(2, requires_grad=True)
    p.sum().backward()
    p.requires_grad_(False)
    p.grad = tg.zeros(2)
    assert p.grad.tolist() == [0.0, 0.0]
    p.grad = None
    assert p.grad is None
    m = nn.Linear(2, 1)
    m(tg.ones(2)).sum().backward()
    m.requires_grad_(False)
    assert m.weight.grad is not None
    m.zero_grad()
    assert m.weight.grad is None


def test_copies_of_frozen_tensors_have_their_gradients() -> None:
    p = nn.Parameter(tg.ones(2))
    p.sum().backward()
    p.requires_grad_(False)
    for other in (copy.deepcopy(p), pickle.loads(pickle.dumps(p))):
        assert not other.requires_grad
        assert other.grad is not None
        assert other.grad.tolist() == [1.0, 1.0]


def test_other_numbers_while_frozen() -> None:
    p = tg.ones(2, requires_grad=True)
    p.sum().backward()
    p.requires_grad_(False)
    p.data = tg.zeros(2, dtype=tg.float64)
    p.requires_grad_(True)
    (p * 2.0).sum().backward()
    assert p.grad is not None
    assert p.grad.dtype == tg.float64
    assert p.grad.tolist() == [3.0, 3.0]


def test_a_result_detached_in_place_keeps_what_it_retained_and_not_its_graph() -> None:
    x = tg.ones(2, requires_grad=True)
    y = x * 2.0
    y.retain_grad()
    y.sum().backward()
    y.detach_()
    assert y.is_leaf
    assert y.grad is not None
    assert y.grad.tolist() == [1.0, 1.0]
    y.requires_grad_()
    (y * 3.0).sum().backward()
    assert y.grad.tolist() == [4.0, 4.0]
    assert x.grad is not None
    assert x.grad.tolist() == [2.0, 2.0]


def test_a_frozen_parameter_goes_on_in_an_optimizer() -> None:
    m = nn.Linear(2, 1, bias=False)
    optimizer = nn.optim.SGD(m.parameters(), lr=0.1)
    for trained in (True, False, True):
        m.requires_grad_(trained)
        optimizer.zero_grad()
        before = m.weight.tolist()
        y = m(tg.ones(2)).sum()
        if trained:
            y.backward()
        optimizer.step()
        assert (m.weight.tolist() != before) == trained


def test_a_frozen_tensor_that_becomes_a_result_in_place_keeps_its_gradient() -> None:
    x, w = tg.ones(2, requires_grad=True), tg.full((2,), 2.0, requires_grad=True)
    (x * 3).sum().backward()
    x.requires_grad_(False)
    x.add_(w)
    assert not x.is_leaf
    (x * x).sum().backward(retain_graph=True)
    assert numbers(x.grad) == [3.0, 3.0]
    assert numbers(w.grad) == [6.0, 6.0]
    x.retain_grad()
    (x * x).sum().backward()
    assert numbers(x.grad) == [9.0, 9.0]
    x.grad = None
    assert x.grad is None


def numbers(x: tg.Tensor | None) -> Any:
    return None if x is None else x.tolist()

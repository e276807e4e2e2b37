"""`tg.autograd.grad` and `backward`: of several outputs, by several inputs, results among them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
import tinygrad_seq.autograd
from tinygrad_seq.autograd import backward, grad

module: Any = tinygrad_seq.autograd


def double(*shape: int) -> Any:
    return tg.randn(*shape, dtype=tg.float64, requires_grad=True)


def test_grad() -> None:
    x, w = tg.tensor([1.0, 2.0], requires_grad=True), tg.tensor([3.0, 4.0], requires_grad=True)
    h = x * w
    loss = (h * h).sum()
    assert [g.tolist() for g in grad(loss, [x, w], retain_graph=True)] == [[18, 64], [6, 32]]
    assert x.grad is None
    # a result and what it was computed from
    found = grad(loss, (h, x, w), retain_graph=True)
    assert [g.tolist() for g in found] == [[6, 16], [18, 64], [6, 32]]
    assert [g.tolist() for g in grad(loss, [x, x])] == [[18, 64]] * 2
    with pytest.raises(RuntimeError, match="freed"):
        grad(loss, x)
    (g,) = grad((x * w).sum() + x.sum(), x)
    assert g.tolist() == [4, 5]
    both = grad([x * 2, (w * 3).sum()], [x, w], grad_outputs=[tg.tensor([1.0, 10.0]), None])
    assert [g.tolist() for g in both] == [[2, 20], [3, 3]]


def test_gradients_have_memory_of_their_own() -> None:
    x, w = tg.ones(2, requires_grad=True), tg.ones(2, requires_grad=True)
    seed = tg.ones(2)
    a, b = grad(x + w, [x, w], grad_outputs=seed)
    a.mul_(5)
    assert seed.tolist() == [1, 1]
    assert b.tolist() == [1, 1]


def test_grad_of_what_was_not_used() -> None:
    x, w = tg.ones(2, requires_grad=True), tg.ones(2, requires_grad=True)
    y = (x * x).sum()
    with pytest.raises(RuntimeError, match="input 1 was not used for the outputs; pass allow_unused=True"):
        grad(y, [x, w], retain_graph=True)
    assert grad(y, [x, w], retain_graph=True, allow_unused=True)[1] is None
    assert grad(y, [x, w], materialize_grads=True)[1].tolist() == [0, 0]
    for outputs, inputs, message in (
        (y, tg.ones(2), "input 0 requires no gradient"),
        (y, 3, "not iterable|input 0 is"),
        (tg.ones(1), x, "output 0 requires no gradient"),
    ):
        with pytest.raises((RuntimeError, TypeError), match=message):
            grad(outputs, inputs)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="1 outputs and gradients for 2"):
        grad((x * 2).sum(), x, grad_outputs=[None, None])


def test_a_gradient_penalty() -> None:
    w = double(3, 3)
    x = double(2, 3)

    def penalty(w: Any) -> Any:
        with tg.enable_grad():
            (g,) = grad((x @ w).tanh().sum(), x, create_graph=True)
        return ((g**2).sum(1).sqrt() - 1) ** 2

    assert tg.gradcheck(penalty, w)


def test_backward_of_several() -> None:
    x = tg.ones(2, requires_grad=True)
    h = x * 2
    backward([h.sum(), h * 3], [None, tg.tensor([1.0, 2.0])])
    assert x.grad is not None
    assert x.grad.tolist() == [8, 14]
    backward((x * 1.0).sum())
    assert x.grad.tolist() == [9, 15]


def test_backward_is_that_of_tensors() -> None:
    def gradients(several: bool, way: str, **settings: Any) -> list[Any]:
        x, seed = tg.tensor([1.0, 2.0], requires_grad=True), tg.tensor([3.0, 4.0], requires_grad=True)
        y, z = x * x, (x**3).sum()
        with tg.no_grad() if way == "no_grad" else tg.enable_grad():
            for _ in range(2):
                if several:
                    backward([y, z, y], [seed, None, np.ones(2)], retain_graph=True, **settings)
                else:
                    for root, arrives in ((y, seed), (z, None), (y, np.ones(2))):
                        root.backward(arrives, retain_graph=True, **settings)
        assert seed.grad is None
        found: Any = x.grad
        assert found.requires_grad == bool(settings)
        if not settings:
            return [found.tolist()]
        return [found.tolist(), *[g.tolist() for g in grad((found * found).sum(), [x, seed])]]

    expected = 2 * np.array([2 * 1 * 3 + 3 + 2, 2 * 2 * 4 + 3 * 4 + 4])
    for several in (False, True):
        for way in ("no_grad", "grad"):
            assert gradients(several, way)[0] == expected.tolist()
            found = gradients(several, way, create_graph=True)
            assert found[0] == expected.tolist()
            # 2 g (2 (2 s + 6 x + 2)) and 2 g (2 (2 x)), for g = 2 (2 x s + 3 x² + 2 x)
            np.testing.assert_allclose(found[1], 2 * expected * 2 * np.array([2 * 3 + 6 + 2, 2 * 4 + 12 + 2]))
            np.testing.assert_allclose(found[2], 2 * expected * 2 * np.array([2, 4]))


def test_the_cost_of_grad_is_linear_in_its_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    order = module.topological_order
    looked_at: list[int] = []

    def counted(*args: Any) -> Any:
        found = order(*args)
        looked_at.append(len(found))
        return found

    monkeypatch.setattr(module, "topological_order", counted)
    states = [tg.tensor(1.0, requires_grad=True)]
    for _ in range(50):
        states.append(states[-1] * 2)
    found = grad(states[-1], states)
    assert [g.item() for g in found] == [2.0**k for k in range(50, -1, -1)]
    assert sum(looked_at) <= 51
    looked_at.clear()
    leaves = [tg.tensor(1.0, requires_grad=True) for _ in range(50)]
    assert [g.item() for g in grad(sum(leaves[1:], leaves[0]), leaves)] == [1.0] * 50
    assert sum(looked_at) <= 50


def test_grad_by_what_was_freed() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    h = x * x
    h.sum().backward()
    k = h * 3
    loss = (k * 2).sum()
    for inputs, expected in ((h, [[6, 6]]), (k, [[2, 2]]), ([k, h], [[2, 2], [6, 6]])):
        assert [g.tolist() for g in grad(loss, inputs, retain_graph=True)] == expected
    for settings in ({}, {"allow_unused": True}, {"materialize_grads": True}):
        with pytest.raises(RuntimeError, match=r"others may lie behind it; pass retain_graph=True"):
            grad(loss + x.sum(), [h, x], retain_graph=True, **settings)
        with pytest.raises(RuntimeError, match="freed by an earlier backward pass"):
            grad(loss, [k, x], retain_graph=True, **settings)

"""What the graph saves: no more than rules ask for, freed by the sweep, and noticed where it is changed in place."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from tinygrad_seq.graph import FunctionNode

from .test_backward import leaf


def test_saved_arrays_are_freed_as_the_sweep_passes() -> None:
    x = leaf(1000)
    seen: list[int] = []
    alive: list[weakref.ref[Any]] = []

    @tg.primitive
    def spy(x: Any) -> Any:
        """x, and in the backward pass a count of the arrays that are still there."""
        return x * 1.0

    def count(g: Any, *_: Any) -> Any:
        seen.append(sum(r() is not None for r in alive))
        return g

    spy.vjp(count)
    y = spy(x)
    for _ in range(10):
        y = y.exp().tanh()
        alive.append(weakref.ref(y.array))
    y = y.sum()
    y.backward()
    assert seen == [0]


def test_only_what_a_rule_asks_for_is_kept() -> None:
    x, w = leaf(3), tg.ones(3, dtype=tg.float64)
    total = (x + w).node
    assert isinstance(total, FunctionNode)
    assert total.output is None
    assert total.inputs[0] is x.node, "add needs no values"
    product = (x * w).node
    assert isinstance(product, FunctionNode)
    assert product.inputs[0] is x.node, "the gradient by x needs w, not x"
    assert product.inputs[1] is w.array
    kept = (w + x).node.inputs[0]  # type: ignore[union-attr]
    assert kept is not w.array, "of a constant that no rule reads, the shape is enough"
    assert kept.shape == (3,)


@pytest.mark.parametrize("change", ["add_", "copy_", "index", "view", "alias", "detached"])
def test_a_saved_array_changed_in_place_is_noticed(change: str) -> None:
    w = leaf(4)
    x = tg.ones(4, dtype=tg.float64)
    y = (w * x).sum()
    if change == "add_":
        x.add_(1.0)
    elif change == "copy_":
        x.copy_(2.0)
    elif change == "index":
        x[1] = 7.0
    elif change == "view":
        x.reshape(2, 2)[0].fill_(3.0)
    elif change == "alias":
        x.data.mul_(2.0)
    else:
        x.detach().zero_()
    with pytest.raises(RuntimeError, match=r"an input of 'mul', of shape \(4,\), was changed in place"):
        y.backward()


@pytest.mark.host("NumPy's arrays beside tensors")
def test_arrays_that_others_can_write_to_are_copied() -> None:
    w = leaf(3)
    for make in (lambda a: a, tg.from_numpy, tg.as_tensor, lambda a: tg.from_numpy(a)[:], tg.from_dlpack):
        a = np.ones(3)
        y = (w * make(a)).sum()
        a[:] = 9.0
        w.grad = None
        y.backward()
        assert w.grad is not None
        assert w.grad.tolist() == [1, 1, 1]


def test_a_parameter_updated_before_backward_is_noticed() -> None:
    w, x = leaf(3, 3), leaf(3, 3)
    y = (x @ w.T).sum()
    with tg.no_grad():
        w -= 0.1
    with pytest.raises(RuntimeError, match="'matmul'"):
        y.backward()


def test_what_was_not_kept_may_change() -> None:
    w = leaf(3)
    x = tg.ones(3, dtype=tg.float64)
    y = (w + x).sum()
    x.add_(1.0)
    y.backward()


def test_a_leaf_cannot_be_changed_while_recording() -> None:
    w = leaf(3)
    with pytest.raises(RuntimeError, match="leaf that requires a gradient"):
        w += 1.0
    whole = w * 1.0
    view = whole[:2]
    with pytest.raises(RuntimeError, match=r"mul_: this tensor shares memory with another.*clone\(\)"):
        whole.mul_(2.0)
    view.mul_(2.0)
    assert whole.tolist() == [*view.tolist(), w[2].item()]


def test_read_only_memory_is_not_written() -> None:
    with pytest.raises(RuntimeError, match=r"add_: the memory of this tensor is read-only.*clone\(\)"):
        tg.ones(3, 1).expand(3, 4).add_(1.0)


def test_in_place_on_a_result_is_recorded() -> None:
    w = leaf(3)
    y = w * 2.0
    y += w
    y.mul_(w)
    y.sum().backward()
    assert w.grad is not None
    np.testing.assert_allclose(w.grad.numpy(), 6 * w.detach().numpy())


def test_what_can_be_written_to() -> None:
    x = tg.zeros(2, 3)
    assert all(y.is_writable() for y in (x, x.T, x[:, :2], tg.zeros(0, 3)))
    assert not x[:1].expand(2, 3).is_writable()

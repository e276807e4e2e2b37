"""Whose memory a gradient is in: a tensor's own, which later gradients are added to, as in PyTorch."""

from collections.abc import Callable
from typing import Any

import pytest

import nn
import tinygrad_seq as tg
from nn import optim
from tinygrad_seq import Tensor


def leaf() -> Tensor:
    return tg.ones(3, requires_grad=True)


@pytest.mark.parametrize("keep", [lambda g: g, lambda g: g[:2], lambda g: g.detach()], ids=["it", "a part", "detached"])
@pytest.mark.parametrize("returned", [False, True])
@pytest.mark.parametrize("of", [lambda w: w, lambda w: w.clone(), lambda w: w * 1], ids=["leaf", "copy", "result"])
def test_what_a_hook_keeps_stays(
    keep: Callable[[Tensor], Tensor], returned: bool, of: Callable[[Tensor], Tensor]
) -> None:
    w, kept = leaf(), []

    def hook(g: Tensor) -> Tensor | None:
        kept.append(keep(g))
        return g if returned else None

    y = of(w)
    y.register_hook(hook)
    (y * 2).sum().backward()
    assert w.grad is not None
    w.grad.zero_()
    assert kept[0].tolist() == [2.0] * len(kept[0])


def test_what_a_hook_gives_stays() -> None:
    w, given = leaf(), tg.full((3,), 7.0)
    w.register_hook(lambda g: given)
    w.sum().backward()
    assert w.grad is not None
    w.grad.zero_()
    assert given.tolist() == [7.0] * 3


def test_a_hook_may_change_what_arrives() -> None:
    w = leaf()
    w.register_hook(lambda g: g.mul_(2.0))
    (w * 3).sum().backward()
    assert w.grad is not None
    assert w.grad.tolist() == [6.0] * 3


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_retained_gradient_is_a_copy(create_graph: bool) -> None:
    w = leaf()
    y = w.view(3)
    z = y + 0
    for result in (y, z):
        result.retain_grad()
    z.sum().backward(create_graph=create_graph)
    assert w.grad is not None
    assert y.grad is not None
    assert z.grad is not None
    w.grad.detach().zero_()
    y.grad.detach().add_(1.0)
    assert (y.grad.tolist(), z.grad.tolist()) == ([2.0] * 3, [1.0] * 3)


@pytest.mark.parametrize("create_graph", [False, True])
def test_leaves_do_not_share_gradients(create_graph: bool) -> None:
    w, u = leaf(), leaf()
    (w + u).sum().backward(create_graph=create_graph)
    a, b = tg.autograd.grad((w + u).sum(), [w, u], create_graph=create_graph)
    assert w.grad is not None
    assert u.grad is not None
    w.grad.detach().zero_()
    a.detach().zero_()
    assert u.grad.tolist() == b.tolist() == [1.0] * 3


def test_a_function_gives_copies_of_what_it_keeps() -> None:
    constant = tg.full((3,), 4.0)

    class Both(tg.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return (x * y).sum()

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            return constant, ctx.saved_tensors[0]

    x, y = leaf(), leaf()
    Both.apply(x, y).backward()
    assert x.grad is not None
    assert y.grad is not None
    x.grad.zero_()
    y.grad.zero_()
    assert (constant.tolist(), x.tolist()) == ([4.0] * 3, [1.0] * 3)


def test_gradients_of_means_can_be_written_to() -> None:
    w = leaf()
    w.mean().backward()
    assert w.grad is not None
    w.grad[0] = 5.0
    w.sum().backward()
    assert w.grad[0].item() == 6.0


@pytest.mark.parametrize("create_graph", [False, True])
def test_backward_to_some_leaves(create_graph: bool) -> None:
    w, u = leaf(), leaf()
    loss = (w * w * u).sum()
    loss.backward(inputs=[w], retain_graph=True, create_graph=create_graph)
    assert u.grad is None
    loss.backward(inputs=w, create_graph=create_graph)
    assert w.grad is not None
    assert w.grad.tolist() == [4.0] * 3
    with pytest.raises(RuntimeError, match="backward: inputs are leaves that require a gradient, got a result"):
        loss.backward(inputs=[w * 2])


def test_gradients_are_added_in_place() -> None:
    buffer = tg.zeros(5)
    w, u = leaf(), tg.ones(2, requires_grad=True)
    w.grad, u.grad = buffer[:3], buffer[3:]
    for _ in range(2):
        ((w * 2).sum() + (u * u).sum()).backward()
    assert buffer.tolist() == [4.0] * 5
    (w * w).sum().backward(create_graph=True)
    assert buffer.tolist() == [4.0] * 5, "a recorded sum is a new tensor"


@pytest.mark.parametrize("zero", ["module", "optimizer"])
def test_zeros_and_clipping_are_in_place(zero: str) -> None:
    layer = nn.Linear(2, 1, bias=False)
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    layer.weight.grad = held = tg.tensor([[3.0, 4.0]])
    nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
    assert held.tolist()[0] == pytest.approx([0.6, 0.8], rel=1e-5)
    nn.utils.clip_grad_value_(layer.parameters(), 0.5)
    assert held.tolist() == [[0.5, 0.5]]
    (optimizer if zero == "optimizer" else layer).zero_grad(set_to_none=False)
    assert held.tolist() == [[0.0, 0.0]]
    assert layer.weight.grad is held

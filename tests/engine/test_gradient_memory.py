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


def test_a_copy_of_a_leaf_is_none() -> None:
    source = tg.tensor([3.0, 4.0], requires_grad=True)
    copied = tg.zeros(2)
    copied.copy_(source)
    assert not copied.is_leaf
    (copied * copied).sum().backward()
    assert source.grad is not None
    assert (source.grad.tolist(), copied.grad) == ([6.0, 8.0], None)
    with tg.no_grad():
        source.zero_()
    assert copied.tolist() == [3.0, 4.0]


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("returned", ["constant", "input", "result"])
def test_a_rule_keeps_what_it_returns(returned: str, create_graph: bool) -> None:
    """A primitive's gradient may be an array of somebody else's, which later ones are not added to."""
    constant = tg.full((3,), 3.0)

    @tg.primitive
    def f(x: Any) -> Any:
        return x * 1

    f.vjp(
        lambda g, y, x: (
            (constant if create_graph else constant.array) if returned == "constant" else (x, y)[returned == "result"]
        )
    )
    w = tg.full((3,), 2.0, requires_grad=True)
    for n in (1.0, 2.0, 3.0):
        y = f(w)
        y.sum().backward(create_graph=create_graph)
        assert w.grad is not None
        assert w.grad.tolist() == [n * (3.0 if returned == "constant" else 2.0)] * 3
    nn.utils.clip_grad_value_([w], 0.5)
    assert (constant.tolist(), w.tolist(), y.tolist()) == ([3.0] * 3, [2.0] * 3, [2.0] * 3)


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("part", [lambda g: g, lambda g: g[1:], lambda g: g.view(3)], ids=["it", "a part", "a view"])
def test_what_a_function_keeps_of_a_gradient_stays(part: Callable[[Tensor], Tensor], create_graph: bool) -> None:
    kept: list[Tensor] = []

    class Look(tg.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 1

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            kept.append(part(g))
            return g

    w = leaf()
    for _ in range(2):
        (Look.apply(w) * 2).sum().backward(create_graph=create_graph)
    (given,) = tg.autograd.grad((Look.apply(w) * 2).sum(), [w], create_graph=create_graph)
    given.detach().zero_()
    assert w.grad is not None
    w.grad.detach().zero_()
    assert [x.tolist() for x in kept] == [[2.0] * len(kept[0])] * 3


def test_gradients_are_not_the_seed() -> None:
    seed, w = tg.ones(3), leaf()
    (w * 1).backward(seed)
    u = leaf()
    tg.autograd.backward([u * 1], [seed])
    (given,) = tg.autograd.grad(w * 1, w, seed)
    for g in (w.grad, u.grad, given):
        assert g is not None
        g.zero_()
    assert seed.tolist() == [1.0] * 3


def test_gradients_that_cannot_be_added_to_in_place() -> None:
    spread = tg.ones(1).expand(3)
    recorded = leaf() * 1.0
    for given in (spread, recorded):
        w = leaf()
        w.grad = given
        (w * 2).sum().backward()
        assert w.grad is not None
        assert w.grad.tolist() == [3.0] * 3
        assert given.tolist() == [1.0] * 3
    with pytest.raises(RuntimeError, match=r"cannot be its own gradient.*clone\(\)"):
        w.grad = w


@pytest.mark.parametrize("executor", ["numpy", None])
def test_a_program_does_not_add_to_a_gradient_that_others_see(executor: str | None) -> None:
    """It makes the sum anew: where a buffer, a view or another leaf should see it, that is refused, before a change."""
    w, u, buffer = leaf(), leaf(), tg.zeros(3)

    def f(x: Tensor) -> None:
        ((w + u) * x).sum().backward()

    compiled = tg.compile(f, executor=executor)
    for n in (1.0, 2.0):
        compiled(tg.ones(3))
        assert w.grad is not None
        assert w.grad.tolist() == [n] * 3
    for given in (buffer[:], u.grad):
        w.grad = given
        with pytest.raises(tg.CompileError, match="adds to a gradient whose memory another tensor shows"):
            compiled(tg.ones(3))
    assert buffer.tolist() == [0.0] * 3
    w.grad = None
    compiled(tg.ones(3))
    now: Any = w.grad
    assert now.tolist() == [1.0] * 3

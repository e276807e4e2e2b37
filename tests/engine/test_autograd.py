"""`tg.autograd`: gradients of outputs by inputs, and operations with a backward of their own."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from tinygrad_seq.autograd import Function, Variable, grad


class Exp(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (y,) = ctx.saved_tensors
        return g * y


class Cube(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return 3 * x**2 * g


class CubeKept(Cube):
    """With attributes in place of saved tensors."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.x = x
        return x**3

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return 3 * ctx.x**2 * g


class ExpKept(Exp):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.y = x.exp()
        return ctx.y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * ctx.y


class Linear(Function):
    """Several arguments, some of them no tensors; gradients only where they are wanted."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any = None, scale: float = 1.0) -> Any:
        ctx.save_for_backward(x, weight, bias)
        ctx.scale = scale
        y = x @ weight.T * scale
        return y if bias is None else y + bias

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        x, weight, bias = ctx.saved_tensors
        gx = gw = gb = None
        if ctx.needs_input_grad[0]:
            gx = g @ weight * ctx.scale
        if ctx.needs_input_grad[1]:
            gw = g.T @ x * ctx.scale
        if bias is not None and ctx.needs_input_grad[2]:
            gb = g.sum(0)
        return gx, gw, gb, None


class TopTwo(Function):
    """Several results, one of integers, one without a gradient."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        order = x.argsort()
        rest = x * 1.0
        ctx.mark_non_differentiable(rest)
        ctx.order, ctx.shape = order, x.shape
        return x[order[-1]], order, x[order[-2]] * 2, rest

    @staticmethod
    def backward(ctx: Any, first: Any, order: Any, second: Any, rest: Any) -> Any:
        assert not order.any()
        assert not rest.any()
        g = tg.zeros(ctx.shape, dtype=first.dtype)
        g[ctx.order[-1]] = first
        g[ctx.order[-2]] = second * 2
        return g


class Scaled(Function):
    @staticmethod
    def forward(x: Any, factor: float) -> Any:
        return x * factor

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.factor = inputs[1]

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * ctx.factor, None


class Reversed(Function):
    """A gradient that turns its sign; the result is the argument itself."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return -g


class ReversedView(Reversed):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x.view_as(x)


def double(*shape: int) -> tg.Tensor:
    return tg.randn(*shape, dtype=tg.float64, requires_grad=True)


@pytest.mark.parametrize("function", [Exp, ExpKept, Cube, CubeKept])
def test_gradients_of_any_order(function: Any) -> None:
    x = double(3)
    assert tg.gradcheck(function.apply, x)
    assert tg.gradgradcheck(function.apply, x)
    known = (lambda x: x.exp()) if function in (Exp, ExpKept) else (lambda x: x**3)
    thirds = []
    for f in (function.apply, known):
        (g,) = grad(f(x).sum(), x, create_graph=True)
        (gg,) = grad((g * g).sum(), x, create_graph=True)
        (ggg,) = grad(gg.sum(), x)
        thirds.append(ggg.numpy())
    np.testing.assert_allclose(thirds[0], thirds[1], rtol=1e-12)


def test_several_arguments() -> None:
    x, w, b = double(5, 3), double(2, 3), double(2)
    assert tg.gradcheck(lambda x, w, b: Linear.apply(x, w, b, 2.0), (x, w, b))
    assert tg.gradgradcheck(lambda x, w, b: Linear.apply(x, w, b, 2.0), (x, w, b))
    Linear.apply(x.detach(), w, None).sum().backward()
    assert w.grad is not None
    assert x.grad is None
    assert not Linear.apply(x.detach(), w.detach()).requires_grad
    with tg.no_grad():
        assert not Linear.apply(x, w).requires_grad


def test_several_results() -> None:
    x = tg.tensor([1.0, 4.0, 3.0], requires_grad=True)
    first, order, second, rest = TopTwo.apply(x)
    assert order.tolist() == [0, 2, 1]
    assert [y.requires_grad for y in (first, order, second, rest)] == [True, False, True, False]
    (first * 3 + second).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 3, 2]
    first, *_ = TopTwo.apply(x)
    assert grad(first, x)[0].tolist() == [0, 1, 0]


@pytest.mark.parametrize("function", [Reversed, ReversedView])
def test_a_result_that_is_the_argument(function: Any) -> None:
    x = tg.ones(2, requires_grad=True)
    y = function.apply(x)
    assert y is not x
    (y * 3).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [-3, -3]
    assert x.requires_grad
    h = x * 2
    assert grad(function.apply(h).sum(), x)[0].tolist() == [-2, -2]
    with pytest.raises(RuntimeError, match="another tensor"):
        function.apply(h).mul_(2)


def test_setup_context() -> None:
    assert tg.gradcheck(lambda x: Scaled.apply(x, 3.0), double(4))


def test_a_saved_tensor_must_not_change() -> None:
    x = tg.ones(2, requires_grad=True)
    h = x * 1.0
    y = Cube.apply(h)
    with tg.no_grad():
        h.mul_(2)
    with pytest.raises(RuntimeError, match=r"an input of 'Cube', .* was changed in place"):
        y.sum().backward()
    y = Exp.apply(x)
    with tg.no_grad():
        y.mul_(2)
    with pytest.raises(RuntimeError, match=r"the output of 'Exp', .* was changed in place"):
        y.sum().backward()
    h = x * 1.0
    y = Reversed.apply(h * 1.0)
    y.sum().backward()


def test_mistakes_in_a_function_are_told() -> None:
    x = tg.ones(2, requires_grad=True)

    class Short(Function):
        @staticmethod
        def forward(ctx: Any, x: Any, n: int) -> Any:
            return x * n

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g

    class Misshapen(Exp):
        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g[:1].reshape(1, 1, 1).expand(2, 2, 2)[0, 0, 0].reshape(1).repeat(3)

    class NoTensor(Exp):
        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return 1.0

    class Dirty(Exp):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.mark_dirty(x)

    for cls, arguments, message in (
        (Short, (x, 2), r"Short\.backward returned 1 gradients for 2 arguments"),
        (Misshapen, (x,), r"rule of 'Misshapen' returned shape \(3,\) for an argument of shape \(2,\)"),
        (NoTensor, (x,), r"NoTensor\.backward returned a float"),
        (Dirty, (x,), "does not change its arguments"),
    ):
        with pytest.raises((RuntimeError, TypeError, ValueError, NotImplementedError), match=message):
            cls.apply(*arguments).sum().backward()
    with pytest.raises(RuntimeError, match=r"call Exp\.apply\(\.\.\.\)"):
        Exp()(x)
    with pytest.raises(NotImplementedError, match="forward: a Function has one"):
        Function.apply(x)


def test_a_function_lets_go_of_what_it_kept() -> None:
    x = tg.ones(2, requires_grad=True)
    gc.disable()
    try:
        h = x * 2
        kept = weakref.ref(h)
        y = Cube.apply(h)
        z = Exp.apply(y).sum()
        del h, y
        z.backward()
        del z
        assert kept() is None  # without the collector: nothing goes in circles
    finally:
        gc.enable()


def test_functions_inside_compile() -> None:
    w = tg.randn(3, requires_grad=True)

    def step(x: Any) -> Any:
        w.grad = None
        loss = (Cube.apply(x * w) + Exp.apply(w)).sum()
        loss.backward()
        return loss, w.grad

    compiled = tg.compile(step)
    for _ in range(3):
        x = tg.randn(3)
        for mine, other in zip(compiled(x), step(x), strict=True):
            np.testing.assert_allclose(mine.detach().numpy(), other.detach().numpy(), rtol=1e-5)


def test_variable() -> None:
    x = tg.ones(2)
    v = Variable(x, requires_grad=True)
    assert type(v) is tg.Tensor
    assert v.requires_grad
    assert not x.requires_grad
    assert not Variable(v * 2).requires_grad
    assert isinstance(x, Variable)
    assert not isinstance(3, Variable)
    Variable(x)[0] = 5.0
    assert x.tolist() == [5, 1]
    with pytest.raises(TypeError, match="takes a tensor, got a list"):
        Variable([1.0])  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match=r"with tg\.no_grad\(\)"):
        Variable(x, volatile=True)

"""The graph and the backward sweep: which gradients arrive, what it costs, and what goes wrong with which words."""

from __future__ import annotations

import asyncio
import gc
import threading
import tracemalloc
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg


def leaf(*shape: int) -> tg.Tensor:
    return tg.randn(*shape, dtype=tg.float64, requires_grad=True)


def test_a_long_chain_is_walked_and_dropped_without_recursion() -> None:
    x = tg.ones(1, requires_grad=True)
    y = x
    for _ in range(60_000):
        y = y + 1.0
    y.backward()
    assert x.grad is not None
    assert x.grad.item() == 1.0
    for _ in range(60_000):
        y = y * x
    del y  # a graph that no sweep has taken apart


def test_gradients_add_up_over_calls_and_uses() -> None:
    x = leaf(3)
    (x * x).sum().backward()
    first = x.grad
    (x + x + x[1]).sum().backward()
    assert first is not None
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), 2 * x.detach().numpy() + [2, 5, 2])
    assert first is x.grad, "it is added to in its memory"


def test_a_gradient_that_two_inputs_share_is_not_added_to_in_place() -> None:
    a, b = leaf(3), leaf(3)
    s = a + b  # hands the very same array to both
    (s + a + a).sum().backward()
    assert a.grad is not None
    assert b.grad is not None
    np.testing.assert_array_equal(a.grad.numpy(), [3, 3, 3])
    np.testing.assert_array_equal(b.grad.numpy(), [1, 1, 1])


def test_second_backward_says_what_to_do() -> None:
    x = leaf(2)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        y.backward()
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()


def test_a_stale_state_says_detach() -> None:
    w, h = leaf(2), tg.zeros(2, dtype=tg.float64)
    h = (h + w).tanh()
    h.sum().backward()
    with pytest.raises(RuntimeError, match=r"recurrent state.*state\.detach\(\)"):
        (h * w).sum().backward()
    (h.detach() * w).sum().backward()


def elements_made(f: Any) -> int:
    """The peak of memory that a call takes, in bytes, as a measure of its cost that does not depend on the clock."""
    gc.collect()
    tracemalloc.start()
    f()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("how", ["index", "unbind", "iterate"])
@pytest.mark.parametrize("order", [1, 2])
def test_cost_is_linear_in_the_length(how: str, order: int) -> None:
    work: list[int] = []

    def run(T: int) -> int:
        made = 0

        def counted(forward: Any) -> Any:
            def call(*args: Any, **params: Any) -> Any:
                nonlocal made
                y = forward(*args, **params)
                made += sum(part.size for part in (y if isinstance(y, tuple) else (y,)))
                return y

            return call

        from tinygrad_seq.ops.index import scatter_values

        x = leaf(T, 50)
        kept = scatter_values.forward
        scatter_values.forward = counted(kept)
        try:
            steps = [x[t] for t in range(T)] if how == "index" else list(x.unbind(0)) if how == "unbind" else list(x)
            h = steps[0]
            for s in steps[1:]:
                h = (h * s).tanh()
            h.sum().backward(create_graph=order == 2)
            if order == 2 and x.grad is not None:
                (x.grad * x.grad).sum().backward()
        finally:
            scatter_values.forward = kept
        return made

    work = [run(20), run(80)]
    assert work[1] <= 4.5 * work[0]


def test_memory_is_linear_in_the_length() -> None:
    def run(T: int) -> None:
        x = leaf(T, 2000)
        h = x[0]
        for t in range(1, T):
            h = (h * x[t]).tanh()
        h.sum().backward()

    assert elements_made(lambda: run(80)) <= 5 * elements_made(lambda: run(20))


def test_outputs_that_nothing_came_back_to_count_as_zero() -> None:
    x = leaf(4, 2)
    a, _, c, _ = x.unbind(0)
    (a * c).sum().backward()
    assert x.grad is not None
    v = x.detach().numpy()
    np.testing.assert_allclose(x.grad.numpy(), [v[2], [0, 0], v[0], [0, 0]])
    tg.gradgradcheck(lambda x: x.split([1, 3])[1].tanh().unbind(1)[0], x)


def test_hooks_see_and_replace_gradients() -> None:
    x: Any = leaf(3)
    seen: list[list[float]] = []

    def note(g: tg.Tensor) -> None:
        seen.append(g.tolist())

    y = x * 2.0
    first, second = x.unbind(0)[:2]
    y.register_hook(note)
    handle = x.register_hook(lambda g: g * 10.0)
    second.register_hook(lambda g: g * 5.0)
    ((y * y).sum() + first + second).backward()
    v = x.detach().numpy()
    np.testing.assert_allclose(seen, [4 * v])
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), 10 * (8 * v + [1, 5, 0]))
    handle.remove()
    handle.remove()
    x.grad = None
    (x * x).sum().backward(create_graph=True)
    np.testing.assert_allclose(x.grad.detach().numpy(), 2 * v)
    x.register_hook(lambda g: g[:2])
    with pytest.raises(RuntimeError, match=r"must return shape \(3,\) or None, got shape \(2,\)"):
        (x * x).sum().backward()
    with pytest.raises(RuntimeError, match="requires no gradient"):
        tg.ones(1).register_hook(note)


def test_grad_mode() -> None:
    x = leaf(2)
    with tg.no_grad():
        assert not (x * 2.0).requires_grad
        with tg.enable_grad():
            assert (x * 2.0).requires_grad
        assert not tg.is_grad_enabled()

    @tg.no_grad()
    def constant() -> tg.Tensor:
        return x * 2.0

    assert not constant().requires_grad
    assert not constant().requires_grad, "the decorator works once only"
    assert tg.is_grad_enabled()


def test_grad_mode_is_per_thread_and_per_task() -> None:
    seen: list[bool] = []
    with tg.no_grad():
        thread = threading.Thread(target=lambda: seen.append(tg.is_grad_enabled()))
        thread.start()
        thread.join()

    async def off() -> None:
        with tg.no_grad():
            await asyncio.sleep(0.01)

    async def look() -> None:
        await asyncio.sleep(0.005)
        seen.append(tg.is_grad_enabled())

    async def both() -> None:
        await asyncio.gather(off(), look())

    asyncio.run(both())
    assert seen == [True, True]


def test_backward_explains_itself() -> None:
    x = leaf(2)
    with pytest.raises(RuntimeError, match=r"takes a scalar, got shape \(2,\).*loss\.sum\(\)"):
        (x * x).backward()
    with pytest.raises(RuntimeError, match=r"has shape \(2,\), but gradient has shape \(3,\)"):
        (x * x).backward(tg.ones(3))
    with pytest.raises(RuntimeError, match="requires no gradient"):
        tg.ones(1).backward()
    with pytest.raises(TypeError, match=r"int64 carries no gradient.*\.float\(\)"):
        tg.tensor([1, 2], requires_grad=True)


def test_operands_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"add: cannot take shape \(2,\), shape \(3,\)"):
        tg.ones(2) + tg.ones(3)
    with pytest.raises(ValueError, match=r"matmul: cannot take shape \(2, 3\), shape \(2, 3\)"):
        tg.ones(2, 3) @ tg.ones(2, 3)
    with pytest.raises(TypeError, match=r"add: .*'x'"):
        tg.ones(2) + "x"
    with pytest.raises(IndexError, match=r"sum: dim=2 is out of range.*-2 to 1"):
        tg.ones(2, 3).sum(2)


def test_a_primitive_without_a_rule_says_so() -> None:
    half = tg.primitive(lambda a, b: a * b)
    half.vjp(lambda g, _y, _a, b: g * b, None)
    x = leaf(2)
    half(x, tg.ones(2)).sum().backward()
    with pytest.raises(NotImplementedError, match=r"with respect to argument 1; detach\(\)"):
        half(x, x).sum().backward()


def test_a_users_primitive_has_what_the_built_in_ones_have() -> None:
    @tg.primitive
    def swish(x: Any, *, beta: float) -> Any:
        """x · sigmoid(beta x)."""
        return x / (1 + tg.array_module(x).exp(-beta * x))

    swish.vjp(lambda g, y, x, beta: g * (beta * y + tg.sigmoid(beta * x) * (1.0 - beta * y)))
    tg.gradcheck(lambda x: swish(x, beta=1.5), tg.randn(3, 4))
    tg.gradgradcheck(lambda x: swish(x, beta=1.5), tg.randn(3, 4))
    assert repr(swish) == "<primitive swish>"
    assert swish.__doc__ == "x · sigmoid(beta x)."


def test_python_and_numpy_scalars_do_not_promote() -> None:
    x = tg.ones(3, requires_grad=True)
    y = (2 * x + np.float64(0.5)) / np.float64(3.0) - np.int64(1) ** x
    assert y.dtype == tg.float32
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == tg.float32
    assert (tg.tensor([1, 2]) * 2.5).dtype == tg.float32
    assert (tg.tensor([1, 2]) / 2).dtype == tg.float32
    assert tg.exp(tg.tensor([1, 2])).dtype == tg.float32


def test_retain_grad_keeps_the_gradient_of_a_result() -> None:
    x = tg.ones(2, requires_grad=True)
    y = x * 3.0
    first, second = y.unbind()
    for tensor in (y, first, y):
        tensor.retain_grad()
    (first + 2.0 * second).backward(retain_graph=True)
    assert y.grad is not None
    assert first.grad is not None
    assert second.grad is None
    assert y.grad.tolist() == [1.0, 2.0]
    assert first.grad.item() == 1.0
    (first * 1.0).backward()
    assert y.grad.tolist() == [2.0, 2.0]
    y.grad = None
    assert y.grad is None
    with pytest.raises(RuntimeError, match="retain_grad: this tensor requires no gradient"):
        tg.ones(1).retain_grad()

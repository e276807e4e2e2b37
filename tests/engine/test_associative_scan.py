"""`associative_scan`: all prefixes, against a loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinygrad_seq as tg

Pair = tuple[tg.Tensor, tg.Tensor]


def then(first: Pair, second: Pair) -> Pair:
    """Of two steps h ← a h + b in a row, the one that does both."""
    return second[0] * first[0], second[0] * first[1] + second[1]


def linear(a: tg.Tensor, b: tg.Tensor, **how: Any) -> tg.Tensor:
    return tg.associative_scan(then, (a, b), **how)[1]


def walked(a: Any, b: Any, reverse: bool) -> Any:
    """h_t = a_t h_{t-1} + b_t from h_0 = 0, step by step."""
    h, found = np.zeros(b.shape[1:]), np.zeros_like(b)
    for t in reversed(range(len(b))) if reverse else range(len(b)):
        h = found[t] = a[t] * h + b[t]
    return found


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("T", [*range(10), 31, 32, 33, 100])
def test_a_linear_recurrence(T: int, reverse: bool) -> None:
    a, b = (tg.randn(T, 2, 3, dtype=tg.float64) for _ in range(2))
    wanted = walked(a.numpy(), b.numpy(), reverse)
    np.testing.assert_allclose(linear(a, b, reverse=reverse).numpy(), wanted, rtol=1e-11, atol=1e-12)
    for dim in (1, -2):
        found = linear(a.transpose(0, 1), b.transpose(0, 1), reverse=reverse, dim=dim)
        np.testing.assert_allclose(found.transpose(0, 1).numpy(), wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("T", [1, 2, 7, 8])
def test_the_order_of_operands_is_kept(T: int) -> None:
    """Products of matrices do not commute."""
    A = tg.randn(T, 3, 3, dtype=tg.float64)
    found, backwards = (tg.associative_scan(tg.matmul, A, reverse=reverse).numpy() for reverse in (False, True))
    product, product_back = np.eye(3), np.eye(3)
    for t in range(T):
        product, product_back = product @ A.numpy()[t], product_back @ A.numpy()[T - 1 - t]
        np.testing.assert_allclose(found[t], product, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(backwards[T - 1 - t], product_back, rtol=1e-11, atol=1e-13)


class Named(NamedTuple):
    first: Any
    second: Any


def test_containers_and_dtypes() -> None:
    n, x = tg.arange(1, 6), tg.tensor([3.0, 1.0, 2.0, 5.0, 4.0], dtype=tg.float32)
    xs = {"numbers": [n, None], "named": Named(x, x)}

    def combine(a: Any, b: Any) -> Any:
        named = Named(tg.maximum(a["named"].first, b["named"].first), b["named"].second)
        return {"named": named, "numbers": [a["numbers"][0] + b["numbers"][0], None]}  # in another order

    found = tg.associative_scan(combine, xs)
    assert isinstance(found["named"], Named)
    assert found["numbers"][0].tolist() == [1, 3, 6, 10, 15]
    assert found["numbers"][1] is None
    assert found["numbers"][0].dtype == tg.int64
    assert found["named"].first.tolist() == [3, 3, 3, 5, 5]
    assert found["named"].first.dtype == tg.float32
    assert found["named"].second.tolist() == x.tolist()


@pytest.mark.parametrize("T", [1, 2, 5])
def test_the_result_has_memory_of_its_own(T: int) -> None:
    x = tg.ones(T)
    for y in (tg.associative_scan(tg.add, x), tg.associative_scan(lambda a, b: a, x)):
        y.zero_()
        assert x.tolist() == [1.0] * T


@pytest.mark.parametrize("T", [1, 2, 3, 6])
@pytest.mark.parametrize("reverse", [False, True])
def test_derivatives(T: int, reverse: bool) -> None:
    a, b = (tg.randn(T, 2, dtype=tg.float64) for _ in range(2))
    w = tg.randn(2, dtype=tg.float64)

    def f(a: tg.Tensor, b: tg.Tensor, w: tg.Tensor) -> Any:
        def weighted(first: Pair, second: Pair) -> Pair:  # closes over a weight; associative all the same
            return second[0] * first[0] * w, second[0] * first[1] * w + second[1]

        return tg.associative_scan(weighted, (a, b), reverse=reverse)

    tg.gradcheck(f, (a, b, w))
    tg.gradgradcheck(f, (a, b, w))
    _, pushed = tg.jvp(lambda b: linear(a, b, reverse=reverse), (b,), (tg.ones_like(b),))
    np.testing.assert_allclose(pushed.numpy(), walked(a.numpy(), np.ones((T, 2)), reverse), rtol=1e-11)


def test_vmap() -> None:
    a, b = (tg.randn(5, 3, 2, dtype=tg.float64) for _ in range(2))
    found = tg.vmap(linear, in_dims=1, out_dims=1)(a, b)
    np.testing.assert_allclose(found.numpy(), linear(a, b).numpy(), rtol=1e-12)


def test_compiled() -> None:
    def value_and_gradients(a: tg.Tensor, b: tg.Tensor) -> Any:
        return tg.value_and_grad(lambda a, b: (linear(a, b) ** 2).sum(), argnums=(0, 1))(a, b)

    compiled = tg.compile(value_and_gradients)
    for T in (6, 6, 9):
        a, b = (tg.randn(T, 2, dtype=tg.float64) for _ in range(2))
        (y, gs), (z, hs) = compiled(a, b), value_and_gradients(a, b)
        for found, wanted in zip((y, *gs), (z, *hs), strict=True):
            np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-11)


def test_rounding_does_not_grow_with_the_length() -> None:
    """Sums of the same number, in float32: a walk loses a digit every ten times as many; a tree does not."""
    found = tg.associative_scan(tg.add, tg.full((100_000,), 0.1)).numpy()
    np.testing.assert_allclose(found, 0.1 * np.arange(1, 100_001), rtol=1e-6)


x = tg.ones(3)
scan: Any = tg.associative_scan  # called as type checkers forbid
REFUSED: dict[str, tuple[type[Exception], str, Callable[[], Any]]] = {
    "no function": (TypeError, "takes a function first, got a Tensor", lambda: scan(x, x)),
    "nothing": (ValueError, "xs holds no tensor", lambda: scan(tg.add, ())),
    "a number": (IndexError, "dim=0 is out of range", lambda: scan(tg.add, tg.tensor(1.0))),
    "no such dimension": (IndexError, "dim=1 is out of range", lambda: scan(tg.add, x, dim=1)),
    "lengths": (
        ValueError,
        r"one length along dim=0, they have xs\[0\] 3, xs\[1\] 4",
        lambda: scan(then, (x, tg.ones(4))),
    ),
    "another structure": (
        ValueError,
        r"which holds xs; it returned one that holds xs\[0\], xs\[1\]",
        lambda: scan(lambda a, b: (a, b), x),
    ),
    "another key": (
        ValueError,
        r"holds xs\['a'\]; it returned one that holds xs\['b'\]",
        lambda: scan(lambda p, q: {"b": p["a"]}, {"a": x}),
    ),
    "nothing returned": (ValueError, "one that holds nothing", lambda: scan(lambda a, b: None, x)),
    "another shape": (
        ValueError,
        r"for xs\[1\] it was given \(1,\), float32, and returned \(\), float32",
        lambda: scan(lambda p, q: (p[0], q[1].sum()), (x, x)),
    ),
    "another dtype": (
        ValueError,
        r"was given \(1,\), int64, and returned \(1,\), float32",
        lambda: scan(lambda a, b: a + b * 0.5, tg.arange(3)),
    ),
    "in place": (RuntimeError, "changes in place", lambda: scan(lambda a, b: b.mul_(a), x * 1)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case: str) -> None:
    kind, message, call = REFUSED[case]
    with pytest.raises(kind, match=f"^associative_scan: .*{message}"):
        call()


def test_what_combine_raises_passes_as_it_is() -> None:
    def combine(a: tg.Tensor, b: tg.Tensor) -> tg.Tensor:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        tg.associative_scan(combine, x)

"""`scan` beside the loop that a user would write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import nn
import tinygrad_seq as tg
from tinygrad_seq.backend.pytree import leaves

Step = Callable[[Any, Any], tuple[Any, Any]]
untyped: Callable[..., Any] = tg.scan  # as a program without types calls it


class Pair(NamedTuple):
    h: tg.Tensor
    c: tg.Tensor


def looped(step: Step, carry: Any, xs: list[Any], reverse: bool = False) -> tuple[Any, list[Any]]:
    """What `scan` means, for tensors as y."""
    ys = []
    for x in reversed(xs) if reverse else xs:
        carry, y = step(carry, x)
        ys.append(y)
    return carry, ys[::-1] if reverse else ys


def data(seed: int = 0, T: int = 5) -> tuple[tg.Tensor, tg.Tensor, tg.Tensor]:
    """A weight (3, 3), a state (2, 3) and inputs (T, 2, 3)."""
    tg.manual_seed(seed)
    return tuple([tg.randn(*shape, dtype=tg.float64) for shape in ((3, 3), (2, 3), (T, 2, 3))])  # type: ignore[return-value]


def recurrent(w: tg.Tensor) -> Step:
    def step(h: tg.Tensor, x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        h = tg.tanh(h @ w + x)
        return h, h * x

    return step


def same(found: Any, right: Any) -> None:
    for a, b in zip(leaves(found), leaves(right), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("reverse", [False, True])
def test_values_and_gradients_are_those_of_the_loop(reverse: bool) -> None:
    found = []
    for scanned in (True, False):
        tensors = [x.requires_grad_() for x in data()]
        w, h, xs = tensors
        if scanned:
            last, ys = tg.scan(recurrent(w), h, xs, reverse=reverse)
        else:
            last, parts = looped(recurrent(w), h, list(xs.unbind(0)), reverse)
            ys = tg.stack(parts)
        (last.square().sum() + (ys * tg.arange(5).reshape(5, 1, 1)).sum()).backward()
        found.append([last, ys, *[x.grad for x in tensors]])
    same(*found)


@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_of_first_and_second_order(reverse: bool) -> None:
    def f(w: tg.Tensor, h: tg.Tensor, xs: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        return tg.scan(recurrent(w), h, xs, reverse=reverse)

    inputs = data(T=3)
    tg.gradcheck(f, inputs)
    tg.gradgradcheck(f, inputs)


def test_a_vector_is_carried_forward() -> None:
    w, h, xs = data()
    _, product = tg.jvp(lambda w: tg.scan(recurrent(w), h, xs)[1], (w,), (tg.ones_like(w),))
    _, expected = tg.jvp(lambda w: tg.stack(looped(recurrent(w), h, list(xs))[1]), (w,), (tg.ones_like(w),))
    same(product, expected)


def test_each_sample_alone() -> None:
    w, h, xs = data()
    alone = tg.vmap(tg.grad(lambda h, xs: tg.scan(recurrent(w), h, xs)[1].sum()), in_dims=(0, 1))(h, xs)
    same(alone, tg.grad(lambda h: tg.scan(recurrent(w), h, xs)[1].sum())(h))


def test_trees() -> None:
    def step(carry: Any, x: Any) -> Any:
        pair, count = carry["state"], carry["count"]
        c = pair.c * 0.5 + x[0]
        h = tg.tanh(c) + x[1]["bias"]
        return {"count": count + 1, "state": Pair(h, c)}, {"h": h, "both": [c, None]}

    _, h, xs = data()
    carry = {"state": Pair(h, h * 2), "count": tg.tensor(0)}
    last, ys = tg.scan(step, carry, (xs, {"bias": xs * 3}))
    assert isinstance(last["state"], Pair)
    assert list(last) == ["state", "count"]  # as it began
    assert last["count"].item() == 5
    assert ys["both"][1] is None
    expected, parts = looped(step, carry, [(x, {"bias": x * 3}) for x in xs])
    same(last["state"], expected["state"])
    same(ys["h"], tg.stack([y["h"] for y in parts]))
    same(ys["both"][0], tg.stack([y["both"][0] for y in parts]))


def test_steps_without_inputs_or_outputs() -> None:
    last, ys = untyped(lambda n, x: (n * 2, x), tg.tensor(1), None, length=10)
    assert (last.item(), ys) == (1024, None)
    last, ys = untyped(lambda n, _: (n, n), 3.0, length=2)
    assert (last.item(), ys.tolist()) == (3.0, [3.0, 3.0])
    assert tg.scan(lambda n, x: (n + x, n), 0.0, np.ones(4, np.float32), length=4)[0].item() == 4.0


def test_numbers_of_a_carry_take_its_dtype() -> None:
    last, _ = untyped(lambda n, x: (1, None), tg.tensor(0.0, dtype=tg.float64), length=1)
    assert (last.dtype, last.item()) == (tg.float64, 1.0)


@pytest.mark.parametrize("reverse", [False, True])
def test_no_steps(reverse: bool) -> None:
    w, h, xs = data()
    cell, generator = nn.LSTMCell(3, 3), tg.Generator(1)
    seen = tg.zeros(1)

    def step(h: tg.Tensor, x: tg.Tensor) -> tuple[tg.Tensor, Any]:
        seen.add_(1)
        noise = tg.rand(2, generator=generator)
        return recurrent(w)(h, x)[0], (x.argmax(1), noise, cell(x.float())[1])

    before = generator.get_state()
    last, (largest, noise, c) = tg.scan(step, h, xs[:0], reverse=reverse)
    same(last, h)
    assert (largest.shape, largest.dtype, noise.shape, c.shape) == ((0, 2), tg.int64, (0, 2), (0, 2, 3))
    assert generator.get_state() == before  # the step that shapes were taken of left nothing behind
    assert seen.item() == 0
    assert tg.scan(lambda n, _: (n, None), 1.0, length=0)[1] is None


def test_no_steps_of_an_unknown_shape_are_refused() -> None:
    def step(h: tg.Tensor, x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        return h, [x][int(x.item()) - 1 :][1]

    with pytest.raises(ValueError, match=r"there are no steps.*IndexError.*only where there are steps"):
        tg.scan(step, tg.zeros(1), tg.zeros(0))


def test_memory_is_linear_in_the_number_of_steps() -> None:
    calls = 0

    def step(h: tg.Tensor, x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        nonlocal calls
        calls += 1
        return h + x, h

    xs = tg.ones(20_000).requires_grad_()
    last, ys = tg.scan(step, tg.tensor(0.0), xs)
    (last + ys[-1]).backward()
    assert xs.grad is not None
    assert (calls, xs.grad.sum().item()) == (20_000, 39_999.0)


def test_hooks_checkpoints_and_random_numbers() -> None:
    w, h, xs = data()
    weight = nn.Parameter(w)
    calls: list[int] = []

    def step(h: tg.Tensor, x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        h = tg.checkpoint(lambda h, x: tg.tanh(h @ weight + x) * tg.rand(2, 3), h, x)
        if h.requires_grad:
            h.register_hook(lambda g: calls.append(1))
        return h, h

    found: list[Any] = []
    for run in (tg.scan, lambda step, h, xs: looped(step, h, list(xs))):
        tg.manual_seed(3)
        weight.grad = None
        run(step, h, xs)[0].sum().backward()
        found.append(weight.grad)
    same(*found)
    assert len(calls) == 10


def test_what_a_step_returned_is_not_changed_afterwards() -> None:
    def step(h: tg.Tensor, x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        h.add_(x)
        return h, h

    begin = tg.zeros(2)
    with pytest.raises(RuntimeError, match=r"changed in place what an earlier one had returned.*y\.clone\(\)"):
        tg.scan(step, begin, tg.ones(3, 2))
    assert begin.tolist() == [0.0, 0.0]
    with pytest.raises(RuntimeError, match="changed in place"):
        tg.scan(step, tg.zeros(2), tg.ones(3, 2).requires_grad_())

    def cloned(h: tg.Tensor, x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        h.add_(x)
        return h, h.clone()

    assert tg.scan(cloned, begin, tg.ones(3, 2))[1].tolist() == [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]
    with pytest.raises(RuntimeError, match=r"step changed xs in place; change x\.clone\(\)"):
        tg.scan(lambda h, x: (h + x.mul_(2.0), None), begin, tg.ones(3, 2))


@pytest.mark.parametrize("executor", ["numpy", None])
@pytest.mark.parametrize("reverse", [False, True])
def test_compiled(executor: Any, reverse: bool) -> None:
    w, h, xs = data()
    weight = nn.Parameter(w)

    def f(h: tg.Tensor, xs: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor, tg.Tensor]:
        weight.grad = None
        last, ys = tg.scan(recurrent(weight), h, xs, reverse=reverse)
        loss = (ys * ys).sum() + last.sum()
        loss.backward()
        assert weight.grad is not None
        return last.detach(), ys.detach(), weight.grad.clone()

    compiled = tg.compile(f, executor=executor)
    for scale in (1.0, 2.0, 3.0):
        same(compiled(h * scale, xs * scale), f(h * scale, xs * scale))


@pytest.mark.parametrize(
    ("message", "error", "call"),
    [
        ("takes a function first, got a int", TypeError, lambda: untyped(3, 0.0, tg.ones(2))),
        ("one of them has no dimension", ValueError, lambda: untyped(_kept, 0.0, [1.0, 2.0])),
        (r"as many steps .* \[2, 3\]", ValueError, lambda: untyped(_kept, 0.0, (tg.ones(2), tg.ones(3)))),
        ("length= must say", TypeError, lambda: untyped(_kept, 0.0)),
        ("length=3, but xs have 2 steps", ValueError, lambda: untyped(_kept, 0.0, tg.ones(2), length=3)),
        ("length=-1, but it is from 0 up", ValueError, lambda: untyped(_kept, 0.0, length=-1)),
        ("an integer, got a float", TypeError, lambda: untyped(_kept, 0.0, length=2.0)),
        ("an integer, got a bool", TypeError, lambda: untyped(_kept, 0.0, length=True)),
        ("returned a Tensor; y may be None", TypeError, lambda: untyped(lambda c, x: c, 0.0, tg.ones(2))),
        ("it returned 3 entries", TypeError, lambda: untyped(lambda c, x: (c, x, x), 0.0, tg.ones(2))),
        (
            r"step 0, carry\[1\]\['h'\] is float32 of shape \(2,\) on [\w:]+, but before it was float32 of shape \(\)",
            ValueError,
            lambda: untyped(lambda c, x: ((c[0], {"h": x}), None), (0.0, {"h": 0.0}), tg.ones(3, 2)),
        ),
        (
            "carry is float64 .* was float32 .*; begin with a carry like that",
            TypeError,
            lambda: untyped(lambda c, x: (c.double(), None), 0.0, tg.ones(2)),
        ),
        ("carry is float32 .* was int64", TypeError, lambda: untyped(lambda c, x: (c + 0.5, c), 0, tg.ones(2))),
        ("carry is float32 .* was int64", TypeError, lambda: untyped(lambda c, x: (0.5, c), 0, tg.ones(2))),
        ("carry is a tuple of 1, but .* float32", TypeError, lambda: untyped(lambda c, x: ((c,), c), 0.0, tg.ones(2))),
        ("carry is a list of 1, .* a tuple", TypeError, lambda: untyped(lambda c, x: ([c[0]], x), (0.0,), tg.ones(2))),
        (r"carry\[0\] is None, .* float32", TypeError, lambda: untyped(lambda c, x: ((None,), x), (0.0,), tg.ones(2))),
        (
            "carry is a dict of 'b', .*'a'",
            TypeError,
            lambda: untyped(lambda c, x: ({"b": x}, x), {"a": 0.0}, tg.ones(2)),
        ),
        (
            "step 1, y is int64 of shape .* was float32 .*; all ys must be alike",
            TypeError,
            lambda: untyped(lambda c, x: (c + 1, x.long() if c else x), 0.0, tg.ones(2)),
        ),
        (
            "step 0, y is None, but before it was float32",
            TypeError,
            lambda: untyped(lambda c, x: (c + 1, None if c else x), 0.0, tg.ones(2), reverse=True),
        ),
        (
            "step 1, y is float32 .* before it was None",
            TypeError,
            lambda: untyped(lambda c, x: (c + 1, x if c else None), 0.0, tg.ones(2)),
        ),
    ],
)
def test_messages(message: str, error: type[Exception], call: Callable[[], Any]) -> None:
    with pytest.raises(error, match=f"scan: .*{message}"):
        call()


def _kept(carry: Any, x: Any) -> tuple[Any, Any]:
    return carry, x

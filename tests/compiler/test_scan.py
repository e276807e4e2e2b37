"""`scan` in compiled functions: a loop where all steps are alike, else unrolled; always the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg
from tinygrad_seq.backend.pytree import leaves

from ..profiles import examples
from . import random_scans

Tensor = tg.Tensor
T, B, H = 5, 2, 3
on_host = pytest.mark.host("a program on a GPU unrolls its scans")


def given(seed: int = 0) -> tuple[Tensor, Tensor]:
    tg.manual_seed(seed)
    return tg.randn(B, H), tg.randn(T, B, H)


@pytest.fixture
def w() -> nn.Parameter:
    tg.manual_seed(7)
    return nn.Parameter(tg.randn(H, H) * 0.5)


Function = Callable[[Tensor, Tensor], Any]


def agrees(f: Function, w: nn.Parameter, executor: str | None = None, restart: Callable[[], Any] = lambda: None) -> str:
    """Compare values and gradients with those of the function as it is; what `explain` says of its scans."""

    def whole(h: Tensor, xs: Tensor) -> Any:
        w.grad = None
        results = [y for y in leaves(f(h, xs)) if isinstance(y, Tensor)]
        loss = sum([y.square().sum() for y in results], tg.tensor(0.0))
        if loss.requires_grad:
            loss.backward()
        return [y.detach() for y in results], None if w.grad is None else w.grad.clone()

    compiled = tg.compile(whole, executor=executor)
    for seed in range(3):
        found = []
        for function in (compiled, whole):
            restart()
            found.append([x.numpy() for x in leaves(function(*given(seed)))])
        for a, b in zip(*found, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6 * max(10.0, float(abs(b).max())))
    return "\n".join([note for program in compiled.programs for note in program.notes if "a scan of" in note])


def plain(w: Tensor) -> Any:
    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        h = tg.tanh(h @ w + x)
        return h, h * x

    return step


def gru(w: Tensor) -> Any:
    """With a bias inside, and a weight that is used twice."""

    def step(h: Tensor, x: Tensor) -> tuple[Tensor, None]:
        z = tg.sigmoid(tg.linear(h, w, w[0]) + x)
        return h + z * (tg.tanh(x + (z * h) @ w) - h), None

    return step


LOOPS: dict[str, Callable[[Tensor], Function]] = {
    "plain": lambda w: lambda h, xs: tg.scan(plain(w), h, xs),
    "reverse": lambda w: lambda h, xs: tg.scan(plain(w), h, xs, reverse=True),
    "two weights and no y": lambda w: lambda h, xs: tg.scan(gru(w), h, xs),
    "without xs": lambda w: lambda h, xs: tg.scan(lambda h, _: (tg.tanh(h @ w), h), h, length=T),
    "states that change places": lambda w: (
        lambda h, xs: tg.scan(lambda c, x: ((c[1], tg.tanh(c[0] @ w + x)), c), (h, h * 2), xs)
    ),
    "a carry that nobody changes": lambda w: lambda h, xs: tg.scan(lambda c, x: ((c[0], c[1] @ w), x), (h, h), xs),
    "a carry that begins anew": lambda w: lambda h, xs: tg.scan(lambda c, x: (tg.zeros(B, H), c @ w + x), h, xs),
    "a count and its parity": lambda w: (
        lambda h, xs: tg.scan(
            lambda c, x: ((c[0] + 1, c[1] @ w), tg.where(c[0] % 2 == 0, x, c[1])), (tg.tensor(0), h), xs
        )
    ),
    "xs turned": lambda w: lambda h, xs: tg.scan(plain(w), h, xs.transpose(0, 1).clone().transpose(0, 1)),
    "xs expanded": lambda w: lambda h, xs: tg.scan(plain(w), h, h.expand(T, B, H)),
    "all xs inside, too": lambda w: (
        lambda h, xs: tg.scan(lambda c, x: (tg.tanh(c @ w + x + xs[1]), xs.sum(0) * c), h, xs)
    ),
    "one after the other": lambda w: (
        lambda h, xs: tg.scan(plain(w), tg.scan(plain(w), h, xs)[0], tg.scan(plain(w), h, xs, reverse=True)[1])
    ),
    "both directions side by side": lambda w: (
        lambda h, xs: tg.cat([tg.scan(plain(w), h, xs, reverse=r)[1] for r in (False, True)], -1)
    ),
    "a gradient in each step": lambda w: (
        lambda h, xs: tg.scan(lambda c, x: (c - tg.grad(lambda a: (a @ w).tanh().sum())(c) + x, c), h, xs)
    ),
    "a gradient of it": lambda w: lambda h, xs: tg.grad(lambda h: tg.scan(plain(w), h, xs)[1].square().sum())(h),
    "for each sample": lambda w: lambda h, xs: tg.vmap(lambda h, xs: tg.scan(plain(w), h, xs), (0, 1))(h, xs),
    "a cell": lambda w: _of_cell(nn.GRUCell(H, H)),
    "under no_grad": lambda w: tg.no_grad()(lambda h, xs: tg.scan(plain(w), h, xs)),
    "second order, asked for afterwards": lambda w: lambda h, xs: _and_gradient(tg.scan(plain(w), h, xs), w),
}


def _of_cell(cell: nn.Cell) -> Function:
    return lambda h, xs: tg.scan(lambda h, x: (cell(x, h),) * 2, h, xs, reverse=True)


def _and_gradient(results: Any, w: Tensor) -> Any:
    total = sum([y.square().sum() for y in results], tg.tensor(0.0))
    (gradient,) = tg.autograd.grad(total, [w], create_graph=True)
    return [*results, gradient]


@on_host
@pytest.mark.parametrize("executor", ["numpy", None])
@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_gives_what_the_steps_give(name: str, executor: str | None, w: nn.Parameter) -> None:
    notes = agrees(LOOPS[name](w), w, executor)
    assert "is a loop of" in notes
    assert "unrolled" not in notes


LARGE: dict[str, Callable[[Tensor, Tensor], Function]] = {
    "products of packed weights": lambda w, table: lambda h, xs: tg.scan(plain(w), h, xs),
    "what native code cannot do": lambda w, table: (
        lambda h, xs: tg.scan(lambda h, x: (tg.tanh(h @ w + x.cumsum(1) * 0.1), h.cumsum(0)), h, xs, reverse=True)
    ),
    "rows of a table that is used as a whole": lambda w, table: (
        lambda h, xs: tg.scan(lambda h, x: (tg.tanh(h @ w + x + table[:32]), h * table.sum(0)), h, table)
    ),
    "beside what it takes": lambda w, table: lambda h, xs: _beside(w, tg.scan(plain(w), h, xs)),
    "of a cell": lambda w, table: lambda h, xs: tg.scan(lambda h, x: (tg.tanh(x @ w + h),) * 2, h, xs),
}


def _beside(w: Tensor, before: Any) -> Any:
    last, ys = before
    return last, tg.cat([ys, tg.scan(lambda h, x: (tg.tanh(h @ w + x + ys[0]), h), last, ys)[1]], 1)


@on_host
@pytest.mark.parametrize("executor", ["numpy", None])
@pytest.mark.parametrize("name", LARGE)
def test_larger_steps(name: str, executor: str | None) -> None:
    tg.manual_seed(3)
    steps, rows, width = 40, 32, 64
    w, table = nn.Parameter(tg.randn(width, width) * 0.1), nn.Parameter(tg.randn(steps, width) * 0.1)
    f = LARGE[name](w, table)

    def whole(h: Tensor, xs: Tensor) -> Any:
        w.grad = table.grad = None
        results = f(h, xs)
        sum([y.square().sum() for y in results], tg.tensor(0.0)).backward()
        return [y.detach() for y in results], [None if p.grad is None else p.grad.clone() for p in (w, table)]

    compiled = tg.compile(whole, executor=executor)
    for _ in range(2):
        h, xs = tg.randn(rows, width), tg.randn(steps, rows, width) * 0.3
        for a, b in zip(leaves(compiled(h, xs)), leaves(whole(h, xs)), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-3, atol=1e-4 * float(abs(b).max()))


@on_host
@pytest.mark.parametrize("executor", ["numpy", None])
def test_random_steps(executor: str | None) -> None:
    for seed in range(max(4, examples() // 5)):
        for dtype in (tg.float64, tg.float32):
            assert random_scans.fault(seed, dtype, executor) is None, seed


# --- steps that are not known to be alike ---


def draws(w: Tensor) -> Function:
    return lambda h, xs: tg.scan(lambda h, x: (tg.tanh(h @ w + x) * tg.rand(B, H), h), h, xs)


def counts(w: Tensor) -> Function:
    def f(h: Tensor, xs: Tensor) -> Any:
        n = [0]

        def step(h: Tensor, x: Tensor) -> Any:
            n[0] += 1
            return h @ w * n[0] + x, h

        return tg.scan(step, h, xs)

    return f


def keeps(w: Tensor) -> Function:
    def f(h: Tensor, xs: Tensor) -> Any:
        kept: list[Tensor] = []

        def step(h: Tensor, x: Tensor) -> Any:
            kept.append(tg.tanh(h @ w + x))
            return kept[-1], None

        return tg.scan(step, h, xs)[0], tg.stack(kept)

    return f


def leaves_one(w: Tensor) -> Function:
    def f(h: Tensor, xs: Tensor) -> Any:
        last: Any = None

        def step(h: Tensor, x: Tensor) -> Any:
            nonlocal last
            last = tg.tanh(h @ w + x)
            return last, None

        return tg.scan(step, h, xs)[0], last

    return f


def takes_next(w: Tensor) -> Function:
    def f(h: Tensor, xs: Tensor) -> Any:
        factors = iter([1.0, 2.0, 3.0, 4.0, 5.0])
        return tg.scan(lambda h, x: (h @ w * next(factors) + x, h), h, xs)

    return f


def adds_up(w: Tensor, recorded: bool) -> Function:
    def f(h: Tensor, xs: Tensor) -> Any:
        total = h * 1.0 if recorded else tg.zeros(B, H)

        def step(h: Tensor, x: Tensor) -> Any:
            h = tg.tanh(h @ w + x)
            with tg.set_grad_enabled(recorded):
                total.add_(h)
            return h, None

        return tg.scan(step, h, xs)[0], total

    return f


def changes_its_carry(w: Tensor) -> Function:
    def step(h: Tensor, x: Tensor) -> Any:
        h.mul_(0.5).add_(x @ w)
        return h, h * 2

    return lambda h, xs: (*tg.scan(step, h, xs), h)


def hooks(w: Tensor) -> Function:
    def step(h: Tensor, x: Tensor) -> Any:
        h = tg.tanh(h @ w + x)
        h.register_hook(lambda g: g * 0.5)
        return h, h

    return lambda h, xs: tg.scan(step, h, xs)


def asks(w: Tensor) -> Function:
    """The first step's state carries no gradient."""

    def step(h: Tensor, x: Tensor) -> Any:
        y = h * 2
        if y.requires_grad:
            y.register_hook(lambda g: g * 0.5)
            y = y * 0.5
        return tg.tanh(y @ w + x), y

    return lambda h, xs: tg.scan(step, h, xs)


def nested(w: Tensor) -> Function:
    def step(h: Tensor, x: Tensor) -> Any:
        return tg.tanh(h @ w + x) + tg.scan(lambda a, b: (a * 0.5 + b, a * b), h[0], x)[1].sum(0), h

    return lambda h, xs: tg.scan(step, h, xs)


def second_order(w: Tensor) -> Function:
    def f(h: Tensor, xs: Tensor) -> Any:
        once = tg.grad(lambda h: tg.scan(plain(w), h, xs)[1].square().sum())
        return tg.grad(lambda h: once(h).square().sum())(h)

    return f


UNROLLED: dict[str, tuple[str, Callable[[Tensor], Function]]] = {
    "random numbers": ("it draws random numbers", draws),
    "a list of the function's own": ("it changes what it finds by name", counts),
    "results that are kept": ("it changes what it finds by name", keeps),
    "a variable around it": ("it changes what it finds by name", leaves_one),
    "an iterator": ("it takes from an iterator", takes_next),
    "a sum in place": ("it writes to memory", lambda w: adds_up(w, recorded=False)),
    "a recorded sum in place": ("it changes what it finds by name", lambda w: adds_up(w, recorded=True)),
    "the carry in place": ("it", changes_its_carry),
    "hooks": ("it registers hooks", hooks),
    "whether it carries a gradient": ("it asks whether something requires a gradient", asks),
    "a scan in a scan": ("it does what a loop does not", nested),
    "second order": ("a second derivative may be asked for", second_order),
}


@on_host
@pytest.mark.parametrize("name", UNROLLED)
def test_what_is_no_loop_is_unrolled(name: str, w: nn.Parameter) -> None:
    why, make = UNROLLED[name]
    assert f"is unrolled, because {why}" in agrees(make(w), w)


@on_host
def test_modules_that_change_or_have_hooks_are_unrolled(w: nn.Parameter) -> None:
    norm, linear, calls = nn.BatchNorm1d(H), nn.Linear(H, H), []
    linear.register_forward_hook(lambda module, args, y: y * 2)

    def restart() -> None:
        norm.running_mean.fill_(0.0)  # type: ignore[union-attr]
        norm.running_var.fill_(1.0)  # type: ignore[union-attr]

    assert "unrolled" in agrees(lambda h, xs: tg.scan(lambda h, x: (norm(h @ w + x), h), h, xs), w, restart=restart)
    assert "unrolled" in agrees(lambda h, xs: tg.scan(lambda h, x: (linear(h @ w + x), h), h, xs), w)
    linear.register_forward_hook(lambda *_: calls.append(1))


@pytest.mark.parametrize("executor", ["numpy", None])
def test_gradients_that_arrive_outside(executor: str | None, w: nn.Parameter) -> None:
    f = lambda h, xs: tg.scan(plain(w), h, xs)  # noqa: E731
    compiled = tg.compile(f, executor=executor)
    for seed in range(2):
        found = []
        for function in (compiled, f):
            h, xs = (x.requires_grad_() for x in given(seed))
            w.grad = None
            last, ys = function(h, xs)
            (last.sum() + ys.square().sum()).backward()
            found.append([x.numpy() for x in (last.detach(), ys.detach(), w.grad, h.grad, xs.grad)])  # type: ignore[union-attr]
        for a, b in zip(*found, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_verified(w: nn.Parameter) -> None:
    compiled = tg.compile(LOOPS["plain"](w), mode="verify")
    for seed in range(3):
        compiled(*given(seed))


@on_host
def test_a_program_does_not_grow_with_the_number_of_steps(w: nn.Parameter) -> None:
    def step(h: Tensor, xs: Tensor) -> Tensor:
        w.grad = None
        loss: Tensor = tg.scan(plain(w), h, xs)[1].sum()
        loss.backward()
        return loss.detach()

    counts = []
    for steps in (2, 100):
        compiled = tg.compile(step)
        compiled(tg.zeros(B, H), tg.ones(steps, B, H))
        counts.append(len(compiled.programs[0].instrs))
    assert counts[0] == counts[1]


@on_host
def test_what_nobody_reads_is_not_made(w: nn.Parameter) -> None:
    compiled = tg.compile(lambda h, xs: tg.scan(lambda h, x: (h * x, (h @ w).exp()), h, xs)[0])
    compiled(*given())
    (loop,) = [i.params["loop"] for i in compiled._cache.popitem()[1][0]._executor.program.instrs if i.op == "loop"]
    assert [instr.op for instr in loop.body.instrs] == ["multiply"]


@on_host
def test_one_native_call_does_all_steps(w: nn.Parameter) -> None:
    native = pytest.importorskip("llvmlite")
    assert native
    compiled = tg.compile(lambda h, xs: tg.scan(plain(w), h, xs)[1], executor="native")
    compiled(*given())
    notes = compiled.programs[0].explanation()
    assert "1 calls of Python" in notes, notes


def test_a_step_that_fails_leaves_nothing_behind(w: nn.Parameter) -> None:
    table = tg.arange(4).float()
    compiled = tg.compile(lambda h, rows: tg.scan(lambda h, i: (h + tg.embedding(table.reshape(4, 1), i), h), h, rows))
    h = tg.zeros(2, 1)
    assert compiled(h, tg.tensor([[0, 1], [2, 3]]))[0].tolist() == [[2.0], [4.0]]
    with pytest.raises(IndexError, match="4"):
        compiled(h, tg.tensor([[0, 1], [2, 4]]))
    assert compiled(h, tg.tensor([[3, 1], [2, 3]]))[0].tolist() == [[5.0], [4.0]]

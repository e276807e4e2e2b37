"""What a call changes is made where it lies, by the last kernels of a program: all of it, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import nn
import nn.functional as F
import tinygrad_seq as tg
from tinygrad_seq.graph.tracing_hook import CompileError

pytest.importorskip("llvmlite", reason="the native executor is about kernels")
from tinygrad_seq.compiler.native.executor import NativeExecutor

pytestmark = pytest.mark.host("about the CPU's executors")


def executor_of(step: Any) -> Any:
    (replay,) = [replay for executables in step._cache.values() for replay in executables]
    return replay._executor


def in_place(step: Any) -> int:
    """How many sources are changed where they lie."""
    plan, program = executor_of(step).plan, executor_of(step).program
    return sum(plan.arrays[made] is plan.arrays[source] for source, made in program.stores.items())


@tg.no_grad()
def decay(a: tg.Tensor, b: tg.Tensor, x: tg.Tensor) -> tg.Tensor:
    a.mul_(0.9).add_(x)
    return a * 2


@tg.no_grad()
def swap(a: tg.Tensor, b: tg.Tensor, x: tg.Tensor) -> tg.Tensor:
    old = a.clone()
    a.copy_(b + x)
    b.copy_(old)
    return x + 1


@tg.no_grad()
def in_one_kernel(a: tg.Tensor, b: tg.Tensor, x: tg.Tensor) -> tg.Tensor:
    new = tg.tanh(x)
    result = new + b
    b.copy_(a * 0.5 + new)
    a.copy_(new)
    return result


@tg.no_grad()
def running_mean(a: tg.Tensor, b: tg.Tensor, x: tg.Tensor) -> tg.Tensor:
    a.sub_(0.1 * x)
    b.copy_(0.9 * b + 0.1 * a)  # of what is there now
    return b.sum()


@tg.no_grad()
def read_afterwards(a: tg.Tensor, b: tg.Tensor, x: tg.Tensor) -> tg.Tensor:
    new = a * 0.5 + x
    result = (a @ new).sum()  # what was there before
    a.copy_(new)
    return result


@tg.no_grad()
def read_turned(a: tg.Tensor, b: tg.Tensor, x: tg.Tensor) -> tg.Tensor:
    new = a.T + x
    a.copy_(new)
    return b + 1


@tg.no_grad()
def of_a_row(a: tg.Tensor, b: tg.Tensor, x: tg.Tensor) -> tg.Tensor:
    a.copy_(0.5 * a + a[1])
    return x * 1


@tg.no_grad()
def read_in_part_afterwards(a: tg.Tensor, b: tg.Tensor, x: tg.Tensor) -> tg.Tensor:
    new, row = a + x, a[1] * 2
    a.copy_(new)
    return row


@tg.no_grad()
def spread_afterwards(a: tg.Tensor, b: tg.Tensor, x: tg.Tensor) -> tg.Tensor:
    new = a + x
    result = a + x.reshape(4, 1, 4)  # of another shape, and so another kernel
    a.copy_(new)
    return result


@tg.no_grad()
def in_turn(a: tg.Tensor, b: tg.Tensor, x: tg.Tensor) -> tg.Tensor:
    for _ in range(3):
        a.add_(b)
        b.add_(a * x)
    return a - b


@pytest.mark.parametrize(
    "update",
    [
        decay,
        swap,
        in_one_kernel,
        running_mean,
        read_afterwards,
        read_turned,
        of_a_row,
        read_in_part_afterwards,
        spread_afterwards,
        in_turn,
    ],
)
@pytest.mark.parametrize("executor", ["native", "numpy"])
def test_it_leaves_what_eager_mode_leaves(update: Callable[..., tg.Tensor], executor: str) -> None:
    found = []
    for compiled in (False, True):
        tg.manual_seed(0)
        a, b = tg.randn(4, 4), tg.randn(4, 4)
        step = partial(update, a, b)
        run = tg.compile(step, executor=executor) if compiled else step
        held = a.array, b.array
        results = [run(tg.randn(4, 4)).tolist() for _ in range(4)]
        assert all(now is then for now, then in zip((a.array, b.array), held, strict=True))
        found.append([results, a.tolist(), b.tolist()])
    for eager, compiled in zip(*found, strict=True):
        np.testing.assert_allclose(np.array(compiled), np.array(eager), rtol=1e-5, atol=1e-6)


def training() -> tuple[nn.Module, Any, Any]:
    model = nn.Linear(6, 5)
    optimizer = nn.optim.AdamW(model.parameters(), lr=0.1)

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        loss = F.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return model, optimizer, step


def test_parameters_and_an_optimizers_state_are_changed_where_they_lie() -> None:
    model, optimizer, step = training()
    run = tg.compile(step)
    for _ in range(3):
        run(tg.randn(3, 6), tg.randn(3, 5))
    before = [p.array for p in model.parameters()] + [s["exp_avg"].array for s in optimizer.state.values()]
    assert in_place(run) == 6
    assert executor_of(run)._commit is not None
    run(tg.randn(3, 6), tg.randn(3, 5))
    after = [p.array for p in model.parameters()] + [s["exp_avg"].array for s in optimizer.state.values()]
    assert all(x is y for x, y in zip(before, after, strict=True))


@pytest.mark.parametrize("executor", ["native", "numpy"])
def test_what_shares_its_memory_with_something_else_since_is_refused(executor: str) -> None:
    total, other = tg.zeros(100), tg.ones(100)

    def change(x: tg.Tensor) -> tg.Tensor:
        total.mul_(2)
        other.add_(total * x)
        return x + 1

    step = tg.compile(change, executor=executor)
    for _ in range(3):
        step(tg.ones(100))
    numbers = np.arange(150, dtype=np.float32)
    total.data, other.data = tg.from_numpy(numbers[:100]), tg.from_numpy(numbers[50:])
    with pytest.raises(CompileError, match="shares its memory"):
        step(tg.ones(100))
    np.testing.assert_array_equal(numbers, np.arange(150))
    total.data = tg.ones(100)
    other.data = total.data  # one array under two names, which is another program
    step(tg.ones(100))
    assert total.tolist() == other.tolist() == [4] * 100


def test_a_gradient_does_not_lie_where_others_write() -> None:
    p, copied = tg.tensor([1.0, 2.0], requires_grad=True), tg.zeros(2)

    @tg.compile
    def step() -> None:
        p.grad = None
        (p * p).sum().backward()
        copied.copy_(p.grad)

    for _ in range(3):
        step()
    copied.zero_()
    assert p.grad is not None
    assert p.grad.tolist() == [2, 4]


def test_what_does_not_lie_in_one_piece_is_copied_and_what_is_read_only_refused() -> None:
    total = tg.zeros(10, 20)

    @tg.compile
    def step(x: tg.Tensor) -> tg.Tensor:
        total.copy_(total + x)
        return x + 1

    for _ in range(3):
        step(tg.ones(10, 20))
    assert in_place(step) == 1
    for numbers in (np.zeros((20, 10), np.float32).T, np.zeros((10, 40), np.float32)[:, :20]):
        total.data = tg.from_numpy(numbers)
        step(tg.ones(10, 20))
        assert (numbers == 1).all()
        assert in_place(step) == 0
    numbers = np.zeros((10, 20), np.float32)
    total.data = tg.from_numpy(numbers)
    numbers.flags.writeable = False
    total.array.flags.writeable = False
    with pytest.raises(RuntimeError, match="step changes memory that is read-only now"):
        step(tg.ones(10, 20))
    assert not numbers.any()


@pytest.mark.parametrize("executor", ["native", "numpy"])
def test_after_an_index_that_is_out_of_range_nothing_has_changed(executor: str) -> None:
    table, counts = tg.randn(4, 8), tg.zeros(8)

    def step(index: tg.Tensor) -> tg.Tensor:
        counts.add_(1)
        return table[index].sum(dim=0)

    run = tg.compile(step, executor=executor)
    for _ in range(3):
        run(tg.tensor([0, 1, 3]))
    before = counts.clone()
    with pytest.raises(IndexError):
        run(tg.tensor([0, 4, 1]))
    assert tg.equal(counts, before)
    run(tg.tensor([0, 1, 3]))
    assert not tg.equal(counts, before)


def test_a_program_that_is_nothing_but_a_change() -> None:
    x = tg.ones(5)

    @tg.compile
    def step() -> None:
        x.mul_(2)

    for _ in range(4):
        step()
    assert x.tolist() == [16] * 5
    assert in_place(step) == 1


def test_what_turns_out_to_be_no_kernel_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would be computed, and a source changed, before the checks are done."""
    real, calls = NativeExecutor._groups, iter(range(100))

    def groups(self: NativeExecutor) -> Any:
        found = real(self)
        return [*(found or [])[:-1], None] if next(calls) == 0 else found

    total = tg.zeros(100)

    @tg.compile
    def step(x: tg.Tensor) -> tg.Tensor:
        total.copy_(total + x)
        return x + 1

    with monkeypatch.context() as patch:
        patch.setattr(NativeExecutor, "_groups", groups)
        step(tg.ones(100))
    assert in_place(step) == 0
    step(tg.ones(100))
    assert total.tolist() == [2] * 100

"""Tensors from outside, which change between calls and inside of them: results and gradients have the right numbers."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

import nn
import tinygrad_seq as tg
from tinygrad_seq.compiler.numpy_executor import NumpyExecutor

both = pytest.mark.parametrize("executor", ["numpy", *(["native"] if find_spec("llvmlite") else [])])


@both
def test_what_was_there_before_a_change_is_returned_as_it_was(executor: str) -> None:
    v = tg.zeros(3)

    def f() -> tg.Tensor:
        with tg.no_grad():
            old = v.clone()
            v.add_(1)
        return old

    run = tg.compile(f, executor=executor)
    assert [run().tolist()[0] for _ in range(4)] == [0, 1, 2, 3]


@both
def test_a_gradient_that_is_given_is_read_at_each_call(executor: str) -> None:
    w, seed = tg.zeros(3, requires_grad=True), tg.ones(3)

    def f() -> tg.Tensor:
        w.grad = None
        (w * 2).backward(seed)
        (pulled,) = tg.vjp(lambda x: x * 3, w.detach())[1](seed)
        return pulled

    run = tg.compile(f, executor=executor)
    for n in range(4):
        with tg.no_grad():
            seed.fill_(n)
        pulled = run().tolist()
        assert w.grad is not None
        assert (w.grad.tolist(), pulled) == ([2 * n] * 3, [3 * n] * 3)


@both
def test_a_gradient_that_is_a_tensor_of_somebody_else_is_a_copy(executor: str) -> None:
    p, q = tg.ones(3, requires_grad=True), tg.ones(3) * 2

    def f() -> None:
        p.grad = q.clone()

    run = tg.compile(f, executor=executor)
    for _ in range(3):
        run()
    with tg.no_grad():
        q.add_(1)
    assert p.grad is not None
    assert p.grad.tolist() == [2, 2, 2]


@both
@pytest.mark.host("counts plans of the host's memory")
def test_gradients_that_are_added_up_are_planned_for_once(executor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Linear(3, 2)
    binds: list[Any] = []
    bind = NumpyExecutor._bind

    def noted(self: NumpyExecutor, arrays: list[Any]) -> None:
        binds.append(self)
        bind(self, arrays)

    monkeypatch.setattr(NumpyExecutor, "_bind", noted)

    def f(x: tg.Tensor) -> None:
        (model(x) ** 2).mean().backward()

    run = tg.compile(f, executor=executor)
    for _ in range(6):
        run(tg.ones(4, 3))
    assert len(binds) <= 2  # one for the first gradients, one for those that are added

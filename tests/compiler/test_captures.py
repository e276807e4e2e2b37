"""Tensors from outside, which change between calls and inside of them: results and gradients have the right numbers."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

import nn
import tinygrad_seq as tg
from tinygrad_seq.compiler.numpy.executor import NumpyExecutor

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


@both
def test_what_was_copied_or_expanded_can_be_changed(executor: str) -> None:
    buffer = tg.zeros(3)

    def step(x: tg.Tensor) -> list[tg.Tensor]:
        buffer.copy_(x * 2)  # the first that is seen of it
        buffer.mul_(0.5)
        wide = x.expand(2, 3).clone().mul_(2.0)
        made = tg.zeros_like(x)
        made.copy_(x)
        made += 1.0
        return [buffer + 0.0, wide, made]

    run = tg.compile(step, executor=executor)
    for n in range(1, 4):
        found = [y.tolist() for y in run(tg.full((3,), float(n)))]
        assert found == [[n] * 3, [[2 * n] * 3] * 2, [n + 1] * 3]
        assert buffer.tolist() == [n] * 3


@both
@pytest.mark.parametrize(
    "view", [lambda x: x.reshape(4)[:2], lambda x: x.flatten(), lambda x: x.T[0], lambda x: x[-1:]]
)
@pytest.mark.parametrize("returned", [True, False])
def test_a_view_shows_what_is_there_now(view: Any, returned: bool, executor: str) -> None:
    def step(x: tg.Tensor) -> Any:
        seen = view(x)
        x.mul_(0.5)
        return seen if returned else seen * 1.0

    run, ours, plain = tg.compile(step, executor=executor), tg.ones(2, 2), tg.ones(2, 2)
    for _ in range(3):
        assert run(ours).tolist() == step(plain).tolist()
        assert ours.tolist() == plain.tolist()


@both
@pytest.mark.parametrize("made", [lambda x: tg.zeros(4), lambda x: x.clone(), lambda x: x * 2])
@pytest.mark.parametrize("read", [lambda v: v * 1.0, lambda v: v.clone(), lambda v: v])
@pytest.mark.parametrize("view", [lambda a: a[::2], lambda a: a.flatten(), lambda a: a.expand(2, 4), lambda a: a[2]])
def test_so_does_one_of_what_the_function_makes(made: Any, read: Any, view: Any, executor: str) -> None:
    def step(x: tg.Tensor) -> Any:
        whole = made(x)
        seen = view(whole)
        whole.add_(x)
        return read(seen)

    run = tg.compile(step, executor=executor)
    for n in range(1, 4):
        assert run(tg.full((4,), float(n))).tolist() == step(tg.full((4,), float(n))).tolist()


@both
@pytest.mark.parametrize(
    "view", [lambda a: a[1:3], lambda a: a.view(2, 2).T[0], lambda a: a[0], lambda a: a.view(2, 2)]
)
def test_what_is_written_to_a_view_is_written(view: Any, executor: str) -> None:
    def step(x: tg.Tensor) -> Any:
        whole = x * 2
        view(whole).add_(1)
        view(x).mul_(3)
        return whole

    run, ours, plain = tg.compile(step, executor=executor), tg.ones(4), tg.ones(4)
    for _ in range(3):
        assert run(ours).tolist() == step(plain).tolist()
        assert ours.tolist() == plain.tolist()


@both
def test_all_of_an_array_may_be_written_to_under_another_name(executor: str) -> None:
    def step(x: tg.Tensor) -> Any:
        whole = x * 2
        whole.reshape(4).add_(1)
        return whole * 1, tg.jacobian(lambda y: (y * y).reshape(2, 2))(x)

    run = tg.compile(step, executor=executor)
    for _ in range(3):
        y, jacobian = run(tg.ones(4))
        assert y.tolist() == [3] * 4
        assert jacobian.reshape(4, 4).tolist() == (tg.eye(4) * 2).tolist()


@both
def test_settings_that_make_no_sense_are_noticed_in_a_list_too(executor: str) -> None:
    p = tg.tensor([1.0, 2.0], requires_grad=True)
    optimizer = nn.optim.Adam([p], lr=0.1)
    optimizer.param_groups[0]["betas"] = betas = [0.9, 0.999]

    def step() -> None:
        optimizer.zero_grad()
        (p * p).sum().backward()
        optimizer.step()

    run = tg.compile(step, executor=executor)
    for _ in range(3):
        run()
    betas[0] = 1.5
    with pytest.raises(ValueError, match="betas must be from 0 to below 1"):
        run()


@both
def test_indices_count_from_the_end_where_they_are_negative(executor: str) -> None:
    table = tg.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    run = tg.compile(lambda index: table[index] * 1.0, executor=executor)
    for index in ([0, -1, 2], [-3, 1, -2], [2, 2, 2]):
        assert run(tg.tensor(index)).tolist() == table[tg.tensor(index)].tolist()
    for index in ([0, 3, 0], [0, 0, -4]):
        with pytest.raises(IndexError, match="out of bounds"):
            run(tg.tensor(index))
    assert run(tg.tensor([0, 1, 2])).tolist() == table.tolist()

"""A checkpointed function beside the same one without: numbers, gradients, hooks, and what it does besides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg
from tinygrad_seq.tensor.rng import default_generator
from tinygrad_seq.transforms import fingerprint

Wrapped = Callable[..., Any]


def plain(f: Callable[..., Any], *args: Any) -> Any:
    return f(*args)


def rounded(found: Any) -> Any:
    """Numbers in containers, rounded: gradients are added up in another order."""
    if isinstance(found, (list, tuple)):
        return [rounded(x) for x in found]
    return round(found, 4) if isinstance(found, float) else found


def both(program: Callable[[Wrapped], Any]) -> None:
    """The program gives the same with a checkpoint and without."""
    found = []
    for run in (plain, tg.checkpoint):
        tg.manual_seed(1)
        found.append(rounded(program(run)))
    assert found[0] == found[1]


def leaf(*numbers: float) -> tg.Tensor:
    return tg.tensor(list(numbers), requires_grad=True)


def test_hooks_of_tensors_outside_run_once_with_the_whole_gradient() -> None:
    def program(run: Wrapped) -> Any:
        w, x, calls = nn.Parameter(tg.tensor([2.0])), leaf(3.0), []
        inner = x * 2.0
        inner.retain_grad()
        w.register_hook(lambda g: g * 2.0)
        w.register_hook(lambda g: calls.append(g.tolist()))
        (run(lambda b: b * w * inner, x).sum() + (w * 5.0).sum()).backward()
        return [t.grad.tolist() for t in (w, inner, x) if t.grad is not None], calls

    both(program)


def test_hooks_inside_run_once() -> None:
    def program(run: Wrapped) -> Any:
        w, calls = leaf(2.0), []

        def f(b: tg.Tensor) -> tg.Tensor:
            y = b * w
            y.register_hook(lambda g: calls.append(g.tolist()))
            y.register_hook(lambda g: g * 3.0)
            return y * y

        run(f, leaf(3.0)).sum().backward()
        return w.grad.tolist(), calls  # type: ignore[union-attr]

    both(program)


def test_hooks_of_modules_that_look_on_are_called_once() -> None:
    def program(run: Wrapped) -> Any:
        m, calls = nn.Sequential(nn.Linear(2, 2), nn.Tanh()), []
        m[0].register_forward_hook(lambda *_: calls.append("after"))
        m[1].register_forward_pre_hook(lambda *_: calls.append("before"))
        m[1].register_forward_hook(lambda module, args, y: y * 2.0)
        run(m, tg.ones(3, 2)).sum().backward()
        return [p.grad.tolist() for p in m.parameters() if p.grad is not None], calls

    both(program)


def test_a_hook_that_was_added_afterwards_is_not_called() -> None:
    m, calls = nn.Linear(2, 2), []
    y = tg.checkpoint(m, tg.ones(3, 2))
    m.register_forward_hook(lambda *_: calls.append(1))
    y.sum().backward()
    assert not calls


def test_a_lens_looks_once_and_sees_the_gradients() -> None:
    def program(run: Wrapped) -> Any:
        tg.manual_seed(2)
        lstm, x = nn.LSTM(3, 4), tg.randn(5, 2, 3)
        with nn.lens(lstm) as seen:
            y = run(lambda x: lstm(x)[0], x).square().sum()
        y.backward()  # also when the lens is gone
        layer = seen["l0"]
        return len(layer), layer.gate("f").tolist(), np.round(layer.gradient_norm("c"), 5).tolist()

    both(program)


def test_every_generator_draws_again_what_it_drew() -> None:
    def program(run: Wrapped) -> Any:
        one, other = tg.Generator(1), tg.Generator(2)
        x = tg.ones(4, 4).requires_grad_()

        def f(x: tg.Tensor) -> tg.Tensor:
            x = x * tg.rand(4, 4, generator=one) + x * tg.rand(4, 4)
            return nn.functional.dropout(x, 0.5, generator=one)

        y = run(f, x)
        tg.rand(3, generator=one), tg.rand(3, generator=other)
        y.sum().backward()
        states = [g.get_state() for g in (one, other, tg.default_generator)]
        return x.grad.tolist(), states  # type: ignore[union-attr]

    both(program)


class Statistics(nn.Module):
    """Counts its calls, keeps a running mean by assignment and a sum in place, and uses them."""

    mean: tg.Tensor
    total: tg.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.register_buffer("mean", tg.zeros(2))
        self.register_buffer("total", tg.zeros(2))
        self.calls = 0

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        self.calls += 1
        self.mean = self.mean * 0.9 + x.detach().mean(0) * 0.1
        with tg.no_grad():
            self.total.add_(x.sum(0))
            self.total[0] += 1.0
        return self.linear(x) * self.mean + self.total * x


def test_state_of_a_module_is_changed_once() -> None:
    def program(run: Wrapped) -> Any:
        m, x = Statistics(), tg.tensor([[1.0, 2.0], [3.0, 5.0]], requires_grad=True)
        total = m.total
        y = run(m, x) + run(m, x * 2.0).sum()
        m(x)
        y.sum().backward()
        assert m.total is total
        return m.calls, m.mean.tolist(), m.total.tolist(), [p.grad.tolist() for p in m.parameters()], x.grad.tolist()  # type: ignore[union-attr]

    # the buffer that a plain product saved was written to afterwards, which only a checkpoint undoes
    with pytest.raises(RuntimeError, match="was changed in place"):
        program(plain)
    calls, mean, total, _, _ = program(tg.checkpoint)
    m, x = Statistics(), tg.tensor([[1.0, 2.0], [3.0, 5.0]])
    m(x), m(x * 2.0), m(x)
    assert (calls, mean, total) == (3, m.mean.tolist(), m.total.tolist())


@pytest.mark.parametrize("spoil", ["sign", "order", "nan", "one"])
def test_something_else_the_second_time_is_noticed(spoil: str) -> None:
    """Also what the sum of all sizes does not show."""
    change = tg.arange(100.0) + 1.0
    numbers = np.arange(1.0, 101.0, dtype="f4")
    if spoil == "sign":
        numbers[70] *= -1
    elif spoil == "order":
        numbers[[3, 90]] = numbers[[90, 3]]
    elif spoil == "nan":
        numbers[99] = np.nan
    else:
        numbers[5] += 0.5
    holder = [change]
    x = tg.ones(100).requires_grad_()
    y = tg.checkpoint(lambda x: x + holder[0], x)
    holder[0] = tg.tensor(numbers)
    with pytest.raises(RuntimeError, match="checkpoint: computing again gave something else"):
        y.sum().backward()
    assert x.grad is None


def test_fingerprints_know_what_is_not_finite() -> None:
    x = np.ones(130, "f4")
    same = fingerprint.of(x)
    assert fingerprint.agree(same, fingerprint.of(x * np.float32(1 + 1e-6)))
    for number in (np.nan, np.inf, -np.inf):
        other = x.copy()
        other[128] = number
        assert not fingerprint.agree(same, fingerprint.of(other))
        assert fingerprint.agree(fingerprint.of(other), fingerprint.of(other.copy()))
    assert not fingerprint.agree(same, fingerprint.of(x[:129]))


def test_a_parameter_that_was_replaced_is_noticed() -> None:
    m = nn.Linear(2, 2)
    y = tg.checkpoint(m, tg.ones(3, 2))
    m.weight = nn.Parameter(m.weight.detach().clone())  # the same numbers
    with pytest.raises(RuntimeError, match="checkpoint: computing again used other tensors"):
        y.sum().backward()


def test_a_constant_that_was_changed_is_noticed_where_the_result_does_not_show_it() -> None:
    c, x = tg.ones(2), tg.zeros(2).requires_grad_()
    y = tg.checkpoint(lambda x: x * c, x)
    c.fill_(7.0)
    with pytest.raises(RuntimeError, match="checkpoint: a tensor that the function uses was changed in place"):
        y.sum().backward()


def test_a_frozen_parameter_is_no_other_tensor() -> None:
    def program(run: Wrapped) -> Any:
        m, calls = nn.Linear(2, 2), []
        m.weight.register_hook(lambda g: calls.append(g.tolist()))
        y = run(m, tg.ones(3, 2))
        m.weight.requires_grad_(False)
        y.sum().backward()
        assert m.weight.grad is None
        assert not m.weight.requires_grad
        return m.bias.grad.tolist(), calls  # type: ignore[union-attr]

    both(program)


def test_the_default_device_is_the_one_of_the_first_run(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def f(x: tg.Tensor) -> tg.Tensor:
        seen.append(str(tg.zeros(1).device))
        return x * 2.0

    with tg.device("cpu"):
        y = tg.checkpoint(f, leaf(1.0))
    y.sum().backward()
    assert seen == ["cpu", "cpu"]


def test_checkpoints_in_checkpoints() -> None:
    def program(run: Wrapped) -> Any:
        w, calls, generator = leaf(2.0), [], tg.Generator(4)
        w.register_hook(lambda g: calls.append(g.tolist()))

        def inner(x: tg.Tensor) -> tg.Tensor:
            return x * w * tg.rand(1, generator=generator)

        x = leaf(3.0)
        y = run(lambda x: run(inner, x * w) + run(inner, x), x)
        y.sum().backward(retain_graph=True)
        y.sum().backward()
        return x.grad.tolist(), w.grad.tolist(), calls, generator.get_state()  # type: ignore[union-attr]

    both(program)


def test_second_derivatives_with_hooks_and_random_numbers() -> None:
    def program(run: Wrapped) -> Any:
        w, calls = leaf(2.0, 1.0), []
        w.register_hook(lambda g: calls.append(g.detach().tolist()))

        def f(x: tg.Tensor) -> tg.Tensor:
            return (run(lambda x: (x * w * tg.rand(2)).sin(), x) ** 2).sum()

        x = leaf(3.0, 0.5)
        y = f(x)
        y.backward(create_graph=True)
        (x.grad * x.grad).sum().backward()  # type: ignore[operator]
        return x.grad.tolist(), w.grad.tolist(), calls  # type: ignore[union-attr]

    both(program)


@pytest.mark.parametrize("change", [lambda held: held["log"].append(1), lambda held: held.pop("log")])
def test_a_container_among_the_arguments_that_is_changed(change: Any) -> None:
    held: dict[str, Any] = {"x": tg.ones(2, requires_grad=True), "log": []}

    def f(held: dict[str, Any]) -> tg.Tensor:
        y: tg.Tensor = held["x"] * 2 + tg.rand(2)
        count.add_(1)
        change(held)
        return y

    count, stood = tg.zeros(()), default_generator.get_state()
    with pytest.raises(RuntimeError, match="changes a list or a dictionary among its arguments"):
        tg.checkpoint(f, held)
    assert (held["log"], count.item(), default_generator.get_state()) == ([], 0.0, stood)

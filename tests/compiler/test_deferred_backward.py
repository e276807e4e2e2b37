"""A backward pass that comes after the compiled call: late, again, after changes, from several threads."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg

from .test_agreement import both
from .test_autograd_bridge import close, variable


@both
def test_late_backward_passes(executor: str) -> None:
    lstm = nn.LSTM(2, 3).double()
    f = tg.compile(lambda x: lstm(x)[0].sum(), executor=executor)
    xs = [variable(4, 2, 2, seed=n) for n in range(4)]
    ys = [f(x) for x in xs]
    for n in (2, 0, 3, 1):
        ys[n].backward()
    assert len(f.programs) == 1
    eager = [variable(4, 2, 2, seed=n) for n in range(4)]
    for x, other in zip(xs, eager, strict=True):
        lstm(other)[0].sum().backward()
        close(x.grad, other.grad)


def test_through_a_state_that_is_passed_on() -> None:
    lstm = nn.LSTM(2, 3).double()
    f: Any = tg.compile(lstm)
    grads = []
    for run in (lstm, f):
        lstm.zero_grad()
        x, state, total = variable(3, 2, 2), None, tg.tensor(0.0).double()
        for _ in range(4):
            y, state = run(x, state)
            total = total + y.sum()
        total.backward()
        grads.append([x.grad, *[p.grad for p in lstm.parameters()]])
    close(*grads)
    assert len(f.programs) == 2


def test_twice_with_the_graph_retained_and_once_without() -> None:
    x = variable(3)
    f = tg.compile(lambda x: tg.exp(x).sum())
    y = f(x)
    y.backward(retain_graph=True)
    f(variable(3, seed=9))
    y.backward()
    close(x.grad, 2 * tg.exp(x))
    with pytest.raises(RuntimeError, match="freed by an earlier backward pass"):
        y.backward()


def test_what_a_call_keeps_goes_with_its_graph() -> None:
    f = tg.compile(lambda x: tg.exp(x * 2))
    y = f(variable(3))
    kept = weakref.ref(y.grad_fn.inputs[-1])
    loss = y.sum()
    del y
    assert kept() is not None
    loss.backward()
    gc.collect()
    assert kept() is None


def test_a_change_in_place_is_noticed_or_harmless() -> None:
    w, b = variable(3), variable(3)
    f = tg.compile(lambda x: (x * w + b).sum())
    y = f(tg.ones(3).double())
    with tg.no_grad():
        b.mul_(2.0)  # which no rule asks for
    y.backward()
    x = variable(3)
    y = f(x)
    with tg.no_grad():
        w.mul_(2.0)
    with pytest.raises(RuntimeError, match=r"an input of '<lambda>'.*was changed in place"):
        y.backward()
    z = tg.compile(lambda x: tg.exp(x * 1.0))(x)
    with tg.no_grad():
        x.mul_(2.0)  # the exponential is kept, not x
        kept = z.detach().numpy().copy()
        z.detach().mul_(3.0)
    x.grad = None
    z.sum().backward()
    close(x.grad, tg.tensor(kept))


@pytest.mark.host("NumPy's arrays as arguments")
def test_memory_that_others_can_write_to_is_copied() -> None:
    numbers = np.array([1.0, 2.0, 3.0])
    w = variable(3)
    f = tg.compile(lambda x: (w * tg.tensor(x)).sum())
    for tensor in (np.asarray, tg.from_numpy, lambda x: tg.from_numpy(x).requires_grad_()):
        w.grad = None
        y, before = f(tensor(numbers)), tg.tensor(numbers)
        numbers += 1
        y.backward()
        close(w.grad, before)


@pytest.mark.host("memory that NumPy shares")
def test_a_parameter_in_lent_memory_takes_no_new_plan_at_each_call() -> None:
    w = tg.from_numpy(np.ones(3)).requires_grad_()
    f: Any = tg.compile(lambda x: (w * x).exp().sum())
    plans = []
    for n in range(3):
        x = variable(3, seed=n)
        f(x).backward()
        close(x.grad, tg.exp(x))
        (replay,) = next(iter(f._cache.values()))
        plans.append(replay.backward._executor.plan)
    assert plans[0] is plans[2]


def test_parameters_replaced() -> None:
    layer = nn.Linear(2, 2).double()
    f: Any = tg.compile(layer)
    x = tg.ones(1, 2).double()
    f(x).sum().backward()
    layer.weight.data = tg.full((2, 2), 3.0).double()
    x = variable(1, 2)
    f(x).sum().backward()
    close(x.grad, tg.full((1, 2), 6.0).double())
    layer.load_state_dict({"weight": tg.ones(2, 2), "bias": tg.ones(2)})
    x.grad = None
    f(x).sum().backward()
    close(x.grad, tg.full((1, 2), 2.0).double())
    count = len(f.programs)
    layer.weight = nn.Parameter(tg.full((2, 2), 5.0).double())
    x.grad = None
    f(x).sum().backward()
    close(x.grad, tg.full((1, 2), 10.0).double())
    assert layer.weight.grad is not None
    assert len(f.programs) == count + 1


def test_parameters_frozen_and_thawed() -> None:
    layer = nn.Linear(2, 2)
    f = tg.compile(layer)
    layer.weight.requires_grad_(False)
    f(tg.ones(1, 2)).sum().backward()
    assert layer.weight.grad is None
    layer.weight.requires_grad_()
    f(tg.ones(1, 2)).sum().backward()
    assert layer.weight.grad is not None
    layer.requires_grad_(False)
    assert not f(tg.ones(1, 2)).requires_grad
    layer.requires_grad_()
    f(tg.ones(1, 2)).sum().backward()
    assert len(f.programs) == 3


def test_one_variable_given_twice_and_two_that_share_memory() -> None:
    f = tg.compile(lambda a, b: (a * a * b).sum())
    x = variable(3)
    for _ in range(2):
        x.grad = None
        f(x, x).backward()
        close(x.grad, 3 * x * x)
        other = x.detach().requires_grad_()
        x.grad = None
        f(x, other).backward()
        close([x.grad, other.grad], [2 * x * x, x * x])
        x.grad = None
        f(x, x.detach()).backward()
        close(x.grad, 2 * x * x)


def test_hooks_are_called_once() -> None:
    w, x = variable(3), variable(3)
    seen: list[str] = []

    def note(name: str) -> Any:
        seen.append(name)

    w.register_hook(lambda g: note("w") or g * 2)
    inner = x * 1.0
    inner.register_hook(lambda g: note("x"))
    f = tg.compile(lambda x: (x * w).sum())
    f(inner).backward(retain_graph=True)
    assert sorted(seen) == ["w", "x"]
    close(w.grad, 2 * x)
    w.grad = None
    f(inner).backward(create_graph=True)
    assert sorted(seen) == ["w", "w", "x", "x"]
    close(w.grad, 2 * x)


def test_a_gradient_that_somebody_keeps_stays_as_it_is() -> None:
    w = variable(2)
    f = tg.compile(lambda x: (x * w).sum())
    kept: list[tg.Tensor | None] = []
    for n in range(4):
        w.grad = None
        f(tg.full((2,), float(n)).double()).backward()
        kept.append(w.grad)
    assert [g.tolist() for g in kept if g is not None] == [[n, n] for n in range(4)]


def test_two_threads() -> None:
    layer = nn.LSTM(2, 3).double().requires_grad_(False)  # or the gradients would have a graph of their own
    f = tg.compile(lambda x: layer(x)[0].sum(), executor="numpy")
    xs, one, wrong = [variable(12, 1, 2, seed=n).detach() for n in range(8)], tg.tensor(1.0).double(), []
    expected = [tg.grad(lambda x: layer(x)[0].sum())(x).detach().numpy() for x in xs]

    def work(n: int) -> None:
        for _ in range(30):
            g = tg.vjp(f, xs[n])[1](one)[0].detach().numpy()
            if not np.allclose(g, expected[n], rtol=1e-9):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(xs))]
    often = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    sys.setswitchinterval(often)
    assert not wrong

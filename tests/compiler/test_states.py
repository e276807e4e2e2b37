"""Attributes that a compiled function reads and assigns: states, which each call takes from the one before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import nn
import tinygrad_seq as tg
from nn import optim
from tinygrad_seq import CompileError

Wrap = Callable[[Any], Any]


class Stateful(nn.Module):
    """A layer that goes on where it stopped."""

    state: Any

    def __init__(self, layer: Any = nn.LSTM) -> None:
        tg.manual_seed(0)
        self.layer, self.head, self.state = layer(3, 4), nn.Linear(4, 2), None

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        y, state = self.layer(x, self.state)
        self.state = state.detach()
        return self.head(y)


def values(x: Any) -> Any:
    if isinstance(x, tg.Tensor):
        return [round(v, 5) for v in x.reshape(-1).tolist()]
    return [values(y) for y in x] if isinstance(x, (tuple, list)) else x


def training(wrap: Wrap, layer: Any) -> Any:
    model = Stateful(layer)
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(x: tg.Tensor) -> tg.Tensor:
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    run, found = wrap(step), []
    for k in range(4):
        found.append((values(run(tg.full((5, 2, 3), 0.1 * k))), values(model.state)))
    model.state = None
    found.append((values(run(tg.ones(5, 2, 3))), values(model.state)))
    model.state = model.layer(tg.ones(5, 2, 3))[1].detach()
    held = model.state
    before = values(held)
    found.append((values(run(tg.ones(5, 2, 3))), values(model.state)))
    assert values(held) == before  # a state that somebody has keeps its values
    model.state = None
    return [*found, values(run(tg.ones(5, 3, 3))), values(run(tg.ones(5, 3, 3))), values(run(tg.ones(5, 3, 3)))]


@pytest.mark.parametrize("executor", ["numpy", None])
@pytest.mark.parametrize("mode", [None, "verify"])
@pytest.mark.parametrize("layer", [nn.RNN, nn.LSTM, nn.GRU])
def test_a_recurrent_state(layer: Any, mode: str | None, executor: str | None) -> None:
    compiled = training(lambda f: tg.compile(f, mode=mode, executor=executor), layer)
    assert compiled == training(lambda f: f, layer)


def test_it_is_one_program() -> None:
    model = Stateful()
    run = tg.compile(lambda x: model(x).detach())
    for k in range(6):
        run(tg.full((5, 2, 3), float(k)))
    assert len(run.programs) <= 2  # the first begins with no state


class Average(nn.Module):
    def __init__(self) -> None:
        self.register_buffer("mean", tg.zeros(2))
        self.count, self.last, self.former = tg.zeros(()), tg.zeros(2), tg.zeros(2)


def averaged(m: Any, x: tg.Tensor) -> tg.Tensor:
    m.mean = 0.9 * m.mean + 0.1 * x
    m.count = m.count + 1
    return m.mean / m.count


def delayed(m: Any, x: tg.Tensor) -> tg.Tensor:
    y = m.last + x
    m.last = y.detach() * 0.5
    return y + m.last


def in_place(m: Any, x: tg.Tensor) -> tg.Tensor:
    m.last.add_(x)
    y = m.last * 2
    m.last = y + 1
    return y


def of_one_or_the_other(m: Any, x: tg.Tensor) -> tg.Tensor:
    m.former, m.last = m.last * 1, m.former * 2 + x
    return m.last + m.former


def both_read_twice(m: Any, x: tg.Tensor) -> tg.Tensor:
    y = m.last.sum() + m.last
    m.last = y * 0.1
    return m.last + y + m.last.sum() * x


def returned(m: Any, x: tg.Tensor) -> tg.Tensor:
    m.last = m.last + x
    return m.last


def in_a_tuple(m: Any, x: tg.Tensor) -> tg.Tensor:
    a, b = getattr(m, "pair", (x, x))
    m.pair = (b + x, a * 0.5)
    return m.pair[0] * m.pair[1]


CASES = [averaged, delayed, in_place, of_one_or_the_other, both_read_twice, returned, in_a_tuple]


@pytest.mark.parametrize("mode", [None, "verify"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_states_of_any_module(case: Any, mode: str | None) -> None:
    def outcome(wrap: Wrap) -> Any:
        m: Any = Average()
        found: list[Any] = []
        if case is in_a_tuple:
            m.pair = (tg.ones(2), tg.ones(2))
        run = wrap(lambda x: case(m, x))
        held: Any = m.last
        for k in range(5):
            found.append(values(run(tg.full((2,), k / 2))))
            if k == 2:
                m.last, m.former = tg.ones(2), m.last
            if k == 3:
                m.last = m.former  # one tensor in two places
        return found, values([m.mean, m.count, m.last, m.former, held]), values(getattr(m, "pair", ()))

    assert outcome(lambda f: tg.compile(f, mode=mode)) == outcome(lambda f: f)


def test_a_tensor_that_is_held_elsewhere_stays_another_one() -> None:
    def outcome(wrap: Wrap) -> Any:
        m = Average()
        first = m.last

        def f(x: tg.Tensor) -> Any:
            y = m.last + first + x
            m.last = y * 0.5
            return y

        run = wrap(f)
        return [values(run(tg.ones(2))) for _ in range(4)], values(first)

    assert outcome(tg.compile) == outcome(lambda f: f)


def test_backward_outside() -> None:
    def outcome(wrap: Wrap) -> Any:
        model = Stateful()
        run, found = wrap(model), []
        for k in range(4):
            model.zero_grad()
            run(tg.full((5, 2, 3), 0.1 * k)).square().sum().backward()
            found.append([values(p.grad) for p in model.parameters()])
        return found, values(model.state)

    assert outcome(tg.compile) == outcome(lambda f: f)


def test_in_a_checkpoint() -> None:
    def outcome(wrap: Wrap) -> Any:
        m, w = Average(), nn.Parameter(tg.ones(2))

        def f(x: tg.Tensor) -> tg.Tensor:
            y = (m.last + x * w).tanh()
            m.last = y.detach()
            return y

        run, found = wrap(f), []
        for k in range(4):
            w.grad = None
            tg.checkpoint(run, tg.full((2,), float(k))).sum().backward()
            found.append((values(w.grad), values(m.last)))
        return found

    assert outcome(tg.compile) == outcome(lambda f: f)


def test_a_state_with_its_graph_is_refused() -> None:
    w, m = nn.Parameter(tg.ones(2)), Average()

    def f(x: tg.Tensor) -> tg.Tensor:
        m.last = m.last * w + x
        return m.last.sum()

    run = tg.compile(f)
    run(tg.ones(2))
    with pytest.raises((CompileError, RuntimeError), match=r"compile: "):
        run(tg.ones(2))

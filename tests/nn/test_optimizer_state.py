"""`optimizer.state`: by parameters as with PyTorch, and by their numbers."""

from __future__ import annotations

import copy
import pickle
from collections import defaultdict
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg
from nn import optim


class Momentum(optim.Optimizer):
    """As people write them."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # says less than ours
        with tg.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is None:
                        continue
                    state = self.state[p]
                    if len(state) == 0:
                        state["step"], state["v"] = 0, tg.zeros_like(p)
                    state["step"] += 1
                    state["v"].mul_(0.9).add_(p.grad)
                    p.add_(state["v"], alpha=-group["lr"])


def model_and_optimizer() -> tuple[Any, Any]:
    """With a state of both parameters."""
    model = nn.Linear(2, 1)
    optimizer = optim.Adam(model.parameters())
    model(tg.ones(1, 2)).sum().backward()
    optimizer.step()
    return model, optimizer


def test_state_of_a_parameter() -> None:
    model = nn.Linear(2, 1)
    optimizer = optim.Adam(model.parameters())
    assert optimizer.state[model.weight] == {}
    model, optimizer = model_and_optimizer()
    assert optimizer.state[model.weight]["exp_avg"].shape == (1, 2)
    assert optimizer.state[model.bias] is optimizer.state[1]
    optimizer.load_state_dict(optimizer.state_dict())
    assert optimizer.state[model.weight]["step"] == 1
    with pytest.raises(KeyError):
        optimizer.state[tg.ones(1)]


def test_every_way_to_an_entry_takes_parameters() -> None:
    model, optimizer = model_and_optimizer()
    w, b, other = model.weight, model.bias, tg.ones(3)
    state = optimizer.state
    for keys in (state, state.keys(), state.copy(), copy.copy(state)):
        assert (w in keys, 1 in keys, other in keys, 2 in keys) == (True, True, False, False)
    assert state.get(w) is state[w] is state[0]
    assert (state.get(other), state.get(other, 5)) == (None, 5)
    assert state.setdefault(w, {"n": 1}) is state[0]
    assert state.pop(w)["step"] == 1
    assert (w in state, 0 in state, len(state), state.get(w), state.pop(w, 7)) == (False, False, 1, None, 7)
    state[w] = {"n": 1}
    assert state[0] == {"n": 1}
    del state[w]
    assert [*state] == [1]
    assert state.setdefault(w, {"n": 2}) is state[0]
    state.update({w: {"n": 3}})
    state |= {b: {"n": 4}}
    assert optimizer.state is state
    assert state == {0: {"n": 3}, 1: {"n": 4}}
    assert optimizer.state_dict()["state"] == state


def test_a_tensor_that_is_no_parameter_has_no_state() -> None:
    _, optimizer = model_and_optimizer()
    other, before = tg.ones(3), dict(optimizer.state)
    for change in (
        lambda state: state[other],
        lambda state: state.__setitem__(other, {}),
        lambda state: state.setdefault(other, {}),
        lambda state: state.update({other: {}}),
        lambda state: setattr(optimizer, "state", {other: {}}),
    ):
        with pytest.raises(KeyError, match=r"a tensor of shape \(3,\) that is none of its parameters"):
            change(optimizer.state)
    for take in (lambda state: state.pop(other), lambda state: state.__delitem__(other)):
        with pytest.raises(KeyError):
            take(optimizer.state)
    assert optimizer.state == before


def test_a_state_that_is_assigned() -> None:
    model, optimizer = model_and_optimizer()
    w, b = model.weight, model.bias
    taken = optimizer.state[w]
    optimizer.state = {w: taken}
    assert optimizer.state == {0: taken}
    optimizer.state = defaultdict(dict)
    assert w not in optimizer.state
    optimizer.step()
    assert optimizer.state[w]["step"] == optimizer.state[b]["step"] == 1
    assert [*optimizer.state_dict()["state"]] == [0, 1]
    around = optim.SGD(model.parameters())
    around.state = optimizer.state  # as wrappers do, which share it
    optimizer.state[w]["step"] = 5
    assert around.state[w]["step"] == 5


def test_copies_find_their_own_parameters() -> None:
    model, optimizer = model_and_optimizer()
    for other, copied in (copy.deepcopy((model, optimizer)), pickle.loads(pickle.dumps((model, optimizer)))):
        assert copied.state[other.weight]["step"] == 1
        assert model.weight not in copied.state
        del copied.state[other.bias]
        assert model.bias in optimizer.state
    for copied in (optimizer.state.copy(), copy.copy(optimizer.state)):
        copied[model.weight] = {}
        assert optimizer.state[model.weight]["step"] == 1


def moved(optimizer: Any, gradients: dict[Any, float]) -> list[float]:
    """A step with these gradients, and how far each parameter went."""
    before = [p.item() for p in gradients]
    for p, g in gradients.items():
        p.grad = tg.full(p.shape, g)
    optimizer.step()
    return [old - p.item() for old, p in zip(before, gradients, strict=True)]


def scalars(count: int) -> list[Any]:
    return [nn.Parameter(tg.zeros(1)) for _ in range(count)]


@pytest.mark.parametrize("way", ["step", "state", "state_dict"])
def test_the_state_follows_its_parameter_when_groups_are_changed(way: str) -> None:
    """As it does in PyTorch, which keeps it by parameters."""
    a, b, c = scalars(3)
    optimizer: Any = optim.SGD([{"params": [a]}, {"params": [b]}], lr=1.0, momentum=0.5)
    assert moved(optimizer, {a: 2.0, b: 16.0}) == [2, 16]
    optimizer.param_groups[0]["params"].append(c)
    if way == "state":
        assert optimizer.state[b]["momentum_buffer"].item() == 16
        assert c not in optimizer.state
    elif way == "state_dict":
        assert [*optimizer.state_dict()["state"]] == [0, 2]
    assert moved(optimizer, {a: 2.0, c: 4.0, b: 16.0}) == [3, 4, 24]
    optimizer.param_groups.reverse()
    assert moved(optimizer, {a: 0.0, c: 0.0, b: 0.0}) == [1.5, 2, 12]
    optimizer.param_groups[1]["params"].remove(a)
    assert (a in optimizer.state, len(optimizer.state)) == (True, 3)
    assert [*optimizer.state_dict()["state"]] == [0, 1]
    assert moved(optimizer, {c: 0.0, b: 0.0}) == [1, 6]
    optimizer.param_groups[0]["params"].append(a)
    assert moved(optimizer, {a: 0.0, c: 0.0, b: 0.0}) == [0.75, 0.5, 3]
    assert [*optimizer.state_dict()["state"]] == [0, 1, 2]
    optimizer.param_groups = [{**optimizer.param_groups[0], "params": [b, a, c]}]
    assert moved(optimizer, {a: 0.0, c: 0.0, b: 0.0}) == [0.375, 0.25, 1.5]


@pytest.mark.parametrize("replaced_first", [False, True])
def test_a_parameter_that_is_replaced_may_take_the_state_over(replaced_first: bool) -> None:
    a, b, new = scalars(3)
    optimizer: Any = optim.SGD([a, b], lr=1.0, momentum=0.5)
    moved(optimizer, {a: 2.0, b: 16.0})
    params = optimizer.param_groups[0]["params"]
    if replaced_first:
        params[0] = new
        optimizer.state[new] = optimizer.state.pop(a)
    else:
        kept = optimizer.state.pop(a)
        params[0] = new
        optimizer.state[params[0]] = kept
    assert a not in optimizer.state
    assert moved(optimizer, {new: 2.0, b: 16.0}) == [3, 24]
    params[0] = a  # which begins anew
    assert moved(optimizer, {a: 2.0, b: 16.0}) == [2, 28]


def test_a_compiled_step_follows_changed_groups() -> None:
    def run(compiled: bool) -> list[float]:
        a, b, c = scalars(3)
        optimizer: Any = optim.Adam([{"params": [a]}, {"params": [b], "lr": 0.5}])

        def step(x: tg.Tensor) -> None:
            optimizer.zero_grad()
            ((a - x) ** 2 + (b + x) ** 2 + (c - 2 * x) ** 2).sum().backward()
            optimizer.step()

        call: Any = tg.compile(step) if compiled else step
        for k in range(9):
            if k == 3:
                optimizer.param_groups[0]["params"].insert(0, c)
            if k == 5:
                optimizer.param_groups.reverse()
            if k == 7:
                optimizer.param_groups = [{**optimizer.param_groups[0], "params": [c, a, b]}]
            call(tg.full((1,), 1.0 + k))
        return [a.item(), b.item(), c.item()]

    assert run(True) == pytest.approx(run(False), rel=1e-5)


@pytest.mark.parametrize("compiled", [False, True])
def test_an_optimizer_as_people_write_them(compiled: bool) -> None:
    model = nn.Linear(2, 1, bias=False)
    start = model.weight.detach().clone()
    mine = Momentum(model.parameters(), {"lr": 0.1})

    def step(x: tg.Tensor) -> None:
        mine.zero_grad()
        model(x).sum().backward()
        mine.step()

    run: Any = tg.compile(step) if compiled else step
    for _ in range(3):
        run(tg.ones(1, 2))
    expected = start.numpy() - 0.1 * (1 + 1.9 + 2.71)
    np.testing.assert_allclose(model.weight.detach().numpy(), expected, rtol=1e-6)
    assert mine.state[model.weight]["step"] == 3

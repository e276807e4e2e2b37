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

    def step(self, closure: Any = None) -> None:
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

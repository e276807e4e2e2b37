"""A compiled module is the module to others: its attributes, parts and copies, and its state dict."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

import nn
import tinygrad_seq as tg

from .test_autograd_bridge import close


class Small(nn.Module):
    def __init__(self) -> None:
        self.rnn = nn.LSTM(3, 4)
        self.out = nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.5))

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.out(self.rnn(x)[0])


def test_a_compiled_module_is_the_module_to_others() -> None:
    model = Small()
    compiled: Any = tg.compile(model)
    passes: bool = isinstance(compiled, nn.Module)
    assert passes
    assert all(a is b for a, b in zip(compiled.parameters(), model.parameters(), strict=True))
    assert compiled.state_dict().keys() == model.state_dict().keys()
    compiled.eval()
    assert not model.out.training
    compiled.note = "set"
    assert vars(model)["note"] == "set"
    del compiled.note
    assert "note" not in vars(model)
    assert compiled.rnn is model.rnn
    assert compiled._orig_mod is model
    assert "out" in dir(compiled)
    assert repr(compiled).startswith("<compiled Small(")
    with pytest.raises(AttributeError, match="nothing_such"):
        compiled.nothing_such  # noqa: B018
    double = compiled.double()
    assert double is model
    compiled.load_state_dict({name: tg.zeros_like(p) for name, p in model.state_dict().items()})
    assert compiled(tg.ones(2, 1, 3).double()).tolist() == [[[0.0, 0.0]], [[0.0, 0.0]]]


def test_a_compiled_part_of_a_module() -> None:
    model: Any = Small().eval()
    x = tg.ones(2, 1, 3)
    names, y = [*model.state_dict()], model(x)
    model.rnn, model.out = tg.compile(model.rnn), tg.compile(model.out)
    assert [*model.state_dict()] == names
    close(model(x), y, rtol=1e-6, atol=1e-6)
    assert len(model.out) == 2
    assert model.out[0] is [*model.out][0]  # noqa: RUF015
    assert model.out
    model(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert len(model.rnn.programs) == 1
    plain, zeros = Small().eval(), {"rnn.weight_ih_l0": tg.zeros(16, 3)}
    plain.load_state_dict(model.state_dict())
    close(nn.functional_call(model, zeros, (x,)), nn.functional_call(plain, zeros, (x,)), rtol=1e-6, atol=1e-6)


def test_copies_of_a_compiled_module() -> None:
    model = tg.compile(Small().eval())
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        close(other(tg.ones(2, 1, 3)), model(tg.ones(2, 1, 3)))
        assert other.rnn is not model.rnn
    outer = nn.Sequential(model)
    assert copy.deepcopy(outer)[0].rnn is not model.rnn

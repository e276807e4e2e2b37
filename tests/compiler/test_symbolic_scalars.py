"""A Python number that has had a second value is an input of the program: nothing is recorded for a third one."""

from __future__ import annotations

import argparse
import dataclasses
import math
import threading
import types
import weakref
from collections import ChainMap
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nn
import nn.functional as F
import tinygrad_seq as tg
from nn import optim

rate = 1.0
table: dict[str, Any] = {"rate": 1.0, "deep": [{"rate": 1.0}]}
listed = [1.0]
namespace = argparse.Namespace(rate=1.0)
here = types.ModuleType("settings_of_the_test")
here.rate = 1.0  # type: ignore[attr-defined]


class OfClass:
    rate = 1.0


class Derived(OfClass):
    pass


@dataclasses.dataclass
class OfDataclass:
    rate: float = 1.0


class Slotted:
    __slots__ = ("rate",)
    rate: float


class OfMeta(type):
    rate = 1.0


class Made(metaclass=OfMeta):
    pass


class Hidden:
    def __init__(self) -> None:
        self._rate = 1.0

    @property
    def rate(self) -> float:
        return self._rate

    def found(self) -> float:
        return self._rate

    def __getitem__(self, key: str) -> float:
        return self._rate


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.factor = 1.0
        self.settings = types.SimpleNamespace(rate=1.0)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return x * self.factor * self.settings.rate


class Scaled(nn.Module):
    scale = 1.0

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return x * self.scale


def of_global(x: tg.Tensor) -> tg.Tensor:
    return x * rate


dataclass, slotted, hidden, model, scaled = OfDataclass(), Slotted(), Hidden(), Model(), Scaled()
slotted.rate = 1.0


chained: ChainMap[str, float] = ChainMap({}, {"rate": 1.0})
weak = weakref.ref(dataclass)


def item(holder: Any, key: Any) -> Callable[[Any], None]:
    return lambda value: holder.__setitem__(key, value)


def attribute(holder: Any, name: str) -> Callable[[Any], None]:
    return lambda value: setattr(holder, name, value)


def of_closure() -> tuple[Callable[[tg.Tensor], tg.Tensor], Callable[[Any], None]]:
    held = 1.0

    def f(x: tg.Tensor) -> tg.Tensor:
        return x * held

    def put(value: float) -> None:
        nonlocal held
        held = value

    return f, put


FOUND: dict[str, tuple[Callable[[tg.Tensor], tg.Tensor], Callable[[Any], None]]] = {
    "global": (of_global, item(globals(), "rate")),
    "helper": (lambda x: of_global(x), item(globals(), "rate")),
    "closure": of_closure(),
    "dictionary": (lambda x: x * table["rate"], item(table, "rate")),
    "dictionary in a list": (lambda x: x * table["deep"][0]["rate"], item(table["deep"][0], "rate")),
    "list": (lambda x: x * listed[0], item(listed, 0)),
    "namespace": (lambda x: x * namespace.rate, attribute(namespace, "rate")),
    "getattr": (lambda x: x * getattr(namespace, "rate"), attribute(namespace, "rate")),  # noqa: B009
    "module of settings": (lambda x: x * here.rate, attribute(here, "rate")),
    "metaclass": (lambda x: x * Made.rate, attribute(OfMeta, "rate")),
    "ChainMap": (lambda x: x * chained["rate"], item(chained.maps[1], "rate")),
    "weak reference": (lambda x: x * weak().rate, attribute(dataclass, "rate")),  # type: ignore[union-attr]
    "globals": (lambda x: x * globals()["rate"], item(globals(), "rate")),
    "class": (lambda x: x * OfClass.rate, attribute(OfClass, "rate")),
    "base class": (lambda x: x * Derived.rate, attribute(OfClass, "rate")),
    "dataclass": (lambda x: x * dataclass.rate, attribute(dataclass, "rate")),
    "slots": (lambda x: x * slotted.rate, attribute(slotted, "rate")),
    "property": (lambda x: x * hidden.rate, attribute(hidden, "_rate")),
    "method": (lambda x: x * hidden.found(), attribute(hidden, "_rate")),
    "item": (lambda x: x * hidden["any"], attribute(hidden, "_rate")),
    "model": (lambda x: model(x), attribute(model, "factor")),
    "settings of a model": (lambda x: model(x), attribute(model.settings, "rate")),
    "class of a model": (lambda x: scaled(x), attribute(Scaled, "scale")),
}


@pytest.mark.parametrize("way", FOUND)
def test_found_by_name(way: str) -> None:
    f, put = FOUND[way]
    compiled = tg.compile(f)
    x = tg.ones(2)
    try:
        for value in (1.0, 1.0, 2.0, 3.0, -0.5, 1.0):
            put(value)
            assert compiled(x).tolist() == f(x).tolist() == [value, value]
    finally:
        put(1.0)
    assert len(compiled.programs) <= (2 if way != "class of a model" else 5)


def test_what_was_symbolic_is_a_number_again() -> None:
    compiled = tg.compile(of_global)
    try:
        for value in (1.0, 2.0, 3.0):
            globals()["rate"] = value
            compiled(tg.ones(2))
            assert type(rate) is float
            assert rate == value
    finally:
        globals()["rate"] = 1.0


# --- arguments, in every operation that takes a number ---

x = tg.tensor([[0.3, -1.2, 2.5], [1.1, 0.4, -0.7]], dtype=tg.float64)
whole = tg.tensor([[1, 2, 3], [4, 5, 6]])
OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "add": lambda v: x + v,
    "radd": lambda v: v + x,
    "sub": lambda v: x - v,
    "rsub": lambda v: v - x,
    "mul": lambda v: x * v,
    "div": lambda v: x / v,
    "rdiv": lambda v: v / (x + 9),
    "floor division": lambda v: x // v,
    "remainder": lambda v: x % v,
    "power": lambda v: (x * x + 0.1) ** v,
    "rpower": lambda v: v**x,
    "whole": lambda v: whole * v,
    "single": lambda v: x.float() * v,
    "greater": lambda v: x > v,
    "equal": lambda v: x == v,
    "maximum": lambda v: tg.maximum(x, tg.tensor(v, dtype=tg.float64)),
    "clamp": lambda v: x.clamp(-v, v),
    "where": lambda v: tg.where(x > 0, x, v),
    "where both": lambda v: tg.where(x > 0, v, -v),
    "masked_fill": lambda v: x.masked_fill(x > 0, v),
    "full": lambda v: tg.full((2, 2), v),
    "full_like": lambda v: tg.full_like(x, v),
    "tensor": lambda v: tg.tensor(v),
    "tensor of a list": lambda v: tg.tensor([v, 1.0]),
    "arange": lambda v: tg.arange(v),
    "lerp": lambda v: tg.lerp(x, x * 2, v) if hasattr(tg, "lerp") else x,
    "leaky_relu": lambda v: F.leaky_relu(x, v),
    "elu": lambda v: F.elu(x, v),
    "softplus": lambda v: F.softplus(x, v),
    "dropout": lambda v: F.dropout(x, min(v / 9, 0.9), training=False),
    "label smoothing": lambda v: F.cross_entropy(x, tg.tensor([0, 2]), label_smoothing=min(v / 9, 0.9)),
    "smooth_l1": lambda v: F.smooth_l1_loss(x, x * 2, beta=v),
    "huber": lambda v: F.huber_loss(x, x * 2, delta=v),
    "norm": lambda v: x.norm(v),
    "sum of a dimension": lambda v: x.sum(int(v) % 2),
    "index": lambda v: x[int(v) % 2],
    "slice": lambda v: x[:, : int(v)],
    "reshape": lambda v: x.reshape(-1, 3 if v > 2 else 2),
    "roll": lambda v: tg.roll(x, int(v), 1) if hasattr(tg, "roll") else x,
    "in place": lambda v: x.clone().mul_(v).add_(v),
    "fill_": lambda v: x.clone().fill_(v),
    "set": lambda v: with_item(x.clone(), v),
    "addcmul": lambda v: tg.addcmul(x, x, x, value=v) if hasattr(tg, "addcmul") else x,
    "math": lambda v: x * math.sqrt(v),
    "numpy": lambda v: x * float(np.exp(v)),
    "text": lambda v: x * len(f"{v:.3f}"),
    "branch": lambda v: x * 2 if v > 2 else x * 3,
    "table": lambda v: x * {2: 5.0}.get(v, 7.0),
    "loop": lambda v: sum((x for _ in range(int(v))), x),
    "arithmetic": lambda v: x * ((v + 1) ** 2 / 3 - v // 2 + abs(-v) % 3),
    "number": lambda v: (x, v * 2),
    "whole numbers": lambda v: whole + int(v),
    "divmod": lambda v: x * divmod(v, 2)[1],
    "min": lambda v: x * min(v, 2.5),
    "round": lambda v: x * round(v),
    "is instance": lambda v: x * (2 if isinstance(v, int) else 3),
    "type": lambda v: x * v.__class__(3),
}


def with_item(y: tg.Tensor, v: Any) -> tg.Tensor:
    y[0] = v
    return y


def plain(found: Any) -> Any:
    return (
        [plain(y) for y in found] if isinstance(found, tuple) else found.tolist() if hasattr(found, "tolist") else found
    )


@pytest.mark.parametrize("executor", ["numpy", None])
@pytest.mark.parametrize("kind", [float, int])
@pytest.mark.parametrize("name", OPERATIONS)
def test_as_an_argument(name: str, kind: type[Any], executor: str | None) -> None:
    f = OPERATIONS[name]
    compiled = tg.compile(f, executor=executor)
    for value in (1, 2, 3, 4, 3, 1, 5):
        with np.errstate(all="ignore"):
            expected, found = plain(f(kind(value))), plain(compiled(kind(value)))
        assert type(found) is type(expected)
        if name == "number":
            assert found[1] == expected[1]
            assert type(found[1]) is kind
            found, expected = found[0], expected[0]
        np.testing.assert_allclose(np.array(found), np.array(expected), rtol=1e-12)


def test_programs_of_a_number() -> None:
    symbolic = ["add", "rsub", "mul", "power", "clamp", "masked_fill", "tensor", "leaky_relu", "where"]
    for name in symbolic:
        compiled = tg.compile(OPERATIONS[name])
        for value in (1.5, 2.5, 3.5, 4.5, 5.5):
            compiled(value)
        assert len(compiled.programs) == 1, name  # those of one value each are gone


def test_two_numbers_of_which_one_varies() -> None:
    compiled = tg.compile(lambda y, n, v: (y * v).reshape(n, -1))
    for v in (1.0, 2.0, 3.0, 4.0):
        assert compiled(x, 3, v).tolist() == (x * v).reshape(3, -1).tolist()
    assert len(compiled.programs) == 1
    assert compiled(x, 2, 4.0).tolist() == (x * 4).reshape(2, -1).tolist()
    assert compiled(x, 3, 5.0).tolist() == (x * 5).reshape(3, -1).tolist()


def test_a_number_for_which_another_branch_is_taken() -> None:
    compiled = tg.compile(lambda y, p: y * 0 if p == 1 else y / (1 - p))
    for p in (0.5, 0.25, 0.75, 1.0, 0.5, 1.0):
        assert compiled(x, p).tolist() == (x * 0 if p == 1 else x / (1 - p)).tolist()
    with pytest.raises(ZeroDivisionError):
        tg.compile(lambda y, p: y / (1 / (1 - p)))(x, 1.0)


def test_gradients_through_a_number_that_varies() -> None:
    w = nn.Parameter(tg.ones(2))
    compiled = tg.compile(lambda v: (w * w * v).sum())
    for v in (1.0, 2.0, 3.0, 4.0):
        w.grad = None
        y = compiled(v)
        y.backward()
        assert w.grad is not None
        assert w.grad.tolist() == [2 * v, 2 * v]


def test_a_warm_up_by_an_argument_of_a_training_step() -> None:
    losses: list[Any] = []
    for wrap in (lambda f: f, tg.compile):
        tg.manual_seed(0)
        net = nn.Linear(3, 1, dtype=tg.float64)
        optimizer = optim.Adam(net.parameters())

        def step(y: tg.Tensor, warm: float, net: Any = net, optimizer: Any = optimizer) -> tg.Tensor:
            loss = (net(y) ** 2).mean() * warm
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        run = wrap(step)
        losses.append([run(x, min(1.0, (n + 1) / 8)).item() for n in range(12)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-9)


def test_threads_see_numbers_while_one_records() -> None:
    compiled, seen, stop = tg.compile(lambda y: tg.tanh(of_global(y))), set[type[Any]](), threading.Event()

    def watch() -> None:
        while not stop.is_set():
            product = rate * 2.0
            seen.add(type(product))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        for value in (1.0, 2.0, 3.0, 4.0):
            globals()["rate"] = value
            compiled(tg.ones(2))
            compiled(tg.ones(int(value) + 2))
    finally:
        globals()["rate"] = 1.0
        stop.set()
        thread.join()
    assert seen == {float}

"""What a reader of the compiler found: each case was wrong in silence, or done twice."""

from __future__ import annotations

import array
import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import nn
import nn.functional as F
import tinygrad_seq as tg
from nn import optim

ONES = tg.ones(2)
act: Any = F.relu
settings: dict[str, Any] = {"scale": 2.0}
picked: Any = [0, 1]
typed = array.array("d", [0.0])
numbers = np.ones((2, 2))


class Holder:
    kept = tg.zeros(1)
    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state = tg.zeros(1)


@pytest.mark.parametrize(
    "use",
    [
        lambda n: ONES + tg.full((2,), n),
        lambda n: ONES * (math.isnan(math.sqrt(n)) + 2),
        lambda n: ONES * len(str(n)),
        lambda n: ONES + tg.tensor([n, n]),
    ],
)
def test_a_number_that_becomes_nan(use: Callable[[float], tg.Tensor]) -> None:
    compiled = tg.compile(use)
    for n in (1.0, 2.0, 3.0, float("nan"), -0.0, 0.0):
        np.testing.assert_array_equal(compiled(n).numpy(), use(n).numpy())


def test_containers_that_are_changed_and_replaced() -> None:
    global settings, picked
    scaled = tg.compile(lambda x: x * settings["scale"])
    for scale in (2.0, 3.0, 4.0):
        settings["scale"] = scale
        settings = dict(settings)
        assert scaled(ONES).tolist() == [scale, scale]
    taken = tg.compile(lambda y: y[picked])
    y = tg.arange(4.0).reshape(2, 2)
    for picked in ([0, 1], (0, 1), [1, 0]):
        assert taken(y).tolist() == y[picked].tolist()

    def ordered(x: tg.Tensor) -> tg.Tensor:
        for v in settings.values():
            x = x * v + 1
        return x

    compiled = tg.compile(ordered)
    for entries in ({"a": 2.0, "b": 3.0}, {"b": 3.0, "a": 2.0}):
        settings.clear()
        settings.update(entries)
        assert compiled(ONES).tolist() == ordered(ONES).tolist()
    settings = {"scale": 2.0}


def test_arrays_by_their_bytes_and_shapes() -> None:
    f = tg.compile(lambda x: x * math.copysign(1.0, typed[0]) * len(typed))
    for value in (0.0, -0.0, float("nan"), float("nan")):
        typed[0] = value
        assert f(ONES).tolist() == [math.copysign(1.0, value)] * 2
    g = tg.compile(lambda x: x * numbers.shape[0])
    for shape in ((2, 2), (4,), (1, 4)):
        numbers.shape = shape
        assert g(ONES).tolist() == [float(shape[0])] * 2


def test_a_name_for_a_function_of_a_library() -> None:
    global act
    compiled = tg.compile(lambda x: act(x - 2))
    for act in (F.relu, F.gelu, tg.tanh):
        assert compiled(ONES).tolist() == pytest.approx(act(ONES - 2).tolist())
    act = F.relu


@dataclasses.dataclass(frozen=True)
class Equal:
    a: Any
    rest: Any = dataclasses.field(default=None, compare=False)


def test_arguments_that_are_equal_and_not_alike() -> None:
    compiled = tg.compile(lambda x, k: x * k.rest)
    for rest in (2.0, 3.0, 2.0):
        assert compiled(ONES, Equal(1.0, rest)).tolist() == [rest, rest]
    assert len(compiled.programs) == 2
    whole = tg.compile(lambda x, k: x * k.a)
    for a, kind in ((1, tg.int64), (1.0, tg.float32)):
        assert whole(tg.ones(2, dtype=tg.int64), Equal(a)).dtype == kind


def test_the_type_of_a_number_that_varies() -> None:
    compiled = tg.compile(lambda x, n: x * 2 if type(n) is int else x * 3)
    assert [compiled(ONES, n).tolist() for n in (1, 2, 3, 4)] == [[2.0, 2.0]] * 4


def added(w: tg.Tensor, x: tg.Tensor) -> tg.Tensor:
    with tg.no_grad():
        w.add_(x)
    return w.sum()


def test_verify_puts_back_all_that_it_reaches() -> None:
    holder, w = Holder(), tg.zeros(2)
    of_defaults: Callable[..., Any] = lambda x, w=w: added(w, x)  # noqa: E731
    ways: list[Callable[[tg.Tensor], Any]] = [
        partial(added, w),
        of_defaults,
        lambda x: added(holder.state, x[:1]),
        lambda x: added(Holder.kept, x[:1]),
        lambda x: (lambda y: added(holder.state, y[:1]))(x),
    ]
    for way in ways:
        tg.compile(way, mode="verify")(ONES)
        tg.compile(way, mode="verify")(ONES)
    assert w.tolist() == [4.0, 4.0]
    assert (holder.state.item(), Holder.kept.item()) == (4.0, 2.0)


def test_a_compiled_module_leaves_nothing_in_the_module() -> None:
    module = nn.Linear(2, 2)
    before = {*vars(module)}
    one: Any = tg.compile(module)
    other: Any = tg.compile(module)
    assert {*vars(module)} == before
    assert one._varying is not other._varying
    one.note = 3
    assert vars(module)["note"] == 3


def test_a_view_of_an_array_that_a_tensor_had_before() -> None:
    x = tg.ones(2, 2, requires_grad=True) * 1
    v = x[0]
    x.data = tg.zeros(2, 2)
    v.mul_(3)
    assert (x.tolist(), v.tolist()) == ([[0.0, 0.0], [0.0, 0.0]], [3.0, 3.0])
    y = tg.ones(2, 2)
    v = y[0]
    y.data = tg.zeros(2, 2)
    y[0] = v
    assert y.tolist() == [[1.0, 1.0], [0.0, 0.0]]


def test_many_updates_that_are_read_afterwards() -> None:
    w = tg.tensor(0.5, requires_grad=True)

    def f(x: tg.Tensor) -> tg.Tensor:
        out = tg.zeros(150)
        for t in range(150):
            out[t] = w * t
        return sum((out[t] for t in range(150)), x)

    compiled = tg.compile(f)
    for _ in range(2):
        w.grad = None
        y = compiled(tg.ones(()))
        y.backward()
        assert (y.item(), w.grad.item()) == (pytest.approx(f(tg.ones(())).item()), 150 * 149 / 2)  # type: ignore[attr-defined]


def test_a_call_that_is_not_recorded_runs_once() -> None:
    """An optimizer's first step runs as it is, with a number that varies, too; what it raises is raised once."""
    w = nn.Parameter(tg.ones(1))
    optimizer, calls = optim.Adam([w]), []

    def step(x: tg.Tensor, scale: float) -> tg.Tensor:
        loss = (w * x * scale).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if scale == 4.0 and not hasattr(w.array, "tracer"):  # not while it is watched
            calls.append(scale)
            raise ValueError("after the step")
        return loss

    compiled = tg.compile(step)
    for scale in (1.0, 1.0, 2.0, 3.0):
        compiled(tg.ones(1), scale)
    optimizer.state.clear()
    with pytest.raises(ValueError, match="after the step"):
        compiled(tg.ones(1), 4.0)
    assert calls == [4.0]


def test_the_numbers_of_a_view_are_those_of_now() -> None:
    def picked(x: tg.Tensor, n: tg.Tensor) -> tg.Tensor:
        kept = tg.zeros(3, dtype=tg.int64)
        shown = kept[:2]
        with tg.no_grad():
            kept[:] = n
        return x * sum(shown.tolist())

    with pytest.raises(tg.CompileError, match="Python asks for the numbers in a tensor"):
        tg.compile(picked)(ONES, tg.full((3,), 2))
    fixed = tg.compile(lambda x: picked(x, tg.full((3,), 2, dtype=tg.int64)))
    assert fixed(ONES).tolist() == fixed(ONES).tolist() == [4, 4]


@pytest.mark.parametrize("executor", ["numpy", None])
def test_a_replay_inside_of_a_checkpoint_is_run_again_to_the_same_effect(executor: str | None) -> None:
    """What it draws, writes and assigns is as it was when it ran first."""

    class Model(nn.Module):
        def __init__(self) -> None:
            self.linear, self.drop = nn.Linear(3, 3), nn.Dropout(0.5)
            self.register_buffer("calls", tg.zeros(1))
            self.last: Any = None

        def forward(self, x: tg.Tensor) -> tg.Tensor:
            self.calls: tg.Tensor
            self.calls.add_(1.0)
            self.last = self.drop(self.linear(x)) * self.calls
            return self.last * 2

    def seen(wrap: Callable[[Any], Any], call: Callable[..., Any]) -> list[Any]:
        tg.manual_seed(0)
        model = Model()
        f, found = wrap(model), []
        for k in range(4):
            x = tg.full((2, 3), k + 1.0).requires_grad_()
            y = call(f, x).sum()
            tg.rand(3)
            y.backward()
            place = tg.default_generator.get_state()
            assert x.grad is not None
            found.append((y.item(), x.grad.tolist(), model.last.tolist(), model.calls.tolist(), place))
        return found

    eagerly = seen(lambda f: f, lambda f, x: f(x))
    compiled = seen(lambda f: tg.compile(f, executor=executor), tg.checkpoint)
    assert [row[2:] for row in compiled] == [row[2:] for row in eagerly]
    np.testing.assert_allclose([row[0] for row in compiled], [row[0] for row in eagerly], rtol=1e-6)
    np.testing.assert_allclose([row[1] for row in compiled], [row[1] for row in eagerly], rtol=1e-6)


def test_modules_that_a_call_makes_are_its_own() -> None:
    """Losses and layers made inside have settings and parameters, which nobody outside sees."""

    def f(x: tg.Tensor) -> tg.Tensor:
        layers = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))
        layers.add_module("last", nn.Dropout(0.5))
        return nn.MSELoss(reduction="sum")(layers(x).detach(), tg.ones(2, 2)) + nn.Flatten()(x).sum()

    compiled = tg.compile(f)
    for k in range(4):
        x = tg.full((2, 3), float(k))
        tg.manual_seed(k)
        right = f(x).item()
        tg.manual_seed(k)
        assert compiled(x).item() == pytest.approx(right, rel=1e-6)


def test_a_second_derivative_runs_the_function_itself() -> None:
    """jvp, hvp and nested derivatives of what changes something outside, or of parameters that are lent to it."""
    calls = tg.zeros(1)
    linear = nn.Linear(3, 1)

    def f(x: tg.Tensor) -> tg.Tensor:
        calls.add_(1.0)
        return (linear(x) ** 3).sum()

    compiled = tg.compile(f)
    x, v = tg.randn(2, 3), tg.randn(2, 3)
    for derivative in (
        lambda f: tg.jvp(f, (x,), (v,)),
        lambda f: tg.hvp(f, (x,), (v,)),
        lambda f: tg.grad(lambda x: (tg.grad(f)(x) * v).sum())(x),
    ):
        compiled(x)
        before = calls.item()
        right = str(derivative(f))
        once = calls.item() - before
        assert str(derivative(compiled)) == right
        assert calls.item() == before + 2 * once

"""State that Python keeps outside of tensors, wherever a function finds it: as eagerly, or refused."""

from __future__ import annotations

import copy
import dataclasses
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg
from nn import optim

from .python_state_cases import FOLLOWED, REFUSED, Box, Case, Compile, followed, refused, x

# --- what holds others ---


@pytest.mark.parametrize("wrap", [tg.no_grad(), tg.vmap, lambda g: tg.grad(lambda y: g(y).sum())])
def test_what_a_decorator_of_a_library_holds(wrap: Any) -> None:
    box = Box(scale=1.0)
    f = tg.compile(wrap(lambda y: y * box.scale))
    for k in range(4):
        box.scale = float(k)
        assert f(x()).tolist() == [float(k)] * 3


# --- modules inside of others, and hooks ---


def inside(of: Callable[[list[int], dict[str, int]], nn.Module]) -> Case:
    def case(compiles: Compile) -> Callable[[int], Any]:
        calls, table = [0], {"n": 0}
        f = compiles(nn.Sequential(nn.Tanh(), of(calls, table)))
        return lambda k: f(x()) if k < 9 else (calls, table)

    return case


class Counting(nn.Module):
    def __init__(self, table: dict[str, int]) -> None:
        self.table = table

    def forward(self, y: tg.Tensor) -> tg.Tensor:
        self.table["n"] += 1
        return y * self.table["n"]


def with_hook(calls: list[int], _: Any) -> nn.Module:
    def hook(*_: Any) -> None:
        calls[0] += 1

    module = nn.Tanh()
    module.register_forward_hook(hook)
    return module


REFUSED["a dictionary of a module"] = inside(lambda _, table: Counting(table)), "changes the dict"
REFUSED["a list that a hook changes"] = inside(with_hook), "changes the list 'calls'"


@refused("changes the list 'calls'")
def a_hook_of_a_parameter_that_counts(compiles: Compile) -> Callable[[int], Any]:
    w, calls = nn.Parameter(tg.ones(3)), [0]

    def hook(_: tg.Tensor) -> None:
        calls[0] += 1

    w.register_hook(hook)
    f = compiles(lambda y: (w * y).sum().backward())
    return lambda k: f(x()) if k < 9 else (calls, w.grad)


@followed
def hooks_of_a_parameter(compiles: Compile) -> Callable[[int], Any]:
    hooks: list[Any]
    w, hooks, box = nn.Parameter(tg.ones(3)), [], Box(scale=1.0)

    def step(y: tg.Tensor) -> None:
        w.grad = None
        (w * y).sum().backward()

    f = compiles(step)

    def call(k: int) -> Any:
        box.scale = float(k)
        if k == 2:
            hooks.append(w.register_hook(lambda g: g * box.scale))
        if k == 4:
            hooks.pop().remove()
        f(x())
        assert w.grad is not None
        return w.grad.clone()

    return call


# --- arguments and results ---


@refused("changes a list or a dictionary among its arguments")
def a_dictionary_that_gets_an_entry(compiles: Compile) -> Callable[[int], Any]:
    def g(batch: dict[str, tg.Tensor]) -> tg.Tensor:
        batch["y"] = batch["x"] * 2
        return batch["y"]

    f, batch = compiles(g), {"x": x()}
    return lambda k: f(batch) if k < 9 else [*batch]


@refused("changes a list or a dictionary among its arguments")
def a_list_that_loses_an_entry(compiles: Compile) -> Callable[[int], Any]:
    f, batch = compiles(lambda xs: xs.pop() * 2), [x(), x()]
    return lambda k: f(batch) if k < 9 else len(batch)


@followed
def whether_a_tensor_requires_a_gradient(compiles: Compile) -> Callable[[int], Any]:
    w = tg.ones(3)
    f = compiles(lambda y: y * 2 if w.requires_grad else y)

    def call(k: int) -> Any:
        w.requires_grad_(k in (2, 4))
        return f(x())

    return call


@followed
def one_result_twice(compiles: Compile) -> Callable[[int], Any]:
    def g(y: tg.Tensor) -> tuple[tg.Tensor, ...]:
        y = y * 2
        return y, y + 1, y

    f = compiles(g)

    def call(k: int) -> Any:
        a, b, c = f(x() * k)
        a.add_(1)
        return a, b, c, a is c

    return call


class Scaled(dict[str, Any]):
    factor = 1.0

    def total(self) -> Any:
        return self["x"] * self.factor * SCALE["all"]


SCALE = {"all": 1.0}


@followed
def a_method_of_a_dictionary(compiles: Compile) -> Callable[[int], Any]:
    f = compiles(lambda batch: batch.total())

    def call(k: int) -> Any:
        SCALE["all"], Scaled.factor = float(k), 1.0 + k // 3
        return f(Scaled(x=x()))

    return call


class Tagged(list[Any]):
    scale = 1.0


@followed
def an_attribute_of_a_list(compiles: Compile) -> Callable[[int], Any]:
    f, given = compiles(lambda xs: xs[0] * xs.scale), Tagged([x()])

    def call(k: int) -> Any:
        given.scale = float(k)
        return f(given)

    return call


@followed
def a_method_of_a_class(compiles: Compile) -> Callable[[int], Any]:
    class Scaled:
        scale = 1.0
        of_class: Any = classmethod(compiles(lambda cls, y: y * cls.scale))

    class Other(Scaled):
        scale = 5.0

    def call(k: int) -> Any:
        Scaled.scale = float(k)
        return Scaled.of_class(x()), Other.of_class(x()), Other().of_class(x())

    return call


@followed
def a_copy_made_inside(compiles: Compile) -> Callable[[int], Any]:
    w = tg.ones(3)
    f = compiles(lambda y: copy.deepcopy(w) * y + copy.deepcopy(y))

    def call(k: int) -> Any:
        w.fill_(float(k))
        return f(x())

    return call


def test_arguments_that_cannot_be_compared() -> None:
    @dataclasses.dataclass(frozen=True)
    class Batch:
        y: tg.Tensor

    f = tg.compile(lambda y, batch: y * batch.y)
    for k in range(3):
        assert f(x(), Batch(x() * k)).tolist() == [float(k)] * 3


def test_work_for_other_threads_is_refused() -> None:
    def by_a_thread(y: tg.Tensor) -> tg.Tensor:
        found: list[tg.Tensor] = []
        thread = threading.Thread(target=lambda: found.append(y * 2))
        thread.start()
        thread.join()
        return found[0]

    with ThreadPoolExecutor(1) as pool:
        for g in by_a_thread, lambda y: pool.submit(lambda: y * 2).result():
            for _ in range(2):
                with pytest.raises(tg.CompileError, match="starts a thread, or gives one of a pool something to do"):
                    tg.compile(g)(x())
                assert g(x()).tolist() == [2.0, 2.0, 2.0]


def test_the_state_of_an_optimizer_by_the_parameter() -> None:
    w = nn.Parameter(tg.ones(2))
    optimizer = optim.Adam([w], lr=0.1)

    def step(y: tg.Tensor) -> tg.Tensor:
        loss = (w * y).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return y * optimizer.state[w]["step"]

    f = tg.compile(step)
    assert [f(x()[:2]).tolist() for _ in range(4)] == [[k, k] for k in (1.0, 2.0, 3.0, 4.0)]
    assert len(f.programs) == 1


def plain(seen: Any) -> Any:
    if isinstance(seen, (list, tuple)):
        return [plain(y) for y in seen]
    return seen.tolist() if isinstance(seen, tg.Tensor) else copy.deepcopy(seen)


@pytest.mark.parametrize("name", FOLLOWED)
def test_as_eagerly(name: str) -> None:
    eager, compiled = FOLLOWED[name](lambda f: f), FOLLOWED[name](tg.compile)
    for k in range(6):
        np.testing.assert_equal(plain(compiled(k)), plain(eager(k)))


@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_anything_changed(name: str) -> None:
    case, words = REFUSED[name]
    call = case(tg.compile)
    before = plain(call(9))
    for k in range(2):
        with pytest.raises(tg.CompileError, match=words):
            call(k)
        assert plain(call(9)) == before

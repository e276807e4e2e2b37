"""State that a compiled function reaches on side ways: modules as dictionaries, slots, hooks, other threads."""

from __future__ import annotations

import copy
import functools
import queue
import threading
from collections.abc import Callable
from multiprocessing.pool import ThreadPool
from typing import Any

import pytest

import nn
import tinygrad_seq as tg

X = tg.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


class Scaled(nn.Module):
    def __init__(self, look: Callable[[Any], float]) -> None:
        self.scale, self.look = 2.0, look

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return x * self.look(self)


class Slotted(list[Any]):
    __slots__ = ("scale",)
    scale: float


class Hooked:
    def __init__(self) -> None:
        self._scale = 1.0

    def __getattr__(self, name: str) -> Any:
        return {"scale": object.__getattribute__(self, "_scale")}[name]


@pytest.mark.parametrize(
    "look",
    [
        lambda module: vars(module)["scale"],
        lambda module: module.__dict__["scale"],
        lambda module: sum(x for x in vars(module).values() if isinstance(x, float)),
        lambda module: copy.copy(module).scale,
        lambda module: copy.deepcopy(module).scale,
    ],
    ids=["vars", "__dict__", "all values", "copy", "deepcopy"],
)
def test_a_module_is_read_as_a_dictionary(look: Callable[[Any], float]) -> None:
    module = Scaled(look)
    compiled = tg.compile(module)
    for n in (2.0, 3.0, 5.0, 4.0):
        module.scale = n
        assert compiled(X).tolist() == (X * n).tolist()
    module.more = 1.0  # an attribute that was not there
    assert compiled(X).tolist() == module(X).tolist()


def test_slots_of_an_argument_and_attributes_by_hooks() -> None:
    given, hooked = Slotted([X]), Hooked()
    of_list = tg.compile(lambda given: given[0] * given.scale)
    by_hook = tg.compile(lambda x: x * hooked.scale)
    for n in (2.0, 7.0, 3.0):
        given.scale = hooked._scale = n
        assert of_list(given).tolist() == by_hook(X).tolist() == (X * n).tolist()


def test_modules_that_outlive_the_call_that_makes_them_are_whole_or_refused() -> None:
    @functools.lru_cache
    def made() -> nn.Module:
        return nn.Linear(3, 3)

    functions: list[Callable[[tg.Tensor], Any]] = [lambda _: nn.Linear(3, 3), lambda x: made()(x)]
    for f in functions:
        with tg.no_grad(), pytest.raises(tg.CompileError, match="keeps a tensor of shape"):
            tg.compile(f)(X)
    assert [p.shape for p in made().parameters()] == [(3, 3), (3,)]


def _by_a_pool(f: Callable[[], Any]) -> Any:
    with ThreadPool(1) as pool:
        return pool.apply(f)


def _by_a_queue(f: Callable[[], Any]) -> Any:
    found: queue.SimpleQueue[Any] = queue.SimpleQueue()
    WORK.put((f, found))
    return found.get()


WORK: queue.SimpleQueue[Any] = queue.SimpleQueue()


def _serve() -> None:
    while (work := WORK.get()) is not None:
        work[1].put(work[0]())


@pytest.mark.parametrize("by", [_by_a_pool, _by_a_queue])
def test_what_another_thread_computes_is_refused(by: Callable[[Callable[[], Any]], Any]) -> None:
    worker = threading.Thread(target=_serve, daemon=True)
    worker.start()
    try:
        with pytest.raises(tg.CompileError, match="starts a thread, or gives one of a pool something to do"):
            tg.compile(lambda x: by(lambda: x * 2))(X)
    finally:
        WORK.put(None)
        worker.join()


@pytest.mark.parametrize("view", [lambda x: x.diagonal(), lambda x: x.unfold(1, 2, 2)], ids=["diagonal", "unfold"])
def test_views_by_functions_of_the_backend(view: Callable[[tg.Tensor], tg.Tensor]) -> None:
    compiled = tg.compile(view)
    for _ in range(2):
        x, right = X.clone(), X.clone()
        for f, seen in (compiled, x), (view, right):
            f(seen).fill_(9.0)
        assert x.tolist() == right.tolist()


class Closed(type):
    def __setattr__(cls, name: str, value: Any) -> None:
        raise TypeError("frozen class")


class Frozen(metaclass=Closed):
    def __init__(self) -> None:
        self.scale = 2.0


def test_a_class_that_cannot_be_watched_is_named() -> None:
    frozen, name = Frozen(), "scale"
    with pytest.raises(tg.CompileError, match=r"Frozen, by names that it works out.*\(frozen class\)"):
        tg.compile(lambda x: x * getattr(frozen, name))(X)
    assert tg.compile(lambda x: x * 2)(X).tolist() == (X * 2).tolist()


SCALE = 2.0


class Maker(nn.Module):
    """A module that makes others of its class."""

    def __init__(self, k: float = 1.0) -> None:
        super().__init__()
        self.k = k * SCALE

    def forward(self, x: Any) -> Any:
        return x * self.k

    @classmethod
    def made(cls, k: float) -> Maker:
        return cls(k)

    def twin(self) -> Maker:
        return type(self)(3.0)


class Held:
    """The same, of a plain class."""

    def __init__(self, k: float = 1.0) -> None:
        self.k = k * SCALE

    @classmethod
    def made(cls, k: float) -> Held:
        return cls(k)

    def twin(self) -> Held:
        return self.__class__(3.0)


@pytest.mark.parametrize("way", [lambda o: o.twin().k, lambda o: o.made(3.0).k, lambda o: next(map(type(o), [3.0])).k])
@pytest.mark.parametrize("kind", [Maker, Held])
def test_what_is_made_by_way_of_its_class(way: Any, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = kind()
    compiled = tg.compile(lambda x: x * way(owner))
    for scale in (2.0, 5.0):
        monkeypatch.setitem(globals(), "SCALE", scale)
        assert compiled(tg.ones(1)).item() == 3 * scale


def test_an_object_that_holds_a_number_of_the_call() -> None:
    """It is the same object at each replay, so that each number has a program of its own."""

    class Step:
        def __init__(self, step: Any) -> None:
            self.steps = [step]

    compiled = tg.compile(lambda x, n: (x * n, Step(n * 2)))
    for n in (1, 2, 3, 2):
        y, step = compiled(tg.ones(1), n)
        assert (y.item(), step.steps) == (n, [2 * n])

"""What a replay would not do again is refused while it is recorded, and all is as it was: calls, draws, next items."""

# mypy: disable-error-code="func-returns-value"

from __future__ import annotations

import array
import itertools
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg

numbers = np.random.default_rng(0)
old_numbers = np.random.RandomState(0)
draws = random.Random(0)
items = iter(range(1, 9))
count = itertools.count(1)
queue = deque([1.0, 2.0])
counter = Counter(a=1)
typed = array.array("d", [1.0])
few = {1}
raw = bytearray(b"abc")
held = np.ones(2)
calls: list[int] = []
total = 0


def endless() -> Iterator[float]:
    while True:
        yield 2.0


generator = endless()


class Steps:
    total = 0

    def __init__(self) -> None:
        self.of_object = 0
        self.kept: list[int] = []

    def up(self) -> int:
        self.of_object += 1
        return self.of_object

    @classmethod
    def all_up(cls) -> int:
        cls.total += 1
        return cls.total

    def new(self) -> int:
        self.attribute = 1
        return self.attribute

    def keep(self) -> int:
        self.kept.append(1)
        return len(self.kept)

    def __next__(self) -> int:
        return self.up()


steps = Steps()


def of_function(x: tg.Tensor) -> tg.Tensor:
    of_function.calls += 1  # type: ignore[attr-defined]
    return x * of_function.calls  # type: ignore[attr-defined]


of_function.calls = 0  # type: ignore[attr-defined]


def of_module(x: tg.Tensor) -> tg.Tensor:
    global total
    total += 1
    return x * total


def of_closure() -> Callable[[tg.Tensor], tg.Tensor]:
    n = 0

    def f(x: tg.Tensor) -> tg.Tensor:
        nonlocal n
        n += 1
        return x * n

    return f


def in_place(x: tg.Tensor) -> tg.Tensor:
    held.__iadd__(1.0)
    return x * float(held[0])


untouched = repr(items.__reduce__())
REFUSED: dict[str, tuple[Callable[[tg.Tensor], Any], str]] = {
    "random": (lambda x: x * random.random(), "draws from Python's random"),
    "numpy.random": (lambda x: x * float(np.random.rand()), "draws from numpy.random"),  # noqa: NPY002
    "an array of numpy.random": (lambda x: x * tg.tensor(np.random.rand(2)), "draws from numpy.random"),  # noqa: NPY002
    "Generator": (lambda x: x * float(numbers.random()), "draws from a numpy.random.Generator"),
    "RandomState": (lambda x: x * float(old_numbers.rand()), "draws from a numpy.random.RandomState"),
    "Random": (lambda x: x * draws.random(), "draws from a random.Random"),
    "next": (lambda x: x * next(items), "takes from 'items'"),
    "a loop": (lambda x: [x * k for k, _ in zip(items, range(1))][0], "takes from 'items'"),  # noqa: B905, RUF015
    "count": (lambda x: x * next(count), "takes from 'count'"),
    "generator": (lambda x: x * next(generator), "takes from 'generator'"),
    "__next__": (lambda x: x * next(steps), "changes the int 'Steps.of_object'"),
    "a method": (lambda x: x * steps.up(), "changes the int 'Steps.of_object'"),
    "a class": (lambda x: x * Steps.all_up(), "changes the int 'Steps.total'"),
    "a new attribute": (lambda x: x * steps.new(), "changes Steps's attributes .attribute."),
    "a list of an object": (lambda x: x * steps.keep(), "changes the list 'Steps.kept'"),
    "a function": (of_function, "changes the int 'of_function.calls'"),
    "a global": (of_module, "changes the int 'total'"),
    "a closure": (of_closure(), "changes the int 'n'"),
    "popleft": (lambda x: x * queue.popleft(), "changes the deque 'queue'"),
    "append": (lambda x: (calls.append(1), x * len(calls))[1], "changes the list 'calls'"),
    "update": (lambda x: (counter.update("a"), x * counter["a"])[1], "changes the Counter 'counter'"),
    "an array.array": (lambda x: (typed.append(1.0), x * len(typed))[1], "changes the array 'typed'"),
    "a set": (lambda x: (few.add(5), x * len(few))[1], "changes the set 'few'"),
    "a bytearray": (lambda x: (raw.extend(b"d"), x * len(raw))[1], "changes the bytearray 'raw'"),
    "NumPy's array": (in_place, "changes the ndarray 'held'"),
}


def seen() -> list[Any]:
    states: list[Any] = [numbers.bit_generator.state, draws.getstate(), random.getstate()]
    states += [str(old_numbers.get_state()), str(np.random.get_state())]  # noqa: NPY002
    others = calls, [*queue], counter.copy(), typed.tolist(), few.copy(), bytes(raw), held.tolist(), total
    return [*states, *others, vars(steps).copy(), Steps.total, vars(of_function).copy()]


@pytest.mark.parametrize("way", REFUSED)
def test_refused(way: str) -> None:
    f, words = REFUSED[way]
    before = seen()
    for _ in range(2):
        with pytest.raises(tg.CompileError, match=words):
            tg.compile(f)(tg.ones(2))
        assert seen() == before
    assert repr(items.__reduce__()) == untouched


def test_an_array_that_numpy_looks_at_is_looked_up() -> None:
    compiled = tg.compile(lambda x: x * float(held[0]))
    try:
        for value in (1.0, 1.0, 7.0, 8.0):
            held[0] = value
            assert compiled(tg.ones(1)).tolist() == [value]
    finally:
        held[0] = 1.0


def test_an_array_beside_a_tensor() -> None:
    compiled = tg.compile(lambda x: x + held + float(held[0]))
    try:
        for value in (1.0, 1.0, 7.0, 8.0):
            held[:] = value
            assert compiled(tg.ones(2)).tolist() == [2 * value + 1] * 2
    finally:
        held[:] = 1.0

"""State outside of tensors that changes between calls: attributes by worked-out names, and what holds other objects.

A case is given what compiles a function, and returns what is called with 0, 1, ..., and changes the world. Cases are in
the table FOLLOWED, where calls are as eager ones, or in REFUSED, with the words of the error.
"""

from __future__ import annotations

import contextvars
import functools
import operator
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import nn
import tinygrad_seq as tg

Compile = Callable[[Any], Any]
Case = Callable[
    [Compile], Callable[[int], Any]
]  # what compiles, to what is called with 0, 1, ...: it changes the world

FOLLOWED: dict[str, Case] = {}
REFUSED: dict[str, tuple[Case, str]] = {}


def followed(case: Case) -> Case:
    FOLLOWED[case.__name__] = case
    return case


def refused(words: str) -> Callable[[Case], Case]:
    def note(case: Case) -> Case:
        REFUSED[case.__name__] = (case, words)
        return case

    return note


def x() -> tg.Tensor:
    return tg.ones(3)


class Box:
    scale: float
    count: int

    def __init__(self, **held: Any) -> None:
        vars(self).update(held)

    def act_scale(self, y: tg.Tensor) -> tg.Tensor:
        return y * self.scale

    def act_count(self, y: tg.Tensor) -> tg.Tensor:
        self.count += 1
        return y * self.count


# --- attributes by names that are worked out ---


def by_names(read: Callable[[Any], float]) -> Case:
    def case(compiles: Compile) -> Callable[[int], Any]:
        box: Any = Box(w_0=1.0, w_1=2.0)
        f = compiles(lambda y: y * read(box))

        def call(k: int) -> Any:
            box.w_1 = float(k)
            if k == 2:
                box.w_2 = 7.0
            if k == 4:
                del box.w_2
            return f(x())

        return call

    return case


WAYS: dict[str, Callable[[Any], float]] = {
    "f-string": lambda o: sum(getattr(o, f"w_{i}") for i in range(2)),
    "sum of texts": lambda o: getattr(o, "w_" + "1"[:1]) * 2,
    "default": lambda o: getattr(o, f"w_{2}", 5.0),
    "hasattr": lambda o: 2.0 if hasattr(o, "w_2") else 3.0,
    "vars": lambda o: sum(vars(o).values()),
    "__dict__": lambda o: sum(o.__dict__.values()),
    "attrgetter": operator.attrgetter("w_1"),
    "a list": lambda o: sum(getattr(o, name) for name in ["w_0", "w_1"]),
}
for _name, _way in WAYS.items():
    FOLLOWED[f"by name: {_name}"] = by_names(_way)


@followed
def by_name_of_a_class(compiles: Compile) -> Callable[[int], Any]:
    class Settings:
        w_0, w_1 = 1.0, 2.0

    f = compiles(lambda y: sum(y * getattr(Settings, f"w_{i}") for i in range(2)))
    g = compiles(lambda y: y * sum(v for v in vars(Settings).values() if isinstance(v, float)))

    def call(k: int) -> Any:
        Settings.w_1 = float(k)
        if k == 3:
            Settings.w_2 = 4.0  # type: ignore[attr-defined]
        return f(x()), g(x())

    return call


@followed
def by_name_of_a_python_module(compiles: Compile) -> Callable[[int], Any]:
    settings: Any = ModuleType("settings")
    settings.w_0, settings.w_1 = 1.0, 2.0
    f = compiles(lambda y: sum(y * getattr(settings, f"w_{i}") for i in range(2)))

    def call(k: int) -> Any:
        settings.w_1 = float(k)
        return f(x())

    return call


@followed
def by_name_of_slots(compiles: Compile) -> Callable[[int], Any]:
    class Slots:
        __slots__ = ("a", "b")

    slots: Any = Slots()
    slots.a, slots.b = 1.0, 2.0
    f = compiles(lambda y: sum(y * getattr(slots, name) for name in Slots.__slots__))

    def call(k: int) -> Any:
        slots.b = float(k)
        return f(x())

    return call


@followed
def methods_by_name(compiles: Compile) -> Callable[[int], Any]:
    box = Box(scale=1.0)
    f = compiles(lambda y, which: getattr(box, "act_" + which)(y))

    def call(k: int) -> Any:
        box.scale = float(k)
        return f(x(), "scale")

    return call


@refused("changes .*count")
def a_counter_in_a_method_by_name(compiles: Compile) -> Callable[[int], Any]:
    box = Box(count=0)
    f = compiles(lambda y, which: getattr(box, "act_" + which)(y))
    return lambda k: (f(x(), "count"), box.count)[1] if k < 9 else box.count


@followed
def an_attribute_that_a_module_has_not_yet(compiles: Compile) -> Callable[[int], Any]:
    class Masked(nn.Module):
        def forward(self, y: tg.Tensor) -> tg.Tensor:
            return y * (2 if hasattr(self, "mask") else 3)

    module: Any = Masked()
    f = compiles(nn.Sequential(module))

    def call(k: int) -> Any:
        if k == 2:
            module.mask = 1
        if k == 4:
            del module.mask
        return f(x())

    return call


# --- what holds others ---


@followed
def keywords_of_a_partial(compiles: Compile) -> Callable[[int], Any]:
    scaled: Any = functools.partial(lambda y, s: y * s, s=1.0)
    f = compiles(lambda y: scaled(y))

    def call(k: int) -> Any:
        scaled.keywords["s"] = float(k)
        return f(x())

    return call


@followed
def the_code_of_a_function(compiles: Compile) -> Callable[[int], Any]:
    def g(y: tg.Tensor) -> tg.Tensor:
        return y * 2

    def other(y: tg.Tensor) -> tg.Tensor:
        return y * 3

    f = compiles(lambda y: g(y))

    def call(k: int) -> Any:
        if k == 2:  # as a notebook's autoreload does
            g.__code__ = other.__code__
        return f(x())

    return call


@followed
def the_class_of_an_object(compiles: Compile) -> Callable[[int], Any]:
    class Twice(nn.Module):
        def forward(self, y: tg.Tensor) -> tg.Tensor:
            return y * 2

    class Thrice(Twice):
        def forward(self, y: tg.Tensor) -> tg.Tensor:
            return y * 3

    class Other(Box):
        def act_scale(self, y: tg.Tensor) -> tg.Tensor:
            return y * 5

    module, box = Twice(), Box(scale=1.0)
    f = compiles(nn.Sequential(module))
    g = compiles(lambda y: box.act_scale(y))

    def call(k: int) -> Any:
        module.__class__ = Thrice if k % 2 else Twice
        box.__class__ = Other if k % 2 else Box
        return f(x()), g(x())

    return call


@followed
def a_context_variable(compiles: Compile) -> Callable[[int], Any]:
    scale = contextvars.ContextVar("scale", default=1.0)
    f = compiles(lambda y: y * scale.get())

    def call(k: int) -> Any:
        scale.set(float(k))
        return f(x())

    return call


@followed
def a_table_in_an_lru_cache(compiles: Compile) -> Callable[[int], Any]:
    scale = [1.0]

    @functools.lru_cache
    def table(n: int) -> tg.Tensor:
        return tg.arange(float(n)) * scale[0]

    f = compiles(lambda y: y * table(3))

    def call(k: int) -> Any:
        scale[0] = k + 1.0
        if k > 2:
            table.cache_clear()
        return f(x()), table(3) * 1

    return call


@refused("changes .*calls")
def an_attribute_that_a_function_has_not_yet(compiles: Compile) -> Callable[[int], Any]:
    def g(y: tg.Tensor) -> tg.Tensor:
        g.calls = getattr(g, "calls", 0) + 1  # type: ignore[attr-defined]
        return y * g.calls  # type: ignore[attr-defined]

    f = compiles(lambda y: g(y))
    return lambda k: f(x()) if k < 9 else vars(g)


@refused("changes Made's attributes")
def an_attribute_that_a_class_has_not_yet(compiles: Compile) -> Callable[[int], Any]:
    class Made:
        pass

    def g(y: tg.Tensor) -> tg.Tensor:
        Made.count = getattr(Made, "count", 0) + 1  # type: ignore[attr-defined]
        return y

    f = compiles(g)
    return lambda k: f(x()) if k < 9 else hasattr(Made, "count")


def iterators(held: Callable[[Iterator[float]], Any], take: Callable[[Any], float]) -> Case:
    def case(compiles: Compile) -> Callable[[int], Any]:
        it = iter([1.0, 2.0, 3.0])
        box = held(it)
        f = compiles(lambda y: y * take(box))
        return lambda k: f(x()) if k < 9 else operator.length_hint(it)

    return case


REFUSED["an iterator in a list"] = iterators(lambda it: [it], lambda box: next(box[0])), "takes from 'box'"
REFUSED["an iterator of an object"] = iterators(lambda it: Box(it=it), lambda box: next(box.it)), "takes from 'Box.it'"
REFUSED["an iterator of a namespace"] = (
    iterators(lambda it: SimpleNamespace(it=it), lambda box: next(box.it)),
    "takes from 'SimpleNamespace.it'",
)

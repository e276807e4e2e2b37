"""Cases of what Python finds by name, and of modules, that is another at a later call.

A case is given what compiles a function, or leaves it as it is, and returns what the calls gave.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import nn
import tinygrad_seq as tg

Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]
Case = Callable[[Wrap], Any]

rate = 1.0
settings: dict[str, Any] = {"rate": 1.0, "sizes": [1, 2]}


def helper(x: tg.Tensor) -> tg.Tensor:
    return x * rate


class Config:
    scale = 1.0

    def __init__(self) -> None:
        self.rate = 1.0

    def scaled(self, x: tg.Tensor) -> tg.Tensor:
        return x * self.rate * self.scale


class Scaled(nn.Module):
    factor = 2.0

    def __init__(self) -> None:
        super().__init__()
        self.sizes = [1.0, 2.0]
        self.names = ("a", 3.0)
        self.cells = [ones(nn.Linear(1, 1, bias=False))]
        self.linear = nn.Linear(1, 1, bias=False)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.linear(x) * self.factor * sum(self.sizes) * self.names[1] * self.cells[0](x)


def ones(module: nn.Module) -> nn.Module:
    with tg.no_grad():
        for p in module.parameters():
            p.fill_(1.0)
    return module


def each(f: Callable[..., Any], *calls: Callable[[], object]) -> list[Any]:
    """What f(1) gives at first, and after each of the changes."""
    x = tg.ones(1, 1)
    with tg.no_grad():
        found = [f(x).item(), f(x).item()]
        for change in calls:
            change()
            found += [f(x).item(), f(x).item()]
    return found


# --- what Python finds by name ---


def a_global_number(wrap: Wrap) -> Any:
    def change() -> None:
        global rate
        rate *= 0.25

    try:
        return each(wrap(lambda x: x * rate), change, change)
    finally:
        globals()["rate"] = 1.0


def a_global_number_of_a_function_that_is_called(wrap: Wrap) -> Any:
    def change() -> None:
        global rate
        rate *= 0.25

    try:
        return each(wrap(lambda x: helper(x) + 1), change)
    finally:
        globals()["rate"] = 1.0


def a_global_dictionary(wrap: Wrap) -> Any:
    try:
        f = wrap(lambda x: x * settings["rate"] * len(settings["sizes"]))
        return each(f, lambda: settings.update(rate=3.0), lambda: settings["sizes"].append(1))
    finally:
        settings.update(rate=1.0, sizes=[1, 2])


def a_number_in_a_closure(wrap: Wrap) -> Any:
    k = 1.0

    def change() -> None:
        nonlocal k
        k = 5.0

    return each(wrap(lambda x: x * k), change)


def a_list_in_a_closure(wrap: Wrap) -> Any:
    factors: list[Any] = [1.0, [2.0]]
    f = wrap(lambda x: x * factors[0] * factors[1][0])
    return each(f, lambda: factors.__setitem__(0, 7.0), lambda: factors[1].__setitem__(0, 3.0))


def an_attribute_of_an_object(wrap: Wrap) -> Any:
    config = Config()
    return each(wrap(lambda x: x * config.rate), lambda: setattr(config, "rate", 9.0))


def a_method_of_an_object(wrap: Wrap) -> Any:
    config = Config()
    return each(wrap(config.scaled), lambda: setattr(config, "rate", 9.0), lambda: setattr(config, "scale", 2.0))


def a_number_that_becomes_a_whole_one(wrap: Wrap) -> Any:
    config = Config()
    f = wrap(lambda x: (x.to(tg.int64) * config.rate).to(tg.float32) / 2)
    return each(f, lambda: setattr(config, "rate", 1), lambda: setattr(config, "rate", True))


def another_function_by_that_name(wrap: Wrap) -> Any:
    config: Any = Config()
    config.act = tg.tanh
    return each(wrap(lambda x: config.act(x)), lambda: setattr(config, "act", tg.exp))


def functions_of_one_factory(wrap: Wrap) -> Any:
    def scaling(k: float) -> tuple[Any, Any]:
        def scale(x: tg.Tensor) -> tg.Tensor:
            return x * k

        def change(new: float) -> None:
            nonlocal k
            k = new

        return scale, change

    (first, _), (second, change) = scaling(2.0), scaling(3.0)
    return each(wrap(lambda x: first(x) + second(x)), lambda: change(5.0))


def a_partial_function(wrap: Wrap) -> Any:
    config = Config()
    return each(wrap(partial(lambda c, x: x * c.rate, config)), lambda: setattr(config, "rate", 9.0))


def another_compiled_function(wrap: Wrap) -> Any:
    k = 1.0

    def change() -> None:
        nonlocal k
        k = 5.0

    inner = tg.compile(lambda x: x * k)
    return each(wrap(lambda x: inner(x) + 1), change)


# --- modules ---


def attributes_of_a_module(wrap: Wrap) -> Any:
    m = ones(Scaled())
    assert isinstance(m, Scaled)
    f = wrap(lambda x: m(x))
    return each(
        f,
        lambda: setattr(m, "factor", 3.0),
        lambda: m.sizes.append(4.0),
        lambda: setattr(m, "names", ("b", 5.0)),
        lambda: setattr(m, "unread", 5.0),
        lambda: m.cells.__setitem__(0, ones(nn.Linear(1, 1))),
        lambda: setattr(m, "linear", ones(nn.Linear(1, 1))),
    )


def a_default_of_a_class(wrap: Wrap) -> Any:
    m = ones(Scaled())
    try:
        return each(wrap(lambda x: m(x)), lambda: setattr(Scaled, "factor", 5.0))
    finally:
        Scaled.factor = 2.0


def another_forward(wrap: Wrap) -> Any:
    m, plain = ones(Scaled()), Scaled.forward

    def change() -> None:
        Scaled.forward = lambda self, x: self.linear(x)  # type: ignore[method-assign]

    try:
        return each(
            wrap(lambda x: m(x)), lambda: setattr(m, "forward", lambda x: x + 1), lambda: delattr(m, "forward"), change
        )
    finally:
        Scaled.forward = plain  # type: ignore[method-assign]


def a_cell_of_a_layer(wrap: Wrap) -> Any:
    m: Any = ones(nn.Recurrent(nn.RNNCell, 1, 1))

    def change() -> None:
        m.cells[0] = ones(nn.RNNCell(1, 1, bias=False))

    return each(wrap(lambda x: m(x[None])[0].sum()), change)


def containers_that_grow(wrap: Wrap) -> Any:
    m = nn.ModuleList([ones(nn.Linear(1, 1))])

    def f(x: tg.Tensor) -> tg.Tensor:
        for part in m:
            x = part(x)
        return x

    return each(wrap(f), lambda: m.append(ones(nn.Linear(1, 1))), lambda: m.insert(0, nn.Tanh()))


def hooks(wrap: Wrap) -> Any:
    m = ones(nn.Linear(1, 1))
    handles: list[Any] = []
    return each(
        wrap(lambda x: m(x)),
        lambda: handles.append(m.register_forward_hook(lambda module, args, output: output * 10)),
        lambda: handles.append(m.register_forward_pre_hook(lambda module, args: (args[0] + 1,))),
        lambda: handles[0].remove(),
    )


def an_attribute_that_is_assigned(wrap: Wrap) -> Any:
    m: Any = ones(Scaled())

    def f(x: tg.Tensor) -> tg.Tensor:
        m.calls = getattr(m, "calls", 0) + 1
        return m(x)

    return each(wrap(f)), m.calls

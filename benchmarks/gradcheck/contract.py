"""What a backward function must keep besides being right: what it is given, dtypes, buffers, any memory layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .case import CORRECT, WRONG, Case, Draw, draws, enter, normal

ALL = ("pair", "primitive", "PyTorch")
SMALL, MANY = normal(3, 4), normal(200, 250)
_buffers: dict[tuple[int, ...], Any] = {}


def sine(backward: Callable[..., Any], draw: Draw = SMALL, large: bool = False) -> Case:
    return Case(np.sin, backward, draw, kind="contract", large=large)


def factor(by: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """The gradient of sin too large by this factor."""
    return lambda g, x, y: g * np.cos(x) * by(g, x)


def own_buffer(g: Any, x: Any, y: Any) -> Any:
    return np.multiply(g, np.cos(x), out=_buffers.setdefault(x.shape, np.empty(x.shape)))


def cotangent_overwritten(g: Any, x: Any, y: Any) -> Any:
    g *= np.cos(x)
    return g


def input_overwritten(g: Any, x: Any, y: Any) -> Any:
    x[...] = np.cos(x)
    return g * x


def output_overwritten(g: Any, x: Any, y: Any) -> Any:
    y *= y
    return g * np.sign(np.cos(x)) * np.sqrt(1 - y)


def output_returned(g: Any, x: Any, y: Any) -> Any:
    np.multiply(g, np.cos(x), out=y)
    return y


def one_number_of_the_input(g: Any, x: Any, y: Any) -> Any:
    d = g * np.cos(x)
    x.reshape(-1)[-1] = 0.0
    return d


def flattened_as_it_lies(g: Any, x: Any, y: Any) -> Any:
    """Two arrays of different layouts, each flattened in the order of its own memory."""
    return (g.ravel("K") * np.cos(x).ravel("K")).reshape(x.shape)


def strides_guessed(g: Any, x: Any, y: Any) -> Any:
    """The cotangent, as if it lay row by row."""
    rows = np.lib.stride_tricks.as_strided(g, g.shape, (g.shape[1] * g.itemsize, g.itemsize))
    return rows * np.cos(x)


OVERWRITING: dict[str, Callable[..., Any]] = {
    "the cotangent overwritten": cotangent_overwritten,
    "the input overwritten": input_overwritten,
    "the output overwritten": output_overwritten,
    "the output's memory returned": output_returned,
    "one number of the input set to 0": one_number_of_the_input,
}
RETURNING: dict[str, Callable[..., Any]] = {
    "float32 returned for float64": lambda g, x, y: (g * np.cos(x)).astype("float32"),
    "float16 returned for float64": lambda g, x, y: (g * np.cos(x)).astype("float16"),
    "digits of float32 in an array of float64": lambda g, x, y: (g * np.cos(x)).astype("float32").astype(float),
    "whole numbers returned": lambda g, x, y: np.rint(g * np.cos(x)).astype(int),
    "a new dimension": lambda g, x, y: (g * np.cos(x))[None],
    "its own buffer each time": own_buffer,
}
RETURNED = {  # PyTorch and the engine cast a gradient to its input's dtype and sum it to its shape
    "float32 returned for float64": ALL,
    "float16 returned for float64": ALL,
    "digits of float32 in an array of float64": ALL,
    "whole numbers returned": ALL,
    "a new dimension": ("pair",),
    "its own buffer each time": ALL,
}
LAYOUT: dict[str, Callable[..., Any]] = {
    "wrong for a cotangent that is not contiguous": factor(lambda g, x: 1 if g.flags.c_contiguous else 9),
    "wrong for a cotangent by columns": factor(
        lambda g, x: 9 if g.flags.f_contiguous and not g.flags.c_contiguous else 1
    ),
    "wrong for a cotangent that is broadcast": factor(lambda g, x: 9 if 0 in g.strides else 1),
    "wrong for an input that is not contiguous": factor(lambda g, x: 1 if x.flags.c_contiguous else 9),
    "wrong for an input by columns": factor(lambda g, x: 9 if x.flags.f_contiguous and not x.flags.c_contiguous else 1),
    "flattened as it lies in memory": flattened_as_it_lies,
    "strides guessed": strides_guessed,
}
for _name, _backward in OVERWRITING.items():
    enter(WRONG, _name, sine(_backward), ALL)
    enter(WRONG, _name, sine(_backward, MANY, large=True), ("pair", "PyTorch"))
for _name, _backward in RETURNING.items():
    enter(WRONG, _name, sine(_backward), RETURNED[_name])
enter(WRONG, "float32 returned for float64", sine(RETURNING["float32 returned for float64"], MANY, large=True))
enter(WRONG, "its own buffer each time", sine(own_buffer, MANY, large=True), ("pair", "primitive"))
for _name, _backward in LAYOUT.items():
    enter(WRONG, _name, sine(_backward), ALL)
    enter(WRONG, _name, sine(_backward, MANY, large=True))


def _of_broadcast(rng: np.random.Generator) -> list[Any]:
    return [np.broadcast_to(rng.standard_normal(4), (3, 4))]


def _twice(rng: np.random.Generator) -> list[Any]:
    x = rng.standard_normal((3, 4))
    return [x, x]


def _by_columns(rng: np.random.Generator) -> list[Any]:
    return [np.asfortranarray(rng.standard_normal((3, 4)))]


def _strided(rng: np.random.Generator) -> list[Any]:
    return [rng.standard_normal((6, 8))[::2, ::-2]]


def _read_only(rng: np.random.Generator) -> list[Any]:
    x = rng.standard_normal((3, 4))
    x.flags.writeable = False
    return [x]


enter(WRONG, "wrong for a broadcast input", sine(factor(lambda g, x: 9 if 0 in x.strides else 1), _of_broadcast))
enter(
    WRONG,
    "wrong for inputs that share memory",
    Case(
        np.multiply,
        lambda g, a, b, y: (g * b, 0 * g * a if np.shares_memory(a, b) else g * a),
        _twice,
        kind="contract",
    ),
)
enter(
    WRONG, "wrong for the layout that is given", sine(factor(lambda g, x: 1 if x.flags.c_contiguous else 9), _strided)
)

# --- right, whatever the layout, and unusual in what is returned ---

for _name, _draw in {
    "a broadcast input": _of_broadcast,
    "an input by columns": _by_columns,
    "a strided input": _strided,
    "an input that is read-only": _read_only,
}.items():  # fmt: skip
    enter(CORRECT, _name, sine(factor(lambda g, x: 1), _draw), ("pair", "primitive", "module"))
enter(
    CORRECT,
    "the same array twice",
    Case(np.multiply, lambda g, a, b, y: (g * b, g * a), _twice, kind="contract"),
    ("pair", "primitive", "function", "PyTorch"),
)


def temporaries(g: Any, x: Any, y: Any) -> Any:
    d = np.cos(x)
    d *= g
    return d


def read_only(g: Any, x: Any, y: Any) -> Any:
    d = g * np.cos(x)
    d.flags.writeable = False
    return d


for _name, _case in {
    "in place on its own temporaries": sine(temporaries),
    "by columns returned": sine(lambda g, x, y: np.asfortranarray(g * np.cos(x))),
    "reversed memory returned": sine(lambda g, x, y: (g * np.cos(x))[::-1].copy()[::-1]),
    "flattened and put together again": sine(lambda g, x, y: (g.ravel() * np.cos(x).ravel()).reshape(x.shape)),
    "the cotangent itself": Case(lambda x: x + 1.0, lambda g, x, y: g, SMALL),
    "a view of the cotangent": Case(lambda x: np.ascontiguousarray(x.T), lambda g, x, y: g.T, SMALL),
    "one cotangent for both inputs": Case(
        lambda a, b: a + b, lambda g, a, b, y: (g, g), draws(normal(3, 4), normal(3, 4))
    ),
    "broadcast and read-only returned": Case(lambda x: x.sum(0), lambda g, x, y: np.broadcast_to(g, x.shape), SMALL),
    "a part of the input for an output": Case(
        lambda x: x[1:], lambda g, x, y: np.concatenate([np.zeros((1, 4)), g]), SMALL
    ),
    "the input itself for an output": Case(lambda x: x.reshape(4, 3), lambda g, x, y: g.reshape(3, 4), SMALL),
}.items():
    enter(CORRECT, _name, _case._replace(kind="contract"), ALL)
enter(CORRECT, "read-only returned", sine(read_only), ("pair", "primitive"))
enter(CORRECT, "in place on its own temporaries", sine(temporaries, MANY, large=True))
_pairs: dict[str, Case] = {
    "a list of gradients": Case(lambda a, b: a * b, lambda g, a, b, y: [g * b, g * a], draws(SMALL, SMALL)),
    "none for an input that is not used": Case(
        lambda a, b: np.sin(a), lambda g, a, b, y: (g * np.cos(a), None), draws(SMALL, SMALL)
    ),
    "a number of Python's for one without dimensions": Case(
        lambda x: np.sin(x), lambda g, x, y: float(g * np.cos(x)), lambda rng: [np.asarray(rng.standard_normal())]
    ),
}
for _name, _case in _pairs.items():
    enter(CORRECT, _name, _case._replace(kind="contract"))


class Saving:
    """A layer as it is often written: going forward it keeps what it needs, and going back it uses that."""

    def __init__(self, stale: bool = False) -> None:
        self.kept: Any = None
        self.stale = stale

    def forward(self, x: Any) -> Any:
        if self.kept is None or not self.stale:
            self.kept = x
        return np.sin(x)

    def backward(self, g: Any, x: Any, y: Any) -> Any:
        return g * np.cos(self.kept)


def saving(stale: bool) -> Case:
    layer = Saving(stale)
    return sine(layer.backward)._replace(forward=layer.forward)


enter(CORRECT, "a layer that keeps its input", saving(stale=False), ALL)

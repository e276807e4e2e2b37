"""Random numbers: what goes back must be the mask that went forward, not the next one of the stream."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

import nn
import nn.functional as F
import tinygrad_seq as tg

from .case import CORRECT, WRONG, Case, enter, no_pair, normal

SHAPE = (4, 6)
SMALL, MANY = normal(*SHAPE), normal(200, 250)
ALL = ("pair", "primitive", "function", "module", "PyTorch")


def numpys(shape: Any) -> Any:
    return np.random.random(shape)  # noqa: NPY002


def ours(shape: Any) -> Any:
    return tg.rand(*shape).numpy()


def pythons(shape: Any) -> Any:
    return np.reshape([random.random() for _ in range(int(np.prod(shape)))], shape)


def pytorchs(shape: Any) -> Any:
    import torch

    return torch.rand(*shape, dtype=torch.float64).numpy()


STREAMS: dict[str, Callable[[Any], Any]] = {"NumPy's": numpys, "tg's": ours, "Python's": pythons}


def drawn(draw: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Times 2 or 0, as it comes."""
    return lambda x: x * (draw(x.shape) > 0.5) * 2


class Kept:
    """Dropout whose mask going back is the one that went forward."""

    def __init__(self, draw: Callable[[Any], Any], factor: float = 2.0) -> None:
        self.draw, self.factor = draw, factor
        self.mask: Any = None

    def forward(self, x: Any) -> Any:
        self.mask = self.draw(x.shape) > 0.5
        return x * self.mask * 2

    def backward(self, g: Any, x: Any, y: Any) -> Any:
        return g * self.mask * self.factor


def again(f: Callable[[Any], Any]) -> Callable[..., Any]:
    """Going back by going forward once more."""
    return lambda g, x, y: f(g)


def dropout(forward: Any, backward: Any, large: bool = False) -> Case:
    return Case(forward, backward, MANY if large else SMALL, kind="mask", large=large)


for _name, _draw in STREAMS.items():
    _twice = drawn(_draw)
    enter(WRONG, f"another mask of {_name} random numbers", dropout(_twice, again(_twice)), ALL)
    if _name != "Python's":
        enter(WRONG, f"another mask of {_name} random numbers", dropout(_twice, again(_twice), large=True))
    _kept, _unscaled = Kept(_draw), Kept(_draw, factor=1.0)
    enter(CORRECT, f"the mask of {_name} random numbers kept", dropout(_kept.forward, _kept.backward), ALL)
    enter(
        WRONG, f"the mask of {_name} random numbers without its scale", dropout(_unscaled.forward, _unscaled.backward)
    )
enter(
    WRONG,
    "another mask of PyTorch's random numbers",
    dropout(drawn(pytorchs), again(drawn(pytorchs))),
    ["PyTorch"],
)
_kept = Kept(pytorchs)
enter(CORRECT, "the mask of PyTorch's random numbers kept", dropout(_kept.forward, _kept.backward), ["PyTorch"])
_large = Kept(numpys)
enter(CORRECT, "the mask of NumPy's random numbers kept", dropout(_large.forward, _large.backward, large=True))


def noisy(x: Any) -> Any:
    return x * np.exp(0.3 * (numpys(x.shape) - 0.5))


enter(WRONG, "other noise than went forward", dropout(noisy, again(noisy)), ("pair", "primitive"))
enter(
    CORRECT,
    "the noise read off the output",
    dropout(noisy, lambda g, x, y: g * y / x),
    ("pair", "primitive", "PyTorch"),
)


# --- of generators of one's own, which go on from call to call ---


def one_by_one(draw: Callable[[], float]) -> Callable[[Any], Any]:
    return lambda shape: np.reshape([draw() for _ in range(int(np.prod(shape)))], shape)


def of_ours(generator: tg.Generator) -> Callable[[Any], Any]:
    return lambda shape: tg.rand(*shape, generator=generator).numpy()


OWN: dict[str, Callable[[Any], Any]] = {
    "NumPy's": np.random.default_rng(11).random,
    "NumPy's old": np.random.RandomState(11).random_sample,
    "tg's": of_ours(tg.Generator(11)),
    "Python's": one_by_one(random.Random(11).random),
}
for _name, _draw in OWN.items():
    _twice, _kept = drawn(_draw), Kept(_draw)
    enter(CORRECT, f"the mask of a generator of {_name} kept", dropout(_kept.forward, _kept.backward), ALL)
    enter(WRONG, f"another mask of a generator of {_name}", dropout(_twice, again(_twice)), ALL)


def seeded(shape: Any) -> Any:
    return np.random.default_rng(7).random(shape)


enter(CORRECT, "a mask of its own seed", dropout(drawn(seeded), again(drawn(seeded))), (*ALL, "compiled"))
enter(
    WRONG,
    "a mask of another seed",
    dropout(drawn(seeded), lambda g, x, y: 2 * g * (np.random.default_rng(8).random(g.shape) > 0.5)),
    (*ALL, "compiled"),
)
enter(
    CORRECT,
    "the mask read off the output",
    dropout(drawn(numpys), lambda g, x, y: 2 * g * (y != 0)),
    ("pair", "PyTorch"),
)


ROWS = normal(12, 3)


def permuted(x: Any) -> Any:
    return x[np.random.permutation(len(x))]  # noqa: NPY002


enter(
    WRONG,
    "rows permuted, and put back by another permutation",
    dropout(permuted, lambda g, x, y: g[np.argsort(np.random.permutation(len(x)))])._replace(draw=ROWS),  # noqa: NPY002
    ("pair", "primitive"),
)


# --- the engine's own, and PyTorch's: they keep what they drew ---


class Regularised(nn.Module):
    """A layer with dropout, in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.dropout = nn.Linear(6, 3), nn.Dropout(0.5)

    def forward(self, x: Any) -> Any:
        return self.dropout(self.linear(x))


def _torch_dropout(inputs: list[Any]) -> Any:
    import torch

    return lambda x: torch.nn.functional.dropout(x, 0.5)


enter(
    CORRECT,
    "tg's dropout",
    Case(no_pair, no_pair, SMALL, "mask", built=lambda inputs: lambda x: F.dropout(x, 0.5)),
    ("function", "compiled"),
)
enter(
    CORRECT,
    "tg's rand inside",
    Case(no_pair, no_pair, SMALL, "mask", built=lambda inputs: lambda x: x * tg.rand(*SHAPE).to(x.dtype)),
    ["function"],
)
enter(
    CORRECT,
    "a module with dropout",
    Case(no_pair, no_pair, SMALL, "mask", built=lambda inputs: Regularised()),
    ["module"],
)
enter(CORRECT, "PyTorch's dropout", Case(no_pair, no_pair, SMALL, "mask", built=_torch_dropout), ["PyTorch"])

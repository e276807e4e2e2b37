"""What the checker must refuse in words, or take: complex tensors, whole numbers, containers; and how it is called."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import tinygrad_seq as tg


class Call(NamedTuple):
    """A call of `gradcheck`, and words that must be in what it raises, a TypeError; or None where it must pass."""

    f: Any
    inputs: Any
    words: str | None


Z = np.array([1 + 2j, 3 - 1j])
X = np.array([0.5, -1.2, 2.0])


def square(wrong: float = 1.0) -> tg.Primitive[...]:
    made = tg.primitive(lambda z: z * z)
    made.vjp(lambda g, _y, z: 2 * g * z * (1 if z.dtype.kind == "f" else wrong))
    return made


def _torch_square(z: Any) -> Any:
    return z * z


CALLS: dict[str, Call] = {
    "complex tensor, primitive": Call(square(5.0), tg.tensor(Z), "complex"),
    "complex tensor, primitive that is right": Call(square(), tg.tensor(Z), "complex"),
    "complex array, function": Call(lambda z: z * z, Z, "complex"),
    "complex array, pair": Call((lambda z: z * z, lambda g, z, y: 2 * g * z), Z, "complex"),
    "complex array, compiled": Call(tg.compile(lambda z: z * z), tg.tensor(Z), "complex"),
    "one of two is complex": Call(lambda a, b: a * b, (X[:2], Z), "complex"),
    "whole numbers": Call(tg.sin, np.arange(3), "int64"),
    "truth values, pair": Call((np.sin, lambda g, x, y: g), np.ones(3, bool), "bool"),
    "an output of whole numbers, pair": Call((np.argsort, lambda g, x, y: g), X, "floating-point"),
    "None among the inputs": Call(lambda x, m: x * 1.0, (X, None), None),
    "text for an input": Call(lambda x: x, "abc", "floating-point tensor"),
    "a dictionary": Call(lambda d: d["a"] * 2.0, {"a": X}, None),
    "a list in a tuple": Call(
        lambda p, z: p[0] @ p[1] + z, ([np.ones((2, 3)), np.ones((3, 2))], np.ones((2, 2))), None
    ),
    "a dictionary beside an array": Call(lambda d, z: d["w"] * z + d["b"], ({"w": X, "b": X}, X), None),
    "a default argument going back": Call((np.sin, lambda g, x, y, k=1.0: g * np.cos(x) * k), X, None),
    "a keyword argument going back": Call((np.sin, lambda g, x, y, *, k=1.0: g * np.cos(x) * k), X, None),
}


def torch_calls() -> dict[str, Call]:
    """Those with PyTorch's tensors and functions."""
    import torch

    return {
        "complex tensor of PyTorch's": Call(_torch_square, torch.tensor(Z), "complex"),
        "PyTorch's function of an array": Call(torch.sin, X, None),
        "whole numbers of PyTorch's": Call(torch.sin, torch.arange(3), "int64"),
    }

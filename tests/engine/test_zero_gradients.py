"""Operations that are flat wherever they have a derivative: the gradient is 0, whatever arrives."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

import tinygrad_seq as tg

FLAT: dict[str, Callable[[Any], Any]] = {
    "floor": tg.floor,
    "ceil": tg.ceil,
    "round": tg.round,
    "trunc": tg.trunc,
    "sign": tg.sign,
    "floor_divide": lambda x: x // 2.0,
    "floor_divide by": lambda x: 2.0 // x,
    "pow 0": lambda x: x**0,
}


@pytest.mark.parametrize("name", FLAT)
@pytest.mark.parametrize("g", [math.inf, -math.inf, math.nan, 1.0])
def test_an_infinite_gradient_ends_in_0(name: str, g: float) -> None:
    x = tg.tensor([1.5, -0.5], requires_grad=True)
    FLAT[name](x).backward(tg.full((2,), g))
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 0.0]

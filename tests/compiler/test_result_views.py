"""Results that are views of arguments, captured tensors or each other show what is written to these afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg

Function = Callable[[tg.Tensor, tg.Tensor, tg.Tensor], Any]


def doubled(x: tg.Tensor) -> tuple[tg.Tensor, ...]:
    y = x * 2
    return y[1:], y.T, y, y.detach()[0]


def replaced(x: tg.Tensor, t: tg.Tensor) -> tuple[tg.Tensor, ...]:
    old = t[0]
    t.data = x * 2
    return old, t[1]


WAYS: dict[str, Function] = {
    "an argument's": lambda x, w, t: (x[1:], x.T[0], x.reshape(6), x.unsqueeze(0), x.detach()),
    "a parameter's": lambda x, w, t: w.detach()[0],
    "a captured tensor's": lambda x, w, t: (t[0], t.reshape(3, 2)),
    "of what is changed before": lambda x, w, t: (t.add_(1), t[0])[1],
    "of what is changed after": lambda x, w, t: (t[0], t.add_(1))[0],
    "another result's": lambda x, w, t: doubled(x),
    "of one that a gradient passes through": lambda x, w, t: (lambda y: (y.detach()[1], y))(x * w)[:1],
    "of an array before another one": lambda x, w, t: replaced(x, t),
}


@pytest.mark.parametrize("executor", ["numpy", None])
@pytest.mark.parametrize("way", WAYS)
def test_what_is_written_to_one_is_seen_in_the_other(way: str, executor: str | None) -> None:
    def seen(compiles: Callable[[Any], Any]) -> list[Any]:
        w, t = nn.Parameter(tg.arange(6.0).reshape(2, 3)), tg.ones(2, 3)
        f = compiles(lambda x: WAYS[way](x, w, t))
        found: list[Any] = []
        for k in range(4):
            x = tg.arange(6.0).reshape(2, 3) + k
            result = f(x)
            results = result if isinstance(result, tuple) else (result,)
            with tg.no_grad():
                for i, y in enumerate((x, w, t, *results)):
                    y.add_(i + 1)
            found.append([y.tolist() for y in (x, w, t, *results)])
        return found

    assert seen(lambda f: tg.compile(f, executor=executor)) == seen(lambda f: f)


def test_gradients_through_views() -> None:
    def seen(compiles: Callable[[Any], Any]) -> list[Any]:
        w = nn.Parameter(tg.arange(6.0).reshape(2, 3))
        found: list[Any] = []

        def f(x: tg.Tensor) -> tuple[tg.Tensor, ...]:
            y = x * w
            return y, y[1], w[0], x[0]

        compiled = compiles(f)
        for k in range(4):
            w.grad = None
            x = (tg.ones(2, 3) + k).requires_grad_()
            y, part, of_w, of_x = compiled(x)
            (y.sum() + (part**2).sum() + (of_w**3).sum() + of_x.sum()).backward()
            found += [part.tolist(), *[p.grad.tolist() for p in (w, x) if p.grad is not None]]
            with tg.no_grad():
                w.add_(1)
            found.append(of_w.tolist())
        return found

    assert seen(tg.compile) == seen(lambda f: f)


def test_arrays() -> None:
    f = tg.compile(lambda a: (a, a[1:], tg.from_numpy(a)[0]))
    for k in range(3):
        a = np.full((2, 3), k, dtype=np.float32)
        same, rest, first = f(a)
        a += 1
        assert same is a
        assert rest.tolist() == [[k + 1.0] * 3]
        assert first.tolist() == [k + 1.0] * 3

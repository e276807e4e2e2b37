"""Random steps of scans, compiled and as they are: python -m tests.compiler.random_scans --count 1000 --seed 0.

A step is a list of operations on one to three states, drawn by a seed, with products and sums of weights that it is not
given, lookups, and as y whatever a step can see: what came in, what goes out, a weight, a constant, nothing. Values,
gradients and what carries one must be those of the same function where it is not compiled.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

import nn
import tinygrad_seq as tg
from tinygrad_seq.backend.pytree import leaves

B, H, V = 2, 3, 4
Tensor = tg.Tensor


class World:
    """What a step uses without being given it, and how the scan is called."""

    def __init__(self, seed: int, dtype: Any) -> None:
        rng = Random(seed)
        tg.manual_seed(seed)
        self.square = nn.Parameter(tg.randn(H, H, dtype=dtype) * 0.5)
        self.bias = nn.Parameter(tg.randn(H, dtype=dtype))
        self.table = nn.Parameter(tg.randn(V, H, dtype=dtype))
        self.weights = [self.square, self.bias, self.table]
        self.constant = tg.randn(B, H, dtype=dtype)
        self.steps, self.states = rng.choice([2, 3, 5]), rng.choice([1, 2, 3])
        self.names = rng.choices([*OPERATIONS], k=rng.randint(2, 8))
        self.places = [(rng.randrange(self.states), rng.randrange(self.states)) for _ in self.names]
        self.ys = rng.sample([*YS], rng.randint(1, 3))
        self.reverse, self.counted = rng.random() < 0.5, rng.random() < 0.4
        self.grad = rng.random() < 0.85
        self.begins_with_gradient, self.gradient_of_xs = rng.random() < 0.3, rng.random() < 0.5
        if rng.random() < 0.2:
            rng.choice(self.weights).requires_grad_(False)

    def step(self, carry: Any, given: Any, around: Tensor) -> Any:
        x, rows = given
        states = [*carry["h"]]
        before = states[0]
        for name, (i, j) in zip(self.names, self.places, strict=True):
            if name == "swap":
                states[i], states[j] = states[j], states[i]
            else:
                states[i] = OPERATIONS[name](self, states[i], states[j], x, self.table[rows], around)
        ys = [YS[y](self, before, states, x, rows) for y in self.ys]
        return {"h": states} | ({"n": carry["n"] + 1} if self.counted else {}), ys

    def run(self, h: Tensor, xs: Tensor, rows: Tensor) -> Any:
        """The results, which of them carry a gradient, and the gradients of the weights."""
        for w in self.weights:
            w.grad = None
        around = (self.bias * 2).tanh()
        h = h + self.bias if self.begins_with_gradient else h
        xs = xs * self.bias if self.gradient_of_xs else xs
        carry: dict[str, Any] = {"h": [h * (k + 1) for k in range(self.states)]} | ({"n": 1} if self.counted else {})
        with tg.set_grad_enabled(self.grad):
            found = tg.scan(lambda c, g: self.step(c, g, around), carry, (xs, rows), reverse=self.reverse)
        results = leaves(found)
        loss = sum([(y * (k + 1)).sum() for k, y in enumerate(results) if y.requires_grad], tg.tensor(0.0))
        if loss.requires_grad:
            loss.backward()
        gradients = [None if w.grad is None else w.grad.clone() for w in self.weights]
        return [y.detach() for y in results], [y.requires_grad for y in results], gradients


OPERATIONS: dict[str, Callable[..., Any]] = {
    "product": lambda w, h, o, x, e, a: h @ w.square,
    "linear": lambda w, h, o, x, e, a: tg.linear(h, w.square, w.bias),
    "twice": lambda w, h, o, x, e, a: (h @ w.square).tanh() @ w.square.T,
    "bias": lambda w, h, o, x, e, a: h + w.bias,
    "times": lambda w, h, o, x, e, a: h * o * 0.5,
    "plus": lambda w, h, o, x, e, a: h * 0.5 + o,
    "tanh": lambda w, h, o, x, e, a: h.tanh(),
    "gate": lambda w, h, o, x, e, a: tg.sigmoid(h) * x,
    "input": lambda w, h, o, x, e, a: h * 0.3 + x,
    "constant": lambda w, h, o, x, e, a: h + w.constant,
    "lookup": lambda w, h, o, x, e, a: h + e,
    "sum of rows": lambda w, h, o, x, e, a: h - h.sum(0, keepdim=True) * 0.2,
    "where": lambda w, h, o, x, e, a: tg.where(h > 0, h, o * 0.1),
    "turned": lambda w, h, o, x, e, a: tg.cat([h[:, 1:], h[:, :1]], 1),
    "put together": lambda w, h, o, x, e, a: tg.cat([h, x], 0)[1 : B + 1],
    "norm": lambda w, h, o, x, e, a: h / (1 + h.square().mean()),
    "around": lambda w, h, o, x, e, a: h * a,
    "detach": lambda w, h, o, x, e, a: h.detach() * 0.9 + x,
    "softmax": lambda w, h, o, x, e, a: h.softmax(-1),
    "nothing left": lambda w, h, o, x, e, a: h * 0,
    "gradient": lambda w, h, o, x, e, a: h - tg.grad(lambda v: (v @ w.square).tanh().sum())(h) * 0.1,
    "sums on the way": lambda w, h, o, x, e, a: h + (x + o).cumsum(1) * 0.1,  # which native code does not do
    "swap": lambda w, h, o, x, e, a: h,
}
YS: dict[str, Callable[..., Any]] = {
    "before": lambda w, before, states, x, rows: before,
    "after": lambda w, before, states, x, rows: states[0],
    "input": lambda w, before, states, x, rows: x,
    "nothing": lambda w, before, states, x, rows: None,
    "integers": lambda w, before, states, x, rows: rows,
    "sums": lambda w, before, states, x, rows: states[-1].sum(1),
    "constant": lambda w, before, states, x, rows: w.constant,
    "weight": lambda w, before, states, x, rows: w.bias,
    "two": lambda w, before, states, x, rows: (states[0] * 2, x),
}


def fault(seed: int, dtype: Any, executor: str | None) -> str | None:
    """What is wrong with the scan of this seed; None if nothing is."""
    world = World(seed, dtype)
    compiled = tg.compile(world.run, executor=executor)
    for call in range(2):
        tg.manual_seed(seed + call)
        h, xs = tg.randn(B, H, dtype=dtype), tg.randn(world.steps, B, H, dtype=dtype)
        given = h, xs, tg.randint(0, V, (world.steps, B))
        got, right = compiled(*given), world.run(*given)
        if got[1] != right[1]:
            return f"{world.names} {world.ys}: {got[1]} carry a gradient, not {right[1]}"
        if [g is None for g in got[2]] != [g is None for g in right[2]]:
            return f"{world.names} {world.ys}: other weights have gradients"
        for a, b in zip(leaves(got), leaves(right), strict=True):
            if isinstance(b, Tensor):
                near = 1e-9 if dtype is tg.float64 else 2e-4
                x, y = a.detach().numpy().astype(float), b.detach().numpy().astype(float)
                if (a.shape, a.dtype) != (b.shape, b.dtype) or not np.allclose(x, y, near, near * max(1, abs(y).max())):
                    return f"{world.names} {world.ys}: {a} is not {b}"
    looped = any("is a loop of" in note for program in compiled.programs for note in program.notes)
    if not looped and "gradient" not in world.names:  # where it frees what it goes back through
        return f"{world.names} {world.ys}: was unrolled"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.compiler.random_scans", description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    faults = 0
    for seed in range(options.seed, options.seed + options.count):
        for dtype in (tg.float64, tg.float32):
            for executor in ("numpy", "native"):
                if wrong := fault(seed, dtype, executor):
                    faults += 1
                    print(f"{seed} {dtype} {executor}: {wrong}"[:600], flush=True)
    print(f"{options.count} scans, {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

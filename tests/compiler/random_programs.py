"""Random programs under `mode="verify"`: python -m tests.compiler.random_programs --count 50000 --seed 0.

A program is a list of statements, drawn by a seed: operations on tensors, views, in-place changes of what the function
is given, captures or makes, parameters and their gradients, an optimizer's step, random numbers, numbers found by
name. A compiled function interprets it, so that it is recorded as any function is. It is called several times; between
the calls the world changes, as users change it: other numbers, other arrays, other shapes, frozen parameters, hooks.
Each call does what an eager one does, to rounding, or is refused in words, and then nothing has changed.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np

import nn
import tinygrad_seq as tg
from nn import optim
from tinygrad_seq.compiler.verification import Reach

ROWS, COLS = 3, 4
CALLS = 5


class World:
    """What a function finds: parameters, tensors, arrays, a module, an optimizer, numbers."""

    def __init__(self, rng: Random) -> None:
        tg.manual_seed(rng.randrange(1000))
        kind = rng.choice([tg.float32, tg.float64])
        self.weights = [nn.Parameter(tg.randn(ROWS, COLS, dtype=kind)), nn.Parameter(tg.randn(COLS, dtype=kind))]
        self.weights.append(nn.Parameter(tg.randn(COLS, COLS, dtype=kind)))
        self.tensors = [tg.randn(ROWS, COLS, dtype=kind), tg.randn(COLS, dtype=kind), tg.ones((), dtype=kind)]
        self.index = tg.tensor([rng.randrange(ROWS) for _ in range(4)])
        self.array = (
            np.random.default_rng(rng.randrange(1000)).normal(size=(ROWS, COLS)).astype(str(self.weights[0].dtype))
        )
        layers: list[nn.Module] = [nn.Linear(COLS, COLS, dtype=kind), nn.Dropout(0.3)]
        if rng.random() < 0.3:
            layers.append(nn.LayerNorm(COLS, dtype=kind))
        self.module = nn.Sequential(*layers)
        self.cell = nn.RNN(COLS, COLS, dtype=kind)
        trained = [*self.weights, *self.module.parameters()]
        make = rng.choice([optim.SGD, optim.Adam, optim.RMSprop])
        self.optimizer = make(trained, lr=0.01)
        self.config = SimpleNamespace(rate=1.0, count=2, flag=True)
        self.table: dict[str, Any] = {"scale": 0.5, "list": [1.0, 2.0]}
        self.generator = tg.Generator(rng.randrange(99))


Value = Any
Operation = Callable[[World, Random, Value, Value], Value]


def fitted(x: Value, like: Value) -> Value:
    """Something of the shape (ROWS, COLS) made of x, which may have any."""
    return x.reshape(-1)[:1].expand(like.shape) if x.shape != like.shape else x


def set_item(x: Value, place: Any, value: Any) -> Value:
    x[place] = value
    return x


def put(x: Value, place: Any, value: Any, *, added: bool = False) -> Value:
    """A recorded assignment."""
    if x.ndim and added:
        x[place] += value
    elif x.ndim:
        x[place] = value
    return x


STEPS: list[Callable[[World, Value, Value], Value]] = [
    lambda w, h, x: (h @ w.weights[2]).tanh() + x,
    lambda w, h, x: h * w.weights[1] + x * w.tensors[2],
    lambda w, h, x: h * w.config.rate + x,  # by a number that varies
    lambda w, h, x: h + tg.rand(COLS).to(x.dtype) * x,
    lambda w, h, x: h + without_grad(lambda: w.tensors[1].mul_(0.5)) * x,  # with a change outside
    lambda w, h, x: w.module(h + x),
    lambda w, h, x: h.mul_(0.5) + x,
]


def scanned(w: World, rng: Random, xs: Value, y: Value) -> Value:
    """A scan over the rows of xs: the states after each step, and what comes of the last one."""
    step, reverse = rng.choice(STEPS), rng.random() < 0.5
    begin = w.weights[1] * 1.0 if rng.random() < 0.5 else y.reshape(-1)[:1].expand(COLS)

    def carried(h: Value, x: Value) -> tuple[Value, Value]:
        h = step(w, h, x)
        return h, h * 1.0

    last, states = tg.scan(carried, begin, xs, reverse=reverse)
    return states + last


def without_grad(call: Callable[[], Value]) -> Value:
    with tg.no_grad():
        return call()


OPERATIONS: dict[str, Operation] = {
    "add": lambda w, r, x, y: x + fitted(y, x),
    "mul": lambda w, r, x, y: x * fitted(y, x),
    "sub": lambda w, r, x, y: fitted(y, x) - x,
    "div": lambda w, r, x, y: x / (fitted(y, x).square() + 1),  # no kink: what cancels has any sign
    "tanh": lambda w, r, x, y: x.tanh(),
    "sigmoid": lambda w, r, x, y: x.sigmoid(),
    "exp": lambda w, r, x, y: x.clamp(-3, 3).exp(),
    "relu": lambda w, r, x, y: x.relu(),
    "softmax": lambda w, r, x, y: x.reshape(1, -1).softmax(-1),
    "sum": lambda w, r, x, y: x.sum(-1, keepdim=True) if x.ndim else x.sum(),
    "mean": lambda w, r, x, y: x.mean(),
    "max": lambda w, r, x, y: x.max(),
    "matmul": lambda w, r, x, y: x.reshape(-1)[:1].expand(2, COLS) @ w.weights[2],
    "cumsum": lambda w, r, x, y: x.reshape(-1).cumsum(0),
    "number": lambda w, r, x, y: x * w.config.rate + w.table["scale"],
    "listed": lambda w, r, x, y: x * sum(w.table["list"]),
    "count": lambda w, r, x, y: sum((x for _ in range(w.config.count)), x * 0),
    "branch": lambda w, r, x, y: x * 2 if w.config.flag else x * 3,
    "array": lambda w, r, x, y: fitted(x, w.weights[0]) * w.array,
    "numpy": lambda w, r, x, y: x * float(w.array[0, 0]),
    "weight": lambda w, r, x, y: fitted(x, w.weights[0]) * w.weights[0] + w.weights[1],
    "tensor": lambda w, r, x, y: fitted(x, w.tensors[0]) * w.tensors[0] * w.tensors[2],
    "take": lambda w, r, x, y: w.weights[0][w.index] * x.mean(),
    "gather": lambda w, r, x, y: w.weights[0].gather(0, w.index.reshape(1, 4)) + x.mean(),
    "where": lambda w, r, x, y: tg.where(x > 0, x, fitted(y, x)),
    "masked": lambda w, r, x, y: x.masked_fill(x > 0.5, w.config.rate),
    "module": lambda w, r, x, y: w.module(fitted(x, w.weights[0])),
    "cell": lambda w, r, x, y: w.cell(fitted(x, w.tensors[0]).unsqueeze(1))[0],
    "stack": lambda w, r, x, y: tg.stack([x, fitted(y, x)]).sum(0),
    "cat": lambda w, r, x, y: tg.cat([x.reshape(-1), y.reshape(-1)]),
    "rand": lambda w, r, x, y: x + tg.rand(*x.shape).to(x.dtype),
    "own generator": lambda w, r, x, y: x + tg.rand(*x.shape, generator=w.generator).to(x.dtype),
    "dropout": lambda w, r, x, y: nn.functional.dropout(x, 0.5),
    "scan": lambda w, r, x, y: scanned(w, r, fitted(x, w.weights[0]), y),
    "detach": lambda w, r, x, y: x.detach() * x,
    "clone": lambda w, r, x, y: x.clone(),
    "checkpoint": lambda w, r, x, y: tg.checkpoint(lambda a: (a * w.weights[1].sum()).tanh(), x),
    "grad of": lambda w, r, x, y: tg.grad(lambda a: (a * a * w.tensors[2]).sum())(x),
    "view": lambda w, r, x, y: x.reshape(-1),
    "transpose": lambda w, r, x, y: x.transpose(0, -1) if x.ndim else x,
    "first": lambda w, r, x, y: x[0] if x.ndim else x,
    "slice": lambda w, r, x, y: x[..., :2] if x.ndim else x,
    "expand": lambda w, r, x, y: x.unsqueeze(0).expand(2, *x.shape),
    # in place
    "add_": lambda w, r, x, y: x.clone().add_(fitted(y, x)),
    "view add_": lambda w, r, x, y: in_view(x.clone(), y),
    "set": lambda w, r, x, y: set_item(x.detach().clone(), r.choice([0, -1]) if x.ndim else (), 1.5),
    "set, recorded": lambda w, r, x, y: put(x * 1.0, r.choice([0, -1, slice(1), ...]), y.reshape(-1)[0]),
    "add to a part": lambda w, r, x, y: put(x * 1.0, r.choice([0, -1, slice(1)]), y.reshape(-1)[0], added=True),
    "set where, recorded": lambda w, r, x, y: put(x * w.tensors[2], x > 0, 0.5),
    "set a row": lambda w, r, x, y: put(fitted(x, w.weights[0]) * 1.0, r.randrange(ROWS), w.weights[1] * 2),
    "set of a mask": lambda w, r, x, y: without_grad(lambda: set_item(x.clone(), x > 0, 0.0)),
    "tensor add_": lambda w, r, x, y: without_grad(lambda: w.tensors[0].add_(fitted(x.detach(), w.tensors[0]) * 0.1)),
    "tensor set": lambda w, r, x, y: without_grad(lambda: set_item(w.tensors[1], 0, x.detach().mean())),
    "tensor copy_": lambda w, r, x, y: without_grad(lambda: w.tensors[2].copy_(x.detach().mean())),
    "row of tensor": lambda w, r, x, y: without_grad(lambda: w.tensors[0][1].mul_(0.5)),
    "shown": lambda w, r, x, y: w.tensors[0][1:],
    "weight decay": lambda w, r, x, y: without_grad(lambda: w.weights[1].mul_(0.9)),
    "data": lambda w, r, x, y: w.weights[1].data.mul_(0.9),
    "assign data": lambda w, r, x, y: assign_data(w.weights[1], x),
    # gradients
    "backward": lambda w, r, x, y: backward(x),
    "zero_grad": lambda w, r, x, y: (w.optimizer.zero_grad(), x)[1],
    "read grad": lambda w, r, x, y: x if w.weights[0].grad is None else x + w.weights[0].grad.sum(),
    "grad mul_": lambda w, r, x, y: x if w.weights[0].grad is None else w.weights[0].grad.mul_(0.5),
    "clip": lambda w, r, x, y: x + nn.utils.clip_grad_norm_(w.weights, 1.0),
    "hook": lambda w, r, x, y: hooked(x * 1.0),
    "no_grad": lambda w, r, x, y: without_grad(lambda: x * 2),
    "item": lambda w, r, x, y: x * float(w.tensors[2]),
    "step": lambda w, r, x, y: (w.optimizer.step(), x)[1],
    "numbers of the optimizer": lambda w, r, x, y: x * w.optimizer.param_groups[0]["lr"],
    "change of a name": lambda w, r, x, y: (w.table.update(scale=w.table["scale"] + 1), x)[1],
}
RARE = ("item", "change of a name", "step", "assign data", "cell")


def in_view(x: Value, y: Value) -> Value:
    v = x.reshape(-1)[:1]
    v.mul_(2.0)
    x.add_(fitted(y, x))
    return v if y.ndim else x


def assign_data(p: Value, x: Value) -> Value:
    p.data = fitted(x.detach(), p).clone()
    return x


def backward(x: Value) -> Value:
    if x.requires_grad:
        x.sum().backward(retain_graph=True)
    return x


def hooked(x: Value) -> Value:
    if x.requires_grad:
        x.register_hook(lambda g: g * 2)
    return x


CHANGES: dict[str, Callable[[World, Random], object]] = {
    "nothing": lambda w, r: None,
    "rate": lambda w, r: setattr(w.config, "rate", r.choice([0.5, 1.0, 2.0])),
    "count": lambda w, r: setattr(w.config, "count", r.choice([1, 2, 3])),
    "flag": lambda w, r: setattr(w.config, "flag", not w.config.flag),
    "scale": lambda w, r: w.table.update(scale=r.choice([0.25, 0.5, 3.0])),
    "list": lambda w, r: w.table["list"].append(1.0),
    "array": lambda w, r: w.array.__imul__(0.5),
    "new array": lambda w, r: setattr(w, "array", w.array * 2),
    "tensor": lambda w, r: w.tensors[0].mul_(0.5),
    "new tensor": lambda w, r: w.tensors.__setitem__(2, w.tensors[2] * 2),
    "data": lambda w, r: setattr(w.weights[0], "data", w.weights[0].data * 0.5),
    "weight": lambda w, r: without_grad(lambda: w.weights[1].add_(0.1)),
    "freeze": lambda w, r: w.weights[0].requires_grad_(not w.weights[0].requires_grad),
    "grad": lambda w, r: setattr(w.weights[0], "grad", r.choice([None, tg.ones_like(w.weights[0].detach())])),
    "zero_grad": lambda w, r: w.optimizer.zero_grad(),
    "switch": lambda w, r: w.module.train(not w.module.training),
    "rate of the optimizer": lambda w, r: w.optimizer.param_groups[0].update(lr=r.choice([0.1, 0.02])),
    "load": lambda w, r: w.module.load_state_dict({k: v * 0.9 for k, v in w.module.state_dict().items()}),
    "load of the optimizer": lambda w, r: w.optimizer.load_state_dict(w.optimizer.state_dict()),
    "hook": lambda w, r: w.module[0].register_forward_hook(lambda m, i, y: y * 2),
    "layer": lambda w, r: w.module.append(nn.Tanh()),
    "seed": lambda w, r: tg.manual_seed(r.randrange(9)),
    "index": lambda w, r: without_grad(lambda: w.index.copy_(tg.tensor([r.randrange(ROWS) for _ in range(4)]))),
}


def drawn(rng: Random) -> tuple[list[tuple[str, int, int, int]], int]:
    """A program: for each statement its operation, which values it takes, and a seed; and how many are returned."""
    names = [*OPERATIONS]
    weights = [0.1 if name in RARE else 1.0 for name in names]
    count = rng.randint(2, 9)
    return [
        (rng.choices(names, weights)[0], rng.randrange(10**6), rng.randrange(10**6), rng.randrange(10**6))
        for _ in range(count)
    ], rng.randint(1, 3)


def made(world: World, program: list[tuple[str, int, int, int]], count: int) -> Callable[..., Any]:
    """The function that interprets a program."""
    steps = [(OPERATIONS[name], i, j, seed) for name, i, j, seed in program]

    def function(x: tg.Tensor, scale: float) -> Any:
        values = [x * scale, x]
        for operation, i, j, seed in steps:
            values.append(operation(world, Random(seed), values[i % len(values)], values[j % len(values)]))
        return tuple(values[-count:])

    return function


def fault(seed: int, executor: str | None, seen: Counter[str] | None = None) -> str | None:
    """What is wrong with the program of this seed; None if nothing is."""
    rng = Random(seed)
    world = World(rng)
    program, count = drawn(rng)
    function = made(world, program, count)
    compiled = tg.compile(function, executor=executor, mode="verify")
    history: list[str] = []
    rows, scale = ROWS, 1.0
    for _ in range(CALLS):
        x = tg.randn(rows, COLS, dtype=world.weights[0].dtype)
        if rng.random() < 0.2:
            x.requires_grad_()
        reach = Reach(function, [x])
        before = reach.now()
        try:
            compiled(x, scale)
            history.append("call")
        except tg.CompileError as error:
            if "and its program" in str(error) or "its next call another one" in str(error):
                return f"{[name for name, *_ in program]} {history}: {error}"
            history.append("refused")
            if difference(before, Reach(function, [x]).now()):
                return f"{[name for name, *_ in program]} {history}: refused ({error}), but not as before"
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            history.append(f"{type(error).__name__}")  # as it is raised eagerly; `verify` compares the two
        if seen is not None:
            seen[history[-1]] += 1
        change = rng.choice([*CHANGES])
        history.append(change)
        with suppress(RuntimeError):  # as of in-place changes of what is frozen or shared
            CHANGES[change](world, rng)
        rows, scale = rng.choice([(ROWS, 1.0), (ROWS, 1.0), (ROWS, rng.choice([0.5, 2.0])), (2, 1.0)])
    return None


def difference(before: dict[str, Any], after: dict[str, Any]) -> str:
    """The first of these numbers that is another one now."""
    for name, value in before.items():
        now: Any = after.get(name)
        numbers = isinstance(value, np.ndarray) and value.dtype.kind in "fc"
        if not np.array_equal(now, value, equal_nan=numbers):
            return name
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.compiler.random_programs", description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--executor", choices=["numpy", "native"], default=None)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    seen: Counter[str] = Counter()
    faults = 0
    for seed in range(options.seed, options.seed + options.count):
        wrong = fault(seed, options.executor, seen)
        if wrong:
            faults += 1
            print(f"{seed}: {wrong}"[:600], flush=True)
    print(f"{options.count} programs, {faults} faults; calls: {dict(seen)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

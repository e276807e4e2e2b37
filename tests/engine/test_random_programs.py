"""Random programs of views, in-place changes, detaching and freezing: what they give is what PyTorch gives.

One seed makes the same choices in both libraries. Ours may refuse what PyTorch allows, in the words below, and nothing
else; where PyTorch refuses, there is nothing to compare with, but ours does so mostly, too.
"""

from __future__ import annotations

import warnings
from collections import Counter
from random import Random
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinygrad_seq as tg

from ..profiles import examples

torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")

PROGRAMS = max(500, 40 * examples())  # of a millisecond each
NUDGE, ROUNDINGS = 1e-15, 10.0
LARGEST = 36  # elements of a value
REFUSED = ("shares memory with another tensor", "was changed in place after it was used")

ELEMENTWISE = ("exp", "tanh", "relu", "sigmoid", "sqrt", "abs", "neg", "sum", "mean", "clone")
IN_PLACE = ("add_", "mul_", "sub_", "copy_", "zero_", "exp_", "+=")
VIEWS: dict[str, Any] = {  # of a tensor with dimensions
    "transpose": lambda x: x.transpose(0, -1),
    "first": lambda x: x[0],
    "first of the last": lambda x: x[..., 0],
    "element": lambda x: x[(0,) * x.ndim],
    "rest": lambda x: x[1:],
    "flat": lambda x: x.reshape(-1),
    "chunk": lambda x: x.chunk(2, 0)[-1],
    "unsqueeze": lambda x: x.unsqueeze(0),
    "diagonal": lambda x: x.unsqueeze(0).diagonal(0, 0, -1),
    "unfold": lambda x: x.unfold(0, 1, 1),
    "copied rows": lambda x: x[[0]],
}


class Seen(NamedTuple):
    """What a program left behind: arrays, or None for a gradient that is not there."""

    values: list[Any]
    gradients: list[Any]
    retained: list[Any]
    recorded: list[bool]


class Program:
    """A random program, as it runs in one library.

    Args:
        lib: tinygrad_seq or torch.
        nudge: by how much the numbers at its start are larger, as a part of them.
        data: take `.data`, of which PyTorch does not watch what is written to it; else `detach()` in its place.
    """

    def __init__(self, lib: Any, seed: int, nudge: float = 0.0, data: bool = True) -> None:
        self.lib, self.rng, self.lines, self.data = lib, Random(seed), list[str](), data
        self.values: list[Any] = []
        for _ in range(2):
            numbers = [[round(self.rng.uniform(0.5, 1.5), 2) * (1 + nudge) for _ in range(3)] for _ in range(2)]
            self.values.append(lib.tensor(numbers, dtype=lib.float64, requires_grad=self.rng.random() < 0.7))
        self.leaves = self.values[:]  # until they are changed in place

    def run(self) -> Seen:
        """A few random lines, and a backward pass through all that is left."""
        lines = [self.elementwise, self.binary, self.view, self.change, self.write, self.detach, self.freeze]
        lines += [self.retain, self.backward, self.drop, self.put]
        for line in self.rng.choices(lines, weights=[2, 2, 4, 4, 1, 2, 1, 1, 1, 1, 2], k=self.rng.randint(4, 12)):
            line(self.rng.randrange(len(self.values)))
        total = sum([(v * v).sum() for v in self.values if v.requires_grad], self.number(0.0))
        if total.requires_grad:
            total.backward()
        gradients, retained = (
            [None if v.grad is None else _array(v.grad) for v in some] for some in (self.leaves, self.values)
        )
        if any("under no_grad" in line for line in self.lines):
            retained = []  # PyTorch gives views of what was written so new nodes, and retains what the old ones get
        return Seen([_array(v) for v in self.values], gradients, retained, [v.requires_grad for v in self.values])

    def number(self, value: float) -> Any:
        return self.lib.tensor(value, dtype=self.lib.float64)

    def keep(self, value: Any, line: str) -> None:
        """One more value, if it is small enough and not empty."""
        if 0 < value.numel() <= LARGEST:
            self.lines.append(f"v{len(self.values)} = {line}")
            self.values.append(value)

    # --- the lines; each takes the place of a value, of which it keeps no reference ---

    def elementwise(self, i: int) -> None:
        name = self.rng.choice(ELEMENTWISE)
        self.keep(getattr(self.values[i], name)(), f"v{i}.{name}()")

    def binary(self, i: int) -> None:
        name, j = self.rng.choice(["add", "mul", "div", "sub"]), self.rng.randrange(len(self.values))
        if self.values[j].ndim == 0 or self.values[j].shape == self.values[i].shape:
            self.keep(getattr(self.lib, name)(self.values[i], self.values[j]), f"{name}(v{i}, v{j})")

    def view(self, i: int) -> None:
        name = self.rng.choice([*VIEWS])
        if self.values[i].ndim:
            self.keep(VIEWS[name](self.values[i]), f"{name} of v{i}")

    def change(self, i: int) -> None:
        """In place, by another value of the same shape or by a number."""
        name, j, recorded = self.rng.choice(IN_PLACE), self.rng.randrange(len(self.values)), self.rng.random() < 0.6
        x, other = self.values[i], self.values[j]
        if recorded and x.is_leaf and x.requires_grad:
            return
        if other.shape != x.shape:
            j, other = -1, self.number(2.0)
        self.lines.append(f"v{i} {name} {'2.0' if j < 0 else f'v{j}'}{'' if recorded else ', under no_grad'}")
        with self.lib.set_grad_enabled(recorded):
            if name == "+=":
                x += other
            else:
                getattr(x, name)(*([] if name in ("zero_", "exp_") else [other]))

    def write(self, i: int) -> None:
        self.lines.append(f"v{i}[:1] = 0.5, under no_grad")
        with self.lib.no_grad():
            self.values[i][0 if self.values[i].ndim else ...] = 0.5

    def put(self, i: int) -> None:
        """Another value, or its sum, at an index; or added to what is there."""
        x, j = self.values[i], self.rng.randrange(len(self.values))
        key: Any = self.rng.choice([0, -1, slice(1, None), slice(None), [0], ..., None, "mask"])
        added = self.rng.random() < 0.3
        if not x.ndim or (x.is_leaf and x.requires_grad):
            return
        self.lines.append(f"v{i}[{key}] {'+=' if added else '='} v{j}")
        key = x > 0.8 if key == "mask" else key
        other = self.values[j]
        fits = other.ndim and x[key].shape == other.shape
        other = other if fits else other.sum()
        if added:
            x[key] += other
        else:
            x[key] = other

    def detach(self, i: int) -> None:
        name = self.rng.choice(["detach()", "data"])
        self.keep(self.values[i].data if name == "data" and self.data else self.values[i].detach(), f"v{i}.{name}")

    def freeze(self, i: int) -> None:
        """A leaf, for good or until the next line: PyTorch is of two minds about views that are made meanwhile."""
        x, again = self.leaves[i % 2], self.rng.random() < 0.5
        if x.is_leaf and x.requires_grad:
            self.lines.append(f"v{i % 2}.requires_grad_(False){', and True again' if again else ''}")
            x.requires_grad_(False)
            x.requires_grad_(again)

    def retain(self, i: int) -> None:
        if self.values[i].requires_grad:
            self.lines.append(f"v{i}.retain_grad()")
            self.values[i].retain_grad()

    def backward(self, i: int) -> None:
        if self.values[i].requires_grad:
            self.lines.append(f"backward from v{i}")
            (self.values[i] * self.values[i]).sum().backward(retain_graph=True)

    def drop(self, i: int) -> None:
        """A value that nobody holds any longer."""
        if i > 1:
            self.lines.append(f"v{i} = v0")
            self.values[i] = self.values[0]


def _array(x: Any) -> Any:
    return np.array(x.detach().numpy())


def outcome(lib: Any, seed: int, nudge: float = 0.0, data: bool = True) -> tuple[Any, list[str]]:
    """What a program gives, or the error in its place; and its lines."""
    program = Program(lib, seed, nudge, data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's, where `.grad` of what is no leaf is read
        try:
            return program.run(), program.lines
        except (RuntimeError, TypeError, ValueError) as error:
            return error, program.lines


def difference(ours: Seen, theirs: Seen, nudged: Seen | None = None) -> str | None:
    """In what two outcomes differ; None if they are the same.

    Args:
        nudged: theirs, of a start that is a rounding away: what differs by that is far larger numbers cancelling out.
    """
    for what, a, b, near in zip(Seen._fields, ours, theirs, theirs if nudged is None else nudged, strict=True):
        for n, (one, other, moved) in enumerate(zip(a, b, near, strict=True)):
            if not same(one, other, moved):
                return f"{what}[{n}]: {one}, in PyTorch {other}"
    return None


def same(ours: Any, theirs: Any, moved: Any) -> bool:
    """Whether two arrays are equal to rounding, or both not there; nan in one may be infinite in the other.

    Where PyTorch has nan there is nothing to compare with: it multiplies the gradient of what was written over, 0, by
    what may be infinite.
    """
    if not isinstance(ours, np.ndarray) or not isinstance(theirs, np.ndarray):
        return ours is theirs
    if ours.shape != theirs.shape:
        return False
    ours = np.where(np.isnan(theirs), np.nan, ours)
    ours, theirs, moved = (np.where(np.isfinite(a), a, np.nan) for a in (ours, theirs, moved))
    slack = 1e-12 + ROUNDINGS * np.nan_to_num(abs(moved - theirs)).max(initial=0.0)
    return np.allclose(ours, theirs, 1e-9, slack, equal_nan=True)


def test_programs_give_what_they_give_in_pytorch() -> None:
    times: Counter[str] = Counter()
    for seed in range(PROGRAMS):
        (ours, lines), (theirs, _) = outcome(tg, seed), outcome(torch, seed)
        told = "\n".join([f"seed {seed}", *lines])
        if isinstance(theirs, Exception):
            times["refused by both" if isinstance(ours, Exception) else "refused by PyTorch alone"] += 1
        elif isinstance(ours, Exception):
            assert any(words in str(ours) for words in REFUSED), f"{told}\n{ours!r}"
            times["refused"] += 1
        else:
            found = difference(ours, theirs)
            if found is not None:
                found = difference(ours, theirs, outcome(torch, seed, NUDGE)[0])
            if found is not None:
                theirs = outcome(torch, seed, data=False)[0]
                found = None if isinstance(theirs, Exception) else difference(ours, theirs)
            assert found is None, f"{told}\n{found}"
            times["compared"] += 1
    assert times["compared"] > 0.65 * PROGRAMS, times
    assert times["refused by both"] > 2 * times["refused by PyTorch alone"], times

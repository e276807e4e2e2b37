"""Dataclasses with tensors in their fields are containers: of a batch, of what a step returns."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from tinygrad_seq.graph.tracing_hook import CompileError

ONES = tg.ones(3)


@dataclasses.dataclass
class Batch:
    x: Any
    y: Any = None
    scale: float = 1.0
    name: str = "train"

    def total(self) -> Any:
        return self.x if self.y is None else self.x + self.y


@dataclasses.dataclass(frozen=True)
class Frozen:
    x: Any


@dataclasses.dataclass(slots=True)
class Slotted:
    x: Any
    parts: list[Any] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(eq=False)
class Itself:
    x: Any


@pytest.mark.parametrize("kind", [Batch, Frozen, Slotted])
def test_one_program_for_all_batches(kind: Any) -> None:
    compiled = tg.compile(lambda batch: batch.x * 2)
    for k in range(3):
        assert compiled(kind(ONES * k)).tolist() == [2.0 * k] * 3
    assert compiled(kind(np.ones(3, np.float32))).tolist() == [2.0] * 3
    assert len(compiled.programs) == 2  # an array is no tensor


def test_results_gradients_and_methods() -> None:
    w = tg.ones(3, requires_grad=True)

    @tg.compile
    def step(batch: Batch) -> tuple[Batch, Any]:
        return Batch(batch.total() * w, batch.y, name=batch.name), batch.x.sum()

    for k in (1.0, 2.0):
        w.grad = None
        made, total = step(Batch(ONES * k, ONES))
        made.x.sum().backward()
        assert type(made) is Batch
        assert (made.name, made.y.tolist(), total.item()) == ("train", [1.0] * 3, 3 * k)
        assert w.grad is not None
        assert w.grad.tolist() == [k + 1] * 3
    assert len(step.programs) == 1
    assert step(Batch(ONES, name="other"))[0].name == "other"  # without y, too


def test_numbers_in_fields_and_lists() -> None:
    compiled = tg.compile(lambda batch: batch.x * batch.scale)
    for scale in (1.0, 2.0, 3.0, 4.0):
        assert compiled(Batch(ONES, scale=scale)).tolist() == [scale] * 3
    assert len(compiled.programs) == 1  # the first of them is gone
    summed = tg.compile(lambda batch: batch.x + sum(batch.parts))
    assert summed(Slotted(ONES, [ONES, ONES])).tolist() == [3.0] * 3
    assert summed(Slotted(ONES, [ONES])).tolist() == [2.0] * 3


def test_in_place() -> None:
    def step(batch: Batch) -> Any:
        batch.x += 1
        return batch.x.sum()

    batch, compiled = Batch(tg.zeros(3)), tg.compile(step)
    assert [compiled(batch).item() for _ in range(3)] == [3.0, 6.0, 9.0]
    assert batch.x.tolist() == [3.0] * 3


def test_what_a_replay_would_not_do_is_refused() -> None:
    def assigns(batch: Batch) -> Any:
        batch.scale = 3.0
        return batch.x * batch.scale

    batch = Batch(ONES)
    with pytest.raises(CompileError, match="changes a list, a dictionary or a dataclass among its arguments"):
        tg.compile(assigns)(batch)
    assert batch.scale == 1.0
    batch.more = ONES  # type: ignore[attr-defined]
    with pytest.raises(CompileError, match="a Batch with a tensor or an array as its attribute 'more'"):
        tg.compile(Batch.total)(batch)


def test_another_method_of_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = tg.compile(lambda batch: batch.total())
    assert compiled(Batch(ONES)).tolist() == [1.0] * 3
    monkeypatch.setattr(Batch, "total", lambda self: self.x * 7)
    assert compiled(Batch(ONES)).tolist() == [7.0] * 3


def test_one_that_stands_for_itself_is_no_container() -> None:
    compiled = tg.compile(lambda held: held.x * 2)
    held = Itself(ONES)
    assert compiled(held).tolist() == [2.0] * 3
    held.x = ONES * 5
    assert compiled(held).tolist() == [10.0] * 3


def test_transforms() -> None:
    y = tg.vmap(lambda pair: pair.x * pair.y)(Batch(tg.ones(3, 2), tg.arange(3.0), None, None))  # type: ignore[arg-type]
    assert y.tolist() == [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]
    x = tg.ones(3, requires_grad=True)
    tg.checkpoint(lambda batch: Frozen(batch.x * 2), Frozen(x)).x.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2.0] * 3

"""Arrays that are the ones of last time are not looked at again; others are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from tinygrad_seq.compiler.captures import CapturedInputs
from tinygrad_seq.compiler.program import Program, Source


class Executor:
    """Takes what is an array."""

    looked = 0

    def fits(self, arrays: list[Any]) -> bool:
        self.looked += len(arrays)
        return all(isinstance(a, np.ndarray) for a in arrays)


def made() -> tuple[CapturedInputs, dict[str, Any], Executor, list[Source]]:
    """Two captured arrays (3,), of which the first is written to, and an argument (3,)."""
    program, held = Program(), {"a": np.zeros(3), "b": np.ones(3)}
    sources = [
        Source("an argument", lambda args: args[0], per_call=True),
        Source("a", lambda _args: held["a"]),
        Source("b", lambda _args: held["b"]),
    ]
    program.sources = {program.new((3,), np.dtype(np.float64)): source for source in sources}
    return CapturedInputs(program, {sources[1]}), held, Executor(), [*program.sources.values()]


def test_static_sources_come_first_and_are_checked_once() -> None:
    outside, held, executor, order = made()
    assert [source.name for source in order] == ["a", "b", "an argument"]
    x = np.full(3, 2.0)
    for _ in range(3):
        arrays = outside.arrays([x], executor)
        assert arrays is not None
        assert all(y is z for y, z in zip(arrays, (held["a"], held["b"], x), strict=True))
    assert executor.looked == 2 + 3


@pytest.mark.parametrize("name", ["a", "b"])
@pytest.mark.parametrize("wrong", [np.zeros(4), np.zeros(3, np.float32), 1.0])
def test_another_one_must_fit(name: str, wrong: Any) -> None:
    outside, held, executor, _ = made()
    x, right = np.full(3, 2.0), held[name]
    assert outside.arrays([x], executor) is not None
    for _ in range(2):
        held[name] = wrong
        assert outside.arrays([x], executor) is None
    held[name] = right
    assert outside.arrays([x], executor) is not None
    held[name] = np.full(3, 7.0)
    assert outside.arrays([x], executor) is not None
    assert outside.arrays([wrong], executor) is None


def test_arguments_must_not_share_the_memory_of_what_changes() -> None:
    outside, held, executor, _ = made()
    assert outside.arrays([held["a"]], executor) is None
    assert outside.arrays([held["a"][::-1]], executor) is None
    assert outside.arrays([held["b"]], executor) is None, "one array in two places"
    assert outside.arrays([held["b"][::-1]], executor) is not None, "nobody writes to it"
    whole = np.zeros(6)
    held["a"] = whole[:3]
    assert outside.arrays([whole[3:]], executor) is None


@pytest.mark.host("about host arrays")
def test_parameters_that_are_replaced_are_noticed() -> None:
    w = tg.ones(3)

    @tg.compile
    def double(x: tg.Tensor) -> tg.Tensor:
        return w * x

    for _ in range(3):
        assert double(tg.ones(3)).tolist() == [1, 1, 1]
    w.data = tg.full((3,), 2.0)
    assert double(tg.ones(3)).tolist() == [2, 2, 2]
    w.data = tg.full((3,), 3.0, dtype=tg.float64)
    assert double(tg.ones(3)).tolist() == [3, 3, 3]
    assert len(double.programs) == 2

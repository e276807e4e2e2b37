"""Random programs under `mode="verify"`: a few here, thousands by python -m tests.compiler.random_programs."""

from __future__ import annotations

import warnings
from collections import Counter

import pytest

import tinygrad_seq as tg

from ..profiles import examples
from . import random_programs


@pytest.mark.parametrize("executor", ["numpy", None])
def test_compiled_as_eagerly_or_refused(executor: str | None) -> None:
    seen: Counter[str] = Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        faults = [random_programs.fault(seed, executor, seen) for seed in range(max(4, examples() * 2 // 5))]
    assert not [wrong for wrong in faults if wrong]
    assert seen["call"] > seen["refused"]  # most of what is drawn can be compiled


def test_a_fault_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinygrad_seq.compiler.executable import Executable
    from tinygrad_seq.compiler.scalar_program import evaluation

    def late(numbers: list[tuple[object, tuple[object, ...]]]) -> object:
        first: list[list[object]] = []
        evaluate = evaluation(numbers)  # type: ignore[arg-type]

        def stale(given: list[object]) -> list[object]:
            first.append(evaluate(given))
            return first[0]

        return stale

    monkeypatch.setattr(f"{Executable.__module__}.evaluation", late)
    compiled = tg.compile(lambda x, v: x * v, mode="verify", executor="numpy")
    for v in (1.0, 2.0):
        compiled(tg.ones(2), v)
    with pytest.raises(tg.CompileError, match="and its program differ: result 0"):
        compiled(tg.ones(2), 3.0)

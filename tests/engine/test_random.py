"""Random numbers of the kinds and in the ranges that were asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from tinygrad_seq.backend import numpy as backend


@pytest.mark.parametrize(("low", "high"), [(-3, 3), (-1, 1), (-7, -4), (0, 5), (2, 6)])
def test_integers_are_uniform_below_zero_too(low: int, high: int) -> None:
    values, counts = np.unique(tg.randint(low, high, (20_000,), generator=tg.Generator(1)).numpy(), return_counts=True)
    assert values.tolist() == list(range(low, high))
    np.testing.assert_allclose(counts, 20_000 / (high - low), rtol=0.1)


@pytest.mark.parametrize("dtype", [tg.float32, tg.float64, tg.float16, tg.int8, tg.uint8, float, "int32"])
def test_integers_are_whole_in_every_dtype(dtype: Any) -> None:
    drawn = tg.randint(0, 5, (200,), dtype=dtype, generator=tg.Generator(1))
    assert drawn.dtype == tg.zeros(1, dtype=dtype).dtype
    assert set(drawn.tolist()) == {0, 1, 2, 3, 4}


def test_integers_as_truth_values() -> None:
    drawn = tg.randint(0, 2, (1000,), dtype=tg.bool, generator=tg.Generator(1))
    assert 400 < int(drawn.sum()) < 600


def refused(message: str, kind: type[Exception], call: Callable[[], Any]) -> Any:
    return pytest.param(message, kind, call, id=message)


@pytest.mark.parametrize(
    ("message", "kind", "call"),
    [
        refused("randint: 999 is no number of uint8", TypeError, lambda: tg.randint(0, 1000, (3,), dtype=tg.uint8)),
        refused("randint: -1 is no number of uint8", TypeError, lambda: tg.randint(-1, 5, (3,), dtype=tg.uint8)),
        refused("randint: a draw has 53 random bits", ValueError, lambda: tg.randint(0, 2**62, (3,))),
        refused("randint: dtype: 'abc' is none", TypeError, lambda: tg.randint(0, 5, (3,), dtype="abc")),
        refused("multinomial: takes whole numbers", ValueError, lambda: tg.multinomial(tg.ones(2), -1, True)),
        refused("multinomial: takes whole numbers", TypeError, lambda: tg.multinomial(tg.ones(2), 1.5, True)),  # type: ignore[arg-type]
        refused("uniform_: draws floating-point", TypeError, lambda: tg.tensor([1, 2]).uniform_()),
        refused("normal_: draws floating-point", TypeError, lambda: tg.tensor([1, 2]).normal_()),
        refused("manual_seed: takes a whole number", TypeError, lambda: tg.manual_seed(float("nan"))),  # type: ignore[arg-type]
        refused("set_state: takes what get_state", TypeError, lambda: tg.Generator().set_state("ab")),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_drawn(message: str, kind: type[Exception], call: Callable[[], Any]) -> None:
    with pytest.raises(kind, match=f"^{message}"):
        call()


def test_seeds_and_batches_of_nothing() -> None:
    assert tg.Generator(np.int64(3)).get_state() == (3, 0)  # type: ignore[arg-type]
    assert tg.multinomial(tg.ones(0, 3), 2).shape == (0, 2)


def test_words_are_numpys_whatever_was_drawn_before() -> None:
    draws = [(seed, start) for seed in (0, 2**64 - 1) for start in (0, 3, 2**63)]
    for seed, start in draws:
        at = start
        for count in (1, 8, 9, 40, 2, 8):
            for _ in range(2):  # again from there, too, and in between from elsewhere
                expected = np.random.Philox(key=seed, counter=at).random_raw((count + 1) // 2).view(np.uint32)[:count]
                found = backend.random_bits(seed, at, count)
                np.testing.assert_array_equal(found, expected)
                backend.random_bits(5, at, 1)
            at += (count + 7) // 8
    assert len(backend._streams) <= 8

"""Every pair of features meets once, and in the deep run many times; each pair gives what plain code gives."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from . import matrix

PARTS = 8


@pytest.mark.parametrize("part", range(PARTS))
def test_every_pair_gives_what_plain_code_gives(part: int) -> None:
    for case in [*matrix.draws(matrix.QUICK, seed=0)][part::PARTS]:
        assert matrix.fault(case) is None, case


def test_pairs_come_up_evenly() -> None:
    times: Counter[matrix.Pair] = Counter()
    for case in matrix.draws(20_000, seed=0):
        times.update(combinations([name for name in matrix.FEATURES if name in case.features], 2))
    assert min(times[pair] for pair in matrix.pairs()) >= 20


def test_the_quick_run_has_every_pair() -> None:
    drawn = {pair for case in matrix.draws(matrix.QUICK, seed=0) for pair in combinations(case.features, 2)}
    assert {frozenset(pair) for pair in matrix.pairs()} == {frozenset(pair) for pair in drawn}


@given(st.lists(st.sampled_from([*matrix.FEATURES]), min_size=1, max_size=3, unique=True), st.integers(0, 2**32))
def test_random_combinations(names: list[str], seed: int) -> None:
    if not any(apart <= {*names} for apart in matrix.APART):
        assert matrix.fault(matrix.Case(tuple(names), seed)) is None

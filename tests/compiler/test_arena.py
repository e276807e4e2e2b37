"""Memory that is shared out on paper."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tinygrad_seq.compiler.memory.arena import LiveInterval, assign_offsets

intervals = st.builds(
    lambda size, first, more: LiveInterval(size, first, first + more), *[st.integers(1, 9), *[st.integers(0, 9)] * 2]
)


def test_what_has_gone_makes_room() -> None:
    assert assign_offsets([LiveInterval(64, 0, 1), LiveInterval(64, 1, 2), LiveInterval(64, 2, 3)]) == ([0, 64, 0], 128)


def test_what_is_large_is_not_kept_from_its_place_by_what_came_before() -> None:
    starts, total = assign_offsets([LiveInterval(1, 0, 9), LiveInterval(8, 0, 1), LiveInterval(9, 2, 3)])
    assert starts == [9, 0, 0]  # in the order of time, the small one would lie between two holes of 8
    assert total == 10


@given(st.lists(intervals, min_size=1, max_size=40))
def test_what_is_there_at_the_same_time_never_overlaps(given: list[LiveInterval]) -> None:
    starts, total = assign_offsets(given)
    for i, (a, start) in enumerate(zip(given, starts, strict=True)):
        assert 0 <= start <= total - a.size
        for b, other in zip(given[:i], starts, strict=False):
            if a.first <= b.last and b.first <= a.last:
                assert start + a.size <= other or other + b.size <= start
    assert total == max(start + a.size for a, start in zip(given, starts, strict=True))

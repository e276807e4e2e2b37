"""Memory that is handed out on paper."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tinygrad_seq.compiler.arena import Arena


def test_a_gap_is_filled_and_neighbours_grow_together() -> None:
    arena = Arena()
    a, b, c = arena.take(64), arena.take(128), arena.take(64)
    assert (a, b, c, arena.size) == (0, 64, 192, 256)
    arena.give(b, 128)
    assert arena.take(64) == 64
    arena.give(a, 64)
    assert arena.take(64) == 0  # the smallest gap that holds it: both do, and this one is the first
    arena.give(c, 64)
    assert arena.take(192) == 128  # what was c's and the rest of b's are one gap, which reaches to the end
    assert arena.size == 320


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 5)), max_size=40))
def test_spans_never_overlap(requests: list[tuple[int, int]]) -> None:
    arena = Arena()
    held: dict[int, int] = {}
    for size, when in requests:
        start = arena.take(size)
        assert start + size <= arena.size
        assert all(start + size <= s or s + n <= start for s, n in held.items())
        held[start] = size
        for old in sorted(held)[when:]:
            arena.give(old, held.pop(old))
    for start, size in held.items():
        arena.give(start, size)
    assert arena.take(max(arena.size, 1)) == 0  # it is one gap again

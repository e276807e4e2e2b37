"""Memory of a GPU is counted, and where there is none left, that is said with figures."""

from __future__ import annotations

import pytest

from tinygrad_seq.backend.gpu_allocator import Allocator, OutOfMemoryError, readable


class Full(MemoryError):
    """As CuPy's OutOfMemoryError."""


def test_memory_is_counted_and_refused_in_words() -> None:
    held: list[int] = []
    kept = [70000]

    def malloc(size: int) -> object:
        if sum(held) + kept[0] + size > 100000:
            raise Full
        held.append(size)
        return object()

    def let_go() -> None:
        kept[0] = 0

    allocator = Allocator(
        malloc, Full, lambda: 1, lambda index: sum(held), lambda index: (kept[0], 10240, 204800), let_go
    )
    allocator.malloc(20000)
    assert allocator.peaks == {1: 20000}
    allocator.malloc(50000)  # once what is kept for later is let go
    assert allocator.peaks == {1: 70000}
    with pytest.raises(OutOfMemoryError) as caught:
        allocator.malloc(40960)
    text = str(caught.value)
    assert "cuda:1 is out of memory: 40.0 KiB were asked for, and of 200.0 KiB there are 10.0 KiB free" in text
    assert "arrays of this process hold 68.4 KiB, memory kept for later ones 0 B, CUDA and other processes" in text
    held.clear()
    allocator.malloc(40000)
    assert allocator.peaks == {1: 70000}
    allocator.reset_peak(1)
    allocator.malloc(1000)
    assert allocator.peaks == {1: 41000}


def test_memory_is_counted_only_where_there_may_be_a_new_peak() -> None:
    """Counting what thousands of arrays hold, at each new one, would take longer than all else."""
    sizes, counted, held = [3000, 10, 5000, 800, 4000, 2, 700], [0], [0]

    def used(index: int) -> int:
        counted[0] += 1
        return held[0]

    def malloc(size: int) -> None:
        held[0] += size + 500  # some are given more

    allocator = Allocator(malloc, Full, lambda: 0, used, lambda index: (0, 0, 0), lambda: None)
    most = 0
    for k in range(400):
        if k % 8 == 7:
            held[0] = 0  # all arrays are gone
        allocator.malloc(sizes[k % 7] * (3 if k == 200 else 1))
        most = max(most, held[0])
        assert allocator.peaks[0] == most
    assert counted[0] < 150


def test_bytes_as_people_say_them() -> None:
    assert [readable(n) for n in (5, 2048, 3 * 2**20, 5 * 2**30)] == ["5 B", "2.0 KiB", "3.0 MiB", "5.0 GiB"]

"""Threads that share native calls: each call is done once, whoever is late, interrupted or not there at all."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from ..systems import posix

pytestmark = pytest.mark.skipif(find_spec("llvmlite") is None, reason="llvmlite is not installed")
if find_spec("llvmlite") is not None:
    from tinygrad_seq.compiler.native import thread_pool
    from tinygrad_seq.compiler.native.jit import compiled, function_of_table

# Adds one to a number, after a while: its table has the number's address, and how long.
COUNT = """define void @"NAME"(ptr %table) {
entry:
  %to = load ptr, ptr %table
  %while.at = getelementptr i64, ptr %table, i64 1
  %while = load i64, ptr %while.at
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%i.next, %loop]
  %i.next = add i64 %i, 1
  %at = load volatile i64, ptr %to
  %more = icmp ult i64 %i.next, %while
  br i1 %more, label %loop, label %done
done:
  %old = load i64, ptr %to
  %new = add i64 %old, 1
  store i64 %new, ptr %to
  ret void
}"""


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(thread_pool, "size", lambda: request.param)
    return int(request.param)


class Counting:
    """Sections of so many calls, each of which counts in a place of its own."""

    def __init__(self, lengths: list[int], long: int = 100) -> None:
        self.counts = np.zeros(sum(lengths), np.int64)
        self.crew = thread_pool.ThreadPool()
        addresses = compiled([COUNT, thread_pool.REGION])
        self.section = function_of_table(addresses[thread_pool.REGION])
        self.tables = [np.array([self.counts.ctypes.data + 8 * i, long], np.int64) for i in range(sum(lengths))]
        calls = [n for table in self.tables for n in (addresses[COUNT], table.ctypes.data)]
        self.sections, start = [], 0
        for length in lengths:
            number = self.crew.add(calls[2 * start : 2 * (start + length)])
            self.sections.append(np.array([self.crew.address, number], np.int64))
            start += length

    def run(self, sections: int | None = None) -> None:
        self.crew.begin()
        try:
            for table in self.sections[:sections]:
                self.section(table.ctypes.data)
        finally:
            self.crew.end()


def test_each_call_is_done_once_in_each_run(threads: int) -> None:
    counting = Counting([1, 7, 2, 64, 3])
    for n in range(300):
        counting.run()
        assert (counting.counts == n + 1).all()


def test_a_section_is_over_before_the_next_one_begins(threads: int) -> None:
    counting = Counting([9, 9], long=3000)
    for n in range(50):
        counting.crew.begin()
        counting.section(counting.sections[0].ctypes.data)
        assert counting.counts.tolist() == [n + 1] * 9 + [n] * 9
        counting.section(counting.sections[1].ctypes.data)
        counting.crew.end()
        assert counting.counts.tolist() == [n + 1] * 18


def test_a_run_that_was_interrupted_is_no_part_of_the_next(threads: int) -> None:
    counting = Counting([5, 5, 5])
    for n in range(100):
        counting.run(sections=n % 3)
        before = counting.counts.copy()
        counting.run()
        assert (counting.counts == before + 1).all()


def test_programs_that_run_at_the_same_time(threads: int) -> None:
    several = [Counting([3, 20, 4]) for _ in range(4)]

    def work(counting: Counting) -> None:
        for _ in range(100):
            counting.run()

    workers = [threading.Thread(target=work, args=(counting,)) for counting in several]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all((counting.counts == 100).all() for counting in several)


def test_helpers_sleep_between_runs(threads: int) -> None:
    counting = Counting([8])
    counting.run()
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("tinygrad_seq worker") >= threads - 1
    deadline = threading.Event()
    for _ in range(100):
        before = os.times()
        deadline.wait(0.1)
        after = os.times()
        if after.user + after.system - before.user - before.system < 0.05:
            return
    pytest.fail("something goes on working after the end of a run")


@posix
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_that_was_forked_has_helpers_of_its_own(threads: int) -> None:
    counting = Counting([6, 6])
    counting.run()
    child = os.fork()
    if child == 0:
        counting.run()
        os._exit(0 if (counting.counts == 2).all() else 1)
    assert os.waitpid(child, 0)[1] == 0
    counting.run()
    assert (counting.counts == 2).all()


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    thread_pool.size.cache_clear()
    yield monkeypatch
    thread_pool.size.cache_clear()


def test_as_many_as_blas_has_but_no_more_than_cores(limits: Any) -> None:
    limits.setattr(thread_pool, "blas_threads", lambda: 3)
    limits.setattr(thread_pool, "usable_cores", lambda: 8)
    assert thread_pool.size() == 3
    thread_pool.size.cache_clear()
    limits.setattr(thread_pool, "usable_cores", lambda: 2)
    assert thread_pool.size() == 2
    thread_pool.size.cache_clear()
    limits.setattr(thread_pool, "_yield_address", lambda: 0)
    assert thread_pool.size() == 1


@pytest.mark.host("about the CPU's threads")
def test_an_interrupt_when_a_run_begins_leaves_nobody_working(monkeypatch: pytest.MonkeyPatch) -> None:
    import tinygrad_seq as tg
    from tinygrad_seq.compiler.native import executor, layouts

    for module in (thread_pool, executor, layouts):
        monkeypatch.setattr(module, "size", lambda: 2)
    w = tg.randn(300, 300) / 30
    run = tg.compile(lambda x: (x @ w @ w @ w).tanh(), executor="native")
    x = tg.randn(600, 300)
    expected = run(x).tolist()
    found: list[Any] = []
    wake = thread_pool._wake

    def interrupted(helper: int, other: Any) -> None:
        wake(helper, other)
        found.append(other)
        raise KeyboardInterrupt

    monkeypatch.setattr(thread_pool, "_wake", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(x)
    assert found[0]._state[thread_pool._DONE] == 1
    monkeypatch.setattr(thread_pool, "_wake", wake)
    assert run(x).tolist() == expected

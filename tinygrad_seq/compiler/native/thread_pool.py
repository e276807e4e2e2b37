"""A pool of threads that share the native calls of a parallel region.

The thread that runs a program opens one region after another, and does the calls of each that nobody else has claimed;
the workers, which know the region by its number, do the same. Each thread begins at its own place among the calls, the
same in every region, so that it works with what is in its cache. A region waits only for threads in the middle of a
call: where no worker is given time, one thread does it all. Workers sleep between runs; during a run they spin, looking
for a region and yielding the core in between; one that finds none for some seconds goes to sleep, too, as after a run
that was never declared over.
"""

from __future__ import annotations

import ctypes
import os
import threading
from functools import cache
from queue import SimpleQueue
from typing import Any

from ...backend import Array, blas_threads, usable_cores
from ...backend import numpy_module as numpy
from .jit import compiled, function_of_table
from .llvm_builder import FunctionBuilder
from .llvm_values import INT32, Pointer, Value
from .runtime import call

# Places in the pool's state; what threads write to has a cache line of its own.
_OPEN, _FINISHED, _DONE, _REGIONS, _CALLS, _CLAIMED, _YIELD, _SIZE = 0, 8, 16, 24, 25, 26, 27, 28
_RUN = 24  # bits of what is open that say which region; those above it, in which run
SPIN_LIMIT = 1 << 22  # looks for a region, each of which takes half a microsecond or more


def _work(f: FunctionBuilder, state: Pointer, region: Value, run: Value, thread: Value) -> Value:
    """Do what nobody has claimed of a region's calls, from this thread's place on and around; where its calls end.

    A call is claimed by writing the number of the run to its place: a worker that comes late finds it there.
    """
    regions, calls, claimed = [state.pointer(index) for index in (_REGIONS, _CALLS, _CLAIMED)]
    first, last = regions[region], regions[region + 1]
    count = last - first
    start = count * thread // state[_SIZE]
    for i in f.range(count):
        number = first + (start + i) % count
        claim = claimed + number
        before = claim.atomic_load("monotonic")
        with f.if_(before < run), f.if_(claim.compare_exchange(before, run, "acq_rel", "monotonic")):
            call(calls, number)
            (state + _FINISHED).atomic_add(1, "release")
    return last


def _region() -> str:
    """Opens the next region, takes part in it, and waits until all of it is done. Table: state, the region's number."""
    f = FunctionBuilder()
    state, region = f.arguments("int*state region")
    run = state.atomic_load("monotonic") >> _RUN
    state.atomic_store(run << _RUN | region + 1, "release")
    last = _work(f, state, region, run, f.integer(0))
    with f.loop() as loop:
        loop.exit_if((state + _FINISHED).atomic_load("acquire") >= last)
        state.call(_YIELD, result=INT32)
    return f.text()


def _worker_loop() -> str:
    """Takes part in regions until the run is over. Table: state, which thread this is."""
    f = FunctionBuilder()
    state, thread = f.arguments("int*state thread")
    known, looks = f.integer(0), f.integer(0)
    variables = [known, looks]
    with f.loop(variables) as loop:
        known, looks = variables
        now = state.atomic_load("acquire")
        region = now & (1 << _RUN) - 1  # its number and one; 0 before the run's first
        found = now.compare("!=", known) & region.compare("!=", 0)
        with f.if_(found, variables):
            _work(f, state, region - 1, now >> _RUN, thread)
            variables[:] = [now, f.integer(0)]
        with f.if_(found ^ True, variables):
            done = (state + _DONE).atomic_load("acquire")
            loop.exit_if(done.compare("!=", 0) | looks.compare(">", SPIN_LIMIT))
            state.call(_YIELD, result=INT32)
            variables[:] = [known, looks + 1]
    return f.text()


def _again() -> str:
    """Another run begins, with a region that may have been before, when all that was open is done. Table: state, it."""
    f = FunctionBuilder()
    state, region = f.arguments("int*state region")
    (state + _FINISHED).atomic_store(state.pointer(_REGIONS)[region], "release")
    state.atomic_store((state.atomic_load("monotonic") >> _RUN) + 1 << _RUN, "release")
    return f.text()


REGION, WORKER_LOOP, AGAIN = _region(), _worker_loop(), _again()


@cache
def size() -> int:
    """How many threads share the work: as many as BLAS uses, but no more than there are cores for this process."""
    cores = usable_cores()
    return min(cores, blas_threads() or cores) if _yield_address() else 1


def _yield_address() -> int:
    """The address of the system's function that lets others have the core; 0 where there is none."""
    function = getattr(ctypes.CDLL(None), "sched_yield", None) if os.name == "posix" else None
    return 0 if function is None else ctypes.cast(function, ctypes.c_void_p).value or 0


class ThreadPool:
    """The parallel regions of one program."""

    def __init__(self) -> None:
        self._state = numpy.zeros(32, numpy.int64)
        self._state[[_DONE, _YIELD, _SIZE]] = 1, _yield_address(), size()
        self._calls: list[int] = []
        self._ends = [0]
        self._tables: list[Array] = []
        self._runs = 0

    @property
    def address(self) -> int:
        return int(self._state.ctypes.data)

    @property
    def finished(self) -> int:
        """The address of how many calls are done, of this region and of those before it."""
        return self.address + 8 * _FINISHED

    def add(self, calls: list[int]) -> int:
        """Take up the calls of another region, as addresses of functions and of their tables; the region's number."""
        self._calls += calls
        self._ends.append(len(self._calls) // 2)
        return len(self._ends) - 2

    @property
    def regions(self) -> int:
        """How many there are."""
        return len(self._ends) - 1

    def begin(self, first: int = 0) -> None:
        """A run begins, with this region: wake the workers, if there are regions for them."""
        if not self.regions:
            return
        state = self._state
        if not self._tables:
            claimed = numpy.zeros(len(self._calls) // 2, numpy.int64)
            self._tables = [numpy.array(self._ends, numpy.int64), numpy.array(self._calls, numpy.int64), claimed]
            state[[_REGIONS, _CALLS, _CLAIMED]] = [table.ctypes.data for table in self._tables]
        self._runs = max(self._runs, int(state[_OPEN]) >> _RUN) + 1  # which loops count, too
        state[_FINISHED], state[_DONE] = self._ends[first], 0
        state[_OPEN] = self._runs << _RUN
        for worker in range(1, size()):
            _wake(worker, self)

    def end(self) -> None:
        """The run is over, or was interrupted between two regions: the workers go to sleep."""
        self._state[_DONE] = 1


_workers: list[SimpleQueue[Any]] = []
_lock = threading.Lock()


def _wake(worker: int, pool: ThreadPool) -> None:
    with _lock:
        while len(_workers) < worker:
            queue: SimpleQueue[Any] = SimpleQueue()
            given = (queue, len(_workers) + 1)
            threading.Thread(target=_serve, args=given, daemon=True, name="tinygrad_seq worker").start()
            _workers.append(queue)
    _workers[worker - 1].put(pool)


def _serve(queue: SimpleQueue[Any], number: int) -> None:
    work_until_done = function_of_table(compiled([WORKER_LOOP])[WORKER_LOOP])
    while True:
        pool = queue.get()
        table = numpy.array([pool.address, number], numpy.int64)
        work_until_done(table.ctypes.data)
        del pool  # until now it has to be there, though its run is over and nobody else has it any more


def _forget() -> None:
    """A process that was forked has no workers yet."""
    global _lock
    _workers.clear()
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

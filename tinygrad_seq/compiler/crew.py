"""Threads that share the native calls of a section.

The thread that runs a program opens one section after another, and does of each what nobody else has taken; helpers,
which know the section by its number, do the same. Each of them begins at its own place among the calls, which is the
same in all sections, so that what a thread has in its cache is what it works with next. A section waits for nobody but
who is in the middle of a call: where no helper is given time, one thread does it all. Helpers sleep between runs;
during one they look for a section, and let others have the core in between; a helper that finds none for some seconds
goes to sleep, too, as after a run of which nobody could say that it is over.
"""

from __future__ import annotations

import ctypes
import os
import threading
from functools import cache
from queue import SimpleQueue
from typing import Any

from ..backend import Array, blas_threads, usable_cores
from ..backend import numpy_module as numpy
from .machine_code import compiled, function_of_table
from .native_calls import call, head

# Places in the state; what threads write to has a cache line of its own.
_OPEN, _FINISHED, _DONE, _SECTIONS, _CALLS, _TAKEN, _YIELD, _SIZE = 0, 8, 16, 24, 25, 26, 27, 28
_PLACES = "\n".join(
    [
        f"  %{name}.at = getelementptr i64, ptr %state, i64 {place}\n  %{name} = load {kind}, ptr %{name}.at"
        for name, kind, place in (
            ("sections", "ptr", _SECTIONS), ("calls", "ptr", _CALLS), ("taken", "ptr", _TAKEN),
            ("yield", "ptr", _YIELD), ("size", "i64", _SIZE),
        )
    ]
    + [f"  %finished.at = getelementptr i64, ptr %state, i64 {_FINISHED}"]
)  # fmt: skip


def _head(slot: str) -> str:
    """The beginning of a function whose table is the state and another number, with what the state has under names."""
    return "\n".join([*head(["state", slot], pointers=["state"]), _PLACES])


_PATIENCE = 1 << 22  # looks for a section, each of which takes half a microsecond or more

# Does what nobody has taken of section %n in run %run, from the place of thread %me on and around; goes to %end. A call
# is taken by who writes the number of the run to its place; a helper that comes late finds it there.
_WORK = f"""  %first.at = getelementptr i64, ptr %sections, i64 %n
  %first = load i64, ptr %first.at
  %last.at = getelementptr i64, ptr %first.at, i64 1
  %last = load i64, ptr %last.at
  %count = sub i64 %last, %first
  %share = mul i64 %count, %me
  %start = udiv i64 %share, %size
  br label %each
each:
  %i = phi i64 [0, %work], [%i.next, %taken.by], [%i.next, %go]
  %i.next = add i64 %i, 1
  %more = icmp ult i64 %i, %count
  br i1 %more, label %try, label %end
try:
  %far = add i64 %start, %i
  %around = urem i64 %far, %count
  %call = add i64 %first, %around
  %mark.at = getelementptr i64, ptr %taken, i64 %call
  %then = load atomic i64, ptr %mark.at monotonic, align 8
  %free = icmp ult i64 %then, %run
  br i1 %free, label %take, label %taken.by
take:
  %got = cmpxchg ptr %mark.at, i64 %then, i64 %run acq_rel monotonic
  %mine = extractvalue {{ i64, i1 }} %got, 1
  br i1 %mine, label %go, label %taken.by
taken.by:
  br label %each
go:
{call("%call")}
  %before = atomicrmw add ptr %finished.at, i64 1 release
  br label %each
"""

# Opens the next section, takes part in it, and waits until all of it is done. Table: state, the section's number.
SECTION = f"""{_head("n")}
  %before.0 = load atomic i64, ptr %state monotonic, align 8
  %run = lshr i64 %before.0, 32
  %run.32 = shl i64 %run, 32
  %n.1 = add i64 %n, 1
  %now = or i64 %run.32, %n.1
  store atomic i64 %now, ptr %state release, align 8
  br label %work
work:
  %me = add i64 0, 0
{_WORK}end:
  %all = load atomic i64, ptr %finished.at acquire, align 8
  %whole = icmp uge i64 %all, %last
  br i1 %whole, label %over, label %pause
pause:
  %y = call i32 %yield()
  br label %end
over:
  ret void
}}"""

# Takes part in sections until the run is over. Table: state, which thread this is.
HELP = f"""{_head("me")}
  %done.at = getelementptr i64, ptr %state, i64 {_DONE}
  br label %look
look:
  %known = phi i64 [0, %entry], [%known, %pause], [%now, %end]
  %looks = phi i64 [0, %entry], [%looks.next, %pause], [0, %end]
  %now = load atomic i64, ptr %state acquire, align 8
  %new = icmp ne i64 %now, %known
  %n.1 = and i64 %now, 4294967295
  %opened = icmp ne i64 %n.1, 0
  %go.on = and i1 %new, %opened
  br i1 %go.on, label %work, label %idle
work:
  %run = lshr i64 %now, 32
  %n = sub i64 %n.1, 1
{_WORK}end:
  br label %look
idle:
  %done = load atomic i64, ptr %done.at acquire, align 8
  %looks.next = add i64 %looks, 1
  %long = icmp ugt i64 %looks, {_PATIENCE}
  %said = icmp ne i64 %done, 0
  %over = or i1 %said, %long
  br i1 %over, label %out, label %pause
pause:
  %y = call i32 %yield()
  br label %look
out:
  ret void
}}"""


@cache
def size() -> int:
    """How many threads work on a section: as many as BLAS uses, but no more than there are cores for this process."""
    cores = usable_cores()
    return min(cores, blas_threads() or cores) if _yield_address() else 1


def _yield_address() -> int:
    """The address of the system's function that lets others have the core; 0 where there is none."""
    function = getattr(ctypes.CDLL(None), "sched_yield", None) if os.name == "posix" else None
    return 0 if function is None else ctypes.cast(function, ctypes.c_void_p).value or 0


class Crew:
    """The sections of one program."""

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

    def add(self, calls: list[int]) -> int:
        """Take up the calls of another section, as addresses of functions and of their tables; the section's number."""
        self._calls += calls
        self._ends.append(len(self._calls) // 2)
        return len(self._ends) - 2

    @property
    def sections(self) -> int:
        """How many there are."""
        return len(self._ends) - 1

    def begin(self, first: int = 0) -> None:
        """A run begins, with this section: wake the helpers, if there are sections for them."""
        if first >= self.sections:
            return
        state = self._state
        if not self._tables:
            taken = numpy.zeros(len(self._calls) // 2, numpy.int64)
            self._tables = [numpy.array(self._ends, numpy.int64), numpy.array(self._calls, numpy.int64), taken]
            state[[_SECTIONS, _CALLS, _TAKEN]] = [table.ctypes.data for table in self._tables]
        self._runs += 1
        state[_FINISHED], state[_DONE] = self._ends[first], 0
        state[_OPEN] = self._runs << 32
        for helper in range(1, size()):
            _wake(helper, self)

    def end(self) -> None:
        """The run is over, or was interrupted between two sections: the helpers go to sleep."""
        self._state[_DONE] = 1


_helpers: list[SimpleQueue[Any]] = []
_lock = threading.Lock()


def _wake(helper: int, crew: Crew) -> None:
    with _lock:
        while len(_helpers) < helper:
            queue: SimpleQueue[Any] = SimpleQueue()
            given = (queue, len(_helpers) + 1)
            threading.Thread(target=_help, args=given, daemon=True, name="tinygrad_seq helper").start()
            _helpers.append(queue)
    _helpers[helper - 1].put(crew)


def _help(queue: SimpleQueue[Any], number: int) -> None:
    work = function_of_table(compiled([HELP])[HELP])
    while True:
        crew = queue.get()
        table = numpy.array([crew.address, number], numpy.int64)
        work(table.ctypes.data)
        del crew  # until now it has to be there, though its run is over and nobody else has it any more


def _forget() -> None:
    """A process that was forked has no helpers yet."""
    global _lock
    _helpers.clear()
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

"""A loop as one native call: the functions of its body, again and again, whose tables move on from step to step.

What lies stacked is read and written where it lies: before each step, the addresses in the tables that point into it
are made those of that step's part.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ...backend import Array
from ..memory.loop_layout import LoopLayout, byte_bounds
from ..numpy.executor import Step
from ..program import Var
from .arguments import Tables
from .gemm import Native, ParallelRegion
from .jit import Address, compiled
from .layouts import SHARED, worth_waking
from .llvm_builder import FunctionBuilder
from .llvm_values import Pointer, Value
from .runtime import COPY, RUN, call
from .thread_pool import AGAIN, REGION, ThreadPool

Calls = list[Native | ParallelRegion | Step]


def _move(f: FunctionBuilder, places: Pointer, count: Value, step: Value) -> None:
    """Let numbers at `count` places be those of a step; with each stands what it is at first, and how far it moves."""
    for n in f.range(count):
        place = places.pointer(n * 3)
        place[0] = places[n * 3 + 1] + places[n * 3 + 2] * step


def _moved() -> str:
    """Table: how many numbers move, and where; to which step."""
    f = FunctionBuilder()
    numbers, places, step = f.arguments("numbers int*places step")
    _move(f, places, numbers, step)
    return f.text()


def _loop() -> str:
    """Table: how many steps; how many functions, and their addresses and tables; how many numbers move, and where."""
    f = FunctionBuilder()
    steps, functions, calls, numbers, places = f.arguments("steps functions int*calls numbers int*places")
    for step in f.range(steps):
        _move(f, places, numbers, step)
        for n in f.range(functions):
            call(calls, n)
    return f.text()


LOOP, MOVED = _loop(), _moved()


def loop_calls(body: Any, layout: LoopLayout, pool: ThreadPool) -> Calls | None:
    """What to call between the first step and the last; None where tables cannot say where a step's arrays lie.

    Args:
        body: the executor of the loop's body.
        pool: of threads, which share the large parts of a step where all of it is native.
    """
    parts, plan = body.planned_parts(layout.outside)
    moving, spans = layout.windows(body.program, plan), layout.spans()
    if _collide(spans, [array for v, array in plan.arrays.items() if v not in moving]):
        return None
    again: list[Callable[[], Calls]] = [partial(body.steps_of, part[0]) for part in body.parts]
    parts += [[body.copy(target, plan.arrays[v])] for target, v in layout.between]
    again += [partial(_copied, body, target, v) for target, v in layout.between]
    regions = [_regions(steps) for steps in parts]
    texts = {native.text for part in regions for region in part or () for native in region.calls}
    code = body.code = compiled(sorted({REGION, AGAIN, *texts}))
    places: list[int] = []

    def added(native: Native) -> list[int]:
        """The addresses of a function and of its table, of which it is noted what moves."""
        table = body.tables.add(native.table)
        for n, number in enumerate(native.table):
            far = next((move for start, end, move in spans if start <= number < end), 0)
            places.extend([table + 8 * n, number, far] if far else [])
        return [code[native.text], table]

    if None not in regions:
        return _whole([r for part in regions for r in part or ()], code, added, places, body.tables, layout.count, pool)
    pieces: list[list[int] | Callable[[], Calls]] = []
    for part, steps_again in zip(regions, again, strict=True):
        calls_of_part = [a for region in part or () for native in region.calls for a in added(native)]
        if part is None:
            pieces.append(steps_again)
        elif calls_of_part:
            pieces.append(calls_of_part)
    moved = [len(places) // 3, body.tables.add(places)]
    calls: Calls = []
    for n in range(layout.count):
        plan.arrays |= {v: window[n, ...] for v, window in moving.items()}
        calls.append(Native(MOVED, [*moved, n]))
        for piece in pieces:
            calls += [Native(RUN, [len(piece) // 2, *piece])] if isinstance(piece, list) else piece()
    return calls


def _whole(
    regions: list[ParallelRegion],
    code: dict[str, Address],
    added: Callable[[Native], list[int]],
    places: list[int],
    tables: Tables,
    count: int,
    pool: ThreadPool,
) -> Calls:
    """A loop all of which is native: one call."""
    shared = worth_waking(count * sum([region.time for region in regions]))
    first, calls = pool.regions, list[int]()
    for region in regions:
        given = [a for native in region.calls for a in added(native)]
        if shared and len(region.calls) > 1 and region.time > SHARED:
            given = [code[REGION], tables.add([pool.address, pool.add(given)])]
        calls += given
    before: Calls = []
    after: Calls = []
    if pool.regions > first:  # they are open again and again, and then it goes on where it was
        calls = [code[AGAIN], tables.add([pool.address, first]), *calls]
        kept = tables.add([0])
        before.append(Native(COPY, [kept, pool.finished, 8]))
        after.append(Native(COPY, [pool.finished, kept, 8]))
    whole = [count, len(calls) // 2, tables.add(calls), len(places) // 3, tables.add(places)]
    return [*before, Native(LOOP, whole), *after]


def _copied(body: Any, target: Array, v: Var) -> Calls:
    return [body.copy(target, body.plan.arrays[v])]


def _regions(steps: Calls) -> list[ParallelRegion] | None:
    """Native calls alone; None if there are others among them."""
    found = [ParallelRegion([s], 0) if isinstance(s, Native) else s for s in steps]
    return (
        [s for s in found if isinstance(s, ParallelRegion)]
        if all(isinstance(s, ParallelRegion) for s in found)
        else None
    )


def _collide(spans: list[tuple[int, int, int]], rest: list[Array]) -> bool:
    """Whether something lies where something else does that moves by another distance."""
    others = [(*byte_bounds(array), 0) for array in rest]
    return any(
        start < other_end and other_start < end and move != other_move
        for start, end, move in spans
        for other_start, other_end, other_move in (*spans, *others)
    )

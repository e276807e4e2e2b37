"""A loop as one native call: the functions of its body, again and again, whose tables move on from step to step.

What lies stacked is read and written where it lies: at each step the addresses in the tables that point into it move by
its distance, and after the last step back.
"""

from __future__ import annotations

from typing import Any

from ...backend import Array
from ..memory.loop_layout import LoopLayout, byte_bounds
from ..numpy.executor import Step
from .gemm import Native, ParallelRegion
from .jit import compiled
from .llvm_builder import FunctionBuilder
from .llvm_values import Pointer, Value
from .runtime import call

Calls = list[Native | ParallelRegion | Step]


def _move(f: FunctionBuilder, places: Pointer, count: Value, back: Value | None = None) -> None:
    """Add to the numbers at `count` places, of which each stands before what to add; or take that `back` times away."""
    for n in f.range(count):
        place, far = places.pointer(n << 1), places[(n << 1) + 1]
        place[0] = place[0] + far if back is None else place[0] - far * back


def _loop() -> str:
    """Table: how many steps; how many functions, and their addresses and tables; how many numbers move, and where."""
    f = FunctionBuilder()
    steps, functions, calls, numbers, places = f.arguments("steps functions int*calls numbers int*places")
    for _ in f.range(steps):
        for n in f.range(functions):
            call(calls, n)
        _move(f, places, numbers)
    _move(f, places, numbers, back=steps)
    return f.text()


LOOP = _loop()


def loop_calls(body: Any, layout: LoopLayout) -> Calls | None:
    """What to call between the first step and the last; None where NumPy has to take part in it.

    Args:
        body: the executor of the loop's body.
    """
    steps, plan = body.planned_steps(layout.outside)
    moving, spans = layout.windows(body.program, plan), layout.spans()
    if _collide(spans, [array for v, array in plan.arrays.items() if v not in moving]):
        return None  # something that moves lies where something else stays
    steps += [body.copy(target, plan.arrays[v]) for target, v in layout.between]
    natives: list[Native] = []
    for step in steps:
        if isinstance(step, ParallelRegion):
            natives += step.calls
        elif isinstance(step, Native):
            natives.append(step)
        else:
            return None
    code = body.code = compiled(sorted({native.text for native in natives}))
    calls: list[int] = []
    places: list[int] = []
    for native in natives:
        table = body.add_table(native.table)
        calls += [code[native.text], table]
        for n, number in enumerate(native.table):
            far = next((move for start, end, move in spans if start <= number < end), 0)
            places += [table + 8 * n, far] if far else []
    given = [layout.count, len(natives), body.add_table(calls), len(places) // 2, body.add_table(places)]
    return [Native(LOOP, given)]


def _collide(spans: list[tuple[int, int, int]], rest: list[Array]) -> bool:
    """Whether something lies where something else does that moves by another distance."""
    others = [(*byte_bounds(array), 0) for array in rest]
    return any(
        start < other_end and other_start < end and move != other_move
        for start, end, move in spans
        for other_start, other_end, other_move in (*spans, *others)
    )

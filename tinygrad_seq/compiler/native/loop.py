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
from .gemm import Native, ParallelRegion
from .jit import compiled
from .llvm_builder import FunctionBuilder
from .llvm_values import Pointer, Value
from .runtime import RUN, call

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


def loop_calls(body: Any, layout: LoopLayout) -> Calls | None:
    """What to call between the first step and the last; None where tables cannot say where a step's arrays lie.

    Args:
        body: the executor of the loop's body.
    """
    parts, plan = body.planned_parts(layout.outside)
    moving, spans = layout.windows(body.program, plan), layout.spans()
    if _collide(spans, [array for v, array in plan.arrays.items() if v not in moving]):
        return None
    again: list[Callable[[], Calls]] = [partial(body.steps_of, part[0]) for part in body.parts]
    parts += [[body.copy(target, plan.arrays[v])] for target, v in layout.between]
    again += [partial(_copied, body, target, v) for target, v in layout.between]
    natives = [_natives(steps) for steps in parts]
    code = body.code = compiled(sorted({native.text for part in natives for native in part or ()}))
    pieces: list[list[int] | Callable[[], Calls]] = []  # what is called at each step: native functions, or all else
    places: list[int] = []
    for part, steps_again in zip(natives, again, strict=True):
        if part is None:
            pieces.append(steps_again)
            continue
        functions: list[int] = []
        for native in part:
            table = body.tables.add(native.table)
            functions += [code[native.text], table]
            for n, number in enumerate(native.table):
                far = next((move for start, end, move in spans if start <= number < end), 0)
                places += [table + 8 * n, number, far] if far else []
        if pieces and isinstance(pieces[-1], list):
            pieces[-1].extend(functions)
        else:
            pieces.append(functions)
    numbers = [len(places) // 3, body.tables.add(places)]
    if len(pieces) == 1 and isinstance(pieces[0], list):
        return [Native(LOOP, [layout.count, len(pieces[0]) // 2, body.tables.add(pieces[0]), *numbers])]
    calls: Calls = []
    for n in range(layout.count):
        plan.arrays |= {v: window[n, ...] for v, window in moving.items()}
        calls.append(Native(MOVED, [*numbers, n]))
        for piece in pieces:
            calls += [Native(RUN, [len(piece) // 2, *piece])] if isinstance(piece, list) else piece()
    return calls


def _copied(body: Any, target: Array, v: Var) -> Calls:
    return [body.copy(target, body.plan.arrays[v])]


def _natives(steps: Calls) -> list[Native] | None:
    """Native calls alone; None if there are others among them."""
    found: list[Native] = []
    for step in steps:
        if isinstance(step, ParallelRegion):
            found += step.calls
        elif isinstance(step, Native):
            found.append(step)
        else:
            return None
    return found


def _collide(spans: list[tuple[int, int, int]], rest: list[Array]) -> bool:
    """Whether something lies where something else does that moves by another distance."""
    others = [(*byte_bounds(array), 0) for array in rest]
    return any(
        start < other_end and other_start < end and move != other_move
        for start, end, move in spans
        for other_start, other_end, other_move in (*spans, *others)
    )

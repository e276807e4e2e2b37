"""Operations in an order in which each comes after what it needs, and when a part of the program is computed again."""

from __future__ import annotations

from collections.abc import Collection

from ..program import Instr, Program, Var


def schedule(program: Program) -> Program:
    """Each operation as early as it stood, but after those that it takes something from.

    Raises:
        RuntimeError: if two of them wait for each other.
    """
    producers = {instr.out: instr for instr in program.instrs}
    done: set[int] = set()
    waiting: set[int] = set()
    ordered: list[Instr] = []
    for first in program.instrs:
        todo = [first]
        while todo:
            instr = todo[-1]
            key = id(instr)
            if key in done:
                todo.pop()
                continue
            missing = [producers[a] for a in instr.inputs() if a in producers and id(producers[a]) not in done]
            if missing:
                if key in waiting:
                    raise RuntimeError(f"compile: {instr} waits for itself")
                waiting.add(key)
                todo += missing
            else:
                todo.pop()
                done.add(key)
                waiting.discard(key)
                ordered.append(instr)
    program.instrs = ordered
    return program


def hoist(program: Program, early: Collection[int]) -> Program:
    """Those operations whose ids are given right after the last one that they need."""
    at: dict[Var, int] = {}
    slots: list[list[Instr]] = [[]]
    for instr in program.instrs:
        if id(instr) in early:
            at[instr.out] = max([at.get(v, 0) for v in instr.inputs()], default=0)
            slots[at[instr.out]].append(instr)
        else:
            at[instr.out] = len(slots)
            slots.append([instr])
    program.instrs = [instr for slot in slots for instr in slot]
    return program


def recomputation_of(program: Program) -> dict[Var, int]:
    """For what belongs to a part that is computed again (`after`), or comes of one: the last such part, by number."""
    found: dict[Var, int] = {}
    for instr in program.instrs:
        last = max([found.get(v, 0) for v in instr.inputs()], default=0)
        last = instr.params["again"] if instr.op == "after" else last
        if last:
            found[instr.out] = last
    return found

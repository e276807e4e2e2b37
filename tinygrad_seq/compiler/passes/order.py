"""Operations in an order in which each comes after what it needs."""

from __future__ import annotations

from ..program import Instr, Program


def in_order(program: Program) -> Program:
    """Each operation as early as it stood, but after those that it takes something from.

    Raises:
        RuntimeError: if two of them wait for each other.
    """
    made_by = {instr.out: instr for instr in program.instrs}
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
            missing = [made_by[a] for a in instr.inputs() if a in made_by and id(made_by[a]) not in done]
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

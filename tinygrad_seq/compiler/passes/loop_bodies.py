"""Loops as an executor wants them: only what somebody reads is made, and what is the same at all steps, before them.

A body is rewritten as a program is. What the rewriting puts there for the sake of all steps, as a weight in the order
in which products read it, is moved out, too.
"""

from __future__ import annotations

from collections.abc import Callable

from ..loop import Loop, Result
from ..operations import VIEWS, needed_for
from ..program import Instr, Program, Source, Var


def finish_loops(program: Program, rewrite: Callable[[Program], Program]) -> Program:
    """With the body of each loop rewritten, what is the same at all steps before it, and what nobody reads left out."""
    read: dict[Var, set[Result]] = {}
    for instr in program.instrs:
        if instr.op == "loop_result":
            read.setdefault(instr.args[0], set()).add(instr.params["result"])
    new: list[Instr] = []
    renumbered: dict[Var, dict[Result, Result]] = {}
    for instr in program.instrs:
        if instr.op == "loop":
            before, instr, renumbered[instr.out] = _finished(program, instr, read.get(instr.out, set()), rewrite)
            new += before
        elif instr.op == "loop_result":
            params = {"result": renumbered[instr.args[0]][instr.params["result"]]}
            instr = Instr(instr.op, instr.args, params, instr.out, instr.line)
        new.append(instr)
    program.instrs = new
    return program


def _finished(
    program: Program, instr: Instr, read: set[Result], rewrite: Callable[[Program], Program]
) -> tuple[list[Instr], Instr, dict[Result, Result]]:
    """What comes before a loop, the loop, and how its results are numbered now."""
    loop: Loop = instr.params["loop"]
    kept, made = _needed(loop, read)
    numbers = {Result("stacked", j): Result("stacked", n) for n, j in enumerate(made)}
    numbers |= {Result(kind, k): Result(kind, n) for n, k in enumerate(kept) for kind in ("last", "all")}
    outputs = [*[loop.after[k] for k in kept], *[loop.made[j] for j in made]]
    copies = [Instr(i.op, i.args, i.params, i.out, i.line) for i in needed_for(outputs, loop.body.instrs)]
    body = loop.body.part(copies, outputs)
    body.notes, body.backend, body.index = [], program.backend, program.index
    body.repeats = instr.params["count"]
    given = dict(zip(loop.inputs, instr.args, strict=True))
    carried = [loop.carried[k] for k in kept]
    body.sources = {v: Source("a loop", lambda _args: None) for v in (*carried, *loop.sliced, *loop.shared)}
    body = rewrite(body)
    before = _moved_out(program, body, {*carried, *loop.sliced}, given)
    _put_apart(body)
    taken = {v for i in body.instrs for v in i.inputs()}
    sliced = [v for v in loop.sliced if v in taken]
    shared = [v for v in dict.fromkeys([*loop.shared, *[i.out for i in before]]) if v in taken]
    after, stacked = body.outputs[: len(kept)], body.outputs[len(kept) :]
    finished = Loop(body, carried, after, sliced, shared, stacked, loop.reverse)
    body.sources = {v: body.sources.get(v) or Source("a loop", lambda _args: None) for v in finished.inputs}
    args = tuple([given.get(v, v) for v in finished.inputs])
    params = {"loop": finished, "count": instr.params["count"]}
    program.notes += [f"in a loop: {note}" for note in body.notes]
    return before, Instr("loop", args, params, instr.out, instr.line), numbers


def _needed(loop: Loop, read: set[Result]) -> tuple[list[int], list[int]]:
    """What has to be carried, and what has to be stacked, for these results."""
    made = sorted({r.position for r in read if r.kind == "stacked"})
    kept = {r.position for r in read if r.kind != "stacked"}
    while True:
        outputs = [*[loop.after[k] for k in kept], *[loop.made[j] for j in made]]
        taken = {v for i in needed_for(outputs, loop.body.instrs) for v in i.inputs()}.union(outputs)
        grown = kept | {k for k, v in enumerate(loop.carried) if v in taken}
        if grown == kept:
            return sorted(kept), made
        kept = grown


def _moved_out(program: Program, body: Program, varying: set[Var], given: dict[Var, Var]) -> list[Instr]:
    """Take out of a body what is the same at all steps, as operations of the program."""
    moved, stays = [], []
    for instr in body.instrs:
        if any(v in varying for v in instr.inputs()):
            varying.add(instr.out)
            stays.append(instr)
        else:
            args = tuple([given.get(a, a) if type(a) is Var else a for a in instr.args])
            moved.append(Instr(instr.op, args, instr.params, instr.out, instr.line))
    taken = {v for instr in moved for v in instr.inputs()}
    program.constants |= {v: array for v, array in body.constants.items() if v in taken}
    body.instrs = stays
    return moved


def _put_apart(body: Program) -> None:
    """Let each output be made by an operation that writes it, and no two of them be one."""
    producers = {instr.out: instr for instr in body.instrs}
    seen: set[Var] = set()
    for n, v in enumerate(body.outputs):
        if v not in producers or producers[v].op in VIEWS or v in seen:
            copied = body.new(v.shape, v.dtype)
            body.instrs.append(Instr("copy", (v,), {}, copied))
            body.outputs[n] = copied
        seen.add(v)

"""What is computed again rather than kept, and what is stacked once rather than twice."""

from __future__ import annotations

from typing import Any

import pytest

from tinygrad_seq.compiler.passes import rematerialization as module
from tinygrad_seq.compiler.passes.concat_dedup import deduplicate_concats
from tinygrad_seq.compiler.passes.rematerialization import rematerialize
from tinygrad_seq.compiler.program import Instr, Program, Var

from .test_buffer_reuse import FLOAT, both, tokens, training, trains_alike

LARGE = (128, 128)  # 64 KiB


class Written:
    """A program written down, in which much else happens between two halves."""

    def __init__(self, shape: tuple[int, ...] = LARGE) -> None:
        self.program, self.shape = Program(), shape

    def put(self, op: str, *args: Any, shape: tuple[int, ...] | None = None, **params: Any) -> Var:
        out = self.program.new(shape or self.shape, FLOAT)
        self.program.instrs.append(Instr(op, args, params, out))
        return out

    def wait(self, count: int = 300) -> None:
        v = self.put("matmul", self.program.new((4, 4), FLOAT), self.program.new((4, 4), FLOAT), shape=(4, 4))
        for _ in range(count):
            v = self.put("tanh", v, shape=(4, 4))
        self.program.outputs.append(v)

    def done(self, *outputs: Var) -> Program:
        self.program.outputs += outputs
        return rematerialize(self.program)


def count(program: Program, op: str, shape: tuple[int, ...] = LARGE) -> int:
    return sum([instr.op == op and instr.out.shape == shape for instr in program.instrs])


def product(w: Written) -> Var:
    return w.put("matmul", w.program.new(w.shape, FLOAT), w.program.new(w.shape, FLOAT))


def test_what_lies_idle_is_computed_again_from_what_is_there() -> None:
    w = Written()
    cell = product(w)
    y = w.put("tanh", cell)
    w.put("add", y, y)
    near = w.put("matmul", y, y)
    w.wait()
    far = w.put("multiply", near, y)
    program = w.done(w.put("multiply", far, cell))
    assert count(program, "tanh") == 2
    again = [i for i in program.instrs if i.op == "tanh" and i.out.shape == LARGE][1]
    (reader,) = [i for i in program.instrs if i.out is far]
    assert reader.args == (near, again.out)
    assert program.instrs.index(again) == program.instrs.index(reader) - 1
    assert program.notes[-1] == "1 results are computed again rather than kept"


@pytest.mark.parametrize("why", ["its operand has gone", "soon", "seen", "small"])
def test_what_is_not_worth_it_is_kept(why: str) -> None:
    w = Written((16, 16) if why == "small" else LARGE)
    cell = product(w)
    y = w.put("tanh", cell)
    near = w.put("matmul", y, y)
    w.wait(20 if why == "soon" else 300)
    z = w.put("multiply", near, y)
    z = z if why == "its operand has gone" else w.put("multiply", z, cell)
    program = w.done(z, *[y] * (why == "seen"))
    assert count(program, "tanh", w.shape) == 1


def test_a_stack_is_made_again_from_what_its_pieces_are_made_of() -> None:
    w = Written()
    cells = [product(w) for _ in range(3)]
    gates = [product(w) for _ in range(3)]
    states = [w.put("multiply", g, w.put("tanh", c)) for g, c in zip(gates, cells, strict=True)]
    stack = w.put("concat", *states, shape=(384, 128), axis=0)
    rows = w.put("slice", stack, shape=LARGE, index=(slice(0, 128), Ellipsis))
    near = w.put("matmul", rows, rows)
    w.wait()
    far = w.put("matmul", rows, near)
    program = w.done(*[w.put("multiply", far, v) for v in (*cells, *gates)])
    assert [count(program, "concat", (384, 128)), count(program, "tanh"), count(program, "slice")] == [2, 6, 2]
    later = {instr.out for instr in program.instrs}
    for instr in program.instrs:  # each operation after those whose results it takes
        assert later.isdisjoint(instr.inputs())
        later.remove(instr.out)


def test_what_is_read_late_alone_is_made_late() -> None:
    w = Written()
    cell = product(w)
    y = w.put("tanh", cell)
    w.wait()
    program = w.done(w.put("multiply", y, cell))
    assert [instr.op for instr in program.instrs[-2:]] == ["tanh", "multiply"]
    assert count(program, "tanh") == 1


def test_a_copy_that_is_there_is_taken() -> None:
    w = Written()
    first, gate = product(w), product(w)
    cell = w.put("multiply", first, gate)
    y = w.put("tanh", cell)
    near = w.put("matmul", cell, y)
    w.wait()
    far = w.put("matmul", near, cell)
    w.wait(20)
    further = w.put("matmul", far, y)
    w.wait(100)
    program = w.done(*[w.put("multiply", further, v) for v in (cell, first, gate)])
    (copy,) = {i.args[1] for i in program.instrs if i.out is far}
    assert copy is not cell
    (late,) = [i.args[1] for i in program.instrs if i.out is further]
    assert [i.args for i in program.instrs if i.out is late] == [(copy,)]


def test_the_pieces_of_a_stack_wait_where_they_lie() -> None:
    w = Written()
    cell, gate = product(w), product(w)
    state = w.put("multiply", gate, cell)
    near = w.put("matmul", state, cell)
    w.wait()
    stack = w.put("concat", near, state, shape=(256, 128), axis=0)
    far = w.put("matmul", w.put("slice", stack, shape=LARGE, index=(slice(0, 128), Ellipsis)), cell)
    program = w.done(w.put("add", far, gate))
    assert count(program, "multiply") == 1


def test_a_wait_is_not_a_view() -> None:
    w = Written()
    cell = product(w)
    g, x = w.put("tanh", cell), product(w)
    near = w.put("matmul", g, x)
    w.wait()
    late = w.put("after", x, g, again=1)
    program = w.done(w.put("multiply", w.put("tanh", late), near), w.put("multiply", g, cell))
    (after,) = [i for i in program.instrs if i.op == "after"]
    assert after.args[0] is x
    assert after.args[1] is not g


@both
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_program_in_which_everything_is_computed_again(
    kind: str, executor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for setting, value in (("_LONG", 2), ("_LARGE", 1), ("_WORTH", 1), ("_DEPTH", 5)):
        monkeypatch.setattr(module, setting, value)
    trains_alike(kind, executor, T=7, B=4, H=8)


# --- stacked once ---


def stacked(*stacks: list[int], early: bool = False) -> Program:
    """Some of four pieces, put together in several ways."""
    program = Program()
    pieces = [program.new((2, 3), FLOAT) for _ in range(4)]
    for stack in stacks:
        whole = program.new((2 * len(stack), 3), FLOAT)
        program.instrs.append(Instr("concat", tuple([pieces[k] for k in stack]), {"axis": 0}, whole))
        if early or stack is stacks[-1]:
            for instr in [i for i in program.instrs if i.op == "concat"][-1 if early else 0 :]:
                read = program.new(instr.out.shape, FLOAT)
                program.instrs.append(Instr("tanh", (instr.out,), {}, read))
                program.outputs.append(read)
    return deduplicate_concats(program)


@pytest.mark.parametrize("stacks", [([0, 1, 2], [1, 2, 3]), ([1, 2, 3], [0, 1, 2]), ([0, 1, 2, 3], [1, 2, 3])])
def test_what_is_stacked_twice_lies_once(stacks: tuple[list[int], list[int]]) -> None:
    program = stacked(*stacks)
    whole, first, second, *_ = program.instrs
    assert [i.op for i in program.instrs] == ["concat", "slice", "slice", "tanh", "tanh"]
    assert whole.out.shape == (8, 3)
    for instr, stack in ((first, stacks[0]), (second, stacks[1])):
        assert instr.params["index"][0] == slice(2 * stack[0], 2 * stack[0] + 2 * len(stack))


def test_little_in_common_or_a_reader_in_between_leaves_both() -> None:
    for program in (stacked([0, 1], [1, 2]), stacked([0, 1, 2], [2, 1, 0]), stacked([0, 1, 2], [1, 2, 3], early=True)):
        assert [i.op for i in program.instrs].count("concat") == 2


def test_the_states_of_a_layer_are_stacked_once() -> None:
    _, step = training("LSTM", "numpy", T=6, B=4, H=8)
    for _ in range(3):
        step(tokens(6, 4))
    (program,) = step.programs
    assert (
        sum([i.op == "concat" and i.out.shape == (28, 8) for i in program.instrs]) == 2
    )  # one more than there are steps

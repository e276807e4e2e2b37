"""Many small products as one large one.

A weight that is used at every step of a sequence gets its gradient in as many small products, which are added up: they
are one product of the steps laid side by side. And products with one right-hand side that do not wait for each other
are one product of the left-hand sides, one below the other. Nothing here knows what a recurrent network is.

Where parts of the program are computed again to save memory, products of different parts stay apart: what they are made
of is not there at the same time.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..program import Instr, Program, Var
from .scheduling import hoist, recomputation_of, schedule


def merge_gemms(program: Program) -> Program:
    """With sums of products, and products with a common right-hand side, as one product each."""
    program = _sums_of_products(program)
    return _common_right_hand_sides(program)


def _sums_of_products(program: Program) -> Program:
    producers = {instr.out: instr for instr in program.instrs}
    uses = Counter([v for instr in program.instrs for v in instr.inputs()] + program.outputs)
    again = recomputation_of(program)
    inner: set[Var] = set()  # sums that are a part of a larger one
    for instr in program.instrs:
        if _is_sum(instr):
            for a in instr.args:
                if uses[a] == 1 and a in producers and _is_sum(producers[a]) and a.shape == instr.out.shape:
                    inner.add(a)
    new: list[Instr] = []
    joined: set[int] = set()
    for instr in program.instrs:
        if _is_sum(instr) and instr.out not in inner:
            terms = _terms(instr, producers, inner)
            if len(terms) > 2:
                rest: list[Var] = []
                products: dict[int, list[Instr]] = {}  # by the part of the program, see `recomputation_of`
                columns: dict[int, list[Instr]] = {}
                for term in terms:
                    made = producers.get(term)
                    if made is not None and uses[term] == 1 and made.op == "matmul" and len(term.shape) == 2:
                        products.setdefault(again.get(term, 0), []).append(made)
                    elif made is not None and uses[term] == 1 and _adds_rows(made):
                        columns.setdefault(again.get(term, 0), []).append(made)
                    else:
                        rest.append(term)
                if max([len(part) for part in (*products.values(), *columns.values())], default=0) > 1:
                    count = len(new)
                    _joined(program, new, instr, rest, [*products.values()], [*columns.values()], producers)
                    joined.update([id(made) for made in new[count:]])
                    continue
        new.append(instr)
    program.instrs = new
    return hoist(program, joined)


def _is_sum(instr: Instr) -> bool:
    out = instr.out
    return instr.op == "add" and all(
        type(a) is Var and (a.shape, a.dtype) == (out.shape, out.dtype) for a in instr.args
    )


def _adds_rows(instr: Instr) -> bool:
    x = instr.args[0]
    return (
        instr.op == "sum"
        and type(x) is Var
        and len(x.shape) == 2
        and x.dtype == instr.out.dtype
        and instr.params["axis"] in (0, (0,))
        and not instr.params["keepdims"]
    )


def _terms(instr: Instr, producers: dict[Var, Instr], inner: set[Var]) -> list[Var]:
    terms: list[Var] = []
    todo = [*instr.args[::-1]]
    while todo:
        v = todo.pop()
        if v in inner:
            todo += producers[v].args[::-1]
        else:
            terms.append(v)
    return terms


def _joined(
    program: Program,
    new: list[Instr],
    instr: Instr,
    rest: list[Var],
    products: list[list[Instr]],
    columns: list[list[Instr]],
    producers: dict[Var, Instr],
) -> None:
    """The sum `instr`, its products (and sums of rows) taken together: a list for each part of the program."""

    def put(op: str, args: tuple[Any, ...], params: dict[str, Any], shape: tuple[int, ...]) -> Var:
        out = program.new(shape, instr.out.dtype)
        new.append(Instr(op, args, params, out, instr.line))
        return out

    def below(pieces: list[Var]) -> Var:
        shape = (sum([p.shape[0] for p in pieces]), *pieces[0].shape[1:])
        return pieces[0] if len(pieces) == 1 else put("concat", tuple(pieces), {"axis": 0}, shape)

    def product(part: list[Instr]) -> Var:
        part = sorted(part, key=lambda p: p.args[1].number)  # as the steps came, so that others did it too
        lefts, rights = [p.args[0] for p in part], [p.args[1] for p in part]
        transposed = [
            producers[a].args[0] if a in producers and producers[a].op == "transpose" else None for a in lefts
        ]
        right = below(rights)
        if all(t is not None for t in transposed):
            concatenated = below([t for t in transposed if t is not None])
            left = put("transpose", (concatenated,), {"dims": (1, 0)}, concatenated.shape[::-1])
        elif len(lefts) == 1:
            left = lefts[0]
        else:
            width = sum([a.shape[1] for a in lefts])
            left = put("concat", tuple(lefts), {"axis": 1}, (lefts[0].shape[0], width))
        return put("matmul", (left, right), {}, instr.out.shape)

    def column(part: list[Instr]) -> Var:
        concatenated = below([c.args[0] for c in sorted(part, key=lambda c: -c.args[0].number)])
        return put("sum", (concatenated,), {"axis": 0, "keepdims": False}, instr.out.shape)

    count = sum([len(part) for part in (*products, *columns)])
    parts = len(products) + len(columns)
    program.notes.append(f"{count} products (or sums of rows) that were added up are {parts}: {instr.line}")
    terms = [*rest, *[product(part) for part in products], *[column(part) for part in columns]]
    total = terms[0]
    for term in terms[1:-1]:
        total = put("add", (total, term), {}, instr.out.shape)
    if len(terms) > 1:
        new.append(Instr("add", (total, terms[-1]), {}, instr.out, instr.line))
    else:  # the last one made is the sum itself
        new[-1].out = instr.out


def _common_right_hand_sides(program: Program) -> Program:
    groups: dict[tuple[Var, bool, int], list[Instr]] = {}
    late = (
        program.descendants(program.cotangents) if program.cotangents else set()
    )  # what must not hold up what comes before it
    again = recomputation_of(program)
    for instr in program.instrs:
        out = instr.out
        if instr.op == "matmul" and len(out.shape) == 2 and len(instr.args[0].shape) == 2:
            groups.setdefault((instr.args[1], out in late, again.get(out, 0)), []).append(instr)
    for (b, _, _), members in groups.items():  # one after another: two groups that are joined may wait for each other
        if len(members) < 3:
            continue
        if _wait_for_each_other(program, members):
            program.notes.append(
                f"{len(members)} products with {b} stay apart, they need each other: {members[0].line}"
            )
            continue
        program.notes.append(f"{len(members)} products with {b} are one: {members[0].line}")
        program = _stacked(program, members)
    return program


def _wait_for_each_other(program: Program, members: list[Instr]) -> bool:
    """Whether one of these products is computed from another."""
    products = {m.out for m in members}
    descendants: set[Var] = set()  # what is computed from one of them
    for instr in program.instrs:
        if any(a in descendants for a in instr.inputs()):
            if instr.out in products:
                return True
            descendants.add(instr.out)
        elif instr.out in products:
            descendants.add(instr.out)
    return False


def _stacked(program: Program, members: list[Instr]) -> Program:
    """With these products, which have one right-hand side, as slices of one."""
    first, b = members[0], members[0].args[1]
    rows = sum([m.out.shape[0] for m in members])
    concatenated = program.new((rows, first.args[0].shape[1]), first.args[0].dtype)
    product = program.new((rows, b.shape[1]), first.out.dtype)
    made = [Instr("concat", tuple([m.args[0] for m in members]), {"axis": 0}, concatenated, first.line)]
    made.append(Instr("matmul", (concatenated, b), {}, product, first.line))
    start = 0
    for m in members:
        end = start + m.out.shape[0]
        made.append(Instr("slice", (product,), {"index": (slice(start, end), Ellipsis)}, m.out, first.line))
        start = end
    replaced: dict[Var, list[Instr]] = {m.out: [] for m in members} | {members[-1].out: made}
    program.instrs = [new for instr in program.instrs for new in replaced.get(instr.out, [instr])]
    return schedule(program)

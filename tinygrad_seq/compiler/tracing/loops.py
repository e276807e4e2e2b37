"""`tg.scan` in a function that is recorded: a loop in place of its first step, and one for the way back through it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from ...autodiff import recorded_sweep
from ...backend import Array
from ...backend import numpy_module as numpy
from ...graph import Node, Primitive, Value
from ...graph.grad_mode import enable_grad, is_grad_enabled
from ...ops.elementwise import cast
from ...ops.shape import stack
from ...tensor import Tensor
from ..loop import Loop, Result
from ..operations import UFUNCS, VIEWS
from ..program import Instr, Var
from .first_step import FirstStep, Step, Tensors, Unlike, WayBack
from .proxies import ProxyArray

CHEAP = UFUNCS | {"sigmoid", "where"}  # to compute again


class Steps(NamedTuple):
    """What was recorded of a scan.

    Attributes:
        done: how many steps: all of them, or the first, or none.
        carry: after that.
        ys: of all steps, stacked; or of the first.
    """

    done: int
    carry: Tensors
    ys: Tensors


def record(tracer: Any, function: Any, step: Step, carry: Tensors, xs: Tensors, count: int, reverse: bool) -> Steps:
    """Record a scan as a loop, or else its first step at most.

    Args:
        function: the user's, to see what it finds by name.
        step: from what is carried, a step's part of xs, and its number, to what is carried on, and y.
    """
    first = FirstStep(tracer, step, carry, xs, count, reverse)
    try:
        first.watch(function)
        back = WayBack(first) if is_grad_enabled() else None
        first.find_numbers()
    except Unlike as why:
        tracer.program.notes.append(f"a scan of {count} steps is unrolled, because {why}: {tracer.line()}")
        return Steps(*first.kept())
    return _Recorded(first, back if back is not None and back.tracked else None).steps()


class _Emitted:
    """A loop that is put into the program.

    Args:
        sliced: for each step's part of something, all of it.
        wanted: what of the steps is wanted of all of them.
    """

    def __init__(
        self,
        first: FirstStep,
        instrs: list[Instr],
        carried: list[Var],
        after: list[Var],
        sliced: dict[Var, ProxyArray],
        wanted: list[Var],
        reverse: bool,
    ) -> None:
        self.tracer, self.count = first.tracer, first.count
        program = self.tracer.program
        self._sliced = sliced
        self._whole = {k for k, v in enumerate(carried) if v in wanted or after[k] in wanted}
        before = {carried[k]: k for k in self._whole}
        later = {after[k]: k for k in self._whole}
        made = [v for v in dict.fromkeys(wanted) if v not in sliced and v not in before and v not in later]
        self._before, self._later, self._made = before, later, {v: j for j, v in enumerate(made)}
        own = {instr.out for instr in instrs} | {*carried, *sliced}
        taken = dict.fromkeys([*[v for instr in instrs for v in instr.inputs()], *after, *made])
        shared = [v for v in taken if v not in own and v not in program.constants]
        body = program.part(instrs, [*after, *made])
        self.loop = Loop(body, carried, after, [*sliced], shared, made, reverse)

    def run(self, begins: list[ProxyArray], known: dict[Var, Array]) -> None:
        """Put it there.

        Args:
            begins: what the first step begins with.
            known: the numbers of what is the same at all steps.
        """
        program, loop = self.tracer.program, self.loop
        begins, stacks = [x.refresh() for x in begins], [x.refresh() for x in self._sliced.values()]
        args = (*[x.variable for x in (*begins, *stacks)], *loop.shared)
        self._token = program.new((0,), numpy.zeros(0).dtype)
        params = {"loop": loop, "count": self.count}
        program.instrs.append(Instr("loop", args, params, self._token, self.tracer.line()))
        wanted = [Result("all" if k in self._whole else "last", k) for k in range(len(loop.carried))]
        wanted += [Result("stacked", j) for j in range(len(loop.made))]
        arrays = [*[x.value for x in (*begins, *stacks)], *[known[v] for v in loop.shared]]
        with numpy.errstate(all="ignore"):  # of gradients that are made up
            self._values = loop.sample(arrays, self.count, wanted)
        self._results: dict[Result, ProxyArray] = {}

    def _result(self, kind: str, position: int) -> ProxyArray:
        result = Result(kind, position)
        if result not in self._results:
            out = self.tracer.program.new(self.loop.shape_of(result, self.count), self.loop.dtype_of(result))
            instr = Instr("loop_result", (self._token,), {"result": result}, out, self.tracer.line())
            self.tracer.program.instrs.append(instr)
            self._results[result] = ProxyArray(self.tracer, self._values.pop(result), out)
        return self._results[result]

    def last(self, k: int) -> ProxyArray:
        """What is carried after the last step."""
        if k not in self._whole:
            return self._result("last", k)
        return self._result("all", k)[0 if self.loop.reverse else self.count]

    def stack(self, v: Var) -> ProxyArray:
        """Something that is wanted, of all steps."""
        if v in self._sliced:
            return self._sliced[v]
        if v in self._made:
            return self._result("stacked", self._made[v])
        first = self.loop.reverse if v in self._before else not self.loop.reverse
        return self._result("all", (self._before if v in self._before else self._later)[v])[
            slice(1, None) if first else slice(0, self.count)
        ]


class _Term(NamedTuple):
    """A summand of the gradient of what all steps share.

    Attributes:
        op: "matmul", a product pᵀ q; "sum", one over rows; "carried", which is added up on the way.
        operands: p and q; what is summed; nothing.
        instr: the operation that makes it.
        moved: views that are taken of that, the first one first.
        position: which of what is carried.
    """

    op: str
    operands: list[Var]
    instr: Instr | None = None
    moved: tuple[Instr, ...] = ()
    position: int = 0


class _Recorded:
    """A loop in place of a first step."""

    def __init__(self, first: FirstStep, back: WayBack | None) -> None:
        self.first, self.back, self.tracer = first, back, first.tracer
        program = self.tracer.program
        self.read = self.tracer.read_since(first.start)
        instrs = program.instrs[first.start :]
        del program.instrs[first.start :]
        self.varying = {*first.entered}
        self.forward = self._varying(instrs[: first.end - first.start])
        self.varying |= {*back.arrives} if back is not None else set()
        self.backward = self._varying(instrs[first.end - first.start :])

    def _varying(self, instrs: list[Instr]) -> list[Instr]:
        """Those that are others at each step. What is the same at all of them stays before the loop."""
        found = []
        for instr in instrs:
            if any(v in self.varying for v in instr.inputs()):
                self.varying.add(instr.out)
                found.append(instr)
            elif instr.out not in self.varying:
                self.tracer.program.instrs.append(instr)
        return found

    # --- forwards ---

    def steps(self) -> Steps:
        """Put the loop into the program."""
        first, count = self.first, len(self.first.carried)
        after, ys = first.vars(first.after or ()), first.vars(first.ys)
        saved = self._saved() if self.back is not None else []
        sliced = dict(zip(first.entered[count:], first.outside[count:], strict=True))
        loop = _Emitted(first, self.forward, first.entered[:count], after, sliced, [*ys, *saved], first.reverse)
        loop.run(first.outside[:count], first.known)
        arrays = [*[loop.last(k) for k in range(count)], *[loop.stack(v) for v in ys]]
        note = f"a scan of {first.count} steps is a loop of {len(self.forward)} operations"
        note += f", and of {len(self.backward)} on the way back" if self.back is not None else ""
        self.tracer.program.notes.append(f"{note}: {self.tracer.line()}")
        tensors: Tensors = [Tensor.wrap(x) for x in arrays]
        if self.back is not None:
            self._loop, self._kept = loop, saved
            tensors = self._tracked(tensors, self.back)
        return Steps(first.count, tensors[:count], tensors[count:])

    def _saved(self) -> list[Var]:
        """What the way back takes of a step; views are taken there once more."""
        first, producers = self.first, {instr.out: instr for instr in self.forward}
        own = {instr.out for instr in self.backward}.union(self.back.arrives if self.back is not None else ())
        todo = [v for instr in self.backward for v in instr.inputs()]
        todo += self.back.gradient.values() if self.back is not None else ()
        found: dict[Var, None] = {}
        again: set[Var] = set()
        while todo:
            v = todo.pop(0)
            if v in own or v not in self.varying:
                continue
            if v in producers and producers[v].op in VIEWS:
                again.add(v)
                todo.append(producers[v].args[0])
            else:
                found[v] = None
        carried, after = first.entered, first.vars(first.after or ())
        there = {*found, *[b for a, b in zip(carried, after, strict=False) if a in found]}
        for v in [*found]:  # what is cheap to make of others that are there anyway
            made = producers.get(v)
            if made is not None and made.op in CHEAP and all(a in there for a in made.inputs()):
                there.discard(v)
                again.add(v)
        kept = {*[v for v in found if v not in again], *[a for i in self.forward if i.out in again for a in i.inputs()]}
        self.backward = [instr for instr in self.forward if instr.out in again] + self.backward
        return [v for v in dict.fromkeys([*found, *after]) if v in kept and v not in again]

    def _tracked(self, tensors: Tensors, back: WayBack) -> Tensors:
        """The results, as those of one operation on what is given, and on what the step uses besides."""
        first = self.first
        once = [tuple([tensors[k].array for k in back.tracked])]
        scan = Primitive(lambda *_: once.pop(), "scan")
        scan.vjp_joint(lambda gs, _y, *inputs: self._gradients(back, gs, inputs))
        self._given = [first.carry[k] for k in back.carried] + [first.xs[i] for i in back.sliced]
        nothing = self.tracer.constant(numpy.zeros(0, tensors[back.tracked[0]].dtype))
        made = scan(*self._given, *[Tensor.wrap(nothing, node) for node in back.closed])
        for k, y in zip(back.tracked, made, strict=True):
            tensors[k] = y
        # what the way back needs of the first step is its Vars, and which tensors it was given
        count = len(first.carry)
        self._nodes = [first.nodes[k] for k in back.carried], [first.nodes[count + i] for i in back.sliced]
        own = {v for instr in self.backward for v in instr.inputs()} | {*back.gradient.values()}
        first.known = {v: array for v, array in first.known.items() if v in own}
        first.after, first.ys, first.carried, first.sliced = None, [], [], []
        back.held = None
        return tensors

    # --- backwards ---

    def _gradients(self, back: WayBack, gs: tuple[Any, ...], inputs: tuple[Any, ...]) -> list[Any]:
        """From the gradients of the results to those of what the scan was given and uses."""
        if isinstance(gs[0], Value):
            return self._recorded_gradients(back, gs, inputs)
        first, tracer = self.first, self.tracer
        count = len(first.carry)
        given = dict(zip(back.tracked, [tracer.traced(g) for g in gs], strict=True))
        arrives = dict(zip(back.active, back.arrives, strict=True))
        carried, after, begins = [], [], []
        for k, node in zip(back.carried, self._nodes[0], strict=True):
            x = first.carry[k]
            carried.append(arrives.get(k) or tracer.program.new(x.shape, x.dtype))
            zero = tracer.constant(numpy.zeros(x.shape, x.dtype))
            after.append(back.gradient.get(node) or zero.variable)
            begins.append(given.get(k, zero))
        sliced = {arrives[k]: given[k] for k in back.active if k >= count}
        sliced |= {v: self._loop.stack(v) for v in self._kept}
        instrs = [*self.backward]
        terms = [self._terms(back.gradient.get(node), instrs, carried, after, begins) for node in back.closed]
        wanted = [v for summands in terms for term in summands for v in term.operands]
        wanted += [back.gradient[node] for node in self._nodes[1] if node in back.gradient]
        loop = _Emitted(first, instrs, carried, after, sliced, wanted, not first.reverse)
        loop.run(begins, first.known)
        found: list[Any] = [loop.last(k) for k in range(len(back.carried))]
        found += [loop.stack(back.gradient[n]) if n in back.gradient else None for n in self._nodes[1]]
        return [*found, *[self._sum(loop, summands) for summands in terms]]

    def _terms(
        self, v: Var | None, instrs: list[Instr], carried: list[Var], after: list[Var], begins: list[ProxyArray]
    ) -> list[_Term]:
        """What is added up to a gradient of what all steps share; where it is not a product, it is so on the way."""
        if v is None:
            return []
        producers = {instr.out: instr for instr in self.backward}
        uses = Counter([a for instr in self.backward for a in instr.inputs()])
        found, rest, todo = [], [], [v]
        while todo:
            part = todo.pop()
            made = producers.get(part)
            if made is not None and made.op == "add" and (part is v or uses[part] == 1) and _is_of(made, v):
                todo += made.args
                continue
            term = self._of_all_steps(part, producers)
            if term is None:
                rest.append(part)
            else:
                found.append(term)
        program = self.tracer.program
        for part in rest:
            before, later = program.new(v.shape, v.dtype), program.new(v.shape, v.dtype)
            instrs.append(Instr("add", (before, part), {}, later, self.tracer.line()))
            found.append(_Term("carried", [], position=len(carried)))
            carried.append(before)
            after.append(later)
            begins.append(self.tracer.constant(numpy.zeros(v.shape, v.dtype)))
        return found

    def _of_all_steps(self, v: Var, producers: dict[Var, Instr]) -> _Term | None:
        """A product pᵀ q, or a sum over rows, of which that of all steps is one; None if it is none."""
        made, moved = producers.get(v), []
        while made is not None and made.op in ("transpose", "reshape"):
            moved.append(made)
            made = producers.get(made.args[0])
        if made is None:
            return None
        if made.op == "sum" and made.args[0] in self.varying:
            return _Term("sum", [made.args[0]], made, tuple(moved[::-1]))
        turned = producers.get(made.args[0]) if made.op == "matmul" and type(made.args[0]) is Var else None
        if turned is None or turned.op != "transpose" or len(made.args[1].shape) != 2 or len(made.args[0].shape) != 2:
            return None
        operands = [turned.args[0], made.args[1]]
        return _Term("matmul", operands, made, tuple(moved[::-1])) if {*operands} <= self.varying else None

    def _sum(self, loop: _Emitted, terms: Iterable[_Term]) -> Any:
        """The gradient of what all steps share."""
        total: Any = None
        for term in terms:
            if term.op == "carried":
                part = loop.last(term.position)
            elif term.op == "matmul":
                p, q = [s.reshape(s.shape[0] * s.shape[1], s.shape[2]) for s in map(loop.stack, term.operands)]
                part = self.tracer.emit("matmul", p.transpose(), q)
            else:
                part = self._summed(loop.stack(term.operands[0]), term)
            for view in term.moved:
                part = self.tracer.emit(view.op, part, **view.params)
            total = part if total is None else total + part
        return total

    def _summed(self, stack: ProxyArray, term: _Term) -> ProxyArray:
        made: Any = term.instr
        axis, ndim = made.params["axis"], stack.ndim - 1
        axes = range(ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        over = (0, *[1 + d % ndim for d in axes])
        total: ProxyArray = self.tracer.emit("sum", stack, axis=over, keepdims=False)
        return total.reshape(made.out.shape)

    def _recorded_gradients(self, back: WayBack, gs: tuple[Any, ...], inputs: tuple[Any, ...]) -> list[Any]:
        """The same with a graph of its own: step after step is recorded once more."""
        first = self.first
        if any(getattr(tensor.array, "variable", None) is not var for tensor, var in self.read):
            raise RuntimeError(
                "backward: something that a step of scan uses was changed in place since, so its derivatives would be "
                "those of other numbers; call backward() before optimizer.step()"
            )
        with enable_grad():
            variables = [cast(x, dtype=x.dtype) for x in inputs[: len(self._given)]]
            carry, xs = [*first.carry], [*first.xs]
            for k, x in zip(back.carried, variables, strict=False):
                carry[k] = x
            for i, x in zip(back.sliced, variables[len(back.carried) :], strict=True):
                xs[i] = x
            columns = [x.unbind(0) for x in xs]
            made: list[Tensors] = []
            for t in range(first.count)[::-1] if first.reverse else range(first.count):
                carry, ys = first.step(carry, [column[t] for column in columns], t)
                made.append(ys)
            stacked = [stack(column[::-1] if first.reverse else column) for column in zip(*made, strict=True)]
            outputs = [*carry, *stacked]
            pairs = [(outputs[k].node, g) for k, g in zip(back.tracked, gs, strict=True)]
            roots: list[tuple[Node, Any]] = [(node, g) for node, g in pairs if node is not None]
        targets = [v.node for v in variables] + back.closed
        known = [node for node in targets if node is not None]
        found = recorded_sweep(roots, known, retain_graph=True, value_class=Tensor, outside=frozenset(back.closed))
        return [None if node is None else found.get(node) for node in targets]


def _is_of(instr: Instr, like: Var) -> bool:
    """Whether all operands are arrays like this one."""
    return all(type(a) is Var and (a.shape, a.dtype) == (like.shape, like.dtype) for a in instr.args)

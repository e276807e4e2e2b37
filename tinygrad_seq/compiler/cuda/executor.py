"""Running a program on a GPU: its elementwise operations as a few kernels, its steps as CUDA graphs.

At the first call after the arrays were found the steps are launched one by one, at the second they are captured, and
from then on the graphs are launched. Most programs are one graph; what cannot be captured, such as a check that looks
at values, runs between two; `program.notes` say so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from ...backend import Array, array_module
from ...backend import numpy_module as numpy
from ...graph.tracing_hook import CompileError
from ..memory.plan import MemoryPlan
from ..operations import EFFECTS, HOLE, REDUCTIONS, UFUNCS, VIEWS, evaluate, filled
from ..program import Instr, Number, Program, Var
from .fusion import Group, Layout, module

Step = Callable[[], Any]

_SETTLED = 2  # after so many moves, an array is copied in instead of being looked for


class CudaExecutor:
    """Runs a program in device memory of its own.

    Arguments of the function are copied in; what else comes from outside is used where it lies, and looked for anew if
    it has moved. What moves again and again is copied in, too.
    """

    name = "cuda"
    reuse_distance = (
        64  # see `MemoryPlan`: a kernel would end where a result takes the place of something that it has read
    )
    program: Program
    backend: Any
    index: int

    def __init__(self, program: Program) -> None:
        self.program, self.backend, self.index = program, program.backend, program.index
        self.xp: Any = self.backend.xp
        self._copied_in = [source.per_call for source in program.sources.values()]
        self._moves = [0] * len(self._copied_in)
        self._bound: list[Any] | None = None
        self._own: dict[Var, Array] = {}
        self._now: list[Any] = []
        self._parts: list[Part] = []
        self._stores: tuple[tuple[int, ...], Part] | None = None

    def fits(self, arrays: list[Array]) -> bool:
        """Whether the arrays of the sources are on the program's device."""
        kind, index = self.backend.ndarray, self.backend.device_index
        return all(type(a) is kind and index(a) == self.index for a in arrays)

    def run(self, arrays: list[Array], numbers: list[Any]) -> dict[Var, Array]:
        """From the arrays of the sources, in their order, and the program's numbers to the arrays of the outputs."""
        with self.backend.on(self.index):
            self._find(arrays)
            for var, array, copied_in in zip(self.program.sources, arrays, self._copied_in, strict=True):
                if copied_in:
                    self.xp.copyto(self._own[var], array)
            self._now = numbers
            if numbers:
                self._upload(numbers)
            for part in self._parts:
                part.run()
        return self.plan.arrays

    def copy_all(self, pairs: list[tuple[Array, Array]]) -> None:
        """Copy second arrays into first ones: with one launch, if it is the same ones again."""
        with self.backend.on(self.index):
            key = tuple([self.backend.address(a) for pair in pairs for a in pair])
            if self._stores is None or self._stores[0] != key:
                steps: list[Step] = [partial(self.xp.copyto, target, made) for target, made in pairs]
                self._stores = (key, Part(self, steps))
            self._stores[1].run()

    # --- where everything lies ---

    def _find(self, arrays: list[Array]) -> None:
        """Plan anew if an array has moved."""
        bound = self._bound or [None] * len(arrays)
        moved = [i for i, a in enumerate(arrays) if not self._copied_in[i] and bound[i] is not a]
        if self._bound is not None and not moved:
            return
        for i in moved if self._bound is not None else ():
            self._moves[i] += 1
            self._copied_in[i] = self._moves[i] >= _SETTLED
        self._bound = None  # a plan that fails leaves none
        for part in self._parts:
            part.forget()
        self._plan(arrays)
        self._bound = [None if copied_in else a for a, copied_in in zip(arrays, self._copied_in, strict=True)]

    def _plan(self, arrays: list[Array]) -> None:
        empty = partial(self.backend.empty, index=self.index)
        sources = list(self.program.sources)
        for var, copied_in in zip(sources, self._copied_in, strict=True):
            if copied_in and var not in self._own:
                self._own[var] = empty(var.shape, var.dtype)
        outside = {var: self._own.get(var, a) for var, a in zip(sources, arrays, strict=True)}
        self.program.constants = {
            v: self.backend.asarray(a, None, self.index) for v, a in self.program.constants.items()
        }
        self.plan = MemoryPlan(
            self.program, outside, self.reuse_distance, block=lambda size: empty((size,), numpy.uint8)
        )
        count = max(len(self.program.numbers), 1)
        self._numbers, self._words = empty((count,), numpy.float64), empty((count,), numpy.uint64)
        self._parts = self._all_parts()

    def _upload(self, numbers: list[Any]) -> None:
        """Bring the program's numbers to where kernels read them, those of generators as whole words."""
        doubles = numpy.array([float(n) for n in numbers])
        self.backend.upload(self._numbers, doubles)
        if self._drawn:
            words = [int(n) % 2**64 if i in self._drawn else 0 for i, n in enumerate(numbers)]
            self.backend.upload(self._words, numpy.array(words, dtype=numpy.uint64))

    # --- what to launch ---

    def _all_parts(self) -> list[Part]:
        instrs = [i for i in self.program.instrs if i.op not in VIEWS]
        self._drawn = {a.index for i in instrs if i.op == "random_bits" for a in i.args}
        groups = self._grouped(instrs)
        kernels = [g for g in groups if isinstance(g, Group)]
        launch = self.backend.kernels(module(kernels), {g.name for g in kernels}, self.index) if kernels else {}
        parts: list[Part] = []
        steps: list[Step] = []
        waits: Counter[str] = Counter()
        for g in groups:
            if isinstance(g, Group):
                addresses = g.arguments() + ([self.backend.address(self._numbers)] if g.takes_numbers else [])
                steps.append(partial(launch[g.name], *g.blocks(), addresses))
            elif self._waits(g):
                waits[g.params.get("name", g.op)] += 1
                parts += [Part(self, steps), Part(self, [partial(self._generic, g)], fixed=False)]
                steps = []
            else:
                steps += self._steps_of(g)
        parts.append(Part(self, steps))
        self.program.notes = [n for n in self.program.notes if not n.startswith("cuda: ")]
        fused = sum([len(g.instrs) for g in kernels])
        self.program.notes.append(
            f"cuda: {fused} operations on elements and rows in {len(kernels)} launches of "
            f"{len({g.name for g in kernels})} kernels"
        )
        if waits:
            what = ", ".join([f"{n} {name}" for name, n in waits.items()])
            self.program.notes.append(f"cuda: not in a graph, since they depend on the host: {what}")
        return [part for part in parts if part.steps]

    def _grouped(self, instrs: list[Instr]) -> list[Group | Instr]:
        producers = {i.out: i for i in self.program.instrs}
        uses = Counter([v for i in self.program.instrs for v in i.inputs()] + self.program.outputs)
        layout = Layout(self.plan.arrays, self.backend.address, producers, uses)
        groups: list[Group | Instr] = []
        group: Group | None = None
        for instr in instrs:
            if group is not None and group.try_add(instr):
                continue
            group = Group(layout)
            if group.try_add(instr):
                groups.append(group)
            else:
                group = None
                groups.append(instr)
        return groups

    def _waits(self, instr: Instr) -> bool:
        """Whether an operation depends on the host at each call: on a number, or on what Python makes of arrays."""
        if instr.op in EFFECTS:
            return True
        return instr.op != "random_bits" and any(type(a) is Number for a in instr.args)

    def _steps_of(self, instr: Instr) -> list[Step]:
        """An operation that is no part of a kernel, by the library's functions."""
        op, out, xp = instr.op, self.plan.arrays[instr.out], self.xp
        if op == "random_bits":
            seed, offset = [a.index for a in instr.args]
            return [partial(self.backend.random_bits_at, self._words, seed, offset, instr.params["count"], out)]
        args = [self.plan.arrays[a] if type(a) is Var else a for a in instr.args]
        if op == "matmul":
            return [partial(self.backend.product, *args, out)]
        if op in UFUNCS:
            return (
                [partial(getattr(xp, op), *args, out=out)] if out.dtype.char != "?" else [partial(self._copied, instr)]
            )
        if op == "sum":
            return [partial(self.backend.sum_over, args[0], out=out, **instr.params)]
        if (
            op in REDUCTIONS and op != "min"
        ):  # which CuPy 14 cannot put where it is told: it compares `out` with a dtype
            return [partial(getattr(args[0], op), out=out, **instr.params)]
        if op in ("cast", "copy"):
            return [partial(xp.copyto, out, args[0], casting="unsafe")]
        if op == "concat":
            return self._concat_steps(instr, out)
        if op == "take" and instr.params["index"] == (HOLE,) and args[1].dtype.kind in "iu":
            return [partial(xp.take, args[0], args[1], axis=0, out=out)]
        if op in ("update", "scatter_add"):
            index = filled(instr.params["index"], tuple(args[2:]))
            put = partial(out.__setitem__, index, args[1])
            add = partial(self.backend.scatter_add, out, index, args[1])
            return [partial(xp.copyto, out, args[0]), put if op == "update" else add]
        return [partial(self._copied, instr)]

    def _concat_steps(self, instr: Instr, out: Array) -> list[Step]:
        """Copies of the pieces that were not made in their place."""
        axis, start, steps = instr.params["axis"], 0, list[Step]()
        for piece in instr.args:
            target = out[(*[slice(None)] * axis, slice(start, start + piece.shape[axis]))]
            start += piece.shape[axis]
            array = self.plan.arrays[piece]
            if array.size and self.backend.address(array) != self.backend.address(target):
                steps.append(partial(self.xp.copyto, target, array))
        return steps

    def _copied(self, instr: Instr) -> None:
        """Evaluate in memory of its own, and put the result where it belongs."""
        self._put(instr, [self.plan.arrays[a] if type(a) is Var else a for a in instr.args])

    def _generic(self, instr: Instr) -> None:
        arrays, now = self.plan.arrays, self._now
        self._put(
            instr, [arrays[a] if type(a) is Var else now[a.index] if type(a) is Number else a for a in instr.args]
        )

    def _put(self, instr: Instr, args: list[Any]) -> None:
        out = self.plan.arrays[instr.out]
        if instr.op == "require":
            instr.params["check"](*args)
            return
        result = evaluate(instr.op, args, instr.params)
        if result.shape != out.shape:
            what = instr.params.get("name", instr.op)
            raise CompileError(
                f"compile: the shape of {what} depends on values: it was {out.shape}, and is {result.shape} now; leave "
                f"this part uncompiled ({instr.line})"
            )
        array_module(out).copyto(out, result)


class Part:
    """Consecutive steps: launched one by one the first time, captured as a graph the second, then one launch."""

    executor: CudaExecutor
    steps: list[Step]

    def __init__(self, executor: CudaExecutor, steps: list[Step], fixed: bool = True) -> None:
        self.executor, self.steps = executor, steps
        self._graph: Callable[[], Any] | None = None
        self._capturable = fixed and len(steps) > 1
        self._warm = False

    def run(self) -> None:
        if self._graph is not None:
            self._graph()
            return
        if self._warm and self._capturable:
            try:
                self._graph = self.executor.backend.capture(self._launch, self.executor.index)
            except Exception as error:  # a library may refuse to be captured in ways of its own
                self._capturable = False
                reason = f"cuda: launched one by one, not as a graph: {type(error).__name__}: {error}"
                if reason not in self.executor.program.notes:
                    self.executor.program.notes.append(reason)
            else:
                self._graph()
                return
        self._launch()
        self._warm = True

    def _launch(self) -> None:
        for step in self.steps:
            step()

    def forget(self) -> None:
        """Let go of the arrays that the steps hold."""
        self._graph, self.steps = None, []

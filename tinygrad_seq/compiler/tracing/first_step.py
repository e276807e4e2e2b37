"""The first step of a scan, watched forwards and backwards, to see whether all others are like it.

It is an ordinary part of the program until that is known. Where others may do something else, as where it draws random
numbers or changes something, it stays the first of so many steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ...autodiff import sweep
from ...backend import Array
from ...backend import numpy as host
from ...backend import numpy_module as numpy
from ...graph import FunctionNode, Node, Primitive, Value
from ...graph.grad_mode import double_backward, is_grad_enabled
from ...graph.recomputation import Run
from ...graph.saved_tensors import next_number
from ...graph.tracing_hook import CompileError
from ...tensor import Tensor
from ..guards import LookupGuard
from ..names import Names
from ..operations import evaluate
from ..program import Instr, Number, Var
from .proxies import ProxyArray

Tensors = list[Tensor]
Step = Callable[[Tensors, Tensors, int], tuple[Tensors, Tensors]]

_ENTER = Primitive(lambda x: x, "scan")  # what a step begins with, as a node of its own
_ENTER.vjp(lambda g, _y, _x: g)


class Unlike(Exception):
    """Steps may differ, or are not known to be alike: why."""


@contextmanager
def _paused(tracer: Any) -> Iterator[None]:
    """Inside, nothing is noted, and things are what they are outside."""
    thread, tracer._thread = tracer._thread, 0
    try:
        yield
    finally:
        tracer._thread = thread


def _alive(tracer: Any, since: int = 0) -> list[ProxyArray]:
    return [p for made in tracer.made_here[since:] if (p := made()) is not None]


class FirstStep:
    """The first step, recorded by itself.

    Attributes:
        carried, sliced: what it begins with, as tensors with Vars and nodes of their own.
        entered, nodes: these; of what carries no gradient the node is None.
        outside: for each of them the array that it comes from: where it begins, or all of xs.
        after, ys: what it gives; None and nothing before it has run.
        start: where it begins among the program's operations; `end`: where it ends.
        number: where it begins on the nodes' count.
        known: the numbers of what it takes from outside.
    """

    after: Tensors | None = None

    def __init__(self, tracer: Any, step: Step, carry: Tensors, xs: Tensors, count: int, reverse: bool) -> None:
        self.tracer, self.program = tracer, tracer.program
        self.step, self.carry, self.xs, self.count, self.reverse = step, carry, xs, count, reverse
        self.carried: Tensors = []
        self.sliced: Tensors = []
        self.ys: Tensors = []
        self.entered: list[Var] = []
        self.nodes: list[Node | None] = []
        self.known: dict[Var, Array] = {}
        self._around: FirstStep | None = None
        self._asked = False

    def watch(self, function: Any) -> None:
        """Run it, and raise if another one may do something else.

        Args:
            function: the user's, to see what it finds by name.
        """
        tracer = self.tracer
        self.outside: list[ProxyArray] = [tracer.traced(x.array) for x in (*self.carry, *self.xs)]
        if tracer.target is not host:
            raise Unlike("it runs on a GPU")
        if double_backward.get():
            raise Unlike("a second derivative may be asked for")
        plain = tracer.overlay.plain
        with _paused(tracer):
            names = Names([function])
            if names.iterators:
                raise Unlike("it takes from an iterator")
            held = [(x, plain(x)) for x in names.found if isinstance(x, Value)]
            lookups = LookupGuard([p for p in (*names.places, *names.of_modules) if type(p.look()) is not ProxyArray])
        beside, variables = tracer.overlay.beside(), [(p, p.variable) for p in _alive(tracer)]
        commits, made = len(tracer.commits), len(tracer.made_here)
        self.start, self.number = len(self.program.instrs), next_number()
        self.carried = [self._entered(x, tracked=True) for x in self.carry]
        self.sliced = [
            self._entered(x, tracked=x.node is not None)
            for x in [x[self.count - 1 if self.reverse else 0] for x in self.xs]
        ]
        run, around = Run(), tracer.first_step
        self._around, tracer.first_step = around, self
        try:
            with run.first():
                self.after, self.ys = self.step(self.carried, self.sliced, 0)
        finally:
            tracer.first_step = around
        self.end = len(self.program.instrs)
        with _paused(tracer):
            now = [plain(x) for x, _ in held]
            if not lookups() or any(
                a is not b for x, (_, y) in zip(now, held, strict=True) for a, b in zip(x, y, strict=True)
            ):
                raise Unlike("it changes what it finds by name")
        own = {id(p) for p in _alive(tracer, made) if p.variable not in self.program.sources}
        if why := run.did(own):
            raise Unlike(f"it {why}")
        changed = any(p.variable is not var for p, var in variables) or len(tracer.commits) != commits
        if changed or tracer.overlay.beside(but=self.program.sources).items() - beside.items():
            raise Unlike("it changes something outside")
        if self._asked:
            raise Unlike("it asks whether something requires a gradient, which its carry does not at first")
        if [getattr(x.array, "variable", None) for x in (*self.carried, *self.sliced)] != self.entered:
            raise Unlike("it changes in place what it is given")
        for instr in self.program.instrs[self.start :]:
            if instr.op in ("random_bits", "collective", "loop"):
                raise Unlike(f"it does what a loop does not ({instr.op})")
            if any(type(a) is Number for a in instr.args):
                raise Unlike("it takes a number that may be another one at each call")

    def _entered(self, given: Tensor, tracked: bool) -> Tensor:
        """What the step begins with: the same numbers as another Var, and if it may carry a gradient another node."""
        array = self.tracer.traced(given.array).refresh()
        var = self.program.new(array.shape, array.dtype)
        self.program.instrs.append(Instr("copy", (array.variable,), {}, var, self.tracer.line()))
        self.entered.append(var)
        entered: Tensor = Tensor.wrap(ProxyArray(self.tracer, numpy.array(array.value), var))
        if tracked and is_grad_enabled() and array.dtype.kind in "fc":
            node = FunctionNode()
            node.primitive, node.params = _ENTER, {}
            node.parents, node.inputs, node.output = (given.node,), (None,), None
            node.number, node.shape, node.dtype = next_number(), array.shape, array.dtype
            entered.node = node
        self.nodes.append(entered.node)
        return entered

    @property
    def outputs(self) -> Tensors:
        return [*(self.after or ()), *self.ys]

    def vars(self, tensors: Iterable[Tensor]) -> list[Var]:
        return [self.tracer.traced(x.array).refresh().variable for x in tensors]

    def reached(self, node: Node | None) -> set[Node]:
        """From where gradients could come to this node: what the step begins with, and nodes from before it.

        Raises:
            Unlike: if something on the way is not the same at each step.
        """
        begins = {*self.nodes}
        found: set[Node] = set()
        seen: set[Node] = set()
        todo = [node]
        while todo:
            node = todo.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            if node.number < self.number:
                found.add(node)
            elif getattr(node, "hooks", None):
                raise Unlike("it registers hooks")
            elif node.parents is None:
                raise Unlike("it goes back through what it computes itself")
            elif node in begins:
                found.add(node)
            else:
                todo += node.parents
        return found

    def find_numbers(self) -> None:
        """Find the numbers of what it takes from outside.

        Raises:
            Unlike: if there are some that nobody holds any more.
        """
        known = {p.variable: p.value for p in _alive(self.tracer)} | self.program.constants
        for instr in self.program.instrs[self.start :]:
            if instr.out not in known and all(type(a) is not Var or a in known for a in instr.args):
                given = [known[a] if type(a) is Var else a for a in instr.args]
                known[instr.out] = evaluate(instr.op, given, instr.params)
            if instr.out not in known:
                raise Unlike("it takes something that nobody holds")
        self.known = known

    def kept(self) -> tuple[int, Tensors, Tensors]:
        """The step as the first one of many: how many steps are done, and what they gave."""
        if self.after is None:
            return 0, self.carry, []
        found = [x if x.node is None or self._reaches(x.node) else Tensor.wrap(x.array) for x in self.outputs]
        return 1, found[: len(self.carry)], found[len(self.carry) :]

    def is_reached(self, node: Node | None) -> bool:
        """Whether gradients come to a node in this step; in others they may do so if they do not in this one."""
        if node is None or not self.tracer.mine():
            return node is not None
        reached = self._reaches(node)
        self._asked = self._asked or not reached
        return reached and (self._around is None or self._around.is_reached(node))

    def _reaches(self, node: Node) -> bool:
        """Whether gradients go on from a node to something that is no carry without one."""
        constant = {node for node, given in zip(self.nodes, self.carry, strict=False) if given.node is None}
        try:
            return bool(self.reached(node) - constant)
        except Unlike:
            return True


class WayBack:
    """The gradients of the first step, recorded after it.

    Attributes:
        active: which of a step's outputs, carry and y, carry a gradient, at some step at least.
        tracked: which of the results do.
        carried: which of what is carried a gradient goes to.
        sliced: which of the xs.
        closed: the nodes from before the step that get gradients.
        arrives: for each of `active`, the Var of the gradient that arrives there.
        gradient: for each node that a gradient goes to, its Var; missing where nothing comes back.
        held: the arrays of both, as long as their numbers are looked for.
    """

    def __init__(self, first: FirstStep) -> None:
        count, outputs = len(first.carried), first.outputs
        reached = [first.reached(x.node) for x in outputs]
        place = {node: k for k, node in enumerate(first.nodes[:count])}
        begins = {k for k, x in enumerate(first.carry) if x.node is not None and x.array.dtype.kind in "fc"}
        now, ever = begins, set[int]()
        for _ in range(first.count):  # what a step gives carries a gradient if what it is made of does then
            before = now
            given = {k for k, nodes in enumerate(reached) if any(place.get(n, -1) in {-1, *now} for n in nodes)}
            now, ever = {k for k in given if k < count}, ever | given
            if now == before:
                break
        self.active = sorted(ever)
        self.tracked = sorted(now | {k for k in ever if k >= count})
        self.carried = sorted(begins | {k for k in ever if k < count})
        self.sliced = [i for i, node in enumerate(first.nodes[count:]) if node is not None]
        older = {node for k in self.active for node in reached[k] if node.number < first.number}
        self.closed: list[Node] = sorted(older, key=lambda node: node.number)
        self.arrives = [first.program.new(outputs[k].shape, outputs[k].dtype) for k in self.active]
        roots: list[tuple[Any, Any]] = []
        for k, var in zip(self.active, self.arrives, strict=True):
            made_up = numpy.ones(outputs[k].shape, outputs[k].dtype)
            roots.append((outputs[k].node, ProxyArray(first.tracer, made_up, var)))
        targets: list[Any] = [first.nodes[k] for k in (*self.carried, *[count + i for i in self.sliced])]
        try:
            with numpy.errstate(all="ignore"):
                found = sweep(roots, [*targets, *self.closed], retain_graph=True, outside=frozenset(self.closed))
        except CompileError:
            raise
        except (RuntimeError, NotImplementedError, ValueError) as error:
            raise Unlike(f"its way back cannot be recorded ({error})") from error
        gradients = {node: first.tracer.traced(g).refresh() for node, g in found.items()}
        self.held: Any = roots, gradients
        self.gradient: dict[Node | None, Var] = {node: g.variable for node, g in gradients.items()}

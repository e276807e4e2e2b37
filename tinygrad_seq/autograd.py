"""Gradients in PyTorch's words: `grad` of outputs by inputs, `backward`, operations with a `backward` of their own.

What is only a name of PyTorch's stands here; `tg.grad` and its kin take functions, and `tg.primitive` makes operations.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from .autodiff import recorded_sweep, sweep, topological_order
from .autodiff.anomaly_mode import detect_anomaly as detect_anomaly
from .graph import Node, Primitive, Value
from .graph.grad_mode import enable_grad as enable_grad
from .graph.grad_mode import inference_mode as inference_mode
from .graph.grad_mode import is_grad_enabled, no_grad
from .graph.grad_mode import set_grad_enabled as set_grad_enabled
from .graph.hooks import RemovableHandle
from .graph.saved_tensors import owner_of
from .tensor import Tensor
from .tensor.autograd_methods import accumulate, owned, wrapped
from .tensor.creation import zeros_like


class _IsTensor(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Tensor)


class Variable(metaclass=_IsTensor):
    """`Variable(tensor)`: the tensor without its graph, on the same memory, as PyTorch had it before version 0.4.

    All tensors are instances of it.
    """

    def __new__(cls, data: Tensor, requires_grad: bool = False, volatile: bool | None = None) -> Tensor:  # type: ignore[misc]
        if not isinstance(data, Tensor):
            raise TypeError(f"Variable: takes a tensor, got a {type(data).__name__}; tg.tensor makes one of numbers")
        if volatile is not None:
            warnings.warn("Variable: volatile does nothing; compute inside `with tg.no_grad():`", stacklevel=2)
        return data.detach().requires_grad_(requires_grad)


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> None:
    """As `Tensor.backward` of several tensors at once.

    Args:
        grad_tensors: what arrives at each, of its shape; None for a scalar.
    """
    accumulate(_roots("backward", tensors, grad_tensors), retain_graph, create_graph)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    *,
    materialize_grads: bool = False,
) -> tuple[Tensor, ...]:
    """The gradients of outputs, added up, with respect to inputs, which may be results themselves. No `.grad` changes.

    Args:
        grad_outputs: what arrives at each output, of its shape; None for a scalar.
        retain_graph: keep the graph, to go through it again. By default what `create_graph` says.
        create_graph: record the backward pass, so that the gradients can be differentiated in turn.
        allow_unused: give None for inputs that the outputs were not computed from, instead of raising.
        materialize_grads: give zeros for them.

    Raises:
        RuntimeError: if an output or an input requires no gradient, or was not used; or if the graph was freed.
    """
    targets = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    for i, x in enumerate(targets):
        if not isinstance(x, Tensor) or x.node is None:
            what = "requires no gradient" if isinstance(x, Tensor) else f"is a {type(x).__name__}"
            raise RuntimeError(f"grad: input {i} {what}; takes tensors with requires_grad=True, or results of them")
    roots = _roots("grad", outputs, grad_outputs)
    nodes = {x.node for x in targets if x.node is not None}
    passed = _passed(nodes)
    caught: dict[Node, Any] = {}
    handles = [RemovableHandle(node, _Catch(caught, node)) for node in passed]
    ends = [*(nodes - passed)]
    try:
        if create_graph:
            found = recorded_sweep(roots, ends, retain_graph=retain_graph is not False, value_class=Tensor)
        else:
            found = sweep([(node, seed.array) for node, seed in roots], ends, retain_graph=bool(retain_graph))
    finally:
        for handle in handles:
            handle.remove()
    found |= caught
    taken = {id(owner_of(seed.array)) for _, seed in roots}
    gradients: list[Any] = []
    for i, x in enumerate(targets):
        if x.node is not None and found.get(x.node) is not None:
            gradients.append(owned(found, x.node, taken))
        elif materialize_grads:
            gradients.append(zeros_like(x))
        elif allow_unused:
            gradients.append(None)
        else:
            raise RuntimeError(
                f"grad: input {i} was not used for the outputs; pass allow_unused=True to get None for it"
            )
    return tuple(gradients)


def _passed(targets: set[Node]) -> set[Node]:
    """The targets that others lie behind. A sweep ends at its targets, and has to pass these."""
    if len(targets) < 2:
        return set()
    freed = {node for node in targets if node.parents is None}
    if freed and min(node.number for node in targets) < max(node.number for node in freed):  # what is behind is older
        raise RuntimeError(
            "grad: the graph behind one of the inputs was freed by an earlier backward pass, and others may lie behind "
            "it; pass retain_graph=True to that one, or take detach() of the input before it is used"
        )
    behind: set[Node | None] = set()  # with a target somewhere behind them
    for node in topological_order(targets, freed):
        if any(parent in targets or parent in behind for parent in node.parents or ()):
            behind.add(node)
    return {node for node in targets if node in behind}


class _Catch:
    """A hook that notes the gradient of a node."""

    def __init__(self, caught: dict[Node, Any], node: Node) -> None:
        self.caught, self.node = caught, node

    def __call__(self, g: Any) -> Any:
        self.caught[self.node] = g
        return g


def _roots(name: str, outputs: Any, given: Any) -> list[tuple[Node, Tensor]]:
    """The nodes of outputs, with what arrives at each."""
    results = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    seeds = [given] if isinstance(given, Tensor) or given is None else list(given)
    seeds = seeds * len(results) if given is None else seeds
    if len(seeds) != len(results):
        raise ValueError(f"{name}: got {len(results)} outputs and gradients for {len(seeds)}")
    roots = []
    for i, (y, seed) in enumerate(zip(results, seeds, strict=True)):
        if not isinstance(y, Tensor) or y.node is None:
            what = "requires no gradient" if isinstance(y, Tensor) else f"is a {type(y).__name__}"
            raise RuntimeError(f"{name}: output {i} {what}; takes results of tensors with requires_grad=True")
        roots.append((y.node, y._seed(seed)))
    return roots


class FunctionCtx:
    """What the `forward` of a `Function` leaves for its `backward`; any attribute can be set as well.

    Attributes:
        needs_input_grad: for each argument of `forward`, whether a gradient of it is wanted.
    """

    needs_input_grad: tuple[bool, ...]

    def __init__(self) -> None:
        self._saved: tuple[Any, ...] = ()
        self._constant: list[Tensor] = []

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for `saved_tensors`; that arguments and results stay as they are is checked."""
        self._saved = tensors

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        return self._saved

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say that these results have no gradient."""
        self._constant.extend(tensors)

    def set_materialize_grads(self, value: bool) -> None:
        """For PyTorch's programs: gradients that did not arrive are zeros in either case."""

    def mark_dirty(self, *tensors: Tensor) -> None:
        raise NotImplementedError(
            "mark_dirty: a Function does not change its arguments; return a new tensor from forward, and copy it there "
            "with copy_()"
        )


class Function:
    """An operation with a `backward` of its own: write both as static methods, and call `apply`.

    >>> class Double(tg.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * 2
    ...     @staticmethod
    ...     def backward(ctx, grad_output):
    ...         return grad_output * 2
    >>> y = Double.apply(x)

    `backward` gets one gradient for each result and returns one for each argument, None for those without. Higher
    derivatives are those of what it computes. `tg.primitive` is the shorter way, without tensors.
    """

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError(f"{type(self).__name__}: call {type(self).__name__}.apply(...), not an instance")

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("forward: a Function has one: a static method of ctx and the arguments")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        raise NotImplementedError

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        raise NotImplementedError(
            "backward: a Function has one: a static method of ctx and the gradients of its results"
        )

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """The results of `forward` for these arguments, recorded if one of them requires a gradient."""
        ctx = FunctionCtx()
        ctx.needs_input_grad = tuple(isinstance(x, Tensor) and x.requires_grad for x in args)
        with no_grad():
            if cls.setup_context is Function.setup_context:
                made = cls.forward(ctx, *args)
            else:
                made = cls.forward(*args)
                cls.setup_context(ctx, args, made)
        if not (is_grad_enabled() and any(ctx.needs_input_grad)):
            return made
        several = isinstance(made, tuple)
        results: list[Any] = []
        for y in made if several else (made,):
            # one that is an argument, is in a graph already, or is there twice, as a tensor of its own
            taken = isinstance(y, Tensor) and (y.node is not None or any(y is x for x in [*args, *results]))
            results.append(y.detach() if taken else y)
            if hasattr(results[-1], "view_of"):
                del results[-1].view_of  # a change in place would go round the Function's own backward
        places = [i for i, x in enumerate(args) if isinstance(x, Tensor)]
        carrying = [
            i
            for i, y in enumerate(results)
            if isinstance(y, Tensor) and y.dtype.kind in "fc" and not any(y is c for c in ctx._constant)
        ]
        if carrying:
            _Recorded(cls, ctx, args, places, results, carrying)
        return tuple(results) if several else results[0]


class _Recorded:
    """An application of a `Function`, as a primitive: its forward is what was computed, its rule asks `backward`."""

    def __init__(
        self,
        cls: Any,
        ctx: FunctionCtx,
        args: Sequence[Any],
        places: list[int],
        results: list[Any],
        carrying: list[int],
    ) -> None:
        self.cls, self.ctx, self.places, self.carrying = cls, ctx, places, carrying
        self.count = len(args)
        self.constant = [None if i in carrying else y for i, y in enumerate(results)]
        # which argument or result each saved tensor is: the graph keeps those
        self.saved = [
            next((("input", k) for k, i in enumerate(places) if args[i] is t), None)
            or next((("output", k) for k, i in enumerate(carrying) if results[i] is t), ("other", t))
            for t in ctx._saved
        ]
        ctx._saved = ()
        arrays = tuple(results[i].array for i in carrying)
        operation = Primitive(lambda *_: arrays if len(arrays) > 1 else arrays[0], cls.__name__)
        keeps = {kind for kind, _ in self.saved}
        rule: Any = {
            (False, False): lambda g, _y, *_inputs: self.rule(g, _y, _inputs),
            (True, False): lambda g, _y, *inputs: self.rule(g, _y, inputs),
            (False, True): lambda g, y, *_inputs: self.rule(g, y, _inputs),
            (True, True): lambda g, y, *inputs: self.rule(g, y, inputs),
        }["input" in keeps, "output" in keeps]
        operation.vjp_joint(rule)
        recorded = operation(*[args[i] for i in places])
        for i, y in zip(carrying, recorded if len(arrays) > 1 else (recorded,), strict=True):
            results[i].node = y.node

    def rule(self, g: Any, y: Any, inputs: Sequence[Any]) -> list[Any]:
        """The gradients of the tensors among the arguments, as `backward` computes them."""
        arrived = g if isinstance(g, tuple) else (g,)
        is_recorded = isinstance(arrived[0], Value)
        outputs = y if isinstance(y, tuple) else (y,)
        given = dict(zip(self.carrying, arrived, strict=True))
        gradients = [
            _tensor(given[i]) if i in given else zeros_like(y) if isinstance(y, Tensor) else None
            for i, y in enumerate(self.constant)
        ]
        known = {"input": inputs, "output": outputs}
        self.ctx._saved = tuple([_tensor(known[kind][k]) if kind in known else k for kind, k in self.saved])
        try:
            if is_recorded:
                found = self.cls.backward(self.ctx, *gradients)
            else:
                with no_grad():
                    found = self.cls.backward(self.ctx, *gradients)
        finally:
            self.ctx._saved = ()
        returned = found if isinstance(found, tuple) else (found,)
        if len(returned) < self.count or any(r is not None for r in returned[self.count :]):
            raise RuntimeError(
                f"backward: {self.cls.__name__}.backward returned {len(returned)} gradients for {self.count} arguments"
            )
        wanted = [returned[i] for i in self.places]
        for r in wanted:
            if r is not None and not isinstance(r, Tensor):
                raise TypeError(
                    f"backward: {self.cls.__name__}.backward returned a {type(r).__name__}; takes tensors, None"
                )
        if is_recorded:
            return wanted
        ours = {id(owner_of(x.array)) for x in gradients if x is not None}  # all else may be somebody's
        return [None if r is None else r.array if id(owner_of(r.array)) in ours else r.array.copy() for r in wanted]


def _tensor(value: Any) -> Tensor:
    """An array of the graph's, or a tensor that it was recorded with, as a tensor."""
    return value if isinstance(value, Tensor) else wrapped(value)

"""Results that alias an argument, a captured tensor or another result: views of it at each call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ..backend import Array, is_array
from ..graph import Value
from ..graph.grad_mode import enable_grad
from ..graph.saved_tensors import share_storage, version_counter
from .operations import evaluate
from .tracing.proxies import ProxyArray

Steps = list[tuple[Any, dict[str, Any]]]


class ViewOutput(NamedTuple):
    """The result is a view.

    Attributes:
        base: from the call's arguments and results, what it is a view of.
        kind: what it is, a type of tensors or None for an array.
        steps: from the one to the other: primitives where a gradient passes, operations on arrays else, with settings.
        differentiable: whether a gradient passes.
    """

    base: Callable[[list[Any], list[Any]], Any]
    kind: type[Value] | None
    steps: Steps
    differentiable: bool

    def of(self, given: list[Any], results: list[Any]) -> Any:
        """The result of a call."""
        base = self.base(given, results)
        if self.differentiable:
            with enable_grad():
                for primitive, params in self.steps:
                    base = primitive(base, **params)
            return base
        array: Array = getattr(base, "array", base)
        for op, params in self.steps:
            array = evaluate(op, [array], params)
        if self.kind is None:
            return array
        made = self.kind.wrap(array)
        if is_array(base):
            version_counter.lend(base)
        else:
            share_storage(base, made)
        return made


def find_views(
    tracer: Any, given: list[Any], results: list[Any], carries_gradient: Callable[[Any], bool]
) -> dict[int, ViewOutput]:
    """Which results are views, by place.

    Args:
        given: what the function got as its arguments.
        results: the values of its result.
        carries_gradient: whether a gradient passes through a tensor to what was there before the call.
    """
    outside: dict[int, tuple[Any, Any]] = {}
    of_tensors = {tracer.program.sources.get(var) for *_, var in tracer.tensors}
    for array, traced, source in tracer.arrays.values():
        if not source.per_call and source not in of_tensors:
            outside[id(traced)] = (array, lambda given, _results, source=source: source.read(given))
    for tensor, _ in tracer.captures.values():
        outside[id(tensor.array)] = (tensor, lambda _given, _results, tensor=tensor: tensor)
    for i, x in enumerate(given):
        if isinstance(x, Value) or type(x) is ProxyArray:
            outside[id(getattr(x, "array", x))] = (x, lambda given, _results, i=i: given[i])
    found = _views_of(outside, results, carries_gradient)
    inside: dict[int, tuple[Any, Any]] = {}
    for k, y in enumerate(results):
        if k not in found and isinstance(y, Value) and (id(y.array) not in inside or carries_gradient(y)):
            inside[id(y.array)] = (y, lambda _given, results, k=k: results[k])
    return _views_of(inside, results, carries_gradient) | found


def _views_of(
    bases: dict[int, tuple[Any, Any]], results: list[Any], carries_gradient: Callable[[Any], bool]
) -> dict[int, ViewOutput]:
    found: dict[int, ViewOutput] = {}
    for k, y in enumerate(results):
        array = getattr(y, "array", y)
        differentiable = isinstance(y, Value) and carries_gradient(y)
        if type(array) is not ProxyArray or (isinstance(y, Value) and y.node is not None and not differentiable):
            continue  # the second: a variable
        for viewed, steps in _bases(array):
            base, read = bases.get(id(viewed), (y, None))
            if base is y or read is None:
                continue
            taken = _primitives(y, base) if differentiable else steps
            if taken is not None:
                found[k] = ViewOutput(read, type(y) if isinstance(y, Value) else None, taken, differentiable)
    return found


def _bases(array: ProxyArray) -> Iterator[tuple[ProxyArray, Steps]]:
    """What an array is a view of, from near to far, and how to get from there to it."""
    steps: Steps = []
    while True:
        yield array, steps
        viewed = array.viewed
        if viewed is None or viewed.taken is None:
            return
        if viewed.taken[0]:
            steps = [viewed.taken, *steps]
        array = viewed.base


def _primitives(view: Any, base: Any) -> Steps | None:
    """How a tensor is a view of another one, by primitives; None if it is not known to be."""
    steps: Steps = []
    view_of = getattr(view, "view_of", None)
    while view_of is not None:
        viewed, primitive, params, view_of = view_of
        steps = [(primitive, params), *steps]
        if viewed() is base:
            return steps
    return None

"""`mode="verify"`: each call runs the function as it is, puts everything back, runs the program, and compares the two.

What is compared, and put back, is what the function can reach: its arguments, what it finds by name, and what that
holds: arrays, gradients, modules, the state of optimizers, where generators stand, numbers, lists and dictionaries.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from types import NoneType
from typing import Any

from ..autodiff import sweep
from ..backend import Array, array_module, backend_of, is_array
from ..backend import numpy_module as numpy
from ..backend.pytree import leaves
from ..graph import Leaf, Value
from ..graph.tracing_hook import CompileError
from ..tensor.rng import Generator, default_generator
from .guards import is_compiled
from .names import attributes, has_attributes, is_filled, is_library, names_in
from .tracing.joint_graph import without_hooks

_TOLERANCE = {"f": 2e-4, "d": 1e-9, "F": 2e-4, "D": 1e-9, "e": 5e-3}  # of the largest element, by dtype
_LEFT_OUT = (types.ModuleType, types.BuiltinFunctionType, str, bytes)


class Reach:
    """What a function can reach, by the way that leads there, and how it was."""

    def __init__(self, function: Any, given: Any) -> None:
        self.found: dict[str, Any] = {}
        self._seen: set[int] = set()
        self._walk("the arguments", given)
        self._walk("the function", function)
        self._walk("the default generator", default_generator)
        self._before = [(x, _state(x)) for x in self.found.values()]

    def _walk(self, name: str, x: Any) -> None:
        todo = [(name, x)]
        while todo:
            name, x = todo.pop()
            if id(x) in self._seen or isinstance(x, _LEFT_OUT) or x is None:
                continue
            self._seen.add(id(x))
            if is_compiled(x):  # whose programs are no part of what is computed
                todo.append((name, x.function))
                continue
            parts = [*_parts(x)]
            if parts or isinstance(x, Value | list | dict | Generator) or is_array(x) or _is_object(x):
                self.found[name] = x
            todo += [(f"{name}{way}", part) for way, part in reversed(parts)]

    def put_back(self) -> None:
        """Let everything be as it was."""
        for x, state in self._before:
            _restore(x, state)

    def now(self) -> dict[str, Any]:
        """The numbers that are there."""
        return {name: number for way, x in self.found.items() for name, number in _numbers(way, x)}


def _parts(x: Any) -> Iterator[tuple[str, Any]]:
    """What something holds, and by what name."""
    if isinstance(x, Value):
        leaf = _leaf(x)
        if leaf is not None and leaf.grad is not None:
            yield ".grad", leaf.grad
    elif isinstance(x, (list, tuple)):
        yield from ((f"[{i}]", part) for i, part in enumerate(x))
    elif isinstance(x, dict):
        yield from ((f"[{key!r}]", part) for key, part in x.items())
    elif isinstance(x, types.MethodType):
        yield from ((": self", x.__self__), (": function", x.__func__))
    elif isinstance(x, partial):
        yield from (
            (": function", x.func),
            *((f": argument {i}", part) for i, part in enumerate(x.args)),
            (": keywords", x.keywords),
        )
    elif isinstance(x, types.FunctionType):
        if not is_library(x.__module__):
            cells = zip(x.__code__.co_freevars, x.__closure__ or (), strict=True)
            yield from ((f": {name}", cell.cell_contents) for name, cell in cells if is_filled(cell))
            names = sorted(names_in(x.__code__))
            yield from ((f": {name}", x.__globals__[name]) for name in names if name in x.__globals__)
            yield from ((f": {name}", named) for name in names for named in _of_modules(x, name))
            yield (": defaults", [x.__defaults__, x.__kwdefaults__])
    elif isinstance(x, type):
        if not is_library(x.__module__):
            yield from ((f".{key}", part) for key, part in vars(x).items() if not key.startswith("__"))
    elif hasattr(x, "__dict__") or has_attributes(x):
        yield from ((f".{key}", part) for key, part in attributes(x).items())
        if has_attributes(x):
            yield from ((f": class {kind.__name__}", kind) for kind in type(x).__mro__)


def _of_modules(function: types.FunctionType, name: str) -> list[Any]:
    """What the user's modules that a function names have by this name."""
    held = [function.__globals__.get(other) for other in names_in(function.__code__)]
    return [
        vars(x)[name]
        for x in held
        if isinstance(x, types.ModuleType) and not is_library(x.__name__) and name in vars(x)
    ]


def _leaf(x: Value) -> Leaf | None:
    """The leaf that keeps the gradient of a tensor, which may be frozen now."""
    leaf = x.node if x.node is not None else getattr(x, "_former_keeper", None)
    return leaf if isinstance(leaf, Leaf) else None


def _state(x: Any) -> Any:
    if isinstance(x, Value):
        leaf = _leaf(x)
        return x.array, x.array.copy(), x.node, leaf, leaf and leaf.grad
    if is_array(x):
        return x.copy()
    if isinstance(x, (list, dict)):
        return x.copy()
    if isinstance(x, Generator):
        return x.get_state()
    return attributes(x) if _is_object(x) else None


def _is_object(x: Any) -> bool:
    """Whether this has attributes that a call may change; those of classes and functions it must not."""
    return (hasattr(x, "__dict__") or has_attributes(x)) and not isinstance(x, types.FunctionType | type | partial)


def _restore(x: Any, state: Any) -> None:
    if isinstance(x, Value):
        x.array, numbers, x.node, leaf, grad = state
        if getattr(x.array.flags, "writeable", True):
            array_module(x.array).copyto(x.array, numbers)
        if leaf is not None:
            leaf.grad = grad
    elif is_array(x):
        if getattr(x.flags, "writeable", True):
            array_module(x).copyto(x, state)
    elif isinstance(x, list):
        x[:] = state
    elif isinstance(x, dict):
        x.clear()
        x.update(state)
    elif isinstance(x, Generator):
        x.set_state(state)
    elif state is not None:
        for key in attributes(x).keys() - state.keys():
            delattr(x, key)
        for key, value in state.items():
            object.__setattr__(x, key, value)


def _numbers(name: str, x: Any) -> Iterator[tuple[str, Any]]:
    """What is compared of something: arrays on the host, Python numbers, lengths."""
    if isinstance(x, Value):
        yield name, backend_of(x.array).to_host(x.array).copy()
        leaf = _leaf(x)
        if leaf is not None:
            grad = leaf.grad
            yield f"{name}.grad", None if grad is None else backend_of(grad.array).to_host(grad.array).copy()
    elif is_array(x):
        yield name, backend_of(x).to_host(x).copy()
    elif isinstance(x, Generator):
        yield f"{name}: where it stands", x.get_state()
    elif isinstance(x, (list, dict)) or _is_object(x):
        entries = enumerate(x) if isinstance(x, list) else (x if isinstance(x, dict) else attributes(x)).items()
        plain = {key: value for key, value in entries if isinstance(value, (bool, int, float, str, type(None)))}
        yield f"{name}: its numbers", plain


def _outcome(call: Callable[..., Any], function: Any, args: Any, kwargs: Any) -> tuple[Any, dict[str, Any]]:
    """The result of a call, and all that is to be compared: what was replaced is found by the way that leads there."""
    result = call(*args, **kwargs)
    reach = Reach(function, [args, kwargs])
    found = {}
    results = leaves(result)
    for k, y in enumerate(results):
        array = getattr(y, "array", y)
        found[f"result {k}"] = backend_of(array).to_host(array).copy() if is_array(array) else y
    found |= reach.now()
    return result, found | dict(_gradients(results, reach))


def _gradients(results: list[Any], reach: Reach) -> Iterator[tuple[str, Any]]:
    """Of a weighted sum of all results, by what can be reached: the sum alone of a softmax has none but rounding."""
    roots = {y.node: y.array for y in results if isinstance(y, Value) and not isinstance(y.node, Leaf | NoneType)}
    inputs = {way: x.node for way, x in reach.found.items() if isinstance(x, Value) and isinstance(x.node, Leaf)}
    found: dict[Any, Any] = {}
    if roots and inputs:
        seeds = [(node, _weights(y)) for node, y in roots.items()]
        with without_hooks(inputs.values()), suppress(RuntimeError):  # of results that backward() inside has used up
            found = sweep(seeds, [*inputs.values()], retain_graph=True)
    for way, node in inputs.items():
        g = found.get(node)
        yield f"the gradient by {way}", None if g is None else backend_of(g).to_host(g).copy()


def _weights(y: Array) -> Array:
    xp = array_module(y)
    return (1 + xp.sin(xp.arange(y.size)) / 2).astype(y.dtype).reshape(y.shape)


def verified(name: str, function: Callable[..., Any], run: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """The program's result, if the function as it is does the same.

    Raises:
        CompileError: if anything differs by more than rounding; it says what differs first.
    """
    reach = Reach(function, [args, kwargs])
    failed: Exception | None = None
    expected: dict[str, Any] = {}
    try:
        _, expected = _outcome(function, function, args, kwargs)
    except Exception as error:
        failed = error
    finally:
        reach.put_back()
    result, found = _outcome(run, function, args, kwargs)  # which may raise an error of its own
    if failed is not None:
        raise CompileError(f"compile: {name} raises {failed!r}, and its program does not") from failed
    largest = max(map(_largest, expected.values()), default=0.0)  # what cancels has the rounding of what it is made of
    for what, before in expected.items():
        share = 1e-1 if "grad" in what else 1e-2  # gradients cancel most, as those of a normalised layer's sum do
        difference = _difference(found.get(what), before, share * min(largest, 1.0))
        if difference:
            raise CompileError(f"compile: {name} and its program differ: {what} {difference}")
    return result


def _difference(found: Any, expected: Any, least: float) -> str:
    """How far two things are apart, in words; empty if they agree. `least`: what counts as large."""
    if not isinstance(expected, numpy.ndarray) or not isinstance(found, numpy.ndarray):
        same = found == expected or (found != found and expected != expected)
        return "" if same else f"is {found!r:.60}, and should be {expected!r:.60}"
    if (found.shape, found.dtype) != (expected.shape, expected.dtype):
        return f"is {found.dtype}{found.shape}, and should be {expected.dtype}{expected.shape}"
    if _close(found, expected, least):
        return ""
    with numpy.errstate(all="ignore"):
        place = numpy.unravel_index(numpy.argmax(numpy.nan_to_num(abs(found - expected), nan=numpy.inf)), found.shape)
    at = tuple(map(int, place))
    return f"at {at} is {found[place]}, and should be {expected[place]}"


def _close(found: Array, expected: Array, least: float) -> bool:
    bound = _TOLERANCE.get(expected.dtype.char)
    if bound is None:
        return bool(numpy.array_equal(found, expected))
    return bool(
        numpy.allclose(found, expected, rtol=bound, atol=bound * max(_largest(expected), least), equal_nan=True)
    )


def _largest(x: Any) -> float:
    """The largest finite size among the elements of an array; 0 for what is none."""
    if not isinstance(x, numpy.ndarray) or x.dtype.char not in _TOLERANCE:
        return 0.0
    return float(abs(x[numpy.isfinite(x)]).max(initial=0.0))

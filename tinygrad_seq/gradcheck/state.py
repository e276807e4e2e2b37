"""What a checked function touches besides its arguments is put back: modules, buffers, gradients, random generators."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from ..backend import array_module, is_array
from ..backend.dispatch import at
from ..graph import Leaf, Value
from ..graph.saved_tensors import version_counter
from ..tensor.rng import Generator, default_generator

host: Any = array_module(0.0)

DEPTH = 30  # how far to follow what a function refers to: models of many levels


def reachable(f: Any) -> list[Any]:
    """What a function refers to: objects that it closes over or names, their attributes, what containers hold."""
    found: dict[int, Any] = {}
    todo = [(f, 0)]
    while todo:
        x, depth = todo.pop()
        if isinstance(x, BuiltinFunctionType):  # as `generator.random`
            x = x.__self__
        if id(x) in found or x is None or isinstance(x, (type, ModuleType, str, bytes, int, float)):
            continue
        if type(x).__module__.partition(".")[0] == "builtins" and not isinstance(
            x, (FunctionType, MethodType, list, tuple, dict, set)
        ):
            continue
        found[id(x)] = x
        if depth < DEPTH:
            todo += [(part, depth + 1) for part in _parts(x)]
    return list(found.values())


def _parts(x: Any) -> list[Any]:
    if isinstance(x, FunctionType):
        cells = [cell.cell_contents for cell in x.__closure__ or () if _filled(cell)]
        if _is_from("tinygrad_seq", x):  # whose globals are not the user's
            return [*cells, *(x.__defaults__ or ()), *(x.__kwdefaults__ or {}).values(), *vars(x).values()]
        named = [x.__globals__[name] for name in x.__code__.co_names if name in x.__globals__]
        inner = [code for code in x.__code__.co_consts if hasattr(code, "co_names")]
        named += [x.__globals__[n] for code in inner for n in code.co_names if n in x.__globals__]
        return [*cells, *named, *(x.__defaults__ or ()), *(x.__kwdefaults__ or {}).values(), *vars(x).values()]
    if isinstance(x, MethodType):
        return [x.__self__, x.__func__]
    if isinstance(x, dict):
        return list(x.values())
    if isinstance(x, (list, tuple, set)):
        return list(x)
    if is_array(x) or isinstance(x, Value):
        return []
    if _is_from("tinygrad_seq.compiler", type(x)):  # of a compiled function, not its programs
        return [getattr(x, "function", None)]
    call = vars(type(x)).get("__call__")
    own = [getattr(x, name) for name in ("func", "args", "keywords", "function") if name in dir(type(x))]
    return [*getattr(x, "__dict__", {}).values(), *own, *([call] if isinstance(call, FunctionType) else [])]


def _is_from(package: str, x: Any) -> bool:
    """Whether a function or class stands in this package."""
    return f"{x.__module__}.".startswith(f"{package}.")


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - an empty one raises
    except ValueError:
        return False
    return True


class Surroundings:
    """The modules, tensors, arrays and generators that a function refers to, as they are now."""

    def __init__(self, f: Any, apart_from: Sequence[Any] = ()) -> None:
        known = {id(x) for x in apart_from}  # which the check itself replaces and puts back
        self._each_time: list[Callable[[], None]] = []
        shared = _putting_back_generators()
        for x in reachable(f):
            if id(x) in known:
                continue
            if isinstance(x, Value):
                self._tensor(x)
            elif is_array(x):
                if x.dtype.kind in "biufc" and x.flags.writeable:
                    self._each_time.append(_putting_back_numbers(x))
            elif hasattr(x, "named_modules") and hasattr(x, "training"):
                self._each_time.append(_putting_back_attributes(x))
            elif _is_from("torch", type(x)) and hasattr(x, "data_ptr"):
                self._each_time.append(_putting_back_torch(x))
            else:
                self._each_time += _putting_back_generator(x)
        self._at_the_end = shared

    def _tensor(self, x: Value) -> None:
        self._each_time.append(_putting_back_numbers(x.array))
        self._each_time += [partial(setattr, x, "array", x.array), partial(setattr, x, "node", x.node)]
        leaf = x.node
        if isinstance(leaf, Leaf):
            self._each_time.append(partial(setattr, leaf, "grad", leaf.grad))

    def put_back(self) -> None:
        """What one call of the function changed, but for the generators that everybody shares."""
        for undo in self._each_time:
            undo()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """At the end all is as it was, however the end comes."""
        try:
            yield
        finally:
            self.put_back()
            self._at_the_end()


def _putting_back_numbers(array: Any) -> Callable[[], None]:
    with at(array):
        before = array.copy()

    def undo() -> None:
        with at(array):
            if not bool(((array == before) | ((array != array) & (before != before))).all()):
                array_module(array).copyto(array, before)
                version_counter.bump(array)

    return undo


def _putting_back_torch(x: Any) -> Callable[[], None]:
    before, leaf, grad = x.detach().clone(), x.is_leaf, x.grad if x.is_leaf else None

    def undo() -> None:
        import torch

        if leaf and not x.is_leaf and not x._is_view():  # written to in place
            x.detach_()
        with torch.no_grad():
            if not torch.equal(x.detach(), before):
                x.data.copy_(before)
        if x.is_leaf and x.grad is not grad:
            x.grad = grad

    return undo


def _putting_back_generator(x: Any) -> list[Callable[[], None]]:
    """Of a random generator of one's own: each call draws the same. None for what is no generator."""
    import random  # here, because few import it

    if isinstance(x, host.random.Generator):
        x = x.bit_generator
    if isinstance(x, host.random.BitGenerator):
        return [partial(setattr, x, "state", x.state)]
    if isinstance(x, random.Random) and not isinstance(x, random.SystemRandom):
        return [partial(x.setstate, x.getstate())]
    if isinstance(x, (Generator, host.random.RandomState)) or (
        _is_from("torch", type(x)) and type(x).__name__ == "Generator"
    ):
        return [partial(x.set_state, x.get_state())]
    return []


def _putting_back_attributes(module: Any) -> Callable[[], None]:
    """All attributes, and what stands in those that are lists, dictionaries and sets."""
    before = dict(vars(module))
    inside = [(x, x.copy()) for x in before.values() if type(x) in (list, dict, set)]

    def undo() -> None:
        own = vars(module)
        if any(own.get(name, own) is not value for name, value in before.items()) or len(own) != len(before):
            own.clear()
            own.update(before)
        for x, content in inside:
            if x != content if not isinstance(x, (list, dict)) else _differ(x, content):
                x.clear()
                x.extend(content) if isinstance(x, list) else x.update(content)

    return undo


def _differ(x: Any, content: Any) -> bool:
    """Whether containers hold other objects; equality of what they hold may not be asked for."""
    if len(x) != len(content):
        return True
    if isinstance(x, dict):
        return any(x.get(key, x) is not value for key, value in content.items())
    return any(a is not b for a, b in zip(x, content, strict=True))


def _putting_back_generators() -> Callable[[], None]:
    """The random generators that everybody shares: ours, NumPy's, Python's, PyTorch's."""
    state = generators()

    def undo() -> None:
        restore_generators(state)

    return undo


def generators() -> tuple[Any, ...]:
    """Where the shared generators stand."""
    import random

    torch = sys.modules.get("torch")
    return (
        default_generator.get_state(),
        host.random.get_state(),
        random.getstate(),
        torch.random.get_rng_state() if torch and hasattr(torch, "random") else None,
    )


def restore_generators(state: tuple[Any, ...]) -> None:
    """Go back to where `generators` was called."""
    default_generator.set_state(state[0])
    host.random.set_state(state[1])
    sys.modules["random"].setstate(state[2])
    if state[3] is not None:
        sys.modules["torch"].random.set_rng_state(state[3])

"""What lists, dictionaries and arrays held: copies of them, and whether what is there now is like that."""

from __future__ import annotations

import types
from array import array
from collections import deque
from collections.abc import Iterable
from operator import is_
from typing import Any, NamedTuple

from ..backend import numpy_module as numpy

NUMBERS = (bool, int, float, complex)
PLAIN = (*NUMBERS, str, bytes, type(None))
_LISTS = (list, deque, bytearray)
CONTAINERS = (*_LISTS, dict, set, array, numpy.ndarray)
ANY = object()  # in place of a number that may be another
_MOST = 1 << 20  # bytes of a NumPy array whose elements are compared at each call


class _Elements(NamedTuple):
    """What an array holds: bytes, so that 0.0 is not -0.0, and nan is itself."""

    kind: str
    shape: tuple[int, ...]
    data: bytes

    @staticmethod
    def of(x: Any) -> _Elements:
        if isinstance(x, array):
            return _Elements(x.typecode, (len(x),), x.tobytes())
        return _Elements(x.dtype.str, x.shape, x.tobytes())


def copies(values: Iterable[Any]) -> list[tuple[Any, Any]]:
    """What holds something among values and inside them: lists, dictionaries, sets, arrays; each with a copy."""
    found: dict[int, tuple[Any, Any]] = {}
    todo = [*values]
    while todo:
        x = todo.pop()
        if isinstance(x, PLAIN) or id(x) in found:
            continue
        if isinstance(x, numpy.ndarray):
            if x.nbytes <= _MOST and not x.dtype.hasobject:
                found[id(x)] = (x, _Elements.of(x))
        elif isinstance(x, array):
            found[id(x)] = (x, _Elements.of(x))
        elif isinstance(x, (*_LISTS, dict, set)):
            found[id(x)] = (x, x.copy())
            todo += x.values() if isinstance(x, dict) else x if isinstance(x, (list, deque)) else ()
        elif isinstance(x, tuple):
            todo += x
    return [*found.values()]


def copies_within(x: Any, inside: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Of containers with their copies, those that lie in x."""
    reached = {id(container) for container, _ in copies([x])}
    return [(container, before) for container, before in inside if id(container) in reached]


def refill(container: Any, content: Any) -> None:
    """Let a container hold what it held."""
    if isinstance(container, numpy.ndarray):
        container.shape = content.shape
        numpy.copyto(container, numpy.frombuffer(content.data, container.dtype).reshape(container.shape))
    elif isinstance(container, array):
        container[:] = array(content.kind, content.data)
    elif isinstance(container, (list, bytearray)):
        container[:] = content
    else:
        container.clear()
        (container.extend if isinstance(container, deque) else container.update)(content)


def alike(now: Any, before: Any) -> bool:
    """Whether a program that was recorded with one is right for the other."""
    if now is before or before is ANY:
        return True
    kind = type(now)
    if kind is list and kind is type(before) and len(now) == len(before) and all(map(is_, now, before)):
        return True  # as nearly always
    if isinstance(now, NUMBERS):
        return type(now) is type(before) and repr(now) == repr(before)  # 0.0 is not -0.0, and nan is itself
    if isinstance(now, (numpy.ndarray, array)):
        return isinstance(before, _Elements) and _Elements.of(now) == before
    if isinstance(now, (list, tuple, deque)):
        return (
            type(now) is type(before)
            and len(now) == len(before)
            and (all(map(is_, now, before)) or all(map(alike, now, before)))
        )
    if isinstance(now, dict) and isinstance(before, dict):
        same = len(now) == len(before) and all(map(is_, now, before)) and all(map(is_, now.values(), before.values()))
        return same or ([*now] == [*before] and all(alike(v, before[k]) for k, v in now.items()))
    if isinstance(now, types.MethodType) and isinstance(before, types.MethodType):
        return now.__func__ is before.__func__ and now.__self__ is before.__self__
    plain = (str, bytes, set, frozenset, bytearray)
    return isinstance(now, plain) and type(now) is type(before) and bool(now == before)

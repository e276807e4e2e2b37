"""What of a call a program is recorded for: the form of its arguments, their kinds, and what a function can see."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..backend import SCALAR, Array, backend_of, is_array, numpy_backend
from ..graph import Leaf, Node, Value
from ..graph.tracing_hook import CompileError
from .names import attributes


def varying_numbers(now: tuple[Any, ...], known: Iterable[tuple[Any, ...]]) -> set[int]:
    """Which arguments are numbers that differ from those of a call that was like this one else."""
    found: set[int] = set()
    for before in known:
        differ = [i for i, (a, b) in enumerate(zip(now, before, strict=True)) if _differ(a, b)]
        if all(now[i][0] in (int, float) and now[i][0] is before[i][0] for i in differ):
            found.update(differ)
    return found


def _differ(a: Any, b: Any) -> bool:
    try:
        return bool(a != b)
    except Exception:  # objects of a user's class that cannot be compared, as those that hold tensors
        return True


def tree_structure(tree: Any, found: list[Any]) -> Any:
    """The structure of a container, as something to look up by; its leaves are added to those found before."""
    if isinstance(tree, Value):
        found.append(tree)
        return 0
    if isinstance(tree, (list, tuple)):
        return (_container_key(tree), tuple([tree_structure(value, found) for value in tree]))
    if isinstance(tree, dict):
        return (_container_key(tree), tuple([(key, tree_structure(value, found)) for key, value in tree.items()]))
    if tree is None:
        return None
    if isinstance(tree, Iterator):
        raise CompileError(
            f"compile: an argument is a {type(tree).__name__}, which recording would use up; pass list(...) of it"
        )
    found.append(tree)
    return 0


def container_types(tree: Any) -> set[type[Any]]:
    """The types of containers, nested at will, that are a user's own: with methods and attributes."""
    if not isinstance(tree, (list, tuple, dict)):
        return set()
    parts = tree.values() if isinstance(tree, dict) else tree
    return {type(tree)}.union(*map(container_types, parts)) - {list, tuple, dict}


def _container_key(tree: Any) -> Any:
    """The type of a container; of one of the user's own, with the attributes that it has besides."""
    kind = type(tree)
    if kind is tuple or kind is list or kind is dict:
        return kind
    held = attributes(tree)
    if not held:
        return kind
    for name, x in held.items():
        if isinstance(x, Value) or is_array(x):
            raise CompileError(
                f"compile: an argument is a {kind.__name__} with a tensor or an array as its attribute {name!r}, which "
                "a program would not look up; pass it by itself"
            )
    return kind, tuple([(name, guard_key(x)) for name, x in held.items()])


def aliased_arguments(given: list[Any]) -> tuple[int, ...]:
    """Which arguments are the array of an earlier one, and which have its node: for each, the place of the first."""
    first: dict[int, int] = {}
    arrays = [getattr(x, "array", x) for x in given]
    nodes = [getattr(x, "node", None) for x in given]
    places = [first.setdefault(id(a), i) if hasattr(a, "dtype") else i for i, a in enumerate(arrays)]
    return tuple(places + [i if n is None else first.setdefault(id(n), i) for i, n in enumerate(nodes)])


def guard_key(x: Any) -> Any:
    """What of an argument a program depends on."""
    if isinstance(x, Value):
        grad = x.node.has_grad if isinstance(x.node, Leaf) else None
        hooks = tuple(map(id, getattr(x.node, "hooks", ()))) if Node.any_hooks else ()
        return (type(x), x.array.shape, x.array.dtype, x.node is not None, grad, _where(x.array), hooks)
    if isinstance(x, SCALAR):
        return (type(x), repr(x))  # a number
    if is_array(x):
        return (type(x), x.shape, x.dtype, _where(x))
    try:
        hash(x)
    except TypeError:
        raise CompileError(
            f"compile: an argument is a {type(x).__name__}, of which a program cannot tell whether it has changed; "
            "pass tensors, arrays, numbers and strings, in lists, tuples and dictionaries"
        ) from None
    return (type(x), repr(x) if isinstance(x, float) else x)  # 0.0 is not -0.0, and nan is itself


def _where(array: Array) -> Any:
    """The device of an array; None for the CPU, where nearly all are."""
    return None if isinstance(array, numpy_backend.ndarray) else backend_of(array).device_name(array)

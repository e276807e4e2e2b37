"""Operations on a GPU: in few launches, and where there are several GPUs on that of the operands.

CuPy computes on the GPU that is current, so each operation makes the one of its operands current. Without a GPU all
this costs a look at an empty list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from functools import cache, partial
from typing import Any

from .backend import on_gpu as on_gpu
from .backend import several_gpus as several_gpus

launchers: list[Callable[[], Callable[..., Any]]] = []  # gives `fused`, which the compiler has: the package says where


def at(*operands: Any) -> Any:
    """A context in which the GPU of the first array, or tensor, is the current one."""
    index = next(_indices(operands), None) if several_gpus else None
    return nullcontext() if index is None else several_gpus[0].on(index)


def there(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, to be called where its positional arguments are, in as few launches as it takes.

    It raises a ValueError if they are on several GPUs: CuPy would fetch one of them in silence.
    """
    return partial(_call, function)


def _call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not several_gpus:
        return _launcher()(on_gpu[0], function, args, kwargs)
    if len(set(_indices(args))) > 1:
        raise ValueError("operands are on several GPUs")
    with at(*args):
        return _launcher()(on_gpu[0], function, args, kwargs)


@cache
def _launcher() -> Callable[..., Any]:
    return launchers[0]()


def _indices(operands: Iterable[Any]) -> Iterator[int]:
    backend = several_gpus[0]
    for x in operands:
        x = getattr(x, "array", x)
        if isinstance(x, (tuple, list)):
            yield from _indices(x)
        elif isinstance(x, backend.ndarray):
            yield backend.device_index(x)

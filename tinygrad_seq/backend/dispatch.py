"""Operations on a GPU: in few launches, and where there are several GPUs on that of the operands.

CuPy computes on the GPU that is current, so each operation makes the one of its operands current. Without a GPU all
this costs a look at an empty list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

from . import Array
from . import on_gpu as on_gpu
from . import several_gpus as several_gpus

# gives `launcher`, which the compiler has: the package says where
launchers: list[Callable[[], Callable[..., Any]]] = []
known: dict[tuple[Any, ...], Callable[..., Any]] = {}  # what to call for functions of the engine, which stay


def at(*operands: Any) -> Any:
    """A context in which the GPU of the first array, or tensor, is the current one."""
    index = next(_indices(operands), None) if several_gpus else None
    return nullcontext() if index is None else several_gpus[0].on(index)


def copied(array: Array) -> Array:
    """A copy, on the same GPU."""
    with at(array):
        return array.copy()


def on_operand_device(*functions: Callable[..., Any]) -> Callable[..., Any]:
    """The function, to be called on the GPU of its positional arguments, in as few launches as it takes.

    Of several functions, one that returns the tuple of what they do. It raises a ValueError if its arguments are on
    several GPUs: CuPy would fetch one of them in silence.
    """
    made = known.get(functions)
    if made is None:
        if all(str(getattr(f, "__module__", "")).startswith("tinygrad_seq.ops.") for f in functions):
            made = known[functions] = launchers[0]()(*functions)
        else:  # a user's is called as it is, once, and not kept
            made = functions[0] if len(functions) == 1 else partial(_each, functions)
    return partial(_on_one_gpu, made) if several_gpus else made


def _each(functions: tuple[Callable[..., Any], ...], *args: Any, **kwargs: Any) -> tuple[Any, ...]:
    return tuple([function(*args, **kwargs) for function in functions])


def _on_one_gpu(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if len(set(_indices(args))) > 1:
        raise ValueError("operands are on several GPUs")
    with at(*args):
        return function(*args, **kwargs)


def _indices(operands: Iterable[Any]) -> Iterator[int]:
    backend = several_gpus[0]
    for x in operands:
        x = getattr(x, "array", x)
        if isinstance(x, (tuple, list)):
            yield from _indices(x)
        elif isinstance(x, backend.ndarray):
            yield backend.device_index(x)

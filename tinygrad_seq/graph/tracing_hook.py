"""The recording of `tg.compile`, if one is under way: what the engine tells it, and asks of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..backend import backend_of

tracers: list[Any] = []  # the `Tracer`s of functions that are being recorded, the innermost last

watched: list[tuple[type[Any], str]] = []  # classes of `nn`, and what a tracer has to know about each: see `watch`


class CompileError(RuntimeError):
    """Something in a compiled function cannot be replayed: it depends on values that are not known beforehand."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        if (tracer := current_tracer()) is not None:
            tracer.refuses(self)


def current_tracer() -> Any:
    """The tracer that records in this thread; None where nothing is recorded."""
    return tracers[-1] if tracers and tracers[-1].mine() else None


def watch(owner: type[Any], what: str) -> None:
    """Tell tracers of a class: what is read of its objects ("reads"), or changed there ("state", "param_groups")."""
    watched.append((owner, what))


def varies(x: Any) -> bool:
    """Whether a program is being recorded in which the numbers in a tensor may be others at each replay."""
    tracer = current_tracer()
    return tracer is not None and not tracer.is_constant(x.array)


def padded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` for rows of which some hold nothing, in what `name` records: see `require_unpadded`."""

    def call(*args: Any) -> Any:
        tracer = tracers[-1]
        before, tracer.padded = tracer.padded, name
        try:
            return function(*args)
        finally:
            tracer.padded = before

    return call


def require_unpadded(what: str) -> None:
    """Raise a CompileError if rows that hold nothing are among those that `what` is about to depend on."""
    tracer = current_tracer()
    if tracer is not None and tracer.padded:
        raise CompileError(
            f"compile: where lengths or a mask are tensors, {tracer.padded} goes over all T steps, and {what} with "
            "the padding, too. Pass the lengths as a list, or leave this part uncompiled"
        )


def require(check: Callable[..., None], *tensors: Any) -> None:
    """Let a check look at the arrays of tensors, now and at each replay; it raises if it does not like them."""
    if (tracer := current_tracer()) is not None:
        tracer.captured(tensors)
    arrays = [getattr(x, "array", x) for x in tensors]
    backend_of(arrays[0]).verify(check, *arrays)

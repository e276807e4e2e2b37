"""Messages: what is sent, and that a function under observation sends nothing until its program runs."""

from __future__ import annotations

from typing import Any

from ..backend import Array, backend_of, is_array
from ..backend import numpy_module as numpy
from ..graph.tracing_hook import CompileError, current_tracer


class Message:
    """One collective operation, with its settings, in a group of more than one. Subclasses say which."""

    def shape(self, x: Array) -> tuple[int, ...]:
        """That of the result."""
        return tuple(x.shape)

    def alone(self, x: Array, *_: Any) -> Array:
        """What comes of it without other ranks: with that, a function that is recorded goes on."""
        return x.copy()

    def transfer(self, x: Array, out: Array, *rest: Any) -> None:
        """Send an array that lies in one piece on the host, and let another one have what comes of it."""
        raise NotImplementedError

    def __call__(self, x: Array, *rest: Any, out: Array = None) -> Array:
        """Send an array; what comes of it, in `out` if that is given.

        Args:
            rest: numbers, or arrays of one element.
        """
        backend = backend_of(x)
        host = numpy.ascontiguousarray(backend.to_host(x))
        numbers = [float(backend_of(a).to_host(a)) if is_array(a) else a for a in rest]
        there = out is not None and host is x and out.flags.c_contiguous
        result = out if there else numpy.empty(self.shape(host), host.dtype)
        self.transfer(host, result, *numbers)
        if there or (out is None and host is x):
            return result
        if out is None:
            return backend.asarray(result, None, int(backend.device_name(x).partition(":")[2] or 0))
        backend_of(out).xp.copyto(out, backend_of(out).asarray(result))
        return out


def send(message: Message, x: Array, *rest: Any) -> Array:
    """Send an array, or let the program that is being recorded send it at each call."""
    if (tracer := current_tracer()) is not None:
        return tracer.collective(message, x, *rest)
    return message(x, *rest)


def described(x: Array) -> str:
    """An array in messages: its dtype and shape."""
    return f"{x.dtype}{list(x.shape)}"


def outside(name: str) -> None:
    """Raise a CompileError while a function is recorded: what has no result cannot be a part of its program."""
    if (tracer := current_tracer()) is not None:
        raise CompileError(f"compile: {name}() is called inside; call it outside ({tracer.line()})")

"""Messages: what is sent, and that a function under observation sends nothing until its program runs."""

from __future__ import annotations

from typing import Any

from ..backend import Array, array_module, backend_of, is_array, numpy_backend
from ..backend.dispatch import at
from ..graph.tracing_hook import CompileError, current_tracer
from .group import Group


class Message:
    """One collective operation, with its settings, in a group of more than one. Subclasses say which."""

    group: Group

    def shape(self, x: Array) -> tuple[int, ...]:
        """That of the result."""
        return tuple(x.shape)

    def alone(self, x: Array, *_: Any) -> Array:
        """What comes of it without other ranks: with that, a function that is recorded goes on."""
        return x.copy()

    def transfer(self, x: Array, out: Array, *rest: Any) -> None:
        """Send an array that lies in one piece, on the host or where it is, and let another have what comes of it."""
        raise NotImplementedError

    def __call__(self, x: Array, *rest: Any, out: Array = None) -> Array:
        """Send an array; what comes of it, in `out` if that is given.

        Args:
            rest: numbers, or arrays of one element.
        """
        backend = backend_of(x)
        stays = backend is numpy_backend or self.group.link.on_gpu
        given = x if stays else backend.to_host(x)
        given = given if given.flags.c_contiguous else given.copy()
        numbers = [float(backend_of(a).to_host(a)) if is_array(a) else a for a in rest]
        there = out is not None and given is x and out.flags.c_contiguous
        with at(given):
            result = out if there else array_module(given).empty(self.shape(given), given.dtype)
            self.transfer(given, result, *numbers)
        if there or (out is None and stays):
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


def described(x: Array, group: Group) -> str:
    """An array in messages: its dtype and shape, and whether it is sent from a GPU."""
    there = group.size > 1 and group.link.on_gpu and backend_of(x) is not numpy_backend
    return f"{x.dtype}{list(x.shape)}" + " on a GPU" * there


def outside(name: str) -> None:
    """Raise a CompileError while a function is recorded: what has no result cannot be a part of its program."""
    if (tracer := current_tracer()) is not None:
        raise CompileError(f"compile: {name}() is called inside; call it outside ({tracer.line()})")

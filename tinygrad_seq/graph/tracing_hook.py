"""The recording of `tg.compile`, if one is under way: what the engine tells it, and asks of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..backend import backend_of

active: list[Any] = []  # the recorder of `compiler`, while it watches a function; empty else


watched: list[tuple[type[Any], str]] = []  # classes of `nn`, and what a recorder has to know about each: see `watch`


class CompileError(RuntimeError):
    """Something in a compiled function cannot be replayed: it depends on values that are not known beforehand."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        if active and active[-1].mine():
            active[-1].refuses(self)


def watch(owner: type[Any], what: str) -> None:
    """Tell recorders of a class: what is read of its objects ("reads"), or changed there ("state", "param_groups")."""
    watched.append((owner, what))


def require(check: Callable[..., None], *tensors: Any) -> None:
    """Let a check look at the arrays of tensors, now and at each replay; it raises if it does not like them."""
    if active and active[-1].mine():
        active[-1].captured(tensors)
    arrays = [getattr(x, "array", x) for x in tensors]
    backend_of(arrays[0]).verify(check, *arrays)

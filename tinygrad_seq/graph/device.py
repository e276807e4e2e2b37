"""Devices by name, and which one new tensors are created on."""

from __future__ import annotations

import os
from contextvars import ContextVar, Token
from typing import Any

from ..backend import SCALAR, Array, backend_for, backend_of, is_array
from .tracing_hook import current_tracer


class device:
    """Where tensors live: "cpu", "cuda" (the first GPU) or "cuda:N". As a context manager: where new ones are made.

    >>> with tg.device("cuda"):
    ...     x = tg.zeros(3)
    """

    def __init__(self, name: str | device) -> None:
        kind, _, index = str(name).partition(":")
        if kind not in ("cpu", "cuda") or (index and not index.isdigit()) or (kind == "cpu" and int(index or 0)):
            raise ValueError(f"device: got {str(name)!r}; takes 'cpu', 'cuda' or 'cuda:N'")
        self.type = kind
        self.index: int = int(index or 0)
        self._tokens: list[tuple[Token[device | None], int | None]] = []

    @property
    def backend(self) -> Any:
        """The backend module of this device; a RuntimeError says what is missing if it cannot be used here."""
        tracer = current_tracer()
        return self.backend_module if tracer is None else tracer.backend_on(self)

    @property
    def backend_module(self) -> Any:
        """The same, also while something is recorded."""
        return backend_for(self.type, self.index)

    def __enter__(self) -> device:
        backend = self.backend_module  # fails here, not at the first tensor
        before = None
        if self.type == "cuda":  # CUDA has a current device of its own
            before = backend.current_device()
            backend.use(self.index)
        self._tokens.append((_default.set(self), before))
        return self

    def __exit__(self, *_: object) -> None:
        token, before = self._tokens.pop()
        _default.reset(token)
        if before is not None:
            self.backend_module.use(before)

    def __str__(self) -> str:
        return "cpu" if self.type == "cpu" else f"cuda:{self.index}"

    def __repr__(self) -> str:
        return f"device('{self}')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (device, str)) and str(self) == str(device(other))

    def __hash__(self) -> int:
        return hash(str(self))


_default: ContextVar[device | None] = ContextVar("default_device", default=None)
VARIABLE = "TINYGRAD_SEQ_DEVICE"  # of the environment


def _from_environment() -> device:
    name = os.environ.get(VARIABLE) or "cpu"
    try:
        return device(name)
    except ValueError:
        raise ValueError(f"the environment variable {VARIABLE} is {name!r}; takes 'cpu', 'cuda' or 'cuda:N'") from None


_process_default = _from_environment()


def default_device() -> device:
    """The device of the innermost `with device(...)` block, or what `set_default_device` said.

    Else what $TINYGRAD_SEQ_DEVICE says, and without it the CPU.
    """
    return _default.get() or _process_default


def set_default_device(name: str | device) -> None:
    """Create new tensors on this device, in all threads, from now on."""
    global _process_default
    chosen = device(name)
    backend = chosen.backend_module  # fails here, not at the first tensor
    if chosen.type == "cuda":
        backend.use(chosen.index)
    _process_default = chosen


def resolve(name: str | device | None) -> device:
    """The device of that name; the default one for None."""
    return default_device() if name is None else device(name)


def device_of(array: Array) -> device:
    """The device that an array lives on."""
    return device(backend_of(array).device_name(array))


def home_of(data: Any) -> device:
    """Where a tensor of this data is made, if nobody says: what is on a GPU stays there."""
    array = getattr(data, "array", data)
    found = device_of(array) if is_array(array) else None
    return default_device() if found is None or found.type == "cpu" else found


def beside(array: Array, data: Any) -> Array:
    """Numbers and lists as an array on the device of another one. What is an array stays where it is."""
    if is_array(data) and not isinstance(data, SCALAR):
        return data
    here = device_of(array)
    return here.backend.asarray(data, None, here.index)

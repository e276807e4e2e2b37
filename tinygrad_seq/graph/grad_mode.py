"""Whether what is computed is recorded."""

from __future__ import annotations

from contextlib import ContextDecorator
from contextvars import ContextVar, Token
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from typing import Any

grad_enabled: ContextVar[bool] = ContextVar("grad_enabled", default=True)
# whether what runs is going to be differentiated a second time
double_backward: ContextVar[bool] = ContextVar("double_backward", default=False)


def is_grad_enabled() -> bool:
    """Whether applying a primitive to tensors that require a gradient is recorded, in this thread or async task."""
    return grad_enabled.get()


class grad_mode(ContextDecorator):
    """Switch recording on or off in a `with` block or a decorated function, in this thread or async task alone."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled
        self._tokens: list[Token[bool]] = []

    def __enter__(self) -> None:
        self._tokens.append(grad_enabled.set(self._enabled))

    def __exit__(self, *_: object) -> None:
        grad_enabled.reset(self._tokens.pop())

    def _recreate_cm(self) -> grad_mode:
        """One of its own for each call of a decorated function, which may run in several threads."""
        return grad_mode(self._enabled)

    def __call__(self, function: Any) -> Any:
        kind = getattr(getattr(function, "__code__", None), "co_flags", 0)
        if kind & (CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR):  # whose body runs after the call
            raise TypeError(
                f"no_grad: '{function.__name__}' is a generator or a coroutine, which a decorator does not reach into; "
                "write `with tg.no_grad():` inside of it, around what lies between two yields or awaits"
            )
        return super().__call__(function)


def no_grad() -> grad_mode:
    """Context manager (and decorator): nothing inside is recorded."""
    return grad_mode(False)


def enable_grad() -> grad_mode:
    """Context manager (and decorator): recording is on inside, also within a `no_grad` block."""
    return grad_mode(True)


def inference_mode(mode: bool = True) -> grad_mode:
    """As `no_grad`; with mode=False, recording stays as it is."""
    if not isinstance(mode, bool):
        raise TypeError(f"inference_mode: takes True or False, got {mode!r}")
    return grad_mode(False if mode else is_grad_enabled())


class set_grad_enabled(grad_mode):
    """Switch recording on or off: from now on, or as a context manager (or decorator) inside."""

    def __init__(self, mode: bool) -> None:
        if not isinstance(mode, bool):
            raise TypeError(f"set_grad_enabled: takes True or False, got {mode!r}")
        super().__init__(mode)
        self._before = is_grad_enabled()
        grad_enabled.set(mode)

    def __enter__(self) -> None:
        grad_enabled.set(self._enabled)

    def __exit__(self, *_: object) -> None:
        grad_enabled.set(self._before)

    def __call__(self, function: Any) -> Any:
        grad_enabled.set(self._before)
        return super().__call__(function)

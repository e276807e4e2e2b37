"""Where a nan or an infinity comes from: `detect_anomaly`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import isfinite
from typing import Any

from ..backend import array_module, is_array, numpy_module
from ..graph import observers

_PACKAGE = __file__.rpartition("autodiff")[0]
_lines: ContextVar[dict[int, str] | None] = ContextVar("lines", default=None)  # by node number, the line that made it


@contextmanager
def detect_anomaly() -> Iterator[None]:
    """Inside, the first operation whose result is not finite though its operands are raises an error that names it.

    The same goes for the rules of the backward pass; there, the error names the line of the forward pass. All results
    are looked at, so this is for finding a mistake, not for training. In this thread or async task alone.

    Raises:
        RuntimeError: naming the operation, the index of the first such number, and the source line.
    """
    token = _lines.set({})
    observers.append(_look)
    try:
        yield
    finally:
        observers.remove(_look)
        _lines.reset(token)


def _look(primitive: Any, operands: Any, results: Any, node: Any, backward: bool) -> None:
    """Called after each application of a primitive, and after each rule of the backward pass."""
    lines = _lines.get()
    if lines is None:  # another thread's
        return
    if not backward and node is not None:
        lines[node.number] = _source_line()
    for result in results if isinstance(results, (tuple, list)) else (results,):
        bad = _first_not_finite(result)
        if bad is not None and all(_first_not_finite(x) is None for x in operands):
            index, value = bad
            where = f"at index {list(index)} of shape {result.shape}" if index else "as its result"
            line = lines.get(node.number, "an operation outside detect_anomaly") if node is not None else _source_line()
            what = "the gradient rule of " if backward else ""
            raise RuntimeError(
                f"detect_anomaly: {what}'{primitive.name}' gave {value} {where}, from finite operands; {line}"
            )


def _first_not_finite(x: Any) -> tuple[tuple[int, ...], float] | None:
    """The index and value of the first nan or infinity of an array."""
    x = getattr(x, "array", x)
    if isinstance(x, float) and not isfinite(x):
        return (), x
    if not is_array(x) or x.dtype.kind not in "fc":
        return None
    xp = array_module(x)
    bad = ~xp.isfinite(x)
    if not bool(bad.any()):
        return None
    place = int(bad.reshape(-1).argmax())
    index = tuple([int(i) for i in numpy_module.unravel_index(place, x.shape)]) if x.ndim else ()
    return index, x[index].item()


def _source_line() -> str:
    """The innermost line outside of this package that is being executed, and its file."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_name}"

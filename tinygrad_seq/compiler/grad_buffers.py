"""The gradients that a program leaves: they stay where it made them, and are copied out when somebody looks."""

from __future__ import annotations

import sys
import weakref
from typing import Any

from ..backend import Array, array_module
from ..backend.dispatch import at
from ..graph import LazyGrad, Leaf
from ..tensor import Tensor
from .locks import lock
from .program import Var


class _Lent(LazyGrad):
    """A gradient in memory that the next call will write to.

    Attributes:
        array: where it lies; None while the function runs, so that nobody looks at half of what it makes.
        last: the tensor that it was copied to when somebody looked last time; it is taken again if nobody has kept it.
        lock: held while it is copied, or taken back.
    """

    def __init__(self, lock: Any) -> None:
        self.lock = lock
        self.array: Array = None
        self.last: Tensor | None = None

    def take(self) -> Tensor | None:
        with self.lock:
            if self.array is None:
                return None
            with at(self.array):
                if self.last is not None and self._is_free():
                    array_module(self.array).copyto(self.last.array, self.array)
                else:
                    self.last = Tensor.wrap(self.array.copy())
            return self.last

    def _is_free(self) -> bool:
        if _holders(self) > _ALONE:
            return False
        last: Any = self.last
        return last.node is None and sys.getrefcount(last.array) <= 2


def _holders(lent: _Lent) -> int:
    return sys.getrefcount(lent.last)


_PROBE: Any = _Lent(None)
_PROBE.last = object()
_ALONE = _holders(_PROBE)  # the count of what is held here alone


class GradientOutputs:
    """Leaves them, at each call.

    Args:
        wanted: leaves, or the places of arguments that are leaves, each with its gradient, None for none.
    """

    def __init__(self, wanted: list[tuple[Leaf | int, Var | None]]) -> None:
        self.wanted = wanted
        self._lock = lock()
        self._lent = [None if made is None else _Lent(self._lock) for _, made in wanted]
        self._left: list[tuple[Leaf, _Lent]] = []  # last time
        weakref.finalize(self, _settle, self._left).atexit = False

    def of(self, given: list[Any]) -> list[Leaf]:
        """The leaves of a call with these arguments."""
        return [given[leaf].node if isinstance(leaf, int) else leaf for leaf, _ in self.wanted]

    def release(self, leaves: list[Leaf]) -> None:
        """Before a call for these leaves: what nobody has looked at is gone, but for leaves that it does not reach."""
        reached = {id(leaf) for leaf in leaves}
        with self._lock:
            for leaf, lent in self._left:
                if leaf.holds(lent):
                    if id(leaf) in reached:
                        leaf.grad = None
                        lent.last = None  # who does not look does not need the memory
                    else:
                        _settle([(leaf, lent)])
            for lent in filter(None, self._lent):
                lent.array = None
            self._left.clear()

    def leave(self, leaves: list[Leaf], values: dict[Var, Array]) -> None:
        """Let the leaves have the gradients that were made."""
        for leaf, lent, (_, made) in zip(leaves, self._lent, self.wanted, strict=True):
            if lent is not None and made is not None:
                lent.array = values[made]
                self._left.append((leaf, lent))
            leaf.grad = lent


def _settle(left: list[tuple[Leaf, _Lent]]) -> None:
    """Copy out what nobody has looked at yet: its memory goes."""
    for leaf, lent in left:
        if leaf.holds(lent):
            _ = leaf.grad

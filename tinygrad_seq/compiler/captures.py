"""The arrays that a program takes from outside: looked up at each call, and checked only where they are others.

Most are the same arrays call after call, parameters and an optimizer's state, whose check need not be repeated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from operator import is_
from typing import Any

from ..backend import Array
from ..graph.saved_tensors import owner_of
from .program import Program, Source


class CapturedInputs:
    """The sources of a program, static ones first.

    Args:
        program: whose sources; they are put into that order.
        written: the sources that the function changes.
    """

    def __init__(self, program: Program, written: Collection[Source]) -> None:
        static = {v: source for v, source in program.sources.items() if not source.per_call}
        per_call = {v: source for v, source in program.sources.items() if source.per_call}
        program.sources = static | per_call
        self._read_static = [source.read for source in static.values()]
        self._read_per_call = [source.read for source in per_call.values()]
        self._shapes = [(v.shape, v.dtype) for v in program.sources]
        self._count = len(static)
        self._written = [source in written for source in program.sources.values()]
        self._known: list[Array] = [None] * len(static)
        self._owners: Counter[int] = Counter()  # of static ones, by id
        self._changing: set[int] = set()  # which of these are written to
        self._shared = False  # whether something else shares the memory of one

    def arrays(self, given: list[Any], executor: Any) -> list[Array] | None:
        """What is there at a call; None if the program, or what runs it, is not right for that.

        Raises:
            AttributeError, LookupError: if something is gone that was there, as an optimizer's state.
        """
        static = [read(given) for read in self._read_static]
        per_call = [read(given) for read in self._read_per_call]
        arrays = static + per_call
        if not all(map(is_, static, self._known)):
            if not self._fit(static, 0, executor):
                return None
            self._known = static
            owners = [id(_memory(a)) for a in static]
            self._owners = Counter(owners)
            self._changing = {owner for owner, written in zip(owners, self._written, strict=False) if written}
            self._shared = any(self._owners[owner] > 1 for owner in self._changing)
        if not self._fit(per_call, self._count, executor) or len({*map(id, arrays)}) < len(arrays):
            return None  # the second: an argument is a captured tensor now, and was none
        return None if self._shared or (True in self._written and self._overlap(per_call)) else arrays

    def _fit(self, arrays: list[Array], start: int, executor: Any) -> bool:
        shapes = self._shapes[start : start + len(arrays)]
        return executor.fits(arrays) and [(a.shape, a.dtype) for a in arrays] == shapes

    def _overlap(self, per_call: list[Array]) -> bool:
        """Whether an argument shares its memory with something else, of which one or the other is written to."""
        owners = [id(_memory(a)) for a in per_call]
        changing = {owner for owner, written in zip(owners, self._written[self._count :], strict=True) if written}
        changing |= self._changing
        return any(owner in changing and self._owners[owner] + owners.count(owner) > 1 for owner in owners)


def _memory(array: Array) -> Any:
    """What the memory of an array belongs to: an array, or what one was made of, as a bytearray."""
    owner = owner_of(array)
    base = getattr(owner, "base", None)
    return owner if base is None else getattr(base, "obj", base)

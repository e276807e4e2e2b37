"""What a recorded function must not do: change what it finds by name, take from an iterator, draw from elsewhere."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from ..backend import numpy_module as numpy
from ..graph.tracing_hook import CompileError
from .guards import LookupGuard
from .names import Names


class PurityCheck:
    """How all that a function can find was before it is recorded, so that it is so afterwards.

    Args:
        name: of the function.
        names: what it can find.

    Raises:
        CompileError: if that is an iterator, which recording would use up.
    """

    def __init__(self, name: str, names: Names) -> None:
        self._name = name
        for x in names.iterators:
            called = next((place.name or place.key for place in names.places if place.holds(x)), "a list")
            raise CompileError(
                f"compile: {name} takes from {called!r}, a {type(x).__name__}, which a replay would not do again; take "
                "the next one outside, and pass it as an argument"
            )
        places = [place for place in names.places if place.how != "cache"]  # which may be filled
        self.lookups: LookupGuard = LookupGuard([*places, *names.of_modules])
        self._generators = [(what, put, get, get()) for what, get, put in _generators(names.found)]

    def put_back(self) -> None:
        """Let everything be as it was.

        Raises:
            CompileError: if something was not, for a replay would not change it again.
        """
        changed = self.lookups.put_back()
        moved = []
        for what, put, get, before in self._generators:
            if _plain(get()) != _plain(before):
                put(before)
                moved.append(what)
        if changed is not None:
            raise CompileError(
                f"compile: {self._name} changes {changed}, which a replay would not do again; return what is to go "
                "there"
            )
        if moved:
            raise CompileError(
                f"compile: {self._name} draws from {moved[0]}, which a replay would not do again; draw with "
                "tg.rand and its like, or outside, and pass it as an argument"
            )


def _generators(found: Iterable[Any]) -> Iterator[tuple[str, Callable[[], Any], Callable[[Any], Any]]]:
    """Random generators that are none of ours: what they are, and what gets and sets where they stand."""
    yield "Python's random", random.getstate, random.setstate
    yield "numpy.random", numpy.random.get_state, numpy.random.set_state
    for x in found:
        if isinstance(x, random.Random):
            yield "a random.Random", x.getstate, x.setstate
        elif isinstance(x, numpy.random.RandomState):
            yield "a numpy.random.RandomState", x.get_state, x.set_state
        elif isinstance(x, numpy.random.Generator):
            bits = x.bit_generator
            yield "a numpy.random.Generator", partial(getattr, bits, "state"), partial(setattr, bits, "state")


def _plain(state: Any) -> Any:
    """A state as something that can be compared."""
    if isinstance(state, dict):
        return [(key, _plain(x)) for key, x in state.items()]
    parts = state if isinstance(state, tuple) else (state,)
    return [x.tobytes() if isinstance(x, numpy.ndarray) else x for x in parts]

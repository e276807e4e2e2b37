"""What a run of a function did beside computing, so that `checkpoint` can run it again to the same effect.

The parts of the engine and of `nn` that do such things say so here: who draws random numbers, writes to memory, assigns
to attributes, calls hooks, or puts other parameters into a module for a while. Where no checkpointed function runs,
that costs a look at an empty tuple.
"""

from __future__ import annotations

import weakref
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from ..backend import Array, array_module
from ..backend.dispatch import at, copied
from .device import default_device, device
from .saved_tensors import owner_of, version_counter

T = TypeVar("T")

Reentrant = Callable[[], AbstractContextManager[Any]]

_runs: ContextVar[tuple[Run, ...]] = ContextVar("runs", default=())  # those under way, the innermost last
_contexts: ContextVar[tuple[Reentrant, ...]] = ContextVar("contexts", default=())
_MISSING = object()


class Run:
    """The first run of a function, or another one that follows it.

    Attributes:
        contexts: the reentrant contexts that it runs in.
    """

    def __init__(self) -> None:
        self.contexts: tuple[Reentrant, ...] = _contexts.get()
        self._device = default_device()
        self._effects: dict[Any, list[Any]] = defaultdict(list)
        self._generators: dict[int, tuple[Any, Any]] = {}
        self._memory: dict[int, tuple[weakref.ref[Any], Array]] = {}  # as it was before the run first wrote to it
        self._attributes: dict[tuple[int, str], tuple[Any, str, Any]] = {}
        self._following: dict[Any, deque[Any]] | None = None

    @contextmanager
    def first(self) -> Iterator[None]:
        """The context of the first run."""
        token = _runs.set((*_runs.get(), self))
        try:
            yield
        finally:
            _runs.reset(token)
            # what is gone now was the function's own
            self._memory = {key: entry for key, entry in self._memory.items() if entry[0]() is not None}

    @contextmanager
    def again(self) -> Iterator[Callable[[], AbstractContextManager[None]]]:
        """A context in which everything outside is as the first run found it; afterwards it is as it was before.

        It gives the context of the run itself: the backward pass through it belongs into the outer one, too.
        """
        with ExitStack() as stack:
            for generator, _ in self._generators.values():
                stack.callback(generator.set_state, generator.get_state())
            for ref, _ in self._memory.values():
                owner = ref()
                if owner is not None:
                    stack.callback(_put_back, owner, copied(owner), version_counter.write_time(id(owner)))
            for owner, name, _ in self._attributes.values():
                stack.callback(_assign, owner, name, vars(owner).get(name, _MISSING))
            self.undo()
            yield self._running

    def undo(self) -> None:
        """Let everything outside be as the run found it."""
        for generator, state in self._generators.values():
            generator.set_state(state)
        for ref, array in self._memory.values():
            owner = ref()
            if owner is not None:
                _write(owner, array)
        for owner, name, value in self._attributes.values():
            _assign(owner, name, value)

    @contextmanager
    def _running(self) -> Iterator[None]:
        follower = Run()
        follower._following = {key: deque(noted) for key, noted in self._effects.items()}
        with ExitStack() as stack:
            if default_device() != self._device:
                stack.enter_context(device(self._device))
            if follower.contexts != self.contexts:
                for context in self.contexts:
                    stack.enter_context(reentrant(context))
            token = _runs.set((*_runs.get(), follower))
            try:
                yield
            finally:
                _runs.reset(token)

    def did(self, own: Collection[int]) -> str:
        """What the run did beside computing, in words: "" if nothing. Memory with the ids in `own` does not count."""
        if self._generators:
            return "draws random numbers"
        if not self._memory.keys() <= {*own}:
            return "writes to memory"
        if self._attributes:
            return "assigns to an attribute"
        return "calls what must not be called twice, such as hooks" if self._effects else ""

    def wrote_to(self, key: int) -> bool:
        """Whether the run wrote to the memory of this id."""
        return key in self._memory


def once(key: Any, effect: Callable[[], T], otherwise: T) -> T:
    """What `effect()` returns, or when a function is run again, what it returned the first time.

    Args:
        key: tells the effects of one place from those of others.
        otherwise: what to return where the first run did not come.
    """
    runs = _runs.get()
    if not runs:
        return effect()
    found = next((run._following for run in runs if run._following is not None), None)
    if found is None:
        result = effect()
    else:
        noted = found.get(key)
        result = noted.popleft() if noted else otherwise
    for run in runs:
        run._effects[key].append(result)
    return result


def draws(generator: Any) -> None:
    """A generator is about to draw."""
    for run in _runs.get():
        run._generators.setdefault(id(generator), (generator, generator.get_state()))


def writes(*arrays: Array) -> None:
    """Memory is about to be written."""
    for run in _runs.get():
        for owner in map(owner_of, arrays):
            known = run._memory.get(id(owner))
            if known is None or known[0]() is not owner:
                run._memory[id(owner)] = (weakref.ref(owner), copied(owner))


def assigns(owner: Any, name: str) -> None:
    """An attribute is about to be assigned, or deleted."""
    for run in _runs.get():
        run._attributes.setdefault((id(owner), name), (owner, name, vars(owner).get(name, _MISSING)))


@contextmanager
def reentrant(context: Reentrant) -> Iterator[Any]:
    """`with context():`, which is entered again when what runs inside is."""
    token = _contexts.set((*_contexts.get(), context))
    try:
        with context() as value:
            yield value
    finally:
        _contexts.reset(token)


def _write(array: Array, numbers: Array) -> None:
    with at(array):
        array_module(array).copyto(array, numbers)


def _put_back(array: Array, numbers: Array, time: int) -> None:
    """Write the numbers that were there at this time; no change, if they are the same ones."""
    with at(array):
        same = not bool(((array != numbers) & ((array == array) | (numbers == numbers))).any())
    _write(array, numbers)
    version_counter.bump(array)
    if same:
        version_counter.set_write_time(array, time)


def _assign(owner: Any, name: str, value: Any) -> None:
    """Set an attribute as it was, past what the class makes of an assignment."""
    if value is _MISSING:
        vars(owner).pop(name, None)
    else:
        vars(owner)[name] = value

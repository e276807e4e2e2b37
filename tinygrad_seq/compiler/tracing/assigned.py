"""Attributes of modules that a watched call assigns to: those that each call computes anew, and those to be refused.

One that is read, too, holds a state, as that of a recurrent network between calls. It is found out at the end of a
call; the next recording takes what it reads there as it takes an argument.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

from ...backend.pytree import leaves, rebuild
from ...graph import Leaf, Value
from ...graph.tracing_hook import CompileError
from ..snapshots import alike

_NOTHING = object()


class StateFound(Exception):
    """Attributes were read and assigned, which the recorder did not know before: `places` are modules and names."""

    def __init__(self, places: list[tuple[int, str]]) -> None:
        super().__init__()
        self.places = places


class Assigned:
    """What one call assigns.

    Attributes:
        left: the attributes that get a tensor which the call computes, or a tuple of them: each call leaves one
            there, as weights that are dropped out anew, or a state. With each how the tuple is built.
    """

    def __init__(self, tracer: Any) -> None:
        self._tracer = tracer
        self._before: dict[tuple[int, str], tuple[Any, str, Any]] = {}
        self.left: list[tuple[Any, str, Any]] = []
        self.made: WeakValueDictionary[int, Any] = WeakValueDictionary()  # modules that the call makes, by identity

    def note(self, module: Any, name: str) -> None:
        """An attribute is about to be another one."""
        if id(module) not in self.made:
            self._before.setdefault((id(module), name), (module, name, vars(module).get(name, _NOTHING)))

    def is_own(self, module: Any, name: str, value: Any) -> bool:
        """Whether an attribute is of the call's making, so that it need not be the same at each."""
        return id(module) in self.made or (id(module), name) in self._before or self._is_result(value)

    def computed(self) -> list[Any]:
        """The tensors that are `left`.

        Raises:
            StateFound: if some are a state, which has to be recorded as one.
        """
        found: list[Any] = []
        states: list[tuple[int, str]] = []
        for place, (module, name, old) in self._before.items():
            value = vars(module).get(name)
            made = leaves(value) if isinstance(value, Value | tuple) else []
            if not made or any(not self._is_result(x) or isinstance(x.node, Leaf) for x in made):
                continue
            if place not in self._tracer.attribute_reads.states and self._is_read(module, name, old):
                if self.is_state(old) and place not in self._tracer.states:
                    states.append(place)
                elif leaves(old):
                    continue
            self.left.append((module, name, rebuild(value, iter([0] * len(made)))))
            found += made
        if states:
            raise StateFound(states)
        return found

    def _is_read(self, module: Any, name: str, old: Any) -> bool:
        """Whether the call has looked at what was there, other than as a state."""
        read = name in self._tracer.attribute_reads.of_modules.get(id(module), ())
        return read or (isinstance(old, Value) and self._tracer.overlay.knows(old))

    def is_state(self, x: Any) -> bool:
        """Whether this is a constant tensor, or a tuple of them."""
        parts = leaves(x) if isinstance(x, Value | tuple) else []
        return bool(parts) and all(isinstance(y, Value) and self._tracer.overlay.plain(y)[1] is None for y in parts)

    def _is_result(self, x: Any) -> bool:
        return isinstance(x, Value) and self._tracer.overlay.is_recorded(x)

    def put_back(self) -> None:
        """Let attributes be what they were; what a replay cannot change is refused."""
        left = {(id(module), name) for module, name, _ in self.left}
        changed = [
            (module, name)
            for module, name, old in self._before.values()
            if (id(module), name) not in left and not alike(vars(module).get(name, _NOTHING), old)
        ]
        for module, name, old in self._before.values():
            if old is _NOTHING:
                vars(module).pop(name, None)
            else:
                vars(module)[name] = old
        self._before.clear()
        if changed:
            module, name = changed[0]
            self._tracer.refuses(
                CompileError(
                    f"compile: {self._tracer.name} assigns to the attribute {name!r} of a {type(module).__name__}, "
                    "which a replay would not do again; return the value, and assign it outside. It may assign tensors "
                    "that it computes, detached if it reads that attribute, too"
                )
            )

"""Attributes of modules that a watched call assigns to: those that each call computes anew, and those to be refused."""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

from ...graph import Leaf, Value
from ...graph.tracing_hook import CompileError
from ..snapshots import alike

_NOTHING = object()


class Assigned:
    """What one call assigns.

    Attributes:
        left: the attributes that get a tensor which the call computes, and that it did not read before: each call
            leaves one there, as weights that are dropped out anew.
    """

    def __init__(self, tracer: Any) -> None:
        self._tracer = tracer
        self._before: dict[tuple[int, str], tuple[Any, str, Any]] = {}
        self.left: list[tuple[Any, str]] = []
        self.made: WeakValueDictionary[int, Any] = WeakValueDictionary()  # modules that the call makes, by identity

    def note(self, module: Any, name: str) -> None:
        """An attribute is about to be another one."""
        if id(module) not in self.made:
            self._before.setdefault((id(module), name), (module, name, vars(module).get(name, _NOTHING)))

    def is_own(self, module: Any, name: str, value: Any) -> bool:
        """Whether an attribute is of the call's making, so that it need not be the same at each."""
        return id(module) in self.made or (id(module), name) in self._before or self._is_result(value)

    def computed(self) -> list[Any]:
        """The tensors that are `left`."""
        found = []
        for module, name, old in self._before.values():
            value = vars(module).get(name)
            seen = isinstance(old, Value) and self._tracer.overlay.knows(old)
            unread = name not in self._tracer.attribute_reads.of_modules.get(id(module), ()) and not seen
            if unread and self._is_result(value) and not isinstance(value.node, Leaf):
                self.left.append((module, name))
                found.append(value)
        return found

    def _is_result(self, x: Any) -> bool:
        return isinstance(x, Value) and self._tracer.overlay.is_recorded(x)

    def put_back(self) -> None:
        """Let attributes be what they were; what a replay cannot change is refused."""
        left = {(id(module), name) for module, name in self.left}
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
                    "which a replay would not do again; return the value, and assign it outside. What it computes it "
                    "may assign, if it has not read that attribute before"
                )
            )

"""Attributes that a watched call looks up: of modules, and of the objects of classes that are watched."""

from __future__ import annotations

import sys
from typing import Any

from ...backend.pytree import leaves, rebuild
from ..guards import Place, reader
from .symbolic_scalar import SymbolicScalar

_WHOLE = ("__dict__", "__getstate__", "__reduce__", "__reduce_ex__")  # by which all attributes are read


def _top_of(frame: Any) -> str:
    """The package whose code runs in a frame."""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _kinds(x: Any) -> Any:
    """The types in a tuple, nested at will, and its own."""
    return (type(x), [_kinds(y) for y in x]) if isinstance(x, tuple) else type(x)


class AttributeReads:
    """What one call looks up, and must find again.

    Attributes:
        modules: those of which it looks up any attribute, by identity.
        of_modules: the names of these attributes, by the identity of the module.
        of_objects: the names that are looked up of objects that are no modules.
        read_whole: the objects and modules all of whose attributes are looked up, by identity.
        states: what stands for an attribute that holds a state, by the identity of the module and the name.
        symbolic: the numbers among the attributes of modules that may be others at the next call, by place.
    """

    def __init__(self, tracer: Any) -> None:
        self._tracer = tracer
        self.modules: dict[int, Any] = {}
        self.of_modules: dict[int, set[str]] = {}
        self.of_objects: set[str] = set()
        self.read_whole: dict[int, Any] = {}
        self.states: dict[tuple[int, str], Any] = {}
        self.symbolic: dict[Any, SymbolicScalar] = {}

    def looks_up(self, x: Any, name: str, value: Any = None) -> Any:
        """An attribute of an object is looked up, by whatever name."""
        if name == "__dict__":
            self.read_whole[id(x)] = x
        self.of_objects.add(name)
        return value

    def misses(self, module: Any, name: str) -> None:
        """An attribute of a module is looked up, which has none by this name."""
        if id(module) not in self._tracer.assigned.made:
            self.modules[id(module)] = module
            self.of_modules.setdefault(id(module), set()).add(name)

    def reads(self, module: Any, name: str, value: Any) -> Any:
        """An attribute of a module is looked up: it must be the same at each call, or a symbolic number."""
        if self._tracer.assigned.is_own(module, name, value):
            return value
        known = self.of_modules.get(id(module))
        if known is None:
            known = self.of_modules[id(module)] = set()
            self.modules[id(module)] = module
        may_be = (id(module), name) in self._tracer.states and vars(module).get(name) is value
        if may_be and self._tracer.assigned.is_state(value):
            return self._state(module, name, value)
        known.add(name)
        if name in _WHOLE and _top_of(sys._getframe(2)) not in ("nn", "tinygrad_seq"):  # not by a method of Module
            known.update(vars(module))
            self.read_whole[id(module)] = module
        varying = self._tracer.varying
        if varying and type(value) in (int, float):
            held = vars(module)
            for place in (Place(held, name, "item"), Place(module, name, "attribute")):
                if place.identity in varying and (place.how == "attribute" or name in held):
                    return self._symbolic_number(place, value)
        return value

    def _state(self, module: Any, name: str, value: Any) -> Any:
        """What stands for a state: at each call the tensors that are there then, if they are such ones."""
        place = id(module), name
        if place not in self.states:
            held, kinds = vars(module), _kinds(value)

            def is_alike() -> bool:
                now = held.get(name)
                return _kinds(now) == kinds and all(x.node is None for x in leaves(now))

            self._tracer.guards.append(is_alike)
            stand_ins = [
                self._tracer.stand_in(x, f"an attribute {name!r}", lambda _args, k=k: leaves(held[name])[k].array)
                for k, x in enumerate(leaves(value))
            ]
            self.states[place] = rebuild(value, iter(stand_ins))
        return self.states[place]

    def _symbolic_number(self, place: Place, value: Any) -> SymbolicScalar:
        scalar = self.symbolic.get(place.identity)
        if scalar is None:
            scalar = self.symbolic[place.identity] = self._tracer.number(value, reader(place, type(value)))
        return scalar

"""While a function is recorded, what it looks at and changes outside lies beside it: nothing outside is ever touched.

The attributes that a function can change in the engine (the array and node of a tensor, the gradient of a leaf, where a
generator stands) are descriptors meanwhile, which ask the tracer in the thread that records, and give the plain value
everywhere else. So no look at a tensor's array can pass the tracer by, other threads see what they always see, and
there is nothing to put back, whatever happens.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from threading import Thread
from typing import Any

from ...graph import Leaf, Value
from ...graph.tracing_hook import CompileError, watched
from ...tensor.rng import Generator
from .proxies import ProxyArray


class Beside:
    """An attribute whose value lies in the overlay, for the thread that records.

    Args:
        owner: the class whose attribute it is: a slot, or one that lies in the `__dict__` of each object.
    """

    def __init__(self, overlay: Overlay, owner: type[Any], name: str) -> None:
        self._overlay, self._owner, self._name = overlay, owner, name
        self._plain: Any = owner.__dict__.get(name)  # the slot's descriptor
        self.values: dict[int, tuple[Any, Any]] = {}  # with the object, which keeps its id from being used again

    def install(self) -> None:
        setattr(self._owner, self._name, self)

    def remove(self) -> None:
        """Let the attribute be what it was. A second time it does nothing."""
        if self._owner.__dict__.get(self._name) is self:
            if self._plain is not None:
                setattr(self._owner, self._name, self._plain)
            else:
                delattr(self._owner, self._name)

    def plain(self, instance: Any) -> Any:
        """What is really there."""
        if self._plain is not None:
            return self._plain.__get__(instance)
        try:
            return instance.__dict__[self._name]
        except KeyError:
            raise AttributeError(self._name) from None

    def has(self, instance: Any) -> bool:
        """Whether there is something: an object that is being made has nothing yet."""
        try:
            self.plain(instance)
        except AttributeError:
            return False
        return True

    def put(self, instance: Any, value: Any) -> None:
        """Change what is really there."""
        if self._plain is not None:
            self._plain.__set__(instance, value)
        else:
            instance.__dict__[self._name] = value

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        if self._overlay.applies():
            known = self.values.get(id(instance))
            return known[1] if known is not None else self.first(instance)
        return self.plain(instance)

    def __set__(self, instance: Any, value: Any) -> None:
        if self._overlay.applies() and self.has(instance):
            self.values[id(instance)] = (instance, value)
        else:
            self.put(instance, value)

    def first(self, instance: Any) -> Any:
        """What the recorded function sees at its first look."""
        return self.plain(instance)


class _OfTensor(Beside):
    """An attribute of tensors. Those that are made by operations while it is recorded belong to the recording."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        if not self._overlay.applies() or self._overlay.is_recorded(instance):
            return self.plain(instance)
        known = self.values.get(id(instance))
        return known[1] if known is not None else self.first(instance)

    def __set__(self, instance: Any, value: Any) -> None:
        if not self._overlay.applies() or self._overlay.is_recorded(instance) or not self.has(instance):
            self.put(instance, value)
        else:
            self.values[id(instance)] = (instance, value)


class _Nodes(_OfTensor):
    """The nodes of tensors: it is noted whether one from outside has any."""

    def first(self, instance: Any) -> Any:
        node = self.plain(instance)
        self._overlay.tracer.asked(instance, node)
        return node


class _Arrays(_OfTensor):
    """The arrays of tensors: a tensor from outside is put under observation by the first look at its own."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is not None and not self._overlay.applies():
            self._overlay.tracer.seen_elsewhere(instance)
        return super().__get__(instance, owner)

    def put(self, instance: Any, value: Any) -> None:
        if type(value) is not ProxyArray and self._overlay.applies():
            self._overlay.made.add(id(instance))
        super().put(instance, value)

    def first(self, instance: Any) -> Any:
        self._overlay.tracer.capture(instance)
        return self.values[id(instance)][1]


class _Told(Beside):
    """An attribute of optimizers, whose numbers become symbolic: the tracer makes what lies beside."""

    def __init__(self, overlay: Overlay, owner: type[Any], name: str, make: Callable[[Any, Any], Any]) -> None:
        super().__init__(overlay, owner, name)
        self._make = make

    def first(self, instance: Any) -> Any:
        value = self._make(instance, self.plain(instance))
        self.values[id(instance)] = (instance, value)
        return value


class _Reads:
    """Tells the tracer which attributes of a class's objects are looked up, and of which there are none."""

    def __init__(
        self, overlay: Overlay, owner: type[Any], found: Callable[..., Any], missing: Callable[..., None]
    ) -> None:
        self._overlay, self._owner, self._found, self._missing = overlay, owner, found, missing
        self._own = owner.__dict__.get("__getattribute__")
        self.values: dict[int, Any] = {}

    def install(self) -> None:
        applies, found, missing = self._overlay.applies, self._found, self._missing
        plain: Any = self._owner.__getattribute__

        def look(instance: Any, name: str) -> Any:
            try:
                value = plain(instance, name)
            except AttributeError:
                if applies():
                    missing(instance, name)
                raise
            return found(instance, name, value) if applies() else value

        try:
            self._owner.__getattribute__ = look  # type: ignore[assignment]
        except (AttributeError, TypeError) as error:  # of a metaclass
            raise CompileError(
                f"compile: {self._overlay.tracer.name} looks up attributes of {self._owner.__name__}, by names that it "
                f"works out, and the class cannot be watched ({error}); write the names out"
            ) from error

    def remove(self) -> None:
        if self._own is not None:
            self._owner.__getattribute__ = self._own
        elif "__getattribute__" in self._owner.__dict__:
            del self._owner.__getattribute__


class _Hands:
    """Tells the tracer that the function hands work to another thread or process, which nobody watches."""

    def __init__(self, overlay: Overlay, owner: type[Any], name: str) -> None:
        self._overlay, self._owner, self._name = overlay, owner, name
        self._plain = getattr(owner, name)
        self.values: dict[int, Any] = {}

    def install(self) -> None:
        overlay, plain = self._overlay, self._plain

        def told(*args: Any, **kwargs: Any) -> Any:
            if overlay.applies():
                overlay.tracer.hands_over()
            return plain(*args, **kwargs)

        setattr(self._owner, self._name, told)

    def remove(self) -> None:
        setattr(self._owner, self._name, self._plain)


def _workers() -> Iterator[tuple[type[Any], str]]:
    """What hands work to others, and by which method, of the modules that somebody has imported."""
    yield Thread, "start"
    for module, name in ("thread", "ThreadPoolExecutor"), ("process", "ProcessPoolExecutor"):
        owner = getattr(sys.modules.get(f"concurrent.futures.{module}"), name, None)
        if owner is not None:
            yield owner, "submit"


class Overlay:
    """What lies beside for one tracer. Between `install` and `remove` its function sees and changes that."""

    def __init__(self, tracer: Any) -> None:
        self.tracer = tracer
        self.applies: Any = tracer.mine
        self.made: set[int] = set()  # tensors that the function makes of arrays from outside
        self._arrays, self._nodes = _Arrays(self, Value, "array"), _Nodes(self, Value, "node")
        others = [(Leaf, "_grad"), (Leaf, "frozen"), (Generator, "seed"), (Generator, "offset")]
        made = {"state": tracer.optimizers.state_of, "param_groups": tracer.optimizers.groups_of}
        self._fields: list[Beside | _Reads | _Hands] = [self._arrays, self._nodes]
        self._fields += [_Hands(self, owner, name) for owner, name in _workers()]
        self._fields += [Beside(self, owner, name) for owner, name in others]
        looks = tracer.attribute_reads
        for owner, what in watched:
            if what == "reads":
                self._fields.append(_Reads(self, owner, looks.reads, looks.misses))
            else:
                self._fields.append(_Told(self, owner, what, made[what]))
        self._fields += [_Reads(self, kind, looks.looks_up, looks.looks_up) for kind in tracer.classes]

    def install(self) -> None:
        for field in self._fields:
            field.install()

    def remove(self) -> None:
        """Let all attributes be what they were. A second time it does nothing."""
        for field in reversed(self._fields):
            field.remove()

    def is_recorded(self, tensor: Value) -> bool:
        """Whether a tensor is a result of the recording, or about to be one."""
        try:
            return type(self._arrays.plain(tensor)) is ProxyArray
        except AttributeError:
            return True

    def knows(self, tensor: Value) -> bool:
        """Whether a tensor is under observation."""
        return id(tensor) in self._arrays.values or self.is_recorded(tensor)

    def plain(self, tensor: Value) -> tuple[Any, Any]:
        """The array and the node of a tensor as they are outside."""
        return self._arrays.plain(tensor), self._nodes.plain(tensor)

    def beside(self, but: Collection[Any] = ()) -> dict[tuple[int, int], int]:
        """What lies beside, by attribute and object: the identities. Arrays whose Vars are in `but` are left out."""
        return {
            (n, key): id(value)
            for n, field in enumerate(self._fields)
            for key, (_, value) in (field.values.items() if isinstance(field, Beside) else ())
            if getattr(value, "variable", None) not in but
        }

    def clear(self) -> None:
        """Forget all that lies beside."""
        for field in self._fields:
            field.values.clear()

"""Guards: what Python found by name while a function was recorded, and must find again for its program to be right.

All of them are one Python function made for them, which compares by identity: a lookup costs some ten nanoseconds.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, NamedTuple

from ..graph import Leaf, Value
from .snapshots import ANY, PLAIN, alike, copies, copies_within, refill

HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def is_module(x: Any) -> bool:
    """Whether this is an `nn.Module`, which the engine does not know."""
    return hasattr(type(x), "named_parameters") and hasattr(type(x), "forward")


class Place(NamedTuple):
    """Where something is found by a key.

    Attributes:
        holder: what is asked.
        key: for what.
        how: a key of `_LOOK`.
        name: what messages call it.
    """

    holder: Any
    key: Any
    how: str
    name: str = ""

    @property
    def identity(self) -> tuple[int, str, Any]:
        return id(self.holder), self.how, self.key

    def look(self) -> Any:
        return _LOOK[self.how](self.holder, self.key)

    def holds(self, x: Any) -> bool:
        """Whether x is there, itself or in a container."""
        found = self.look()
        inside = found.values() if isinstance(found, dict) else found if isinstance(found, (list, tuple)) else ()
        return any(y is x for y in (found, *inside))

    def put(self, value: Any) -> None:
        if self.how in _PUT:
            _PUT[self.how](self.holder, self.key, value)


def _set_content(cell: Any, _: Any, value: Any) -> None:
    cell.cell_contents = value


def _names_there(holder: Any, names: frozenset[str] | None) -> frozenset[str]:
    """Which of some names a class or a `__dict__` has; of all names for None."""
    there = frozenset(vars(holder) if isinstance(holder, type) else holder)
    return there if names is None else there & names


def _only(holder: Any, names: frozenset[str] | None, before: frozenset[str]) -> None:
    for name in _names_there(holder, names) - before:
        if isinstance(holder, type):
            delattr(holder, name)
        else:
            del holder[name]


_LOOK: dict[str, Callable[[Any, Any], Any]] = {
    "item": operator.getitem,
    "attribute": getattr,
    "class": lambda kind, name: kind.__dict__[name],
    "cell": lambda cell, _: cell.cell_contents,
    "setting": lambda held, key: held["param_groups"][key[0]][key[1]],
    "names": _names_there,
    "cache": lambda function, _: function.cache_info()[1::2],
    "context": lambda variable, _: variable.get(None),
}
_PUT: dict[str, Callable[[Any, Any, Any], None]] = {
    "item": operator.setitem,
    "attribute": setattr,
    "class": setattr,
    "cell": _set_content,
    "names": _only,
    "context": lambda variable, _, value: variable.set(value),
}
_TEXT = {
    "item": "h{n}[{key!r}]",
    "attribute": "h{n}.{key}",
    "class": "h{n}.__dict__[{key!r}]",
    "cell": "h{n}.cell_contents",
    "setting": "h{n}['param_groups'][{key[0]!r}][{key[1]!r}]",
    "cache": "h{n}.cache_info()[1::2]",  # misses, and how many are kept
    "context": "h{n}.get(None)",
}


class LookupGuard:
    """Whether looking in the same places finds the same: a guard.

    Args:
        places: where to look.
        symbolic: the identities of places whose numbers are inputs of the program.
        seen: the tensors, by id, that the program was made with; of other constant ones only the type matters.
    """

    def __init__(
        self,
        places: Iterable[Place],
        symbolic: Iterable[Any] = (),
        seen: Collection[int] | None = None,
    ) -> None:
        self.places: list[Place] = [*{place.identity: place for place in places}.values()]
        self._symbolic = {*symbolic}
        self._replaced: list[tuple[Place, Any, Any]] = []  # numbers, by a SymbolicScalar
        self._compared = [place for place in self.places if place.identity not in self._symbolic]
        values = [place.look() for place in self._compared]
        self._loose = {n for n, x in enumerate(values) if seen is not None and _is_constant(x) and id(x) not in seen}
        lines = [self._comparison(n, place) for n, place in enumerate(self._compared)]
        self._known: dict[str, Any] = {f"h{n}": place.holder for n, place in enumerate(self._compared)}
        exec(f"def same():\n    return {' and '.join(lines) or True}", self._known)
        self._same: Callable[[], bool] = self._known["same"]
        self._take(values)

    def _comparison(self, n: int, place: Place) -> str:
        if place.how == "names":
            held = f"h{n}.__dict__" if isinstance(place.holder, type) else f"h{n}"
            return f"{held}.keys() == v{n}" if place.key is None else f"v{n}.isdisjoint({held})"
        text = _TEXT[place.how].format(n=n, key=place.key)
        if place.how == "cache":
            return f"{text} == v{n}"
        return f"type({text}) is v{n}" if n in self._loose else f"{text} is v{n}"

    def _take(self, values: list[Any]) -> None:
        self._values = values
        self._inside = [(x, self._loosened(x, copy)) for x, copy in copies(values)]
        for n, (place, value) in enumerate(zip(self._compared, values, strict=True)):
            absent = place.how == "names" and place.key is not None  # of names, those that were not there
            known = place.key - value if absent else type(value) if n in self._loose else value
            self._known[f"v{n}"] = known

    def _loosened(self, container: Any, copy: Any) -> Any:
        """The copy of a container, in which numbers that vary may be any."""
        if self._symbolic:
            for key in _keys(container):
                if Place(container, key, "item").identity in self._symbolic:
                    copy[key] = ANY
        return copy

    def __call__(self) -> bool:
        try:
            if not self._same():
                if not self._holds_as_before():  # another container is compared with the one before: is that as it was?
                    return False
                now = [place.look() for place in self._compared]
                for n, (value, before) in enumerate(zip(now, self._values, strict=True)):
                    if not (type(value) is type(before) if n in self._loose else alike(value, before)):
                        return False
                self._take(now)
        except (ValueError, AttributeError, LookupError):
            return False
        return self._holds_as_before()

    def _holds_as_before(self) -> bool:
        return all(alike(container, before) for container, before in self._inside)

    # --- numbers that turn out to vary ---

    def changed_numbers(self) -> Iterator[Any]:
        """The identities of the places where there is another number of the same type now."""
        for place, before in zip(self._compared, self._values, strict=True):
            try:
                now = place.look()
            except (ValueError, AttributeError, LookupError):
                continue
            if _varies(now, before):
                yield place.identity
        for container, copy in self._inside:
            for key in _keys(container):
                if key in (copy if isinstance(copy, dict) else range(len(copy))) and _varies(container[key], copy[key]):
                    yield Place(container, key, "item").identity

    def make_symbolic(self, tracer: Any) -> None:
        """Put a SymbolicScalar wherever a number varies, until all is put back."""
        if not tracer.varying:
            return
        inside = [Place(container, key, "item") for container, _ in self._inside for key in _keys(container)]
        for place in [*self.places, *inside]:
            if place.identity in tracer.varying and place.how in _PUT:
                value = place.look()
                if type(value) in (int, float):
                    scalar = tracer.number(value, reader(place, type(value)))
                    self._replaced.append((place, scalar, value))
                    place.put(scalar)

    @property
    def made_symbolic(self) -> set[Any]:
        """The identities of the places that have one."""
        return {place.identity for place, _, _ in self._replaced}

    def put_back(self) -> str | None:
        """Let everything be as it was; something that was not, in words."""
        changed: str | None = None
        for place, scalar, value in self._replaced:
            try:
                if place.look() is scalar:
                    place.put(value)
            except (ValueError, AttributeError, LookupError):
                pass
        for place, before in zip(self._compared, self._values, strict=True):
            name = place.name or str(place.key)
            if not all(alike(x, copy) for x, copy in copies_within(before, self._inside)):
                changed = f"the {type(before).__name__} '{name}'"
            try:
                now = place.look()
                same = alike(now, before)
            except (ValueError, AttributeError, LookupError):
                same = False
            if not same:
                changed = f"the {type(before).__name__} '{name}'"
                if place.how == "names":
                    changed = f"{name} ({', '.join(sorted(now ^ before))})"
                place.put(before)
        for container, before in self._inside:
            if not alike(container, before):
                refill(container, before)
        return changed


def _is_constant(x: Any) -> bool:
    return issubclass(type(x), Value) and x.node is None


def _varies(now: Any, before: Any) -> bool:
    return type(now) is type(before) and type(now) in (int, float) and repr(now) != repr(before)


def reader(place: Place, kind: type[Any]) -> Callable[[], Any]:
    def read() -> Any:
        now = place.look()
        if type(now) is not kind:
            raise LookupError(place.key)
        return now

    return read


def _keys(container: Any) -> Iterator[Any]:
    """Where a container has numbers that may vary."""
    if isinstance(container, (list, dict)):
        entries = container.items() if isinstance(container, dict) else enumerate(container)
        yield from [key for key, x in entries if type(x) in (int, float)]


def module_guards(module: Any, read: set[str]) -> tuple[list[Place], Callable[[], bool]]:
    """Of a module that takes part: what was read of it, its parts and its hooks."""
    held = vars(module)
    names = {*read, *HOOKS, *_parts(held)}
    defaults = {name for name in names if is_data(getattr(type(module), name, None))}
    places = [Place(module, name, "attribute") for name in defaults]
    places += [Place(held, name, "item") for name in (names & held.keys()) - defaults]
    return [*places, Place(module, "__class__", "attribute")], _Parts(held, names - defaults)


def is_data(x: Any) -> bool:
    """Whether a class has something for objects that have nothing of their own by this name, as `training`."""
    return isinstance(x, (*PLAIN, tuple, list, dict)) and x is not None


def _parts(held: dict[str, Any]) -> set[str]:
    """The names of a module's parts, and of what may become one."""
    return {name for name, x in held.items() if x is None or has_parts(x)}


class _Parts:
    """Whether a module has the parts that it had, and nothing of its own where its class was asked: a guard.

    Args:
        read: the names that were looked up.
    """

    def __init__(self, held: dict[str, Any], read: set[str]) -> None:
        self._held, self._names, self._keys = held, _parts(held), {*held}
        self._absent = read - held.keys()

    def __call__(self) -> bool:
        held = self._held
        if held.keys() != self._keys:
            if _parts(held) != self._names or not self._absent.isdisjoint(held):
                return False
            self._keys = {*held}
        return True


def has_parts(x: Any) -> bool:
    """Whether this is a module or a parameter, or holds one."""
    if isinstance(x, (list, tuple)):
        return any(map(has_parts, x))
    if isinstance(x, dict):
        return any(map(has_parts, x.values()))
    return (isinstance(x, Value) and isinstance(x.node, Leaf)) or is_module(x)


def is_compiled(x: Any) -> bool:
    """Whether this is a compiled function, or a compiled module, which passes for a module else."""
    return hasattr(type(x), "programs")

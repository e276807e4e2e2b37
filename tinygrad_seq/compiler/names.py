"""What a function can find by name: in globals, closures, defaults, and in the objects, classes and modules it names.

Names are those in the code of the function and of all that it can reach, so that an attribute is found however long the
way to it is: through a property, a class, a module of settings.
"""

from __future__ import annotations

import sys
import types
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from contextvars import ContextVar
from functools import cache, cached_property, lru_cache, partial
from operator import attrgetter, methodcaller
from typing import Any
from weakref import WeakKeyDictionary, ref

from ..graph import Value
from .dynamic_lookups import is_dynamic, words
from .guards import HOOKS, Place, has_parts, is_compiled, is_data, is_module
from .snapshots import CONTAINERS

_OURS = __name__.partition(".")[0]
_LIBRARIES = {_OURS, "nn", "numpy", "builtins", "__future__", *sys.stdlib_module_names} - {"__main__"}
_HOLDERS = ("collections", "types", "argparse", "queue")  # libraries of objects that are there to hold others
_HEAP_TYPE = 1 << 9  # of `__flags__`: made by a `class` statement
_WRAPPERS = (staticmethod, classmethod, types.MethodType)


class Names:
    """What functions find.

    Args:
        functions: which.
        objects: what the functions are given, and find attributes of.
        names: names of attributes that were seen to be read.
        read_whole: objects, by identity, of which all attributes are read, whatever their names.
        wide: whether all attributes of all objects are.

    Attributes:
        dynamic: whether functions look up attributes by names that they work out.
        places: where the functions look, except in modules (`nn.Module`), of which the tracer knows what was read.
        of_modules: where modules have lists, dictionaries and other containers.
        found: all objects that can be reached.
        iterators: those of them that recording would use up.
    """

    names: set[str]

    def __init__(
        self,
        functions: Iterable[Any],
        objects: Iterable[Any] = (),
        names: Iterable[str] = (),
        read_whole: Collection[int] = (),
        wide: bool = False,
    ) -> None:
        self._read_whole, self._wide, self.dynamic = read_whole, wide, False
        functions, objects = [*functions], [*objects]
        self._roots = functions, objects
        roots = [*functions, *objects]
        self._own = {_top(getattr(x, "__module__", type(x).__module__)) for x in roots}
        self.names = {*names}
        known: Any = None
        while known != (len(self.names), self.dynamic):  # a name may be an attribute of what another function reaches
            known = (len(self.names), self.dynamic)
            self.places: list[Place] = []
            self.of_modules: list[Place] = []
            self._found: dict[int, Any] = {}
            todo = [*roots]
            while todo:
                x = todo.pop()
                if id(x) not in self._found and not isinstance(x, (str, bytes, int, float, complex)):
                    self._found[id(x)] = x
                    todo += self._inside(x)
        self.found: list[Any] = [*self._found.values()]
        self.iterators = [x for x in self.found if isinstance(x, Iterator) and self._is_used_up(x)]

    def reaching_all(self) -> Names:
        """These names, and all others of attributes, if the functions may look up by others than stand in them."""
        if not self.dynamic:
            return self
        found = Names(*self._roots, wide=True)
        found.iterators = self.iterators
        return found

    def classes(self) -> set[type[Any]]:
        """The user's classes of objects that can be reached; of modules the tracer knows what is read."""
        kinds = {type(x) for x in self.found if has_attributes(x) and not is_module(x)}
        return {kind for kind in kinds if self._is_users(kind.__module__) and kind.__flags__ & _HEAP_TYPE}

    def _inside(self, x: Any) -> Iterator[Any]:
        """What can be reached from something, and by the way the places where it is found."""
        if isinstance(x, Value):
            yield from getattr(x.node, "hooks", ())
        elif is_compiled(x):
            yield x.function
        elif isinstance(x, partial):
            self.places.append(Place(x, "keywords", "attribute", "keywords of a partial"))
            yield from (x.func, *x.args, *x.keywords.values())
        elif isinstance(x, types.FunctionType):
            if self._is_users(x.__module__):
                yield from self._of_function(x)
            else:  # what decorates a function, holds it
                yield from [cell.cell_contents for cell in x.__closure__ or () if is_filled(cell)]
        elif isinstance(x, _WRAPPERS):
            yield from (x.__func__, getattr(x, "__self__", None))
        elif isinstance(x, property):
            yield from (x.fget, x.fset)
        elif isinstance(x, cached_property):
            yield x.func
        elif isinstance(x, (attrgetter, methodcaller)):
            self.names |= {word for text in x.__reduce__()[1] if isinstance(text, str) for word in text.split(".")}
        elif isinstance(x, ContextVar):
            self.places.append(Place(x, None, "context", f"context variable {x.name!r}"))
        elif isinstance(x, ref):
            yield x()
        elif isinstance(x, types.ModuleType):
            if self._is_users(x.__name__):
                data = [key for key, value in vars(x).items() if self.dynamic and key[:2] != "__" and is_data(value)]
                self.places += [Place(vars(x), key, "item", f"{x.__name__}.{key}") for key in data]
                yield from self._of_dict(vars(x), x.__name__, None)
        elif isinstance(x, type):
            yield from self._of_class(x)
        elif isinstance(x, dict):
            yield from x.values()
            yield from self._of_object(x)
        elif isinstance(x, (list, tuple, set, frozenset, deque)):
            yield from x
            yield from self._of_object(x)
        elif is_module(x):
            held = vars(x).items()
            if id(x) in self._read_whole:
                self.places.append(Place(vars(x), None, "names", f"{type(x).__name__}'s attributes"))
            self.of_modules += [Place(vars(x), name, "item") for name, value in held if isinstance(value, CONTAINERS)]
            yield from [value for name, value in vars(x).items() if self._is_read(name, type(x)) or has_parts(value)]
            yield from [hook.call for name in HOOKS for hook in vars(x).get(name, ())]
            yield from (x.forward, type(x))
        elif _top(type(x).__module__) not in (_OURS, "nn", "numpy"):
            yield from self._of_object(x)

    def _of_function(self, f: types.FunctionType) -> Iterator[Any]:
        names = names_in(f.__code__)
        self.names |= names
        self.dynamic = self.dynamic or any_dynamic(f.__code__)
        held = f.__globals__
        seen = [name for name in f.__code__.co_names if name in held]
        seen += [name for name in names if name in held and name not in seen]
        self.places += [Place(held, name, "item") for name in seen if _may_change(held[name])]
        closure = zip(f.__code__.co_freevars, f.__closure__ or (), strict=True)
        cells = {name: cell for name, cell in closure if is_filled(cell)}
        changing = [(name, cell) for name, cell in cells.items() if _may_change(cell.cell_contents)]
        self.places += [Place(cell, None, "cell", name) for name, cell in changing]
        if f.__defaults__ or f.__kwdefaults__:
            self.places += [Place(f, name, "attribute") for name in ("__defaults__", "__kwdefaults__")]
        self.places.append(Place(f, "__code__", "attribute", f"{f.__name__}.__code__"))
        self.places.append(Place(vars(f), frozenset(self.names), "names", f"{f.__name__}'s attributes"))
        yield from [held[name] for name in seen]
        yield from [cell.cell_contents for cell in cells.values()]
        yield from (*(f.__defaults__ or ()), *(f.__kwdefaults__ or {}).values())
        yield from self._of_dict(vars(f), f.__name__, f)

    def _of_dict(self, held: dict[str, Any], name: str, kind: Any, whole: bool = False) -> Iterator[Any]:
        """Attributes that lie in a `__dict__`."""
        there = [key for key in held if whole or self._is_read(key, kind)]
        self.places += [Place(held, key, "item", f"{name}.{key}") for key in there if _may_change(held[key])]
        if whole:
            self.places.append(Place(held, None, "names", f"{name}'s attributes"))
        yield from [held[key] for key in there]

    def _is_read(self, name: str, kind: Any) -> bool:
        """Whether an attribute of a class, or of objects of this type, may be asked for by its name."""
        wide = self._wide and name[:2] != "__" and kind is not None
        return name in self.names or (wide and self._is_users(kind.__module__))

    def _of_class(self, kind: type[Any], makes: bool = True) -> Iterator[Any]:
        """Of a class: attributes by their names, and what Python calls by itself; that it `makes` objects, or has."""
        for base in kind.__mro__:
            if not self._is_users(base.__module__):
                continue
            held = vars(base)
            for key, x in held.items():
                read = self._is_read(key, base) or (self.dynamic and key[:2] != "__" and is_data(x))
                if read and not isinstance(x, types.MemberDescriptorType):
                    self.places.append(Place(base, key, "class", f"{base.__name__}.{key}"))
                    yield x
            names = None if self.dynamic else frozenset(self.names)
            self.places.append(Place(base, names, "names", f"{base.__name__}'s attributes"))
            for key, x in held.items():
                special = key[:2] == "__" and isinstance(x, types.FunctionType) and key not in self.names
                if special and (makes or key not in ("__init__", "__new__")):
                    self.places.append(Place(base, key, "class", f"{base.__name__}.{key}"))
                    yield x
        if type(kind) is not type:
            yield type(kind)

    def _of_object(self, x: Any) -> Iterator[Any]:
        kind, held = type(x), getattr(x, "__dict__", None)
        if isinstance(held, dict):
            # a holder's own code reads what it holds
            whole = _top(kind.__module__) in _HOLDERS or id(x) in self._read_whole
            yield from self._of_dict(held, kind.__name__, kind, whole)
            self.places.append(Place(held, frozenset(self.names), "names", f"{kind.__name__}'s attributes"))
        if self._is_users(kind.__module__):
            self.places.append(Place(x, "__class__", "attribute", f"the class of a {kind.__name__}"))
            for base in kind.__mro__:
                for key, descriptor in vars(base).items():
                    slot = self._is_read(key, kind) and isinstance(descriptor, types.MemberDescriptorType)
                    if slot and hasattr(x, key):
                        self.places.append(Place(x, key, "attribute", f"{kind.__name__}.{key}"))
                        yield getattr(x, key)
            yield from self._of_class(kind, makes=self._may_make(kind))
        elif kind.__module__ == "functools":
            if hasattr(x, "cache_info"):
                self.places.append(Place(x, None, "cache", "an lru_cache"))
            yield getattr(x, "__wrapped__", None)

    def _may_make(self, kind: type[Any]) -> bool:
        """Whether functions may make more objects of an object's class, without its name: by `type(x)`, or `cls`."""
        held = [(base, key, x) for base in kind.__mro__ for key, x in vars(base).items()]
        return not self.names.isdisjoint(("type", "__class__")) or any(
            isinstance(x, classmethod) and self._is_read(key, base) for base, key, x in held
        )

    def _is_used_up(self, iterator: Any) -> bool:
        """Whether taking from an iterator changes nothing that is compared; files are open to be written to."""
        return not self._is_users(type(iterator).__module__) and not hasattr(iterator, "readable")

    def _is_users(self, module_name: Any) -> bool:
        """Whether the code of a module may change: it is no library's, or the function is that library's itself."""
        return not is_library(module_name) and (not _is_installed(_top(module_name)) or _top(module_name) in self._own)


@cache
def is_library(module_name: Any) -> bool:
    """Whether a module is ours, NumPy's or Python's own, whose code does not change."""
    return _top(module_name) in _LIBRARIES


def _may_change(x: Any) -> bool:
    """Whether another one by the same name may make another program: any but a module, whose parts are compared."""
    return not isinstance(x, types.ModuleType)


def _top(module_name: Any) -> str:
    return str(module_name or "").partition(".")[0]


def has_attributes(x: Any) -> bool:
    """Whether this is an object of a class that the function's user wrote."""
    return not isinstance(x, type | types.FunctionType) and not is_library(type(x).__module__)


def attributes(x: Any) -> dict[str, Any]:
    """What an object holds: in its `__dict__`, and in slots."""
    slots = _slots.get(type(x))
    if slots is None:  # asked at each call with an object of the class
        slots = _slots[type(x)] = _slots_of(type(x))
    return {key: getattr(x, key) for key in slots if hasattr(x, key)} | dict(getattr(x, "__dict__", {}))


_slots: WeakKeyDictionary[type[Any], tuple[str, ...]] = WeakKeyDictionary()


def _slots_of(kind: type[Any]) -> tuple[str, ...]:
    """The names of the slots of a class. Those of classes in C are read-only, and left out."""
    written = [vars(base) for base in kind.__mro__ if "__slots__" in vars(base)]
    return tuple([key for held in written for key, d in held.items() if isinstance(d, types.MemberDescriptorType)])


@cache
def _is_installed(package: str) -> bool:
    """Whether a package lies where installed ones do."""
    where = str(getattr(getattr(sys.modules.get(package), "__spec__", None), "origin", ""))
    return "site-packages" in where or "dist-packages" in where


@lru_cache(4096)
def names_in(code: types.CodeType) -> frozenset[str]:
    """The names in a function's code, and in that of the functions inside it; words, where it may look up by them."""
    inner = [names_in(x) for x in code.co_consts if isinstance(x, types.CodeType)]
    return frozenset([*code.co_names, *words(code)]).union(*inner)


@lru_cache(4096)
def any_dynamic(code: types.CodeType) -> bool:
    """Whether a function, or one inside it, looks up attributes by names that do not stand there."""
    return is_dynamic(code) or any(any_dynamic(x) for x in code.co_consts if isinstance(x, types.CodeType))


def is_filled(cell: Any) -> bool:
    """Whether a variable of a closure has a value."""
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False

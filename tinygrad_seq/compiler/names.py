"""What a function can find by name: in globals, closures, defaults, and in the objects, classes and modules it names.

Names are those in the code of the function and of all that it can reach, so that an attribute is found however long the
way to it is: through a property, a class, a module of settings.
"""

from __future__ import annotations

import sys
import types
from collections import deque
from collections.abc import Iterable, Iterator
from functools import cache, cached_property, lru_cache, partial
from typing import Any
from weakref import ref

from ..graph import Value
from .guards import Place, is_compiled, is_module

_OURS = __name__.partition(".")[0]
_LIBRARIES = {_OURS, "nn", "numpy", "builtins", "__future__", *sys.stdlib_module_names} - {"__main__"}
_HOLDERS = ("collections", "types", "argparse")  # libraries of objects that are there to hold others
_WRAPPERS = (staticmethod, classmethod, types.MethodType)


class Names:
    """What functions find.

    Args:
        functions: which.
        objects: what the functions are given, and find attributes of.
        names: names of attributes that were seen to be read.

    Attributes:
        places: where the functions look, except in modules (`nn.Module`), of which the tracer knows what was read.
        iterators: what recording would use up, by name.
        found: all objects that can be reached.
    """

    names: set[str]

    def __init__(self, functions: Iterable[Any], objects: Iterable[Any] = (), names: Iterable[str] = ()) -> None:
        roots = [*functions, *objects]
        self._own = {_top(getattr(x, "__module__", type(x).__module__)) for x in roots}
        self.names = {*names}
        count = -1
        while count != len(self.names):  # a name in one function may be an attribute of what another one reaches
            count = len(self.names)
            self.places: list[Place] = []
            self.iterators: dict[str, Any] = {}
            self._found: dict[int, Any] = {}
            todo = [*roots]
            while todo:
                x = todo.pop()
                if id(x) not in self._found and not isinstance(x, (str, bytes, int, float, complex, Value)):
                    self._found[id(x)] = x
                    todo += self._inside(x)
        self.found: list[Any] = [*self._found.values()]

    def _inside(self, x: Any) -> Iterator[Any]:
        """What can be reached from something, and by the way the places where it is found."""
        if is_compiled(x):
            yield x.function
        elif isinstance(x, partial):
            yield from (x.func, *x.args, *x.keywords.values())
        elif isinstance(x, types.FunctionType):
            if self._is_users(x.__module__):
                yield from self._of_function(x)
        elif isinstance(x, _WRAPPERS):
            yield from (x.__func__, getattr(x, "__self__", None))
        elif isinstance(x, property):
            yield from (x.fget, x.fset)
        elif isinstance(x, cached_property):
            yield x.func
        elif isinstance(x, ref):
            yield x()
        elif isinstance(x, types.ModuleType):
            if self._is_users(x.__name__):
                yield from self._of_dict(vars(x), x.__name__)
        elif isinstance(x, type):
            yield from self._of_class(x)
        elif isinstance(x, dict):
            yield from x.values()
            yield from self._of_object(x)
        elif isinstance(x, (list, tuple, set, frozenset, deque)):
            yield from x
            yield from self._of_object(x)
        elif is_module(x):
            yield from [vars(x)[name] for name in self.names & vars(x).keys()]
            yield from (x.forward, type(x))
        elif _top(type(x).__module__) not in (_OURS, "nn", "numpy"):
            yield from self._of_object(x)

    def _of_function(self, f: types.FunctionType) -> Iterator[Any]:
        names = names_in(f.__code__)
        self.names |= names
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
        values = {name: held[name] for name in seen} | {name: cell.cell_contents for name, cell in cells.items()}
        for name, x in values.items():
            if isinstance(x, Iterator) and not self._is_users(type(x).__module__) and not hasattr(x, "readable"):
                self.iterators[name] = x
        yield from values.values()
        yield from (*(f.__defaults__ or ()), *(f.__kwdefaults__ or {}).values())
        yield from self._of_dict(vars(f), f.__name__)

    def _of_dict(self, held: dict[str, Any], name: str) -> Iterator[Any]:
        """Attributes that lie in a `__dict__`."""
        there = self.names & held.keys()
        self.places += [Place(held, key, "item", f"{name}.{key}") for key in there if _may_change(held[key])]
        yield from [held[key] for key in there]

    def _of_class(self, kind: type[Any], makes: bool = True) -> Iterator[Any]:
        """Of a class: attributes by their names, and what Python calls by itself; that it `makes` objects, or has."""
        for base in kind.__mro__:
            if not self._is_users(base.__module__):
                continue
            held = vars(base)
            for key in self.names & held.keys():
                if not isinstance(held[key], types.MemberDescriptorType):
                    self.places.append(Place(base, key, "class", f"{base.__name__}.{key}"))
                    yield held[key]
            self.places.append(Place(held, frozenset(self.names), "names", f"{base.__name__}'s attributes"))
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
            yield from self._of_dict(held, kind.__name__)
            if _top(kind.__module__) in _HOLDERS:  # whose own code reads what it holds
                self.places += [Place(held, key, "item", f"{kind.__name__}.{key}") for key in held]
                yield from held.values()
            self.places.append(Place(held, frozenset(self.names), "names", f"{kind.__name__}'s attributes"))
        if self._is_users(kind.__module__):
            for base in kind.__mro__:
                for key in self.names & vars(base).keys():
                    slot = isinstance(vars(base)[key], types.MemberDescriptorType)
                    if slot and hasattr(x, key):
                        self.places.append(Place(x, key, "attribute", f"{kind.__name__}.{key}"))
                        yield getattr(x, key)
            yield from self._of_class(kind, makes=False)
        elif kind.__module__ == "functools":
            yield getattr(x, "__wrapped__", None)

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
    written = [
        vars(base) for base in type(x).__mro__ if "__slots__" in vars(base)
    ]  # classes in C have theirs read-only
    slots = [key for names in written for key, d in names.items() if isinstance(d, types.MemberDescriptorType)]
    return {key: getattr(x, key) for key in slots if hasattr(x, key)} | dict(getattr(x, "__dict__", {}))


@cache
def _is_installed(package: str) -> bool:
    """Whether a package lies where installed ones do."""
    where = str(getattr(getattr(sys.modules.get(package), "__spec__", None), "origin", ""))
    return "site-packages" in where or "dist-packages" in where


@lru_cache(4096)
def names_in(code: types.CodeType) -> frozenset[str]:
    """The names in a function's code, and in that of the functions inside it; words, where it may look up by them."""
    found = {*code.co_names}
    if not found.isdisjoint(("getattr", "attrgetter", "vars", "__dict__", "globals")):
        found |= {x for x in code.co_consts if isinstance(x, str) and x.isidentifier()}
    return frozenset(found).union(*[names_in(x) for x in code.co_consts if isinstance(x, types.CodeType)])


def is_filled(cell: Any) -> bool:
    """Whether a variable of a closure has a value."""
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False

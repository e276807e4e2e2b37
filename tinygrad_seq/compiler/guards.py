"""What Python found by name while a function was recorded, and must find again: attributes, globals, closures, numbers.

It is compared by identity first, in the interpreter's own loop, so that a call pays some hundred nanoseconds a module.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import starmap
from operator import attrgetter, is_
from typing import Any

from ..graph import Leaf, Value

_NUMBERS = (bool, int, float, complex)
_PLAIN = (*_NUMBERS, str, bytes, type(None))
HOOKS = ("_forward_hooks", "_forward_pre_hooks")
_NOT_USERS = (__name__.partition(".")[0], "nn", "numpy", "builtins")
_content = attrgetter("cell_contents")


def is_module(x: Any) -> bool:
    """Whether this is an `nn.Module`, which the engine does not know."""
    return hasattr(type(x), "named_parameters") and hasattr(type(x), "forward")


class Found:
    """Whether looking up the same keys finds the same: a guard.

    Args:
        look: what finds something by its key; it may raise an error where there is nothing any more.
        put: what puts it back there.
        names: what messages call them, if not by the keys.
    """

    def __init__(
        self,
        look: Callable[[Any], Any],
        keys: Iterable[Any],
        put: Callable[[Any, Any], None] | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        self._look, self._put, self._keys = look, put, [*keys]
        self._names = self._keys if names is None else names
        self._take([*map(look, self._keys)])

    def _take(self, values: list[Any]) -> None:
        self._values = values
        self._inside = _containers(values)

    def __call__(self) -> bool:
        try:
            now = [*map(self._look, self._keys)]
        except (ValueError, AttributeError, LookupError):
            return False
        if not all(map(is_, now, self._values)):
            if not all(map(alike, now, self._values)):
                return False
            self._take(now)
        return not self._inside or all(starmap(alike, self._inside))

    def put_back(self) -> tuple[str, Any] | None:
        """Let everything be as it was; the name of something that was not, and what it was."""
        changed = None
        for name, key, before in zip(self._names, self._keys, self._values, strict=True):
            if not all(starmap(alike, _changes(before, self._inside))):
                changed = name, before
            try:
                same = alike(self._look(key), before)
            except (ValueError, AttributeError, LookupError):
                same = False
            if not same:
                changed = name, before
                if self._put is not None:
                    self._put(key, before)
        for container, before in self._inside:
            if not alike(container, before):
                _fill(container, before)
        return changed


def _containers(values: Iterable[Any]) -> list[tuple[Any, Any]]:
    """The lists, dictionaries and sets among values and inside them, each with a copy."""
    found: dict[int, tuple[Any, Any]] = {}
    todo = [*values]
    while todo:
        x = todo.pop()
        if isinstance(x, (list, dict, set)) and id(x) not in found:
            found[id(x)] = (x, x.copy())
        elif not isinstance(x, tuple):
            continue
        todo += x.values() if isinstance(x, dict) else () if isinstance(x, set) else x
    return [*found.values()]


def _changes(x: Any, inside: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Of containers with their copies, those that lie in x."""
    reached = {id(container) for container, _ in _containers([x])}
    return [(container, before) for container, before in inside if id(container) in reached]


def _fill(container: Any, content: Any) -> None:
    container.clear()
    if isinstance(container, list):
        container.extend(content)
    else:
        container.update(content)


def alike(now: Any, before: Any) -> bool:
    """Whether a program that was recorded with one is right for the other."""
    if now is before:
        return True
    if isinstance(now, _NUMBERS):
        return type(now) is type(before) and repr(now) == repr(before)  # 0.0 is not -0.0, and nan is itself
    if isinstance(now, (list, tuple)) and isinstance(before, (list, tuple)):
        return len(now) == len(before) and (all(map(is_, now, before)) or all(map(alike, now, before)))
    if isinstance(now, dict) and isinstance(before, dict):
        same = len(now) == len(before) and all(map(is_, now, before)) and all(map(is_, now.values(), before.values()))
        return same or (now.keys() == before.keys() and all(alike(v, before[k]) for k, v in now.items()))
    if isinstance(now, types.MethodType) and isinstance(before, types.MethodType):
        return now.__func__ is before.__func__ and now.__self__ is before.__self__
    return isinstance(now, (str, bytes, set)) and type(now) is type(before) and bool(now == before)


def module_guards(modules: Iterable[Any], read: dict[int, set[str]]) -> Iterator[Callable[[], bool]]:
    """Of modules that take part: what was read of each, their parts and hooks, and their users' classes."""
    classes: dict[type[Any], set[str]] = {}
    for module in modules:
        held = vars(module)
        names = {*read.get(id(module), ()), *HOOKS, *_parts(held)}
        defaults = {name for name in names if _is_data(getattr(type(module), name, None))}
        yield Found(partial(getattr, module), defaults)
        yield Found(held.get, (names & held.keys()) - defaults)
        yield _Parts(held, names - defaults)
        for kind in type(module).__mro__:
            if is_users(kind.__module__):
                classes.setdefault(kind, set()).update(names)
    for kind, names in classes.items():
        yield Found(kind.__dict__.get, names)


def _is_data(x: Any) -> bool:
    """Whether a class has something for objects that have nothing of their own by this name, as `training`."""
    return isinstance(x, (*_PLAIN, tuple, list, dict)) and x is not None


def _parts(held: dict[str, Any]) -> set[str]:
    """The names of a module's parts, and of what may become one."""
    return {name for name, x in held.items() if x is None or _has_parts(x)}


class _Parts:
    """Whether a module has the parts that it had, and nothing of its own where its class was asked: a guard.

    Args:
        read: the names that were looked up.
    """

    def __init__(self, held: dict[str, Any], read: set[str]) -> None:
        self._held, self._names, self._count = held, _parts(held), len(held)
        self._absent = read - held.keys()

    def __call__(self) -> bool:
        held = self._held
        if len(held) != self._count:
            if _parts(held) != self._names or not self._absent.isdisjoint(held):
                return False
            self._count = len(held)
        return True


def _has_parts(x: Any) -> bool:
    if isinstance(x, (list, tuple)):
        return any(map(_has_parts, x))
    if isinstance(x, dict):
        return any(map(_has_parts, x.values()))
    return (isinstance(x, Value) and isinstance(x.node, Leaf)) or is_module(x)


def named_guards(functions: Iterable[Any], objects: Iterable[Any] = ()) -> Iterator[Found]:
    """What functions, and those that they name, find in globals, closures and defaults, and in objects of users.

    Args:
        objects: what the first functions are given, and find attributes of.
    """
    seen: set[Any] = set()
    todo = [*functions]
    while todo:
        function = todo.pop()
        if isinstance(function, partial):
            todo.append(function.func)
            objects = [*objects, *function.args, *function.keywords.values()]
            continue
        function = getattr(function, "function", function) if is_compiled(function) else function
        objects = [*objects, getattr(function, "__self__", None)]
        function = getattr(function, "__func__", function)
        if not isinstance(function, types.FunctionType) or function in seen or not is_users(function.__module__):
            continue
        seen.add(function)
        code = function.__code__
        names = _names(code)
        held = function.__globals__
        visible = [name for name in names if name in held and _may_change(held[name])]
        if visible:
            yield Found(held.get, visible, held.__setitem__)
        closure = zip(code.co_freevars, function.__closure__ or (), strict=True)
        named = [(name, cell) for name, cell in closure if is_filled(cell) and _may_change(cell.cell_contents)]
        cells = [cell for _, cell in named]
        if cells:
            yield Found(_content, cells, _set_content, [name for name, _ in named])
        if function.__defaults__ or function.__kwdefaults__:
            yield Found(partial(getattr, function), ("__defaults__", "__kwdefaults__"))
        values = [held[name] for name in visible] + [cell.cell_contents for cell in cells]
        values += [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values(), *objects]
        objects = ()
        for x in values:
            if isinstance(x, types.FunctionType | types.MethodType | partial) or is_compiled(x):
                todo.append(x)
            elif is_module(x):  # of which the recorder knows what was read
                todo += [getattr(type(x), name, None) for name in names]
            elif _is_users_object(x):
                own = vars(x)
                defaults = {name for name in names if _is_data(getattr(type(x), name, None))}
                yield Found(partial(getattr, x), defaults, partial(setattr, x))
                yield Found(own.get, names & own.keys() - defaults, own.__setitem__)
                todo += [getattr(type(x), name, None) for name in (*names, "__call__")]


def _names(code: types.CodeType) -> set[str]:
    """The names in a function's code, and in that of the functions inside it."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return set(code.co_names).union(*inner)


def _may_change(x: Any) -> bool:
    """Whether something else by the same name may make another program: no library, and no class or function of one."""
    if isinstance(x, types.ModuleType):
        return False
    return not isinstance(x, types.FunctionType | type | types.BuiltinFunctionType) or is_users(x.__module__)


def is_users(module_name: str | None) -> bool:
    """Whether the code of a module is neither ours nor NumPy's, which do not change."""
    return (module_name or "").partition(".")[0] not in _NOT_USERS


def _is_users_object(x: Any) -> bool:
    """Whether this is an object with attributes, of a class that the function's user wrote."""
    return hasattr(x, "__dict__") and not isinstance(x, type | types.ModuleType) and is_users(type(x).__module__)


def is_compiled(x: Any) -> bool:
    """Whether this is a compiled function, or a compiled module, which passes for a module else."""
    return hasattr(type(x), "programs")


def is_filled(cell: Any) -> bool:
    """Whether a variable of a closure has a value."""
    try:
        _content(cell)
    except ValueError:
        return False
    return True


def _set_content(cell: Any, value: Any) -> None:
    cell.cell_contents = value

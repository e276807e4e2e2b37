"""Modules and parameters in lists and dictionaries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import index
from typing import Any, Generic, Self, TypeVar

from tinygrad_seq import Tensor

from .module import Module, Parameter

Item = TypeVar("Item")


class _Container(Module, Generic[Item]):
    """Attributes that are items: modules, or parameters."""

    def _taken(self, item: Any) -> Any:
        """The item as it is kept; a TypeError for what is none."""
        if not isinstance(item, Module):
            raise TypeError(f"{type(self).__name__}: takes modules, got {type(item).__name__}")
        return item

    def _items(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if isinstance(value, (Module, Parameter))}

    def _replace(self, items: Mapping[str, Any]) -> None:
        for name in self._items():
            delattr(self, name)
        for name, item in items.items():
            setattr(self, name, item)

    def __len__(self) -> int:
        return len(self._items())


class _List(_Container[Item]):
    """Items by number: the attributes "0", "1", ..."""

    def __init__(self, items: Iterable[Any] = ()) -> None:
        self.extend(items)

    def _renumber(self, items: Iterable[Any]) -> None:
        self._replace({str(i): item for i, item in enumerate(items)})

    def _place(self, i: Any) -> int:
        """A number counted from the front; an IndexError if there is no such item."""
        n, i = len(self), index(i)
        if not -n <= i < n:
            raise IndexError(f"{type(self).__name__}: index {i} is out of range; there are {n}")
        return i % n

    def append(self, item: Item) -> Self:
        setattr(self, str(len(self)), self._taken(item))
        return self

    def extend(self, items: Iterable[Item]) -> Self:
        if isinstance(items, (str, Tensor)) or not isinstance(items, Iterable):
            raise TypeError(f"{type(self).__name__}: takes a list, got a {type(items).__name__}")
        for item in [self._taken(item) for item in items]:
            self.append(item)
        return self

    def insert(self, i: int, item: Item) -> None:
        """Put an item before that of number i."""
        items = list(self)
        items.insert(i, self._taken(item))
        self._renumber(items)

    def pop(self, i: int = -1) -> Item:
        """Take an item out."""
        item: Item = self[i]
        del self[i]
        return item

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items().values())

    def __contains__(self, item: object) -> bool:
        return any(item is other for other in self)

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            part = type(self).__new__(type(self))
            part._renumber(list(self)[i])
            return part
        return list(self)[self._place(i)]

    def __setitem__(self, i: int, item: Item) -> None:
        setattr(self, str(self._place(i)), self._taken(item))

    def __delitem__(self, i: Any) -> None:
        items = list(self)
        del items[i if isinstance(i, slice) else self._place(i)]
        self._renumber(items)

    def __iadd__(self, items: Iterable[Item]) -> Self:
        return self.extend(items)

    def __add__(self, items: Iterable[Item]) -> Self:
        both: Self = self[:]
        return both.extend(items)


class ModuleList(_List[Module]):
    """Modules by number. `ModuleList([a, b])` names their parameters `0.` and `1.`."""


class Sequential(ModuleList):
    """Modules one after another, each taking what the one before returned.

    Args:
        modules: the modules, or one dictionary of them, whose keys are then their names.
    """

    def __init__(self, *modules: Any) -> None:
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.add_module(name, self._taken(module))
        else:
            super().__init__(modules)

    def forward(self, input: Any) -> Any:
        for module in self:
            input = module(input)
        return input

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            part = type(self).__new__(type(self))
            part._replace(dict(list(self._items().items())[i]))
            return part
        return super().__getitem__(i)

    def __setitem__(self, i: int, item: Module) -> None:
        setattr(self, list(self._items())[self._place(i)], self._taken(item))


class ParameterList(_List[Parameter]):
    """Parameters by number: "0", "1", ... Tensors become parameters."""

    def _taken(self, item: Any) -> Parameter:
        return _as_parameter(type(self).__name__, item)

    def extra_repr(self) -> str:
        return _shown(self._items())


def _as_parameter(name: str, item: Any) -> Parameter:
    if not isinstance(item, Tensor):
        raise TypeError(f"{name}: takes parameters and tensors, got {type(item).__name__}")
    return item if isinstance(item, Parameter) else Parameter(item)


def _shown(parameters: Mapping[str, Parameter]) -> str:
    return ", ".join([f"({name}): Parameter of shape {p.shape}" for name, p in parameters.items()])


class _Dict(_Container[Item]):
    """Items by name: attributes of these names."""

    def __init__(self, items: Any = ()) -> None:
        self.update(items)

    def __getitem__(self, name: str) -> Item:
        items = self._items()
        if name not in items:
            raise KeyError(f"{type(self).__name__}: there is no {name!r}; it has {list(items)}")
        item: Item = items[name]
        return item

    def __setitem__(self, name: str, item: Item) -> None:
        self._vacant(type(self).__name__, name, Module, Parameter)
        setattr(self, name, self._taken(item))

    def __delitem__(self, name: str) -> None:
        self.pop(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._items())

    def __contains__(self, name: object) -> bool:
        return name in self._items()

    def keys(self) -> Iterable[str]:
        return self._items().keys()

    def items(self) -> Iterable[tuple[str, Item]]:
        return self._items().items()

    def values(self) -> Iterable[Item]:
        return self._items().values()

    def pop(self, name: str) -> Item:
        """Take an item out."""
        item = self[name]
        delattr(self, name)
        return item

    def clear(self) -> None:
        self._replace({})

    def update(self, items: Any) -> None:
        """Take over the items of a mapping, or pairs of name and item: all of them, or after an error none."""
        try:
            new = dict(items.items() if hasattr(items, "items") else items)
        except (TypeError, ValueError):
            raise TypeError(
                f"{type(self).__name__}: takes a dictionary, or pairs of name and item, got a {type(items).__name__}"
            ) from None
        for name, item in new.items():
            self._vacant(type(self).__name__, name, Module, Parameter)
            new[name] = self._taken(item)
        for name, item in new.items():
            setattr(self, name, item)


class ModuleDict(_Dict[Module]):
    """Modules by name. `ModuleDict({"gru": a, "lstm": b})` names their parameters `gru.` and `lstm.`."""


class ParameterDict(_Dict[Parameter]):
    """Parameters by name. Tensors become parameters."""

    def _taken(self, item: Any) -> Parameter:
        return _as_parameter(type(self).__name__, item)

    def extra_repr(self) -> str:
        return _shown(self._items())

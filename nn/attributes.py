"""A module's attributes of one kind as a dictionary."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any


class Attributes(MutableMapping[str, Any]):
    """The attributes of a module that are of one kind, by name; what is changed here is changed there."""

    def __init__(self, module: Any, kind: type[Any]) -> None:
        self._module, self._kind = module, kind

    def _found(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in vars(self._module).items()
            if isinstance(value, self._kind) or (value is None and self._module._role(name) is self._kind)
        }

    def __getitem__(self, name: str) -> Any:
        return self._found()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self._module, name, value)

    def __delitem__(self, name: str) -> None:
        if name not in self._found():
            raise KeyError(name)
        delattr(self._module, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._found())

    def __len__(self) -> int:
        return len(self._found())

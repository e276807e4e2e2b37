"""A compiled module, which is to others what the module is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .compiled import Compiled


class CompiledModule(Compiled[..., Any]):
    """A compiled module: called, it replays; all else is the module's: `parameters()`, `train()`, attributes, also set.

    It passes for a module, so it can be a part of another one, whose `parameters()` and `state_dict()` then have the
    names that they had before.
    """

    _own: set[str] | None = None  # the names of its own attributes, once these are made

    def __init__(self, function: Any, *, executor: str | None = None, mode: str | None = None) -> None:
        super().__init__(function, executor=executor, mode=mode)
        object.__setattr__(self, "_own", {"_own", *vars(self)})

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self.function)

    @property
    def _orig_mod(self) -> Any:
        """The module itself, by PyTorch's name."""
        return self.function

    def __setattr__(self, name: str, value: Any) -> None:
        if self._own is None or name in self._own or (name.startswith("__") and name.endswith("__")):
            object.__setattr__(self, name, value)
        else:
            setattr(self.function, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self.function, name)

    def __dir__(self) -> list[str]:
        return dir(self.function)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """A module that is an attribute of a class is no method."""
        return self

    def __bool__(self) -> bool:
        return bool(self.function)

    def __len__(self) -> int:
        return len(self.function)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.function)

    def __getitem__(self, key: Any) -> Any:
        return self.function[key]

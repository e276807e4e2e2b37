"""What an optimizer remembers between steps."""

from __future__ import annotations

from collections.abc import KeysView, Mapping
from copy import copy
from operator import is_
from typing import Any

from tinygrad_seq import Tensor


class State(dict[Any, dict[str, Any]]):
    """What an optimizer remembers, by a parameter's number; a parameter as a key stands for its number.

    A parameter's number is its place in the groups. One that was taken out of them has a number behind all others.
    """

    def __init__(self, groups: list[dict[str, Any]], known: Mapping[Any, dict[str, Any]] | None = None) -> None:
        super().__init__()
        self._groups = groups
        self._numbered: list[Tensor] = []
        self.follow()
        self.update(known or {})

    def follow(self, groups: list[dict[str, Any]] | None = None) -> None:
        """Let the numbers be those of the groups as they are now, or of others: anybody may change their lists."""
        if groups is not None:
            self._groups = groups
        now, before = [p for group in self._groups for p in group["params"]], self._numbered
        if all(map(is_, now, before)):
            self._numbered = now if len(now) > len(before) else before
            return
        entries = {id(p): self.pop(number) for number, p in enumerate(before) if number in self}
        listed = {id(p) for p in now}
        self._numbered = now + [p for p in before if id(p) in entries and id(p) not in listed]
        self.update({number: entries[id(p)] for number, p in enumerate(self._numbered) if id(p) in entries})

    def _key(self, key: Any) -> Any:
        """What an entry is kept under: of a parameter its number; of a tensor that is none, itself, and nothing is."""
        if not isinstance(key, Tensor):
            return key
        self.follow()
        return next((number for number, p in enumerate(self._numbered) if p is key), key)

    def __missing__(self, key: Any) -> dict[str, Any]:
        if not isinstance(key, Tensor):
            raise KeyError(key)
        number = self._key(key)
        return self[number] if number in self else self.setdefault(number, {})

    def __setitem__(self, key: Any, value: dict[str, Any]) -> None:
        number = self._key(key)
        if isinstance(number, Tensor):
            raise KeyError(
                f"an optimizer keeps no state of a tensor of shape {key.shape} that is none of its parameters"
            )
        super().__setitem__(number, value)

    def __delitem__(self, key: Any) -> None:
        super().__delitem__(self._key(key))

    def __contains__(self, key: Any) -> bool:
        return super().__contains__(self._key(key))

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(self._key(key), default)

    def pop(self, key: Any, *default: Any) -> Any:
        return super().pop(self._key(key), *default)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return super().__getitem__(self._key(key))

    def update(self, *given: Any, **more: Any) -> None:
        for key, value in dict(*given, **more).items():
            self[key] = value

    def __ior__(self, given: Any) -> State:  # type: ignore[override,misc]
        self.update(given)
        return self

    def keys(self) -> KeysView[Any]:  # type: ignore[override]
        return KeysView(self)  # asks __contains__

    def copy(self) -> State:
        return copy(self)

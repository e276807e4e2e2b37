"""Python numbers that a recorder follows."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any


class LiveNumber(float):
    """A Python number that will be another at the next call, such as a learning rate; what is made of it is, too."""

    __slots__ = ("place", "recorder")
    place: Any
    recorder: Any

    def __bool__(self) -> bool:
        return bool(self.recorder.decided(self, bool, float.__bool__(self)))


def _live_operator(name: str, swapped: bool = False) -> Callable[..., Any]:
    function = getattr(operator, name)

    def method(self: LiveNumber, other: Any = None) -> Any:
        if other is not None and not isinstance(other, (int, float)):
            return NotImplemented
        operands = (self,) if other is None else (other, self) if swapped else (self, other)
        plain = [float(x) if isinstance(x, LiveNumber) else x for x in operands]
        value = function(*plain)
        if isinstance(value, bool):
            return self.recorder.decided(None, function, value, operands)
        return self.recorder.number(value, function, *operands)

    return method


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    setattr(LiveNumber, f"__{_name}__", _live_operator(_name))
    setattr(LiveNumber, f"__r{_name}__", _live_operator(_name, swapped=True))
for _name in ("neg", "abs", "lt", "le", "gt", "ge", "eq", "ne"):
    setattr(LiveNumber, f"__{_name}__", _live_operator(_name))
LiveNumber.__hash__ = float.__hash__  # type: ignore[method-assign]

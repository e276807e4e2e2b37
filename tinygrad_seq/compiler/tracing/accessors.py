"""Where a program looks at each call, and where it writes: functions of places outside.

They look things up anew: an optimizer's state may be another one since `load_state_dict`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...graph import Leaf


def state_array(optimizer: Any, number: int, key: str) -> Callable[[list[Any]], Any]:
    return lambda _args: optimizer.state[number][key].array


def state_number(optimizer: Any, number: int, key: str) -> Callable[[], Any]:
    return lambda: optimizer.state[number][key]


def state_setter(optimizer: Any, number: int, key: str) -> Callable[[Any], None]:
    def write(value: Any) -> None:
        optimizer.state[number][key] = value

    return write


def grad_array(leaf: Leaf) -> Callable[[list[Any]], Any]:
    return lambda _args: leaf.grad.array


def argument_grad_array(place: int) -> Callable[[list[Any]], Any]:
    return lambda args: args[place].node.grad.array


def offset_setter(generator: Any) -> Callable[[Any], None]:
    def write(offset: Any) -> None:
        generator.offset = offset

    return write


def setting_number(optimizer: Any, where: int, key: str, place: int | None = None) -> Callable[[], Any]:
    if place is None:
        return lambda: optimizer.param_groups[where][key]
    return lambda: optimizer.param_groups[where][key][place]

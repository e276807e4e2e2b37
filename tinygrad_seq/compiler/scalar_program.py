"""The numbers of a program, such as learning rates and counts of steps, as one Python function.

Adam has ten for each parameter, so that calling one function for each would be felt in a small model's step: they are
source text, compiled as one function.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from .program import GIVEN, Number

_SIGNS = {
    operator.add: "+",
    operator.sub: "-",
    operator.mul: "*",
    operator.truediv: "/",
    operator.floordiv: "//",
    operator.mod: "%",
    operator.pow: "**",
}


def evaluation(numbers: Sequence[tuple[Callable[..., Any], tuple[Any, ...]]]) -> Callable[[list[Any]], list[Any]]:
    """A function of the values of a call's argument tree that evaluates all of them, in order.

    Args:
        numbers: for each a function and its arguments: `Number`s before it, GIVEN for those values, and Python numbers.
    """
    known: dict[str, Any] = {}  # by name: functions, and Python numbers
    lines: list[str] = []
    names: list[str] = []  # of each number
    for index, (function, args) in enumerate(numbers):
        given = []
        for a in args:
            if type(a) is Number:
                given.append(names[a.index])
            elif a is GIVEN:
                given.append("given")
            else:
                given.append(f"c{len(known)}")
                known[given[-1]] = a
        sign = _SIGNS.get(function)
        if sign is not None and len(given) == 2:
            text = f"{given[0]} {sign} {given[1]}"
        else:
            known[f"f{index}"] = function
            text = f"f{index}({', '.join(given)})"
        lines.append(f"    n{index} = {text}")
        names.append(f"n{index}")
    exec("\n".join(["def numbers(given):", *lines, f"    return [{', '.join(names)}]"]), known)
    return known["numbers"]

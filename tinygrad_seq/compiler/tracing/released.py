"""Whether anybody still has what stood for arrays and arguments while a call was watched."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import ref

from ...graph import Value
from ...graph.tracing_hook import CompileError
from ..program import Var
from .proxies import ProxyArray


def require_released(
    name: str, made_here: Sequence[ref[ProxyArray]], stand_ins: Sequence[ref[Any]], lines: Mapping[Var, str]
) -> bool:
    """Let tensors that somebody still has hold the numbers of this call.

    Args:
        name: of the function.
        made_here: the arrays that were watched.
        stand_ins: for the arguments.
        lines: where in the user's code each Var was computed; one that is not there is the same at each call.

    Returns:
        Whether somebody has kept one that is the same at each call.

    Raises:
        CompileError: if another one is kept, for a replay would not put another one there.
    """
    for generation in range(3):  # what was made just now is mostly in the youngest, which takes no time
        if all(made() is None for made in made_here) and all(x() is None for x in stand_ins):
            return False
        gc.collect(generation)
    left = [traced for made in made_here if (traced := made()) is not None]
    for holder in gc.get_referrers(*left) if left else ():
        if issubclass(type(holder), Value):  # not isinstance: some objects answer that with a warning
            holder.array = holder.array.value
    kept = next((traced for traced in left if traced.variable in lines), None)
    if any(x() is not None for x in stand_ins):
        raise CompileError(
            f"compile: {name} keeps one of its arguments in a list, an attribute or a global, which a replay "
            "would not do again; do that outside"
        )
    if kept is not None:
        raise CompileError(
            f"compile: {name} keeps a tensor of shape {kept.shape} in a list, an attribute or a global, which a replay "
            f"would not do again; return it instead, by itself or in tuples, lists and dictionaries "
            f"({lines[kept.variable]})"
        )
    return bool(left)

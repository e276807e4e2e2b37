"""The last kernels of a program write what a call changes, such as parameters, right where it lies.

They are one call of native code, which no interrupt can come into, and everything that can refuse a call comes before
it: so the step is whole or has not been, as it is where new values are copied at the end. That saves the copies, and
the memory for them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...backend import Array
from ..operations import VIEWS
from ..program import Instr, Program, Var


def trailing_kernels(kernels: Sequence[bool]) -> int:
    """Of a program's parts, from which on all are kernels."""
    first = len(kernels)
    while first and kernels[first - 1]:
        first -= 1
    return first


def donated_outputs(
    program: Program, parts: list[list[Instr]], first: int, arrays: dict[Var, Array]
) -> dict[Var, Array]:
    """What can be made where the source lies that it is to replace, with the source's array.

    Args:
        first: of the parts that are the last kernels.
        arrays: where everything lies so far.
    """
    when = {instr.out: (n, k) for n, part in enumerate(parts) for k, instr in enumerate(part)}
    readers: dict[Var, list[Instr]] = {}
    for instr in program.instrs:
        for v in instr.inputs():
            readers.setdefault(v, []).append(instr)

    def last_read(v: Var, viewed: bool = False) -> tuple[float, float]:
        """The part, and the operation in it, that reads it last; a view may be read in another order of elements."""
        times: list[tuple[float, float]] = [(-1, 0)]
        for reader in readers.get(v, ()):
            n, k = last_read(reader.out, True) if reader.op in VIEWS else when[reader.out]
            times.append((n, math.inf if viewed else k))
        return max(times)

    found: dict[Var, Array] = {}
    for source, made in program.stores.items():
        array, time = arrays[source], when.get(made, (-1, 0))
        alike = array.flags.c_contiguous and (made.shape, made.dtype) == (source.shape, source.dtype)
        viewed = any(reader.op in VIEWS for reader in readers.get(made, ()))  # and then perhaps by somebody outside
        if time[0] >= first and alike and not viewed and last_read(source) <= time:
            found[made] = array
    return found

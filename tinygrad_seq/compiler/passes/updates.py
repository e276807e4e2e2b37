"""What a slice finds of an array that was put together by updates: what was put there, or what was there before.

A loop that writes `out[t]` and reads `out[t - 1]` is a chain of updates with a slice of each; so is its way back. With
each slice taken where its numbers come from, nobody needs the steps between.
"""

from __future__ import annotations

from typing import Any

from ..program import Instr, Var

Span = tuple[int, int, int, bool]  # from, to, by; and whether it is one number, whose dimension is not there


def spans(index: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[Span, ...] | None:
    """An index as one span for each dimension; None if it is more than that."""
    given = [i for i in index if i is not Ellipsis]
    if any(not isinstance(i, (int, slice)) for i in given) or len(index) - len(given) > 1:
        return None
    rest = [slice(None)] * (len(shape) - len(given))
    at = next((n for n, i in enumerate(index) if i is Ellipsis), len(given))
    found: list[Span] = []
    for i, n in zip([*given[:at], *rest, *given[at:]], shape, strict=True):
        if isinstance(i, int):
            found.append((i % n, i % n + 1, 1, True))
        else:
            start, stop, step = i.indices(n)
            found.append((start, stop, step, False))
    return tuple(found)


_FAR = 64  # updates that a slice is taken past, so that an array of a thousand is not looked through a thousand times


def are_apart(one: tuple[Span, ...], other: tuple[Span, ...]) -> bool:
    """Whether no element is in both."""
    pairs = zip(one, other, strict=True)
    return any(a[2] > 0 < b[2] and (a[1] <= b[0] or b[1] <= a[0]) for a, b in pairs)


class Updates:
    """The updates of a program, by what they make.

    Args:
        producers: what makes each Var.
    """

    def __init__(self, producers: dict[Var, Instr]) -> None:
        self._producers = producers
        self._spans: dict[Var, tuple[Span, ...] | None] = {}

    def source(self, x: Var, index: tuple[Any, ...], out: Var) -> tuple[Var, bool]:
        """Where the numbers of x[index] come from: an array to slice, or, then True, the numbers themselves."""
        wanted = spans(index, x.shape)
        for _ in range(_FAR):
            made = self._producers.get(x)
            if wanted is None or made is None or made.op != "update" or len(made.args) != 2:
                break
            if x not in self._spans:
                self._spans[x] = spans(made.params["index"], x.shape)
            there, value = self._spans[x], made.args[1]
            if there is None:
                break
            if there == wanted:
                if type(value) is Var and (value.shape, value.dtype) == (out.shape, out.dtype):
                    return value, True
                break
            if not are_apart(there, wanted):
                break
            x = made.args[0]
        return x, False

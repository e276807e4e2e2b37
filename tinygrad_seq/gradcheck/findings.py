"""What is found of one input: entries that are right, at a kink, wrong, and where in the model they are."""

from __future__ import annotations

from typing import Any

from ..backend import Array, array_module
from .compare import Comparison
from .kinks import Nearby
from .numeric import Slopes
from .report import Entry, InputReport

host: Any = array_module(0.0)


class Findings:
    """What is found of input number i, and what it takes to find it.

    Args:
        exhaustive: whether every entry is looked at.
        certified: whether the complex step can be believed; None if that is to be found out.
    """

    c: Comparison
    i: int
    exhaustive: bool
    x: Array
    g: Array
    kinks: Any

    def __init__(self, c: Comparison, i: int, exhaustive: bool, certified: bool | None = None) -> None:
        self.c, self.i, self.exhaustive = c, i, exhaustive
        self.x, self.g = c.arrays[i], c.gradients[i]
        self.report: InputReport = InputReport(c.probe.subject.names[i], tuple(self.x.shape), entries=int(self.x.size))
        self.steppable: Any = c.scales[i] > 0
        self.tested: Any = host.zeros(self.x.shape, dtype=bool)
        self.kinks = host.zeros(self.x.shape, dtype=bool)
        self.certified = certified
        self.directions = 2  # along which differences look
        self.lines: list[tuple[Array, Slopes]] = []  # directions and all that differences say along them
        self.bends = False  # whether there is a kink here of all outputs
        self.near: dict[Any, Nearby] = {}
        self.line: tuple[Array, Array] | None = None  # a direction and the derivatives along it

    def _counts(self) -> None:
        report, wrong = self.report, host.zeros(self.x.shape, dtype=bool)
        for entry in report.wrong:
            wrong[entry.index] = True
        zero = (self.g == 0) & ~self.kinks & ~wrong & self.steppable
        report.zero = int((zero & ~self.tested).sum() if not self.certified else zero.sum())
        report.kinks = int((self.kinks & ~wrong).sum())
        report.tested = int((self.tested & ~zero & ~self.kinks & ~wrong).sum())
        seen = report.tested + report.zero + report.kinks + len(report.wrong)
        unseen = max(report.entries - seen, 0)
        report.undecided = min(unseen, int((~self.steppable).sum()))
        report.below_noise = unseen - report.undecided
        if report.wrong or report.problems:
            report.verdict = "fail"
            if self.c.missing[self.i]:
                report.problems.append("no gradient arrives here, though the outputs depend on it")
        elif not report.tested and not report.kinks:
            report.verdict = "not tested"
            if self.c.probe.words:
                report.notes.append(f"next to the given inputs the function raises {self.c.probe.words}")

    def _misshapen(self) -> bool:
        """What can be said without a derivative: another shape, a nan where the values are finite."""
        x, g, report = self.x, self.g, self.report
        if g.shape != x.shape:
            report.verdict = "fail"
            report.problems.append(f"the gradient has shape {g.shape}, the input {x.shape}")
            if _broadcasts(x.shape, g.shape):
                report.guess = "a missing sum over the dimensions along which the input was broadcast"
            elif g.shape == x.shape[::-1]:
                report.guess = "a missing (or a needless) transpose"
            return True
        if not host.isfinite(g).all():
            where = tuple(int(k) for k in host.argwhere(~host.isfinite(g))[0])
            report.verdict = "fail"
            report.problems.append(f"the gradient at index {list(where)} is {g[where]}, though the outputs are finite")
            return True
        return False

    def require_nearby(self, where: str, mask: Array | None = None, seen: bool = False) -> None:
        """The claimed gradient must be one of points arbitrarily near, or a mean of such.

        Args:
            seen: and these must differ: without a kink there is no excuse.
        """
        near = self._nearby(mask)
        right = near.right(self.i) or near.by_values(self.i)
        if not right or not near.allowed(self.i).all() or (seen and not near.bends(self.i).any()):
            say = "the gradient is not what the values say, nor one of points arbitrarily near"
            self.report.problems.append(f"{where}, {say}")
            self.report.verdict = "fail"
        else:
            self.kinks |= near.bends(self.i) > 0

    def _beside_kinks(self, off: dict[int, float], mask: Array | None = None) -> list[int]:
        """Those of the suspects, which are off by so much, that are wrong even if there is a kink here."""
        near, suspects = self._nearby(mask), list(off)
        if not near.gradients:
            return suspects
        if not near.right(self.i, suspects) and not near.by_values(self.i):
            return suspects
        allowed = near.allowed(self.i).reshape(-1)
        if not near.right(self.i, suspects):  # at the points that were added
            return suspects
        innocent = near.explains(self.i, {k: by for k, by in off.items() if allowed[k]})
        self.kinks.reshape(-1)[innocent] = True
        self.kinks |= allowed.reshape(self.x.shape) & (near.bends(self.i) > 0)
        return [k for k in suspects if k not in innocent]

    def _nearby(self, mask: Array | None) -> Nearby:
        key = None if mask is None else mask.tobytes()
        if key not in self.near:
            self.near[key] = Nearby(self.c, bool(self.certified), mask)
        return self.near[key]

    def _wrong(self, flat: int, numeric: float, error: float) -> None:
        index = tuple(int(k) for k in host.unravel_index(flat, self.x.shape))
        if not any(entry.index == index for entry in self.report.wrong):
            self.report.wrong.append(Entry(index, float(self.g[index]), numeric, error, place=self._place(index)))

    def _place(self, index: tuple[int, ...]) -> str:
        """Gate of a recurrent weight, time step of a sequence."""
        subject = self.c.probe.subject
        gates = subject.gates.get(self.report.name)
        if gates and len(gates) > 1 and index:
            return f" (gate {gates[index[0] * len(gates) // self.x.shape[0]]})"
        time = subject.time_dim
        if len(index) == 3 and subject.gates and self.report.name == "input 0" and time is not None:
            return f" (time step {index[time]})"
        return ""


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Whether broadcasting stretches one shape to the other."""
    lead = len(to) - len(shape)
    return lead >= 0 and all(n in (1, m) for n, m in zip(shape, to[lead:], strict=True))

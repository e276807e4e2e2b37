"""One input of a comparison: which witness speaks, and what it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..backend import Array, array_module
from .analytic import Analytic
from .compare import QUICK
from .differences import Differences
from .numeric import STEPS, Slopes
from .report import InputReport

host: Any = array_module(0.0)

LATER = 12  # calls to keep for other cotangents, larger inputs and the given precision


class Look(Analytic, Differences):
    """By the complex step where differences agree with it, else by differences."""

    def go(self) -> InputReport:
        """Fill in the report."""
        report = self.report
        if self._misshapen() or not self.x.size:
            return report
        if self.certified is None:
            self.certified = self.steppable.any() and self._certify()
        by = "complex step" if self.certified else "central differences"
        one_by_one = self.exhaustive and (self.certified or self.c.probe.left > 2 * STEPS * self.x.size + LATER)
        report.how = f"{'every entry' if one_by_one else 'random directions'}, {by}"
        if self.steppable.any():
            if not self.certified:
                self._by_differences(one_by_one)
            elif one_by_one:
                self._every_entry()
            else:
                self._directions()
        self._counts()
        return report

    def again(self, lines: Sequence[tuple[Array, Slopes]] = (), few: bool = False) -> InputReport:
        """Along one direction only, and all of it if that disagrees: for a second point or other cotangents.

        Args:
            lines: directions along which all is known, as at the same point under other cotangents.
            few: calls are left: what the error of the direction explains is not looked into.
        """
        if lines and not self.certified:
            self.lines, self.directions = list(lines), len(lines)
            return self.go()
        if self._misshapen() or not self.steppable.any():
            return self.report
        d = self.c.direction(self.i)
        claimed, size = float((self.g * d).sum()), float(abs(self.g * d).sum())
        if self.certified:
            exact = self.c.complex_step(self.i, d)
            numeric = None if exact is None else self.c.summed(exact)
        else:
            found = self.c.slopes(self.i, d, QUICK)
            usable = host.isfinite(found.error) & (self.c.w != 0)
            numeric = self.c.summed(found.value) if usable[self.c.w != 0].all() else None
        tolerance = max(1e-12, self.c.rtol if self.c.rtol > 1e-8 else 0) * size
        if few and not self.certified:
            tolerance += self.c.error(found, self.c.w != 0)
            if numeric is None:
                return self.report
        if numeric is None or not abs(claimed - numeric) <= tolerance:
            self.go()
        return self.report

    def _certify(self) -> bool:
        """Whether the complex step can be believed: differences along a random direction agree with it."""
        c, d = self.c, self.c.direction(self.i)
        exact = c.complex_step(self.i, d)
        if exact is None:
            return False
        self.line = d, exact
        quick = c.slopes(self.i, d, QUICK)
        apart = c.agreement(exact, quick)
        if apart is not None and apart > 1e-9:
            self.lines = [(d, c.slopes(self.i, d))]
            apart = c.agreement(exact, self.lines[0][1])
        self.bends: bool = apart is None and bool((quick.bent & (c.w != 0)).any())
        if apart is None:  # at a kink of all outputs: beside it
            moves = [1e-3 * s * c.rng.uniform(-1, 1, x.shape) for x, s in zip(c.arrays, c.scales, strict=True)]
            point = [x + m for x, m in zip(c.arrays, moves, strict=True)]
            exact, here = c.complex_step(self.i, d, point), c.probe.outputs(point, c.weights)
            if exact is None or here is None:
                return False
            apart = c.agreement(exact, c.slopes(self.i, d, (3, 4, 5), point, here))
        self.report.agreement = None if apart == float("inf") else apart
        return apart is None or apart < 1.0

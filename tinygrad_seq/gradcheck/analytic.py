"""One input by the complex step: entry by entry, or along directions and at single entries where one disagrees."""

from __future__ import annotations

from typing import Any

from ..backend import Array, array_module
from .compare import SAFETY, bisected, largest, only
from .findings import Findings
from .numeric import COMPLEX_STEP

host: Any = array_module(0.0)

LOCATED = 8  # wrong entries to look for when directions find something


class Analytic(Findings):
    """By the complex step."""

    tested: Array

    def _every_entry(self) -> None:
        exact = host.zeros(self.x.size)
        reached = host.ones(self.x.size, dtype=bool)
        for flat in host.flatnonzero(self.steppable):
            exact[flat], reached[flat] = self._entry(int(flat))
        exact = exact.reshape(self.x.shape)
        size = host.maximum(abs(self.g), abs(exact))
        suspects = (abs(self.g - exact) > self.c.rtol * size) & self.steppable & reached.reshape(self.x.shape)
        self.tested = (size > 0) & self.steppable & ~suspects
        if suspects.any():
            self._settle([int(k) for k in host.flatnonzero(suspects)], exact)
        if self.report.wrong:
            return
        if self.bends:
            self.require_nearby("at a kink")
        else:
            self._together()

    def _together(self) -> None:
        """Along directions in which all entries move: at ties each may be right by itself, and their sum wrong."""
        c = self.c
        alike = host.where(self.steppable, float(host.median(c.scales[self.i])), 0.0)
        for d, exact in (*([self.line] if self.line else []), (alike, c.complex_step(self.i, alike))):
            if exact is None or not host.isfinite(exact[c.w != 0]).all():
                continue
            off = abs(float((self.g * d).sum()) - c.summed(exact))
            if off > 1e-6 * float(abs(self.g * d).sum()) and off > SAFETY * float(abs(c.noise[self.i] * d).sum()):
                self.require_nearby("along a direction in which all entries move")
                return

    def _entry(self, flat: int, step: float = COMPLEX_STEP) -> tuple[float, bool]:
        """The derivative by one entry, and whether there is one."""
        unit = host.zeros(self.x.size)
        unit[flat] = 1.0
        exact = self.c.complex_step(self.i, unit.reshape(self.x.shape), step=step)
        if exact is None or not host.isfinite(exact[self.c.w != 0]).all():
            return 0.0, False
        return self.c.summed(exact), True

    def _directions(self) -> None:
        """A few random directions; where one disagrees, halves of it, down to the entries."""
        c, g = self.c, self.g
        size = abs(g)
        for exponent in (0.0, 0.5, 1.0):
            d = c.direction(self.i, exponent)
            exact = c.complex_step(self.i, d)
            if exact is None or not host.isfinite(exact[c.w != 0]).all():
                continue
            numeric, claimed = c.summed(exact), float((g * d).sum())
            whole = float(abs(g * d).sum())
            tolerance = 1e-14 * max(whole, abs(numeric)) + 1e-15 * float(abs(c.w * exact)[c.w != 0].sum())
            if abs(claimed - numeric) > tolerance:
                again = c.complex_step(self.i, d, step=0.73 * COMPLEX_STEP)
                off = 0.0 if again is None else abs(numeric - c.summed(again))
                tolerance += SAFETY * (off + float(host.sqrt(((c.noise[self.i] * d) ** 2).sum())))
                drowned = c.resolution(self.i)
                tolerance += float((drowned * abs(d))[size < 100 * drowned].sum())
            if c.rtol > 1e-8:
                tolerance += c.rtol * whole
            self.tested |= size * abs(d) > 10 * tolerance
            if abs(claimed - numeric) > tolerance:

                def off_by(part: Array, d: Array = d) -> float:
                    masked = only(d, part)
                    there = c.complex_step(self.i, masked)
                    return float((g * masked).sum()) - (0.0 if there is None else c.summed(there))

                found = list(bisected(host.flatnonzero(d), claimed - numeric, off_by, tolerance, LOCATED))
                exact_at = host.zeros(self.x.shape)
                for flat in found:
                    exact_at.reshape(-1)[flat] = self._entry(flat)[0]
                if self._settle(found, exact_at):
                    break
                if not self.kinks.any() and abs(claimed - numeric) > max(1e-6 * whole, 10 * tolerance):
                    self.require_nearby("along a random direction")
                    break

    def _settle(self, suspects: list[int], exact: Array) -> bool:
        """Entries that disagree: rounding, a kink, or wrong. Whether any is wrong."""
        c, i = self.c, self.i
        exact, ours = exact.reshape(-1), self.g.reshape(-1)
        noise = c.noise[i].reshape(-1)
        tolerance = c.rtol * host.maximum(abs(ours), abs(exact)) + SAFETY * noise
        off = {k: abs(ours[k] - exact[k]) for k in suspects}
        # so small that no difference of values could show it: of a saturated function, of which nothing can be said
        drowned = c.resolution(i).reshape(-1)
        left = [
            k for k in suspects if off[k] > tolerance[k] + (drowned[k] if abs(exact[k]) < 100 * drowned[k] else 0.0)
        ]
        for k in [k for k in left if off[k] < 1e-6 * abs(exact[k])][:LOCATED]:  # the complex step has a rounding, too
            again, there = self._entry(k, 0.73 * COMPLEX_STEP)
            tolerance[k] += SAFETY * abs(again - exact[k]) if there else 0.0
        left = [k for k in left if off[k] > tolerance[k]]
        size = (c.size(i) + largest(ours)).reshape(-1)
        if left and all(off[k] < 1e-8 * size[k] for k in left):
            tolerance += SAFETY * c.gradient_scatter[i].reshape(-1)
            left = [k for k in left if off[k] > tolerance[k]]
            drowned = c.resolution(i, measured=True).reshape(-1) if left else drowned
            left = [
                k for k in left if off[k] > tolerance[k] + (drowned[k] if abs(exact[k]) < 100 * drowned[k] else 0.0)
            ]
        if left:
            left = self._beside_kinks({k: off[k] for k in left})
        for k in suspects:
            if k not in left and not self.kinks.reshape(-1)[k]:
                self.tested.reshape(-1)[k] |= abs(ours[k]) > 10 * tolerance[k] and abs(ours[k]) > 100 * drowned[k]
        for k in left:
            self._wrong(k, float(exact[k]), float(SAFETY * noise[k]))
        return bool(left)

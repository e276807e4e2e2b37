"""One input by differences: along directions, output elements that bend or are little known apart from the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..backend import Array, array_module
from .analytic import LOCATED
from .compare import SAFETY, bisected, only
from .findings import Findings
from .numeric import Slopes

host: Any = array_module(0.0)

LOCATING = 100  # calls to spend on looking for wrong entries, once there is one
RESERVE = 24  # calls to keep for the points next to the given one
ROUGH = 1e-6  # error of a direction, as a part of it, above which short steps say nothing
TURNS = 6  # directions to try until there is one in which the function has values
FEW = 8  # entries for each of which there are calls to know them well
SINGLY = 64  # entries that are looked at one by one when a direction disagrees


class Differences(Findings):
    """By differences."""

    slopes_along: Slopes

    def _by_differences(self, one_by_one: bool) -> None:
        """Along random directions, output elements that bend or that are little known apart from the others."""
        c = self.c
        if one_by_one:
            self._every_entry_by_differences()
            return
        for d, found in self._known_lines():
            self.slopes_along = found
            for mask in _tiers(found, c.w):
                if self._tier(d, found, mask):
                    return
            bent = found.bent & (c.w != 0)
            if bent.any():
                self._bent(bent)
            if self.report.wrong or self.report.problems:
                return
        self._adds_up()

    def _known_lines(self) -> Iterator[tuple[Array, Slopes]]:
        """Directions with what differences say along them, measured where they are not known."""
        for k in range(self.directions):
            if len(self.lines) == k:
                for _ in range(TURNS):  # next to several bounds few directions lead to where the function has values
                    d = self.c.direction(self.i, exponent=float(k > 0))
                    found = self.c.slopes(self.i, d)
                    if host.isfinite(found.error[self.c.w != 0]).any():
                        break
                self.lines.append((d, found))
            yield self.lines[k]

    def _adds_up(self) -> None:
        """The gradients by parts of the outputs, which were looked at, must add up to that by all, which people get."""
        c, used = self.c, self.c.w != 0
        known = [*_tiers(self.slopes_along, c.w), self.slopes_along.bent & used]
        parts = [part for part in [*known, used & ~host.logical_or.reduce(known)] if part.any()]
        if len(parts) < 2:
            return
        gradients = [c.gradients_at(c.arrays, mask=part.astype(float))[self.i] for part in parts]
        if any(g.shape != self.x.shape for g in gradients):
            self.report.problems.append("the gradient by some of the outputs has another shape than that by all")
            return
        with host.errstate(all="ignore"):
            off, size = abs(sum(gradients) - self.g), sum(abs(g) for g in gradients)
        if (off > c.rtol * size).any() and (off > c.rtol * size + SAFETY * c.noise[self.i]).any():
            self.report.problems.append("the gradients by some of the outputs do not add up to that by all of them")

    def _tier(self, d: Array, found: Slopes, mask: Array) -> bool:
        """Some output elements along a direction. Whether anything is wrong."""
        c, i = self.c, self.i
        whole = bool(mask[c.w != 0].all())
        g = self.g if whole else c.gradients_at(c.arrays, mask=mask.astype(float))[i]
        if g.shape != self.x.shape:
            return False
        claimed, numeric = float((g * d).sum()), c.summed(found.value, mask)
        rtol = c.rtol if c.rtol > 1e-8 else 1e-14
        tolerance = c.error(found, mask) + rtol * float(abs(g * d).sum())
        if abs(claimed - numeric) > tolerance:
            tolerance += SAFETY * float(host.sqrt(((c.noise[i] * d) ** 2).sum()))
        if abs(claimed - numeric) <= tolerance:
            self.tested |= abs(g * d) > 10 * tolerance
            return False
        located = self._located(d, g, mask, claimed - numeric, tolerance)
        off = {k: abs(float(g.reshape(-1)[k]) - value) for k, value, _ in located}
        part = None if whole else mask.astype(float)
        left = self._beside_kinks(off, part) if located else []
        for k, value, error in located:
            if k in left:
                if whole:
                    self._wrong(k, value, error)
                else:  # of the outputs looked at; as if the others were right
                    self._wrong(k, float(self.g.reshape(-1)[k]) - float(g.reshape(-1)[k]) + value, error)
        if not located and self.x.size <= SINGLY and abs(claimed - numeric) <= c.rtol * float(abs(g * d).sum()):
            return False  # as little as is no mistake of an entry
        if not located:
            where = f"along a random direction, {claimed:.10g} against {numeric:.10g} ± {tolerance:.1e}"
            self.require_nearby(where, part, seen=True)
        return bool(left or self.report.problems)

    def _located(self, d: Array, g: Array, mask: Array, off: float, tolerance: float) -> list[tuple[int, float, float]]:
        """Entries that make a direction disagree: index, derivative, error."""
        c, found = self.c, []
        entries = host.flatnonzero(d)

        def measured(part: Array, steps: Any) -> tuple[float, float]:
            there = c.slopes(self.i, only(d, part), steps)
            usable = mask & host.isfinite(there.value) & (host.isfinite(there.error) | (len(steps) == 1))
            return c.summed(there.value, usable), c.error(there, usable)

        def singly(steps: Any, rough: float) -> None:
            for k in entries:
                numeric, error = measured(host.array([k]), steps)
                part = d.reshape(-1)[k]
                if not host.isfinite(error) or len(steps) == 1:
                    error = rough * abs(numeric) + tolerance / 10
                if abs(g.reshape(-1)[k] * part - numeric) > error + c.rtol * abs(numeric):
                    found.append((int(k), numeric / part, error / abs(part)))

        left = c.probe.left - RESERVE
        if c.error(self.slopes_along, mask) > ROUGH * float(abs(g * d).sum()):
            if entries.size <= SINGLY:
                singly((0,), 1e-2)
        elif entries.size <= SINGLY:
            enough = 6 * entries.size
            singly((3, 4, 5) if left >= enough else (4, 5) if left >= 4 * entries.size else (4,), 1e-4)
            if not found and left < enough and entries.size <= FEW:
                singly((2, 3, 4), 1e-4)
        if not found:
            found = self._behind_outputs(d, mask, off, tolerance, measured)
        return found

    def _behind_outputs(
        self, d: Array, mask: Array, off: float, tolerance: float, measured: Any
    ) -> list[tuple[int, float, float]]:
        """The same by halving the output elements, whose derivatives are known, and then the entries behind one."""
        c, start = self.c, self.c.probe.calls
        found: list[tuple[int, float, float]] = []
        values = self.slopes_along.value

        def gradient(part: Array) -> tuple[Array, Array]:
            some = host.zeros(mask.shape, dtype=bool)
            some[part] = True
            return c.gradients_at(c.arrays, mask=some.astype(float))[self.i], some

        def output_off(part: Array) -> float:
            g, some = gradient(part)
            return float((g * d).sum()) - c.summed(values, some)

        for j in bisected(host.flatnonzero(mask & (c.w != 0)), off, output_off, tolerance, LOCATED):
            g, some = gradient(host.array([j]))

            def entry_off(part: Array, g: Array = g, some: Array = some) -> float:
                there = c.slopes(self.i, only(d, part), (4, 5, 6))
                return float((g * only(d, part)).sum()) - c.summed(there.value, some)

            part_off = float((g * d).sum()) - c.summed(values, some)
            likely = host.argsort(-abs(g * d), axis=None)[:2]
            entries = [int(k) for k in likely] if g.size > 1 else [0]
            if not any(abs(entry_off(host.array([k]))) > 0.5 * abs(part_off) for k in entries):
                entries = list(bisected(host.flatnonzero(d), part_off, entry_off, tolerance, 1))
            whole = self.g if mask[c.w != 0].all() else c.gradients_at(c.arrays, mask=mask.astype(float))[self.i]
            for k in entries:
                numeric, error = measured(host.array([k]), (3, 4, 5, 6))
                part = d.reshape(-1)[k]
                wrong = abs(whole.reshape(-1)[k] * part - numeric) > error + c.rtol * abs(numeric)
                if wrong and k not in [known for known, _, _ in found]:
                    found.append((int(k), numeric / part, error / abs(part)))
            if c.probe.calls - start > LOCATING and found:
                break
        return found

    def _every_entry_by_differences(self) -> None:
        """Each entry by itself."""
        c, suspects = self.c, []
        exact, tolerance = host.zeros(self.x.size), host.zeros(self.x.size)
        for flat in host.flatnonzero(self.steppable):
            unit = host.zeros(self.x.size)
            unit[flat] = self.c.scales[self.i].reshape(-1)[flat]
            found = c.slopes(self.i, unit.reshape(self.x.shape))
            self.lines.append((unit.reshape(self.x.shape), found))
            ours = float(self.g.reshape(-1)[flat])
            exact[flat] = c.summed(found.value) / unit[flat]
            error = c.error(found) / unit[flat]
            if not host.isfinite(error):
                continue
            tolerance[flat] = (
                error + c.rtol * max(abs(ours), abs(exact[flat])) + SAFETY * float(c.noise[self.i].reshape(-1)[flat])
            )
            if abs(ours - exact[flat]) > tolerance[flat]:
                suspects.append(int(flat))
            else:
                self.tested.reshape(-1)[flat] = max(abs(ours), abs(exact[flat])) > 10 * tolerance[flat]
        off = {k: abs(float(self.g.reshape(-1)[k]) - float(exact[k])) for k in suspects}
        for k in self._beside_kinks(off) if suspects else []:
            self._wrong(k, float(exact[k]), float(tolerance[k]))

    def _bent(self, bent: Array) -> None:
        """Output elements at a kink: any gradient of points arbitrarily near is right."""
        c, i = self.c, self.i
        whole = bool(bent[c.w != 0].all())
        near = self._nearby(None if whole else bent.astype(float))
        if not near.gradients:
            return
        right = near.right(i) or near.by_values(i)
        g, allowed, bends = near.claimed[i], near.allowed(i), near.bends(i)
        if right:
            self.kinks |= (bends > 0) & allowed
            self.tested |= allowed & (g != 0)
            if allowed.all():
                return
            if allowed.any() or g.size == 1:
                middle = host.stack([h[i] for h in near.gradients]).mean(axis=0)
                for k in host.flatnonzero(~allowed)[:LOCATED]:
                    value = float((self.g - g + middle).reshape(-1)[k])
                    self._wrong(
                        int(k),
                        value,
                        float(host.ptp(host.stack([h[i] for h in near.gradients]), axis=0).reshape(-1)[k]),
                    )
                return
            self.report.problems.append("at a kink: no gradient of points arbitrarily near, nor a mean of such")
        else:
            self.report.problems.append("next to a kink the gradient is not what the values say")


def _tiers(found: Slopes, w: Array) -> list[Array]:
    """Output elements whose derivative is known well, and those of which it is known roughly."""
    usable = host.isfinite(found.error) & ~found.bent & (w != 0)
    if not usable.any():
        return []
    size = abs(found.value)[usable]
    typical = float(host.median(size[size > 0])) if (size > 0).any() else 0.0
    well = usable & (found.error <= 1e-7 * (abs(found.value) + typical) + 1e-300)
    return [mask for mask in (well, usable & ~well) if mask.any()]

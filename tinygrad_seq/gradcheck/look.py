"""One input of a comparison: entry by entry, or along directions and at single entries where one of these disagrees."""

from __future__ import annotations

from typing import Any

from ..backend import Array, array_module
from .compare import QUICK, SAFETY, Comparison, bisected
from .kinks import Nearby
from .numeric import COMPLEX_STEP, STEPS, Slopes
from .report import Entry, InputReport

host = array_module(0.0)

LOCATED = 8  # wrong entries to look for when directions find something
LOCATING = 100  # calls to spend on that, once there is one
SINGLY = 64  # entries that are looked at one by one when differences along a direction disagree


class Look:
    """What is found of input number i.

    Args:
        exhaustive: whether every entry is looked at.
        certified: whether the complex step can be believed; None if that is to be found out.
    """

    def __init__(self, c: Comparison, i: int, exhaustive: bool, certified: bool | None = None) -> None:
        self.c, self.i, self.exhaustive = c, i, exhaustive
        self.x, self.g = c.arrays[i], c.gradients[i]
        self.report = InputReport(c.probe.subject.names[i], tuple(self.x.shape), entries=int(self.x.size))
        self.steppable = c.scales[i] > 0
        self.tested = host.zeros(self.x.shape, dtype=bool)
        self.kinks = host.zeros(self.x.shape, dtype=bool)
        self.certified = certified
        self.bends = False  # whether there is a kink here of all outputs
        self.near: dict[Any, Nearby] = {}
        self.line: tuple[Array, Array] | None = None  # a direction and the derivatives along it

    def go(self) -> InputReport:
        """Fill in the report."""
        report = self.report
        if self._misshapen() or not self.x.size:
            return report
        if self.certified is None:
            self.certified = self.steppable.any() and self._certify()
        by = "complex step" if self.certified else "central differences"
        one_by_one = self.exhaustive and (self.certified or self.c.probe.left > 2 * STEPS * self.x.size)
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

    def again(self, steps: Any) -> InputReport:
        """Along one direction only, and all of it if that disagrees: for a second point or other cotangents."""
        if self._misshapen() or not self.steppable.any():
            return self.report
        d = self.c.direction(self.i)
        claimed, size = float((self.g * d).sum()), float(abs(self.g * d).sum())
        if self.certified:
            exact = self.c.complex_step(self.i, d)
            numeric = None if exact is None else self.c.summed(exact)
        else:
            found = self.c.slopes(self.i, d, steps)
            usable = host.isfinite(found.error) & (self.c.w != 0)
            numeric = self.c.summed(found.value) if usable[self.c.w != 0].all() else None
        tolerance = max(1e-12, self.c.rtol if self.c.rtol > 1e-8 else 0) * size
        if numeric is None or not abs(claimed - numeric) <= tolerance:
            self.go()
        return self.report

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

    # --- the complex step ---

    def _certify(self) -> bool:
        """Whether the complex step can be believed: differences along a random direction agree with it."""
        c, d = self.c, self.c.direction(self.i)
        exact = c.complex_step(self.i, d)
        if exact is None:
            return False
        self.line = d, exact
        apart = c.agreement(exact, c.slopes(self.i, d, QUICK))
        if apart is not None and apart > 1e-9:
            apart = c.agreement(exact, c.slopes(self.i, d))
        self.bends = apart is None
        if apart is None:  # at a kink of all outputs: beside it
            moves = [1e-3 * s * c.rng.uniform(-1, 1, x.shape) for x, s in zip(c.arrays, c.scales, strict=True)]
            point = [x + m for x, m in zip(c.arrays, moves, strict=True)]
            exact, here = c.complex_step(self.i, d, point), c.probe.outputs(point, c.weights)
            if exact is None or here is None:
                return False
            apart = c.agreement(exact, c.slopes(self.i, d, (3, 4, 5), point, here))
        self.report.agreement = None if apart == float("inf") else apart
        return apart is None or apart < 1.0

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

    def require_nearby(self, where: str, mask: Array | None = None) -> None:
        """The claimed gradient must be one of points arbitrarily near, or a mean of such."""
        near = self._nearby(mask)
        if not near.right(self.i) or not near.allowed(self.i).all():
            self.report.problems.append(
                f"{where}, the gradient is not what the values say, nor one of points arbitrarily near"
            )
            self.report.verdict = "fail"
        else:
            self.kinks |= near.bends(self.i) > 0

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
                    masked = _only(d, part)
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
        left = [k for k in suspects if off[k] > tolerance[k] + (drowned[k] if abs(exact[k]) < 100 * drowned[k] else 0.0)]
        for k in [k for k in left if off[k] < 1e-6 * abs(exact[k])][:LOCATED]:  # the complex step has a rounding, too
            again, there = self._entry(k, 0.73 * COMPLEX_STEP)
            tolerance[k] += SAFETY * abs(again - exact[k]) if there else 0.0
        left = [k for k in left if off[k] > tolerance[k]]
        size = (c.size(i) + _largest(ours)).reshape(-1)
        if left and all(off[k] < 1e-8 * size[k] for k in left):
            tolerance += SAFETY * c.gradient_scatter[i].reshape(-1)
            drowned = c.resolution(i, measured=True).reshape(-1)
            left = [k for k in left if off[k] > tolerance[k] + (drowned[k] if abs(exact[k]) < 100 * drowned[k] else 0.0)]
        if left:
            left = self._beside_kinks({k: off[k] for k in left})
        for k in suspects:
            if k not in left and not self.kinks.reshape(-1)[k]:
                self.tested.reshape(-1)[k] |= abs(ours[k]) > 10 * tolerance[k] and abs(ours[k]) > 100 * drowned[k]
        for k in left:
            self._wrong(k, float(exact[k]), float(SAFETY * noise[k]))
        return bool(left)

    def _beside_kinks(self, off: dict[int, float], mask: Array | None = None) -> list[int]:
        """Those of the suspects, which are off by so much, that are wrong even if there is a kink here."""
        near, suspects = self._nearby(mask), list(off)
        if not near.gradients:
            return suspects
        if not near.right(self.i):
            return suspects
        allowed = near.allowed(self.i).reshape(-1)
        innocent = near.explains(self.i, {k: by for k, by in off.items() if allowed[k]})
        self.kinks.reshape(-1)[innocent] = True
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

    # --- differences ---

    def _by_differences(self, one_by_one: bool) -> None:
        """Along random directions, output elements that bend or that are little known apart from the others."""
        c = self.c
        if one_by_one:
            self._every_entry_by_differences()
            return
        for exponent in (0.0, 1.0):
            d = c.direction(self.i, exponent)
            found = c.slopes(self.i, d)
            for mask in _tiers(found, c.w):
                if self._tier(d, found, mask):
                    return
            bent = found.bent & (c.w != 0)
            if bent.any():
                self._bent(bent)
            if self.report.wrong or self.report.problems:
                return

    def _tier(self, d: Array, found: Slopes, mask: Array) -> bool:
        """Some output elements along a direction. Whether anything is wrong."""
        c, i = self.c, self.i
        whole = bool(mask[c.w != 0].all())
        g = self.g if whole else c.gradients_at(c.arrays, mask=mask.astype(float))[i]
        if g.shape != self.x.shape:
            return False
        claimed, numeric = float((g * d).sum()), c.summed(found.value, mask)
        tolerance = SAFETY * float((abs(c.w) * found.error)[mask].sum()) + max(c.rtol if c.rtol > 1e-8 else 0, 1e-14) * float(abs(g * d).sum())
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
        if not located:
            self.require_nearby(
                f"along a random direction, {claimed:.10g} against {numeric:.10g} ± {tolerance:.1e}", part
            )
        return bool(left) or not located

    def _located(self, d: Array, g: Array, mask: Array, off: float, tolerance: float) -> list[tuple[int, float, float]]:
        """Entries that make a direction disagree: index, derivative, error."""
        c, found = self.c, []
        entries = host.flatnonzero(d)

        def measured(part: Array, steps: Any) -> tuple[float, float]:
            there = c.slopes(self.i, _only(d, part), steps)
            usable = mask & host.isfinite(there.value) & (host.isfinite(there.error) | (len(steps) == 1))
            return c.summed(there.value, usable), SAFETY * float((abs(c.w) * there.error)[usable].sum())

        if entries.size <= SINGLY and c.probe.left >= 2 * entries.size:
            steps: Any = (1, 2, 3) if c.probe.left >= 6 * entries.size else (2, 3) if c.probe.left >= 4 * entries.size else (3,)
            for k in entries:
                numeric, error = measured(host.array([k]), steps)
                part = d.reshape(-1)[k]
                if not host.isfinite(error) or len(steps) == 1:
                    error = 1e-4 * abs(numeric) + tolerance / 10
                if abs(g.reshape(-1)[k] * part - numeric) > error + c.rtol * abs(numeric):
                    found.append((int(k), numeric / part, error / abs(part)))
        if not found:
            start = c.probe.calls
            parts = bisected(
                entries, off, lambda part: float((g * _only(d, part)).sum()) - measured(part, (2, 3))[0], tolerance, LOCATED
            )
            for k in parts:
                if c.probe.calls - start > LOCATING and found:
                    break
                numeric, error = measured(host.array([k]), (1, 2, 3, 4))
                part = d.reshape(-1)[k]
                if abs(g.reshape(-1)[k] * part - numeric) > error + c.rtol * abs(numeric):
                    found.append((int(k), numeric / part, error / abs(part)))
        return found

    def _every_entry_by_differences(self) -> None:
        """Each entry by itself."""
        c, suspects = self.c, []
        exact, tolerance = host.zeros(self.x.size), host.zeros(self.x.size)
        for flat in host.flatnonzero(self.steppable):
            unit = host.zeros(self.x.size)
            unit[flat] = self.c.scales[self.i].reshape(-1)[flat]
            found = c.slopes(self.i, unit.reshape(self.x.shape))
            ours = float(self.g.reshape(-1)[flat])
            exact[flat] = c.summed(found.value) / unit[flat]
            error = SAFETY * float((abs(c.w) * found.error)[c.w != 0].sum()) / unit[flat]
            if not host.isfinite(error):
                continue
            tolerance[flat] = error + c.rtol * max(abs(ours), abs(exact[flat])) + SAFETY * float(c.noise[self.i].reshape(-1)[flat])
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
        g, allowed, bends = near.claimed[i], near.allowed(i), near.bends(i)
        if near.right(i):
            self.kinks |= (bends > 0) & allowed
            self.tested |= allowed & (g != 0)
            if allowed.all():
                return
            if allowed.any() or g.size == 1:
                middle = host.stack([h[i] for h in near.gradients]).mean(axis=0)
                for k in host.flatnonzero(~allowed)[:LOCATED]:
                    value = float((self.g - g + middle).reshape(-1)[k])
                    self._wrong(int(k), value, float(host.ptp(host.stack([h[i] for h in near.gradients]), axis=0).reshape(-1)[k]))
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


def _only(d: Array, part: Array) -> Array:
    """A direction with the entries of some flat indices alone."""
    masked = host.zeros(d.size)
    masked[part] = d.reshape(-1)[part]
    return masked.reshape(d.shape)


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Whether broadcasting stretches one shape to the other."""
    lead = len(to) - len(shape)
    return lead >= 0 and all(n in (1, m) for n, m in zip(shape, to[lead:], strict=True))


def _largest(g: Array) -> float:
    return float(abs(g).max(initial=0.0))

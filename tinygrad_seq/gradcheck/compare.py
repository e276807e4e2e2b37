"""The gradients that a function claims against those that its values show, entry by entry or by random directions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from ..backend import Array, array_module
from .numeric import (
    COMPLEX_STEP,
    Estimate,
    central_difference,
    complex_step,
    one_sided_differences,
    scatter_about_a_curve,
)
from .report import Entry, InputReport
from .subjects import Subject

host = array_module(0.0)

RTOL = 1e-9  # of an entry: what is smaller is no mistake of a rule
SAFETY = 20.0  # measured noise is a sample; the true one may be larger by so much
ENOUGH = 20  # wrong entries that were looked at from all sides; then the complex step alone will do
LOCATED = 8  # wrong entries to look for when directions find something


class Comparison:
    """Compares the gradients of one subject at one point, under one set of cotangents.

    Args:
        exhaustive: whether every entry is looked at, or random directions.
        rtol: what is no mistake of a rule, as a part of an entry.
    """

    def __init__(
        self,
        subject: Subject,
        arrays: Sequence[Array],
        cotangents: Sequence[Array],
        rng: Any,
        exhaustive: bool,
        rtol: float = RTOL,
    ) -> None:
        self.subject, self.arrays, self.weights, self.rng = subject, list(arrays), list(cotangents), rng
        self.exhaustive, self.rtol = exhaustive, rtol
        self.missing = [False] * len(self.arrays)
        self.gradients = self._gradients(self.arrays, 1.0)
        self.noise = self._noise()

    def _gradients(self, arrays: Sequence[Array], scale: float) -> list[Array]:
        with _noted("at the given inputs" if arrays is self.arrays else "with all inputs moved a little"):
            found = self.subject.gradients(arrays, [scale * w for w in self.weights])
        self.missing = [g is None for g in found]
        return [
            host.zeros(x.shape) if g is None else host.asarray(g, dtype=float) / scale
            for g, x in zip(found, arrays, strict=True)
        ]

    def _noise(self) -> list[Array]:
        """How far rounding moves each gradient: other roundings of the same, and inputs moved by an ulp or two."""
        samples = [self._gradients(self.arrays, 0.73)]
        for _ in range(2):
            moved = [x * (1 + 2.0**-51 * self.rng.uniform(-1, 1, x.shape)) for x in self.arrays]
            samples.append(self._gradients(moved, 1.0))
        with host.errstate(invalid="ignore"):
            by = [
                [abs(s[i] - g) if s[i].shape == g.shape else 0 * g for s in samples]
                for i, g in enumerate(self.gradients)
            ]
        doubled = self._gradients(self.arrays, 2.0)  # the same to the last bit, as powers of two are not rounded
        self.nonlinear = [
            a.shape == g.shape and bool((abs(a - g) > 1e-9 * _largest(g)).any())
            for a, g in zip(doubled, self.gradients, strict=True)
        ]
        return [_believable(host.max(m, axis=0), g) for m, g in zip(by, self.gradients, strict=True)]

    @cached_property
    def _line(self) -> list[Array]:
        """A direction to move all inputs along, in proportion to them."""
        return [x * self.rng.uniform(0.5, 1.5, x.shape) for x in self.arrays]

    def _at(self, t: float) -> list[Array]:
        return [x + t * d for x, d in zip(self.arrays, self._line, strict=True)]

    @cached_property
    def gradient_scatter(self) -> list[Array]:
        """The rounding noise of each gradient, where moving by an ulp may not show it."""
        scatter = scatter_about_a_curve(lambda t: self._gradients(self._at(t), 1.0))
        return [_believable(noise, g) for noise, g in zip(scatter, self.gradients, strict=True)]

    @cached_property
    def value_scatter(self) -> list[Array]:
        """The rounding noise of each output."""
        values = [y.real for y in self.subject.values(self.arrays)]
        scatter = scatter_about_a_curve(lambda t: [y.real for y in self.subject.values(self._at(t))])
        return [_believable(noise, y, 1e-6) for noise, y in zip(scatter, values, strict=True)]

    def report(self, i: int) -> InputReport:
        """What is found of input number i."""
        x, g = self.arrays[i], self.gradients[i]
        report = InputReport(self.subject.names[i], tuple(x.shape), entries=int(x.size))
        if g.shape != x.shape:
            report.verdict = "fail"
            report.problems.append(f"the gradient has shape {g.shape}, the input {x.shape}")
            if _broadcasts(x.shape, g.shape):
                report.guess = "a missing sum over the dimensions along which the input was broadcast"
            elif g.shape == x.shape[::-1]:
                report.guess = "a missing (or a needless) transpose"
            return report
        if not host.isfinite(g).all():
            return self._not_finite(report, g)
        if self.nonlinear[i]:
            report.verdict = "fail"
            report.problems.append(
                "the gradient is not in proportion to the cotangent: is it left out, or not a factor?"
            )
            return report
        if x.size:
            _Input(self, i, report).look()
        return report

    def _not_finite(self, report: InputReport, g: Array) -> InputReport:
        """A nan where the values are finite is wrong."""
        where = tuple(int(k) for k in host.argwhere(~host.isfinite(g))[0])
        report.verdict = "fail"
        report.problems.append(f"the gradient at index {list(where)} is {g[where]}, though the outputs are finite")
        return report


class _Input:
    """One input of a comparison."""

    def __init__(self, comparison: Comparison, i: int, report: InputReport) -> None:
        self.c, self.i, self.report = comparison, i, report
        self.x, self.g = comparison.arrays[i], comparison.gradients[i]
        magnitude = abs(self.x)
        used = magnitude[magnitude > 0]
        typical = float(host.median(used)) if used.size else 1.0
        self.scale = host.where(magnitude > 0, host.maximum(magnitude, 1e-3 * typical), typical)  # steps in proportion
        self.noise = host.maximum(comparison.noise[i], host.median(comparison.noise[i]))
        self.certified = self._certify()

    def values(self, moved: Array) -> list[Array]:
        """The outputs with this input replaced."""
        arrays = list(self.c.arrays)
        arrays[self.i] = moved
        with host.errstate(all="ignore"), _noted(f"with {self.report.name} moved a little"):
            ys = self.c.subject.values(arrays)
        shapes, expected = [y.shape for y in ys], [w.shape for w in self.c.weights]
        if shapes != expected:
            raise ValueError(
                f"gradcheck: the shape of the result depends on the values: {expected} at the given inputs, {shapes} "
                f"with {self.report.name} moved a little. Such a function has no derivative there"
            )
        return ys

    def by_complex_step(self, direction: Array, step: float = COMPLEX_STEP) -> float:
        return complex_step(self.values, self.x, direction, self.c.weights, step)

    def by_differences(self, direction: Array, first: float = 0.05) -> Estimate:
        return central_difference(self.values, self.x, direction, self.c.weights, self.c.value_scatter, first)

    def random_direction(self) -> Array:
        """Signs at random, no component small, in proportion to the input."""
        signs = host.where(self.c.rng.random(self.x.shape) < 0.5, -1.0, 1.0)
        return signs * self.c.rng.uniform(0.5, 1.5, self.x.shape) * self.scale

    def _certify(self) -> bool:
        """Whether the complex step can be believed: it agrees with differences along a random direction."""
        direction = self.random_direction()
        try:
            exact = self.by_complex_step(direction)
        except Exception:  # whatever a function does with complex numbers that it was not written for
            return False
        silent = [host.zeros(w.shape) for w in self.c.weights]
        for measured in (False, True):  # noise is dear to measure, and seldom needed
            noise = self.c.value_scatter if measured else silent
            rough = central_difference(self.values, self.x, direction, self.c.weights, noise, 0.05, steps=6)
            if abs(exact - rough.value) <= SAFETY * rough.error + 1e-6 * abs(exact):
                return True
        return False

    def look(self) -> None:
        """Fill in the report."""
        by = "complex step" if self.certified else "central differences"
        if self.c.exhaustive:
            self.report.how = f"every entry, {by}"
            for flat in range(self.x.size):
                self.judge(tuple(int(k) for k in host.unravel_index(flat, self.x.shape)))
        else:
            self.report.how = f"random directions, {by}"
            self._directions()
        seen = self.report.tested + self.report.zero + self.report.kinks + len(self.report.wrong)
        self.report.below_noise = max(self.report.entries - seen, 0)
        if self.report.wrong:
            self.report.verdict = "fail"
            if self.c.missing[self.i]:
                self.report.problems.append("no gradient arrives here, though the outputs depend on it")
        elif not self.report.tested and not self.report.kinks:
            self.report.verdict = "not tested"

    # --- one entry ---

    def judge(self, index: tuple[int, ...]) -> bool:
        """Compare one entry; False if it is wrong."""
        unit = host.zeros(self.x.shape)
        unit[index] = 1.0
        ours, noise = float(self.g[index]), SAFETY * float(self.noise[index])
        exact = self.by_complex_step(unit) if self.certified else None
        if exact is not None and abs(ours - exact) <= self.c.rtol * max(abs(ours), abs(exact)) + noise:
            self._count(ours, exact, noise)
            return True
        if exact is not None and len(self.report.wrong) >= ENOUGH:
            return self._wrong(index, ours, Estimate(exact, noise))
        first = 0.05 * float(self.scale[index])
        rough = self.by_differences(unit, first)
        slack = self.c.rtol * max(abs(ours), abs(rough.value)) + noise
        if abs(ours - rough.value) <= SAFETY * rough.error + slack:
            if exact is not None and abs(exact - rough.value) <= SAFETY * rough.error < 0.01 * abs(exact):
                noise = max(noise, SAFETY * float(self.c.gradient_scatter[self.i][index]))
                if abs(ours - exact) > self.c.rtol * max(abs(ours), abs(exact)) + noise:
                    return self._wrong(index, ours, Estimate(exact, noise))  # the sharper of two that agree
            self._count(ours, rough.value, noise + SAFETY * rough.error)
            return True
        left, right = one_sided_differences(self.values, self.x, unit, self.c.weights, self.c.value_scatter, first)
        apart = abs(left.value - right.value)
        if apart > SAFETY * (left.error + right.error) + 1e-6 * max(abs(left.value), abs(right.value)):
            margin = SAFETY * (left.error + right.error) + slack
            if min(left.value, right.value) - margin <= ours <= max(left.value, right.value) + margin:
                self.report.kinks += 1
                return True
        second = self.by_differences(unit, 0.37 * first)  # other steps: was the first unlucky?
        if abs(ours - second.value) <= SAFETY * second.error + slack and exact is None:
            self._count(ours, second.value, noise + SAFETY * second.error)
            return True
        if exact is not None and abs(exact - rough.value) <= SAFETY * rough.error + 1e-6 * abs(exact):
            return self._wrong(index, ours, Estimate(exact, noise))
        return self._wrong(index, ours, rough if rough.error <= second.error else second)

    def _count(self, ours: float, numeric: float, tolerance: float) -> None:
        if ours == 0.0 and numeric == 0.0:
            self.report.zero += 1
        elif max(abs(ours), abs(numeric)) > 10 * tolerance:
            self.report.tested += 1

    def _wrong(self, index: tuple[int, ...], ours: float, numeric: Estimate) -> bool:
        self.report.wrong.append(Entry(index, ours, *numeric, place=self._place(index)))
        return False

    def _place(self, index: tuple[int, ...]) -> str:
        """Gate of a recurrent weight, time step of a sequence."""
        gates = self.c.subject.gates.get(self.report.name)
        if gates and len(gates) > 1 and index:
            return f" (gate {gates[index[0] * len(gates) // self.x.shape[0]]})"
        time = self.c.subject.time_dim
        if len(index) == 3 and self.c.subject.gates and self.report.name == "input 0" and time is not None:
            return f" (time step {index[time]})"
        return ""

    # --- many entries at once ---

    def _directions(self) -> None:
        """Along a few random directions; where one disagrees, halves of it, down to the entries.

        With the complex step also directions in which small gradients weigh as much as large ones, so that one that
        should be small and is 0 shows.
        """
        reached = host.zeros(self.x.shape, dtype=bool)
        size = abs(self.g)
        floor = 1e-12 * float(size.max()) or 1.0
        for exponent in (0.0, 0.5, 1.0) if self.certified else (0.0, 0.0):
            direction = self.random_direction() / (size + floor) ** exponent
            numeric, tolerance = self._along(direction)
            reached |= size * abs(direction) > 10 * tolerance
            if abs(float((self.g * direction).sum()) - numeric) > tolerance:
                for index in self._bisected(direction, tolerance):
                    if not any(entry.index == index for entry in self.report.wrong):
                        self.judge(index)
            if self.report.wrong:
                break
        self.report.zero = int((size == 0).sum())
        self.report.tested = int(reached.sum())

    def _along(self, direction: Array) -> tuple[float, float]:
        """The derivative along a direction, and how far ours may be from it by rounding."""
        claimed = self.g * direction
        noise = 1e-14 * float(abs(claimed).sum()) + float(host.sqrt(((self.c.noise[self.i] * direction) ** 2).sum()))
        if self.certified:
            numeric = self.by_complex_step(direction)
            again = self.by_complex_step(direction, 0.73 * COMPLEX_STEP)
            return numeric, SAFETY * (noise + abs(numeric - again))
        estimate = self.by_differences(direction)
        return estimate.value, SAFETY * (noise + estimate.error)

    def _bisected(self, direction: Array, tolerance: float) -> Iterator[tuple[int, ...]]:
        """Entries that make the direction disagree, at most LOCATED of them."""
        found = 0
        todo = [host.flatnonzero(direction)]
        while todo and found < LOCATED:
            part = todo.pop()
            if part.size == 1:
                found += 1
                yield tuple(int(k) for k in host.unravel_index(int(part[0]), self.x.shape))
                continue
            halves = part[: part.size // 2], part[part.size // 2 :]
            off = [self._off(direction, half) for half in halves]
            suspects = [half for half, by in zip(halves, off, strict=True) if by > tolerance]
            todo += suspects or [halves[int(off[1] > off[0])]]

    def _off(self, direction: Array, part: Array) -> float:
        masked = host.zeros(direction.size)
        masked[part] = direction.reshape(-1)[part]
        masked = masked.reshape(direction.shape)
        numeric = self.by_complex_step(masked) if self.certified else self.by_differences(masked).value
        return abs(float((self.g * masked).sum()) - numeric)


@contextmanager
def _noted(where: str) -> Iterator[None]:
    """Say in an exception of the function where it was called."""
    try:
        yield
    except Exception as error:
        error.add_note(f"gradcheck: raised {where}")
        raise


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Whether broadcasting stretches one shape to the other."""
    lead = len(to) - len(shape)
    return lead >= 0 and all(n in (1, m) for n, m in zip(shape, to[lead:], strict=True))


def _largest(g: Array) -> float:
    return float(abs(g).max(initial=0.0))


def _believable(noise: Array, measured: Array, part: float = 1e-3) -> Array:
    """Without what is no rounding noise but a jump next to a kink, or a wave that is shorter than the spacing."""
    return host.where(noise > part * _largest(measured), 0.0, noise)


def seconds_of(call: Callable[[], Any]) -> float:
    """How long a call takes: the shorter of two."""
    times = []
    for _ in range(2):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)

"""The gradients that a function claims against those that its values show, at one point, under one set of weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from ..backend import Array, array_module
from .numeric import COMPLEX_STEP, WIDEST, Slopes, along, decimal_grid, flat, is_on_grid, scatter_about_a_curve
from .probe import Probe

host: Any = array_module(0.0)

RTOL = 1e-9  # of an entry: what is smaller is no mistake of a rule
SAFETY = 20.0  # measured noise is a sample; the true one may be larger by so much
BELIEVED = 1e3  # roundings: what a gradient in double precision scatters by at most, for its conditioning
QUICK = (1, 2, 3)  # steps that show whether two witnesses agree


class Comparison:
    """One subject at one point, under one set of cotangents.

    Args:
        values: the outputs at this point, if they are known.
        rtol: what is no mistake of a rule, as a part of an entry.
    """

    probe: Probe
    arrays: list[Array]
    weights: list[Array]
    rng: Any
    rtol: float
    here: Array
    w: Array
    rounding: Array
    missing: list[bool]
    gradients: list[Array]
    scales: list[Array]
    grid: float  # of which all values are multiples that have been seen to move

    def __init__(
        self,
        probe: Probe,
        arrays: Sequence[Array],
        cotangents: Sequence[Array],
        rng: Any,
        values: Sequence[Array] | None = None,
        rtol: float = RTOL,
    ) -> None:
        self.probe, self.arrays, self.weights, self.rng, self.rtol = probe, list(arrays), list(cotangents), rng, rtol
        ys = probe.values(arrays) if values is None else values
        self.here, self.w = flat([y.real for y in ys]).astype("float64"), flat(self.weights)
        self.rounding = flat([host.full(y.shape, host.finfo(y.dtype).eps) for y in ys])
        self.missing = [False] * len(self.arrays)
        self.gradients = self.gradients_at(self.arrays)
        self.scales = [_scale(x) for x in self.arrays]
        self.grid, self._looks_like = 0.0, decimal_grid(self.here)

    # --- gradients ---

    def gradients_at(self, arrays: Sequence[Array], scale: float = 1.0, mask: Array | None = None) -> list[Array]:
        """The claimed gradients, by the cotangents times a factor that is taken out again, or by some of them alone."""
        weights = [scale * w for w in self.weights] if mask is None else self.masked(mask)
        found = self.probe.gradients(arrays, weights)
        if arrays is self.arrays and mask is None:
            self.missing = [g is None for g in found]
        return [
            host.zeros(x.shape) if g is None else host.asarray(host.asarray(g, dtype=float) / scale)
            for g, x in zip(found, arrays, strict=True)
        ]

    def masked(self, mask: Array) -> list[Array]:
        """The cotangents of some output elements, zeros for the others."""
        parts, start = [], 0
        for w in self.weights:
            parts.append(w * mask[start : start + w.size].reshape(w.shape))
            start += w.size
        return parts

    def _elsewhere(self, arrays: Sequence[Array], scale: float = 1.0) -> list[Array] | None:
        """The gradients at another point, where the function may raise."""
        try:
            return self.gradients_at(arrays, scale)
        except Exception:
            return None

    @cached_property
    def noise(self) -> list[Array]:
        """How far rounding moves each gradient: other roundings of the same, and inputs moved by an ulp or two."""
        samples = [self._elsewhere(self.arrays, 0.73)]
        for _ in range(2):
            moved = [x * (1 + 2.0**-51 * self.rng.uniform(-1, 1, x.shape)) for x in self.arrays]
            samples.append(self._elsewhere(moved))
        there = [s for s in samples if s is not None]
        found = []
        for i, g in enumerate(self.gradients):
            off = [abs(s[i] - g) for s in there if s[i].shape == g.shape]
            noise = host.max(off, axis=0) if off else 0 * g
            noise = host.where(noise > 1e-3 * largest(g), 0.0, noise)  # no rounding but a jump next to a kink
            with host.errstate(all="ignore"):
                part = noise / abs(g)
            known = host.sort(part[host.isfinite(part)])
            usual = float(known[(known.size - 1) // 2]) if known.size else 0.0
            found.append(self.believable(i, host.maximum(noise, usual * abs(g))))
        return found

    def believable(self, i: int, noise: Array) -> Array:
        """Not more than double precision explains: what is more comes of less precise arithmetic on the way."""
        g, unit = self.gradients[i], float(host.finfo("float64").eps)
        size = self.size(i) + largest(g)
        if (noise > BELIEVED * unit * size).any():
            size = (
                size
                + self.conditioning[i]
                + self.intermediate / unit / host.where(self.scales[i] > 0, self.scales[i], 1.0)
            )
        return host.minimum(noise, BELIEVED * unit * size)

    def size(self, i: int) -> Array:
        """How large a gradient is by the look of the outputs and of the inputs."""
        used = self.w != 0
        largest = float(abs(self.w * self.here)[used].max(initial=0.0))
        return host.where(self.scales[i] > 0, largest / host.where(self.scales[i] > 0, self.scales[i], 1.0), 0.0)

    def resolution(self, i: int, measured: bool = False) -> Array:
        """What rounding of the outputs leaves of each derivative by differences over the widest step."""
        rounding = float(host.finfo("float64").eps) * self.size(i)
        if measured:
            rounding = rounding + self.intermediate / host.where(self.scales[i] > 0, self.scales[i], 1.0)
        return SAFETY * rounding / WIDEST

    @cached_property
    def conditioning(self) -> list[Array]:
        """How far the gradients move, for each part by which the inputs do."""
        moved = self._elsewhere([x * (1 + 1e-9 * self.rng.uniform(-1, 1, x.shape)) for x in self.arrays])
        if moved is None:
            return [0 * g for g in self.gradients]
        return [abs(a - g) / 1e-9 if a.shape == g.shape else 0 * g for a, g in zip(moved, self.gradients, strict=True)]

    def _line(self, t: float) -> list[Array]:
        return [x * (1 + t * d) for x, d in zip(self.arrays, self._lines, strict=True)]

    @cached_property
    def _lines(self) -> list[Array]:
        return [self.rng.uniform(0.5, 1.5, x.shape) for x in self.arrays]

    @cached_property
    def gradient_scatter(self) -> list[Array]:
        """The rounding noise of each gradient, where moving by an ulp may not show it."""
        scatter = scatter_about_a_curve(lambda t: self._elsewhere(self._line(t)))
        if not scatter:
            return [0 * g for g in self.gradients]
        small = [host.where(n > 1e-3 * largest(g), 0.0, n) for n, g in zip(scatter, self.gradients, strict=True)]
        usual = [float(host.sort(n, axis=None)[(n.size - 1) // 2]) if n.size else 0.0 for n in small]
        return [self.believable(i, host.maximum(n, u)) for i, (n, u) in enumerate(zip(small, usual, strict=True))]

    @cached_property
    def intermediate(self) -> float:
        """The rounding noise of the outputs."""

        def outputs(t: float) -> list[Array] | None:
            y = self.probe.outputs(self._line(t), self.weights)
            return None if y is None else [y]

        scatter = scatter_about_a_curve(outputs)
        noise = host.where(scatter[0] > 1e-6 * largest(self.here), 0.0, scatter[0]) if scatter else host.zeros(1)
        return float((abs(self.w) * noise).max(initial=0.0)) if scatter else 0.0

    # --- directions ---

    def direction(self, i: int, exponent: float = 0.0) -> Array:
        """Random signs, in proportion to the input; with an exponent, small gradients weigh as much as large."""
        x = self.arrays[i]
        signs = host.where(self.rng.random(x.shape) < 0.5, -1.0, 1.0)
        d = signs * self.rng.uniform(0.5, 1.5, x.shape) * self.scales[i]
        if exponent:
            size = abs(self.gradients[i]) * self.scales[i]
            largest = float(size.max(initial=0.0)) or 1.0
            d = d / (size / largest + 1e-12) ** exponent
            d = d / max(float((abs(d) / host.where(self.scales[i] > 0, self.scales[i], 1.0)).max(initial=0.0)), 1e-300)
        return d

    def complex_step(
        self, i: int, d: Array, arrays: Sequence[Array] | None = None, step: float = COMPLEX_STEP
    ) -> Array | None:
        """The derivatives of all output elements along a direction of one input."""
        directions = [d if j == i else None for j in range(len(self.arrays))]
        return self.probe.complex_step(self.arrays if arrays is None else arrays, directions, step)

    def slopes(
        self,
        i: int,
        d: Array,
        steps: Sequence[int] | None = None,
        arrays: Sequence[Array] | None = None,
        here: Array | None = None,
    ) -> Slopes:
        """The same by differences, with errors."""
        point = list(self.arrays if arrays is None else arrays)

        def moved(t: float) -> Array | None:
            y = self.probe.outputs([*point[:i], point[i] + t * d, *point[i + 1 :]], self.weights)
            if y is not None and self._looks_like and (y != self.here).any():
                self._looks_like = self._looks_like if is_on_grid(y, self._looks_like) else 0.0
                self.grid = self._looks_like
            return y

        return along(moved, self.here if here is None else here, self.rounding, steps, lambda: self.grid)

    def summed(self, derivatives: Array, mask: Array | None = None) -> float:
        """The derivative of the weighted sum of the outputs; what has weight 0 does not count."""
        used = self.w != 0 if mask is None else (self.w != 0) & mask
        return float((self.w[used] * derivatives[used]).sum())

    def error(self, slopes: Slopes, mask: Array | None = None) -> float:
        """How far that sum may be off: of many errors some cancel, if they do not all come from the same."""
        errors = (abs(self.w) * slopes.error)[self.w != 0 if mask is None else (self.w != 0) & mask]
        return max(float(errors.sum()), SAFETY * float(host.sqrt((errors**2).sum())))

    def agreement(self, exact: Array, slopes: Slopes) -> float | None:
        """How far two witnesses are apart, as a part of the whole; above what the errors explain, infinite.

        None where neither can speak against the other: at kinks, at edges, where nothing is decided.
        """
        usable = (self.w != 0) & host.isfinite(slopes.error) & ~slopes.bent & host.isfinite(exact)
        usable &= slopes.error <= 1e-3 * abs(slopes.value) + 1e-3 * largest(slopes.value[usable])
        if not usable.any():
            return None
        off = abs(exact - slopes.value)[usable]
        size = abs(slopes.value)[usable]
        explained = SAFETY * slopes.error[usable] + RTOL * size + 1e-300
        weight = abs(self.w[usable])
        if (off > explained).any():
            return float("inf")
        return float((weight * off).sum() / max(float((weight * size).sum()), 1e-300))


def bisected(indices: Array, off: float, measure: Any, tolerance: float, most: int) -> Iterator[int]:
    """Entries that make a direction disagree: halves of it, down to one.

    Args:
        off: by how much all of them disagree.
        measure: the same for some of the indices.
    """
    found, todo = 0, [(indices, off)]
    while todo and found < most:
        part, off = todo.pop()
        if part.size == 1:
            found += 1
            yield int(part[0])
            continue
        halves = part[: part.size // 2], part[part.size // 2 :]
        first = measure(halves[0])
        offs = first, off - first
        suspects = [(half, by) for half, by in zip(halves, offs, strict=True) if abs(by) > tolerance]
        todo += suspects or [(halves[int(abs(offs[1]) > abs(offs[0]))], max(offs, key=abs))]


def only(d: Array, part: Array) -> Array:
    """A direction with the entries of some flat indices alone."""
    masked = host.zeros(d.size)
    masked[part] = d.reshape(-1)[part]
    return masked.reshape(d.shape)


def _scale(x: Array) -> Array:
    """Steps in proportion to each entry, none for what is infinite."""
    magnitude = host.where(host.isfinite(x), abs(x), 0.0)
    used = magnitude[magnitude > 0]
    typical = float(host.median(used)) if used.size else 1.0
    scale = host.where(magnitude > 0, host.maximum(magnitude, 1e-3 * typical), typical)
    return host.where(host.isfinite(x), scale, 0.0)


def largest(g: Array) -> float:
    return float(abs(g).max(initial=0.0))

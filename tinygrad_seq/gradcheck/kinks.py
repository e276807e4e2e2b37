"""At a kink a gradient is right if it is one of points arbitrarily near, or a mean of such: Clarke's gradients.

Clarke, "Optimization and Nonsmooth Analysis", 1983, ch. 2.5. Points next to the given one, in pairs on opposite sides,
all inputs moved at once, so that no coordinate and no tie hides a piece of the function. There the gradient must be
right; and what is claimed here must lie within what is found there, entry by entry and along directions.
"""

from __future__ import annotations

from typing import Any

from ..backend import Array, array_module
from .compare import RTOL, SAFETY, Comparison, only
from .numeric import WIDEST, grain

host: Any = array_module(0.0)

PAIRS = 2  # of points next to the given one
TINY = 4  # entries whose gradients nearby can be had from values
FEW = 8  # entries at kinks
MORE = 12  # of pairs, where the first do not show the piece that is claimed
LEAST = 6  # of these, however many calls have been made


class Nearby:
    """The gradients at points next to the one of a comparison, by some of its output elements.

    Args:
        certified: whether the complex step can be believed.
    """

    c: Comparison
    certified: bool
    mask: Any | None

    def __init__(self, comparison: Comparison, certified: bool, mask: Array | None = None) -> None:
        self.c, self.certified, self.mask = comparison, certified, mask
        comparison.probe.more_for_kinks()
        self.reach: float = 1e-9 if certified else 1e-6
        self._from_values: int | None = None  # of which input the gradients are those that the values show
        self._said: dict[Any, bool | None] = {}  # of input, point and entries, whether it is right there
        self._lines: list[Array] = []
        self.points: list[list[Array]] = []
        self.gradients: list[list[Array]] = []
        self.claimed: list[Array] = (
            comparison.gradients if mask is None else comparison.gradients_at(comparison.arrays, mask=mask)
        )
        for _ in range(PAIRS):
            self._look()

    def _look(self, i: int = 0, stretched: Any = 1.0, along: Array | None = None) -> None:
        """Two more points, on opposite sides.

        Args:
            stretched: factors for the moves of input i: among ties the largest move is the first or last, the smallest
                in the middle.
            along: a direction for the move of input i.
        """
        c = self.c
        moves = [self.reach * s * c.rng.uniform(-1, 1, x.shape) for x, s in zip(c.arrays, c.scales, strict=True)]
        if self._from_values is not None:
            moves[i] = self._apart(i)
        moves[i] = moves[i] * stretched
        if along is not None and along.any():
            unit = float(abs(along).max()) / float(c.scales[i].max())
            moves[i] = self.reach * along / unit + 1e-3 * moves[i]
        for sign in (1.0, -1.0):
            point = [x + sign * m for x, m in zip(c.arrays, moves, strict=True)]
            try:
                found = c.gradients_at(point, mask=self.mask)
            except Exception:  # outside of what the function takes
                continue
            if self._from_values is not None:
                found[self._from_values] = self._shown(self._from_values, point)
            if all(host.isfinite(g).all() for g in found):
                self.points.append(point)
                self.gradients.append(found)

    def _apart(self, i: int) -> Array:
        """A move of input i as far as possible from the lines of those before: with few points no piece is left out."""
        c = self.c
        drawn = c.rng.standard_normal((32, c.arrays[i].size))
        drawn /= host.linalg.norm(drawn, axis=1, keepdims=True)
        alike = abs(drawn @ host.stack(self._lines).T).max(axis=1) if self._lines else host.zeros(32)
        self._lines.append(drawn[int(alike.argmin())])
        return self.reach * c.scales[i] * self._lines[-1].reshape(c.arrays[i].shape)

    def by_values(self, i: int) -> bool:
        """Take the gradients that the values show nearby, of a small input whose rule is right at this point alone."""
        if self.certified or self.c.arrays[i].size > TINY:
            return False
        self._from_values, self.points, self.gradients, self._said = i, [], [], {}
        for _ in range(2 * PAIRS):
            if len(self.points) < 2 * PAIRS:  # some may lie at another kink
                self._look()
        return bool(self.points) and bool(self.bends(i).any())

    def _shown(self, i: int, point: list[Array]) -> Array:
        """The gradient of input i at a point, from values; nan where they do not show it."""
        c, found = self.c, host.full(self.c.arrays[i].size, host.nan)
        here = c.probe.outputs(point, c.weights)
        if here is None:
            return found.reshape(c.arrays[i].shape)
        for k in host.flatnonzero(c.scales[i]):
            step = only(WIDEST * self.reach * c.scales[i], k)
            high, low = [
                c.probe.outputs([*point[:i], point[i] + sign * step, *point[i + 1 :]], c.weights)
                for sign in (1.0, -1.0)
            ]
            if high is None or low is None:
                continue
            moved, coarse = abs(high - low), grain(host.stack([high, low, here]))
            curved = abs(high + low - 2 * here) > 1e-3 * moved.max()  # another kink in between
            if not (curved | ((moved > 0) & (coarse > 1e-3 * moved.max())))[c.w != 0].any():
                mask = None if self.mask is None else self.mask > 0
                found[k] = c.summed((high - low) / 2, mask) / step.reshape(-1)[k]
        return found.reshape(c.arrays[i].shape)

    def right(self, i: int, among: Any = None) -> bool:
        """Whether the gradient of input i, or of some of its entries, is right at two of the points.

        At the two with the largest gradients there that say anything: next to another kink they may not.
        """
        part = slice(None) if among is None else among
        sizes = [-float(abs(g[i].reshape(-1)[part]).sum()) for g in self.gradients]
        said: list[bool] = []
        for k in host.argsort(sizes, kind="stable"):
            key = (i, int(k), None if among is None else tuple(among))
            if key not in self._said:
                self._said[key] = self._right_at(i, int(k), among)
            found = self._said[key]
            said += [] if found is None else [found]
            if len(said) == 2 or False in said:
                break
        return all(said) and bool(self.points)

    def _right_at(self, i: int, k: int, among: Any) -> bool | None:
        """Whether the gradient is right at a point; None if that cannot be said."""
        c, point, g = self.c, self.points[k], self.gradients[k][i]
        d = c.direction(i)
        if among is not None:
            d = only(d, among)
        noise = (
            SAFETY * float(host.sqrt(((c.noise[i] * d) ** 2).sum())) + float((c.resolution(i) * abs(d)).sum()) / SAFETY
        )
        if self.certified:
            exact = c.complex_step(i, d, point)
            if exact is None:
                return None
            numeric, claimed = c.summed(exact, self.mask), float((g * d).sum())
            return abs(claimed - numeric) <= max(RTOL, c.rtol) * float(abs(g * d).sum()) + noise
        here = c.probe.outputs(point, c.weights)
        if here is None:
            return None
        found = c.slopes(i, self.reach * d, (0, 1, 2), point, here)
        usable = host.isfinite(found.error) & ~found.bent & (c.w != 0)
        if self.mask is not None:
            usable &= self.mask.astype(bool)
        usual = max(float(abs(h[i] * c.scales[i]).max(initial=0.0)) for h in self.gradients)  # of one entry
        usable &= found.error <= 1e-3 * abs(found.value) + 1e-4 * self.reach * usual + 1e-300
        if not usable.any():
            return None
        whole = self.mask is None and bool(usable[c.w != 0].all())
        g = g if whole else c.gradients_at(point, mask=usable.astype(float))[i]
        numeric = c.summed(found.value, usable) / self.reach
        slack = c.error(found, usable) / self.reach
        return abs(float((g * d).sum()) - numeric) <= slack + noise + 1e-7 * float(abs(g * d).sum())

    def allowed(self, i: int) -> Array:
        """For each entry of input i whether what is claimed is between the gradients nearby.

        None is, where the whole is not along some directions: such in which all entries of this input, or of all
        inputs, move alike, as it takes for ties, and random ones.
        """
        c = self.c
        if not self.gradients:
            return host.zeros(c.arrays[i].shape, dtype=bool)
        moved = [host.where(s > 0, 1.0, 0.0) for s in c.scales]
        alike = [moved, [m if j == i else 0 * m for j, m in enumerate(moved)]]
        shown = self._from_values is not None  # exactly, so that many directions tell a mean from what is none
        random = [[c.direction(j) if j == i else 0 * m for j, m in enumerate(moved)] for _ in range(24 if shown else 2)]
        itself = [g if j == i else 0 * g for j, g in enumerate(self.claimed)]  # no slope nearby along it is as steep
        self._look(i, along=self.claimed[i])
        many = int((self.bends(i) > 0).sum()) > FEW  # convex and concave ones: no one point shows the steepest of all
        for extra in range(MORE + 1):
            inside = self._between(self.claimed[i], host.stack([found[i] for found in self.gradients]), 0.1)
            fits = (
                all(self._along(d, 1e-3) for d in alike)
                and all(self._along(d, widened=0.02 if shown else 0.5) for d in random)
                and (many or self._along(itself, widened=0.1))
            )
            if (inside.all() and fits) or extra == MORE or (extra > LEAST and c.probe.left < 2):
                break
            self._look(i, host.where(inside, 1.0, (1.0, 0.05, 3.0)[extra % 3]))
        return inside if fits else host.zeros(inside.shape, dtype=bool)

    def _along(self, directions: list[Array], sharp: float = host.inf, widened: float = 0.5) -> bool:
        """Whether the whole is between those nearby, along directions of all inputs.

        Args:
            sharp: say nothing where those nearby differ by more than this part: there many kinks add up to anything.
        """

        def of(gradients: list[Array]) -> float:
            return float(sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True)))

        found = host.array([of(gradients) for gradients in self.gradients])
        size = max(
            sum(float(abs(g * d).sum()) for g, d in zip(gradients, directions, strict=True))
            for gradients in self.gradients
        )
        if float(host.ptp(found)) > sharp * size:
            return True
        return bool(self._between(host.asarray(of(self.claimed)), found, widened, size).all())

    def _between(self, g: Any, found: Array, widened: float, size: float | None = None) -> Array:
        """Whether g is between what was found, or past it by a part of its range."""
        low, high = found.min(axis=0), found.max(axis=0)
        largest = float(abs(found).max(initial=0.0)) if size is None else size
        slack = widened * (high - low) + 1e-6 * abs(found).max(axis=0) + RTOL * largest
        return (g >= low - slack) & (g <= high + slack)

    def explains(self, i: int, off: dict[int, float]) -> list[int]:
        """Those of some flat indices, off by so much, where the gradients nearby differ as much."""
        for extra in range(MORE + 1):
            bends = self.bends(i).reshape(-1)
            explained = [k for k, by in off.items() if by <= 1.5 * bends[k]]
            if len(explained) == len(off) or extra == MORE or (extra > LEAST and self.c.probe.left < 2):
                break
            if extra == PAIRS and not bends.any():  # smooth
                break
            self._look()
        return explained

    def bends(self, i: int) -> Array:
        """By how much the gradients nearby differ, where that is more than a smooth function's would."""
        found = host.stack([h[i] for h in self.gradients])
        apart = host.ptp(found, axis=0)
        smooth = 100 * self.reach if self._from_values is None else 1e-3
        return host.where(apart > smooth * float(abs(found).max(initial=0.0)), apart, 0.0)

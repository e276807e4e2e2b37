"""What a gradient must keep besides being right: its arguments left alone, the same result twice, any memory layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..backend import Array, array_module, float64
from .probe import Probe
from .report import Report
from .subjects import Raised, TensorSubject, Watch, reported

host: Any = array_module(0.0)

LARGE = 200_000  # elements of inputs and cotangents together


class Contract:
    """The checks of one subject, which add what they find to the problems of a report.

    Attributes:
        gradients: at the given inputs, in double precision, from arrays as C lays them out.
    """

    probe: Probe
    cotangents: list[Array]
    report: Report
    subject: Any
    arrays: list[Array]

    def __init__(self, probe: Probe, values: Sequence[Array], cotangents: Sequence[Array], report: Report) -> None:
        self.probe, self.cotangents, self.report = probe, list(cotangents), report
        self.subject, self.arrays = probe.subject, probe.subject.arrays
        self._values = values
        self.gradients: list[Array | None] = []

    def check(self) -> None:
        """All of it, up to the first thing that leaves nothing to compare with."""
        first, second = Watch(), Watch()
        self.gradients = self.probe.gradients(self.arrays, self.cotangents, first)
        again = self.probe.gradients(self.arrays, self.cotangents, second)
        with reported("the function, called once more,"):
            values = self.probe.values(self.arrays)
        if not self._same_twice(values, again):
            return
        self._left_alone(first)
        self._dtypes(first)
        if self.report.problems:
            return
        self._buffers(first, second)
        self._linear()
        if not self.report.problems:
            self._layouts()
        if not self.report.problems and isinstance(self.subject, TensorSubject):
            self._recorded(self.subject)

    def _say(self, problem: str) -> None:
        if problem not in self.report.problems:
            self.report.problems.append(problem)

    def _left_alone(self, watch: Watch) -> None:
        for name, before, after in zip(self.subject.names, self.arrays, watch.inputs, strict=False):
            if not _same(before, after):
                self._say(f"{self._who()} changes {name} in place")
        if not all(_same(a, b.astype(a.dtype)) for a, b in zip(watch.cotangents, self.cotangents, strict=True)):
            self._say(f"{self._who()} changes the cotangent that it is given")
        if not all(_same(a, b) for a, b in zip(watch.outputs, watch.computed, strict=True)):
            self._say(f"{self._who()} changes the output that it is given")
        values = zip(watch.computed, self._values, strict=True)
        if not all(_close(a, b.astype(a.dtype), 1e-9) for a, b in values):  # another routine may round otherwise
            self._say("the forward pass gives other values where a gradient is wanted")

    def _who(self) -> str:
        return "the function or its backward pass"

    def _dtypes(self, watch: Watch) -> None:
        for name, g in zip(self.subject.names, watch.raw, strict=True):
            dtype = str(getattr(g, "dtype", "float64"))
            if dtype != "float64":
                self._say(f"the gradient of {name} is {dtype}, where input and cotangent are float64")

    def _same_twice(self, values: Sequence[Array], gradients: Sequence[Any]) -> bool:
        for what, one, two in (("values", self._values, values), ("gradients", self.gradients, gradients)):
            # some routines round as the memory lies
            if len(one) != len(two) or not all(_close(a, b, 1e-10) for a, b in zip(one, two, strict=True)):
                self._say(
                    f"nondeterministic: two calls give different {what}. Randomness that the seeds of tg, NumPy and "
                    "Python do not fix must be fixed inside the function"
                )
                return False
        return True

    def _buffers(self, first: Watch, second: Watch) -> None:
        """What one call returned must not be what another one writes to."""
        for name, a, b in zip(self.subject.names, first.raw, second.raw, strict=True):
            if isinstance(a, host.ndarray) and isinstance(b, host.ndarray) and a.size and host.shares_memory(a, b):
                self._say(f"the gradient of {name} is the same memory at each call: the next call writes over it")

    def _linear(self) -> None:
        """In proportion to the cotangent, far up and far down, where mistakes clip or add; and nothing of nothing."""
        for factor in (2.0**20, 2.0**-20, 0.0):
            found = self.probe.gradients(self.arrays, [factor * w for w in self.cotangents])
            for name, g, once in zip(self.subject.names, found, self.gradients, strict=True):
                if g is None or once is None or g.shape != once.shape or not host.isfinite(once).all():
                    continue
                with host.errstate(all="ignore"):
                    off = abs(g - factor * once)
                if factor == 0.0 and not host.isfinite(g).all():
                    self._say(f"the gradient of {name} is not finite where the cotangent is 0")
                elif (off > (1e-6 * factor or 1e-9) * abs(once).max(initial=0.0)).any():
                    say = "is not in proportion to the cotangent: is it left out, or not a factor?"
                    self._say(f"the gradient of {name} {say}")

    # --- memory ---

    def _layouts(self) -> None:
        """Strided, reversed and transposed memory, and memory in common, must give the same gradients."""
        arrays, weights = self.arrays, self.cotangents
        fortran, theirs = [[host.array(a, order="F") for a in given] for given in (arrays, weights)]
        self._compare("inputs and cotangent lie in memory as Fortran lays them out", fortran, theirs)
        if sum(a.size for a in (*arrays, *weights)) <= LARGE:  # products of such arrays are slow
            movable = [_strided(a) if i < self.subject.movable else a for i, a in enumerate(arrays)]
            self._compare("the inputs are not contiguous in memory", movable, weights)
            self._compare("the cotangent is not contiguous in memory", arrays, [_strided(w) for w in weights])
        layouts = self.subject.layouts
        if any(0 in a.strides and a.size for a in layouts):
            views = [_broadcast_as(a, b) for a, b in zip(arrays, layouts, strict=True)]
            self._compare("an input is a broadcast view", views, weights)
        ones = [host.ones(w.shape) for w in weights]
        views = [host.broadcast_to(host.ones((1,) * w.ndim), w.shape) for w in ones]
        try:
            whole = self.probe.gradients(arrays, ones)
        except Raised as error:
            self._say(f"{error} where the cotangent is all ones")
            return
        self._compare("the cotangent is a broadcast view, as that of a sum is", arrays, views, whole)
        self._shared()

    def _shared(self) -> None:
        """Inputs of the same shape that are one array, as in f(x, x)."""
        for i, a in enumerate(self.arrays):
            for j in range(i + 1, min(len(self.arrays), self.subject.movable)):
                if self.arrays[j].shape == a.shape and a.size:
                    one = a.copy()
                    apart = [a if k == j else b for k, b in enumerate(self.arrays)]
                    shared = [one if k in (i, j) else b.copy() for k, b in enumerate(self.arrays)]
                    where = f"{self.subject.names[i]} and {self.subject.names[j]} share memory"
                    expected = self._gradients(apart, self.cotangents)
                    if expected is not None:
                        self._compare(where, shared, self.cotangents, expected, shared=True)
                    return

    def _gradients(self, arrays: Sequence[Array], cotangents: Sequence[Array]) -> list[Array | None] | None:
        try:
            return self.probe.gradients(arrays, cotangents)
        except Exception:  # outside of what the function takes
            return None

    def _has_values(self, arrays: Sequence[Array]) -> bool:
        """Whether the function takes these: as `view`, it may refuse how they lie in memory."""
        try:
            self.probe.values(arrays)
        except Exception:
            return False
        return True

    def _compare(
        self,
        where: str,
        arrays: Sequence[Array],
        cotangents: Sequence[Array],
        expected: Any = None,
        shared: bool = False,
    ) -> None:
        """The same numbers in other memory.

        Args:
            expected: the gradients; by default those at the given inputs.
            shared: whether two inputs are one array, and equal for that reason.
        """
        expected = self.gradients if expected is None else expected
        given = [a if shared or a.flags.writeable is False or _odd(a) else a.copy() for a in arrays]
        try:
            watch = Watch()
            found = self.probe.gradients(given, [w if _odd(w) else w.copy() for w in cotangents], watch, as_is=True)
        except Raised as error:
            if expected is not None and self._has_values(given):
                self._say(f"{error} where {where}")
            return
        if expected is None:
            return
        if not shared and not all(map(_close, self._values, watch.computed)):
            return  # random numbers that are drawn as the memory lies
        sizes = [0.0 if g is None else float(abs(g).max(initial=0.0)) for g in self.gradients]
        rounding = 1e-5 * max(sizes, default=0.0)  # what is 0 but for rounding is as large as its terms say
        for name, a, b, usual in zip(self.subject.names, expected, found, sizes, strict=True):
            if not _close(a, b, size=max(usual, rounding)):
                self._say(f"the gradient of {name} is another where {where}")

    # --- tensors ---

    def _recorded(self, subject: TensorSubject) -> None:
        """Recorded, as for a gradient of the gradient, the rules must give the same."""

        def recorded() -> list[Array | None]:
            self.probe.calls += 1
            found = subject.recorded(subject.tensors([host.array(a) for a in self.arrays]), self.cotangents)
            return [None if g is None else host.array(g.detach().cpu().numpy()) for g in found]

        found = _or_none(recorded)
        if found is None:
            self.report.notes.append(
                "the gradient cannot be differentiated in turn: a rule is of NumPy's functions, or of none of ours"
            )
            return
        for name, a, b in zip(self.subject.names, self.gradients, found, strict=True):
            if not _close(a, b, 1e-10):
                self._say(f"the gradient of {name} is another when it is recorded (create_graph=True)")


def _or_none(call: Callable[[], Any]) -> Any:
    try:
        with host.errstate(all="ignore"):
            return call()
    except Exception:  # rules that were not written for tensors raise whatever they like
        return None


def _same(a: Any, b: Any) -> bool:
    return (a is None and b is None) or (a is not None and b is not None and host.array_equal(a, b, equal_nan=True))


def _close(a: Any, b: Any, rtol: float = 1e-7, size: float = 0.0) -> bool:
    """Equal but for rounding, at numbers of a size; None is as good as zeros."""
    if a is None or b is None:
        given = b if a is None else a
        return given is None or not host.any(given)
    if a.shape != b.shape:
        return False
    size = max(size, float(abs(a[host.isfinite(a)]).max(initial=0.0)))
    return bool(host.allclose(a, b, rtol=rtol, atol=1e-3 * rtol * size, equal_nan=True))


def _odd(a: Array) -> bool:
    return not a.flags.c_contiguous


def _strided(a: Array) -> Array:
    """The same numbers, every other one of a row that is written backwards."""
    if not a.ndim:
        return a.copy()
    wide = host.zeros((*a.shape[:-1], 2 * a.shape[-1]), dtype=float64)
    view = wide[..., ::-2]
    view[...] = a
    return view


def _broadcast_as(a: Array, like: Array) -> Array:
    """The same numbers, with one for those that are one in memory there."""
    part = tuple(
        [
            slice(0, 1) if stride == 0 and length > 1 else slice(None)
            for stride, length in zip(like.strides, like.shape, strict=True)
        ]
    )
    return host.broadcast_to(a[part].copy(), a.shape)

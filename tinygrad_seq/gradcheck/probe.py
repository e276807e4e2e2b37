"""The function at other points: counted, watched, and without a value where it has none."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..backend import Array, array_module, complex128
from .numeric import COMPLEX_STEP, flat
from .subjects import Subject, Watch

host: Any = array_module(0.0)

CALLS = 60  # of the function for each input, besides one for each entry
SILENT = 2.0  # seconds without a word


class Probe:
    """A subject under a check.

    Attributes:
        calls: made so far.
        limit: to be made at most.
        words: of the first exception that the function raised at a point next to the inputs.
    """

    limit: int
    calls: int
    words: str

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.calls, self.words = 0, ""
        self.limit = sum(a.size + CALLS for a in subject.arrays)
        self._for_kinks = CALLS * len(subject.arrays)
        self._start, self._next = time.monotonic(), SILENT

    @property
    def left(self) -> int:
        return max(self.limit - self.calls, 0)

    def more_for_kinks(self) -> None:
        """As many calls again for each input, once, where points next to the given one must be looked at."""
        self.limit, self._for_kinks = self.limit + self._for_kinks, 0

    def _count(self) -> None:
        self.calls += 1
        waited, err = time.monotonic() - self._start, sys.stderr
        if err is not None and waited > self._next:
            self._next = waited + (0.5 if err.isatty() else 10.0)
            line = f"gradcheck: {self.calls} of at most {self.limit} calls, {waited:.0f} s"
            print(f"\r{line} " if err.isatty() else line, end="" if err.isatty() else "\n", file=err, flush=True)

    def close(self) -> None:
        """Leave the line of the progress."""
        if self._next > SILENT and sys.stderr is not None and sys.stderr.isatty():
            print(file=sys.stderr)

    # --- at the given inputs: what is raised there is the user's to see ---

    def values(self, arrays: Sequence[Array]) -> list[Array]:
        self._count()
        with host.errstate(all="ignore"):
            return self.subject.values([host.array(a) for a in arrays])

    def gradients(
        self, arrays: Sequence[Array], cotangents: Sequence[Array], watch: Watch | None = None, as_is: bool = False
    ) -> list[Array | None]:
        """`as_is`: the arrays may be handed over themselves, in the memory in which they lie."""
        self._count()
        if not as_is:
            arrays, cotangents = [host.array(a) for a in arrays], [host.array(w) for w in cotangents]
        with host.errstate(all="ignore"):
            return self.subject.gradients(arrays, cotangents, watch)

    # --- elsewhere, where the function may have no value ---

    def outputs(self, arrays: Sequence[Array], like: Sequence[Array]) -> Array | None:
        """All output elements at another point; None if the function raises there.

        Raises:
            ValueError: if the shapes of the outputs are others there.
        """
        try:
            with _quiet():
                ys = self.values(arrays)
        except Exception as error:
            self.words = self.words or f"{type(error).__name__}: {error}"
            return None
        shapes, expected = [y.shape for y in ys], [w.shape for w in like]
        if shapes != expected:
            raise ValueError(
                f"gradcheck: the shape of the result depends on the values: {expected} at the given inputs, {shapes} "
                "next to them; an operation that selects by value, such as x[x > 0], has no derivative at its edges"
            )
        return flat(ys)

    def complex_step(
        self, arrays: Sequence[Array], directions: Sequence[Array | None], step: float = COMPLEX_STEP
    ) -> Array | None:
        """The derivatives of all output elements along a direction, as Im f(x + ih) / h; None if f does not give them.

        Nothing is subtracted, so h can be tiny and the result is good to rounding (Squire & Trapp, "Using complex
        variables to estimate derivatives of real functions", 1998). f must be analytic, and keep the imaginary part.
        """
        moved = []
        for a, d in zip(arrays, directions, strict=True):
            moved.append(a if d is None else host.array(a, dtype=complex128))
            if d is not None:
                moved[-1].imag = step * d
        try:
            with _quiet():
                ys = self.values(moved)
        except Exception:  # whatever a function does with complex numbers that it was not written for
            return None
        if not any(y.dtype.kind == "c" for y in ys):
            return None
        return flat([y.imag for y in ys]) / step


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(), host.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield

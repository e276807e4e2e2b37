"""The gradients in the dtypes that were given, beside those in double precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..backend import Array, array_module
from .compare import Comparison
from .report import InputReport, Report
from .subjects import Raised, TensorSubject, Watch, reported
from .torch_subject import TorchSubject

host: Any = array_module(0.0)

ROUNDINGS = 30.0  # of the dtype, by which a gradient may be off that scatters by one in double precision
MOVES = 4  # points next to the given one, as near as the dtype resolves


def check_own_precision(c: Comparison, report: Report) -> None:
    """Add to the reports of the inputs what is wrong in the precision that was given and right in double precision.

    What may be off: by how much the gradient scatters in double precision, and moves when the inputs do by a rounding,
    for the larger unit of rounding of the dtype.
    """
    subject = c.probe.subject
    if all(a.dtype == "float64" for a in subject.given):
        return
    kinds = [a.dtype for a in subject.given if a.dtype.kind == "f"]
    unit = max(float(host.finfo(k).eps) for k in kinds)
    narrow = [w.astype(max(kinds, key=lambda k: float(host.finfo(k).eps))) for w in c.weights]
    weights = [w.astype("float64") for w in narrow]
    named, watch = " and ".join(sorted({str(k) for k in kinds})), Watch()
    try:
        with reported("the function"):
            ys = c.probe.values(subject.given)
    except Raised as error:
        # a module of PyTorch's in single precision takes no inputs in double: together they say nothing
        said = report.notes if isinstance(subject, TorchSubject) and len(set(kinds)) > 1 else report.problems
        said.append(f"in {named}, {error}")
        return
    try:
        if not all(host.isfinite(y).all() for y in ys):
            report.notes.append(f"not compared in {named}: the outputs overflow there")
            return
        found = c.probe.gradients(subject.given, narrow, watch)
    except Raised as error:
        report.problems.append(f"in {named}, {error}")
        return
    except Exception as error:
        error.add_note(f"This was in {named}, as given; in float64 it is not so.")
        raise
    rounded = Comparison(c.probe, c.arrays, weights, c.rng, values=[w * 0 for w in weights])
    rounded.here = c.here
    rounded.noise_of(c)
    near = [g for g in [_moved(rounded, unit) for _ in range(MOVES)] if g is not None]
    for i, (part, ours) in enumerate(zip(report.inputs, found, strict=True)):
        raw = watch.raw[i] if watch.raw else None
        own = getattr(raw, "dtype", None)
        if own is not None and str(own) != str(subject.given[i].dtype) and not isinstance(subject, TensorSubject):
            report.notes.append(f"the gradient of {part.name} is {own}, the input {subject.given[i].dtype}")
        exact = rounded.gradients[i]
        if part.verdict != "fail" and ours is not None and ours.shape == exact.shape and exact.size:
            _compare(rounded, i, ours.astype("float64"), [g[i] for g in near], unit, part, str(subject.given[i].dtype))


def _moved(c: Comparison, unit: float) -> list[Array] | None:
    moved = [x * (1 + unit * c.rng.uniform(-1, 1, x.shape)) for x in c.arrays]
    try:
        return c.gradients_at(moved)
    except Exception:  # outside of what the function takes
        return None


def _compare(
    c: Comparison, i: int, ours: Array, near: Sequence[Array], unit: float, part: InputReport, dtype: str
) -> None:
    exact = c.gradients[i]
    if not host.isfinite(exact).all():
        return
    if not host.isfinite(ours).all():
        where = _index(~host.isfinite(ours))
        part.verdict = "fail"
        part.problems.append(
            f"in {dtype} the gradient at index {where} is {ours[tuple(where)]}, in float64 {exact[tuple(where)]:.6g}"
        )
        return
    moved = host.max([abs(g - exact) for g in near], axis=0) if near else 0 * exact
    largest = float(abs(exact).max(initial=0.0))
    # not of the function but of a bad way to compute it is what scatters by more than moving the inputs explains
    double = float(host.finfo("float64").eps)
    explained = c.conditioning[i] + abs(exact) + c.size(i)
    scatter = host.minimum(c.noise[i] / double, explained)
    tiny = float(host.finfo(dtype).tiny) if dtype.startswith("float") else 0.0
    tolerance = ROUNDINGS * unit * (host.maximum(abs(exact), scatter) + 0.05 * largest) + 8 * moved + 4 * tiny
    off = abs(ours - exact)
    wrong = off > tolerance
    if not wrong.any():
        return
    tolerance = tolerance + 8 * unit * host.minimum(c.gradient_scatter[i] / double, explained)
    drowned = host.maximum(abs(ours), abs(exact)) <= 8 * unit * c.size(i)
    wrong &= (off > tolerance) & ~drowned
    if not wrong.any():
        return
    worst = _index(wrong & (off / tolerance == (off / tolerance)[wrong].max()))
    k: Any = tuple(worst)
    part.verdict = "fail"
    part.problems.append(
        f"in {dtype}, at {int(wrong.sum())} of {ours.size} entries, the gradient is not what it is in float64: at "
        f"index {worst} {ours[k]:.7g}, in float64 {exact[k]:.7g} ± {tolerance[k]:.1e}"
    )


def _index(where: Array) -> list[int]:
    return [int(k) for k in host.argwhere(where)[0]]

"""What the pattern of a wrong gradient looks like."""

from __future__ import annotations

from typing import Any

from ..backend import Array, array_module
from .report import InputReport

host: Any = array_module(0.0)


def guess(report: InputReport, claimed: Array, time_dim: int | None) -> str:
    """A few words, or none. `claimed` is the gradient that the function gave; wrong entries say what it should be."""
    if not report.wrong or claimed.shape != report.shape:
        return report.guess
    right = claimed.astype(float).copy()
    for entry in report.wrong:
        right[entry.index] = entry.numeric
    ours = host.array([entry.analytic for entry in report.wrong])
    true = host.array([entry.numeric for entry in report.wrong])
    every = len(report.wrong) == report.entries
    who = "every entry" if every else "the wrong entries" if len(report.wrong) > 1 else "the wrong entry"
    square = len(report.shape) == 2 and report.shape[0] == report.shape[1] > 1
    if square and _close(claimed, right.T):
        return "a missing (or a needless) transpose"
    several = len(report.wrong) > 1 and not every
    if _close(ours, -true):
        return f"a wrong sign: {who} {'are minus what they' if several else 'is minus what it'} should be"
    if not ours.any():
        place = _missing_part(report, claimed, time_dim)
        return place or f"a part that is never written: {who} {'are' if several else 'is'} 0"
    with host.errstate(divide="ignore", invalid="ignore"):
        ratios = ours / true
    if host.isfinite(ratios).all() and len(ratios) > 1 and host.ptp(ratios) <= 1e-6 * abs(ratios).max():
        return _factor(float(ratios[0]), report, f"{who} {'have' if several else 'has'} it")
    if len(ratios) > 1 and (abs(ours) < abs(true)).all() and not every:
        return "contributions that overwrite each other instead of adding up (repeated indices?)"
    return ""


def _close(a: Array, b: Array) -> bool:
    return bool(host.allclose(a, b, rtol=1e-6, atol=1e-12 * float(abs(b).max(initial=0.0))))


def _factor(ratio: float, report: InputReport, who: str) -> str:
    for name, value in (("2", 2.0), ("1/2", 0.5), ("4", 4.0), ("1/4", 0.25)):
        if abs(ratio / value - 1) < 1e-6:
            return f"a factor {name} too much: {who}"
    for length in report.shape:
        for value, words in ((float(length), f"{length}"), (1 / length if length else 0.0, f"1/{length}")):
            if length > 1 and abs(ratio / value - 1) < 1e-6:
                return f"a factor {words} too much, the length of a dimension: a sum for a mean, or the reverse"
    return f"a constant factor {ratio:.6g}: {who}"


def _missing_part(report: InputReport, claimed: Array, time_dim: int | None) -> str:
    """Whether the zeros are one slice at the start or the end of a dimension."""
    indices = host.array([entry.index for entry in report.wrong])
    for dim, length in enumerate(report.shape):
        if length < 2 or indices.size == 0:
            continue
        at = {int(k) for k in indices[:, dim]}
        for end, place in ((length - 1, "last"), (0, "first")):
            if at == {end} and not host.take(claimed, end, axis=dim).any():
                step = "step" if dim == time_dim and len(report.shape) == 3 else f"slice of dimension {dim}"
                return f"the {place} {step} left out: it is 0 there"
    return ""

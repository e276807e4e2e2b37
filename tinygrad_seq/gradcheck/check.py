"""`gradcheck` and `gradgradcheck`: is the gradient right, and if not, where is it wrong?"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from ..backend import Array, array_module
from .compare import RTOL, Comparison, seconds_of
from .contract import check_contract
from .guess import guess
from .report import GradcheckError, NotTestedWarning, Report
from .subjects import SecondOrder, Subject, TensorSubject, subject_of

host = array_module(0.0)

PATIENCE = 1.0  # seconds that looking at every entry may take; beyond that, random directions


def gradcheck(
    f: Any, inputs: Any, *, exhaustive: bool | None = None, seed: int = 0, raise_exception: bool = True
) -> Report:
    """Check the gradient of f with respect to every element of its inputs and parameters.

    The derivative is computed from values alone: by the complex step, which is exact to rounding, where f takes complex
    numbers and differences confirm it, else by central differences extrapolated to step 0, with an error estimate for
    each entry. Tolerances are measured: the rounding noise of the gradient itself, and the error of the estimate. All
    is computed in float64, and the gradient once more in the inputs' own precision. Every output counts, under random
    weights; random numbers that f draws are drawn again at each call. At a kink, any slope between those to the two
    sides is right.

    Args:
        f: a function of tensors that returns one or several (in containers, if it likes), or a Module, whose
            parameters are checked as well; a pair (forward, backward) of functions on NumPy arrays, with
            `backward(cotangent, *inputs, output)` returning the gradients; or a function, `autograd.Function` or module
            of PyTorch's.
        inputs: one or several floating-point tensors or arrays.
        exhaustive: look at every entry, or along random directions, and at single entries only where one disagrees. By
            default whatever is done in about a second.
        seed: of the weights and directions.
        raise_exception: raise what is found; else it is only in the report.

    Returns:
        A report, true if the check passed. `str()` shows it on a screen, `to_dict()` gives it to programs.

    Raises:
        GradcheckError: if something is wrong; its message is the report.
        TypeError: if f is nothing of these, returns no tensor, or an input is not floating-point.

    Warns:
        NotTestedWarning: if nothing could be tested: all gradients are zero, or drown in rounding.
    """
    given = list(inputs) if isinstance(inputs, (tuple, list)) else [inputs]
    subject = subject_of(f, given)
    return _settled(_checked(subject, Report(1), exhaustive, seed), raise_exception)


def gradgradcheck(
    f: Any, inputs: Any, *, exhaustive: bool | None = None, seed: int = 0, raise_exception: bool = True
) -> Report:
    """Check the gradient of the gradient of f: `gradcheck` of the function from inputs and cotangents to gradients.

    Takes, returns and raises what `gradcheck` does; f is a function of tensors or a Module.

    Raises:
        TypeError: for a pair or for PyTorch's functions: what they compute cannot be differentiated again here.
    """
    given = list(inputs) if isinstance(inputs, (tuple, list)) else [inputs]
    first = subject_of(f, given)
    if not isinstance(first, TensorSubject):
        raise TypeError("gradgradcheck: takes a function of tensors or a Module; others have no second derivative here")
    rng = host.random.default_rng(seed)
    cotangents = random_cotangents(_outputs(first), rng)
    return _settled(_checked(SecondOrder(first, cotangents), Report(2), exhaustive, seed + 1), raise_exception)


def random_cotangents(ys: Sequence[Array], rng: Any) -> list[Array]:
    """One random weight for each output element, none of them small, signs at random."""
    return [host.where(rng.random(y.shape) < 0.5, -1.0, 1.0) * rng.uniform(0.5, 1.5, y.shape) for y in ys]


def _outputs(subject: Subject) -> list[Array]:
    """The outputs at the given point, which must be finite."""
    ys = subject.values(subject.arrays)
    for k, y in enumerate(ys):
        if not host.isfinite(y).all():
            raise ValueError(f"gradcheck: output {k} is not finite at the given inputs, so it has no derivative there")
    return ys


def _checked(subject: Subject, report: Report, exhaustive: bool | None, seed: int) -> Report:
    rng = host.random.default_rng(seed)
    cotangents = random_cotangents(_outputs(subject), rng)
    try:
        subject.gradients(subject.arrays, cotangents)
    except (TypeError, NotImplementedError):
        raise
    except Exception as error:
        report.problems.append(f"the backward pass raises {type(error).__name__}: {error}")
        return report
    check_contract(subject, cotangents, report)
    if report.problems:
        return report  # what is not the same twice, or changes its inputs, cannot be compared with anything
    if exhaustive is None:
        entries = sum(a.size for a in subject.arrays)
        exhaustive = entries * 3 * seconds_of(lambda: subject.values(subject.arrays)) < PATIENCE
    comparison = Comparison(subject, subject.arrays, cotangents, rng, exhaustive)
    for i in range(len(subject.arrays)):
        found = comparison.report(i)
        found.guess = guess(found, comparison.gradients[i], subject.time_dim)
        report.inputs.append(found)
    if report.verdict == "pass" and exhaustive:
        _elsewhere(subject, report, rng)
    return report


def _elsewhere(subject: Subject, report: Report, rng: Any) -> None:
    """Under other cotangents, and at larger inputs where the function is finite: along a few directions."""
    points = [("under other cotangents", subject.arrays, RTOL)]
    larger = [_larger(a) if i < subject.movable else a for i, a in enumerate(subject.arrays)]
    if any(a is not b for a, b in zip(larger, subject.arrays, strict=True)):
        points.append(("at inputs eight times as large", larger, 1e-3))  # where much is saturated, and rounded
    for where, arrays, rtol in points:
        try:
            with warnings.catch_warnings(), host.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                ys = subject.values(arrays)
                if not all(host.isfinite(y).all() for y in ys):
                    continue
                comparison = Comparison(subject, arrays, random_cotangents(ys, rng), rng, exhaustive=False, rtol=rtol)
                found = [comparison.report(i) for i in range(len(arrays))]
        except Exception:  # outside of what the function takes
            if arrays is subject.arrays:
                raise
            continue
        for before, after in zip(report.inputs, found, strict=True):
            if after.verdict == "fail":
                after.problems.insert(0, where)
                before.verdict, before.wrong, before.problems = "fail", after.wrong, after.problems


def _larger(a: Array) -> Array:
    """Eight times a, if it looks like numbers without bounds: of both signs, and not all small."""
    return a * 8.0 if a.size and a.min() < 0 < a.max() and abs(a).max() > 1 else a


def _settled(report: Report, raise_exception: bool) -> Report:
    """The report, or what it raises."""
    if report.verdict == "fail" and raise_exception:
        raise GradcheckError(report)
    if report.verdict == "not tested" and any(i.entries for i in report.inputs):
        warnings.warn(
            "gradcheck tested nothing: all gradients are zero or drown in rounding at the given inputs\n" + str(report),
            NotTestedWarning,
            stacklevel=3,
        )
    return report

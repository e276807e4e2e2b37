"""`gradcheck` and `gradgradcheck`: is the gradient right, and if not, where is it wrong?"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..backend import Array, array_module
from .arguments import Wrt
from .compare import QUICK, Comparison
from .contract import Contract
from .dispatch import subject_of
from .guess import guess
from .look import Look
from .numeric import along
from .precision import check_own_precision
from .probe import Probe
from .report import GradcheckError, NotTestedWarning, Report
from .subjects import Raised, SecondOrder, Subject, TensorSubject

host: Any = array_module(0.0)

SMALL = 1000  # entries of all inputs together, up to which every one is looked at
# calls for each input that other cotangents take by the complex step; that another point takes by it, by differences
# along one direction, and at most
ANEW, CERTIFIED, QUICKLY, ONCE_MORE = 6, 24, 2 * len(QUICK), 48


def gradcheck(
    f: Any,
    inputs: Any,
    *,
    wrt: Wrt = None,
    loss: Any = None,
    exhaustive: bool | None = None,
    seed: int = 0,
    raise_exception: bool = True,
) -> Report:
    """Check the gradient of f with respect to every element of its inputs and parameters.

    The derivative is computed from values alone: by the complex step, which is exact to rounding, where f takes complex
    numbers and differences agree with it, else by central differences extrapolated to step 0, with an error estimate
    for each element of the output. Tolerances are measured: the rounding noise of the gradient itself, and the error of
    the estimate. All is computed in float64, and the gradient once more in the inputs' own precision. Every output
    counts, under random weights; random numbers that f draws are drawn again at each call. At a kink a gradient is
    right if it is one of points arbitrarily near, or a mean of such. It takes about 60 calls of f at most for each
    input, and one for each entry. Modules, tensors, arrays and random generators that f refers to are put back after
    each call; attributes of other objects and of classes are not.

    Args:
        f: a function of tensors that returns one or several (in containers, if it likes), or a Module, whose
            parameters are checked as well; a pair (forward, backward) of functions on NumPy arrays, with
            `backward(cotangent, *inputs, output)` returning the gradients; or a function, `autograd.Function` or module
            of PyTorch's, or a function of JAX's.
        inputs: one or several floating-point tensors or arrays, or containers of them. None is passed on.
        wrt: which to differentiate by: positions of inputs, and names as in the report, of inputs or parameters. The
            others may be of integers.
        loss: a function of what the model f returns and of the last of the inputs, the target (or of the former alone),
            to check `loss(f(*inputs), target)`. Inputs of integers are passed on.
        exhaustive: look at every entry, or along random directions, and at single entries only where one disagrees. By
            default every entry of up to 1000 by the complex step, and of one or two by differences.
        seed: of the weights and directions.
        raise_exception: raise what is found; else it is only in the report.

    Returns:
        A report, true if the check passed. `str()` shows it on a screen, `to_dict()` gives it to programs.

    Raises:
        GradcheckError: if something is wrong; its message is the report.
        TypeError: if f is nothing of these, returns no tensor, or an input or output is not floating-point.
        ValueError: if an output is not finite.

    Warns:
        NotTestedWarning: if nothing could be tested: all gradients are zero, or drown in rounding.
    """
    subject = subject_of(f, inputs, wrt, loss)
    return _settled(_checked(lambda _: subject, subject, Report(1), exhaustive, seed), raise_exception)


def gradgradcheck(
    f: Any,
    inputs: Any,
    *,
    wrt: Wrt = None,
    loss: Any = None,
    exhaustive: bool | None = None,
    seed: int = 0,
    raise_exception: bool = True,
) -> Report:
    """Check the gradient of the gradient of f: `gradcheck` of the function from inputs and cotangents to gradients.

    Takes, returns and raises what `gradcheck` does; f is a function of tensors or a Module.

    Raises:
        TypeError: for a pair or for PyTorch's and JAX's functions, which cannot be differentiated again here.
    """
    first = subject_of(f, inputs, wrt, loss)
    if not isinstance(first, TensorSubject):
        raise TypeError("gradgradcheck: takes a function of tensors or a Module; others have no second derivative here")

    def second(probe: Probe) -> Subject:
        return SecondOrder(first, random_cotangents(_outputs(probe), host.random.default_rng(seed)))

    return _settled(_checked(second, first, Report(2), exhaustive, seed + 1), raise_exception)


def random_cotangents(ys: Sequence[Array], rng: Any) -> list[Array]:
    """One random weight for each output element, none of them small, signs at random; none where it is infinite."""
    weights = [host.where(rng.random(y.shape) < 0.5, -1.0, 1.0) * rng.uniform(0.5, 1.5, y.shape) for y in ys]
    return [host.where(host.isfinite(y), w, 0.0) for y, w in zip(ys, weights, strict=True)]


def _outputs(probe: Probe) -> list[Array]:
    """The outputs at the given point, real and, unless an input is infinite, finite."""
    try:
        ys = probe.values(probe.subject.arrays)
    except TypeError as error:
        if "torch" in sys.modules and "must be Tensor" in str(error):
            raise TypeError(
                "gradcheck: this looks like a function of PyTorch's tensors, but no input is one: give it torch tensors"
            ) from error
        raise
    masked = not all(host.isfinite(a).all() for a in probe.subject.arrays)
    for k, y in enumerate(ys):
        if y.dtype.kind == "c":
            raise TypeError(f"gradcheck: output {k} is complex; takes functions with real outputs: return both parts")
        if not host.isfinite(y).all() and not (masked and not host.isnan(y).any()):
            raise ValueError(f"gradcheck: output {k} is not finite at the given inputs, so it has no derivative there")
    return ys


def _checked(
    make: Callable[[Probe], Subject], first: Subject, report: Report, exhaustive: bool | None, seed: int
) -> Report:
    """Check, and leave everything as it was; an interrupt shows what is known so far."""
    probe = Probe(first)
    with first.surroundings.kept():
        try:
            subject = make(probe)
            if subject is not first:
                probe = Probe(subject)
            _check(probe, report, exhaustive, seed)
        except Raised as error:
            report.problems.append(str(error))
        except KeyboardInterrupt as interrupt:
            report.notes.append(f"interrupted after {probe.calls} calls; this is what was known by then")
            probe.close()
            print(report, file=sys.stderr)
            interrupt.add_note(str(report))
            raise
        finally:
            probe.close()
    return report


def _check(probe: Probe, report: Report, exhaustive: bool | None, seed: int) -> None:
    subject = probe.subject
    rng = host.random.default_rng(seed)
    values = _outputs(probe)
    cotangents = random_cotangents(values, rng)
    contract = Contract(probe, values, cotangents, report)
    contract.check()
    if report.problems:
        return  # what is not the same twice, or changes its inputs, cannot be compared with anything
    if exhaustive is None:
        exhaustive = sum(a.size for a in subject.arrays) <= SMALL
    elif exhaustive:
        probe.limit += 40 * sum(a.size for a in subject.arrays)
    comparison = Comparison(probe, subject.arrays, cotangents, rng, values)
    looks = []
    for i in range(len(subject.arrays)):
        looks.append(Look(comparison, i, exhaustive))
        report.inputs.append(looks[-1].report)
        found = looks[-1].go()
        found.guess = guess(found, comparison.gradients[i], subject.time_dim)
    if report.verdict == "pass" and len(looks) > 1:
        _together(comparison, looks)
    check_own_precision(comparison, report)
    if report.verdict == "pass":
        _elsewhere(probe, report, rng, values, looks)


def _together(c: Comparison, looks: Sequence[Look]) -> None:
    """With all inputs moved alike: at ties between inputs each may be right by itself, and their sum wrong."""
    directions = [host.where(s > 0, 1.0, 0.0) for s in c.scales]
    exact = c.probe.complex_step(c.arrays, directions) if all(look.certified for look in looks) else None
    if exact is None:

        def moved(t: float) -> Array | None:
            return c.probe.outputs([x + t * d for x, d in zip(c.arrays, directions, strict=True)], c.weights)

        found = along(moved, c.here, c.rounding, QUICK)
        exact = host.where(host.isfinite(found.error), found.value, host.nan)
    claimed = sum(float((g * d).sum()) for g, d in zip(c.gradients, directions, strict=True))
    size = sum(float(abs(g * d).sum()) for g, d in zip(c.gradients, directions, strict=True))
    if host.isfinite(exact[c.w != 0]).all() and abs(claimed - c.summed(exact)) > 1e-4 * size:
        looks[0].require_nearby("along a direction in which all inputs move")


def _elsewhere(probe: Probe, report: Report, rng: Any, values: Sequence[Array], looks: Sequence[Look]) -> None:
    """Under equal cotangents, as a sum gives, and at larger inputs where the function is finite: along a direction."""
    arrays = probe.subject.arrays
    equal = [host.where(host.isfinite(y), 1.0, 0.0) for y in values]
    where = "under equal cotangents"
    with _reported_at(where, report):
        _once_more(probe, report, Comparison(probe, arrays, equal, rng, values), looks, where)
    larger = [_larger(a) if i < probe.subject.movable else a for i, a in enumerate(arrays)]
    if report.verdict != "pass" or all(a is b for a, b in zip(larger, arrays, strict=True)):
        return
    where = "at inputs eight times as large"
    if probe.left < QUICKLY * len(report.inputs):  # what stands there would take calls, too
        for part in report.inputs:
            part.notes.append(_too_few(where))
        return
    with warnings.catch_warnings(), _reported_at(where, report):
        warnings.simplefilter("ignore")
        try:
            ys = probe.values(larger)
        except Exception:  # outside of what the function takes
            return
        if all(y.shape == v.shape and host.isfinite(y).all() for y, v in zip(ys, values, strict=False)):
            there = Comparison(probe, larger, random_cotangents(ys, rng), rng, ys, rtol=1e-3)  # much is saturated there
            there.grid = max(look.c.grid for look in looks)
            _once_more(probe, report, there, looks, where)


@contextmanager
def _reported_at(where: str, report: Report) -> Iterator[None]:
    """What the user's code raises inside is a problem that says where."""
    try:
        yield
    except Raised as error:
        report.problems.append(f"{where}, {error}")


def _once_more(probe: Probe, report: Report, c: Comparison, looks: Sequence[Look], where: str) -> None:
    """Of the entries that are at no kink: there all has been said."""
    here = all(a is b for a, b in zip(c.arrays, looks[0].c.arrays, strict=True)) if looks else False
    c.scales = [host.where(look.kinks, 0.0, scale) for look, scale in zip(looks, c.scales, strict=True)]
    for i, (look, before) in enumerate(zip(looks, report.inputs, strict=True)):
        known = [(d, found) for d, found in look.lines if here and not d[look.kinks].any()]
        left = probe.left // len(report.inputs)
        least = (ANEW if here else CERTIFIED) if look.certified else (1 if known else QUICKLY)
        if left < least:
            before.notes.append(_too_few(where))
            continue
        after = Look(c, i, exhaustive=False, certified=bool(look.certified)).again(known, left < ONCE_MORE)
        if after.verdict == "fail":
            before.verdict, before.wrong = "fail", after.wrong
            before.problems += [where, *after.problems]


def _too_few(where: str) -> str:
    return f"not checked {where}: too few calls are left"


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

"""What a gradient must keep besides being right: inputs left alone, the same result twice, any memory layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..backend import Array, array_module, backend_of
from .report import Report
from .subjects import PairSubject, Subject, TensorSubject

host = array_module(0.0)


def check_contract(subject: Subject, cotangents: Sequence[Array], report: Report) -> None:
    """Add what is wrong to the report's problems."""
    _same_twice(subject, cotangents, report)
    if isinstance(subject, PairSubject):
        _leaves_arrays_alone(subject, cotangents, report)
        _any_layout(subject, cotangents, report)
    if isinstance(subject, TensorSubject):
        _leaves_tensors_alone(subject, cotangents, report)
    if isinstance(subject, (PairSubject, TensorSubject)):
        _own_precision(subject, cotangents, report)


def _same(a: Any, b: Any) -> bool:
    return (a is None and b is None) or (a is not None and b is not None and host.array_equal(a, b, equal_nan=True))


def _same_twice(subject: Subject, cotangents: Sequence[Array], report: Report) -> None:
    for what, call in (
        ("values", lambda: subject.values(subject.arrays)),
        ("gradients", lambda: subject.gradients(subject.arrays, cotangents)),
    ):
        first, second = call(), call()
        if not all(_same(a, b) for a, b in zip(first, second, strict=True)):
            report.problems.append(
                f"nondeterministic: two calls give different {what}. Randomness that the seeds of tg, NumPy and Python "
                "do not fix must be fixed inside the function"
            )
            return


def _leaves_arrays_alone(subject: PairSubject, cotangents: Sequence[Array], report: Report) -> None:
    arrays, given = [a.copy() for a in subject.arrays], [w.copy() for w in cotangents]
    y = subject.outputs(arrays)
    _name_changed("forward", subject, arrays, report)
    arrays = [a.copy() for a in subject.arrays]
    subject.backward(*subject._arguments(tuple(given) if isinstance(y, tuple) else given[0], arrays, y))
    _name_changed("backward", subject, arrays, report)
    if not all(_same(a, b) for a, b in zip(given, cotangents, strict=True)):
        report.problems.append("backward changes the cotangent that it is given")


def _leaves_tensors_alone(subject: TensorSubject, cotangents: Sequence[Array], report: Report) -> None:
    tensors = subject.tensors(subject.arrays)
    subject.gradient_tensors(tensors, cotangents)
    _name_changed("the function", subject, [backend_of(t.array).to_host(t.array) for t in tensors], report)


def _name_changed(who: str, subject: Subject, arrays: Sequence[Array], report: Report) -> None:
    for name, before, after in zip(subject.names, subject.arrays, arrays, strict=False):
        if not _same(before, after):
            report.problems.append(f"{who} changes {name} in place")


def _any_layout(subject: PairSubject, cotangents: Sequence[Array], report: Report) -> None:
    """Strided and reversed memory must give the same gradients."""
    strided = []
    for a in subject.arrays:
        wide = host.zeros((*a.shape[:-1], 2 * a.shape[-1])) if a.ndim else None
        if wide is None:
            strided.append(a.copy())
            continue
        wide[..., ::-2] = a
        strided.append(wide[..., ::-2])
    expected = subject.gradients([a.copy() for a in subject.arrays], cotangents)
    found = subject.gradients(strided, cotangents)
    for name, a, b in zip(subject.names, expected, found, strict=True):
        if a is not None and (b is None or a.shape != b.shape or not host.allclose(a, b, rtol=1e-6, equal_nan=True)):
            report.problems.append(f"the gradient of {name} is another where the inputs are not contiguous in memory")


def _own_precision(subject: PairSubject | TensorSubject, cotangents: Sequence[Array], report: Report) -> None:
    """The gradients in the dtypes that were given, beside those in float64."""
    if isinstance(subject, TensorSubject):
        tensors = subject.leaf_gradients(cotangents)
        found: list[Any] = [None if t is None else t.detach().cpu().numpy() for t in tensors]
        dtypes = subject.dtypes
        for name, t, dtype, device in zip(subject.names, tensors, dtypes, subject.devices, strict=True):
            if t is not None and (t.dtype != dtype or t.device != device):
                report.problems.append(
                    f"the gradient of {name} is {t.dtype} on {t.device}, the input {dtype} on {device}"
                )
    else:
        arrays = [x.copy() for x in subject.given]
        dtypes = [x.dtype for x in arrays]
        outputs = subject.values(arrays)
        found = subject.gradients(arrays, [w.astype(y.dtype) for w, y in zip(cotangents, outputs, strict=True)])
        for name, g, dtype in zip(subject.names, found, dtypes, strict=True):
            if g is not None and g.dtype != dtype:
                report.notes.append(f"the gradient of {name} is {g.dtype}, the input {dtype}")
    if all(str(dtype) == "float64" for dtype in dtypes):
        return
    exact = subject.gradients(subject.arrays, cotangents)
    for name, rough, fine in zip(subject.names, found, exact, strict=True):
        if rough is None or fine is None or not fine.size or not host.isfinite(rough).all():
            continue
        if rough.shape == fine.shape and float(abs(rough - fine).max()) > 0.1 * float(abs(fine).max()) + 1e-30:
            report.notes.append(
                f"the gradient of {name} loses its digits in the given precision: it is off by more than a tenth"
            )

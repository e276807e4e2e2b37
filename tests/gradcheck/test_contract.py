"""The contract of a backward pass: it changes nothing that it is given, gives memory of its own, and raises nothing."""

from __future__ import annotations

import random
import sys
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg

from .test_kinds import X, primitive, verdict

pytestmark = [
    pytest.mark.host("pairs of NumPy's functions"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]


# --- randomness, contract ---


@pytest.mark.parametrize(
    "draw",
    [
        lambda: np.random.random((3, 4)),  # noqa: NPY002
        lambda: tg.rand(3, 4).cpu().numpy(),
        lambda: np.reshape([random.random() for _ in range(12)], (3, 4)),
    ],
)
def test_a_backward_that_draws_another_mask(draw: Any) -> None:
    assert verdict((lambda x: x * (draw() > 0.5) * 2, lambda g, x, y: g * (draw() > 0.5) * 2), X) == "fail"
    assert verdict((lambda x: x * (draw() > 0.5) * 2, lambda g, x, y: g * (y / x)), X) == "pass"


def _array(x: Any) -> Any:
    return getattr(x, "array", x)


def _overwrites(which: int) -> Any:
    def backward(g: Any, x: Any, y: Any) -> Any:
        d = g * np.cos(x)
        (g, x, y)[which][...] *= 2
        return d

    return backward


def _workspace() -> Any:
    buffer = np.zeros((3, 4))
    return lambda g, x, y: np.multiply(g, np.cos(x), out=buffer)


@pytest.mark.parametrize(
    ("backward", "words"),
    [
        (_overwrites(0), "changes the cotangent"),
        (_overwrites(1), "changes input 0"),
        (_overwrites(2), "changes the output"),
        (lambda g, x, y: (g * np.cos(x)).astype("float32"), "is float32"),
        (_workspace(), "the same memory at each call"),
        (lambda g, x, y: g * np.cos(x) * (1 if g.flags.c_contiguous else 9), "is another where"),
        (lambda g, x, y: g * np.cos(x) * (1 if x.flags.c_contiguous else 9), "is another where"),
        (lambda g, x, y: g * np.cos(x) * (9 if 0 in g.strides else 1), "cotangent is a broadcast view"),
        (lambda g, x, y: g * np.cos(x) * (abs(g).sum() / abs(g).sum()), "where the cotangent is 0"),
    ],
)
def test_the_contract_of_a_pair(backward: Any, words: str) -> None:
    assert words in str(tg.gradcheck((np.sin, backward), X, raise_exception=False))


def test_the_contract_where_inputs_share_memory_or_are_views() -> None:
    shared = lambda g, a, b, y: (g * b, None if np.shares_memory(a, b) else g * a)  # noqa: E731
    assert "share memory" in str(tg.gradcheck((np.multiply, shared), (X, X), raise_exception=False))
    view = (np.sin, lambda g, x, y: g * np.cos(x) * (9 if 0 in x.strides else 1))
    assert verdict(view, np.broadcast_to(X[0], (3, 4))) == "fail"
    assert verdict((np.sin, lambda g, x, y: g * np.cos(x)), np.broadcast_to(X[0], (3, 4))) == "pass"


def test_the_contract_of_a_primitive() -> None:
    def overwriting(g: Any, _y: Any, x: Any) -> Any:
        array = _array(g)
        array *= np.cos(_array(x))
        return g

    layout = lambda g, _y, x: g * tg.cos(x) * (1 if _array(x).flags.c_contiguous else 9)  # noqa: E731
    for rule in (overwriting, layout):
        assert verdict(primitive(np.sin, rule), X) == "fail"


def test_what_lies_in_memory_otherwise_may_have_other_values() -> None:
    values = lambda x: np.sin(x) * (1 if x.flags.c_contiguous else 2)  # noqa: E731 # as random numbers may have
    slope = lambda g, x, y: g * np.cos(x) * (1 if x.flags.c_contiguous else 2)  # noqa: E731
    assert verdict((values, slope), X) == "pass"


# --- what raises ---


def raising(where: Any, error: type[Exception] = IndexError) -> Any:
    def backward(g: Any, x: Any, y: Any) -> Any:
        if where(g, x):
            raise error("no such row")
        return g * np.cos(x)

    return backward


@pytest.mark.parametrize("error", [IndexError, TypeError, NotImplementedError])
@pytest.mark.parametrize(
    ("where", "words"),
    [
        (lambda g, x: True, "the backward pass raises {}: no such row"),
        (lambda g, x: abs(x).max() > 5, "at inputs eight times as large, the backward pass raises {}: no such row"),
        (lambda g, x: np.ptp(g) == 0 and g.all(), "the backward pass raises {}: no such row where the cotangent is"),
        (lambda g, x: x.itemsize == 4, "in float32, the backward pass raises {}: no such row"),
        (lambda g, x: x.flags.f_contiguous, "the backward pass raises {}: no such row where inputs and cotangent lie"),
    ],
)
def test_a_backward_that_raises(where: Any, words: str, error: type[Exception]) -> None:
    x = X.astype("float32")
    report = tg.gradcheck((np.sin, raising(where, error)), x, raise_exception=False)
    assert words.format(error.__name__) in report.problems[0]
    with pytest.raises(tg.GradcheckError, match="no such row"):
        tg.gradcheck((np.sin, raising(where, error)), x)


@pytest.mark.parametrize("error", [IndexError, TypeError])
def test_a_backward_that_raises_of_pytorchs_and_jaxs(error: type[Exception]) -> None:
    torch = pytest.importorskip("torch")

    class Raising(torch.autograd.Function):  # type: ignore[misc, name-defined]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return torch.sin(x)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            raise error("no such row")

    words = f"the backward pass raises {error.__name__}: no such row"
    assert tg.gradcheck(Raising, torch.tensor(X), raise_exception=False).problems == [words]
    jax = pytest.importorskip("jax")

    @jax.custom_vjp  # type: ignore[untyped-decorator]
    def sin(x: Any) -> Any:
        return jax.numpy.sin(x)

    def back(_: Any, g: Any) -> Any:
        raise error("no such row")

    sin.defvjp(lambda x: (jax.numpy.sin(x), None), back)
    assert tg.gradcheck(sin, jax.numpy.asarray(X), raise_exception=False).problems == [words]


def test_a_rule_that_raises_and_a_function_that_raises_where_a_gradient_is_wanted() -> None:
    def rule(g: Any, _y: Any, x: Any) -> Any:
        raise TypeError("no such row")

    for check in (tg.gradcheck, tg.gradgradcheck):
        report = check(primitive(np.sin, rule), X, raise_exception=False)
        assert report.problems == ["the backward pass raises TypeError: no such row"]

    def only_without(x: Any) -> Any:
        if tg.is_grad_enabled():
            raise TypeError("not here")
        return x.sin()

    report = tg.gradcheck(only_without, X, raise_exception=False)
    assert report.problems == ["the function, where a gradient is wanted, raises TypeError: not here"]


def test_what_the_checker_itself_does_wrong_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def only_larger(probe: Any, report: Any, c: Any, looks: Any, where: str) -> None:
        if "as large" in where:
            raise ZeroDivisionError("of the checker's own")

    monkeypatch.setattr(sys.modules["tinygrad_seq.gradcheck.check"], "_once_more", only_larger)
    with pytest.raises(ZeroDivisionError):
        tg.gradcheck((np.sin, lambda g, x, y: g * np.cos(x)), X)


def test_shapes_that_depend_on_values_at_larger_inputs_alone() -> None:
    pair = (lambda x: np.sin(x[abs(x.real) < 8]), lambda g, x, y: g.reshape(x.shape) * np.cos(x))
    assert verdict(pair, X) == "pass"

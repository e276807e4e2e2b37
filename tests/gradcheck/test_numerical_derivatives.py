"""Numerical derivatives: what the complex step does not see, rounded values, edges and jumps; calls and time taken."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg

from .test_kinds import X, verdict

pytestmark = [
    pytest.mark.host("pairs of NumPy's functions"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]


@pytest.mark.parametrize("k", [1e-6, 1e-7, 1e-8])
def test_what_is_not_analytic_is_seen(k: float) -> None:
    w = np.array([0.3, 0.5, 0.8, 1.0])
    report = tg.gradcheck((lambda w: np.sin(w) + k * abs(w), lambda g, w, y: g * np.cos(w)), w, raise_exception=False)
    assert report.verdict == "fail"
    assert "central differences" in report.inputs[0].how
    assert verdict((lambda w: np.sin(w) + k * abs(w), lambda g, w, y: g * (np.cos(w) + k)), w) == "pass"


def test_single_precision_inside_is_no_rounding_of_double() -> None:
    wrong = (np.sin, lambda g, x, y: (g.astype("f4") * np.cos(x.astype("f4"))).astype(float))
    assert verdict(wrong, np.array([0.3, 0.5, 0.8, 1.0])) == "fail"


@pytest.mark.parametrize("knots", [101, 10_001])
def test_a_piecewise_line_over_many_knots(knots: int) -> None:
    k = np.linspace(-4, 4, knots)
    v = np.sin(k)

    def slope(x: Any) -> Any:
        j = np.searchsorted(k, x, side="right") - 1
        return (v[j + 1] - v[j]) / (k[j + 1] - k[j])

    for seed in range(5):
        x = np.random.default_rng(seed).uniform(0.5, 3, 6)
        assert verdict((lambda x: np.interp(x.real, k, v), lambda g, x, y: g * slope(x)), x) == "pass"
        assert verdict((lambda x: np.interp(x.real, k, v), lambda g, x, y: g * np.cos(x)), x) == "fail"


@pytest.mark.parametrize("factor", [1.0, 1.01])
@pytest.mark.parametrize(
    "f", [np.sin, lambda x: np.sin(x.real), lambda x: np.sin(x).sum(), lambda x: np.sin(x.real).sum()]
)
def test_a_budget_of_calls(f: Any, factor: float) -> None:
    calls = [0]

    def counted(x: Any) -> Any:
        calls[0] += 1
        return f(x)

    report = tg.gradcheck(
        (counted, lambda g, x, y: factor * g * np.cos(x)), np.linspace(0.1, 1, 8), raise_exception=False
    )
    assert report.verdict == ("pass" if factor == 1.0 else "fail")
    assert calls[0] <= 68


@pytest.mark.parametrize("pause", [0.0, 0.005])
def test_the_verdict_does_not_depend_on_the_clock(pause: float) -> None:
    def slow(x: Any) -> Any:
        time.sleep(pause)
        return np.sin(x)

    wrong = (slow, lambda g, x, y: g * np.cos(x) * np.where(abs(x) > 4, 0.5, 1))
    assert verdict(wrong, np.linspace(-2, 2, 30)) == "fail"


def test_progress_after_two_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    def slow(x: Any) -> Any:
        time.sleep(0.15)
        return np.sin(x)

    assert tg.gradcheck((slow, lambda g, x, y: g * np.cos(x)), np.ones(2))
    assert "calls" in capsys.readouterr().err


def test_the_second_witness_is_reported() -> None:
    report = tg.gradcheck(lambda x: x.sin(), X).inputs[0]
    assert report.how == "every entry, complex step"
    assert report.agreement is not None
    assert report.agreement < 1e-9
    assert "differences agree to" in str(tg.gradcheck(lambda x: x.sin(), X))


@pytest.mark.parametrize("digits", [5, 7, 9])
@pytest.mark.parametrize(
    ("f", "slope"),
    [(np.sin, np.cos), (np.tanh, lambda x: 1 - np.tanh(x) ** 2), (np.square, lambda x: 2 * x)],
    ids=["sin", "tanh", "square"],
)
def test_values_on_a_decimal_grid(digits: int, f: Any, slope: Any) -> None:
    """At the inputs and at eight times these, where some are saturated: they do not move, and say nothing."""
    right = (lambda x: np.round(f(x.real), digits), lambda g, x, y: g * slope(x))
    wrong = (right[0], lambda g, x, y: g * slope(x) * (1.5 if digits == 5 else 1.1))
    for seed in range(12):
        x = np.random.default_rng(seed).standard_normal(5 + 7 * (seed % 2))
        assert verdict(right, x, seed=seed) != "fail"
        assert verdict(wrong, x, seed=seed) == "fail"


@pytest.mark.parametrize("f", [lambda x: np.round(x * x, 6), lambda x: (x.astype("float32") ** 2).astype(x.dtype)])
def test_under_equal_cotangents_alone(f: Any) -> None:
    """As a sum gives: of values of which little is known, too."""
    backward = lambda g, x, y: (2 if np.ptp(g) else 3) * x * g  # noqa: E731
    for seed in range(4):
        x = np.random.default_rng(seed).standard_normal(4)
        assert verdict((lambda x: f(x.real), backward), x, seed=seed) == "fail"


def test_a_smooth_function_whose_values_happen_to_be_round() -> None:
    x = np.array([0.0625, 0.5, 0.1234])
    assert verdict((lambda x: 1 * x.real, lambda g, x, y: g), x) == "pass"
    assert verdict((lambda x: 1 * x.real, lambda g, x, y: g * (1 + 1e-6)), x) == "fail"


@pytest.mark.parametrize("off", [0.0, 1e-5])
def test_steps_beyond_an_edge_say_nothing_of_the_rounding(off: float) -> None:
    def backward(g: Any, x: Any, y: Any) -> Any:
        symmetric = np.tril(x) + np.tril(x, -1).T
        return g * np.tril(np.linalg.inv(symmetric) * (1 - np.eye(2) / 2)) * (1 + off)

    pair = (lambda x: np.log(np.diag(np.linalg.cholesky(x.real))).sum(), backward)
    for seed in range(8):
        report = tg.gradcheck(pair, np.array([[1.0, 0.0], [0.99, 1.0]]), seed=seed, raise_exception=False)
        assert report.verdict == ("fail" if off else "pass")
        assert off or report.inputs[0].tested == 3


@pytest.mark.parametrize("x", [[0.999999, 0.3, 2.000001], [0.9999999, -0.5, 1.0000001]])
def test_next_to_a_jump(x: Any) -> None:
    saw = (lambda x: np.mod(x.real, 1.0), lambda g, x, y: g)
    near = (saw[0], lambda g, x, y: g * np.where(abs(x - np.round(x)) < 1e-5, 1.01, 1.0))
    for seed in range(5):
        assert verdict(saw, np.array(x), seed=seed) == "pass"
        assert verdict(near, np.array(x), seed=seed) == "fail"

"""One test for each kind of mistake that hides, and of right gradient that is hard to believe."""

from __future__ import annotations

import random
import sys
import time
from typing import Any

import numpy as np
import pytest

import nn.functional as F
import tinygrad_seq as tg

pytestmark = [
    pytest.mark.host("pairs of NumPy's functions"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]
X = np.random.default_rng(0).standard_normal((3, 4))
LARGE = np.random.default_rng(0).uniform(0.1, 1.0, 50_000)


def verdict(f: Any, inputs: Any, **settings: Any) -> str:
    return tg.gradcheck(f, inputs, raise_exception=False, **settings).verdict


def primitive(forward: Any, *rules: Any) -> Any:
    made = tg.Primitive(forward, name="made")
    made.vjp(*rules)
    return made


def looked_up(x: Any) -> Any:
    return np.array([0.0, 1.0, 4.0])[np.floor(2 * x).astype(int)]


# --- the gradient people get ---


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("shape", [(3,), (2000,)])
def test_a_rule_that_differs_on_arrays(compiled: bool, shape: tuple[int, ...]) -> None:
    def rule(g: Any, _y: Any, x: Any) -> Any:
        return g * tg.cos(x) * {"Tensor": 1, "ndarray": 3, "ProxyArray": 5}[type(x).__name__]

    p = primitive(lambda x: tg.array_module(x).sin(x), rule)
    f = tg.compile(lambda x: p(x) * 1.0) if compiled else lambda x: p(x)
    assert verdict(f, np.random.default_rng(0).standard_normal(shape)) == "fail"


def test_a_rule_that_writes_into_its_gradient_where_nobody_records() -> None:
    def rule(g: Any, _y: Any, a: Any, b: Any) -> Any:
        if isinstance(g, np.ndarray):
            g *= b
            return g
        return g * b

    assert verdict(primitive(lambda a, b: a * b, rule, lambda g, _y, a, b: g * a), (X, X + 2)) == "fail"


def test_a_rule_of_numpys_functions_alone() -> None:
    p = primitive(lambda x: np.cumsum(x, 0), lambda g, _y, _x: np.flip(np.cumsum(np.flip(g, 0), 0), 0))
    report = tg.gradcheck(p, X)
    assert report
    assert "cannot be differentiated in turn" in report.notes[0]


def test_a_rule_that_is_right_on_arrays_alone() -> None:
    p = primitive(np.sin, lambda g, _y, x: g * tg.cos(x) * (2.0 if isinstance(g, tg.Tensor) else 1.0))
    assert "another when it is recorded" in tg.gradcheck(p, X, raise_exception=False).problems[0]


# --- edges of domains ---


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (tg.log, [1e-6, 1, 2.0]),
        (tg.sqrt, [1e-5, 1, 1, 1.0]),
        (lambda p: (p / (1 - p)).log(), [0.99, 0.5]),
        (tg.log1p, [-0.99, 0.5]),
        (lambda x: x**1.5, [1e-6, 1, 2.0]),
        ((np.arccos, lambda g, x, y: -g / np.sqrt(1 - x * x)), [0.99, 0.5]),
        ((np.arctanh, lambda g, x, y: g / (1 - x * x)), [0.99, 0.5]),
        ((lambda x: np.log(x.real), lambda g, x, y: g / x), [1e-6, 1, 2.0]),
        ((lambda x: np.log(x.real).sum(), lambda g, x, y: g / x), [1e-6, 1, 2.0]),
        (lambda x: x.softmax(-1), [[0.3, -1.0, -np.inf], [1.0, 2.0, 0.5]]),
        (lambda x: x.logsumexp(-1), [[0.3, -1.0, -np.inf], [1.0, 2.0, 0.5]]),
        (lambda x: x.exp(), [[0.3, -1.0, -np.inf], [1.0, 2.0, 0.5]]),
    ],
)
@pytest.mark.parametrize("exhaustive", [None, False])
def test_next_to_the_edge_of_a_domain(f: Any, x: Any, exhaustive: bool | None) -> None:
    assert verdict(f, np.array(x), exhaustive=exhaustive) == "pass"
    if not isinstance(f, tuple):
        return
    for wrong in (lambda *given: f[1](*given) * 1.001, lambda *given: -f[1](*given)):
        assert verdict((f[0], wrong), np.array(x), exhaustive=exhaustive) == "fail"


@pytest.mark.parametrize("real", [False, True])
def test_one_step_beyond_the_edge_of_50_000(real: bool) -> None:
    a = LARGE.copy()
    a[7] = 1e-6
    log = (lambda a: np.log(a.real)) if real else np.log
    report = tg.gradcheck((log, lambda g, a, y: g / a), a)
    assert report.inputs[0].tested > 49_900
    assert verdict((log, lambda g, a, y: 3 * g / a), a) == "fail"
    assert verdict((log, lambda g, a, y: 0 * g), a) == "fail"


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (lambda p: F.binary_cross_entropy(p, tg.tensor([1.0, 0.0], dtype=tg.float64)), [0.99, 0.5]),
        ((lambda x: x * looked_up(x.real), lambda g, x, y: g * looked_up(x)), [1.49, 0.2]),
    ],
)
def test_a_function_that_raises_beyond_its_edge(f: Any, x: Any) -> None:
    assert verdict(f, np.array(x)) == "pass"


# --- precision ---


@pytest.mark.parametrize("by", [0.0, 0.5, 0.95, 0.999])
def test_a_factor_in_single_precision_alone(by: float) -> None:
    wrong = (np.sin, lambda g, x, y: g * np.cos(x) * x.dtype.type(by if x.itemsize == 4 else 1))
    for x in (X, np.random.default_rng(1).standard_normal(5000)):
        report = tg.gradcheck(wrong, x.astype("float32"), raise_exception=False)
        assert report.verdict == "fail"
        assert "in float32" in report.inputs[0].problems[0]
        assert verdict(wrong, x) == "pass"


def test_an_overflow_in_single_precision_alone() -> None:
    wrong = (lambda x: np.logaddexp(0, x), lambda g, x, y: g * np.exp(x) / (1 + np.exp(x)))
    assert verdict(wrong, np.array([95, 1, 2], "float32")) == "fail"


def test_half_precision_on_the_way() -> None:
    def backward(g: Any, a: Any, b: Any, y: Any) -> Any:
        da = g @ b.T
        return (da.astype("float16").astype("float32") if g.itemsize == 4 else da), a.T @ g

    x = X.astype("float32")
    assert verdict((np.matmul, backward), (x, x.T.copy())) == "fail"
    assert verdict((np.matmul, lambda g, a, b, y: (g @ b.T, a.T @ g)), (x, x.T.copy())) == "pass"


@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_saturation_in_single_precision_is_right(scale: float) -> None:
    x = (scale * X).astype("float32")
    for f in (lambda x: x.tanh(), lambda x: x.softmax(-1), lambda x: x.sigmoid().log(), lambda x: x.exp().sum()):
        assert verdict(f, x) == "pass"


# --- kinks ---


@pytest.mark.parametrize("at_zero", [0.0, 1.0, 0.3])
def test_kinks_hide_nothing_along_directions(at_zero: float) -> None:
    x = np.maximum(np.random.default_rng(0).standard_normal(50_000), 0)

    def backward(g: Any, x: Any, y: Any) -> Any:
        return g * np.where(x == 0, at_zero, x > 0)

    def halved(g: Any, x: Any, y: Any) -> Any:
        d = backward(g, x, y)
        d[np.flatnonzero(x)[::100]] *= 0.5
        return d

    relu = lambda x: np.maximum(x.real, 0)  # noqa: E731
    report = tg.gradcheck((relu, backward), x)
    assert report.inputs[0].kinks == (x == 0).sum()
    assert report.inputs[0].tested == (x > 0).sum()
    assert verdict((relu, halved), x) == "fail"
    assert verdict((relu, lambda g, x, y: g * np.where(x == 0, 2.0, x > 0)), x) == "fail"


def relu(x: Any) -> Any:
    return np.maximum(x.real, 0)


def size_of(x: Any) -> Any:
    return abs(x.real)


@pytest.mark.parametrize(
    ("f", "slope", "x"),
    [
        (relu, lambda x: x > 0, np.maximum(np.random.default_rng(0).standard_normal(400), 0)),
        (relu, lambda x: x > 0, np.maximum(np.random.default_rng(0).standard_normal(50_000), 0)),
        (size_of, np.sign, np.array([0.0, 1.0, 2.0, 3.0])),
        (size_of, np.sign, np.array([0.0, 1.0, 2.0])),
    ],
)
@pytest.mark.parametrize("whole", [lambda g: g.all() and np.ptp(g) > 0, lambda g: np.ptp(g) == 0, lambda g: g.all()])
def test_next_to_kinks_wrong_by_all_outputs_together_alone(f: Any, slope: Any, x: Any, whole: Any) -> None:
    def backward(g: Any, x: Any, y: Any) -> Any:
        return g * slope(x) * (2 if whole(g) else 1)

    assert verdict((f, backward), x) == "fail"
    assert verdict((f, lambda g, x, y: g * slope(x)), x) == "pass"


A = tg.tensor([[1.0, -1.0], [1.0, 1.0]], dtype=tg.float64)
B = tg.tensor([1.0, -1.0], dtype=tg.float64)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("f", "x"),
    [
        (lambda x: x.median(), [1.0, 1, 1, 0, 2]),
        (lambda x: x.topk(2)[0], [1.0, 1, 0, 1]),
        (lambda x: x.sort()[0], [1.0, 1, 0, 1]),
        (lambda x: x.amax(1), [[1.0, 2, 2], [0, 3, 1]]),
        (lambda x: (x @ A.to(x.device)).relu() @ B.to(x.device), [0.0, 0]),
    ],
)
def test_ties_and_networks_at_zero_are_right(f: Any, x: Any, seed: int) -> None:
    assert verdict(f, np.array(x), seed=seed) == "pass"


@pytest.mark.parametrize("real", [False, True])
def test_both_of_a_tie_get_all(real: bool) -> None:
    largest = lambda x: (x.real if real else x).max(1)  # noqa: E731
    wrong = (largest, lambda g, x, y: g[:, None] * (x == y[:, None]))
    assert verdict(wrong, np.array([[1.0, 2, 2], [0, 3, 1]])) == "fail"


@pytest.mark.parametrize("shares", [(1.0, 1.0), (0.0, 0.0), (0.7, 0.7)])
def test_ties_between_inputs(shares: tuple[float, float]) -> None:
    def backward(by: tuple[float, float]) -> Any:
        return lambda g, a, b, y: (g * np.where(a == b, by[0], a > b), g * np.where(a == b, by[1], b > a))

    x = (np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.5, 0.0]))
    assert verdict((lambda a, b: np.maximum(a.real, b.real), backward(shares)), x) == "fail"
    assert tg.gradcheck((lambda a, b: np.maximum(a.real, b.real), backward((0.3, 0.7))), x)


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


# --- what the complex step does not see, time ---


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

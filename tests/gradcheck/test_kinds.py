"""One test for each kind of mistake that hides, and of right gradient that is hard to believe."""

from __future__ import annotations

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

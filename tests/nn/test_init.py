"""Initial values: their distribution, that the seed decides them, PyTorch's gains and signatures, what is refused."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nn
import tinygrad_seq as tg
from nn import init

d = tg.float64


FILLS: dict[str, Callable[..., tg.Tensor]] = {
    "uniform_": lambda t, **k: init.uniform_(t, -1, 2, **k),
    "normal_": lambda t, **k: init.normal_(t, 1, 2, **k),
    "trunc_normal_": lambda t, **k: init.trunc_normal_(t, 0.5, 1, -1, 1, **k),
    "xavier_uniform_": init.xavier_uniform_,
    "xavier_normal_": init.xavier_normal_,
    "kaiming_uniform_": init.kaiming_uniform_,
    "kaiming_normal_": init.kaiming_normal_,
    "orthogonal_": init.orthogonal_,
    "sparse_": lambda t, **k: init.sparse_(t, 0.3, **k),
}


@pytest.mark.parametrize("name", FILLS)
def test_in_place_and_by_the_generator(name: str) -> None:
    fill = FILLS[name]
    parameter = nn.Parameter(tg.zeros(5, 7))
    memory = parameter.array
    assert fill(parameter, generator=tg.Generator(3)) is parameter
    assert parameter.array is memory
    assert parameter.is_leaf
    assert parameter.requires_grad
    assert parameter.dtype == tg.float32
    again = fill(tg.zeros(5, 7), generator=tg.Generator(3))
    np.testing.assert_array_equal(again.numpy(), parameter.detach().numpy())
    other = fill(tg.zeros(5, 7), generator=tg.Generator(4))
    assert (other.numpy() != again.numpy()).any()
    state = tg.default_generator.get_state()
    fill(tg.zeros(5, 7), generator=tg.Generator(3))
    assert tg.default_generator.get_state() == state, "the default stream stays where it is"
    fill(tg.zeros(5, 7))
    assert tg.default_generator.get_state() != state
    assert fill(tg.zeros(5, 7, dtype=d)).dtype == d


def test_signatures(torch: Any) -> None:
    for name, function in inspect.getmembers(torch.nn.init, inspect.isfunction):
        if name in FILLS or name in ("calculate_gain", "constant_", "ones_", "zeros_", "eye_"):
            theirs = inspect.signature(function).parameters.values()
            ours = inspect.signature(getattr(init, name)).parameters.values()
            assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in theirs], name


GAINS = ["linear", "conv1d", "conv2d", "conv3d", "conv_transpose2d", "sigmoid", "tanh", "relu", "selu", "leaky_relu"]


def test_gains(torch: Any) -> None:
    for name in GAINS:
        assert init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name), rel=1e-15)
    for slope in (0, 0.3, 2):
        assert init.calculate_gain("leaky_relu", slope) == pytest.approx(math.sqrt(2 / (1 + slope**2)), rel=1e-15)


SPREADS: list[tuple[str, dict[str, Any], float]] = [  # the standard deviation for W (200, 300)
    ("xavier_uniform_", {}, math.sqrt(2 / 500)),
    ("xavier_normal_", {"gain": 3.0}, 3 * math.sqrt(2 / 500)),
    ("kaiming_uniform_", {}, math.sqrt(2 / 300)),
    ("kaiming_uniform_", {"a": math.sqrt(5)}, math.sqrt(1 / 900)),
    ("kaiming_normal_", {"mode": "fan_out"}, math.sqrt(2 / 200)),
    ("kaiming_normal_", {"nonlinearity": "tanh"}, 5 / 3 / math.sqrt(300)),
]


@pytest.mark.parametrize(("name", "options", "spread"), SPREADS)
def test_spread(torch: Any, name: str, options: dict[str, Any], spread: float) -> None:
    for shape in ((200, 300), (20, 30, 2, 5)):  # the same fans up to √10
        w = getattr(init, name)(tg.zeros(shape, dtype=d), **options).numpy()
        torch.manual_seed(0)
        other = getattr(torch.nn.init, name)(torch.zeros(shape, dtype=torch.float64), **options).numpy()
        assert w.std() == pytest.approx(other.std(), rel=0.02)
        assert abs(w.mean()) < 0.02 * w.std()
        if len(shape) == 2:
            assert w.std() == pytest.approx(spread, rel=0.02)
        if "uniform" in name:
            assert np.abs(w).max() == pytest.approx(w.std() * math.sqrt(3), rel=0.02)
            assert np.abs(w).max() == pytest.approx(np.abs(other).max(), rel=0.01)


TRUNCATED = [
    (0.0, 1.0, -2.0, 2.0),
    (1.0, 2.0, -1.0, 1.5),
    (0.0, 1.0, 1.0, 4.0),
    (3.0, 0.5, -1.0, 1.0),
    (0.0, 1.0, 2.9, 3.0),
    (0.0, 1.0, -math.inf, 0.5),
]


@pytest.mark.parametrize(("mean", "std", "a", "b"), TRUNCATED)
def test_truncated_normal(mean: float, std: float, a: float, b: float) -> None:
    """The distribution function against the formula (Kolmogorov & Smirnov): also where few draws of a normal fit."""
    n = 20000
    x = np.sort(init.trunc_normal_(tg.zeros(100, n // 100, dtype=d), mean, std, a, b).numpy().reshape(-1))
    assert a <= x[0] < x[-1] <= b

    def below(v: Any) -> Any:
        return np.array([0.5 * math.erfc(-(v - mean) / std / math.sqrt(2)) for v in np.atleast_1d(v)])

    expected = (below(x) - below(a)) / (below(b) - below(a))
    assert np.abs(expected - (np.arange(n) + 0.5) / n).max() < 1.95 / math.sqrt(n)  # one in a thousand is beyond
    assert init.trunc_normal_(tg.zeros(0, 3)).shape == (0, 3)


@given(rows=st.integers(1, 7), columns=st.integers(1, 7), seed=st.integers(0, 99))
def test_orthogonal(rows: int, columns: int, seed: int) -> None:
    for dtype, atol in ((d, 1e-13), (tg.float32, 1e-5)):
        w = init.orthogonal_(tg.zeros(rows, columns, dtype=dtype), 3.0, tg.Generator(seed)).numpy() / 3
        product = w @ w.T if rows <= columns else w.T @ w
        np.testing.assert_allclose(product, np.eye(min(rows, columns)), atol=atol)


def test_orthogonal_matrices_are_uniform() -> None:
    """Without the signs of R, determinants and traces would not be: over O(3), E tr = 0 and E tr² = 1."""
    drawn = [init.orthogonal_(tg.zeros(3, 3, dtype=d)).numpy() for _ in range(2000)]
    assert np.mean([np.linalg.det(w) > 0 for w in drawn]) == pytest.approx(0.5, abs=0.05)
    traces = np.array([np.trace(w) for w in drawn])
    assert traces.mean() == pytest.approx(0, abs=0.1)
    assert (traces**2).mean() == pytest.approx(1, abs=0.1)
    assert init.orthogonal_(tg.zeros(4, 2, 3)).shape == (4, 2, 3)
    assert init.orthogonal_(tg.zeros(3, 3, dtype=tg.float16)).dtype == tg.float16
    assert init.orthogonal_(tg.zeros(0, 3)).shape == (0, 3)


def test_sparse() -> None:
    for sparsity in (0.0, 0.25, 0.3, 1.0):
        w = init.sparse_(tg.zeros(10, 50), sparsity, 2.0).numpy()
        assert ((w == 0).sum(0) == math.ceil(sparsity * 10)).all()
        if sparsity < 1:
            assert w[w != 0].std() == pytest.approx(2, rel=0.15)
    rows = (init.sparse_(tg.zeros(10, 500), 0.3).numpy() == 0).mean(1)
    assert rows.min() > 0.2, "any row may be the one"
    assert rows.max() < 0.4


def test_constants() -> None:
    w = tg.randn(2, 3)
    assert init.eye_(w) is w
    assert w.tolist() == [[1, 0, 0], [0, 1, 0]]
    assert init.ones_(w).tolist() == [[1] * 3] * 2
    assert init.constant_(w, 0.5).tolist() == [[0.5] * 3] * 2
    assert init.zeros_(w).tolist() == [[0] * 3] * 2


MISTAKES: list[tuple[Callable[[], Any], str]] = [
    *[
        (lambda f=f: getattr(init, f)(tg.zeros(3)), rf"{f}: takes a tensor of 2 dimensions or more, .* shape \(3,\)")
        for f in ("xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_", "orthogonal_")
    ],
    (lambda: init.eye_(tg.zeros(3)), r"eye_: takes a matrix, .* got shape \(3,\)"),
    (lambda: init.sparse_(tg.zeros(3, 3, 3), 0.1), r"sparse_: takes a matrix, .* got shape \(3, 3, 3\)"),
    (lambda: init.sparse_(tg.zeros(3, 3), 1.5), "sparse_: sparsity is a share from 0 to 1, got 1.5"),
    (lambda: init.normal_(tg.zeros(3), 0, -1), "normal_: std must not be negative, got -1"),
    (
        lambda: init.trunc_normal_(tg.zeros(3), a=2, b=1),
        "trunc_normal_: takes std > 0 and a < b, got std=1.0, a=2, b=1",
    ),
    (lambda: init.trunc_normal_(tg.zeros(3), 0, 0), "trunc_normal_: takes std > 0"),
    (
        lambda: init.kaiming_normal_(tg.zeros(3, 3), mode="fan"),
        "kaiming_normal_: mode is 'fan_in' or 'fan_out', got 'fan'",
    ),
    (lambda: init.kaiming_normal_(tg.zeros(3, 3), nonlinearity="x"), "calculate_gain: takes .*'relu'.*, got 'x'"),
    (lambda: init.calculate_gain("leaky_relu", True), "param is the negative slope of leaky_relu, a number, got True"),
]


@pytest.mark.parametrize(("call", "words"), MISTAKES, ids=[words for _, words in MISTAKES])
def test_mistakes_are_explained(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()

"""What is composed of primitives: the same values as NumPy (or a formula), the right gradients, also in the corners."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_seq as tg

A = np.random.default_rng(0).standard_normal((3, 4))
B = np.random.default_rng(1).standard_normal((2, 3, 4))
ROWS = np.array([[2, 0], [1, 1], [0, 2]])


def scattered(a: Any) -> Any:
    out = np.zeros((3, 2))
    np.add.at(out, (ROWS, np.arange(2)), a[:, :2])
    return out


SMOOTH: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "mean": (lambda x: x.mean(1), lambda a: a.mean(1)),
    "var": (lambda x: x.var(0), lambda a: a.var(0, ddof=1)),
    "std": (lambda x: x.std((0, 1), keepdim=True), lambda a: a.std((0, 1), ddof=1, keepdims=True)),
    "amin": (lambda x: x.amin(0), lambda a: a.min(0)),
    "max": (lambda x: x.max(1).values, lambda a: a.max(1)),
    "min": (lambda x: x.min(0, keepdim=True)[0], lambda a: a.min(0, keepdims=True)),
    "norm": (lambda x: x.norm(), np.linalg.norm),
    "norm 1": (lambda x: x.norm(1, 0), lambda a: np.abs(a).sum(0)),
    "norm 3": (lambda x: x.norm(3.0, 1), lambda a: (np.abs(a) ** 3).sum(1) ** (1 / 3)),
    "norm inf": (lambda x: x.norm(math.inf, 1), lambda a: np.abs(a).max(1)),
    "prod": (lambda x: x.prod(1), lambda a: a.prod(1)),
    "prod of all": (lambda x: x.prod(), lambda a: a.prod()),
    "cumsum": (lambda x: x.cumsum(-1), lambda a: a.cumsum(-1)),
    "logsumexp": (lambda x: x.logsumexp(0), lambda a: np.log(np.exp(a).sum(0))),
    "softmax": (lambda x: x.softmax(1), lambda a: np.exp(a) / np.exp(a).sum(1, keepdims=True)),
    "log_softmax": (lambda x: x.log_softmax(0), lambda a: a - np.log(np.exp(a).sum(0))),
    "sort": (lambda x: x.sort(0).values, lambda a: np.sort(a, 0)),
    "sort down": (lambda x: x.sort(1, descending=True)[0], lambda a: -np.sort(-a, 1)),
    "topk": (lambda x: x.topk(2, 1).values, lambda a: -np.sort(-a, 1)[:, :2]),
    "clamp": (lambda x: x.clamp(-0.5, 0.5), lambda a: a.clip(-0.5, 0.5)),
    "clamp below": (lambda x: tg.clamp(x, max=0.1), lambda a: np.minimum(a, 0.1)),
    "leaky_relu": (lambda x: tg.leaky_relu(x, 0.1), lambda a: np.where(a > 0, a, 0.1 * a)),
    "elu": (lambda x: tg.elu(x, 2.0), lambda a: np.where(a > 0, a, 2 * np.expm1(a))),
    "silu": (tg.silu, lambda a: a / (1 + np.exp(-a))),
    "gelu": (tg.gelu, lambda a: a * 0.5 * (1 + np.vectorize(math.erf)(a / math.sqrt(2)))),
    "rsqrt": (lambda x: (x * x + 1).rsqrt(), lambda a: 1 / np.sqrt(a * a + 1)),
    "flatten": (lambda x: x.flatten(), lambda a: a.reshape(-1)),
    "movedim": (lambda x: tg.movedim(x, 0, 1), lambda a: np.moveaxis(a, 0, 1)),
    "repeat": (lambda x: x.repeat(2, 1, 3), lambda a: np.tile(a, (2, 1, 3))),
    "roll": (lambda x: x.roll(1, 0), lambda a: np.roll(a, 1, 0)),
    "roll both": (lambda x: x.roll((1, -2), (0, 1)), lambda a: np.roll(a, (1, -2), (0, 1))),
    "roll flat": (lambda x: x.roll(5), lambda a: np.roll(a, 5)),
    "pad": (lambda x: tg.pad(x, (1, 2, 0, 1), 7.0), lambda a: np.pad(a, ((0, 1), (1, 2)), constant_values=7.0)),
    "pad cuts": (lambda x: tg.pad(x, (-1, 1)), lambda a: np.pad(a[:, 1:], ((0, 0), (0, 1)))),
    "tril": (lambda x: x.tril(), np.tril),
    "triu": (lambda x: x.triu(1), lambda a: np.triu(a, 1)),
    "expand": (lambda x: x.unsqueeze(0).expand(2, -1, -1), lambda a: np.broadcast_to(a, (2, 3, 4))),
    "squeeze": (lambda x: x.reshape(3, 1, 4).squeeze(1), lambda a: a),
    "gather": (lambda x: x.gather(1, tg.tensor(ROWS)), lambda a: np.take_along_axis(a, ROWS, 1)),
    "gather less": (lambda x: x.gather(0, tg.tensor(ROWS[:2])), lambda a: np.take_along_axis(a[:, :2], ROWS[:2], 0)),
    "index_select": (lambda x: x.index_select(1, [3, 0, 3]), lambda a: a[:, [3, 0, 3]]),
    "masked_fill": (lambda x: x.masked_fill(tg.tensor(A > 0), -1.0), lambda a: np.where(A > 0, -1.0, a)),
    "scatter": (lambda x: x.scatter(1, tg.tensor([[3, 2, 1, 0]] * 3), x * 2), lambda a: 2 * a[:, ::-1]),
    "scatter_add": (lambda x: tg.zeros(3, 2, dtype=tg.float64).scatter_add(0, tg.tensor(ROWS), x[:, :2]), scattered),
    "outer": (lambda x: tg.outer(x[0], x[1]), lambda a: np.outer(a[0], a[1])),
    "dot": (lambda x: tg.dot(x[0], x[1]), lambda a: a[0] @ a[1]),
    "matrix and vector": (lambda x: x @ x[0], lambda a: a @ a[0]),
    "vector and matrix": (lambda x: x[:, 0] @ x, lambda a: a[:, 0] @ a),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_value_and_gradients(name: str) -> None:
    ours, theirs = SMOOTH[name]
    np.testing.assert_allclose(ours(tg.tensor(A)).numpy(), theirs(A), rtol=1e-12, atol=1e-14)
    tg.gradcheck(ours, A)
    tg.gradgradcheck(ours, A)
    assert ours(tg.tensor(A, dtype=tg.float32)[:]).dtype == tg.float32 or name == "scatter_add"


EQUATIONS = ["ij,jk->ik", "ij,ij->", "ij->ji", "ij->i", "ii->i", "ii", "bij,bjk->bik", "bij,jk", "i,j->ij", "ij,j,i->"]
EQUATIONS += ["...j,jk->...k", "bij->...", "ijk,ijk->ik", "ab,bc,cd->ad", "iij->j", "ij,kj->ik", "i->", "...ij->...ji"]


@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum(equation: str) -> None:
    rng = np.random.default_rng(0)
    sizes = {c: 3 if c == "i" else 2 + ord(c) % 3 for c in "abcdijk"}
    arrays = [
        rng.standard_normal([*([2] if "..." in term else []), *[sizes[c] for c in term if c != "."]])
        for term in equation.partition("->")[0].split(",")
    ]
    if equation == "bij->...":
        with pytest.raises(ValueError, match="must be different"):
            tg.einsum("bij->bb", tg.tensor(arrays[0]))
        return
    ours = tg.einsum(equation, *[tg.tensor(a) for a in arrays])
    np.testing.assert_allclose(ours.numpy(), np.einsum(equation, *arrays), rtol=1e-12)
    tg.gradgradcheck(lambda *xs: tg.einsum(equation, *xs), arrays)


def test_einsum_explains_itself() -> None:
    x = tg.ones(2, 3)
    for equation, words in (
        ("ij,jk->ik", "2 operands, got 1"),
        ("ijk->i", "does not fit"),
        ("ij->x", "occur on the left"),
    ):
        with pytest.raises(ValueError, match=words):
            tg.einsum(equation, x)
    with pytest.raises(ValueError, match="dimension 'j' has lengths 2 and 3"):
        tg.einsum("ij,jk->ik", x, x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extremes_are_right_in_value_and_gradient(dtype: str) -> None:
    kept = getattr(tg, dtype)
    x = tg.tensor([-1e4, -1.0, 0.0, 1.0, 1e4], dtype=kept)
    s1, s2, t1, t2 = 0.19661193, 0.0908577, 0.41997434, 0.63970001  # derivatives of sigmoid and tanh at 1
    e = 0.36787944
    for f, values, first, second in (
        (tg.sigmoid, [0, 0.26894142, 0.5, 0.73105858, 1], [0, s1, 0.25, s1, 0], [0, s2, 0, -s2, 0]),
        (
            tg.softplus,
            [0, 0.31326169, 0.69314718, 1.31326169, 1e4],
            [0, 0.26894142, 0.5, 0.73105858, 1],
            [0, s1, 0.25, s1, 0],
        ),
        (tg.tanh, [-1, -0.76159416, 0, 0.76159416, 1], [0, t1, 1, t1, 0], [0, t2, 0, -t2, 0]),
        (tg.relu, [0, 0, 0, 1, 1e4], [0, 0, 0, 1, 1], [0] * 5),
        (tg.abs, [1e4, 1, 0, 1, 1e4], [-1, -1, 0, 1, 1], [0] * 5),
        (tg.elu, [-1, e - 1, 0, 1, 1e4], [0, e, 1, 1, 1], [0, e, 1, 0, 0]),
    ):

        def total(x: tg.Tensor, f: Any = f) -> tg.Tensor:
            return f(x).sum()

        np.testing.assert_allclose(f(x).numpy(), values, atol=1e-7)
        np.testing.assert_allclose(tg.grad(total)(x).numpy(), first, atol=1e-7)
        np.testing.assert_allclose(tg.grad(lambda x: tg.grad(total)(x).sum())(x).numpy(), second, atol=1e-7)
    far = tg.tensor([[1e4, 0.0, -1e4]], dtype=kept)
    np.testing.assert_array_equal(far.log_softmax(1).numpy(), [[0, -1e4, -2e4]])
    np.testing.assert_array_equal(tg.grad(lambda z: -z.log_softmax(1)[0, 2])(far).numpy(), [[1, 0, -1]])
    np.testing.assert_array_equal(tg.grad(lambda z: z.logsumexp(1).sum())(far).numpy(), [[1, 0, 0]])
    assert tg.tensor([-math.inf, -math.inf], dtype=kept).logsumexp(0).item() == -math.inf


def test_corners_have_their_documented_gradient() -> None:
    def gradient(f: Any, x: Any) -> Any:
        return tg.grad(lambda x: f(x).sum())(tg.tensor(x, dtype=tg.float64)).tolist()

    assert gradient(lambda x: x.amax(), [1.0, 3.0, 3.0]) == [0, 0.5, 0.5]
    assert gradient(lambda x: x.max(0).values, [1.0, 3.0, 3.0]) == [0, 1, 0]
    assert gradient(lambda x: tg.maximum(x, 1.0), [0.0, 1.0, 2.0]) == [0, 0.5, 1]
    assert gradient(lambda x: x.clamp(0, 1), [-1.0, 0.0, 1.0, 2.0]) == [0, 1, 1, 0]
    assert gradient(lambda x: x.std(), [2.0, 2.0]) == [0, 0]
    assert gradient(lambda x: x.norm(), [0.0, 0.0]) == [0, 0]
    np.testing.assert_allclose(gradient(lambda x: x.norm(3.0), [0.0, 2.0]), [0, 1])
    assert gradient(lambda x: x.prod(), [0.0, 2.0, 3.0]) == [6, 0, 0]
    assert gradient(lambda x: x.prod(), [0.0, 2.0, 0.0]) == [0, 0, 0]
    np.testing.assert_allclose(
        gradient(lambda x: x**2, [0.0, 3.0]), [0, 6], rtol=1e-15
    )  # a GPU's pow may be an ulp off
    assert gradient(lambda x: x**0, [0.0, 3.0]) == [0, 0]
    assert gradient(lambda x: x ** tg.tensor([0.0, 2.0]), [0.0, 0.0]) == [0, 0]
    assert gradient(lambda b: 0.0**b, [1.0, 2.0]) == [0, 0]
    assert gradient(lambda x: x.sum(), np.zeros((0, 3))) == []
    assert tg.ones(0).prod().item() == 1
    assert tg.tensor([[]]).sum(1).tolist() == [0]
    assert math.isnan(tg.zeros(0).mean().item())


@given(st.lists(st.integers(0, 4), min_size=0, max_size=6), st.booleans())
def test_argsort_is_stable(numbers: list[int], descending: bool) -> None:
    x = tg.tensor(numbers, dtype=tg.float32)
    order = sorted(range(len(numbers)), key=lambda i: -numbers[i] if descending else numbers[i])
    assert x.argsort(descending=descending).tolist() == order
    if numbers:
        assert x.argmax().item() == np.argmax(numbers)
        assert x.argmin().item() == np.argmin(numbers)


def test_logic() -> None:
    a, b = tg.tensor([True, True, False]), tg.tensor([True, False, False])
    assert (a & b).tolist() == [True, False, False]
    assert (a | b).tolist() == [True, True, False]
    assert (a ^ b).tolist() == [False, True, False]
    assert (~a).tolist() == [False, False, True]
    assert a.any().item()
    assert not a.all().item()
    x = tg.tensor([1.0, math.nan, math.inf])
    assert x.isnan().tolist() == [False, True, False]
    assert x.isinf().tolist() == [False, False, True]
    assert x.isfinite().tolist() == [True, False, False]
    assert (x == x).tolist() == [True, False, True]
    assert (7 // tg.tensor([2, -2])).tolist() == [3, -4]
    assert (tg.tensor([7, -7]) % 3).tolist() == [1, 2]
    assert tg.one_hot(tg.tensor([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_mistakes_are_named() -> None:
    x = tg.ones(2, 3)
    for words, call in (
        ("amax: the tensor of shape", lambda: tg.zeros(0, 3).amax(0)),
        ("argmax: the tensor of shape", lambda: tg.zeros(0).argmax()),
        ("topk: k=5", lambda: x.topk(5)),
        ("norm: p must be a number", lambda: x.norm(math.nan)),
        ("mean: takes a floating-point tensor, got int64", lambda: tg.arange(3).mean()),
        ("split: sizes", lambda: x.split([1, 1], 1)),
        ("split: takes whole numbers from 1 on", lambda: x.split(0)),
        ("chunk: takes whole numbers from 1", lambda: x.chunk(0)),
        ("stack: takes at least one", lambda: tg.stack([])),
        ("cat: takes at least one", lambda: tg.cat([])),
        ("roll: got 1 shifts for 2", lambda: x.roll(1, (0, 1))),
        ("repeat: takes at least 2", lambda: x.repeat(2)),
        ("pad: takes pairs", lambda: tg.pad(x, (1,))),
        ("gather: index of shape", lambda: x.gather(0, [1])),
        ("index_select: index must have one", lambda: x.index_select(0, [[1]])),
        ("scatter_add: index of shape", lambda: x.scatter_add(0, [[0]], tg.ones(1))),
        ("one_hot: got 0 to 5", lambda: tg.one_hot(tg.tensor([0, 5]), 3)),
        ("dot: takes two 1-d", lambda: tg.dot(x, x)),
        ("outer: takes two 1-d", lambda: tg.outer(x, x)),
        ("matmul: operands must have", lambda: x @ tg.tensor(2.0)),
        ("gelu: approximate is", lambda: tg.gelu(x, "erf")),
        ("clamp: takes min", lambda: x.clamp()),
        ("movedim: source", lambda: tg.movedim(x, 0, (0, 1))),
        ("flatten: start_dim=1 comes after", lambda: x.flatten(1, 0)),
        ("sum: dim=.* names a dimension twice", lambda: x.sum((0, -2))),
        ("linspace: takes whole numbers from 0 on", lambda: tg.linspace(0, 1, -1)),
    ):
        with pytest.raises((ValueError, IndexError, TypeError), match=words):
            call()


@pytest.mark.parametrize(
    "reduce", ["sum", "mean", "std", "var", "amax", "amin", "logsumexp", "norm", "prod", "softmax"]
)
def test_a_nan_is_not_lost(reduce: str) -> None:
    x = tg.tensor([1.0, math.nan, 2.0])
    assert getattr(x, reduce)(dim=0).isnan().any().item()
    assert x.norm(3).isnan().item()
    assert x.norm(math.inf).isnan().item()


@pytest.mark.parametrize("dim", [0, -1])
@pytest.mark.parametrize(
    ("name", "value", "slope"),
    [("cumsum", 2.5, 1.0), ("cumprod", 2.5, 1.0), ("prod", 2.5, 1.0), ("softmax", 1.0, 0.0), ("log_softmax", 0.0, 0.0)],
)
def test_a_number_is_the_only_entry_of_a_dimension(name: str, value: float, slope: float, dim: int) -> None:
    x = tg.tensor(2.5, requires_grad=True)
    y = getattr(x, name)(dim)
    assert y.shape == ()
    assert y.item() == value
    y.backward()
    assert x.grad is not None
    assert x.grad.item() == slope
    with tg.no_grad():
        y += 1  # a copy, as of any shape
    assert x.item() == 2.5
    with pytest.raises(IndexError, match=f"{name}: dim=1 is out of range"):
        getattr(x, name)(1)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_the_variance_of_nothing_is_nan() -> None:
    for nothing in (tg.zeros(0).var(), tg.zeros(0, 2).var(0)[0], tg.zeros(2, 0).std(1)[0]):
        assert np.isnan(nothing.item())
    assert tg.zeros(2, 0).std(0).shape == (0,)

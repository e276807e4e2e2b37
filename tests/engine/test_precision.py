"""Reductions of many numbers are right to the last digits: for every layout, dtype and executor, gradients too.

Numbers around 0.1 of one sign are what a sum that adds one after another gets wrong, by 1e-4 for 20,000 of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import nn
import nn.functional as F
import tinygrad_seq as tg

SHAPES = [(20_000, 3), (3, 20_000), (120, 90, 2), (2, 9000, 3)]
LAYOUTS: dict[str, Callable[[tg.Tensor], tg.Tensor]] = {
    "in rows": lambda x: x.contiguous(),
    "in columns": lambda x: x.permute(tuple(range(x.ndim))[::-1]).contiguous().permute(tuple(range(x.ndim))[::-1]),
    "two swapped": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "every other element": lambda x: x.repeat_interleave(2, 0).repeat_interleave(2, -1)[::2, ..., ::2],
    "rows of a wider matrix": lambda x: tg.cat([x, x], -1)[..., : x.shape[-1]],
    "one row again and again": lambda x: x[:1].expand(x.shape),
    "one column again and again": lambda x: x[..., :1].expand(x.shape),
}
REDUCTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "sum": (lambda x, d: x.sum(d), lambda a, d: a.sum(d)),
    "sum, kept": (lambda x, d: x.sum(d, keepdim=True), lambda a, d: a.sum(d, keepdims=True)),
    "mean": (lambda x, d: x.mean(d), lambda a, d: a.mean(d)),
    "var": (lambda x, d: x.var(d), lambda a, d: a.var(d, ddof=1)),
    "std": (lambda x, d: x.std(d), lambda a, d: a.std(d, ddof=1)),
    "norm": (lambda x, d: x.norm(2, d), lambda a, d: np.sqrt((a * a).sum(d))),
    "norm 1": (lambda x, d: x.norm(1, d), lambda a, d: abs(a).sum(d)),
    "norm 3": (lambda x, d: x.norm(3, d), lambda a, d: (abs(a) ** 3).sum(d) ** (1 / 3)),
    "logsumexp": (lambda x, d: x.logsumexp(d), lambda a, d: np.log(np.exp(a).sum(d))),
}
ALONG_ONE: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "softmax": (lambda x, d: x.softmax(d), lambda a, d: np.exp(a) / np.exp(a).sum(d, keepdims=True)),
    "log_softmax": (lambda x, d: x.log_softmax(d), lambda a, d: a - np.log(np.exp(a).sum(d, keepdims=True))),
    "cumsum": (lambda x, d: x.cumsum(d), lambda a, d: a.cumsum(d)),
    "prod": (lambda x, d: (x + 0.9).prod(d), lambda a, d: (a + np.float32(0.9)).prod(d)),
}
KINDS = pytest.mark.parametrize("kind", ["float16", "float32"])


def numbers(shape: tuple[int, ...]) -> Any:
    return 0.1 + 0.02 * np.random.default_rng(0).random(shape)


def close(y: tg.Tensor, wanted: Any, kind: str, ulps: float = 8, of: float = 0.0) -> None:
    """Equal up to so many units in the last place (of `of`, at least), of whatever length the sum; halves to one."""
    assert str(y.dtype) == kind
    assert y.shape == wanted.shape
    eps = float(np.finfo(kind).eps) * (ulps if kind == "float32" else 1)
    with np.errstate(over="ignore"):
        fits = abs(wanted) < np.finfo(kind).max
        wanted = np.where(fits, wanted, np.inf)
    tiny = max(float(np.finfo(kind).smallest_subnormal), eps * of)
    np.testing.assert_allclose(y.detach().numpy().astype("float64"), wanted, rtol=eps, atol=tiny)


@KINDS
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_reductions_over_any_dimensions(name: str, layout: str, kind: str) -> None:
    ours, reference = REDUCTIONS[name]
    for shape in SHAPES:
        x = LAYOUTS[layout](tg.tensor(numbers(shape), dtype=getattr(tg, kind)))
        a = x.numpy().astype("float64")
        assert a.shape == shape
        for count in range(1, len(shape) + 1):
            for dims in itertools.combinations(range(len(shape)), count):
                y, wanted = ours(x, dims), reference(a, dims)
                if name in ("var", "std"):
                    equal = a.max(dims) == a.min(dims)
                    assert not y.numpy()[equal].any()
                    wanted = np.where(equal, 0.0, wanted)
                close(y, wanted, kind, of=0.1 if _is_of_few(name, shape, dims) else 0.0)


def _is_of_few(name: str, shape: tuple[int, ...], dims: tuple[int, ...]) -> bool:
    """Whether these are deviations of so few numbers that the rounding of their mean shows."""
    return name in ("var", "std") and math.prod([shape[d] for d in dims]) < 10


@KINDS
@pytest.mark.parametrize("layout", ["in rows", "in columns"])
@pytest.mark.parametrize("name", ALONG_ONE)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_what_goes_along_one_dimension(name: str, layout: str, kind: str) -> None:
    ours, reference = ALONG_ONE[name]
    for shape in SHAPES:
        x = LAYOUTS[layout](tg.tensor(numbers(shape), dtype=getattr(tg, kind)))
        for dim in range(len(shape)):
            if name == "prod":
                if kind == "float16" or shape[dim] > 200:  # of so many rounded factors nothing is known
                    continue
                x = x.float()
            ulps = {"prod": 64, "softmax": 16}.get(name, 8)  # e to the tenth has ten times the error of ten
            close(ours(x, dim), reference(x.numpy().astype("float64"), dim), kind, ulps)


@pytest.mark.host("the host's executors")
@pytest.mark.parametrize("executor", ["numpy", "native"])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_compiled_reductions(name: str, executor: str) -> None:
    ours, reference = REDUCTIONS[name]
    for shape in SHAPES:
        a = numbers(shape).astype("float32")
        for dims in [(0,), (len(shape) - 1,), tuple(range(len(shape) - 1)), tuple(range(len(shape)))]:
            compiled = tg.compile(lambda x, dims=dims: ours(x * 1.0, dims), executor=executor)
            few = _is_of_few(name, shape, dims)
            for _ in range(2):
                close(compiled(tg.tensor(a)), reference(a.astype("float64"), dims), "float32", of=0.1 if few else 0.0)


def test_four_million_rows() -> None:
    assert abs(tg.full((4_000_000, 2), 0.1).mean(0).numpy() - np.float32(0.1)).max() < 1e-7


def test_doubles_too() -> None:
    x = tg.full((300_000, 2), 0.1, dtype=tg.float64)
    assert abs(x.mean(0).numpy() - 0.1).max() < 1e-15


def test_gradients_of_what_was_broadcast() -> None:
    for shape, stretched in [
        ((3,), (30_000, 3)),
        ((1, 3), (30_000, 3)),
        ((150, 1, 3), (150, 200, 3)),
        ((), (30_000, 2)),
    ]:
        b = tg.zeros(shape, requires_grad=True)
        x = tg.tensor(numbers(stretched).astype("float32"))
        (b * x).sum().backward()
        lead = len(stretched) - len(shape)
        dims = tuple([d for d in range(len(stretched)) if d < lead or shape[d - lead] == 1])
        assert b.grad is not None
        close(b.grad, x.numpy().astype("float64").sum(dims).reshape(shape), "float32")


@pytest.mark.host("the host's executors")
@pytest.mark.parametrize("executor", ["numpy", "native"])
def test_compiled_gradients_of_a_bias(executor: str) -> None:
    b = nn.Parameter(tg.zeros(3))
    x = tg.tensor(numbers((30_000, 3)).astype("float32"))

    def step(x: tg.Tensor) -> Any:
        b.grad = None
        (b * x).sum().backward()
        return b.grad

    compiled = tg.compile(step, executor=executor)
    for _ in range(2):
        close(compiled(x), x.numpy().astype("float64").sum(0), "float32")


@KINDS
def test_sums_at_equal_indices(kind: str) -> None:
    count = 30_000
    a = (numbers((count, 3)) * 0.1).astype(kind)
    wanted = a.astype("float64").sum(0)
    values, zeros = tg.tensor(a), tg.zeros(count, dtype=tg.int64)
    table = tg.zeros(4, 3, dtype=values.dtype, requires_grad=True)
    (table[zeros] * values).sum().backward()
    assert table.grad is not None
    close(table.grad[0], wanted, kind)
    row = tg.zeros(4, dtype=values.dtype, requires_grad=True)
    (row[zeros] * values[:, 0]).sum().backward()
    assert row.grad is not None
    close(row.grad[0], wanted[0], kind)
    wide = tg.zeros(4, 3, dtype=values.dtype)
    close(wide.index_add(0, zeros, values)[0], wanted, kind)
    close(wide.scatter_add(0, zeros.unsqueeze(1).expand(count, 3), values)[0], wanted, kind)
    close(tg.bincount(zeros, values[:, 0])[0], wanted[0], kind)
    many = tg.arange(count) % 3  # so many rows of each that they are added up run by run, or all at once
    close(wide.index_add(0, many, values)[2], a[2::3].astype("float64").sum(0), kind)


# --- halves ---


def half(numbers: Any, requires_grad: bool = False) -> tg.Tensor:
    return tg.tensor(numbers, dtype=tg.float16, requires_grad=requires_grad)


def test_ties_of_halves_share_the_gradient() -> None:
    for function in (lambda x: x.amax(), lambda x: x.amin(0), lambda x: x.max()):
        x = tg.zeros(70_000, dtype=tg.float16, requires_grad=True)
        function(x).backward()
        assert x.grad is not None
        close(x.grad, np.full(70_000, 1 / 70_000), "float16")


def test_halves_are_normalized() -> None:
    x = half([300.0, 600.0, 900.0, 1200.0], requires_grad=True)
    wanted = np.array([-3.0, -1.0, 1.0, 3.0]) / 5**0.5
    close(F.layer_norm(x, (4,)), wanted, "float16")
    y = nn.LayerNorm(4).to(tg.float16)(x)
    close(y, wanted, "float16")
    y[0].backward()
    assert x.grad is not None
    assert str(x.grad.dtype) == "float16"
    close(F.normalize(x, dim=0), np.arange(1, 5) / 30**0.5, "float16")
    assert abs(F.cosine_similarity(x, x, dim=0).item() - 1) < 2e-3


def test_losses_of_halves() -> None:
    scores, target = half(np.tile([60.0, 0.0], (5000, 1)), requires_grad=True), tg.ones(5000, dtype=tg.int64)
    loss = F.cross_entropy(scores, target)
    assert loss.item() == 60.0  # the sum is 300,000
    loss.backward()
    assert scores.grad is not None
    close(scores.grad[0], np.array([1 / 5000, -1 / 5000]), "float16")
    assert F.cross_entropy(scores, target, half([1.0, 50.0])).item() == 60.0
    assert F.mse_loss(half([300.0] * 3), half([100.0] * 3)).item() == 40_000
    assert F.l1_loss(half(np.full(5000, 60.0)), half(np.zeros(5000))).item() == 60.0


def test_products_of_halves_are_rounded_once() -> None:
    x = half([300.0, 300.0, 0.01, 0.01])
    assert abs(x.prod().item() / 9 - 1) < 1e-3
    assert abs(half([300.0, 200.0, 0.01]).cumprod(0)[-1].item() / 600 - 1) < 1e-3


def test_matrix_products_of_halves_are_carried_on_in_single_precision() -> None:
    close(
        half(np.full((2, 5000), 0.1)) @ half(np.ones((5000, 2))),
        np.full((2, 2), 5000 * float(np.float16(0.1))),
        "float16",
    )


def test_clipping_of_halves() -> None:
    p = nn.Parameter(tg.zeros(5000, dtype=tg.float16))
    p.grad = tg.full((5000,), 300.0, dtype=tg.float16)
    assert abs(nn.utils.clip_grad_norm_(p, 1.0).item() / (300 * 5000**0.5) - 1) < 1e-3
    close(p.grad, np.full(5000, 5000**-0.5), "float16")


# --- dtypes ---


@pytest.mark.parametrize("kind", ["uint8", "int8", "int16", "int32", "int64"])
@pytest.mark.parametrize("given", ["bool", "uint8", "int32", "float32"])
def test_the_dtype_that_is_asked_for(given: str, kind: str) -> None:
    x, want = tg.tensor([[1, 0], [1, 1]], dtype=getattr(tg, given)), getattr(tg, kind)
    for y, numbers in [
        (x.sum(dtype=want), 3),
        (x.sum(0, dtype=want), [2, 1]),
        (x.prod(dtype=want), 0),
        (x.prod(1, dtype=want), [0, 1]),
        (x.cumsum(0, dtype=want), [[1, 0], [2, 1]]),
        (x.cumprod(1, dtype=want), [[1, 0], [1, 1]]),
        (x[:0].prod(0, dtype=want), [1, 1]),
        (x[:0].sum(0, dtype=want), [0, 0]),
        (x[:1].prod(0, keepdim=True, dtype=want), [[1, 0]]),
    ]:
        assert y.dtype == want
        assert y.tolist() == numbers


def test_without_one_sums_of_integers_are_int64() -> None:
    for kind in (tg.bool, tg.uint8, tg.int8, tg.int32):
        x = tg.ones(3, 2, dtype=kind)
        for y in (x.sum(), x.sum(0), x.prod(1), x.cumsum(0), x.cumprod(1), x.count_nonzero(), x[:, :1].prod(1)):
            assert y.dtype == tg.int64
    assert tg.full((300,), 255, dtype=tg.uint8).sum().item() == 76_500
    assert tg.full((300,), 255, dtype=tg.uint8).sum(dtype=tg.uint8).item() == 76_500 % 256


def test_booleans_asked_for() -> None:
    x = tg.tensor([[0, 2], [0, 0]])
    assert x.sum(1, dtype=tg.bool).tolist() == [True, False]
    assert x.sum(dtype=tg.bool).dtype == tg.bool
    assert x.prod(1, dtype=tg.bool).tolist() == [False, False]
    with pytest.raises(TypeError, match="cumsum: booleans have no sums"):
        x.cumsum(0, dtype=tg.bool)


@pytest.mark.parametrize("name", ["mean", "softmax", "log_softmax"])
def test_an_average_of_no_fractions_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=f"^{name}: takes a floating-point tensor, got int32"):
        getattr(tg.ones(3), name)(0, dtype=tg.int32)


# --- memory ---

FRESH: dict[str, Callable[[Any], Any]] = {
    "sum": lambda x: x.sum(0),
    "mean": lambda x: x.mean(0),
    "amax": lambda x: x.amax(0),
    "amin": lambda x: x.amin(0),
    "norm": lambda x: x.norm(1, 0),
    "prod": lambda x: x.prod(0),
    "prod, kept": lambda x: x.prod(0, keepdim=True),
    "prod of all": lambda x: x[:, :1].prod(),
    "prod of all, kept": lambda x: x[:, :1].prod(keepdim=True),
    "prod in its dtype": lambda x: x.prod(0, dtype=x.dtype),
    "cumsum": lambda x: x.cumsum(0),
    "cumprod": lambda x: x.cumprod(0),
    "cumprod in its dtype": lambda x: x.cumprod(0, dtype=x.dtype),
    "nan_to_num": lambda x: x.nan_to_num(),
    "clamp": lambda x: x.clamp(0, 2**63 - 1 if x.dtype == tg.int64 else 2),
    "clamp, one end": lambda x: x.clamp(min=-(2**63) if x.dtype == tg.int64 else 0),
    "floor": tg.floor,
    "ceil": tg.ceil,
    "round": tg.round,
    "trunc": tg.trunc,
    "div": lambda x: tg.div(x, 1, rounding_mode="trunc"),
    "lerp": lambda x: tg.lerp(x, x, 0),
    "softmax": lambda x: x.softmax(0),
    "logsumexp": lambda x: x.logsumexp(0),
}


@pytest.mark.parametrize("kind", ["float32", "float16", "int64", "bool"])
@pytest.mark.parametrize("name", FRESH)
def test_results_have_memory_of_their_own(name: str, kind: str) -> None:
    x = tg.ones(1, 3, dtype=getattr(tg, kind))
    try:
        with tg.no_grad():
            y = FRESH[name](x)
    except TypeError:  # of integers there is no such thing
        assert kind in ("int64", "bool")
        return
    assert y is not x
    y.fill_(0)
    assert x.tolist() == [[1, 1, 1]]


@pytest.mark.parametrize("name", ["prod", "prod, kept", "prod of all", "cumprod", "clamp"])
def test_without_recording_results_have_no_graph(name: str) -> None:
    x = tg.ones(1, 3, requires_grad=True)
    with tg.no_grad():
        assert not FRESH[name](x).requires_grad
    FRESH[name](x).sum().backward()
    assert x.grad is not None
    assert x.grad.sum().item() == (1 if name == "prod of all" else 3)


# --- where all elements are equal ---


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("number", [0.0, 0.1, -0.3, 1e3 + 0.1])
def test_derivatives_at_equal_elements(number: float, count: int, kind: str) -> None:
    weights = tg.arange(float(count)).to(getattr(tg, kind))
    functions: dict[str, Callable[[tg.Tensor], tg.Tensor]] = {
        "std": lambda x: x.std(correction=0),
        "var": lambda x: x.var(correction=0),
        **{f"norm {p}": partial(_norm_of_nothing, p) for p in (0.5, 1, 1.5, 2, 3, float("inf"))},
    }
    for name, function in functions.items():
        x = tg.full((count,), number, dtype=getattr(tg, kind), requires_grad=True)
        y = function(x)
        assert y.item() == 0, name
        for order in range(1, 4):
            (g,) = _gradient(y, x)
            assert np.isfinite(g.detach().numpy()).all(), (name, order)
            if name == "std" or (name == "var" and order == 1):
                assert not g.detach().numpy().any(), (name, order)
            y = (g * weights).sum()
            if not y.requires_grad:
                break


def _norm_of_nothing(p: float, x: tg.Tensor) -> tg.Tensor:
    return (x - x.detach()).norm(p)


def _gradient(y: tg.Tensor, x: tg.Tensor) -> tuple[tg.Tensor]:
    x.grad = None
    y.backward(create_graph=True)
    assert x.grad is not None
    found, x.grad = x.grad, None
    return (found,)


def test_second_derivatives_of_the_variance_of_equal_elements() -> None:
    x = tg.full((7,), 0.1, requires_grad=True)
    (g,) = _gradient(x.var(), x)
    (g * tg.arange(7.0)).sum().backward()
    assert x.grad is not None
    close(x.grad, (np.arange(7) - 3) / 3, "float32", of=1.0)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_the_deviation_of_infinities_is_nan() -> None:
    assert np.isnan(tg.tensor([float("inf"), float("inf")]).std().item())

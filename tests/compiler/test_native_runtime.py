"""Native functions beside NumPy's, over shapes at and off the width of a vector."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg

pytestmark = [
    pytest.mark.skipif(find_spec("llvmlite") is None, reason="llvmlite is not installed"),
    pytest.mark.host("the host's native executor"),
]
SIZES = [1, 3, 15, 16, 17, 63, 64, 65, 130]
KINDS = pytest.mark.parametrize("kind", [np.float32, np.float64])


def native(function: Any, *arrays: Any) -> tuple[np.ndarray, list[str]]:
    """The result of the second call of a compiled function, and the notes of its program."""
    compiled = tg.compile(function, executor="native")
    tensors = [tg.tensor(a) for a in arrays]
    for _ in range(2):
        result = compiled(*tensors).numpy()
    return result, compiled.programs[0].notes


def close(a: np.ndarray, b: np.ndarray, terms: int = 300) -> None:
    """Equal to rounding of a sum of so many numbers around 1."""
    assert (a.shape, a.dtype) == (b.shape, b.dtype)
    np.testing.assert_allclose(a, b, rtol=0, atol=terms * np.finfo(a.dtype).eps)


@KINDS
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("k", SIZES)
def test_a_row_times_a_matrix(n: int, k: int, transposed: bool, kind: Any) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(1, k)).astype(kind), rng.normal(size=(n, k) if transposed else (k, n)).astype(kind)
    result, notes = native((lambda x, w: x @ w.T) if transposed else (lambda x, w: x @ w), x, w)
    close(result, x @ (w.T if transposed else w))
    assert "1 of 1 steps native" in notes[-1]


@KINDS
@pytest.mark.parametrize(("m", "n", "k"), [(2, 3, 4), (17, 33, 5), (50, 64, 16), (1, 700, 700)])
def test_products_by_blas(m: int, n: int, k: int, kind: Any) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(m, k)).astype(kind), rng.normal(size=(k, n)).astype(kind)
    for left, right, function in (
        (a, b, lambda a, b: a @ b),
        (a.T, b, lambda a, b: a.T @ b),
        (a, b.T, lambda a, b: a @ b.T),
        (a.T, b.T, lambda a, b: a.T @ b.T),
    ):
        result, _ = native(function, left.copy(), right.copy())
        close(result, a @ b, terms=max(k, 300))


@KINDS
def test_products_of_parts_of_matrices(kind: Any) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(6, 20)).astype(kind), rng.normal(size=(40, 9)).astype(kind)
    close(native(lambda a, b: a[1:5, 3:14] @ b[2:24:2, 1:8], a, b)[0], a[1:5, 3:14] @ b[2:24:2, 1:8])
    close(native(lambda a, b: a[2:3, ::2] @ b[5:15], a, b)[0], a[2:3, ::2] @ b[5:15])


@KINDS
@pytest.mark.parametrize("width", SIZES)
def test_rows_looked_up_and_added(width: int, kind: Any) -> None:
    rng = np.random.default_rng(0)
    table, values = rng.normal(size=(5, width)).astype(kind), rng.normal(size=(4, 2, width)).astype(kind)
    index = np.array([[0, 4], [-1, 2], [2, 2], [-5, 0]])
    taken, notes = native(lambda table, index: table[index], table, index)
    np.testing.assert_array_equal(taken, table[index])
    assert "1 of 1 steps native" in notes[-1]
    added, _ = native(lambda t, i, v: tg.index_add(t, 0, i.reshape(-1), v.reshape(-1, width)), table, index % 5, values)
    expected = table.copy()
    np.add.at(expected, index, values)
    close(added, expected)


def test_an_index_out_of_range_is_named_and_the_next_call_is_right() -> None:
    compiled = tg.compile(lambda table, index: table[index], executor="native")
    table = tg.arange(6.0).reshape(3, 2)
    compiled(table, tg.tensor([0, 1]))
    with pytest.raises(IndexError, match="index 3 is out of bounds"):
        compiled(table, tg.tensor([1, 3]))
    assert compiled(table, tg.tensor([2, -3])).tolist() == [[4.0, 5.0], [0.0, 1.0]]


@KINDS
@pytest.mark.parametrize("n", SIZES)
def test_sums_of_rows_are_numpys(n: int, kind: Any) -> None:
    x = np.random.default_rng(0).normal(size=(37, n)).astype(kind)
    result, notes = native(lambda x: x.sum(0), x)
    np.testing.assert_array_equal(result, x.sum(0))
    assert f"{int(n > 1)} of 1 steps native" in notes[-1]


def test_without_blas_products_are_numpys(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinygrad_seq.compiler.native import executor

    monkeypatch.setattr(executor, "blas_function", lambda *_: None)
    a, b = np.ones((3, 4), np.float32), np.ones((4, 5), np.float32)
    result, notes = native(lambda a, b: a @ b, a, b)
    assert result.tolist() == [[4.0] * 5] * 3
    assert "0 of 1 steps native" in notes[-1]


@KINDS
@pytest.mark.parametrize("rows", [1, 2, 7, 300])
@pytest.mark.parametrize("cols", [*SIZES, 4096, 4100, 10000])
def test_sums_and_largest_elements_of_rows(kind: Any, rows: int, cols: int) -> None:
    x = np.random.default_rng(cols).uniform(-1, 1, (rows, cols)).astype(kind)
    exact = tg.tensor(x.astype(np.float64))
    for function in (lambda x: x.sum(-1), lambda x: x.amax(-1, keepdim=True), lambda x: x.sum(), lambda x: x.amax()):
        result, _ = native(function, x)
        terms = cols if result.ndim else x.size
        close(result, function(exact).numpy().astype(kind), int(50 + 4 * terms**0.5))


@KINDS
def test_what_is_not_a_number_is_the_largest(kind: Any) -> None:
    x = np.full((4, 70), -np.inf, kind)
    x[1, 66], x[2, 3], x[3, 5] = np.nan, np.nan, np.inf
    result, _notes = native(lambda x: x.amax(-1), x)
    np.testing.assert_array_equal(result, np.array([-np.inf, np.nan, np.nan, np.inf], kind))
    assert not native(lambda x: x.sum(-1), np.full((4, 70), np.inf, kind))[0].min() < np.inf


def test_a_long_sum_loses_nothing() -> None:
    x = np.full(2**22 + 5, 0.1, np.float32)
    result, _ = native(lambda x: x.sum(), x)
    assert abs(result / (float(x[0]) * x.size) - 1) < 2e-6  # one sum of four million terms would be off by a hundredth


def test_an_index_that_was_computed_and_is_out_of_range() -> None:
    table = tg.arange(400.0).reshape(100, 4)

    def f(x: tg.Tensor) -> Any:
        a = table[x + 90]
        other = x * 0 + 3  # which may lie where the index lay
        return a * 2, table[other] * 2, other - 1

    run = tg.compile(f, executor="native")
    for _ in range(2):
        run(tg.tensor([0, 1]))
    with pytest.raises(IndexError, match="index 130 is out of bounds for a dimension of 100"):
        run(tg.tensor([0, 40]))
    run(tg.tensor([0, 1]))


@pytest.mark.parametrize("shapes", [((0, 0), (0, 0)), ((8, 0), (0, 8))])
def test_products_of_nothing(shapes: Any) -> None:
    a, b = tg.zeros(*shapes[0]), tg.zeros(*shapes[1])

    def f(x: tg.Tensor) -> tg.Tensor:
        for _ in range(6):
            x = tg.tanh(x @ a @ b)
        return x

    run = tg.compile(f, executor="native")
    x = tg.ones(300, shapes[0][0])
    for _ in range(2):
        assert run(x).tolist() == f(x).tolist()


@KINDS
@pytest.mark.parametrize("width", [None, 1, 3, 70, 130])
def test_rows_that_are_added_many_at_one_place_lose_nothing(width: int | None, kind: Any) -> None:
    shape = () if width is None else (width,)
    rng = np.random.default_rng(0)
    index = tg.tensor(np.where(rng.random(30000) < 0.9, 2, rng.integers(-4, 4, 30000)))
    values = np.full((30000, *shape), 0.1, kind)
    table = rng.normal(size=(4, *shape)).astype(kind)

    def gradient(table: tg.Tensor, values: tg.Tensor) -> tg.Tensor:
        return tg.grad(lambda table: (table[index] * values).sum())(table) + table

    result, notes = native(gradient, table, values)
    exact = table.astype(np.float64)
    np.add.at(exact, index.numpy(), values.astype(np.float64))
    np.testing.assert_allclose(result.tolist(), exact.tolist(), rtol=2e-7 if kind is np.float32 else 1e-12)
    assert " 1 calls of Python" in notes[-1]
    eager = gradient(tg.tensor(table), tg.tensor(values)).numpy()
    np.testing.assert_allclose(result, eager, rtol=1e-6)


def test_a_place_without_rows_stays_as_it_was() -> None:
    table = np.array([[0.5, np.nan], [np.inf, 1.0], [3.0, -np.inf]], np.float32)
    added, _ = native(lambda t, i, v: tg.index_add(t, 0, i, v), table, np.array([1, 1]), np.ones((2, 2), np.float32))
    np.testing.assert_array_equal(added, np.array([[0.5, np.nan], [np.inf, 3.0], [3.0, -np.inf]], np.float32))


@pytest.mark.parametrize("executor", ["native", "numpy"])
@pytest.mark.parametrize("plain", [True, False])  # rows in one piece, or one number for all
def test_an_index_out_of_range_adds_nothing_and_is_named(plain: bool, executor: str) -> None:
    scale = tg.ones(3, 2) if plain else 1.0
    compiled = tg.compile(lambda t, i: tg.grad(lambda t: (t[i] * scale).sum())(t), executor=executor)
    table = tg.arange(6.0).reshape(3, 2)
    for _ in range(2):
        assert compiled(table, tg.tensor([0, -1, 0])).tolist() == [[2.0, 2.0], [0.0, 0.0], [1.0, 1.0]]
    with pytest.raises(IndexError, match="index -4 is out of bounds for a dimension of 3"):
        compiled(table, tg.tensor([1, -4, 1]))
    assert compiled(table, tg.tensor([2, 2, 2])).tolist() == [[0.0, 0.0], [0.0, 0.0], [3.0, 3.0]]

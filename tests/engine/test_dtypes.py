"""Which dtype a result has: the rule of promotion, constructors, masks, and gradients in the dtype of their tensor."""

from __future__ import annotations

import itertools
import pickle
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from tinygrad_seq.graph import operands

graph_primitive: Any = sys.modules["tinygrad_seq.graph.primitive"]  # the package exports a function of that name
REAL = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]
CATEGORY = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}
ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "pow": lambda a, b: a**b,
    "maximum": tg.maximum,
    "floor_divide": lambda a, b: a // b,
    "where": lambda a, b: tg.where(tg.tensor([True, False]), a, b),
    "where by uint8": lambda a, b: tg.where(tg.tensor([1, 0], dtype=tg.uint8), a, b),
}
JOINED: dict[str, Callable[[list[Any]], Any]] = {"cat": tg.cat, "stack": tg.stack}


def expected(a: tuple[str, int], b: tuple[str, int]) -> np.dtype[Any]:
    """The rule, stated apart: the higher category decides, and in one category the operand that has dimensions."""
    kinds = [np.dtype(kind) for kind, _ in (a, b)]
    ranks = [CATEGORY[kind.kind] for kind in kinds]
    if ranks[0] != ranks[1]:
        return kinds[0] if ranks[0] > ranks[1] else kinds[1]
    if (a[1] > 0) != (b[1] > 0):
        return kinds[0] if a[1] else kinds[1]
    return np.result_type(*kinds)


@pytest.mark.parametrize("name", ARITHMETIC)
@pytest.mark.parametrize("dims", [(1, 1), (1, 0), (0, 1), (0, 0)], ids=str)
def test_promotion(name: str, dims: tuple[int, int]) -> None:
    for kinds in itertools.product(REAL, REAL):
        if "bool" in kinds and name != "add":
            continue  # which have no powers or quotients
        operands = [tg.ones((2,) * n, dtype=kind) for n, kind in zip(dims, kinds, strict=True)]
        wanted = expected(*zip(kinds, dims, strict=True))
        assert ARITHMETIC[name](*operands).dtype == wanted, (kinds, dims)


def test_a_scalar_of_float64_does_not_promote() -> None:
    x, factor = tg.ones(2, requires_grad=True), tg.tensor(2.0, dtype=tg.float64, requires_grad=True)
    y = x * factor
    assert y.dtype == tg.float32
    y.sum().backward()
    for leaf in (x, factor):
        assert leaf.grad is not None
        assert leaf.grad.dtype == leaf.dtype
    assert (x * np.float64(2.0)).dtype == (x * 2.0).dtype == tg.float32
    compiled = tg.compile(lambda x, factor: x * factor)
    assert [compiled(x.detach(), factor.detach()).dtype for _ in range(3)] == [tg.float32] * 3


def test_real_tensors_have_real_gradients() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    z = tg.tensor(np.array([1 + 2j, 3 - 1j], "complex64"))
    y = x * z
    y.backward(tg.tensor(np.array([1 + 0j, 2j], "complex64")))
    assert x.grad is not None
    assert x.grad.dtype == tg.float32
    assert x.grad.tolist() == [1.0, 2.0]


def test_constructors() -> None:
    assert tg.Tensor([1, 2]).dtype == tg.Tensor(3).dtype == tg.Tensor([True]).dtype == tg.float32
    assert tg.Tensor(np.array([1, 2])).dtype == tg.Tensor(np.array([0.5])).dtype == tg.float32
    assert tg.Tensor(tg.ones(2, dtype=tg.float64)).dtype == tg.Tensor([1], dtype=tg.float64).dtype == tg.float64
    assert tg.tensor(np.array([1, 2])).dtype == tg.tensor([1, 2]).dtype == tg.as_tensor([1, 2]).dtype == tg.int64
    for doubles in ([np.float64(1)], [[1.0], [np.float64(2)]], (np.array([1.0]), [2])):
        assert tg.tensor(doubles).dtype == tg.float64
    for others in ([np.float32(1), 2.0], [[1.0], [2]], [np.float16(1), 2.0]):
        assert tg.tensor(others).dtype == tg.float32
    assert tg.Tensor([1, 2], dtype=tg.int32).dtype == tg.int32
    for make, kind in ((tg.LongTensor, tg.int64), (tg.FloatTensor, tg.float32), (tg.BoolTensor, tg.bool)):
        assert (make().shape, make().dtype) == ((0,), kind)
        assert (make(2, 3).shape, make(2, 3).dtype) == ((2, 3), kind)
        assert (make([1, 0]).tolist(), make([1, 0]).dtype) == ([1, 0], kind)
    w = tg.ones(2)
    assert (w.new([3, 4]).tolist(), w.new([3, 4]).dtype) == ([3.0, 4.0], tg.float32)
    assert w.new(3).tolist() == [0.0, 0.0, 0.0]
    assert w.new(w.shape).shape == (2,)
    assert w.new().shape == (0,)


def test_membership() -> None:
    x = tg.tensor([1, 3])
    assert 3 in x
    assert 4 not in x
    assert tg.tensor(3) in x
    assert np.int64(1) in x
    assert float("nan") not in tg.tensor([float("nan")])
    with pytest.raises(TypeError, match="in: a tensor contains numbers, got a str"):
        assert "3" in x


def test_masks_of_uint8() -> None:
    x, mask = tg.tensor([10.0, 20.0, 30.0]), tg.tensor([0, 1, 1], dtype=tg.uint8)
    assert x[mask].tolist() == [20.0, 30.0]
    assert x.unsqueeze(0)[:, mask].tolist() == [[20.0, 30.0]]
    assert x.unsqueeze(1)[mask, 0].tolist() == [20.0, 30.0]
    x[mask] = 0.0
    assert x.tolist() == [10.0, 0.0, 0.0]
    for use in (lambda k: x[k], lambda k: x.__setitem__(k, 1.0)):
        with pytest.raises(TypeError, match=r"uint8 is a mask in PyTorch, and indices in NumPy"):
            use(np.array([0, 1, 1], "uint8"))
    assert x.tolist() == [10.0, 0.0, 0.0]
    assert tg.embedding(x.unsqueeze(1), mask).shape == (3, 1)  # which names rows


SCALARS: dict[str, Callable[[], tg.Tensor]] = {
    "randint": lambda: tg.randint(10, ()),
    "randint of low and high": lambda: tg.randint(1, 10, ()),
    "rand": lambda: tg.rand(()),
    "randn": lambda: tg.randn(()),
    "normal": lambda: tg.normal(0.0, 1.0, ()),
    "normal of tensors": lambda: tg.normal(tg.tensor(0.0), 1.0),
    "bernoulli": lambda: tg.bernoulli(tg.tensor(0.5)),
    "rand_like": lambda: tg.rand_like(tg.tensor(1.0)),
    "randn_like": lambda: tg.randn_like(tg.tensor(1.0)),
    "zeros": lambda: tg.zeros(()),
    "full": lambda: tg.full((), 2.0),
    "sum": lambda: tg.ones(3).sum(),
    "argmax": lambda: tg.ones(3).argmax(),
    "median": lambda: tg.ones(3).median(),
    "index": lambda: tg.ones(3)[0],
    "index by a tensor": lambda: tg.ones(3)[tg.tensor(0)],
    "count_nonzero": lambda: tg.count_nonzero(tg.ones(2)),
    "isin": lambda: tg.isin(tg.tensor(1), tg.tensor([1])),
    "as_tensor": lambda: tg.as_tensor(np.int64(3)),
    "from_numpy": lambda: tg.from_numpy(np.array(1.0)),
    "trace": lambda: tg.ones(2, 2).trace(),
    "dot": lambda: tg.ones(2).dot(tg.ones(2)),
    "promotion": lambda: tg.tensor(1) * tg.tensor(2, dtype=tg.int32),
}


@pytest.mark.parametrize("name", SCALARS)
def test_a_number_is_an_array_of_no_dimension(name: str) -> None:
    made = SCALARS[name]()
    assert made.shape == ()
    assert not isinstance(made.array, np.generic)
    made.fill_(1)


def test_halves_and_complex_numbers_promote() -> None:
    half, single = tg.ones(2, dtype=tg.float16), tg.ones((), dtype=tg.float32)
    assert (half * 2.0).dtype == (half * half).dtype == (half * single).dtype == tg.float16
    assert (half * tg.ones(2)).dtype == (single * tg.ones(2)).dtype == tg.float32
    assert (half * tg.ones(2, dtype=tg.int16)).dtype == (half * tg.ones(2, dtype=tg.int64)).dtype == tg.float16
    z = tg.tensor(np.ones(2, "complex64"))
    assert (z * tg.ones(2, dtype=tg.int64)).dtype == tg.complex64
    assert (z * tg.ones(2, dtype=tg.float64)).dtype == tg.complex128
    assert (z * tg.ones((), dtype=tg.float64)).dtype == tg.complex64


HALVES: dict[str, Callable[[], tg.Tensor]] = {
    "from_numpy": lambda: tg.from_numpy(np.ones(2, "float16")),
    "tensor": lambda: tg.tensor(np.ones(2, "float16")),
    "half": lambda: tg.ones(2).half(),
    "from_dlpack": lambda: tg.from_dlpack(np.ones(2, "float16")),
    "pickle": lambda: pickle.loads(pickle.dumps(tg.from_numpy(np.ones(2, "float16")))),
}


@pytest.mark.host("NumPy's memory is of the host")
@pytest.mark.parametrize("name", HALVES)
def test_the_first_half_is_noted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    two = tg.tensor(2.0)
    halves: list[Any] = []
    monkeypatch.setattr(operands, "halves", halves)
    monkeypatch.setattr(graph_primitive, "halves", halves)
    assert (HALVES[name]() * two).dtype == tg.float16


@pytest.mark.host("NumPy's memory is of the host")
def test_an_array_of_halves_beside_a_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_primitive, "halves", [])
    assert (tg.tensor(2.0) * np.ones(2, "float16")).dtype == tg.float16


@pytest.mark.parametrize("name", JOINED)
def test_joined_tensors_promote(name: str) -> None:
    for kinds in itertools.product(REAL, REAL):
        a, b = [tg.ones(2, dtype=kind) for kind in kinds]
        assert JOINED[name]([a, b]).dtype == expected((kinds[0], 1), (kinds[1], 1)), kinds


def test_comparisons_take_a_scalar_in_the_dtype_of_the_tensor() -> None:
    x, tenth = tg.tensor([0.1, 0.2]), tg.tensor(0.1, dtype=tg.float64)
    other: Any
    for other in (tenth, 0.1, np.float64(0.1)):
        assert (x == other).tolist() == [True, False]
        assert (x <= other).tolist() == [True, False]
        assert (x < other).tolist() == [False, False]
    assert tenth in x
    assert (x == [0.1, 0.3]).tolist() == [True, False]
    assert (x == tg.tensor([0.1, 0.2], dtype=tg.float64)).tolist() == [False, False]  # two matrices: the wider one
    small = tg.tensor([44], dtype=tg.int8)
    assert (small == tg.tensor(300)).tolist() == (small == 300).tolist() == [False]  # 300 would wrap to 44
    assert (tg.tensor([2**24 + 1]) == tg.tensor([2.0**24])).tolist() == [False]


def test_integers_divide_as_they_are() -> None:
    y = tg.tensor([1], dtype=tg.int8) / tg.tensor(2**40)
    assert (y.dtype, y.tolist()) == (tg.float32, [2.0**-40])


def test_numbers_do_not_promote() -> None:
    for kind in REAL[1:]:
        x = tg.ones(2, dtype=kind)
        floating = x.dtype if x.dtype.kind == "f" else tg.float32
        assert (x + 1).dtype == (x + True).dtype == (x + np.int64(1)).dtype == x.dtype
        assert (x + 1.5).dtype == (1.5 * x).dtype == (x + np.float64(1.5)).dtype == floating
        assert (x + 1j).dtype == (tg.complex128 if kind == "float64" else tg.complex64)
        assert tg.where(x > 0, x, 1.5).dtype == floating
        assert (x + [1, 1]).dtype == x.dtype
        assert (x * [0.5, 0.5]).dtype == floating
    assert tg.where(tg.tensor([True]), 1.0, 2.0).dtype == tg.float32
    for use in (lambda x: x + [300, 1], lambda x: x == [300, 1]):
        with pytest.raises(TypeError, match=r"(add|eq): .*300 out of bounds for uint8"):
            use(tg.ones(2, dtype=tg.uint8))


def test_dtypes_of_new_tensors() -> None:
    full: Any = tg.full
    assert tg.tensor([1j]).dtype == full((2,), 1j).dtype == tg.complex64
    assert full((2,), np.float64(2)).dtype == full((2,), np.float32(2)).dtype == tg.float32
    assert full((2,), np.int32(2)).dtype == tg.int64
    assert full((2,), True).dtype == tg.bool
    for kind in REAL:
        assert tg.tensor([tg.ones((), dtype=kind), tg.zeros((), dtype=kind)]).dtype == kind
    assert tg.tensor([tg.ones((), dtype=tg.float64), tg.ones((), dtype=tg.int64)]).dtype == tg.float64


def test_numbers_of_uint8_are_indices() -> None:
    x = tg.tensor([10.0, 20.0, 30.0])
    image = np.array([2, 0], "uint8")
    assert x[image[0]].tolist() == 30.0
    x[image[1]] = 5.0
    assert x.tolist() == [5.0, 20.0, 30.0]


@pytest.mark.parametrize("name", [*sorted(ARITHMETIC.keys() - {"floor_divide"}), "eq"])  # which looks for zeros
def test_compiled_functions_promote_as_well(name: str) -> None:
    operation = ARITHMETIC.get(name, lambda a, b: a == b)
    for kinds in itertools.product(["uint8", "int64", "float16", "float32", "float64"], repeat=2):
        for dims in [(1, 0), (0, 1), (1, 1)]:
            given = [tg.full((2,) * n, 0.1 + 3, dtype=kind) for n, kind in zip(dims, kinds, strict=True)]
            eager, compiled = operation(*given), tg.compile(operation)
            for _ in range(2):
                y = compiled(*given)
                assert y.dtype == eager.dtype
                assert y.tolist() == pytest.approx(eager.tolist(), rel=1e-6)


def test_promotion_is_that_of_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
    for a, b, m, n in itertools.product(REAL, REAL, (0, 1), (0, 1)):
        theirs = torch.result_type(
            torch.ones((2,) * m, dtype=getattr(torch, a)), torch.ones((2,) * n, dtype=getattr(torch, b))
        )
        assert str(theirs) == f"torch.{expected((a, m), (b, n))}", (a, m, b, n)

"""Which dtype a result has: the rule of promotion, constructors, masks, and gradients in the dtype of their tensor."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg

REAL = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]
CATEGORY = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}
ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "pow": lambda a, b: a**b,
    "maximum": tg.maximum,
    "floor_divide": lambda a, b: a // b,
    "where": lambda a, b: tg.where(tg.tensor([True, False]), a, b),
}


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
        if "float16" in kinds and kinds != ("float16", "float16"):
            continue  # halves beside others may become float32
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
    assert tg.Tensor(np.array([1, 2])).dtype == tg.tensor([1, 2]).dtype == tg.as_tensor([1, 2]).dtype == tg.int64
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
    assert (half * 2.0).dtype == (half * half).dtype == tg.float16
    assert (half * tg.ones(2)).dtype == (single * tg.ones(2)).dtype == tg.float32
    z = tg.tensor(np.ones(2, "complex64"))
    assert (z * tg.ones(2, dtype=tg.int64)).dtype == tg.complex64
    assert (z * tg.ones(2, dtype=tg.float64)).dtype == tg.complex128
    assert (z * tg.ones((), dtype=tg.float64)).dtype == tg.complex64

"""What would be a wrong number, or another library's message, is right or refused by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nn.functional as F
import tinygrad_seq as tg

api: Any = tg  # where type checkers are shown other names
x, whole, small = tg.ones(2, 3), tg.tensor([1, 2, 3]), tg.tensor([1, 2, 255], dtype=tg.uint8)
mask = tg.tensor([True, False, True])


def case(message: str, kind: type[Exception], call: Callable[[], Any]) -> Any:
    return pytest.param(message, kind, call, id=message)


@pytest.mark.parametrize(
    ("message", "kind", "call"),
    [
        # numbers that the dtype does not have
        case("masked_fill: 2.5 is no number of int64", TypeError, lambda: whole.masked_fill(mask, 2.5)),
        case("masked_fill: 300 is no number of uint8", TypeError, lambda: small.masked_fill(mask, 300)),
        case("masked_fill: 2 is no number of bool", TypeError, lambda: mask.masked_fill(mask, 2)),
        case("masked_fill: the mask must hold booleans", TypeError, lambda: whole.masked_fill(whole, 1)),
        case("masked_fill: takes tensors, arrays and numbers", TypeError, lambda: whole.masked_fill(mask, "a")),
        case("index_fill: 2.5 is no number of int64", TypeError, lambda: whole.index_fill(0, [0], 2.5)),
        case("scatter: 2.5 is no number of int64", TypeError, lambda: whole.scatter(0, whole[:1], 2.5)),
        case("pad: 2.5 is no number of int64", TypeError, lambda: F.pad(whole, (1, 1), value=2.5)),
        case("where: cannot take shape (3,), 300, shape (3,): 300", ValueError, lambda: tg.where(mask, 300, small)),
        case("copy_: 2.5 is no number of int64", TypeError, lambda: whole.clone().fill_(2.5)),
        case("copy_: the result is float64", TypeError, lambda: whole.clone().copy_(np.array([1.5, 2.5, 3.5]))),
        case("assigning to an index: 2.7 is no number", TypeError, lambda: whole.clone().__setitem__(0, 2.7)),
        case("assigning to an index: float32 does not", TypeError, lambda: whole.clone().__setitem__(0, tg.ones(()))),
        # dimensions and whole numbers
        case("sum: dim=() names no dimension", ValueError, lambda: x.sum(())),
        case("amax: dim=() names no dimension", ValueError, lambda: x.amax(())),
        case("sum: dim must be an integer, got True", TypeError, lambda: x.sum(True)),
        case("chunk: takes whole numbers", TypeError, lambda: x.chunk(2.0)),  # type: ignore[arg-type]
        case("topk: takes whole numbers", TypeError, lambda: x.topk(2.0)),  # type: ignore[arg-type]
        case("roll: takes whole numbers", TypeError, lambda: x.roll(1.5)),  # type: ignore[arg-type]
        case("pad: takes whole numbers", TypeError, lambda: F.pad(x, 1.5)),  # type: ignore[arg-type]
        case("one_hot: takes whole numbers", TypeError, lambda: tg.one_hot(whole, 2.5)),  # type: ignore[arg-type]
        case("tril: takes whole numbers", TypeError, lambda: x.tril(1.5)),  # type: ignore[arg-type]
        case("tril: takes a tensor with at least 2 dimensions", ValueError, lambda: whole.tril()),
        case("mT: takes a tensor with at least 2 dimensions", ValueError, lambda: whole.mT),
        case("indexing: a slice takes whole numbers, got 1.5", TypeError, lambda: x[0:1.5]),
        case("expand: shape (2, 3) does not broadcast to (4, 3)", ValueError, lambda: x.expand(4, 3)),
        case("broadcast_to: shape (2, 3) does not broadcast", ValueError, lambda: x.broadcast_to((3,))),
        # names of what was called, and no others' words
        case("var: takes a floating-point tensor", TypeError, lambda: whole.var()),
        case("softmax: takes a floating-point", TypeError, lambda: whole.softmax(0)),
        case("max: amax: the tensor of shape (0,)", ValueError, lambda: tg.zeros(0).max()),
        case("sign: does not take numbers of bool", TypeError, lambda: mask.sign()),
        case("sub: does not take numbers of bool", TypeError, lambda: mask - mask),
        case("sum: takes a tensor, got [1, 2]", TypeError, lambda: tg.sum([1, 2])),
        case("matmul: takes a tensor, got 2", TypeError, lambda: x @ 2),
        case("cat: takes a list of tensors, got one with None", TypeError, lambda: tg.cat([x, None])),
        case("logical_and: takes tensors, arrays and numbers, got 'a'", TypeError, lambda: tg.logical_and(mask, "a")),
        case("full: takes a number, got a str", TypeError, lambda: tg.full((2,), "a")),  # type: ignore[arg-type]
        case("tensor: 1180591620717411303424 does not fit", ValueError, lambda: tg.tensor(2**70)),
        case("einsum: in '......ij->ij'", ValueError, lambda: tg.einsum("......ij->ij", x)),
        case("numpy.sum with where does not take", TypeError, lambda: np.sum(x, where=True)),
        case("numpy.reshape with order does not", TypeError, lambda: np.reshape(x, (3, 2), order="F")),
        # derivatives
        case("grad: argnums must be an integer", TypeError, lambda: tg.grad(tg.sum, argnums=None)(x)),  # type: ignore[arg-type]
        case("grad: with has_aux=True", TypeError, lambda: tg.grad(tg.sum, has_aux=True)(x)),
        case("jacobian: the function returned int64", TypeError, lambda: tg.jacobian(tg.argmax)(x)),
    ],
)
def test_refused(message: str, kind: type[Exception], call: Callable[[], Any]) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value).startswith(message), str(caught.value)


def test_what_is_put_in_keeps_the_dtype() -> None:
    assert mask.masked_fill(mask, 1).dtype == F.pad(mask, (1, 1), value=1).dtype == tg.bool
    assert whole.masked_fill(mask, 2.0).tolist() == [2, 2, 2]
    assert small.clamp(-1, 300).tolist() == small.tolist()
    assert small.masked_fill(mask, 7).dtype == tg.uint8
    changed = whole.clone()
    changed[0] = 5.0
    assert changed.fill_(4.0).dtype == tg.int64


def test_counting_with_numbers_of_numpy() -> None:
    for end in (np.int64(3), tg.tensor(3)):
        assert api.arange(end).dtype == tg.int64
        assert api.arange(end).tolist() == [0, 1, 2]
    assert api.roll(x, np.int64(1), 1).shape == (2, 3)


def test_nan_as_a_bound() -> None:
    for bounds in ({"min": math.nan}, {"max": math.nan}, {"min": tg.full((3,), math.nan)}):
        assert x.clamp(**bounds).isnan().all()
    assert tg.tensor([math.nan, 5.0]).clamp(0.0, tg.tensor([1.0, 2.0])).nan_to_num(-1.0).tolist() == [-1, 2]


def test_derivatives_far_to_the_left() -> None:
    gradient = tg.grad(lambda v: tg.elu(v).sum())(tg.tensor([-9.0, -20.0, -80.0]))
    np.testing.assert_allclose(gradient.numpy(), np.exp([-9.0, -20.0, -80.0]), rtol=1e-6)


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_zero_to_a_power() -> None:
    for base in (0.0, tg.zeros(4)):
        gradient = tg.grad(lambda b, base=base: (base**b).sum())(tg.tensor([2.0, 0.0, -1.0, math.nan]))
        assert gradient.tolist()[:3] == [0.0, 0.0, -math.inf]
        assert math.isnan(gradient.tolist()[3])


def test_einsum_broadcasts_lengths_of_one() -> None:
    rng = np.random.default_rng(0)
    for equation, a, b in (
        ("i,i->i", (1,), (4,)),
        ("i,i->", (4,), (1,)),
        ("...i,...i->...", (2, 3, 4), (1, 4)),
        ("...ij,...jk->...ik", (2, 3, 4), (1, 4, 5)),
    ):
        operands = [rng.standard_normal(shape) for shape in (a, b)]
        np.testing.assert_allclose(
            tg.einsum(equation, *map(tg.tensor, operands)).numpy(), np.einsum(equation, *operands)
        )
        tg.gradcheck(lambda *xs, equation=equation: tg.einsum(equation, *xs), operands)
    assert tg.einsum("ij,kj->ik", [x, x]).tolist() == [[3, 3], [3, 3]]


def test_pytorchs_names_of_arguments() -> None:
    v = api.tensor([[3.0, 1.0, 2.0]])
    assert api.flip(v, dims=(1,)).tolist() == v.flip(dims=(1,)).tolist() == [[2, 1, 3]]
    assert api.roll(v, 1, dims=1).tolist() == v.roll(1, dims=1).tolist() == [[2, 3, 1]]
    assert v.sort(stable=True).values.tolist() == tg.topk(v, 3, largest=False, sorted=True).values.tolist()
    assert v.argsort(stable=True).tolist() == [[1, 2, 0]]
    assert [part.shape for part in v.split(split_size=2, dim=1)] == [(1, 2), (1, 1)]
    assert v.take_along_dim(indices=tg.tensor([2])).tolist() == [2]
    assert v.pow(exponent=2).tolist() == [[9, 1, 4]]
    assert api.matmul(v, other=v.T).tolist() == api.mm(v, mat2=v.T).tolist() == [[14]]
    made = tg.zeros_like(v, requires_grad=True), tg.arange(2.0, requires_grad=True), tg.eye(2, requires_grad=True)
    assert all(leaf.requires_grad for leaf in (*made, tg.randn_like(v, requires_grad=True)))


def test_numpys_questions_about_a_tensor() -> None:
    leaf = tg.ones(2, 3, requires_grad=True)
    assert (np.shape(leaf), np.ndim(leaf), np.size(leaf)) == ((2, 3), 2, 6)


def test_hooks_and_imports_of_something_else() -> None:
    leaf = tg.ones(2, requires_grad=True)
    leaf.register_hook(lambda g: g.numpy() * 2)
    with pytest.raises(RuntimeError, match=r"the hook must return shape .* got a ndarray"):
        (leaf * 1).sum().backward()
    torch = pytest.importorskip("torch")
    for wrong in (torch.ones(2, requires_grad=True), torch.ones(2, dtype=torch.bfloat16)):
        with pytest.raises(TypeError, match=r"^from_dlpack: cannot take this Tensor"):
            tg.from_dlpack(wrong)


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_an_infinity_that_was_asked_for_is_no_anomaly() -> None:
    with tg.detect_anomaly():
        assert tg.softmax(tg.zeros(3).masked_fill(mask, -math.inf), 0).tolist() == [0, 1, 0]
        with pytest.raises(RuntimeError, match="'log' gave -inf"):
            tg.log(tg.zeros(1))


def test_a_checkpoint_of_zeros_sees_that_its_argument_changed() -> None:
    leaf, factor = tg.zeros(3, requires_grad=True), tg.ones(3)
    y = tg.checkpoint(lambda v, k: (v * k).sum(), leaf, factor)  # 0, whatever the factor
    factor.mul_(3)
    with pytest.raises(RuntimeError, match="a parameter or an argument was changed in place"):
        y.backward()

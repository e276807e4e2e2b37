"""`Tensor` as a container: making, showing, indexing, converting."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_seq as tg


def test_dtypes_of_what_is_given() -> None:
    assert tg.tensor([1.0, 2.0]).dtype == tg.float32
    assert tg.tensor([1, 2]).dtype == tg.int64
    assert tg.tensor([True]).dtype == tg.bool
    assert tg.tensor(np.zeros(2)).dtype == tg.float64
    assert tg.tensor([1, 2], dtype=tg.float64).dtype == tg.float64
    assert tg.tensor(tg.ones(2)).dtype == tg.float32
    assert tg.tensor([tg.tensor(1.0), tg.tensor(2.0)]).tolist() == [1.0, 2.0]
    with pytest.raises(TypeError, match="cannot make numbers of dict"):
        tg.tensor({})


@pytest.mark.parametrize("kind", ["uint8", "bool", "int64"])
def test_whole_numbers_become_float32_also_where_there_is_one(kind: str) -> None:
    y = tg.tensor(1, dtype=kind).tanh()
    assert y.dtype == tg.float32
    assert y.numpy().shape == ()


def test_tensor_copies_and_from_numpy_shares() -> None:
    a = np.ones(2)
    copied, shared = tg.tensor(a), tg.from_numpy(a)
    a[0] = 5
    assert copied.tolist() == [1, 1]
    assert shared.tolist() == [5, 1]


@pytest.mark.host("a view of the host's memory")
def test_numpy_is_a_read_only_view() -> None:
    x = tg.ones(2)
    view = x.numpy()
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 2
    x[0] = 3.0
    assert view[0] == 3
    np.testing.assert_array_equal(np.asarray(x), x.numpy())
    assert np.array(x, dtype=np.float64).dtype == np.float64
    with pytest.raises(RuntimeError, match=r"\.detach\(\)\.numpy\(\)"):
        tg.ones(2, requires_grad=True).numpy()


@pytest.mark.host("NumPy's arrays beside tensors")
def test_arrays_on_the_left_make_tensors() -> None:
    x = tg.ones(2, requires_grad=True)
    for y in (np.array([2.0, 3.0], np.float32) * x, np.ones((2, 2), np.float32) @ x, np.float32(2) - x):
        assert isinstance(y, tg.Tensor)
        assert y.requires_grad
        assert y.dtype == tg.float32


def test_numpys_functions_are_ours_or_refuse() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    for y, values in (
        (np.exp(x), np.exp([1, 2])),
        (np.add(1, x), [2, 3]),
        (np.sum(x), 3),
        (np.mean(x, axis=0), 1.5),
        (np.var(x), 0.25),
        (np.stack([x, x], axis=1), [[1, 1], [2, 2]]),
        (np.where(tg.tensor([True, False]), x, 0.0), [1, 0]),
        (np.matmul(tg.eye(2), x), [1, 2]),
        (np.max(x), 2),
    ):
        assert isinstance(y, tg.Tensor)
        assert y.requires_grad
        np.testing.assert_allclose(y.detach().numpy(), values, rtol=1e-6)
    refused: list[Any] = [np.arctan, np.linalg.norm, np.add.reduce, np.fft.fft, lambda x: np.exp(x, out=np.ones(2))]
    for call in refused:
        with pytest.raises(TypeError, match=r"the gradient would be lost.*tensor\.detach\(\)\.numpy\(\)"):
            call(x)


@pytest.mark.host("NumPy takes memory of the host")
def test_dlpack_shares_memory() -> None:
    x = tg.ones(3)
    shared = np.from_dlpack(x)
    assert tg.from_dlpack(np.arange(3.0)).tolist() == [0, 1, 2]
    x[0] = 5.0
    assert shared[0] == 5
    with pytest.raises(RuntimeError, match=r"\.detach\(\)"):
        np.from_dlpack(tg.ones(1, requires_grad=True))


def test_dlpack_with_torch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the other side here")
    x = tg.ones(3)
    theirs = torch.from_dlpack(x)
    theirs[1] = 7
    assert x.tolist() == [1, 7, 1]
    ours = tg.from_dlpack(theirs)
    theirs[2] = 8
    assert ours.tolist() == [1, 7, 8]


def test_repr() -> None:
    x = tg.tensor([1.0, 2.5], requires_grad=True, device="cpu")
    assert repr(x) == "tensor([1. , 2.5], requires_grad=True)"
    assert repr(x * 2) == "tensor([2., 5.], grad_fn=<mul>)"
    assert repr(x.unbind(0)[0]) == "tensor(1., grad_fn=<unbind>)"
    assert repr(tg.zeros(0, dtype=tg.float64, device="cpu")) == "tensor([], dtype=float64)"
    assert repr(tg.zeros(2, 0, device="cpu")) == "tensor([[], []], shape=(2, 0))"
    assert f"{tg.tensor(1.234):.1f}" == "1.2"


def test_numbers_and_truth() -> None:
    assert tg.tensor([[3.5]]).item() == 3.5
    assert float(tg.tensor(2)) == 2.0
    assert int(tg.tensor(2.7)) == 2
    assert [10, 20][tg.tensor(1)] == 20
    assert bool(tg.tensor(1.0))
    with pytest.raises(ValueError, match=r"\.any\(\) or \.all\(\)"):
        bool(tg.ones(2))
    with pytest.raises(ValueError, match="one element, got shape"):
        tg.ones(2).item()
    with pytest.raises(TypeError, match="0-d"):
        len(tg.tensor(1.0))
    with pytest.raises(TypeError, match="0-d"):
        iter(tg.tensor(1.0))
    assert len({tg.ones(1), tg.ones(1)}) == 2


@given(data=st.data())
def test_indexing_is_numpys(data: st.DataObject) -> None:
    a = np.arange(24.0).reshape(2, 3, 4)
    index = data.draw(hnp.basic_indices(a.shape, allow_newaxis=True, allow_ellipsis=True))
    np.testing.assert_array_equal(tg.tensor(a)[index].numpy(), a[index])
    advanced = data.draw(hnp.integer_array_indices(a.shape))
    np.testing.assert_array_equal(tg.tensor(a, device="cpu")[advanced].numpy(), a[advanced])
    as_tensors = tuple(tg.tensor(i) for i in advanced)
    np.testing.assert_array_equal(tg.tensor(a)[as_tensors].numpy(), a[advanced])


def test_other_indices() -> None:
    a = np.arange(6.0).reshape(2, 3)
    x = tg.tensor(a)
    np.testing.assert_array_equal(x[x > 2.5].numpy(), a[a > 2.5])
    np.testing.assert_array_equal(x[[1, 0], 1].numpy(), a[[1, 0], 1])
    np.testing.assert_array_equal(x[:, None, [0, 2]].numpy(), a[:, None, [0, 2]])
    with pytest.raises(TypeError, match="integers or booleans, got float32"):
        x[tg.ones(1)]
    with pytest.raises(TypeError, match="index of type str"):
        x["a"]
    with pytest.raises(IndexError, match="getitem"):
        x[5]
    tg.gradgradcheck(lambda x: x[x > 2.5] * x[[0, 1, 1], [2, 0, 0]], x)


def test_assignment_by_index() -> None:
    x = tg.zeros(2, 2)
    x[tg.tensor([True, False])] = tg.tensor([1.0, 2.0])
    x[1, 0] = 5
    assert x.tolist() == [[1, 2], [5, 0]]
    x = tg.zeros(2, 3, 3)
    x[0, :, [2, 0, 1]] = tg.arange(9.0).reshape(3, 3)  # the dimensions where they stand, as when it is read
    assert x[0].tolist() == [[1, 2, 0], [4, 5, 3], [7, 8, 6]]


def test_to() -> None:
    x = tg.ones(2, requires_grad=True)
    assert x.to(tg.float32) is x
    y = x.double()
    assert y.dtype == tg.float64
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == tg.float32
    assert x.to(x.device) is x
    assert tg.ones(1).to(tg.tensor([1])).dtype == tg.int64


def test_devices_are_checked() -> None:
    for bad in ("gpu", "cpu:1", "cuda:x"):
        with pytest.raises(ValueError, match="takes 'cpu', 'cuda' or 'cuda:N'"):
            tg.device(bad)
    assert tg.device("cuda:1").index == 1
    assert tg.device("cpu") == "cpu"
    with tg.device("cpu"):
        assert tg.ones(1).device == "cpu"


def test_grad_is_checked() -> None:
    x = tg.ones(2, requires_grad=True)
    x.grad = tg.ones(2)
    x.grad = None
    with pytest.raises(ValueError, match=r"shape \(2,\) .* gradient of shape \(3,\)"):
        x.grad = tg.ones(3)
    with pytest.raises(RuntimeError, match="leaf"):
        (x * 1.0).grad = tg.ones(2)


def test_data_may_be_replaced_between_forward_and_backward() -> None:
    x = tg.ones(2, requires_grad=True)
    y = (x * 3.0).sum()
    x.data = tg.zeros(2)
    y.backward()
    assert x.grad is not None
    assert x.grad.tolist() == [3, 3]
    with pytest.raises(ValueError, match=r"cannot put shape \(3,\)"):
        x.data = tg.ones(3)


def test_copies_are_independent() -> None:
    x = tg.ones(2, requires_grad=True)
    y = copy.deepcopy(x)
    with tg.no_grad():
        y += 1
    assert x.tolist() == [1, 1]
    assert y.requires_grad
    assert y.is_leaf
    z = pickle.loads(pickle.dumps(y))
    assert z.tolist() == [2, 2]
    assert z.requires_grad
    with pytest.raises(RuntimeError, match="result of an operation"):
        copy.deepcopy(x * 2)


def test_axis_and_keepdims_do_as_well() -> None:
    x: Any = tg.randn(2, 3)
    total: Any = tg.sum  # type checkers know the names dim and keepdim alone
    np.testing.assert_array_equal(total(x, axis=0, keepdims=True).numpy(), tg.sum(x, dim=0, keepdim=True).numpy())
    np.testing.assert_array_equal(x.mean(axis=1).numpy(), x.mean(dim=1).numpy())
    with pytest.raises(TypeError, match="both dim= and axis="):
        total(x, dim=0, axis=0)


def test_exports_are_listed() -> None:
    for name in tg.__all__:
        assert hasattr(tg, name)


def test_random_numbers_repeat() -> None:
    tg.manual_seed(3)
    first = [tg.randn(5), tg.rand(3, dtype=tg.float64), tg.randint(0, 9, (4,)), tg.randperm(6)]
    tg.manual_seed(3)
    again = [tg.randn(5), tg.rand(3, dtype=tg.float64), tg.randint(0, 9, (4,)), tg.randperm(6)]
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    generator = tg.Generator(1)
    tg.rand(7, generator=generator)
    state = generator.get_state()
    a = tg.rand(3, generator=generator)
    generator.set_state(state)
    np.testing.assert_array_equal(a.numpy(), tg.rand(3, generator=generator).numpy())
    assert not np.array_equal(a.numpy(), tg.rand(3, generator=generator).numpy())


def test_random_numbers_are_distributed_as_they_say() -> None:
    u, z = tg.rand(100_000).numpy(), tg.randn(100_001, dtype=tg.float64).numpy()
    assert u.min() >= 0
    assert u.max() < 1
    np.testing.assert_allclose([u.mean(), u.var()], [1 / 2, 1 / 12], atol=5e-3)
    np.testing.assert_allclose([z.mean(), z.var(), (z**4).mean()], [0, 1, 3], atol=5e-2)
    counts = np.bincount(tg.randint(2, 6, (40_000,)).numpy())
    assert list(counts[:2]) == [0, 0]
    np.testing.assert_allclose(counts[2:] / 40_000, 0.25, atol=0.01)
    drawn = tg.multinomial(tg.tensor([[1.0, 0.0, 3.0]]), 40_000, replacement=True).numpy()
    np.testing.assert_allclose(np.bincount(drawn[0]) / 40_000, [0.25, 0, 0.75], atol=0.01)
    assert sorted(tg.randperm(10).tolist()) == list(range(10))
    with pytest.raises(ValueError, match="multinomial"):
        tg.multinomial(tg.tensor([0.0, 0.0]))
    with pytest.raises(ValueError, match="low < high"):
        tg.randint(3, 3)


def test_creation() -> None:
    assert tg.zeros(2, 3).shape == tg.ones((2, 3)).shape == (2, 3)
    assert tg.full((2,), 7).dtype == tg.int64
    assert tg.full((2,), 7.0).dtype == tg.float32
    assert tg.arange(3).tolist() == [0, 1, 2]
    assert tg.arange(1, 2, 0.5).dtype == tg.float32
    assert tg.zeros_like(tg.tensor([1])).dtype == tg.int64
    assert tg.ones_like(tg.ones(2, dtype=tg.float64)).dtype == tg.float64
    with pytest.raises(ValueError, match="step"):
        tg.arange(0, 3, 0)
    assert tg.eye(2, 3).tolist() == [[1, 0, 0], [0, 1, 0]]
    np.testing.assert_allclose(tg.linspace(0, 1, 5).numpy(), [0, 0.25, 0.5, 0.75, 1])
    assert tg.linspace(2, 3, 1).tolist() == [2]
    assert tg.full_like(tg.ones(2), 3).tolist() == [3, 3]
    assert tg.rand_like(tg.ones(2, 3)).shape == tg.randn_like(tg.ones(2, 3)).shape == (2, 3)


def test_normal_and_bernoulli() -> None:
    mean, std = tg.zeros(4, 1, requires_grad=True), tg.tensor([1.0, 2.0], requires_grad=True)
    z = tg.normal(mean, std)
    assert z.shape == (4, 2)
    z.sum().backward()
    assert mean.grad is not None
    assert mean.grad.tolist() == [[2]] * 4
    assert abs(tg.normal(5.0, 0.1, (1000,)).mean().item() - 5) < 0.02
    drawn = tg.bernoulli(tg.full((10_000,), 0.3))
    assert abs(drawn.mean().item() - 0.3) < 0.02
    assert set(drawn.tolist()) == {0.0, 1.0}
    with pytest.raises(ValueError, match="from 0 to 1"):
        tg.bernoulli(tg.tensor([1.5]))
    with pytest.raises(ValueError, match="numbers and a size, or tensors"):
        tg.normal(mean, std, (2,))


def test_new_tensors_of_the_same_kind() -> None:
    x = tg.zeros(3, dtype=tg.float64, requires_grad=True)
    for new, wanted in ((x.new_zeros(2, 1), 0), (x.new_ones((2, 1)), 1), (x.new_full((2, 1), 7), 7)):
        assert new.tolist() == [[wanted]] * 2
        assert new.dtype == tg.float64
        assert not new.requires_grad
    assert x.new_ones(2, dtype=tg.int64).dtype == tg.int64


def test_contiguous_is_row_by_row() -> None:
    x = tg.tensor(np.arange(6.0).reshape(2, 3).T, requires_grad=True)
    y = x.contiguous()
    assert y.is_contiguous()
    assert y.tolist() == x.tolist()
    assert y.contiguous() is y
    (y * tg.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]

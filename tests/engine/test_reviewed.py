"""Corners in which an engine like this goes wrong silently."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_seq as tg


@pytest.mark.parametrize("mask", [[True, True, True], [True, False, True], [False, False, False]])
def test_rows_by_a_mask(mask: list[bool]) -> None:
    x = tg.ones(3, 2, requires_grad=True)
    weights = tg.tensor([[1.0], [2.0], [3.0]])
    (x[tg.tensor(mask)] * weights[tg.tensor(mask)]).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[w * m] * 2 for w, m in zip([1.0, 2.0, 3.0], mask, strict=True)]


def test_masks_of_several_dimensions() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 2))
    tg.gradcheck(lambda v: v[tg.tensor(x[..., 0] > 0)].sin(), x)


def test_lists_and_bounds_may_be_changed_afterwards() -> None:
    x, numbers = tg.ones(3, requires_grad=True), [1.0, 2.0, 3.0]
    y = x * numbers
    numbers[0] = 100.0
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 2.0, 3.0]
    x, start = tg.ones(4, requires_grad=True), tg.tensor(3)
    y = x[start:] * 3
    start.fill_(1)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 0.0, 0.0, 3.0]


def test_gradients_have_memory_of_their_own() -> None:
    a, b, seed = tg.ones(2, requires_grad=True), tg.ones(2, requires_grad=True), tg.ones(2)
    (a + b).backward(seed)
    assert a.grad is not None
    assert b.grad is not None
    a.grad.mul_(3.0)
    assert b.grad.tolist() == seed.tolist() == [1.0, 1.0]
    x = tg.ones(2, requires_grad=True)
    x.sum().backward()
    assert x.grad is not None
    x.grad.zero_()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the squares overflow
def test_large_and_infinite_values_have_derivatives() -> None:
    square = lambda x: x * x  # noqa: E731
    np.testing.assert_allclose(tg.grad(square)(1e30).item(), 2e30, rtol=1e-6)
    assert tg.jacobian(square)(tg.tensor([1e30, 1.0])).isfinite().all().item()
    _, (product,) = tg.hvp(lambda x: (x**2).sum(), (tg.tensor([1e30]),), (tg.tensor([1.0]),))
    assert product.tolist() == [2.0]
    unused = tg.grad(lambda x, y: x * 2.0, argnums=(0, 1))(tg.tensor(1.0), tg.tensor(np.inf))[1]
    assert unused.item() == 0.0
    mixed = tg.grad(lambda b: tg.grad(lambda a: a**b)(tg.tensor(2.0)))(tg.tensor(0.0))
    assert mixed.item() == 0.5


def test_what_a_checkpoint_cannot_compute_again() -> None:
    x, c = tg.ones(2, requires_grad=True), tg.ones(2)
    y = tg.checkpoint(lambda x, c: x * c, x, c)
    c.fill_(7.0)
    with pytest.raises(RuntimeError, match="checkpoint: a parameter or an argument was changed in place"):
        y.sum().backward()
    random = np.random.default_rng(3)
    y = tg.checkpoint(lambda x: x * tg.tensor(random.random(2)), x)
    with pytest.raises(RuntimeError, match=r"random without drawing from a tg\.Generator"):
        y.sum().backward()


def test_a_recorded_change_of_a_part_reaches_a_constant() -> None:
    buffer, w = tg.zeros(2, 3), tg.ones(3, requires_grad=True)
    row = buffer[0]
    row += w
    assert buffer.requires_grad
    assert buffer.tolist() == [[1, 1, 1], [0, 0, 0]]
    whole = tg.randn(3)
    whole += w
    assert whole.requires_grad


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64"])
def test_functions_of_integers_are_float32(dtype: str) -> None:
    numbers = np.array([1, 2, 9], dtype)
    exact = numbers.astype("float64")
    for name, wanted in (
        ("exp", np.exp(exact)),
        ("sqrt", np.sqrt(exact)),
        ("tanh", np.tanh(exact)),
        ("sigmoid", 1 / (1 + np.exp(-exact))),
        ("softplus", np.log1p(np.exp(exact))),
        ("erf", [0.8427008, 0.9953223, 1.0]),
    ):
        found = getattr(tg, name)(tg.tensor(numbers))
        assert found.dtype == tg.float32, name
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-6)
    for name in ("sum", "prod"):
        total = getattr(tg, name)(tg.tensor(numbers))
        assert (total.dtype, total.item()) == (tg.int64, int(getattr(np, name)(exact)))
    assert tg.tensor(numbers).logsumexp(0).dtype == tg.float32


def test_exact_means_and_ranges() -> None:
    assert tg.ones(49, dtype=tg.float64).mean().item() == 1.0
    assert tg.arange(10000, 10010, 0.1)[99].item() == pytest.approx(10009.9, rel=1e-7)
    assert tg.arange(0.5, 3, 1, dtype=tg.int64).tolist() == [0, 1, 2]  # as PyTorch: from a whole number on
    assert (tg.rand(100, dtype=tg.float16) < 1).all().item()


def test_along_nothing() -> None:
    empty = tg.zeros(3, 0)
    assert empty.softmax(1).shape == empty.log_softmax(1).shape == (3, 0)
    assert empty.logsumexp(1).tolist() == [-np.inf] * 3


def test_numbers_beside_index_tensors_stay_where_they_are() -> None:
    x = tg.randn(2, 3, 4)
    for found, wanted in (
        (x[0, :, [0, 1]], x[0][:, [0, 1]]),
        (x[0, None, [0, 1]], x[0][None, [0, 1]]),
        (x[..., [0, 1], 2], x[..., 2][:, [0, 1]]),
        (x[tg.tensor([True, False]), :, 1], x[..., 1][tg.tensor([True, False])]),
        (x[1, x[1] > 0], x[1][x[1] > 0]),
    ):
        np.testing.assert_array_equal(found.numpy(), wanted.numpy())


def test_a_gradient_of_a_jvp_is_a_constant() -> None:
    cube = lambda x: (x**3).sum()  # noqa: E731
    x = tg.tensor([1.0, 2.0])
    found = tg.grad(lambda v: tg.jvp(cube, (x,), (v,))[1])(tg.ones(2))
    assert not found.requires_grad
    assert found.tolist() == [3.0, 12.0]
    assert tg.grad(lambda v: tg.jvp(cube, (v,), (tg.ones(2),))[1])(x).tolist() == [6.0, 12.0]


def test_extremes_of_nan_and_float16() -> None:
    x = tg.tensor([1.0, np.nan, 2.0], requires_grad=True)
    x.amax().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 1.0, 0.0]
    assert tg.ones(100_000, dtype=tg.float16).mean().item() == 1.0
    assert tg.tensor(np.array([300.0, 400.0], np.float16)).norm().item() == 500.0


@pytest.mark.host("NumPy takes memory of the host")
def test_memory_exported_after_it_was_saved() -> None:
    x = tg.ones(3, requires_grad=True)
    y = x.exp()
    np.from_dlpack(y.detach())
    theirs = y.array  # whoever it is exported to can write like this
    y.sum().backward(retain_graph=True)  # nothing written yet
    theirs[:] = 0.0
    with pytest.raises(RuntimeError, match=r"the output of 'exp', of shape .3,., was changed in place"):
        y.sum().backward()
    z = y * y  # made of numbers that others can write to, so of copies of them
    theirs[:] = 7.0
    seed = tg.ones(3)
    assert tg.grad(lambda v: (v * v).sum())(seed).tolist() == [2.0] * 3
    assert z.tolist() == [0.0] * 3


def test_bytes_in_the_other_order_and_dtypes_by_name() -> None:
    swapped = np.array([1.0, 2.0], ">f4")
    x = tg.tensor(swapped)
    assert x.dtype == tg.float32
    assert x.tolist() == [1.0, 2.0]
    assert tg.as_tensor(swapped).dtype == tg.float32
    assert x.to("float64").dtype == tg.float64
    assert x.to(str(x.device)) is x


def test_a_number_has_one_dimension_for_reductions() -> None:
    x = tg.tensor(3.0)
    assert x.sum(0).item() == x.mean(-1).item() == x.amax(0).item() == 3.0
    assert x.sum(0).shape == ()


def test_settings_as_pytorch_has_them() -> None:
    x = tg.tensor([[1.0, -2.0], [0.0, 4.0]])
    assert x.sum(dtype=tg.float64).dtype == x.cumsum(0, dtype=tg.float64).dtype == tg.float64
    assert tg.arange(3).mean(dtype=tg.float32).item() == 1.0
    assert x.norm(0).item() == 3.0
    assert x.norm(-np.inf).item() == 0.0
    assert x.norm("fro").item() == x.norm().item()
    assert tg.max(x, -x).tolist() == x.max(tg.abs(x)).tolist() == [[1.0, 2.0], [0.0, 4.0]]
    assert x.min(tg.zeros(2, 2)).tolist() == [[0.0, -2.0], [0.0, 0.0]]
    assert x.var(unbiased=False).item() == x.var(correction=0).item()
    assert tg.round(tg.tensor([1.26]), decimals=1).item() == pytest.approx(1.3)
    assert tg.one_hot(tg.tensor([0, 2])).tolist() == [[1, 0, 0], [0, 0, 1]]
    assert [len(piece) for piece in tg.zeros(0).chunk(3)] == [0, 0, 0]
    assert tg.ones(2).masked_fill(tg.tensor([True, False]), tg.tensor(2.0, dtype=tg.float64)).dtype == tg.float32
    assert tg.embedding(x, [[1, 0]]).tolist() == [[[0.0, 4.0], [1.0, -2.0]]]

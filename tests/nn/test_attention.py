"""Attention's masks: kinds, shapes, queries that may look nowhere; and the weights that a layer returns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nn
import nn.functional
import tinygrad_seq as tg
from tests.engine.strict_backend import installed

F: Any = nn.functional
MAY_LOOK = np.array([[True, False, True, True], [False] * 4, [True] * 4])
ADDED = np.where(MAY_LOOK, 0.5, -np.inf)


def given(*shapes: tuple[int, ...], dtype: Any = tg.float64) -> list[Any]:
    rng = np.random.default_rng(0)
    return [tg.tensor(rng.normal(size=shape), dtype=dtype, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("mask", [MAY_LOOK, ADDED], ids=["bool", "float"])
@pytest.mark.parametrize("way", ["eager", "compiled", "strict"])
def test_who_may_look_nowhere_finds_nothing(mask: Any, way: str) -> None:
    q, k, v = given((2, 3, 5), (2, 4, 5), (2, 4, 6))

    def attend(q: tg.Tensor, k: tg.Tensor, v: tg.Tensor, mask: tg.Tensor) -> Any:
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return y, *tg.grad(lambda *x: F.scaled_dot_product_attention(*x, attn_mask=mask).sin().sum(), (0, 1, 2))(
            q, k, v
        )

    with np.errstate(all="raise"):
        if way == "strict":
            with installed():
                found = attend(*[x.to("cuda") for x in (q, k, v, tg.tensor(mask))])
        else:
            found = (tg.compile(attend) if way == "compiled" else attend)(q, k, v, tg.tensor(mask))
    expected = attend(q[:, ::2], k, v, tg.tensor(mask[::2]))
    np.testing.assert_allclose(found[0][:, ::2].tolist(), expected[0].tolist(), rtol=1e-12)
    np.testing.assert_allclose(found[1][:, ::2].tolist(), expected[1].tolist(), rtol=1e-12, atol=1e-15)
    for mine, other in zip(found[2:], expected[2:], strict=True):
        np.testing.assert_allclose(mine.tolist(), other.tolist(), rtol=1e-12, atol=1e-15)
    assert not found[0][:, 1].any()
    assert not found[1][:, 1].any()


def test_the_gradients_of_masked_attention() -> None:
    q, k, v, bias = given((2, 3, 5), (2, 4, 5), (2, 4, 6), (3, 4))
    assert tg.gradcheck(lambda *x: F.scaled_dot_product_attention(*x, attn_mask=tg.tensor(MAY_LOOK)), (q, k, v))
    assert tg.gradgradcheck(lambda q: F.scaled_dot_product_attention(q, k, v, tg.tensor(ADDED)), (q,))
    assert tg.gradcheck(lambda q, m: F.scaled_dot_product_attention(q, k, v, m + tg.tensor(ADDED)), (q, bias))


def test_numbers_that_are_added_keep_the_dtype() -> None:
    q, k, v = given((3, 5), (4, 5), (4, 6), dtype=tg.float32)
    for dtype in (tg.float16, tg.float32, tg.float64):
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=tg.tensor(ADDED, dtype=dtype))
        assert y.dtype == tg.float32
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=tg.tensor(MAY_LOOK))
    assert tg.allclose(y, expected)
    for mask in (MAY_LOOK, MAY_LOOK.tolist(), ADDED):  # what is no tensor
        assert tg.allclose(F.scaled_dot_product_attention(q, k, v, mask), expected)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
def test_integers_are_no_mask(dtype: str) -> None:
    q, k, v = given((3, 4), (4, 4), (4, 4))
    mask = tg.tensor(MAY_LOOK.astype(dtype))
    with pytest.raises(TypeError, match=rf"scaled_dot_product_attention: attn_mask must be boolean, .* {dtype}.*bool"):
        F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    layer: Any = nn.MultiheadAttention(4, 2, dtype=tg.float64)
    with pytest.raises(TypeError, match=f"MultiheadAttention: attn_mask must be boolean, .* {dtype}"):
        layer(q, k, v, attn_mask=mask)
    with pytest.raises(TypeError, match=f"MultiheadAttention: key_padding_mask must be boolean, .* {dtype}"):
        layer(q, k, v, key_padding_mask=mask[0], attn_mask=tg.tensor(MAY_LOOK))


def test_shapes_of_masks() -> None:
    q, k, v = given((3, 2, 4), (4, 2, 4), (4, 2, 4))
    layer: Any = nn.MultiheadAttention(4, 2, dtype=tg.float64)
    for shape in ((2, 3, 4), (1, 4), (3, 1), (2, 2, 3, 4), (1, 3, 4), (4,)):  # of which some would broadcast
        with pytest.raises(ValueError, match=r"attn_mask must have shape \(3, 4\) or \(4, 3, 4\), got \("):
            layer(q, k, v, attn_mask=tg.zeros(*shape, dtype=tg.bool))
    for shape in ((1, 4), (4,), (4, 2)):
        with pytest.raises(ValueError, match=r"key_padding_mask must have shape \(2, 4\), got \("):
            layer(q, k, v, key_padding_mask=tg.zeros(*shape, dtype=tg.bool))
    with pytest.raises(ValueError, match=r"key_padding_mask must have shape \(4,\), got \(1, 4\)"):
        layer(q[:, 0], k[:, 0], v[:, 0], key_padding_mask=tg.zeros(1, 4, dtype=tg.bool))


@pytest.mark.parametrize("need_weights", [True, False])
def test_a_layer_whose_keys_are_all_padding(need_weights: bool) -> None:
    q, k, v = given((3, 2, 4), (4, 2, 4), (4, 2, 4))
    layer: Any = nn.MultiheadAttention(4, 2, dtype=tg.float64)
    padding = tg.tensor([[True] * 4, [False, True, False, False]])
    y, weights = layer(q, k, v, key_padding_mask=padding, need_weights=need_weights)
    np.testing.assert_array_equal(y[:, 0].tolist(), [layer.out_proj.bias.tolist()] * 3)
    alone = layer(q[:, 1:], k[:, 1:], v[:, 1:], key_padding_mask=padding[1:])
    np.testing.assert_allclose(y[:, 1].tolist(), alone[0][:, 0].tolist(), rtol=1e-12)
    y.sum().backward()
    assert all(p.grad.isfinite().all() for p in [q, k, v, *layer.parameters()])
    if weights is not None:
        assert not weights[0].any()
        np.testing.assert_allclose(weights[1].tolist(), alone[1][0].tolist(), rtol=1e-12)


def test_the_weights_of_training_are_those_that_were_used() -> None:
    q, k, v = given((3, 2, 4), (50, 2, 4), (50, 2, 4))
    layer: Any = nn.MultiheadAttention(4, 2, dropout=0.5, dtype=tg.float64)
    y, weights = layer(q, k, v, average_attn_weights=False)
    assert 0.3 < (weights == 0).to(tg.float32).mean().item() < 0.7
    values = F.linear(v, layer.in_proj_weight[8:], layer.in_proj_bias[8:]).unflatten(-1, (2, 2)).permute(1, 2, 0, 3)
    again = layer.out_proj((weights @ values).permute(2, 0, 1, 3).flatten(2))
    np.testing.assert_allclose(again.tolist(), y.tolist(), rtol=1e-12)
    _, weights = layer.eval()(q, k, v)
    np.testing.assert_allclose(weights.sum(-1).tolist(), 1, rtol=1e-12)

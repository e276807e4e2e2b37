"""Keywords, numbers of no dimension and edges that PyTorch's own test inputs use, one line each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nn
import nn.functional as F
import tinygrad_seq as tg

ROWS = tg.tensor([[1.0, 2.0], [0.0, 2.0], [1.0, 2.0]])
LINE = tg.tensor([1.0, 2.0, 3.0])
FOUR = tg.tensor(4.0)
ZERO = tg.tensor(0)
BYTES = tg.tensor([1, 2], dtype=tg.uint8)

GIVES: dict[str, tuple[Callable[[], Any], Any]] = {
    "unique(dim=0)": (lambda: tg.unique(ROWS, dim=0), [[0, 2], [1, 2]]),
    "x.unique(dim=-1)": (lambda: tg.tensor([[1, 1, 0]]).unique(dim=-1), [[0, 1]]),
    "unique(dim=0), inverse": (lambda: tg.unique(ROWS, return_inverse=True, dim=0)[1], [1, 0, 1]),
    "unique(dim=0), counts": (lambda: tg.unique(ROWS, return_counts=True, dim=0)[1], [1, 2]),
    "masked_select broadcasts the mask": (lambda: ROWS.masked_select(tg.tensor([True, False])), [1, 0, 1]),
    "masked_select broadcasts x": (lambda: FOUR.masked_select(tg.tensor([True, False, True])), [4, 4]),
    "nonzero(as_tuple=True) of a number": (lambda: FOUR.nonzero(as_tuple=True)[0], [0]),
    "narrow from the end": (lambda: LINE.narrow(0, -2, 2), [2, 3]),
    "narrow from a tensor on": (lambda: LINE.narrow(0, tg.tensor(1), 2), [2, 3]),
    "gather from a number": (lambda: FOUR.gather(0, tg.tensor([0])), [4]),
    "gather from a number, one": (lambda: FOUR.gather(0, ZERO), 4),
    "take_along_dim from the end": (lambda: LINE.take_along_dim(tg.tensor([-1, 0]), 0), [3, 1]),
    "index_add to a number": (lambda: FOUR.index_add(0, tg.tensor([0]), tg.tensor(1.0), alpha=2), 6),
    "index_fill of a number": (lambda: FOUR.index_fill(0, tg.tensor([0]), 5.0), 5),
    "scatter into a number": (lambda: FOUR.scatter(0, ZERO, tg.tensor(5.0)), 5),
    "scatter(src=) into a number": (lambda: tg.scatter(FOUR, 0, index=ZERO, src=tg.tensor(5.0)), 5),
    "scatter_add to a number": (lambda: FOUR.scatter_add(0, ZERO, tg.tensor(1.0)), 5),
    "scatter(reduce='add')": (lambda: LINE.scatter(0, tg.tensor([0, 0]), LINE[:2], reduce="add"), [4, 2, 3]),
    "scatter(number, reduce='add')": (lambda: LINE.scatter(0, tg.tensor([0, 0]), 2.0, reduce="add"), [5, 2, 3]),
    "scatter(reduce='multiply')": (lambda: LINE.scatter(0, tg.tensor([2]), 2.0, reduce="multiply"), [1, 2, 6]),
    "scatter_(reduce='add')": (lambda: LINE.clone().scatter_(0, tg.tensor([1]), 2.0, reduce="add"), [1, 4, 3]),
    "var(correction=None)": (lambda: LINE.var(correction=None), 1),
    "var(correction=0.5)": (lambda: LINE.var(correction=0.5), 0.8),
    "std(correction=-1)": (lambda: LINE.var(correction=-1), 0.5),
    "norm(-1)": (lambda: tg.norm(LINE[:2], -1), 2 / 3),
    "norm(-2) with a zero": (lambda: tg.norm(ROWS[1], -2), 0),
    "norm(dtype=)": (lambda: tg.norm(tg.tensor([3, 4]), dtype=tg.float64).dtype, tg.float64),
    "linspace of integers": (lambda: tg.linspace(0, 7, 50, dtype=tg.int64)[[0, 7, 28, 48, 49]], [0, 1, 4, 6, 7]),
    "linspace from an integer": (lambda: tg.linspace(4.3, 1, 3, dtype=tg.int64), [4, 2, 1]),
    "linspace between tensors": (lambda: tg.linspace(tg.tensor(0), tg.tensor(1.0), 3), [0, 0.5, 1]),
    "linspace of one": (lambda: tg.linspace(3, 5, 1), [3]),
    "arange(end=)": (lambda: tg.arange(end=3), [0, 1, 2]),
    "arange of integers by floats": (lambda: tg.arange(0.1, -7.9, -4.0, dtype=tg.int64), [0, -4]),
    "arange of integers to a float": (lambda: tg.arange(3.1, dtype=tg.int64), [0, 1, 2]),
    "arange of short integers to a float": (lambda: tg.arange(3.1, dtype=tg.int32), [0, 1, 2, 3]),
    "square of booleans": (lambda: tg.tensor([True]).square().dtype, tg.int64),
    "booleans ** 2": (lambda: (tg.tensor([True, False]) ** 2).dtype, tg.int64),
    "bincount(integers as weights)": (lambda: tg.bincount(tg.tensor([1, 1]), tg.tensor([2, 3])).dtype, tg.float64),
    "bincount(weights)": (lambda: tg.bincount(tg.tensor([1, 1]), LINE[:2]).dtype, tg.float32),
    "sum of a number, dim=(0,)": (lambda: FOUR.sum((0,)), 4),
    "logsumexp of a number, dim=(0,)": (lambda: FOUR.logsumexp((0,), True), 4),
    "squeeze of a number, dim=(-1,)": (lambda: FOUR.squeeze((-1,)), 4),
    "unfold of a number": (lambda: FOUR.unfold(0, 1, 1), [4]),
    "repeat_interleave(output_size=)": (lambda: LINE.repeat_interleave([0, 2, 1], 0, output_size=3), [2, 2, 3]),
    "normal(dtype=)": (lambda: tg.normal(0.0, 1.0, (2,), dtype=tg.float64, device="cpu").dtype, tg.float64),
    "hardtanh of integers": (lambda: F.hardtanh(tg.tensor([-3, 0, 3])), [-1, 0, 1]),
    "hardtanh of integers is one of them": (lambda: F.hardtanh(tg.tensor([-3, 0, 3])).dtype, tg.int64),
    "hardtanh at one number": (lambda: F.hardtanh(LINE, 2.0, 2.0), [2, 2, 2]),
    "isclose of booleans": (lambda: tg.isclose(tg.tensor([True, False]), tg.tensor([True, True])), [True, False]),
    "isclose of bytes": (lambda: tg.isclose(BYTES, BYTES + 1, atol=1.0), [True, True]),
    "to(dtype, non_blocking, copy)": (lambda: LINE.to(tg.float32, False, True) is LINE, False),
    "to(device, dtype, non_blocking)": (lambda: LINE.to("cpu", tg.float64, True).dtype, tg.float64),
    "to(memory_format=)": (lambda: LINE.to(tg.float64, memory_format=tg.preserve_format).dtype, tg.float64),
    "clone(memory_format=)": (lambda: LINE.clone(memory_format=tg.contiguous_format), [1, 2, 3]),
    "contiguous(memory_format=)": (lambda: LINE.contiguous(memory_format=tg.contiguous_format), [1, 2, 3]),
    "float(memory_format=)": (lambda: LINE.double().float(memory_format=tg.channels_last).dtype, tg.float32),
    "zeros_like(memory_format=)": (lambda: tg.zeros_like(LINE, memory_format=tg.preserve_format), [0, 0, 0]),
    "rand_like(memory_format=)": (lambda: tg.rand_like(LINE, memory_format=tg.preserve_format).shape, (3,)),
    "pad(mode='replicate')": (lambda: F.pad(LINE, (2, 1), "replicate"), [1, 1, 1, 2, 3, 3]),
    "pad(mode='replicate') of what is cut off": (lambda: F.pad(LINE, (-3, 2), "replicate"), [3, 3]),
    "pad(mode='reflect')": (lambda: F.pad(LINE, (2, 1), "reflect"), [3, 2, 1, 2, 3, 2]),
    "pad(mode='circular')": (lambda: F.pad(LINE, (1, 2), "circular"), [3, 1, 2, 3, 1, 2]),
    "pad(mode='circular'), cut off first": (lambda: F.pad(LINE, (-1, 1), "circular"), [2, 3, 2]),
    "pad(mode='reflect') of two dimensions": (lambda: F.pad(ROWS, (0, 1, 1, 0), "reflect")[:2], [[0, 2, 0], [1, 2, 1]]),
}  # fmt: skip


@pytest.mark.parametrize("call", GIVES)
def test_what_a_call_gives(call: str) -> None:
    found, expected = GIVES[call][0](), GIVES[call][1]
    if not isinstance(found, tg.Tensor):
        assert found == expected
        return
    assert found.shape == np.shape(expected)
    assert np.allclose(found.tolist(), expected)


def _gradient(function: Callable[[tg.Tensor], tg.Tensor], x: list[Any]) -> Any:
    leaf = tg.tensor(x, requires_grad=True)
    return tg.autograd.grad(function(leaf).sum(), leaf)[0].tolist()


def test_gradients() -> None:
    assert _gradient(lambda x: tg.norm(x, -1, 1), [[1.0, 1.0], [0.0, 1.0]]) == [[0.25, 0.25], [0, 0]]
    assert _gradient(lambda x: F.pad(x, (2, 1), "reflect"), [1.0, 2.0, 3.0]) == [1, 3, 2]
    assert _gradient(lambda x: F.pad(x, (2, 1), "replicate"), [1.0, 2.0, 3.0]) == [3, 1, 2]
    assert _gradient(lambda x: x.scatter(0, tg.tensor([1]), 3.0, reduce="multiply"), [1.0, 2.0]) == [1, 3]
    assert _gradient(lambda x: x.sum().gather(0, tg.tensor([0])), [1.0, 2.0]) == [1, 1]
    assert _gradient(lambda x: x.masked_select(tg.tensor([[True, False], [True, True]])), [1.0, 2.0]) == [2, 1]


def test_refusals() -> None:
    two = tg.tensor([1.0, 2.0])
    for call, kind, message in (
        (lambda: F.pad(two, (2, 0), "reflect"), ValueError, r"'reflect' cannot put \(2, 0\) around 2 numbers"),
        (lambda: F.pad(two, (0, 3), "circular"), ValueError, "'circular' cannot put"),
        (lambda: F.pad(two[:0], (0, 1), "replicate"), ValueError, "around 0 numbers"),
        (lambda: F.pad(two, (0, 1, 1), "reflect"), ValueError, "pairs of whole numbers for up to 1 dim"),
        (lambda: F.pad(two, (0, 1, 1, 0), "circular"), ValueError, "pairs of whole numbers for up to 1 dim"),
        (lambda: F.pad(two, (0, 0.5), "replicate"), ValueError, "pairs of whole numbers"),  # type: ignore[arg-type]
        (lambda: F.pad(two, (0, 1), "mirror"), ValueError, "mode takes 'constant'"),
        (lambda: F.pad(two, (0, 1), "reflect", 1.0), ValueError, "is for mode='constant'"),
        (
            lambda: two.cpu().take_along_dim(tg.tensor([-3]).cpu(), 0),
            IndexError,
            "index -3 for a dimension of length 2",
        ),
        (lambda: two.scatter(0, tg.tensor([0]), 1.0, reduce="amax"), ValueError, "reduce is 'add' or 'multiply'"),
        (lambda: two.scatter(0, tg.tensor([0, 0]), two, reduce="multiply"), ValueError, "two entries go to one place"),
        (lambda: two.var(unbiased=True, correction=1), TypeError, "got both unbiased=True and correction=1"),
        (lambda: two.narrow(0, -3, 1), IndexError, "narrow"),
        (lambda: two.masked_select(tg.tensor([1, 0])), TypeError, "the mask must hold booleans"),
        (lambda: tg.arange(0, 3, 0.5, dtype=tg.int64), ValueError, "takes whole steps for int64, got step=0.5"),
        (lambda: F.hardtanh(tg.tensor([1]), -0.5, 1), TypeError, "no bounds of integers"),
        (lambda: tg.addmv(*[tg.ones(2, 2)[k].long() for k in (0, slice(2), 0)], beta=0.2), TypeError, "no factors of"),
        (lambda: two.repeat_interleave(2, output_size=3), ValueError, "output_size=3, but there are 4 entries"),
        (lambda: tg.normal(two, 1.0, dtype=tg.float64), ValueError, "size, dtype and device are those of"),
        (lambda: tg.norm(two, "nuc"), TypeError, "p must be a number or 'fro'"),
    ):
        with pytest.raises(kind, match=message):
            call()


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_keys_behind_the_given_ones_are_as_if_given(masked: bool, batch_first: bool) -> None:
    """A learned key, and one of zeros, computed by hand: of one head whose projections do nothing."""
    E, T, S, B = 4, 3, 2, 2
    m = nn.MultiheadAttention(E, 1, add_bias_kv=True, add_zero_attn=True, batch_first=batch_first)
    assert sorted(dict(m.named_parameters())) == sorted(
        ["in_proj_weight", "in_proj_bias", "bias_k", "bias_v", "out_proj.weight", "out_proj.bias"]
    )
    with tg.no_grad():
        m.in_proj_weight.copy_(tg.cat([tg.eye(E)] * 3))
        m.out_proj.weight.copy_(tg.eye(E))
    q, k, v = tg.randn(B, T, E), tg.randn(B, S, E), tg.randn(B, S, E)
    mask = tg.tensor([[True, False], [False, False]]) if masked else None
    assert m.bias_k is not None
    assert m.bias_v is not None
    zeros = tg.zeros(B, 1, E)
    keys = tg.cat([k, m.bias_k.expand(B, 1, E), zeros], 1)
    values = tg.cat([v, m.bias_v.expand(B, 1, E), zeros], 1)
    seen = None if mask is None else tg.cat([~mask, tg.ones(B, 2).bool()], 1).unsqueeze(1)
    expected = F.scaled_dot_product_attention(q, keys, values, seen)
    q, k, v = (q, k, v) if batch_first else (x.transpose(0, 1) for x in (q, k, v))
    found, weights = m(q, k, v, key_padding_mask=mask)
    assert weights is not None
    assert weights.shape == (B, T, S + 2)
    assert np.allclose((found if batch_first else found.transpose(0, 1)).tolist(), expected.tolist(), atol=1e-6)
    tg.autograd.grad(found.sum(), [m.bias_v])

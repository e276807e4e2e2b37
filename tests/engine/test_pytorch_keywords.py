"""Keywords, numbers of no dimension and edges that PyTorch's own test inputs use, one line each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

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
    "scatter(reduce='add')": (lambda: LINE.scatter(0, tg.tensor([0, 0]), tg.tensor([1.0, 2.0]), reduce="add"), [4, 2, 3]),
    "scatter(number, reduce='add')": (lambda: LINE.scatter(0, tg.tensor([0, 0]), 2.0, reduce="add"), [5, 2, 3]),
    "scatter(reduce='multiply')": (lambda: LINE.scatter(0, tg.tensor([2]), 2.0, reduce="multiply"), [1, 2, 6]),
    "scatter_(reduce='add')": (lambda: LINE.clone().scatter_(0, tg.tensor([1]), 2.0, reduce="add"), [1, 4, 3]),
    "var(correction=None)": (lambda: LINE.var(correction=None), 1),
    "var(correction=0.5)": (lambda: LINE.var(correction=0.5), 0.8),
    "std(correction=-1)": (lambda: LINE.var(correction=-1), 0.5),
    "norm(-1)": (lambda: tg.norm(LINE[:2], -1), 2 / 3),
    "norm(-2) with a zero": (lambda: tg.norm(ROWS[1], -2), 0),
    "norm(None)": (lambda: tg.norm(tg.tensor([3.0, 4.0]), None), 5),
    "norm(dtype=)": (lambda: tg.norm(tg.tensor([3, 4]), dtype=tg.float64).dtype, tg.float64),
    "linspace of integers": (lambda: tg.linspace(0, 7, 50, dtype=tg.int64)[[0, 7, 28, 48, 49]], [0, 1, 4, 6, 7]),
    "linspace from an integer": (lambda: tg.linspace(4.3, 1, 3, dtype=tg.int64), [4, 2, 1]),
    "linspace between tensors": (lambda: tg.linspace(tg.tensor(0), tg.tensor(1.0), 3), [0, 0.5, 1]),
    "linspace of one": (lambda: tg.linspace(3, 5, 1), [3]),
    "arange(end=)": (lambda: tg.arange(end=3), [0, 1, 2]),
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
        (lambda: F.pad(two, (0, 1), "mirror"), ValueError, "mode takes 'constant'"),
        (lambda: F.pad(two, (0, 1), "reflect", 1.0), ValueError, "is for mode='constant'"),
        (lambda: two.take_along_dim(tg.tensor([-3]), 0), IndexError, "index -3 for a dimension of length 2"),
        (lambda: two.scatter(0, tg.tensor([0]), 1.0, reduce="amax"), ValueError, "reduce is 'add' or 'multiply'"),
        (lambda: two.scatter(0, tg.tensor([0, 0]), two, reduce="multiply"), ValueError, "two entries go to one place"),
        (lambda: two.var(unbiased=True, correction=1), TypeError, "got both unbiased=True and correction=1"),
        (lambda: two.narrow(0, -3, 1), IndexError, "narrow"),
        (lambda: two.masked_select(tg.tensor([1, 0])), TypeError, "the mask must hold booleans"),
        (lambda: tg.norm(two, "nuc"), TypeError, "p must be a number or 'fro'"),
    ):
        with pytest.raises(kind, match=message):
            call()

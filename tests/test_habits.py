"""Habits of PyTorch programs, one small test each: a name, a keyword, a way to say it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg


def like(found: Any, expected: Any) -> bool:
    """Whether a tensor has these numbers; anything else, whether it is equal."""
    if isinstance(found, tg.Tensor):
        return found.shape == np.shape(expected) and np.allclose(found.detach().numpy(), expected)
    return bool(found == expected)


ONES, TWO = tg.ones(2), tg.tensor([1.0, 2.0])
THEIRS: Any = tg  # for keywords that are PyTorch's alone, which type checkers are not told of

# what is written -> what it gives: numbers, shapes, dtypes
GIVES: dict[str, tuple[Callable[[], Any], Any]] = {
    "Tensor of lengths": (lambda: tg.Tensor(2, 3).shape, (2, 3)),
    "Tensor of one length": (lambda: tg.Tensor(3).shape, (3,)),
    "Tensor of nothing": (lambda: tg.Tensor().shape, (0,)),
    "Tensor of a size": (lambda: tg.Tensor(tg.ones(2, 3).size()).shape, (2, 3)),
    "Tensor of a tuple": (lambda: tg.Tensor((2, 3)), [2, 3]),
    "Tensor of lengths is float32": (lambda: tg.Tensor(2).dtype, tg.float32),
    "ByteTensor": (lambda: tg.ByteTensor([1, 0]).dtype, tg.uint8),
    "CharTensor": (lambda: tg.CharTensor([1, 0]).dtype, tg.int8),
    "DoubleTensor": (lambda: tg.DoubleTensor([1]).dtype, tg.float64),
    "HalfTensor": (lambda: tg.HalfTensor([1]).dtype, tg.float16),
    "IntTensor": (lambda: tg.IntTensor([1]).dtype, tg.int32),
    "ShortTensor": (lambda: tg.ShortTensor([1]).dtype, tg.int16),
    "LongTensor of lengths": (lambda: tg.LongTensor(2, 3).shape, (2, 3)),
    "isinstance of a typed tensor": (lambda: isinstance(ONES, tg.FloatTensor), True),
    "isinstance of another type": (lambda: isinstance(ONES, tg.LongTensor), False),
    "type(class)": (lambda: ONES.type(tg.LongTensor).dtype, tg.int64),
    "type(name)": (lambda: ONES.type("torch.DoubleTensor").dtype, tg.float64),
    "type(dtype)": (lambda: ONES.type(tg.int32).dtype, tg.int32),
    "type()": (lambda: ONES.long().type(), "torch.LongTensor"),
    "new of lengths": (lambda: ONES.new(3, 4).shape, (3, 4)),
    "new of numbers": (lambda: ONES.new([1, 2]).dtype, tg.float32),
    "Size": (lambda: isinstance(ONES.size(), tg.Size), True),
    "Size.numel": (lambda: tg.ones(2, 3).size().numel(), 6),
    "Size is a tuple": (lambda: tg.Size([2, 3]), (2, 3)),
    "+x": (lambda: +TWO, [1, 2]),
    "grad == None": (lambda: tg.ones(1, requires_grad=True).grad == None, True),  # noqa: E711
    "tensor == None": (lambda: ONES == None, False),  # noqa: E711
    "tensor != None": (lambda: ONES != None, True),  # noqa: E711
    "add(alpha=)": (lambda: tg.add(ONES, TWO, alpha=3), [4, 7]),
    "sub(alpha=)": (lambda: tg.sub(ONES, TWO, alpha=3), [-2, -5]),
    "x.add(alpha=)": (lambda: ONES.add(TWO, alpha=3), [4, 7]),
    "x.sub(alpha=)": (lambda: ONES.sub(TWO, alpha=3), [-2, -5]),
    "addmm(beta=, alpha=)": (lambda: tg.addmm(ONES, tg.ones(2, 2), tg.ones(2, 2), beta=2, alpha=3), [[8, 8], [8, 8]]),
    "addmm(beta=0) does not look": (
        lambda: tg.addmm(tg.tensor([tg.nan, 1]), tg.ones(2, 2), tg.ones(2, 2), beta=0), [[2, 2], [2, 2]],
    ),
    "x.addmm": (lambda: ONES.addmm(tg.ones(2, 2), tg.ones(2, 2), alpha=2), [[5, 5], [5, 5]]),
    "baddbmm": (lambda: tg.baddbmm(tg.ones(1, 1, 1), tg.ones(1, 1, 2), tg.ones(1, 2, 1), beta=2, alpha=3), [[[8]]]),
    "addmv": (lambda: tg.addmv(ONES, tg.ones(2, 2), TWO, alpha=2), [7, 7]),
    "randn(size=)": (lambda: THEIRS.randn(size=(2, 3)).shape, (2, 3)),
    "rand(size=)": (lambda: THEIRS.rand(size=(2, 3)).shape, (2, 3)),
    "zeros(size=)": (lambda: THEIRS.zeros(size=(2,)), [0, 0]),
    "ones(size=)": (lambda: THEIRS.ones(size=(2,)), [1, 1]),
    "empty(size=)": (lambda: THEIRS.empty(size=(2,)).shape, (2,)),
    "cat with an empty one": (lambda: tg.cat([tg.Tensor(), tg.ones(2, 3)]).shape, (2, 3)),
    "cat with an empty one, dim=1": (lambda: tg.cat([tg.ones(2, 3), tg.tensor([])], 1).shape, (2, 3)),
    "cat of empty ones": (lambda: tg.cat([tg.Tensor(), tg.Tensor()]).shape, (0,)),
    "cat with an empty one promotes": (lambda: tg.cat([tg.Tensor(), tg.ones(2, 3).long()]).dtype, tg.float32),
    "0-d max(0)": (lambda: tg.tensor(2.0).max(0)[0], 2),
    "0-d min(-1)": (lambda: tg.tensor(2.0).min(-1)[1], 0),
    "0-d argmax(0)": (lambda: tg.tensor(2.0).argmax(0), 0),
    "0-d sort": (lambda: tg.tensor(2.0).sort(0).values, 2),
    "0-d argsort": (lambda: tg.tensor(2.0).argsort(), 0),
    "0-d topk": (lambda: tg.tensor(2.0).topk(1)[0], 2),
    "0-d median": (lambda: tg.tensor(2.0).median(0)[0], 2),
    "0-d transpose": (lambda: tg.tensor(2.0).transpose(0, -1), 2),
    "0-d gather": (lambda: tg.tensor(2.0).gather(0, tg.tensor(0)), 2),
    "0-d index_select": (lambda: tg.tensor(2.0).index_select(0, tg.tensor([0])), 2),
    "0-d softmax": (lambda: tg.tensor(2.0).softmax(0), 1),
    "get_default_dtype": (lambda: tg.get_default_dtype(), tg.float32),
    "set_default_dtype": (lambda: tg.set_default_dtype(tg.float32), None),
    "set_default_tensor_type": (lambda: tg.set_default_tensor_type("torch.FloatTensor"), None),
    "use_deterministic_algorithms": (lambda: tg.use_deterministic_algorithms(True), None),
    "cudnn.deterministic": (lambda: setattr(tg.backends.cudnn, "deterministic", True), None),
    "cudnn.is_available": (lambda: tg.backends.cudnn.is_available(), False),
    "mps.is_available": (lambda: tg.backends.mps.is_available(), False),
}  # fmt: skip


@pytest.mark.parametrize("habit", GIVES)
def test_what_a_habit_gives(habit: str) -> None:
    given, expected = GIVES[habit]
    assert like(given(), expected)


def test_gradients_pass_numbers_and_empty_ones() -> None:
    x = tg.tensor(2.0, requires_grad=True)
    (x.max(0)[0] * 3 + x.sort(0)[0]).backward()
    assert x.grad is not None
    assert x.grad.item() == 4
    empty, full = tg.zeros(0, requires_grad=True), tg.ones(2, 2, requires_grad=True)
    (tg.cat([empty, full]) * 2).sum().backward()
    assert full.grad is not None
    assert full.grad.tolist() == [[2, 2]] * 2
    assert empty.grad is not None
    assert empty.grad.shape == (0,)


def test_switches_without_effect_say_so_once() -> None:
    from tinygrad_seq import backends

    library: Any = backends._Library("cudnn", enabled=True, benchmark=False)
    library.enabled = True
    with pytest.warns(UserWarning, match=r"backends\.cudnn: benchmark has no effect"):
        library.benchmark = True
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        library.benchmark = False
        library.enabled = False
    assert library.enabled is False
    assert tg.backends.cuda.matmul.allow_tf32 is False
    tg.backends.cuda.matmul.allow_tf32 = True
    assert tg.get_float32_matmul_precision() == "high"
    tg.backends.cuda.matmul.allow_tf32 = False


def test_threads() -> None:
    before = tg.get_num_threads()
    try:
        tg.set_num_threads(1)
        assert tg.get_num_threads() == 1
    finally:
        tg.set_num_threads(before)
    with pytest.raises(ValueError, match="a whole number from 1 on"):
        tg.set_num_threads(0)


def test_what_is_refused_says_the_way_out() -> None:
    for make, kind, message in (
        (lambda: tg.set_default_dtype(tg.float64), NotImplementedError, r"tg\.zeros\(3, dtype=tg\.float64\)"),
        (lambda: tg.set_default_tensor_type("torch.DoubleTensor"), NotImplementedError, "the default is float32"),
        (lambda: tg.set_default_tensor_type("Tensor"), TypeError, "takes an old name"),
        (lambda: tg.Tensor([1], 2), TypeError, "takes numbers in one list, or lengths"),
        (lambda: tg.Tensor(1.5, 2), TypeError, "takes numbers in one list, or lengths"),
        (lambda: tg.Tensor(-1), ValueError, "negative"),
    ):
        with pytest.raises(kind, match=message):
            make()

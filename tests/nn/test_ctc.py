"""Connectionist temporal classification: the sum over all alignments, PyTorch's numbers, extremes, what is refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nn
import nn.functional as F
import tinygrad_seq as tg

from ..profiles import one_in

d = tg.float64
REDUCTIONS = ("mean", "sum", "none")
INF = float("inf")


def reads_as(alignment: tuple[int, ...], blank: int) -> tuple[int, ...]:
    return tuple(c for c, _ in itertools.groupby(alignment) if c != blank)


def by_enumeration(log_probs: Any, target: tuple[int, ...], blank: int) -> float:
    """-log of the sum over all alignments, each written down."""
    T, C = log_probs.shape
    total = sum(
        np.exp(sum(log_probs[t, c] for t, c in enumerate(alignment)))
        for alignment in itertools.product(range(C), repeat=T)
        if reads_as(alignment, blank) == target
    )
    return float(-np.log(total)) if total > 0 else INF


@given(data=st.data())
def test_ctc_is_the_sum_over_all_alignments(data: st.DataObject) -> None:
    T, C, B = data.draw(st.integers(1, 4)), data.draw(st.integers(2, 3)), data.draw(st.integers(1, 3))
    blank = data.draw(st.integers(0, C - 1))
    label = st.integers(0, C - 1).filter(lambda c: c != blank)
    targets = [tuple(data.draw(st.lists(label, max_size=3))) for _ in range(B)]
    frames = [data.draw(st.integers(0, T)) for _ in range(B)]
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    log_probs = tg.log_softmax(tg.tensor(2 * rng.standard_normal((T, B, C))), 2).numpy().copy()
    log_probs[rng.random((T, B, C)) < 0.1] = -INF  # a class that cannot be
    expected = [by_enumeration(log_probs[:n, b], targets[b], blank) for b, n in enumerate(frames)]
    for b, n in enumerate(frames):
        log_probs[n:, b] = np.nan  # frames that do not count may hold anything
    x = tg.tensor(log_probs, requires_grad=True)
    sizes = [len(t) for t in targets]
    S = max(sizes) + data.draw(st.integers(0, 1))
    padded = np.full((B, S), data.draw(st.sampled_from([-7, blank, 99])))
    for b, target in enumerate(targets):
        padded[b, : len(target)] = target
    for given_targets in (padded, np.array([c for t in targets for c in t], dtype=int)):
        x.grad = None
        losses = F.ctc_loss(x, given_targets, frames, sizes, blank, "none")
        np.testing.assert_allclose(losses.detach().numpy(), expected, rtol=1e-12, atol=1e-12)
        finite = F.ctc_loss(x, given_targets, frames, sizes, blank, "none", zero_infinity=True)
        np.testing.assert_array_equal(finite.detach().numpy(), np.where(np.isinf(expected), 0, losses.detach().numpy()))
        finite.sum().backward()
        assert x.grad is not None
        g = x.grad.numpy()
        assert np.isfinite(g).all()
        # every alignment names one class in each frame, so the gradient of a possible target adds up to -1 there
        for b, n in enumerate(frames):
            np.testing.assert_allclose(g[:n, b].sum(1), 0 if np.isinf(expected[b]) else -1, atol=1e-12)
            assert not g[n:, b].any()


@pytest.mark.parametrize("blank", [0, 3])
@pytest.mark.parametrize("layout", ["padded", "concatenated", "unbatched"])
@pytest.mark.parametrize("zero_infinity", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_ctc(torch: Any, blank: int, layout: str, zero_infinity: bool, reduction: str) -> None:
    rng = np.random.default_rng(0)
    T, B, C, S = 12, 5, 6, 4
    sizes, frames = np.array([4, 0, 2, 3, 4]), np.array([12, 7, 10, 12, 9 if not zero_infinity else 2])
    targets = rng.choice([c for c in range(C) if c != blank], (B, S))
    targets[0] = targets[0, 0]  # the same four times: a blank must stand between any two
    z = rng.standard_normal((T, B, C))
    lengths: tuple[Any, Any] = (frames, sizes)
    if layout == "concatenated":
        targets = np.concatenate([row[:n] for row, n in zip(targets, sizes, strict=True)])
    if layout == "unbatched":
        z, targets, lengths = z[:, 0], targets[0], (frames[0], sizes[0])

    # through log_softmax, where PyTorch's gradient is that of the loss
    x, y = tg.tensor(z, requires_grad=True), torch.tensor(z, requires_grad=True)
    options: dict[str, Any] = {"blank": blank, "reduction": reduction, "zero_infinity": zero_infinity}
    ours = F.ctc_loss(F.log_softmax(x, -1), tg.tensor(targets), tg.tensor(lengths[0]), tg.tensor(lengths[1]), **options)
    theirs = torch.nn.functional.ctc_loss(
        torch.log_softmax(y, -1), torch.tensor(targets), *[torch.tensor(n) for n in lengths], **options
    )
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=0, atol=1e-10)
    weights = rng.standard_normal(ours.shape)
    (ours * tg.tensor(weights)).sum().backward()
    (theirs * torch.tensor(weights)).sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=0, atol=1e-10)


def test_ctc_far_out() -> None:
    """A long sequence, with impossible and nearly impossible classes, in float32: as in float64."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((300, 2, 5)) * 1e4
    targets, frames, sizes = [[1, 2, 2, 3], [4, 4, 0, 0]], [300, 250], [4, 2]
    found = []
    for dtype in (tg.float32, d):
        x = tg.tensor(z, dtype=dtype, requires_grad=True)
        loss = F.ctc_loss(F.log_softmax(x, 2), targets, frames, sizes)
        loss.backward()
        assert loss.dtype == dtype
        assert x.grad is not None
        assert np.isfinite(x.grad.numpy()).all()
        found.append(loss.item())
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def test_ctc_derivatives() -> None:
    x = F.log_softmax(tg.randn(5, 2, 4, dtype=d), 2)
    for reduction in REDUCTIONS:
        tg.gradcheck(lambda x, r=reduction: F.ctc_loss(x, [[1, 1], [2, 3]], [5, 4], [2, 1], reduction=r), x)
    tg.gradgradcheck(lambda z: F.ctc_loss(F.log_softmax(z, 2), [[1, 1], [2, 3]], [5, 4], [2, 2]), x)


@one_in(2)
@given(seed=st.integers(0, 99))
def test_ctc_of_a_batch_is_that_of_its_sequences(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = F.log_softmax(tg.tensor(rng.standard_normal((6, 3, 4))), 2)
    targets, sizes, frames = rng.integers(1, 4, (3, 3)), rng.integers(0, 4, 3), rng.integers(3, 7, 3)
    together = F.ctc_loss(x, targets, frames, sizes, reduction="none")
    for b in range(3):
        alone = F.ctc_loss(x[:, b], targets[b, : sizes[b]], frames[b], sizes[b], reduction="none")
        assert alone.shape == ()
        np.testing.assert_allclose(together[b].item(), alone.item(), rtol=1e-13)
    each = [n / max(size, 1) for n, size in zip(together.tolist(), sizes.tolist(), strict=True)]
    np.testing.assert_allclose(F.ctc_loss(x, targets, frames, sizes).item(), np.mean(each), rtol=1e-13)


def test_ctc_module() -> None:
    x = F.log_softmax(tg.randn(4, 1, 3), 2)
    module = nn.CTCLoss(2, "sum", True)
    assert module(x, [[1, 0]], [4], [2]).item() == F.ctc_loss(x, [[1, 0]], [4], [2], 2, "sum").item()
    assert module(x, [[1, 1]], [2], [2]).item() == 0
    assert repr(module) == "CTCLoss(blank=2, reduction='sum', zero_infinity=True)"


X: Any = np.ones((3, 2, 4), np.float32)
H = tg.tensor(X, device="cpu")  # where numbers are looked at: a GPU would have to be waited for
MISTAKES: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (
        lambda: F.ctc_loss(X, [[1], [2]], [3], [1, 1]),
        ValueError,
        r"input_lengths has shape \(1,\).*one for each.*\(2,\)",
    ),
    (lambda: F.ctc_loss(X, [[1], [2]], [3, 4], [1, 1]), ValueError, "input_lengths holds 4, .* from 0 to 3"),
    (lambda: F.ctc_loss(X, [[1], [2]], [3, -1], [1, 1]), ValueError, "input_lengths holds -1"),
    (lambda: F.ctc_loss(X, [[1], [2]], [3.0, 1.0], [1, 1]), TypeError, "ctc_loss: input_lengths.* float32"),
    (lambda: F.ctc_loss(X, [[1], [2]], [3, 3], [1, 2]), ValueError, "target_lengths holds 2, .* from 0 to 1"),
    (lambda: F.ctc_loss(X, [[1], [2]], [3, 3], [1]), ValueError, "target_lengths has shape"),
    (lambda: F.ctc_loss(X, [1, 2, 3], [3, 3], [1, 1]), ValueError, "add up to 2, but there are 3"),
    (lambda: F.ctc_loss(X, [[1], [2], [3]], [3, 3], [1, 1]), ValueError, r"targets has shape \(3, 1\); takes \(2, S\)"),
    (lambda: F.ctc_loss(X, [[1.0], [2.0]], [3, 3], [1, 1]), TypeError, "ctc_loss: the targets.* float32"),
    (lambda: F.ctc_loss(H, [[1], [4]], [3, 3], [1, 1]), IndexError, "ctc_loss: a target class is 4"),
    (lambda: F.ctc_loss(H, [[1], [-1]], [3, 3], [1, 1], 3), IndexError, "ctc_loss: a target class is -1"),
    (lambda: F.ctc_loss(H, [[1], [0]], [3, 3], [1, 1]), ValueError, "ctc_loss: a target is 0, the blank"),
    (lambda: F.ctc_loss(X, [[1], [2]], [3, 3], [1, 1], 4), IndexError, "blank=4 is not one of the 4 classes: 0 to 3"),
    (
        lambda: F.ctc_loss(X[0, 0], [[1], [2]], [3, 3], [1, 1]),
        ValueError,
        r"log_probs has shape \(4,\); takes \(T, B, C\)",
    ),
    (lambda: F.ctc_loss(X, [[1], [2]], [3, 3], [1, 1], reduction="max"), ValueError, "ctc_loss: reduction takes"),
]


@pytest.mark.parametrize(("call", "kind", "words"), MISTAKES, ids=[words for *_, words in MISTAKES])
def test_mistakes_are_explained(call: Callable[[], Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        call()

"""Connectionist temporal classification: the loss of a labelling whose places in time are not known."""

from __future__ import annotations

from math import inf
from typing import Any

import tinygrad_seq as tg
from tinygrad_seq import Tensor
from tinygrad_seq.graph.tracing_hook import require, varies

from .checks import floating, reduced, reduction_of, require_classes, require_integers


def ctc_loss(
    log_probs: Tensor,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """-log of the probability of all alignments of T frames that read as the target. log_probs (T, B, C) -> (B,).

    An alignment names a class for each frame; it reads as what is left when repetitions are merged and then blanks
    dropped. Graves et al., "Connectionist temporal classification", 2006: with l the labels of the target with a blank
    before, between and after them, and α the log-probability of all ways to be at place s of l after t frames,

        α_t(s) = log_probs_t(l_s) + log(exp α_{t-1}(s) + exp α_{t-1}(s - 1) + [l_s is new] exp α_{t-1}(s - 2)),

    where l_s is new if it is not l_{s-2} (as a blank always is). The gradient is the derivative of this by log_probs.
    (PyTorch's differs by exp(log_probs), which has no effect through log_softmax.) It is 0 for an infinite loss.

    Args:
        log_probs: (T, B, C), or (T, C) without a batch.
        targets: classes other than blank: (B, S), of which the first target_lengths of a row count, or all of the batch
            one after another, (sum of target_lengths,).
        input_lengths: (B,), how many of the frames count, 0 to T.
        target_lengths: (B,), how many of the labels.
        blank: the class that stands for no label.
        reduction: "mean" over the batch, each loss divided by the length of its target, "sum", or "none".
        zero_infinity: count the loss of a target for which there are too few frames as 0 instead of inf.

    Raises:
        ValueError: if a shape or length does not fit, or a target is a blank.
        IndexError: if a target or blank is not one of the C classes.
        TypeError: if targets or lengths are not integers.
    """
    name = "ctc_loss"
    reduction = reduction_of(name, reduction)
    log_probs = floating(name, "log_probs", log_probs)
    if log_probs.ndim not in (2, 3):
        raise ValueError(f"{name}: log_probs has shape {log_probs.shape}; takes (T, B, C), or (T, C) without a batch")
    batched = log_probs.ndim == 3
    log_probs = log_probs if batched else log_probs.unsqueeze(1)
    T, _, C = log_probs.shape
    if not 0 <= blank < C:
        raise IndexError(f"{name}: blank={blank} is not one of the {C} classes: 0 to {C - 1}")
    frames = _lengths("input_lengths", input_lengths, log_probs, T, f"log_probs of {T} frames")
    labels, sizes = _labels(targets, target_lengths, log_probs, blank)
    losses = _forward(log_probs, labels, frames, sizes, blank)
    if zero_infinity:
        losses = tg.where(losses == inf, 0.0, losses)
    losses = losses if batched else losses.squeeze(0)
    if reduction == "mean":
        counts = sizes.clamp(min=1).to(log_probs.dtype)
        losses = losses / (counts if batched else counts.squeeze(0))
    return reduced(losses, reduction)


def _forward(log_probs: Tensor, labels: Tensor, lengths: Tensor, sizes: Tensor, blank: int) -> Tensor:
    """log_probs (T, B, C), labels (B, S) with blanks where a target is over, lengths and sizes (B,) -> (B,)."""
    T, B, _ = log_probs.shape
    L = 2 * labels.shape[1] + 1
    blanks = tg.full((B, labels.shape[1]), blank, dtype=tg.int64, device=log_probs.device)
    places = tg.stack([blanks, labels], dim=2).reshape(B, L - 1)
    places = tg.cat([places, tg.full((B, 1), blank, dtype=tg.int64, device=log_probs.device)], dim=1)
    new = places != tg.cat([places[:, :2], places], dim=1)[:, :L]  # not that of s - 2; the first two have none
    counts = tg.arange(T, device=log_probs.device).reshape(T, 1, 1) < lengths.reshape(B, 1)
    # what stands in frames that do not count must not get into a gradient, not even as 0 · nan
    emissions = tg.where(counts, log_probs.take_along_dim(places.unsqueeze(0), 2), 0.0)
    nowhere = log_probs.new_full((B, 2), -inf)
    first = tg.arange(L, device=log_probs.device) == 0
    alpha = tg.where(first, log_probs.new_zeros(B, L), -inf)  # before any frame, before any label
    alphas = [alpha]
    for emission in emissions.unbind(0):
        before = tg.cat([nowhere, alpha], dim=1)
        ways = [alpha, before[:, 1:-1], tg.where(new, before[:, :-2], -inf)]
        alpha = tg.logsumexp(tg.stack(ways), 0) + emission
        alphas.append(alpha)
    rows = tg.arange(B, device=log_probs.device)
    last = tg.stack(alphas)[lengths, rows]  # (B, L), when all frames have been read
    after = last[rows, 2 * sizes]
    label = tg.where(sizes > 0, last[rows, (2 * sizes - 1).clamp(min=0)], -inf)
    return -tg.logsumexp(tg.stack([after, label]), 0)


def _lengths(what: str, lengths: Any, log_probs: Tensor, most: int, has: str) -> Tensor:
    """The lengths: (B,) integers, from 0 to `most`."""
    B = log_probs.shape[1]
    given = tg.as_tensor(lengths)
    require_integers("ctc_loss", what, given)
    if given.numel() != B or given.ndim > 1:
        raise ValueError(f"ctc_loss: {what} has shape {given.shape}; takes one for each sequence of the batch: ({B},)")

    def check(numbers: Any) -> None:
        for n in numbers.tolist():
            if not 0 <= n <= most:
                raise ValueError(f"ctc_loss: {what} holds {n}, but must be from 0 to {most}, there being {has}")

    given = given.reshape(-1)
    require(check, given)
    return given.to(dtype=tg.int64, device=log_probs.device)


def _labels(targets: Any, target_lengths: Any, log_probs: Tensor, blank: int) -> tuple[Tensor, Tensor]:
    """The targets as (B, S), S the largest length if it is known, blanks after the end of each; and the lengths."""
    _, B, C = log_probs.shape
    targets = tg.as_tensor(targets).to(device=log_probs.device)
    if targets.numel():
        require_integers("ctc_loss", "the targets", targets)
    if targets.ndim not in (1, 2) or (targets.ndim == 2 and targets.shape[0] != B):
        raise ValueError(
            f"ctc_loss: targets has shape {targets.shape}; takes ({B}, S), or those of the whole batch one "
            "after another"
        )
    row = targets.shape[-1]
    sizes = _lengths("target_lengths", target_lengths, log_probs, row, f"targets of shape {targets.shape}")

    def check_sum(numbers: Any) -> None:
        if int(numbers.sum()) != row:
            raise ValueError(
                f"ctc_loss: target_lengths add up to {int(numbers.sum())}, but there are {row} targets one after "
                "another; targets with padding take shape (B, S)"
            )

    if targets.ndim == 1:
        require(check_sum, sizes)
    S = row if varies(sizes) else max(sizes.tolist(), default=0)
    starts = sizes.cumsum(0) - sizes if targets.ndim == 1 else tg.arange(B, device=targets.device) * row
    places = tg.arange(S, device=targets.device)
    inside = places < sizes.reshape(B, 1)
    flat = tg.where(inside, places + starts.reshape(B, 1), 0)
    labels = targets.reshape(-1).long()[flat]
    checked = tg.where(inside, labels, 0 if blank else C - 1)
    require_classes("ctc_loss", "a target class", checked, C)

    def check(found: Any) -> None:
        if bool(found.any()):
            raise ValueError(f"ctc_loss: a target is {blank}, the blank; it stands for no label; set blank= to another")

    if labels.device.type == "cpu":
        require(check, (labels == blank) & inside)
    return tg.where(inside, labels, blank), sizes

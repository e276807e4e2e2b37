"""Losses: how far the input is from the target, as one number (or, with reduction="none", one for each target)."""

from __future__ import annotations

import math
from typing import Any

import tinygrad_seq as tg
from tinygrad_seq import Tensor, log_softmax
from tinygrad_seq.graph.tracing_hook import require, tracers

from .checks import (
    floating,
    in_float32,
    pair,
    reduced,
    reduction_of,
    require_classes,
    require_integers,
    target_for,
    weight_for,
)

# --- classes ---


def cross_entropy(
    input: Tensor,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log softmax(input)[target], in nats. input (N, C) and target (N,), (N, C, ...) and (N, ...), or (C,) and ().

    Or with probabilities as the target, of the input's shape: -Σ_c target_c log softmax(input)_c.

    Args:
        input: scores of the C classes, along dimension 1.
        target: class numbers, or floating-point class probabilities.
        weight: (C,), a factor for the loss of each class. The mean is divided by the factors of the target classes.
        ignore_index: targets of this number do not count, in the sum or in the mean, and their scores get the gradient
            0 whatever they are (PyTorch: nan if they are nan). If all are ignored, the mean is nan. With class numbers
            only.
        reduction: "mean" over all targets that count, "sum", or "none".
        label_smoothing: this share of the target goes to all classes equally (Szegedy et al., 2016).

    Raises:
        ValueError: if the shapes do not fit, or a setting is none of these.
        IndexError: if a target is not one of the C classes.
        TypeError: if the targets are neither integers nor probabilities.
    """
    name = "cross_entropy"
    reduction = reduction_of(name, reduction, size_average, reduce)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{name}: label_smoothing is a share from 0 to 1, got {label_smoothing}")
    input = floating(name, "input", input)
    dim = _class_dim(name, input)
    C = input.shape[dim]
    target = target_for(input, target)
    weight = weight_for(name, "weight", weight, input, C)
    of_class = None if weight is None else weight.reshape(C, *[1] * (input.ndim - 1 - dim))
    if target.shape == input.shape:
        if target.dtype.kind not in "fc":
            raise TypeError(
                f"{name}: a target of the input's shape {input.shape} holds class probabilities, which must be "
                f"floating-point, got {target.dtype}; convert them with .float(), or give class numbers"
            )
        if ignore_index >= 0:
            raise ValueError(f"{name}: ignore_index={ignore_index} is for class numbers, got class probabilities")
        share = target * (1 - label_smoothing) + label_smoothing / C if label_smoothing else target
        log_p = log_softmax(input, dim)
        log_p = log_p if of_class is None else log_p * of_class
        return reduced(-(log_p * share).sum(dim), reduction)
    target, kept = _targets(name, input, target, dim, ignore_index)
    if kept is not None:  # whose scores may be anything
        input = tg.where(kept.unsqueeze(dim), input, 0.0)
    log_p = log_softmax(input, dim)
    losses, counts = _picked(log_p, target, dim, weight, kept)
    if label_smoothing:
        of_all = -(log_p if of_class is None else log_p * of_class).sum(dim)
        of_all = of_all if kept is None else tg.where(kept, of_all, 0.0)
        losses = losses * (1 - label_smoothing) + of_all * (label_smoothing / C)
    return reduced(losses, reduction, counts)


def nll_loss(
    input: Tensor,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Minus the log-probability of the target classes, in nats. (N, C) and (N,), (N, C, ...) and (N, ...), (C,) and ().

    Args:
        input: log-probabilities of the C classes, along dimension 1.
        target: class numbers.
        weight, ignore_index, reduction: as in `cross_entropy`, which also says what is raised.
    """
    reduction = reduction_of("nll_loss", reduction, size_average, reduce)
    input = floating("nll_loss", "input", input)
    dim = _class_dim("nll_loss", input)
    weight = weight_for("nll_loss", "weight", weight, input, input.shape[dim])
    target, kept = _targets("nll_loss", input, target_for(input, target), dim, ignore_index)
    losses, counts = _picked(input, target, dim, weight, kept)
    return reduced(losses, reduction, counts)


def _class_dim(name: str, input: Tensor) -> int:
    if input.ndim == 0:
        raise ValueError(f"{name}: input has no dimensions; takes scores of C classes: (N, C), (N, C, ...) or (C,)")
    return 1 if input.ndim > 1 else 0


def _targets(name: str, input: Tensor, target: Tensor, dim: int, ignore_index: int) -> tuple[Tensor, Tensor | None]:
    """The target classes, checked, and which of them count: None says that all do. Of those that do not, class 0."""
    shape = input.shape
    if target.shape != shape[:dim] + shape[dim + 1 :]:
        raise ValueError(
            f"{name}: scores of shape {shape} take targets {shape[:dim] + shape[dim + 1 :]}, not {target.shape}. "
            "The classes are dimension 1: flatten time and batch first, as in scores.reshape(-1, V), target.reshape(-1)"
        )
    also = f", or class probabilities of shape {shape}" if name == "cross_entropy" else ""
    require_integers(name, f"the target of shape {target.shape} holds class numbers{also}", target)
    kept = None
    # asking a GPU would wait for it, and a recording could not follow the answer
    if target.device.type != "cpu" or tracers or bool((target == ignore_index).any()):
        kept = target != ignore_index
        target = tg.where(kept, target, 0)
    require_classes(name, "a target class", target, shape[dim])
    return target, kept


def _picked(
    log_p: Tensor, target: Tensor, dim: int, weight: Tensor | None, kept: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The loss of each target, and how much it counts in a mean: None says that all count 1."""
    losses = -log_p.gather(dim, target.unsqueeze(dim)).squeeze(dim)
    if kept is not None:
        losses = tg.where(kept, losses, 0.0)
    if weight is None:
        return losses, None if kept is None else kept.to(log_p.dtype)
    factors = weight[target.long()]  # uint8 would be a mask
    return losses * factors, factors if kept is None else tg.where(kept, factors, 0.0)


# --- yes or no ---


def binary_cross_entropy(
    input: Tensor,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-(t log x + (1 - t) log(1 - x)), element by element. `binary_cross_entropy_with_logits` is the accurate one.

    As in PyTorch, a logarithm is no less than -100, and the gradient is (x - t) / max(x (1 - x), 10⁻¹²).

    Args:
        input: probabilities x, from 0 to 1.
        target: t, of the same shape.
        weight: factors, which broadcast to that shape.
        reduction: "mean" over all elements, "sum", or "none".

    Raises:
        ValueError: if the shapes do not fit, or an x is not from 0 to 1.
    """
    name = "binary_cross_entropy"
    reduction = reduction_of(name, reduction, size_average, reduce)
    input, target = pair(name, input, target)

    def check(p: Any) -> None:
        if not bool(((p >= 0) & (p <= 1)).all()):
            raise ValueError(
                f"{name}: input must be probabilities from 0 to 1; for scores there is binary_cross_entropy_with_logits"
            )

    if input.device.type == "cpu":
        require(check, input)
    weight = weight_for(name, "weight", weight, input)
    losses = _binary_cross_entropy(input, target)
    return reduced(losses if weight is None else losses * weight, reduction)


@in_float32
def _binary_cross_entropy(input: Tensor, target: Tensor) -> Tensor:
    edge = input * (1.0 - input) <= 1e-12
    x = tg.where(edge, input.detach(), input)
    never, surely = x <= math.exp(-100), 1.0 - x <= math.exp(-100)
    log_x = tg.where(never, -100.0, tg.where(never, 1.0, x).log())
    log_not_x = tg.where(surely, -100.0, tg.log1p(-tg.where(surely, 0.0, x)))
    bowl = (0.5 * input - target.detach()) * tg.where(edge, input, 0.0) * 1e12  # there the slope of this one counts
    return -(target * log_x + (1.0 - target) * log_not_x) + (bowl - bowl.detach())


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Any,
    weight: Any = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Tensor:
    """-(p t log σ(x) + (1 - t) log σ(-x)), element by element, with σ the sigmoid; accurate however large x is.

    Args:
        input: scores x.
        target: t, of the same shape: 1 for yes, 0 for no, or something in between.
        weight: factors, which broadcast to that shape.
        reduction: "mean" over all elements, "sum", or "none".
        pos_weight: p, a factor of the yes, which broadcasts to that shape: with more than 1, more is found.

    Raises:
        ValueError: if the shapes do not fit.
    """
    name = "binary_cross_entropy_with_logits"
    reduction = reduction_of(name, reduction, size_average, reduce)
    input, target = pair(name, input, target)
    weight = weight_for(name, "weight", weight, input)
    pos_weight = weight_for(name, "pos_weight", pos_weight, input)
    positive = target if pos_weight is None else target * pos_weight
    losses = positive * tg.softplus(-input) + (1.0 - target) * tg.softplus(input)  # -log σ(x) is softplus(-x)
    return reduced(losses if weight is None else losses * weight, reduction)


# --- numbers ---


def mse_loss(
    input: Tensor, target: Any, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Tensor:
    """(x - t)², element by element. Both of one shape; reduction "mean" over all elements, "sum", or "none"."""
    reduction = reduction_of("mse_loss", reduction, size_average, reduce)
    input, target = pair("mse_loss", input, target)
    difference = input - target
    return reduced(difference * difference, reduction)


def l1_loss(
    input: Tensor, target: Any, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Tensor:
    """|x - t|, element by element. Both of one shape; reduction "mean" over all elements, "sum", or "none"."""
    reduction = reduction_of("l1_loss", reduction, size_average, reduce)
    input, target = pair("l1_loss", input, target)
    return reduced((input - target).abs(), reduction)


def huber_loss(input: Tensor, target: Any, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """d²/2 for d = x - t up to delta, beyond that the straight line delta (|d| - delta/2) (Huber, 1964).

    Both of one shape; reduction "mean" over all elements, "sum", or "none".

    Raises:
        ValueError: if delta is not positive.
    """
    reduction = reduction_of("huber_loss", reduction)
    if not delta > 0:
        raise ValueError(f"huber_loss: delta must be positive, got {delta}")
    input, target = pair("huber_loss", input, target)
    return reduced(_huber(input - target, delta), reduction)


def smooth_l1_loss(
    input: Tensor,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """d²/2beta for d = x - t up to beta, beyond that |d| - beta/2; with beta=0, `l1_loss` (Girshick, 2015).

    Both of one shape; reduction "mean" over all elements, "sum", or "none".

    Raises:
        ValueError: if beta is negative.
    """
    reduction = reduction_of("smooth_l1_loss", reduction, size_average, reduce)
    if not beta >= 0:
        raise ValueError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    input, target = pair("smooth_l1_loss", input, target)
    difference = input - target
    return reduced(_huber(difference, beta) / beta if beta else difference.abs(), reduction)


def _huber(d: Tensor, delta: float) -> Tensor:
    """q (d - q/2), with q the d cut off at ±delta: d²/2 within, delta (|d| - delta/2) beyond, and no branch."""
    q = d.clamp(-delta, delta)
    return q * (d - 0.5 * q)


# --- distributions ---


def kl_div(
    input: Tensor,
    target: Any,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """t (log t - x), element by element: over all classes, the Kullback–Leibler divergence of two distributions.

    Where t is 0 so are the loss and its gradient, also if x is -inf (PyTorch: nan).

    Args:
        input: log-probabilities x.
        target: probabilities t, of the same shape; with log_target their logarithms.
        reduction: "batchmean", the sum divided by the length of the first dimension, is the divergence; "mean" over all
            elements, "sum", or "none".

    Raises:
        ValueError: if the shapes do not fit.
    """
    reduction = reduction_of("kl_div", reduction, size_average, reduce, "batchmean")
    input, target = pair("kl_div", input, target)
    zero = target == (-math.inf if log_target else 0.0)
    safe = tg.where(zero, 0.0 if log_target else 1.0, target)
    p, log_p = (safe.exp(), safe) if log_target else (safe, safe.log())
    losses = tg.where(zero, 0.0, p * (log_p - tg.where(zero, 0.0, input)))
    if reduction != "batchmean":
        return reduced(losses, reduction)
    if input.ndim == 0 or input.shape[0] == 0:
        raise ValueError(f"kl_div: 'batchmean' divides by the length of dimension 0, but input has shape {input.shape}")
    return losses.sum() / float(input.shape[0])

"""Losses beside PyTorch's: the same values and gradients for every setting."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pytest

import nn.functional as F
import tinygrad_seq as tg

from .test_losses import INF, REDUCTIONS, d


def compare(torch: Any, name: str, arrays: list[Any], constants: tuple[Any, ...] = (), **options: Any) -> None:
    """The same values and gradients of `arrays` as PyTorch, under random cotangents."""
    ours = [tg.tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    given = [options, dict(options)]
    for key, value in options.items():
        if isinstance(value, np.ndarray):
            given[0][key], given[1][key] = tg.tensor(value), torch.tensor(value)
    y = getattr(F, name)(*ours, *[tg.tensor(c) for c in constants], **given[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # kl_div's mean warns, and is what it is
        y_torch = getattr(torch.nn.functional, name)(*theirs, *[torch.tensor(c) for c in constants], **given[1])
    np.testing.assert_allclose(y.detach().numpy(), y_torch.detach().numpy(), rtol=0, atol=1e-10)
    weights = np.random.default_rng(1).standard_normal(y.shape)
    (y * tg.tensor(weights)).sum().backward()
    (y_torch * torch.tensor(weights)).sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        assert a.grad is not None
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=0, atol=1e-10)


SHAPES = [(4,), (5, 4), (5, 4, 3), (2, 4, 3, 2)]


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignore", [None, -100, 1])
def test_class_numbers(torch: Any, name: str, shape: tuple[int, ...], weighted: bool, ignore: int | None) -> None:
    rng = np.random.default_rng(0)
    z = 3 * rng.standard_normal(shape)
    target = rng.integers(0, 4, shape[:1] + shape[2:] if len(shape) > 1 else ())
    if ignore is not None:
        target = np.where(rng.random(target.shape) < 0.4, ignore, target)
        target.reshape(-1)[0] = 2  # one at least counts
    smoothings = (0.0, 0.2, 1.0) if name == "cross_entropy" else (None,)
    for reduction, smoothing in itertools.product(REDUCTIONS, smoothings):
        options: dict[str, Any] = {"reduction": reduction} | ({"weight": rng.random(4) + 0.1} if weighted else {})
        options |= {} if ignore is None else {"ignore_index": ignore}
        options |= {} if smoothing is None else {"label_smoothing": smoothing}
        compare(torch, name, [z], (target,), **options)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_class_probabilities(torch: Any, shape: tuple[int, ...], weighted: bool, smoothing: float) -> None:
    rng = np.random.default_rng(0)
    z, target = 3 * rng.standard_normal(shape), rng.random(shape)
    for reduction in REDUCTIONS:
        weight: dict[str, Any] = {"weight": rng.random(4) + 0.1} if weighted else {}
        compare(torch, "cross_entropy", [z, target], reduction=reduction, label_smoothing=smoothing, **weight)


SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("mse_loss", {}),
    ("l1_loss", {}),
    *[("smooth_l1_loss", {"beta": beta}) for beta in (0.0, 0.3, 1.0, 2.5)],
    *[("huber_loss", {"delta": delta}) for delta in (0.3, 1.0, 2.5)],
]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("name", "options"), SETTINGS)
def test_numbers(torch: Any, name: str, options: dict[str, Any], reduction: str) -> None:
    rng = np.random.default_rng(0)
    x, t = 2 * rng.standard_normal((2, 3, 4, 5))
    t[0] = x[0]  # exactly on target
    compare(torch, name, [x, t], reduction=reduction, **options)
    compare(torch, name, [x[1, 1, 1], t[1, 1, 1]], reduction=reduction, **options)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weight", [None, (3, 4), (4,), (3, 1)])
def test_yes_or_no(torch: Any, reduction: str, weight: Any) -> None:
    rng = np.random.default_rng(0)
    z, t = 5 * rng.standard_normal((3, 4)), rng.random((3, 4))
    t[0], t[1] = 0, 1
    z[2, :2] = -12, 12
    options: dict[str, Any] = {"reduction": reduction} | ({} if weight is None else {"weight": rng.random(weight)})
    compare(torch, "binary_cross_entropy", [1 / (1 + np.exp(-z)), t], **options)
    for pos_weight in (None, rng.random(4) * 3, np.array(2.5)):
        more: dict[str, Any] = {} if pos_weight is None else {"pos_weight": pos_weight}
        compare(torch, "binary_cross_entropy_with_logits", [z, t], **options, **more)


def test_a_certain_mistake_costs_a_hundred(torch: Any) -> None:
    x, t = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.0, 1.0])
    ours = F.binary_cross_entropy(tg.tensor(x), tg.tensor(t), reduction="none")
    assert ours.tolist() == [0, 100, 100, 0]
    theirs = torch.nn.functional.binary_cross_entropy(torch.tensor(x), torch.tensor(t), reduction="none")
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    x32 = tg.tensor(x, dtype=tg.float32, requires_grad=True)
    F.binary_cross_entropy(x32, t).backward()
    assert x32.grad is not None
    assert np.isfinite(x32.grad.numpy()).all()


@pytest.mark.parametrize("reduction", [*REDUCTIONS, "batchmean"])
@pytest.mark.parametrize("log_target", [False, True])
def test_divergence(torch: Any, reduction: str, log_target: bool) -> None:
    rng = np.random.default_rng(0)
    x, t = (tg.log_softmax(tg.tensor(a), 1).numpy() for a in rng.standard_normal((2, 3, 4)))
    compare(torch, "kl_div", [x, t if log_target else np.exp(t)], reduction=reduction, log_target=log_target)
    if not log_target:
        holes = np.where(rng.random(t.shape) < 0.5, 0.0, np.exp(t))
        compare(torch, "kl_div", [x], (holes,), reduction=reduction)


def test_divergence_where_there_is_no_probability() -> None:
    x = tg.tensor([-INF, -0.5, -INF], dtype=d, requires_grad=True)
    for log_target, t in ((False, [0.0, 1.0, 0.0]), (True, [-INF, 0.0, -INF])):
        x.grad = None
        loss = F.kl_div(x, tg.tensor(t, dtype=d), reduction="sum", log_target=log_target)
        loss.backward()
        assert loss.item() == 0.5
        assert x.grad is not None
        assert x.grad.tolist() == [0, -1, 0]
    assert F.kl_div(x.detach(), tg.tensor([0.5, 0.5, 0.0], dtype=d), reduction="sum").item() == INF

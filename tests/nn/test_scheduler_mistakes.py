"""Mistakes with schedulers, in plain words."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg
from nn.optim import lr_scheduler

from .test_schedulers import RESUMING, follow, ours


@pytest.mark.parametrize("name", RESUMING)
@pytest.mark.parametrize("last_epoch", [0, 4])
def test_a_fresh_optimizer_cannot_go_on(name: str, last_epoch: int) -> None:
    optimizer = ours()
    before = [dict(group) for group in optimizer.param_groups]
    with pytest.raises(KeyError, match=rf"{name}: param 'initial_lr' is not specified in param_groups\[0\]"):
        RESUMING[name](lr_scheduler, optimizer, last_epoch)
    assert [dict(group) for group in optimizer.param_groups] == before


def test_stepping_in_the_right_order_is_no_mistake() -> None:
    for kind in ("Adam", "LBFGS"):
        p = tg.ones(1, requires_grad=True)
        optimizer = getattr(nn.optim, kind)([p], lr=0.1)
        scheduler = lr_scheduler.StepLR(optimizer, 1)

        def closure(p: tg.Tensor = p) -> tg.Tensor:
            loss = (p**2).sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        scheduler.step()
        np.testing.assert_allclose(scheduler.get_last_lr(), [0.01])


def test_stepping_in_the_wrong_order_is_noticed() -> None:
    optimizer = ours()
    scheduler = lr_scheduler.StepLR(optimizer, 2)
    with pytest.warns(UserWarning, match=r"StepLR: step\(\) before the optimizer's first step\(\)"):
        scheduler.step()
    scheduler.step()


OPTIMIZER = ours()
MISTAKES: list[tuple[str, type[Exception], Callable[[], Any]]] = [
    ("StepLR: takes an optimizer, got a list", TypeError, lambda: lr_scheduler.StepLR([], 1)),  # type: ignore[arg-type]
    ("LRScheduler does not say", NotImplementedError, lambda: lr_scheduler.LRScheduler(OPTIMIZER)),
    ("StepLR: step_size must be a whole number", ValueError, lambda: lr_scheduler.StepLR(OPTIMIZER, 0)),
    (
        "StepLR: gamma must be a number from 0 on, got nan",
        ValueError,
        lambda: lr_scheduler.StepLR(OPTIMIZER, 1, math.nan),
    ),
    ("MultiStepLR: gamma must be", ValueError, lambda: lr_scheduler.MultiStepLR(OPTIMIZER, [1], -1)),
    ("ExponentialLR: gamma must be", ValueError, lambda: lr_scheduler.ExponentialLR(OPTIMIZER, math.inf)),
    ("ConstantLR: factor must be from 0 to 1, got 2", ValueError, lambda: lr_scheduler.ConstantLR(OPTIMIZER, 2)),
    ("ConstantLR: total_iters must be", ValueError, lambda: lr_scheduler.ConstantLR(OPTIMIZER, 1, 0)),
    ("LinearLR: start_factor must be above 0", ValueError, lambda: lr_scheduler.LinearLR(OPTIMIZER, 0)),
    ("LinearLR: end_factor must be from 0 to 1", ValueError, lambda: lr_scheduler.LinearLR(OPTIMIZER, 1, 2)),
    ("CosineAnnealingLR: T_max must be", ValueError, lambda: lr_scheduler.CosineAnnealingLR(OPTIMIZER, -1)),
    ("CosineAnnealingLR: eta_min must be", ValueError, lambda: lr_scheduler.CosineAnnealingLR(OPTIMIZER, 1, -1)),
    (
        "LambdaLR: lr_lambda must be one for all or a list of 2",
        ValueError,
        lambda: lr_scheduler.LambdaLR(OPTIMIZER, []),
    ),
    ("LambdaLR: lr_lambda must be a function", TypeError, lambda: lr_scheduler.LambdaLR(OPTIMIZER, 0.5)),  # type: ignore[arg-type]
    (
        "CosineAnnealingWarmRestarts: T_mult must be",
        ValueError,
        lambda: lr_scheduler.CosineAnnealingWarmRestarts(OPTIMIZER, 1, 0),
    ),
    (
        "CosineAnnealingWarmRestarts: epoch must be a number from 0 on, got -1",
        ValueError,
        lambda: lr_scheduler.CosineAnnealingWarmRestarts(OPTIMIZER, 1).step(-1),
    ),
    ("OneCycleLR: takes total_steps, or both", ValueError, lambda: lr_scheduler.OneCycleLR(OPTIMIZER, 1.0, epochs=1)),
    ("OneCycleLR: total_steps must be", ValueError, lambda: lr_scheduler.OneCycleLR(OPTIMIZER, 1.0, 0)),
    ("OneCycleLR: max_lr must be one for all", ValueError, lambda: lr_scheduler.OneCycleLR(OPTIMIZER, [1.0], 9)),
    ("OneCycleLR: pct_start", ValueError, lambda: lr_scheduler.OneCycleLR(OPTIMIZER, 1.0, 9, pct_start=2)),
    (
        "OneCycleLR: anneal_strategy must be 'cos' or 'linear', got 'sin'",
        ValueError,
        lambda: lr_scheduler.OneCycleLR(OPTIMIZER, 1.0, 9, anneal_strategy="sin"),
    ),
    (
        "OneCycleLR: Adagrad has neither betas nor momentum",
        ValueError,
        lambda: lr_scheduler.OneCycleLR(ours("Adagrad"), 1.0, 9),
    ),
    ("SequentialLR: takes schedulers and milestones", ValueError, lambda: lr_scheduler.SequentialLR(OPTIMIZER, [], [])),
    (
        "SequentialLR: its StepLR belongs to another optimizer",
        ValueError,
        lambda: lr_scheduler.SequentialLR(OPTIMIZER, [lr_scheduler.StepLR(ours(), 1)], []),
    ),
    (
        "SequentialLR: takes schedulers that need no loss, got a ReduceLROnPlateau",
        ValueError,
        lambda: lr_scheduler.SequentialLR(OPTIMIZER, [lr_scheduler.ReduceLROnPlateau(OPTIMIZER)], []),
    ),
    ("ReduceLROnPlateau: mode", ValueError, lambda: lr_scheduler.ReduceLROnPlateau(OPTIMIZER, "up")),
    ("ReduceLROnPlateau: factor", ValueError, lambda: lr_scheduler.ReduceLROnPlateau(OPTIMIZER, factor=1.0)),
    (
        "ReduceLROnPlateau: threshold_mode",
        ValueError,
        lambda: lr_scheduler.ReduceLROnPlateau(OPTIMIZER, threshold_mode="x"),
    ),
    (
        "ReduceLROnPlateau: min_lr must be one for all or a list of 2, one for each group of the optimizer, got 3",
        ValueError,
        lambda: lr_scheduler.ReduceLROnPlateau(OPTIMIZER, min_lr=[0.0] * 3),
    ),
    (
        "SequentialLR: load_state_dict takes states of 1 schedulers, got 0",
        ValueError,
        lambda: lr_scheduler.SequentialLR(OPTIMIZER, [lr_scheduler.StepLR(OPTIMIZER, 1)], []).load_state_dict(
            {"last_epoch": 0, "base_lrs": [], "_last_lr": [], "milestones": [], "schedulers": []}
        ),
    ),
    (
        r"StepLR: load_state_dict takes \['_last_lr', .*'step_size'\], got \['gamma'\]; is it the state of another",
        ValueError,
        lambda: lr_scheduler.StepLR(OPTIMIZER, 1).load_state_dict({"gamma": 1}),
    ),
]


@pytest.mark.parametrize(("message", "kind", "call"), MISTAKES, ids=[message for message, _, _ in MISTAKES])
def test_mistakes_are_explained(message: str, kind: type[Exception], call: Callable[[], Any]) -> None:
    with pytest.raises(kind, match=f"^{message}"):
        call()


def test_a_cycle_ends() -> None:
    optimizer = ours()
    scheduler = lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=10, pct_start=0.1)
    follow(optimizer, scheduler, 10)
    with pytest.raises(ValueError, match="OneCycleLR: step 11 of 10; the cycle is over"):
        scheduler.step()


def test_a_cycle_refuses_groups_that_come_later_before_anything_changes() -> None:
    optimizer = nn.optim.SGD([nn.Parameter(tg.zeros(1))], lr=1.0, momentum=0.9)
    scheduler = lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=9)
    optimizer.step()
    optimizer.add_param_group({"params": [nn.Parameter(tg.zeros(1))], "lr": 0.3})
    before = [{name: v for name, v in group.items() if name != "params"} for group in optimizer.param_groups]
    with pytest.raises(ValueError, match="OneCycleLR: step: the cycle is planned for 1 groups, the optimizer has 2"):
        scheduler.step()
    assert [{name: v for name, v in group.items() if name != "params"} for group in optimizer.param_groups] == before
    assert scheduler.last_epoch == 0

"""Schedulers: PyTorch's learning rates and momenta, and runs that go on where they were."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg
from nn.optim import lr_scheduler

STEPS = 60


class Halving:
    """A schedule that is an object with a state."""

    def __init__(self, every: int) -> None:
        self.every = every

    def __call__(self, epoch: int) -> float:
        return 0.5 ** (epoch // self.every)


def sequence(library: Any, optimizer: Any) -> Any:
    warm_up = library.LinearLR(optimizer, start_factor=0.1, total_iters=8)
    middle = library.CosineAnnealingLR(optimizer, T_max=15)
    return library.SequentialLR(optimizer, [warm_up, middle, library.ExponentialLR(optimizer, 0.9)], [8, 30])


MAKERS: dict[str, Callable[[Any, Any], Any]] = {
    "LambdaLR": lambda s, o: s.LambdaLR(o, lambda epoch: 0.95**epoch),
    "LambdaLR each": lambda s, o: s.LambdaLR(o, [Halving(7), lambda epoch: 1 / (1 + epoch)]),
    "StepLR": lambda s, o: s.StepLR(o, 7, 0.5),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [30, 3, 3, 31], gamma=0.3),
    "ConstantLR": lambda s, o: s.ConstantLR(o, 0.25, total_iters=6),
    "LinearLR": lambda s, o: s.LinearLR(o, 0.01, total_iters=20),
    "LinearLR down": lambda s, o: s.LinearLR(o, 1.0, 0.0, total_iters=20),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.9),
    "ExponentialLR to 0": lambda s, o: s.ExponentialLR(o, 0.0),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 25),
    "CosineAnnealingLR above": lambda s, o: s.CosineAnnealingLR(o, 7, eta_min=0.01),
    "CosineAnnealingWarmRestarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 7, eta_min=0.01),
    "CosineAnnealingWarmRestarts longer": lambda s, o: s.CosineAnnealingWarmRestarts(o, 4, T_mult=2),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, 0.3, total_steps=STEPS),
    "OneCycleLR each": lambda s, o: s.OneCycleLR(
        o, [0.3, 0.1], epochs=9, steps_per_epoch=7, base_momentum=[0.7, 0.8], max_momentum=0.9, div_factor=10.0
    ),
    "OneCycleLR three phases": lambda s, o: s.OneCycleLR(
        o, 0.3, total_steps=STEPS, three_phase=True, anneal_strategy="linear", final_div_factor=100.0, pct_start=0.4
    ),
    "OneCycleLR alone": lambda s, o: s.OneCycleLR(o, 0.3, total_steps=STEPS, cycle_momentum=False, pct_start=0.0),
    "SequentialLR": sequence,
    "SequentialLR of LambdaLR": lambda s, o: s.SequentialLR(
        o, [s.LambdaLR(o, lambda t: 1 + t), s.CosineAnnealingWarmRestarts(o, 5), s.StepLR(o, 4)], [10, 20]
    ),
}


def optimizer_of(library: Any, tensor: Any, kind: str = "SGD") -> Any:
    p, q = (tensor([1.0], requires_grad=True) for _ in range(2))
    settings = {"momentum": 0.9} if kind == "SGD" else {}
    return getattr(library, kind)([{"params": [p]}, {"params": [q], "lr": 0.02}], lr=0.1, **settings)


def ours(kind: str = "SGD") -> Any:
    return optimizer_of(nn.optim, tg.tensor, kind)


def rates(optimizer: Any) -> list[float]:
    """All that a schedule sets."""
    return [
        value
        for group in optimizer.param_groups
        for value in (group["lr"], group.get("momentum", 0.0), *group.get("betas", ()))
    ]


def follow(optimizer: Any, scheduler: Any, steps: int) -> list[list[float]]:
    found = []
    for _ in range(steps):
        found.append(rates(optimizer))
        assert scheduler.get_last_lr() == [group["lr"] for group in optimizer.param_groups]
        optimizer.step()
        scheduler.step()
    return found


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is the oracle here")


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("kind", ["SGD", "AdamW"])
def test_against_torch(torch: Any, name: str, kind: str) -> None:
    found: list[Any] = []
    for schedulers, optimizer in (
        (lr_scheduler, ours(kind)),
        (torch.optim.lr_scheduler, optimizer_of(torch.optim, torch.tensor, kind)),
    ):
        found.append(follow(optimizer, MAKERS[name](schedulers, optimizer), STEPS))
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-12)
    assert name == "ExponentialLR to 0" or len(set(map(tuple, found[0]))) > 1


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("at", [0, 1, 23, 30])
def test_a_resumed_schedule_goes_on(name: str, at: int, tmp_path: Path) -> None:
    optimizer = ours()
    scheduler = MAKERS[name](lr_scheduler, optimizer)
    whole = follow(optimizer, scheduler, at)
    tg.save([optimizer.state_dict(), scheduler.state_dict()], tmp_path / "run.npz")
    whole += follow(optimizer, scheduler, STEPS - at)
    again = ours()
    resumed = MAKERS[name](lr_scheduler, again)
    states = tg.load(tmp_path / "run.npz")
    again.load_state_dict(states[0])
    resumed.load_state_dict(states[1])
    assert follow(again, resumed, STEPS - at) == whole[at:]


CHAIN: dict[str, dict[str, Any]] = {
    "StepLR": {"step_size": 3},
    "MultiStepLR": {"milestones": [5, 9], "gamma": 0.5},
    "ConstantLR": {},
    "LinearLR": {},
    "ExponentialLR": {"gamma": 0.97},
}


@pytest.mark.parametrize("first", CHAIN)
@pytest.mark.parametrize("second", CHAIN)
def test_schedulers_work_together(torch: Any, first: str, second: str) -> None:
    found: list[Any] = []
    for schedulers, optimizer in (
        (lr_scheduler, ours()),
        (torch.optim.lr_scheduler, optimizer_of(torch.optim, torch.tensor)),
    ):
        both = [getattr(schedulers, name)(optimizer, **CHAIN[name]) for name in (first, second)]
        seen = []
        for _ in range(STEPS):
            seen.append(rates(optimizer))
            optimizer.step()
            for scheduler in both:
                scheduler.step()
        found.append(seen)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "max", "factor": 0.5, "patience": 2},
        {"patience": 0, "threshold": 0.1, "threshold_mode": "abs", "min_lr": [0.05, 0.001]},
        {"mode": "max", "threshold": 0.05, "threshold_mode": "abs", "patience": 1, "cooldown": 3},
        {"patience": 1, "cooldown": 2, "factor": 0.9, "min_lr": 0.03, "eps": 1e-3},
    ],
    ids=str,
)
def test_plateaus_against_torch(torch: Any, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    losses = [*(1 + 0.2 * rng.standard_normal(STEPS)), math.nan, math.inf, *([1.0] * 30), *np.linspace(1, 0, 30)]
    found: list[Any] = []
    for schedulers, optimizer in (
        (lr_scheduler, ours()),
        (torch.optim.lr_scheduler, optimizer_of(torch.optim, torch.tensor)),
    ):
        scheduler = schedulers.ReduceLROnPlateau(optimizer, **options)
        found.append([])
        for loss in losses:
            optimizer.step()
            scheduler.step(loss)
            assert scheduler.get_last_lr() == [group["lr"] for group in optimizer.param_groups]
            found[-1].append(rates(optimizer))
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-12)
    assert found[0][0] != found[0][-1]


def test_a_plateau_goes_on(tmp_path: Path) -> None:
    found: list[float] = []
    optimizer = ours()
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=3, cooldown=2)
    for i in range(40):
        if i in (0, 2, 5, 18):
            tg.save([optimizer.state_dict(), scheduler.state_dict()], tmp_path / "run.npz")
            optimizer = ours()
            scheduler = lr_scheduler.ReduceLROnPlateau(optimizer)
            states = tg.load(tmp_path / "run.npz")
            optimizer.load_state_dict(states[0])
            scheduler.load_state_dict(states[1])
        scheduler.step(tg.tensor(1.0))
        found.append(optimizer.param_groups[0]["lr"])
    np.testing.assert_allclose([found[3], found[4], found[9], found[10]], [0.1, 0.01, 0.01, 1e-3])


def test_a_plateau_is_told_nan_is_no_progress() -> None:
    optimizer = ours()
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
    for _ in range(2):
        scheduler.step(math.nan)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)


def test_warm_restarts_within_an_epoch(torch: Any) -> None:
    found: list[Any] = []
    for schedulers, optimizer in (
        (lr_scheduler, ours()),
        (torch.optim.lr_scheduler, optimizer_of(torch.optim, torch.tensor)),
    ):
        scheduler = schedulers.CosineAnnealingWarmRestarts(optimizer, 3, T_mult=2)
        found.append([])
        for batch in range(STEPS):
            optimizer.step()
            scheduler.step(batch / 4)
            found[-1].append(scheduler.get_last_lr())
        scheduler.step(2)
        scheduler.step()
        found[-1].append(scheduler.get_last_lr())
        assert scheduler.last_epoch == 3
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-12)


def test_a_constant_of_0_ends() -> None:
    optimizer = ours()
    scheduler = lr_scheduler.ConstantLR(optimizer, 0.0, total_iters=2)
    assert [found[0] for found in follow(optimizer, scheduler, 4)] == [0, 0, 0.1, 0.1]


def test_a_scheduler_made_in_the_middle_keeps_the_rates() -> None:
    for make in (
        lambda o, **k: lr_scheduler.StepLR(o, 4, **k),
        lambda o, **k: lr_scheduler.CosineAnnealingLR(o, 20, **k),
        lambda o, **k: lr_scheduler.LambdaLR(o, lambda t: 1 / (1 + t), **k),
    ):
        optimizer = ours()
        scheduler = make(optimizer)
        follow(optimizer, scheduler, 7)
        again = ours()
        again.load_state_dict(optimizer.state_dict())
        resumed = make(again, last_epoch=6)
        assert resumed.last_epoch == scheduler.last_epoch == 7
        assert follow(again, resumed, 20) == follow(optimizer, scheduler, 20)


RESUMING: dict[str, Callable[[Any, Any, int], Any]] = {
    "LambdaLR": lambda s, o, k: s.LambdaLR(o, lambda epoch: 0.95**epoch, last_epoch=k),
    "StepLR": lambda s, o, k: s.StepLR(o, 3, 0.5, last_epoch=k),
    "MultiStepLR": lambda s, o, k: s.MultiStepLR(o, [3, 6, 6], gamma=0.3, last_epoch=k),
    "ConstantLR": lambda s, o, k: s.ConstantLR(o, 0.25, total_iters=6, last_epoch=k),
    "LinearLR": lambda s, o, k: s.LinearLR(o, 0.1, total_iters=20, last_epoch=k),
    "ExponentialLR": lambda s, o, k: s.ExponentialLR(o, 0.9, last_epoch=k),
    "CosineAnnealingLR": lambda s, o, k: s.CosineAnnealingLR(o, 25, last_epoch=k),
    "CosineAnnealingWarmRestarts": lambda s, o, k: s.CosineAnnealingWarmRestarts(o, 7, last_epoch=k),
    "OneCycleLR": lambda s, o, k: s.OneCycleLR(o, 0.3, total_steps=STEPS, last_epoch=k),
}


@pytest.mark.parametrize("name", RESUMING)
@pytest.mark.parametrize("last_epoch", [0, 2, 4, 5])
def test_going_on_as_torch_does(torch: Any, name: str, last_epoch: int) -> None:
    found: list[Any] = []
    for schedulers, optimizer in (
        (lr_scheduler, ours()),
        (torch.optim.lr_scheduler, optimizer_of(torch.optim, torch.tensor)),
    ):
        follow(optimizer, RESUMING[name](schedulers, optimizer, -1), last_epoch)
        found.append(follow(optimizer, RESUMING[name](schedulers, optimizer, last_epoch), 20))
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-12)


def test_groups_that_come_later(torch: Any) -> None:
    found: list[Any] = []
    for schedulers, optimizer, tensor in (
        (lr_scheduler, ours(), tg.tensor),
        (torch.optim.lr_scheduler, optimizer_of(torch.optim, torch.tensor), torch.tensor),
    ):
        scheduler = schedulers.StepLR(optimizer, 2)
        follow(optimizer, scheduler, 3)
        optimizer.add_param_group({"params": [tensor([1.0], requires_grad=True)], "lr": 0.5})
        scheduler.step()
        found.append(follow(optimizer, scheduler, 3))
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-12)
    optimizer = ours()
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, 4)
    follow(optimizer, scheduler, 4)
    optimizer.add_param_group({"params": tg.ones(1, requires_grad=True), "lr": 0.5})
    scheduler.step()
    assert scheduler.base_lrs == [0.1, 0.02, 0.5]
    scheduler = lr_scheduler.LambdaLR(optimizer, [abs] * 3)
    optimizer.add_param_group({"params": tg.ones(1, requires_grad=True)})
    with pytest.raises(ValueError, match="LambdaLR: lr_lambda must be one for all or a list of 4"):
        scheduler.step()


def test_functions_that_are_objects_are_saved() -> None:
    saved = lr_scheduler.LambdaLR(ours(), [Halving(7), abs]).state_dict()
    assert saved["lr_lambdas"] == [{"every": 7}, {}]
    schedule = Halving(2)
    lr_scheduler.LambdaLR(ours(), [schedule, abs]).load_state_dict(saved)
    assert schedule.every == 7

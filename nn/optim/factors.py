"""Schedulers that multiply the initial learning rate by a function of the epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..module import require_sizes
from .optimizer import Optimizer
from .scheduler import LRScheduler


class LambdaLR(LRScheduler):
    """lr = initial lr · f(epoch).

    Args:
        optimizer: see `LRScheduler`.
        lr_lambda: f, or a list of such functions, one for each group.
        last_epoch: see `LRScheduler`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        self._attach(optimizer)
        self.lr_lambdas: list[Any] = self._per_group("lr_lambda", lr_lambda)
        for f in self.lr_lambdas:
            if not callable(f):
                raise TypeError(f"LambdaLR: lr_lambda must be a function of the epoch, got a {type(f).__name__}")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        lambdas = self._per_group("lr_lambda", self.lr_lambdas)
        return [base * f(self.last_epoch) for base, f in zip(self.base_lrs, lambdas, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer and the functions; of callable objects, their attributes."""
        return super().state_dict() | {"lr_lambdas": [dict(getattr(f, "__dict__", {})) for f in self.lr_lambdas]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._require_own(state_dict)
        for f, attributes in zip(self.lr_lambdas, state_dict["lr_lambdas"], strict=True):
            if attributes:
                vars(f).update(attributes)
        vars(self).update(state_dict | {"lr_lambdas": self.lr_lambdas})


class _Factor(LRScheduler):
    """lr = floor + (initial lr - floor) · factor(epoch).

    A step multiplies by the quotient of two factors what the learning rate is above the floor, so that several such
    schedulers, stepped one after another, work on the same optimizer.

    Attributes:
        rates_go_on: made in the middle of a run, it takes the rates that are there for those of its first epoch; else,
            as PyTorch's schedulers in steps do, for those of `last_epoch`.
    """

    floor = 0.0
    rates_go_on = True

    def factor(self, epoch: int) -> float:
        """What the learning rate at an epoch is multiplied by."""
        raise NotImplementedError

    def get_lr(self) -> list[float]:
        groups, now = self.optimizer.param_groups, self.factor(self.last_epoch)
        before = self.factor(self.last_epoch - 1) if self.last_epoch > 0 else 1.0
        if self.rates_go_on and self.last_epoch > 0 and not hasattr(self, "_last_lr"):
            return [group["lr"] for group in groups]
        if before == 0:
            return [self.floor + (base - self.floor) * now for base in self.base_lrs]
        return [self.floor + (group["lr"] - self.floor) * (now / before) for group in groups]

    def _require_not_negative(self, **settings: Any) -> None:
        for setting, value in settings.items():
            if not 0 <= value < math.inf:
                raise ValueError(f"{type(self).__name__}: {setting} must be a number from 0 on, got {value}")


class StepLR(_Factor):
    """lr = initial lr · gamma^⌊epoch / step_size⌋.

    Args:
        optimizer: see `LRScheduler`.
        step_size: after how many epochs the learning rate is multiplied by gamma.
        gamma: the factor.
        last_epoch: see `LRScheduler`.
    """

    rates_go_on = False
    step_size: int
    gamma: float

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        require_sizes("StepLR", step_size=step_size)
        self._require_not_negative(gamma=gamma)
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: int) -> float:
        return float(self.gamma ** (epoch // self.step_size))


class MultiStepLR(_Factor):
    """lr = initial lr · gamma^(number of milestones that were reached).

    Args:
        optimizer: see `LRScheduler`.
        milestones: the epochs at which the learning rate is multiplied by gamma.
        gamma: the factor.
        last_epoch: see `LRScheduler`.
    """

    rates_go_on = False
    milestones: list[int]
    gamma: float

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self._require_not_negative(gamma=gamma)
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: int) -> float:
        return float(self.gamma ** sum(epoch >= milestone for milestone in self.milestones))


class ConstantLR(_Factor):
    """lr = initial lr · factor for the first epochs, then initial lr.

    Args:
        optimizer: see `LRScheduler`.
        factor: from 0 to 1; 0 for no training at first.
        total_iters: how many epochs it lasts.
        last_epoch: see `LRScheduler`.
    """

    rates_go_on = False
    first: float
    total_iters: int

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        require_sizes("ConstantLR", total_iters=total_iters)
        if not 0 <= factor <= 1:
            raise ValueError(f"ConstantLR: factor must be from 0 to 1, got {factor}")
        self.first, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: int) -> float:
        return self.first if epoch < self.total_iters else 1.0


class LinearLR(_Factor):
    """lr = initial lr · (start_factor + (end_factor - start_factor) · min(epoch / total_iters, 1)): a warm-up.

    Args:
        optimizer: see `LRScheduler`.
        start_factor: what to multiply by at first, above 0 and at most 1.
        end_factor: what to multiply by at the end, from 0 to 1.
        total_iters: how many epochs it takes to get there.
        last_epoch: see `LRScheduler`.
    """

    start_factor: float
    end_factor: float
    total_iters: int

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        require_sizes("LinearLR", total_iters=total_iters)
        if not 0 < start_factor <= 1:
            raise ValueError(f"LinearLR: start_factor must be above 0 and at most 1, got {start_factor}")
        if not 0 <= end_factor <= 1:
            raise ValueError(f"LinearLR: end_factor must be from 0 to 1, got {end_factor}")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: int) -> float:
        if epoch >= self.total_iters:
            return self.end_factor
        return self.start_factor + (self.end_factor - self.start_factor) * epoch / self.total_iters


class ExponentialLR(_Factor):
    """lr = initial lr · gamma^epoch.

    Args:
        optimizer: see `LRScheduler`.
        gamma: the factor.
        last_epoch: see `LRScheduler`.
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self._require_not_negative(gamma=gamma)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: int) -> float:
        return float(self.gamma**epoch)


class CosineAnnealingLR(_Factor):
    """lr = eta_min + (initial lr - eta_min) · (1 + cos(π · epoch / T_max)) / 2 (Loshchilov & Hutter, 2017).

    Args:
        optimizer: see `LRScheduler`.
        T_max: the epoch at which it is lowest; it rises again after that.
        eta_min: the lowest learning rate.
        last_epoch: see `LRScheduler`.
    """

    T_max: int
    floor: float

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        require_sizes("CosineAnnealingLR", T_max=T_max)
        self._require_not_negative(eta_min=eta_min)
        self.T_max, self.floor = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: int) -> float:
        return (1 + math.cos(math.pi * epoch / self.T_max)) / 2

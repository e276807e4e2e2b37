"""Schedulers that go up and down."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..module import require_sizes
from .optimizer import Optimizer
from .scheduler import LRScheduler


class CosineAnnealingWarmRestarts(LRScheduler):
    """lr = eta_min + (initial lr - eta_min) · (1 + cos(π · t / T)) / 2, t epochs after the last restart.

    It restarts after T = T_0 epochs, then after T_0 · T_mult more, and so on (Loshchilov & Hutter, 2017: SGDR).

    Args:
        optimizer: see `LRScheduler`.
        T_0: the length of the first cycle.
        T_mult: how many times as long each cycle is as the one before.
        eta_min: the lowest learning rate.
        last_epoch: see `LRScheduler`.
    """

    T_mult: int
    eta_min: float
    last_epoch: int

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        require_sizes("CosineAnnealingWarmRestarts", T_0=T_0, T_mult=T_mult)
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        self.epoch: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def step(self, epoch: float | None = None) -> None:
        """Go on to the next epoch, or to a given one: `step(epoch + batch / batches)` within an epoch."""
        if epoch is None:
            super().step()
        else:
            if not 0 <= epoch < math.inf:
                raise ValueError(f"CosineAnnealingWarmRestarts: epoch must be a number from 0 on, got {epoch}")
            self.last_epoch, self.epoch = math.floor(epoch), epoch
            self._set(self._rates())

    def get_lr(self) -> list[float]:
        self.epoch = self.last_epoch
        return self._rates()

    def _rates(self) -> list[float]:
        t, T = self.epoch, self.T_0
        if self.T_mult == 1:
            t %= T
        while t >= T:
            t, T = t - T, T * self.T_mult
        part = (1 + math.cos(math.pi * t / T)) / 2
        return [self.eta_min + (base - self.eta_min) * part for base in self.base_lrs]


class OneCycleLR(LRScheduler):
    """From max_lr / div_factor up to max_lr, and down to max_lr / div_factor / final_div_factor (Smith & Topin, 2019).

    The momentum (for Adam and its kin β₁) goes the other way: from max_momentum to base_momentum and back. Call `step`
    after every batch.

    Args:
        optimizer: see `LRScheduler`.
        max_lr: the highest learning rate, or a list with one for each group.
        total_steps: how many steps there will be; or give `epochs` and `steps_per_epoch`, whose product it is.
        pct_start: the part of them in which the learning rate rises.
        anneal_strategy: "cos" along half a cosine, "linear" along a line.
        cycle_momentum: whether to change the momentum.
        base_momentum: the momentum at the highest learning rate, or a list.
        max_momentum: the momentum at the first learning rate, or a list.
        div_factor: see above.
        final_div_factor: see above.
        three_phase: go down as one went up, and only then to the lowest learning rate.
        last_epoch: see `LRScheduler`.
    """

    total_steps: int

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        self._attach(optimizer)
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("OneCycleLR: takes total_steps, or both epochs and steps_per_epoch")
            require_sizes("OneCycleLR", epochs=epochs, steps_per_epoch=steps_per_epoch)
            total_steps = epochs * steps_per_epoch
        require_sizes("OneCycleLR", total_steps=total_steps)
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start must be from 0 to 1, got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"OneCycleLR: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}")
        self.cycled: str | None = None
        if cycle_momentum:
            self.cycled = next((name for name in ("betas", "momentum") if name in optimizer.defaults), None)
            if self.cycled is None:
                raise ValueError(
                    f"OneCycleLR: {type(optimizer).__name__} has neither betas nor momentum to change; pass "
                    "cycle_momentum=False"
                )
        self.total_steps, self.anneal_strategy = total_steps, anneal_strategy
        high = self._per_group("max_lr", max_lr)
        slow = self._per_group("max_momentum", max_momentum)
        fast = self._per_group("base_momentum", base_momentum)
        first = [lr / div_factor for lr in high]
        final = [lr / final_div_factor for lr in first]
        # where each phase ends, and the learning rates and momenta there
        top, last = pct_start * total_steps - 1, total_steps - 1
        self.phases: list[Any] = [(0.0, first, slow), (top, high, fast), (last, final, slow)]
        if three_phase:
            self.phases[2:2] = [(2 * top, first, slow)]
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, first, strict=True):
                group["initial_lr"] = lr
        super().__init__(optimizer, last_epoch)

    def _between(self, which: int) -> list[float]:
        """The learning rates (1) or momenta (2) at `last_epoch`."""
        i = 1
        while i < len(self.phases) - 1 and self.last_epoch > self.phases[i][0]:
            i += 1
        start, end = self.phases[i - 1], self.phases[i]
        done = (self.last_epoch - start[0]) / (end[0] - start[0]) if end[0] != start[0] else 1.0
        if self.anneal_strategy == "cos":
            done = (1 - math.cos(math.pi * done)) / 2
        return [a + (b - a) * done for a, b in zip(start[which], end[which], strict=True)]

    def get_lr(self) -> list[float]:
        if self.last_epoch > self.total_steps:
            raise ValueError(f"OneCycleLR: step {self.last_epoch} of {self.total_steps}; the cycle is over")
        return self._between(1)

    def _advance(self) -> None:
        groups, planned = len(self.optimizer.param_groups), len(self.phases[0][1])
        if groups != planned:
            raise ValueError(
                f"OneCycleLR: step: the cycle is planned for {planned} groups, the optimizer has {groups}; add groups "
                "before the scheduler is made"
            )
        super()._advance()
        if self.cycled is not None:
            for group, momentum in zip(self.optimizer.param_groups, self._between(2), strict=True):
                group[self.cycled] = (momentum, *group["betas"][1:]) if self.cycled == "betas" else momentum


class CyclicLR(LRScheduler):
    """From base_lr up to max_lr and down again, over and over (Smith, 2017). Call `step` after every batch.

    The momentum (for Adam and its kin β₁) goes the other way.

    Args:
        optimizer: see `LRScheduler`.
        base_lr, max_lr: the lowest and the highest learning rate, or lists with one for each group.
        step_size_up, step_size_down: how many steps it goes up, and down (as many, unless given).
        mode: "triangular" leaves the height as it is, "triangular2" halves it with each cycle, "exp_range" multiplies
            it by gamma with each step.
        scale_fn: the factor of the height, of the cycle's number (from 1) or, with scale_mode "iterations", of the
            step's; in place of a mode.
        cycle_momentum: whether to change the momentum, from max_momentum to base_momentum and back.
        last_epoch: see `LRScheduler`.
    """

    total_size: int
    step_ratio: float
    mode: str
    gamma: float
    scale_fn: Callable[[float], float] | None

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.8,
        max_momentum: float | list[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        self._attach(optimizer)
        down = step_size_up if step_size_down is None else step_size_down
        require_sizes("CyclicLR", step_size_up=step_size_up, step_size_down=down)
        if scale_fn is None and mode not in ("triangular", "triangular2", "exp_range"):
            raise ValueError(f"CyclicLR: mode is 'triangular', 'triangular2' or 'exp_range', got {mode!r}")
        if scale_mode not in ("cycle", "iterations"):
            raise ValueError(f"CyclicLR: scale_mode is 'cycle' or 'iterations', got {scale_mode!r}")
        self.total_size, self.step_ratio = step_size_up + down, step_size_up / (step_size_up + down)
        self.mode, self.gamma, self.scale_fn, self.scale_mode = mode, gamma, scale_fn, scale_mode
        self.cycled: str | None = None
        if cycle_momentum:
            self.cycled = next((name for name in ("betas", "momentum") if name in optimizer.defaults), None)
            if self.cycled is None:
                raise ValueError(
                    f"CyclicLR: {type(optimizer).__name__} has neither betas nor momentum to change; pass "
                    "cycle_momentum=False"
                )
        low = self._per_group("base_lr", base_lr)
        self.max_lrs: list[Any] = self._per_group("max_lr", max_lr)
        self.base_momentums: list[Any] = self._per_group("base_momentum", base_momentum)
        self.max_momentums: list[Any] = self._per_group("max_momentum", max_momentum)
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, low, strict=True):
                group["initial_lr"] = lr
        super().__init__(optimizer, last_epoch)

    def _height(self) -> float:
        """How far up it is at `last_epoch`: 0 at the bottom, 1 at the top, times the scale."""
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        height = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        if self.scale_fn is not None:
            return height * self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        factors = {"triangular": 1.0, "triangular2": 2.0 ** (1 - cycle), "exp_range": self.gamma**self.last_epoch}
        return height * factors[self.mode]

    def get_lr(self) -> list[float]:
        height = self._height()
        return [low + (high - low) * height for low, high in zip(self.base_lrs, self.max_lrs, strict=True)]

    def _advance(self) -> None:
        super()._advance()
        if self.cycled is not None:
            height = self._height()
            for group, low, high in zip(
                self.optimizer.param_groups, self.base_momentums, self.max_momentums, strict=True
            ):
                momentum = high - (high - low) * height
                group[self.cycled] = (momentum, *group["betas"][1:]) if self.cycled == "betas" else momentum

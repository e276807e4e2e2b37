"""What the schedulers share, those that go by the loss, and several in a row."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from tinygrad_seq.graph.tracing_hook import CompileError, current_tracer

from .optimizer import Optimizer


class LRScheduler:
    """Sets the learning rates of an optimizer's groups. A subclass says in `get_lr` what they are at `last_epoch`.

    Call `step()` after the optimizer's, once per epoch or once per batch: "epoch" is whatever lies between two calls.
    To go on with a saved run, make the optimizer, then the scheduler, and then have both load their states.

    Args:
        optimizer: whose learning rates to set. Where the groups have no `initial_lr`, it is their present rate.
        last_epoch: the epoch before the one to begin with. After another one than -1, the groups must have the
            `initial_lr` of the run that goes on: let the optimizer load its state first.

    Attributes:
        base_lrs: the initial learning rates of the groups.
        last_epoch: how many steps were made.

    Raises:
        KeyError: if a run is to go on, and a group has no `initial_lr`.
        TypeError: if it is not given an optimizer.
        ValueError: if a setting is out of range.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self._attach(optimizer)
        fresh = [i for i, group in enumerate(optimizer.param_groups) if "initial_lr" not in group]
        if last_epoch != -1 and fresh:
            raise KeyError(
                f"{type(self).__name__}: param 'initial_lr' is not specified in param_groups[{fresh[0]}] when resuming "
                f"an optimizer with last_epoch={last_epoch}; call optimizer.load_state_dict first, or begin with "
                "last_epoch=-1"
            )
        self.base_lrs: list[float] = []
        self.last_epoch: int = last_epoch
        self._advance()

    def _attach(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__}: takes an optimizer, got a {type(optimizer).__name__}")
        self.optimizer = optimizer

    def get_lr(self) -> list[float]:
        """The learning rates of the groups at `last_epoch`."""
        raise NotImplementedError(f"{type(self).__name__} does not say what the learning rates are")

    def step(self) -> None:
        """Go on to the next epoch."""
        if current_tracer() is not None:
            raise CompileError("compile: a replay would not take a scheduler's step; call scheduler.step() outside")
        if self.last_epoch == 0 and not self.optimizer._stepped:
            warnings.warn(
                f"{type(self).__name__}: step() before the optimizer's first step() passes over the first learning "
                "rate; call optimizer.step() first",
                UserWarning,
                stacklevel=2,
            )
        self._advance()

    def _advance(self) -> None:
        for group in self.optimizer.param_groups[len(self.base_lrs) :]:
            group.setdefault("initial_lr", group["lr"])
            self.base_lrs = [*self.base_lrs, group["initial_lr"]]
        self.last_epoch += 1
        self._set(self.get_lr())

    def _set(self, rates: Iterable[float]) -> None:
        for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = lr
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def _restart(self) -> None:
        """Begin anew at epoch 0, from the initial learning rates."""
        for group, lr in zip(self.optimizer.param_groups, self.base_lrs, strict=False):  # groups may have come since
            group["lr"] = lr
        self.last_epoch = -1
        self._advance()

    def _per_group(self, setting: str, value: Any) -> list[Any]:
        """A setting for each group: one for all, or a list of them."""
        count = len(self.optimizer.param_groups)
        values = list(value) if isinstance(value, (list, tuple)) else [value] * count
        if len(values) != count:
            raise ValueError(
                f"{type(self).__name__}: {setting} must be one for all or a list of {count}, one for each group of the "
                f"optimizer, got {len(values)}"
            )
        return values

    def get_last_lr(self) -> list[float]:
        """The learning rates of the groups that the last step set."""
        return self._last_lr

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer. `tg.save` takes it."""
        return {name: value for name, value in vars(self).items() if name != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` of a scheduler of this kind returned. The learning rates are in the optimizer's.

        Raises:
            ValueError: if it is not the state of such a scheduler. Nothing is changed then.
        """
        self._require_own(state_dict)
        vars(self).update(state_dict)

    def _require_own(self, state_dict: dict[str, Any]) -> None:
        if state_dict.keys() != (own := self.state_dict()).keys():
            raise ValueError(
                f"{type(self).__name__}: load_state_dict takes {sorted(own)}, got {sorted(state_dict)}; is it the "
                "state of another scheduler?"
            )


class SequentialLR(LRScheduler):
    """One scheduler after another, each from the initial learning rates on, and from its own epoch 0.

    Args:
        optimizer: see `LRScheduler`.
        schedulers: of this optimizer, in order.
        milestones: the epochs at which the next one takes over; one less than schedulers.

    Raises:
        ValueError: if the milestones do not fit the schedulers, or one of these is another optimizer's, or goes by the
            loss.
    """

    schedulers: list[LRScheduler]
    milestones: list[int]
    last_epoch: int

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int]) -> None:
        self._attach(optimizer)
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        if not schedulers or len(milestones) != len(schedulers) - 1 or self.milestones != sorted(milestones):
            raise ValueError(
                "SequentialLR: takes schedulers and milestones between them, in order, one less than schedulers; got "
                f"{len(schedulers)} schedulers and milestones {self.milestones}"
            )
        for scheduler in self.schedulers:
            if not isinstance(scheduler, LRScheduler) or isinstance(scheduler, ReduceLROnPlateau):
                raise ValueError(f"SequentialLR: takes schedulers that need no loss, got a {type(scheduler).__name__}")
            if scheduler.optimizer is not optimizer:
                raise ValueError(f"SequentialLR: its {type(scheduler).__name__} belongs to another optimizer")
        self.base_lrs: list[float] = self.schedulers[0].base_lrs
        self.last_epoch = -1
        self._advance()

    def _advance(self) -> None:
        self.last_epoch += 1
        scheduler = self.schedulers[sum(self.last_epoch >= milestone for milestone in self.milestones)]
        if self.last_epoch in (0, *self.milestones):
            scheduler._restart()
        else:
            scheduler._advance()
        self._last_lr = scheduler.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """The states of the schedulers, and where this one stands."""
        return super().state_dict() | {"schedulers": [scheduler.state_dict() for scheduler in self.schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._require_own(state_dict)
        states = state_dict["schedulers"]
        if len(states) != len(self.schedulers):
            raise ValueError(
                f"SequentialLR: load_state_dict takes states of {len(self.schedulers)} schedulers, got {len(states)}"
            )
        for scheduler, state in zip(self.schedulers, states, strict=True):
            scheduler._require_own(state)
        for scheduler, state in zip(self.schedulers, states, strict=True):
            scheduler.load_state_dict(state)
        vars(self).update(state_dict | {"schedulers": self.schedulers})


class ReduceLROnPlateau(LRScheduler):
    """lr ← max(lr · factor, min_lr) whenever a loss has not become better for more than `patience` steps.

    Args:
        optimizer: see `LRScheduler`.
        mode: "min" if lower is better, "max" if higher is.
        factor: below 1.
        patience: how many steps without improvement are let pass.
        threshold: better than the best so far by this much is better.
        threshold_mode: "rel" if the threshold is a part of the best, "abs" if it is a difference.
        cooldown: for how many steps after a reduction no step counts as bad.
        min_lr: the lowest learning rate, or a list with one for each group.
        eps: a reduction by no more than this is left out.
        verbose: print a line for each reduction.
    """

    factor: float
    patience: int
    threshold: float
    cooldown: int
    min_lr: float | list[float]
    eps: float
    last_epoch: int
    best: float
    num_bad_epochs: int
    cooldown_counter: int

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0.0,
        eps: float = 1e-8,
        verbose: bool = False,
    ) -> None:
        self._attach(optimizer)
        self.verbose = verbose
        if mode not in ("min", "max"):
            raise ValueError(f"ReduceLROnPlateau: mode must be 'min' or 'max', got {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"ReduceLROnPlateau: threshold_mode must be 'rel' or 'abs', got {threshold_mode!r}")
        if not 0 <= factor < 1:
            raise ValueError(f"ReduceLROnPlateau: factor must be from 0 to below 1, got {factor}")
        self._per_group("min_lr", min_lr)
        self.mode, self.factor, self.patience = mode, factor, patience
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.cooldown, self.min_lr, self.eps = cooldown, min_lr, eps
        self.best = math.inf if mode == "min" else -math.inf
        self.last_epoch = self.num_bad_epochs = self.cooldown_counter = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]

    def step(self, metrics: Any) -> None:  # type: ignore[override]
        """Take note of the loss, or of what else `mode` is about: a number or a scalar tensor."""
        value = float(metrics)
        self.last_epoch += 1
        self.num_bad_epochs += 1
        if self._better(value):
            self.best, self.num_bad_epochs = value, 0
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            rates = self.get_lr()
            if self.verbose and rates != [group["lr"] for group in self.optimizer.param_groups]:
                print(f"epoch {self.last_epoch}: learning rates {', '.join([f'{lr:.4g}' for lr in rates])}")
            self._set(rates)
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def get_lr(self) -> list[float]:
        """The learning rates after a reduction."""
        rates = [group["lr"] for group in self.optimizer.param_groups]
        lower = [
            max(lr * self.factor, low) for lr, low in zip(rates, self._per_group("min_lr", self.min_lr), strict=True)
        ]
        return [new if lr - new > self.eps else lr for lr, new in zip(rates, lower, strict=True)]

    def _better(self, value: float) -> bool:
        sign = 1 if self.mode == "min" else -1
        bound = (
            self.best * (1 - sign * self.threshold)
            if self.threshold_mode == "rel"
            else self.best - sign * self.threshold
        )
        return sign * value < sign * bound

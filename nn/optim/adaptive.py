"""Optimizers that give each element a step size of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tinygrad_seq as tg
from tinygrad_seq import Tensor

from .optimizer import Group, Optimizer


def _decayed(g: Tensor, p: Tensor, group: Group) -> Tensor:
    return g + group["weight_decay"] * p if group["weight_decay"] else g


class Adagrad(Optimizer):
    """p ← p - lr · g / (√s + eps), with s the sum of g² so far (Duchi et al., 2011)."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        self._initial = initial_accumulator_value
        super().__init__(params, {"lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay, "eps": eps})

    def update(self, p: Tensor, g: Tensor, state: dict[str, Any], group: Group) -> Tensor:
        g = _decayed(g, p, group)
        step = state["step"] = state.get("step", 0) + 1
        s = state["sum"] = state.get("sum", self._initial) + g * g
        lr = group["lr"] / (1 + (step - 1) * group["lr_decay"])
        return p - lr * g / (s.sqrt() + group["eps"])


class RMSprop(Optimizer):
    """p ← p - lr · g / (√s + eps), with s a running mean of g² (Tieleman & Hinton, 2012).

    Args:
        alpha: how much of the running mean stays at each step.
        centered: subtract the square of the running mean of g from s.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "alpha": alpha,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "centered": centered,
            },
        )

    def update(self, p: Tensor, g: Tensor, state: dict[str, Any], group: Group) -> Tensor:
        g = _decayed(g, p, group)
        alpha = group["alpha"]
        s = state["square_avg"] = alpha * state.get("square_avg", 0.0) + (1 - alpha) * (g * g)
        if group["centered"]:
            mean = state["grad_avg"] = alpha * state.get("grad_avg", 0.0) + (1 - alpha) * g
            s = s - mean * mean
        change = g / (s.sqrt() + group["eps"])
        if group["momentum"]:
            change = state["momentum_buffer"] = group["momentum"] * state.get("momentum_buffer", 0.0) + change
        return p - group["lr"] * change


class Adam(Optimizer):
    """p ← p - lr · m̂ / (√v̂ + eps), with running means m of g and v of g², bias-corrected (Kingma & Ba, 2015)."""

    decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"{type(self).__name__}: betas must be from 0 to below 1, got {betas}")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def update(self, p: Tensor, g: Tensor, state: dict[str, Any], group: Group) -> Tensor:
        lr, (beta1, beta2) = group["lr"], group["betas"]
        if self.decoupled:
            p = p * (1 - lr * group["weight_decay"])
        else:
            g = _decayed(g, p, group)
        step = state["step"] = state.get("step", 0) + 1
        m = state["exp_avg"] = beta1 * state.get("exp_avg", 0.0) + (1 - beta1) * g
        v = state["exp_avg_sq"] = beta2 * state.get("exp_avg_sq", 0.0) + (1 - beta2) * (g * g)
        scale = 1 / (1 - beta2**step) ** 0.5
        return p - (lr / (1 - beta1**step)) * m / (tg.sqrt(v) * scale + group["eps"])


class AdamW(Adam):
    """Adam with the weight decay applied to the parameters, not to the gradient (Loshchilov & Hutter, 2019)."""

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

"""Adam and its kin."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real
from typing import Any

import tinygrad_seq as tg
from tinygrad_seq import Tensor

from .optimizer import Group, Optimizer, decayed


class _Moments(Optimizer):
    """Keeps running means m of g and v of g²."""

    def _check(self, group: Group) -> None:
        super()._check(group)
        betas = group["betas"]
        if not isinstance(betas, (tuple, list)) or [isinstance(beta, Real) for beta in betas] != [True, True]:
            raise TypeError(f"{type(self).__name__}: betas must be a pair of numbers, got {betas!r:.80}")
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"{type(self).__name__}: betas must be from 0 to below 1, got {betas}")

    def _moments(self, g: Tensor, state: dict[str, Any], group: Group) -> tuple[int, Tensor, Tensor]:
        """Count the step and update the running means; the three of them."""
        beta1, beta2 = group["betas"]
        step = state["step"] = state.get("step", 0) + 1
        m = state["exp_avg"] = beta1 * state.get("exp_avg", 0.0) + (1 - beta1) * g
        v = state["exp_avg_sq"] = beta2 * state.get("exp_avg_sq", 0.0) + (1 - beta2) * (g * g)
        return step, m, v


class Adam(_Moments):
    """p ← p - lr · m̂ / (√v̂ + eps), with running means m of g and v of g², bias-corrected (Kingma & Ba, 2015).

    At step t, m̂ = m / (1 - β₁ᵗ) and v̂ = v / (1 - β₂ᵗ).

    Args:
        params: see `Optimizer`.
        lr: the learning rate.
        betas: β₁ and β₂, how much of the running means stays at each step.
        eps: keeps the quotient finite.
        weight_decay: adds weight_decay · p to the gradient.
        amsgrad: take the largest v so far, so that step sizes never grow (Reddi et al., 2018).
        maximize: go up instead of down.
        decoupled_weight_decay: apply the weight decay to the parameters, not to the gradient, as `AdamW` does.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        capturable: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
                "decoupled_weight_decay": decoupled_weight_decay,
            },
        )

    def update(self, p: Tensor, g: Tensor, state: dict[str, Any], group: Group) -> Tensor:
        p, g = decayed(p, g, group)
        step, m, v = self._moments(g, state, group)
        if group["amsgrad"]:
            v = state["max_exp_avg_sq"] = tg.maximum(v, state.get("max_exp_avg_sq", 0.0))
        beta1, beta2 = group["betas"]
        scale = 1 / (1 - beta2**step) ** 0.5
        return p - (group["lr"] / (1 - beta1**step)) * m / (tg.sqrt(v) * scale + group["eps"])


class AdamW(Adam):
    """Adam with the weight decay applied to the parameters, not to the gradient (Loshchilov & Hutter, 2019).

    p ← (1 - lr · weight_decay) · p before the step. The arguments are those of `Adam`.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        capturable: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True)


class NAdam(_Moments):
    """Adam with Nesterov's momentum: the step looks ahead by one more gradient (Dozat, 2016).

    p ← p - lr · (μₜ₊₁ · m / (1 - Πμ · μₜ₊₁) + (1 - μₜ) · g / (1 - Πμ)) / (√v̂ + eps), with the momentum
    μₜ = β₁ · (1 - 0.96^(t · momentum_decay) / 2), and Πμ the product of μ₁ to μₜ.

    Args:
        params: see `Optimizer`.
        lr: the learning rate.
        betas: β₁ and β₂, how much of the running means stays at each step.
        eps: keeps the quotient finite.
        weight_decay: adds weight_decay · p to the gradient.
        momentum_decay: how fast μ rises.
        decoupled_weight_decay: apply the weight decay to the parameters, not to the gradient, as `AdamW` does.
        maximize: go up instead of down.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        capturable: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum_decay": momentum_decay,
                "decoupled_weight_decay": decoupled_weight_decay,
                "maximize": maximize,
            },
        )

    def update(self, p: Tensor, g: Tensor, state: dict[str, Any], group: Group) -> Tensor:
        p, g = decayed(p, g, group)
        step, m, v = self._moments(g, state, group)
        beta1, beta2 = group["betas"]
        mu, next_mu = (beta1 * (1 - 0.5 * 0.96 ** (t * group["momentum_decay"])) for t in (step, step + 1))
        product = state["mu_product"] = state.get("mu_product", 1.0) * mu
        ahead = (next_mu / (1 - product * next_mu)) * m + ((1 - mu) / (1 - product)) * g
        return p - group["lr"] * ahead / ((v / (1 - beta2**step)).sqrt() + group["eps"])

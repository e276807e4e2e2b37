"""Optimizers that give each element a step size of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tinygrad_seq as tg
from tinygrad_seq import Tensor

from .optimizer import Group, Optimizer, decayed


class Adagrad(Optimizer):
    """p ← p - lrₜ · g / (√s + eps), with s the sum of g² so far (Duchi et al., 2011).

    Args:
        params: see `Optimizer`.
        lr: the learning rate.
        lr_decay: at step t, counted from 0, the learning rate is lrₜ = lr / (1 + t · lr_decay).
        weight_decay: adds weight_decay · p to the gradient.
        initial_accumulator_value: what s starts from.
        eps: keeps the quotient finite.
        maximize: go up instead of down.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
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
                "lr_decay": lr_decay,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "eps": eps,
                "maximize": maximize,
            },
        )

    def update(self, p: Tensor, g: Tensor, state: dict[str, Any], group: Group) -> Tensor:
        p, g = decayed(p, g, group)
        step = state["step"] = state.get("step", 0) + 1
        s = state["sum"] = state.get("sum", group["initial_accumulator_value"]) + g * g
        lr = group["lr"] / (1 + (step - 1) * group["lr_decay"])
        return p - lr * g / (s.sqrt() + group["eps"])


class RMSprop(Optimizer):
    """p ← p - lr · v, with v ← momentum · v + g / (√s + eps) and s a running mean of g² (Tieleman & Hinton, 2012).

    Args:
        params: see `Optimizer`.
        lr: the learning rate.
        alpha: how much of the running mean stays at each step.
        eps: keeps the quotient finite.
        weight_decay: adds weight_decay · p to the gradient.
        momentum: how much of v stays at each step.
        centered: subtract the square of the running mean of g from s, which makes it a variance (Graves, 2013).
        maximize: go up instead of down.
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
                "alpha": alpha,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "centered": centered,
                "maximize": maximize,
            },
        )

    def update(self, p: Tensor, g: Tensor, state: dict[str, Any], group: Group) -> Tensor:
        p, g = decayed(p, g, group)
        alpha = group["alpha"]
        s = state["square_avg"] = alpha * state.get("square_avg", 0.0) + (1 - alpha) * (g * g)
        if group["centered"]:
            mean = state["grad_avg"] = alpha * state.get("grad_avg", 0.0) + (1 - alpha) * g
            s = s - mean * mean
        change = g / (s.sqrt() + group["eps"])
        if group["momentum"]:
            change = state["momentum_buffer"] = group["momentum"] * state.get("momentum_buffer", 0.0) + change
        return p - group["lr"] * change


class Adadelta(Optimizer):
    """p ← p - lr · Δ, with Δ = √(d + eps) / √(s + eps) · g (Zeiler, 2012).

    Here s and d are running means of g² and of Δ², so that the steps are in the units of the parameters.

    Args:
        params: see `Optimizer`.
        lr: scales the steps; 1 in the paper.
        rho: how much of the running means stays at each step.
        eps: starts the steps, and keeps the quotient finite.
        weight_decay: adds weight_decay · p to the gradient.
        maximize: go up instead of down.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        capturable: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize})

    def update(self, p: Tensor, g: Tensor, state: dict[str, Any], group: Group) -> Tensor:
        p, g = decayed(p, g, group)
        rho, eps = group["rho"], group["eps"]
        s = state["square_avg"] = rho * state.get("square_avg", 0.0) + (1 - rho) * (g * g)
        d = state.get("acc_delta", 0.0)
        change = ((d + eps) / (s + eps)).sqrt() * g
        state["acc_delta"] = rho * d + (1 - rho) * (change * change)
        return p - group["lr"] * change


class Adamax(Optimizer):
    """p ← p - lr / (1 - β₁ᵗ) · m / u, with m a running mean of g and u ← max(β₂ u, |g| + eps) (Kingma & Ba, 2015).

    Args:
        params: see `Optimizer`.
        lr: the learning rate.
        betas: β₁ and β₂.
        eps: keeps the quotient finite.
        weight_decay: adds weight_decay · p to the gradient.
        maximize: go up instead of down.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
    ) -> None:
        if not (len(betas) == 2 and all(0 <= beta < 1 for beta in betas)):
            raise ValueError(f"Adamax: betas must be from 0 to below 1, got {betas}")
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        )

    def update(self, p: Tensor, g: Tensor, state: dict[str, Any], group: Group) -> Tensor:
        p, g = decayed(p, g, group)
        beta1, beta2 = group["betas"]
        step = state["step"] = state.get("step", 0) + 1
        m = state["exp_avg"] = beta1 * state.get("exp_avg", 0.0) + (1 - beta1) * g
        u = state["exp_inf"] = tg.maximum(beta2 * state.get("exp_inf", tg.zeros_like(g)), g.abs() + group["eps"])
        return p - (group["lr"] / (1 - beta1**step)) * m / u


class ASGD(Optimizer):
    """SGD that also averages where it has been (Polyak & Juditsky, 1992): `state[p]["ax"]` is the mean since step t0.

    p ← (1 - lambd · η) p - η g, with η = lr / (1 + lambd · lr · t)^alpha.

    Args:
        params: see `Optimizer`.
        lr: the learning rate.
        lambd: how fast it decays, and the parameters with it.
        alpha: the power of the decay.
        t0: the step after which to average.
        weight_decay: adds weight_decay · p to the gradient.
        maximize: go up instead of down.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
    ) -> None:
        settings = {"lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, {"lr": lr, **settings})

    def update(self, p: Tensor, g: Tensor, state: dict[str, Any], group: Group) -> Tensor:
        p, g = decayed(p, g, group)
        lr, lambd = group["lr"], group["lambd"]
        step = state["step"] = state.get("step", 0) + 1
        eta, mu = state.get("eta", lr), state.get("mu", 1.0)
        new = p * (1 - lambd * eta) - eta * g
        mean = state.get("ax", new)
        state["ax"] = new if mu == 1 else mean + (new - mean) * mu
        state["eta"] = lr / (1 + lambd * lr * step) ** group["alpha"]
        state["mu"] = 1 / max(1, step - group["t0"])
        return new

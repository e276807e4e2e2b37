"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tinygrad_seq import Tensor

from .optimizer import Group, Optimizer, decayed


class SGD(Optimizer):
    """p ← p - lr · v, with v ← momentum · v + (1 - dampening) · g, and at the first step v = g.

    Args:
        params: see `Optimizer`.
        lr: the learning rate.
        momentum: how much of v stays at each step.
        dampening: how much of the gradient does not go into v.
        weight_decay: adds weight_decay · p to the gradient.
        nesterov: step along g + momentum · v instead (Sutskever et al., 2013).
        maximize: go up instead of down.

    Raises:
        ValueError: for `nesterov` with dampening, or without momentum.
    """

    takes_complex = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
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
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
            },
        )

    def _check(self, group: Group) -> None:
        super()._check(group)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError(
                "SGD: nesterov takes a momentum above 0 and no dampening, "
                f"got momentum={group['momentum']} and dampening={group['dampening']}"
            )

    def update(self, p: Tensor, g: Tensor, state: dict[str, Any], group: Group) -> Tensor:
        p, g = decayed(p, g, group)
        momentum = group["momentum"]
        if momentum:
            v = state.get("momentum_buffer")
            # a clone, since p.grad may be written to afterwards
            v = g.clone() if v is None else momentum * v + (1 - group["dampening"]) * g
            state["momentum_buffer"] = v
            g = g + momentum * v if group["nesterov"] else v
        return p - group["lr"] * g

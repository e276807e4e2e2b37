"""L-BFGS: steps by an approximate inverse of the Hessian, made of the last few steps and gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import tinygrad_seq as tg
from tinygrad_seq import Tensor

from ..module import require_sizes
from ..utils.convert_parameters import parameters_to_vector, vector_to_parameters
from .line_search import Point, strong_wolfe
from .optimizer import Group, Optimizer


class LBFGS(Optimizer):
    """p ← p + t · d, with the direction d = -H g and H an approximation of the inverse Hessian (Liu & Nocedal, 1989).

    H comes from the last `history_size` pairs of s, by how much the parameters changed, and y, by how much the gradient
    did: it is the smallest change of sᵀy / yᵀy · I that takes each y to its s. One `step` is up to `max_iter` of these,
    on one and the same loss, so that `step` takes a function that computes it:

    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = F.mse_loss(model(x), target)
    ...     loss.backward()
    ...     return loss
    >>> optimizer.step(closure)

    Args:
        params: see `Optimizer`; one group of parameters of one dtype on one device.
        lr: the step length t, with a line search the first one to try. The very first step is shorter: it moves no
            further than lr, taken as Σ |change|.
        max_iter: how many iterations one `step` does at most.
        max_eval: how often one `step` computes the loss at most, by default 5/4 of `max_iter`.
        tolerance_grad: stop where no element of the gradient is larger.
        tolerance_change: stop where no parameter, or the loss, changes by more.
        history_size: how many pairs are kept, each as large as all parameters together.
        line_search_fn: "strong_wolfe" to look for a step length that lowers the loss by enough; None not to.

    Raises:
        ValueError: if there are several groups, or a setting is out of range.
        TypeError: if the parameters are not of one dtype on one device.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        require_sizes("LBFGS", max_iter=max_iter)
        super().__init__(
            params,
            {
                "lr": lr,
                "max_iter": max_iter,
                "max_eval": max(1, max_iter * 5 // 4) if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad,
                "tolerance_change": tolerance_change,
                "history_size": history_size,
                "line_search_fn": line_search_fn,
            },
        )

    def _check(self, group: Group) -> None:
        super()._check(group)
        require_sizes("LBFGS", **{name: group[name] for name in ("max_iter", "max_eval", "history_size")})
        for name in ("tolerance_grad", "tolerance_change"):
            if not group[name] >= 0:
                raise ValueError(f"LBFGS: {name} must not be negative, got {group[name]}")
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise ValueError(f"LBFGS: line_search_fn must be 'strong_wolfe' or None, got {group['line_search_fn']!r}")

    def add_param_group(self, param_group: Group) -> None:
        """As for every optimizer, but only the first one: the parameters are one vector."""
        if self.param_groups:
            raise ValueError("LBFGS: takes one group of parameters, got a second one")
        super().add_param_group(param_group)
        if not self.param_groups[0]["params"]:
            raise ValueError("LBFGS: got no parameters; pass model.parameters()")
        self._require_one_kind()

    def _require_one_kind(self) -> None:
        kinds = sorted({f"{p.dtype} on {p.device}" for p in self.param_groups[0]["params"]})
        if len(kinds) > 1:
            raise TypeError(f"LBFGS: takes parameters of one dtype on one device, got {', '.join(kinds)}")

    def _state_shape(self, p: Tensor) -> tuple[int, ...]:
        return (sum(p.numel() for p in self.param_groups[0]["params"]),)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Do up to `max_iter` iterations.

        Args:
            closure: computes the loss and its gradients, and returns the loss. It is called several times.

        Returns:
            What the closure returned the first time.

        Raises:
            TypeError: without a closure, or if it does not return a scalar.
            RuntimeError: if the closure leaves no gradients. After this and any other error, those in the closure
                included, the parameters are what they were.
        """
        if not callable(closure):
            raise TypeError("LBFGS: step takes a function that computes the loss and its gradients, and returns it")
        self._check(self.param_groups[0])
        self._require_one_kind()
        params = self.param_groups[0]["params"]
        with tg.no_grad():
            start = parameters_to_vector(params)
            try:
                loss, self.state[0] = self._iterate(closure, start)
            except BaseException:
                vector_to_parameters(start, params)
                raise
        self._stepped = True
        return loss

    def _evaluate(self, closure: Callable[[], Any], x: Tensor | None = None) -> tuple[Any, float, Tensor]:
        """What the closure returns at `x`, or where the parameters are; as a number; and the gradient as a vector."""
        params = self.param_groups[0]["params"]
        if x is not None:
            vector_to_parameters(x, params)
        with tg.enable_grad():
            returned = closure()
        if isinstance(returned, Tensor) and returned.numel() != 1:
            raise TypeError(f"LBFGS: the closure must return the loss, one number, got shape {returned.shape}")
        try:
            loss = float(returned)
        except TypeError:
            what = type(returned).__name__
            raise TypeError(f"LBFGS: the closure must return the loss, one number, got a {what}") from None
        if all(p.grad is None for p in params):
            raise RuntimeError("LBFGS: the closure left no gradients; it must call loss.backward()")
        gradients = [tg.zeros_like(p) if p.grad is None else self._gradient(i, p, p.grad) for i, p in enumerate(params)]
        return returned, loss, parameters_to_vector(gradients).detach()

    def _iterate(self, closure: Callable[[], Any], x: Tensor) -> tuple[Any, dict[str, Any]]:
        """All iterations of a step from `x`: what the closure returned first, and the new state."""
        group = self.param_groups[0]
        tolerance = group["tolerance_change"]
        state: dict[str, Any] = {"func_evals": 0, "n_iter": 0} | self._moved(0, x)
        returned, loss, g = self._evaluate(closure)
        evaluations = 1
        for iteration in range(1, group["max_iter"] + 1):
            if _largest(g) <= group["tolerance_grad"]:
                break
            state["n_iter"] += 1
            d = state["d"] = _direction(g, state, group["history_size"])
            state["prev_flat_grad"], state["prev_loss"] = g, loss
            t = state["t"] = group["lr"] * (min(1.0, 1.0 / g.abs().sum().item()) if state["n_iter"] == 1 else 1.0)
            slope = _dot(g, d)
            if slope > -tolerance:
                break
            if group["line_search_fn"] is not None:

                def along(t: float, x: Tensor = x, d: Tensor = d) -> Point:
                    _, loss, g = self._evaluate(closure, x + t * d)
                    # where the loss is nan, the search has gone too far
                    return Point(t, math.inf if math.isnan(loss) else loss, g, _dot(g, d))

                budget, here = group["max_eval"] - evaluations, Point(0.0, loss, g, slope)
                (t, loss, g, _), tried = strong_wolfe(along, here, t, budget, _largest(d), tolerance)
                state["t"] = t
                evaluations += tried
            x = x + t * d
            vector_to_parameters(x, group["params"])
            if iteration == group["max_iter"]:  # nobody asks for the loss any more
                break
            if group["line_search_fn"] is None:
                _, loss, g = self._evaluate(closure)
                evaluations += 1
            if evaluations >= group["max_eval"]:
                break
            if _largest(t * d) <= tolerance or abs(loss - state["prev_loss"]) < tolerance:
                break
        state["func_evals"] += evaluations
        return returned, state


def _direction(g: Tensor, state: dict[str, Any], size: int) -> Tensor:
    """-H g. The pairs and what goes with them are kept in `state`."""
    if state["n_iter"] == 1:
        state |= {"old_dirs": [], "old_stps": [], "ro": [], "H_diag": 1.0}
        return -g
    y, s = g - state["prev_flat_grad"], state["t"] * state["d"]
    ys = _dot(y, s)
    if ys > 1e-10:  # else H would not stay positive definite
        for name, new in (("old_dirs", y), ("old_stps", s), ("ro", 1.0 / ys)):
            state[name] = [*state[name], new][-size:]
        state["H_diag"] = ys / _dot(y, y)
    pairs = [*zip(state["old_dirs"], state["old_stps"], state["ro"], strict=True)]
    d, parts = -g, []
    for y, s, ro in reversed(pairs):
        parts.append(ro * _dot(s, d))
        d = d - parts[-1] * y
    d = state["H_diag"] * d
    for (y, s, ro), part in zip(pairs, reversed(parts), strict=True):
        d = d + (part - ro * _dot(y, d)) * s
    return d


def _dot(a: Tensor, b: Tensor) -> float:
    return float(tg.dot(a, b).item())


def _largest(x: Tensor) -> float:
    return float(x.abs().max().item())

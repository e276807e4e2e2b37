"""Modules whose state a check must not touch: buffers in training mode, counters, gradients that are there already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import nn
import tinygrad_seq as tg

from .case import CORRECT, WRONG, Case, Draw, enter, no_pair, normal

SMALL, MANY = normal(6, 4), normal(200, 250)


class Normalised(nn.Module):
    """By the batch's mean and deviation, with a running mean in training mode."""

    def __init__(self, features: int = 4, detached: str = "", momentum: float = 0.1) -> None:
        super().__init__()
        self.weight = nn.Parameter(tg.tensor(np.linspace(0.5, 1.5, features)))
        self.detached, self.momentum = detached, momentum
        self.register_buffer("running", tg.zeros(features))
        self.register_buffer("count", tg.zeros(()))
        self.running: Any
        self.count: Any

    def forward(self, x: Any) -> Any:
        mean, deviation = x.mean(0), ((x - x.mean(0)) ** 2).mean(0)
        if self.training:
            self.running = self.running * (1 - self.momentum) + x.detach().mean(0) * self.momentum
            self.count = self.count + 1.0
        if self.detached == "mean":
            mean = mean.detach()
        if self.detached == "deviation":
            deviation = deviation.detach()
        return (x - mean) / (deviation + 1e-3).sqrt() * self.weight


class Evaluated(Normalised):
    """In evaluation mode: by the running mean."""

    def __init__(self) -> None:
        super().__init__()
        self.running = tg.tensor([0.1, -0.2, 0.3, 0.0], dtype=tg.float64)
        self.eval()

    def forward(self, x: Any) -> Any:
        return (x - self.running).tanh() * self.weight


class Tied(nn.Module):
    """One weight used twice, there and back."""

    def __init__(self, forgetful: bool = False) -> None:
        super().__init__()
        self.there = nn.Linear(4, 3, bias=False)
        self.back = nn.Linear(3, 4, bias=False)
        self.back.weight = self.there.weight
        self.forgetful = forgetful

    def forward(self, x: Any) -> Any:
        weight = self.there.weight
        hidden = (x @ weight.T).tanh()
        return hidden @ (weight.detach() if self.forgetful else weight)


class Counting(nn.Module):
    """Keeps what it saw last, and how often it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)
        self.calls, self.last = 0, None

    def forward(self, x: Any) -> Any:
        self.calls, self.last = self.calls + 1, x
        return self.linear(x).tanh()


class Showing(nn.Module):
    """Gives the buffer that it counts in beside its result; with `cut`, half of the gradient."""

    def __init__(self, cut: bool = False) -> None:
        super().__init__()
        self.cut = cut
        self.register_buffer("calls", tg.zeros(2))
        self.calls: Any

    def forward(self, x: Any) -> Any:
        with tg.no_grad():
            self.calls.add_(1.0)
        return x * (x.detach() if self.cut else x), self.calls


class Caching(nn.Module):
    """Writes its result into a tensor that it keeps, and counts in an array."""

    def __init__(self, cut: bool = False) -> None:
        super().__init__()
        self.cut, self.count = cut, np.zeros(3)
        self.cache = tg.zeros(6, 4, dtype=tg.float64)

    def forward(self, x: Any) -> Any:
        self.count += 1
        self.cache[:] = x * (x.detach() if self.cut else x)
        return self.cache * 2.0


class Recurrent(nn.Module):
    """A layer over time; with `cut`, its state carries no gradient past the middle."""

    def __init__(self, cut: bool = False) -> None:
        super().__init__()
        self.cell, self.cut = nn.GRUCell(4, 3), cut

    def forward(self, x: Any) -> Any:
        state = tg.zeros(1, 3).to(x.dtype)
        for t in range(6):
            state = self.cell(x[t : t + 1], state.detach() if self.cut and t == 3 else state)
        return state


class Frozen(nn.Module):
    """A parameter that is not trained, and one that is."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 2)
        self.first.weight.requires_grad = False

    def forward(self, x: Any) -> Any:
        return self.second(self.first(x).tanh())


class Lagging(nn.Module):
    """An average of its weight, which it uses where a gradient is asked of the weight itself."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(tg.tensor(np.linspace(-1, 1, 4)))

    def forward(self, x: Any) -> Any:
        return x * (self.weight.detach() * 0.9 + self.weight * 0.1)


def with_gradients(module: nn.Module) -> nn.Module:
    """Numbers of an earlier backward pass in .grad."""
    for parameter in module.parameters():
        parameter.grad = tg.ones_like(parameter)
    return module


def module(make: Callable[[], Any], draw: Draw = SMALL, large: bool = False) -> Case:
    return Case(no_pair, no_pair, draw, kind="module", built=lambda inputs: make(), large=large)


RIGHT: dict[str, Callable[[], Any]] = {
    "batch statistics in training mode": Normalised,
    "evaluation mode": Evaluated,
    "a weight used twice": Tied,
    "a counter and the last input": Counting,
    "a buffer among the outputs": Showing,
    "a tensor that is written to": Caching,
    "a recurrent layer": Recurrent,
    "a parameter that is not trained": Frozen,
    "gradients of an earlier pass": lambda: with_gradients(nn.Linear(4, 3)),
    "layer normalisation": lambda: nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5)),
}
for _name, _make in RIGHT.items():
    enter(CORRECT, _name, module(_make), ["module"])
enter(CORRECT, "batch statistics in training mode", module(lambda: Normalised(250), MANY, large=True), ["module"])
WRONG_ONES: dict[str, Callable[[], Any]] = {
    "batch statistics: the mean detached": lambda: Normalised(detached="mean"),
    "batch statistics: the deviation detached": lambda: Normalised(detached="deviation"),
    "a weight used twice, once without gradient": lambda: Tied(forgetful=True),
    "a state cut off in the middle": lambda: Recurrent(cut=True),
    "an average that carries a tenth": Lagging,
    "a buffer among the outputs, half of the gradient": lambda: Showing(cut=True),
    "a tensor that is written to, half of the gradient": lambda: Caching(cut=True),
}
for _name, _make in WRONG_ONES.items():
    enter(WRONG, _name, module(_make), ["module"])
enter(
    WRONG,
    "batch statistics: the deviation detached",
    module(lambda: Normalised(250, "deviation"), MANY, large=True),
    ["module"],
)


def closed_over(make: Callable[[], Any]) -> Case:
    """A function of tensors with a module inside, whose parameters are not inputs."""

    def built(inputs: list[Any]) -> Any:
        inner = with_gradients(make())
        return lambda x: inner(x)

    return Case(no_pair, no_pair, SMALL, kind="module", built=built)


for _name in (
    "batch statistics in training mode",
    "a counter and the last input",
    "a tensor that is written to",
    "a recurrent layer",
):
    enter(
        CORRECT,
        f"a function around a module: {_name}",
        closed_over(RIGHT[_name]),
        ("function", "compiled") if "recurrent" in _name else ("function",),
    )
for _name in (
    "batch statistics: the mean detached",
    "a state cut off in the middle",
    "a tensor that is written to, half of the gradient",
):
    enter(WRONG, f"a function around a module: {_name}", closed_over(WRONG_ONES[_name]), ["function"])


# --- PyTorch's ---


def _torch_norm(inputs: list[Any]) -> Any:
    import torch

    return torch.nn.BatchNorm1d(4)


def _torch_detached(inputs: list[Any]) -> Any:
    import torch

    class Detached(torch.nn.BatchNorm1d):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return (x - x.mean(0).detach()) / (x.var(0) + 1e-3).sqrt() * self.weight

    return Detached(4)


enter(
    CORRECT,
    "PyTorch's batch normalisation in training mode",
    Case(no_pair, no_pair, SMALL, "module", built=_torch_norm),
    ["PyTorch"],
)
enter(
    WRONG,
    "PyTorch's module with the mean detached",
    Case(no_pair, no_pair, SMALL, "module", built=_torch_detached),
    ["PyTorch"],
)

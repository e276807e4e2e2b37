"""What changes parameters by their gradients: the library's optimizers, and the same by hand."""

from __future__ import annotations

from typing import Any

import nn
import tinygrad_seq as tg
from nn import optim, utils

from .world import World

KINDS = ("SGD", "Adam")
LIMIT = 0.05  # of clipping
RATE, OF_WEIGHTS, OF_NEW = 0.05, 0.02, 0.01
DECAY = 0.1
EPS = 1e-3  # of Adam: a gradient that is 0 in exact numbers, and rounding in differences, must not become a step


SCHEDULES: dict[str, Any] = {
    "StepLR": lambda optimizer: optim.lr_scheduler.StepLR(optimizer, 1, 0.5),
    "ExponentialLR": lambda optimizer: optim.lr_scheduler.ExponentialLR(optimizer, 0.5),
    "MultiStepLR": lambda optimizer: optim.lr_scheduler.MultiStepLR(optimizer, [1, 2, 3], 0.5),
}


class Update:
    """The library's optimizer, clipping and schedule, as the features set them."""

    def __init__(self, world: World, kind: str) -> None:
        self.settings = world.settings
        groups: list[dict[str, Any]] = [{"params": [p for _, p in world.trained()]}]
        if "groups" in self.settings:
            weights, rest = ([p for name, p in world.trained() if ("weight" in name) is w] for w in (True, False))
            groups = [{"params": weights, "lr": OF_WEIGHTS, "weight_decay": DECAY}, {"params": rest}]
        defaults: dict[str, Any] = {"lr": RATE} | ({"momentum": 0.9} if kind == "SGD" else {"eps": EPS})
        self.optimizer: optim.Optimizer = {"SGD": optim.SGD, "Adam": optim.Adam}[kind](groups, **defaults)
        schedule = self.settings.get("schedule")
        self.schedule = SCHEDULES[schedule](self.optimizer) if schedule else None

    def step(self) -> None:
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        if self.settings.get("clip") == "norm":
            utils.clip_grad_norm_(parameters, LIMIT)
        elif self.settings.get("clip") == "value":
            utils.clip_grad_value_(parameters, LIMIT)
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()

    def zero_grad(self) -> None:
        self.optimizer.zero_grad()

    def add(self, module: nn.Module) -> None:
        self.optimizer.add_param_group({"params": list(module.parameters()), "lr": OF_NEW})

    def state_dict(self) -> dict[str, Any]:
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state)


class ByHand:
    """The same in plain code."""

    def __init__(self, world: World, kind: str) -> None:
        self.world, self.kind, self.settings = world, kind, world.settings
        self.rates: dict[str, float] = {}
        self.count: dict[str, int] = {}
        self.first: dict[str, tg.Tensor] = {}
        self.second: dict[str, tg.Tensor] = {}

    def step(self) -> None:
        gradients = {name: p.grad for name, p in self.world.trained() if p.grad is not None}
        with tg.no_grad():
            if self.settings.get("clip") == "norm":
                length = sum((g * g).sum().item() for g in gradients.values()) ** 0.5
                gradients = {name: g * min(LIMIT / (length + 1e-6), 1.0) for name, g in gradients.items()}
            elif self.settings.get("clip") == "value":
                small = {name: g * (g.abs() <= LIMIT) for name, g in gradients.items()}
                gradients = {name: small[name] + g.sign() * (g.abs() > LIMIT) * LIMIT for name, g in gradients.items()}
            for name, p in self.world.trained():
                if name in gradients:
                    self._change(name, p, gradients[name])
        if "schedule" in self.settings:
            self.rates = {name: rate * 0.5 for name, rate in self.rates.items()}

    def _change(self, name: str, p: tg.Tensor, g: tg.Tensor) -> None:
        of_weights = "groups" in self.settings and "weight" in name and not name.startswith("extra")
        first = OF_NEW if name.startswith("extra") else OF_WEIGHTS if of_weights else RATE
        rate = self.rates.setdefault(name, first)
        g = g + p * DECAY if of_weights else g
        n = self.count[name] = self.count.get(name, 0) + 1
        if self.kind == "SGD":
            self.first[name] = self.first[name] * 0.9 + g if n > 1 else g
            change = self.first[name]
        else:
            self.first[name] = self.first.get(name, 0.0) * 0.9 + g * 0.1
            self.second[name] = self.second.get(name, 0.0) * 0.999 + g * g * 0.001
            change = self.first[name] / (1 - 0.9**n) / ((self.second[name] / (1 - 0.999**n)).sqrt() + EPS)
        p.copy_(p - change * rate)

    def zero_grad(self) -> None:
        for p in self.world.model.parameters():
            p.grad = None

    def add(self, module: nn.Module) -> None:
        pass

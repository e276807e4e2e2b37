"""What the optimizers share: parameter groups, state, and saving both."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import tinygrad_seq as tg
from tinygrad_seq import Tensor

Group = dict[str, Any]


class Optimizer:
    """Changes parameters by their gradients. A subclass says in `update` how one parameter changes.

    Args:
        params: parameters, or dictionaries {"params": [...], "lr": ...} of groups with settings of their own.
        defaults: the settings of groups that do not say otherwise.

    Attributes:
        param_groups: the groups; their settings may be changed between steps.
        state: what the optimizer remembers of each parameter, by the parameter's number.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        name = type(self).__name__
        given: list[Any] = [params] if isinstance(params, Tensor) else list(params)
        if not given:
            raise ValueError(f"{name}: got no parameters; pass model.parameters()")
        for setting in ("lr", "eps", "weight_decay", "momentum"):
            if not defaults.get(setting, 0) >= 0:  # nan is not
                raise ValueError(f"{name}: {setting} must not be negative, got {defaults[setting]}")
        groups = given if isinstance(given[0], dict) else [{"params": given}]
        self.param_groups: list[Group] = [
            defaults
            | group
            | {"params": [group["params"]] if isinstance(group["params"], Tensor) else [*group["params"]]}
            for group in groups
        ]
        everything = [p for group in self.param_groups for p in group["params"]]
        for p in everything:
            if not isinstance(p, Tensor) or not p.is_leaf or not p.requires_grad:
                what = type(p).__name__ if not isinstance(p, Tensor) else "a result" if not p.is_leaf else "a constant"
                raise TypeError(
                    f"{name}: takes leaf tensors that require a gradient, such as model.parameters(), got {what}"
                )
        if len({id(p) for p in everything}) < len(everything):
            raise ValueError(f"{name}: a parameter is listed twice")
        self.state: dict[int, dict[str, Any]] = {}

    def update(self, p: Tensor, g: Tensor, state: dict[str, Any], group: Group) -> Tensor:
        """The new value of parameter `p`, whose gradient is `g`. `state` is empty at the first call."""
        raise NotImplementedError(f"{type(self).__name__} does not say how a parameter is updated")

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Change every parameter that has a gradient. A `closure` computes the loss and its gradients first."""
        loss = closure() if closure is not None else None
        with tg.no_grad():
            number = 0
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        p.copy_(self.update(p.detach(), p.grad, self.state.setdefault(number, {}), group))
                    number += 1
        return loss

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """The state by parameter number, and the groups with numbers in the place of parameters."""
        numbers = iter(range(sum(len(group["params"]) for group in self.param_groups)))
        groups = [group | {"params": [next(numbers) for _ in group["params"]]} for group in self.param_groups]
        return {"state": {number: dict(state) for number, state in self.state.items()}, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` of an optimizer with the same groups returned.

        Raises:
            ValueError: if the groups do not have as many parameters, or a state has another shape than its parameter.
        """
        theirs, ours = state_dict["param_groups"], self.param_groups
        if [len(g["params"]) for g in theirs] != [len(g["params"]) for g in ours]:
            sizes = [[len(g["params"]) for g in groups] for groups in (ours, theirs)]
            raise ValueError(
                f"load_state_dict: this optimizer has groups of {sizes[0]} parameters, the state {sizes[1]}"
            )
        parameters = [p for group in ours for p in group["params"]]
        state: dict[int, dict[str, Any]] = {}
        for key, entries in state_dict["state"].items():
            p = parameters[int(key)]
            for name, value in entries.items():
                if isinstance(value, Tensor) and value.ndim and value.shape != p.shape:
                    raise ValueError(f"load_state_dict: {name} of parameter {key}: {value.shape}, not {p.shape}")
            state[int(key)] = {
                k: v.clone().to(device=p.device) if isinstance(v, Tensor) else v for k, v in entries.items()
            }
        self.state = state
        for mine, new in zip(ours, theirs, strict=True):
            mine.update({k: v for k, v in new.items() if k != "params"})

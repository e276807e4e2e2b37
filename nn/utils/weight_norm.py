"""Weights as a direction and a length. Salimans & Kingma, "Weight normalization", 2016."""

from __future__ import annotations

from typing import Any, TypeVar

from tinygrad_seq import Tensor

from ..module import Module, Parameter

M = TypeVar("M", bound=Module)


class _WeightNorm:
    """The hook that puts g · v / ‖v‖ in the place of a weight before each forward."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name, self.dim = name, dim
        self.handle: Any = None

    def length(self, v: Tensor) -> Tensor:
        """The norm of each entry of dimension `dim`, or of all."""
        dims = tuple(d for d in range(v.ndim) if self.dim is None or d != self.dim % v.ndim)
        return (v * v).sum(dims, keepdim=self.dim is not None).sqrt()

    def weight(self, module: Module) -> Tensor:
        g, v = getattr(module, f"{self.name}_g"), getattr(module, f"{self.name}_v")
        return v * (g / self.length(v))

    def __call__(self, module: Module, args: Any) -> Any:
        setattr(module, self.name, self.weight(module))
        return args  # so that a checkpoint calls it again


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Train a weight as its length, in the parameter `name`_g, and its direction, in `name`_v.

    Args:
        dim: the dimension each entry of which has a length of its own; None for one length of all.

    Raises:
        ValueError: if there is no such parameter, or it is normalised already.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Parameter):
        raise ValueError(f"weight_norm: {type(module).__name__} has no parameter {name!r}, or it is normalised already")
    hook = _WeightNorm(name, dim)
    delattr(module, name)
    module.register_parameter(f"{name}_g", Parameter(hook.length(weight.detach())))
    module.register_parameter(f"{name}_v", Parameter(weight.detach()))
    setattr(module, name, hook.weight(module))
    hook.handle = module.register_forward_pre_hook(hook)
    return module


def remove_weight_norm(module: M, name: str = "weight") -> M:
    """Make one parameter of it again."""
    for held in vars(module).get("_forward_pre_hooks", ()):
        hook = held.call
        if isinstance(hook, _WeightNorm) and hook.name == name:
            weight = hook.weight(module).detach()
            hook.handle.remove()
            for part in (name, f"{name}_g", f"{name}_v"):
                delattr(module, part)
            module.register_parameter(name, Parameter(weight))
            return module
    raise ValueError(f"remove_weight_norm: {name!r} of {type(module).__name__} is not normalised")

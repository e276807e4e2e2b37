"""A pair of functions on arrays as everything that the checker takes: primitive, module, PyTorch's function, ..."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

import nn
import tinygrad_seq as tg

from .case import Case


def reseed(seed: int) -> None:
    """Start every stream of random numbers that an entry may draw from."""
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
    tg.manual_seed(seed)


def subject(case: Case, inputs: list[Any]) -> tuple[Any, list[Any]]:
    """What `gradcheck` is called with."""
    return ROUTES[case.route](case, inputs)


def tensor_function(case: Case, inputs: list[Any]) -> Any:
    """Of the engine's tensors."""
    return primitive(case, len(inputs)) if case.built is None else case.built(inputs)


def primitive(case: Case, count: int) -> tg.Primitive[...]:
    """The forward function with a rule for each input; what computes the rule is a primitive, too, so NumPy will do."""
    made = tg.primitive(case.forward)
    made.vjp(*[_rule(case, k, count) for k in range(count)])
    return made


def _rule(case: Case, k: int, count: int) -> Callable[..., Any]:
    def back(g: Any, *rest: Any) -> Any:
        found = case.backward(g, *rest)
        return found[k] if isinstance(found, tuple) else found

    of_arrays = tg.primitive(back)
    return lambda g, y, *xs: of_arrays(g, *xs, y)


class Wrapped(nn.Module):
    """All inputs but the first as parameters; or, where there is one input, a scale."""

    def __init__(self, f: Callable[..., Any], inputs: list[Any]) -> None:
        super().__init__()
        self.f, self.alone = f, not inputs
        self.weights = nn.ParameterList([nn.Parameter(tg.tensor(w)) for w in inputs or [np.array(1.5)]])

    def forward(self, x: Any) -> Any:
        return self.f(x) * self.weights[0].to(x.dtype) if self.alone else self.f(x, *self.weights)


def module(case: Case, inputs: list[Any]) -> tuple[Any, list[Any]]:
    f = tensor_function(case, inputs)
    return (f, inputs) if isinstance(f, nn.Module) else (Wrapped(f, inputs[1:]), inputs[:1])


def function(case: Case, inputs: list[Any]) -> tuple[Any, list[Any]]:
    f = tensor_function(case, inputs)
    return lambda *xs: f(*[x * 1.0 for x in xs]) * 0.5, inputs


def compiled(case: Case, inputs: list[Any]) -> tuple[Any, list[Any]]:
    f = tensor_function(case, inputs)
    return tg.compile(lambda *xs: f(*xs) * 0.5), inputs


@cache
def torch_function() -> Any:
    """An `autograd.Function` of a case and its inputs."""
    import torch

    class Bare(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, case: Case, *xs: Any) -> Any:
            ctx.case, ctx.arrays = case, [x.detach().numpy() for x in xs]
            ctx.y = np.asarray(case.forward(*ctx.arrays))
            return torch.from_numpy(ctx.y)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            found = ctx.case.backward(g.numpy(), *ctx.arrays, ctx.y)
            found = found if isinstance(found, tuple) else (found,)
            return (None, *[None if d is None else torch.from_numpy(np.asarray(d, order="C")) for d in found])

    return Bare


def tensors(inputs: list[Any]) -> list[Any]:
    """PyTorch's, of arrays."""
    import torch

    return [torch.from_numpy(np.array(x)) for x in inputs]


def pytorch(case: Case, inputs: list[Any]) -> tuple[Any, list[Any]]:
    apply = torch_function().apply
    f = case.built(inputs) if case.built is not None else lambda *xs: apply(case, *xs)
    return f, tensors(inputs)


ROUTES: dict[str, Callable[[Case, list[Any]], tuple[Any, list[Any]]]] = {
    "pair": lambda case, inputs: ((case.forward, case.backward), inputs),
    "primitive": lambda case, inputs: (tensor_function(case, inputs), inputs),
    "function": function,
    "module": module,
    "compiled": compiled,
    "PyTorch": pytorch,
}

"""PyTorch's functions and modules under this checker."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from ..backend import Array, array_module
from .subjects import time_dim_of

host = array_module(0.0)


class TorchSubject:
    """A function of PyTorch's tensors, an `autograd.Function` class, or a module, which is copied in float64.

    Raises:
        ImportError: without PyTorch.
    """

    def __init__(self, f: Any, inputs: Sequence[Any]) -> None:
        import torch

        self._torch = torch
        self.parameters: list[Any] = []
        self.names = [f"input {i}" for i in range(len(inputs))]
        self.gates: dict[str, tuple[str, ...]] = {}
        if isinstance(f, torch.nn.Module):
            f = copy.deepcopy(f).double()
            for name, parameter in f.named_parameters():
                if parameter.requires_grad:
                    self.names.append(name)
                    self.parameters.append(parameter)
            self.gates = {
                name: tuple("ifgo")
                for prefix, part in f.named_modules()
                if isinstance(part, (torch.nn.LSTM, torch.nn.LSTMCell))
                for name in self.names[len(inputs) :]
                if name.rpartition(".")[0] == prefix
            }
        self.time_dim = time_dim_of(f)
        self.f: Any = f.apply if isinstance(f, type) else f  # type: ignore[attr-defined]
        self.movable = len(inputs)
        tensors = [torch.as_tensor(x).detach() for x in inputs]
        for i, x in enumerate(tensors):
            if not x.is_floating_point():
                raise TypeError(
                    f"gradcheck: input {i} is of {x.dtype}; takes floating-point inputs, close f over the others"
                )
        self.arrays = [x.double().numpy().copy() for x in (*tensors, *[p.detach() for p in self.parameters])]
        self._seed = torch.initial_seed()

    def _run(self, arrays: Sequence[Array], leaves: bool) -> tuple[list[Any], list[Any]]:
        """The inputs as tensors, and the floating-point outputs."""
        torch = self._torch
        count = len(arrays) - len(self.parameters)
        xs = [torch.from_numpy(host.array(a)).requires_grad_(leaves) for a in arrays[:count]]
        kept = [p.data for p in self.parameters]
        try:
            for parameter, array in zip(self.parameters, arrays[count:], strict=True):
                parameter.data = torch.from_numpy(host.array(array))
            with torch.random.fork_rng(devices=[]), torch.set_grad_enabled(leaves):
                torch.manual_seed(self._seed)
                result = self.f(*xs)
        finally:
            for parameter, data in zip(self.parameters, kept, strict=True):
                parameter.data = data
        ys = [y for y in _flat(result) if isinstance(y, torch.Tensor) and (y.is_floating_point() or y.is_complex())]
        if not ys:
            raise TypeError(f"gradcheck: the function must return a tensor, it returned {type(result).__name__}")
        return [*xs, *self.parameters], ys

    def values(self, arrays: Sequence[Array]) -> list[Array]:
        if any(a.dtype.kind == "c" for a in arrays):
            if self.parameters:
                raise TypeError("a module's parameters stay real")
            arrays = [a.astype("complex128") for a in arrays]
        try:
            return [y.detach().resolve_conj().numpy() for y in self._run(arrays, leaves=False)[1]]
        except (RuntimeError, NotImplementedError) as error:
            raise TypeError(str(error)) from error

    def gradients(self, arrays: Sequence[Array], cotangents: Sequence[Array]) -> list[Array | None]:
        torch = self._torch
        xs, ys = self._run(arrays, leaves=True)
        used = [(y, w) for y, w in zip(ys, cotangents, strict=True) if y.requires_grad]
        if not used:
            return [None] * len(xs)
        weights = [torch.from_numpy(host.array(w)).to(y.dtype) for y, w in used]
        found = torch.autograd.grad([y for y, _ in used], xs, weights, allow_unused=True)
        return [None if g is None else g.detach().numpy() for g in found]


def _flat(result: Any) -> list[Any]:
    if isinstance(result, dict):
        return [leaf for value in result.values() for leaf in _flat(value)]
    if isinstance(result, (tuple, list)):
        return [leaf for value in result for leaf in _flat(value)]
    return [result]

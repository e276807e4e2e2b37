"""PyTorch's functions and modules under this checker."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from ..backend import Array, array_module
from .arguments import Arguments, flat_outputs
from .state import Surroundings, generators, restore_generators
from .subjects import BACKWARD, FORWARD, Watch, reported, time_dim_of

host: Any = array_module(0.0)


class TorchSubject:
    """A function of PyTorch's tensors, an `autograd.Function` class, or a module, of which copies are looked at.

    Raises:
        ImportError: without PyTorch.
    """

    arguments: Arguments
    surroundings: Surroundings
    names: list[str]

    def __init__(self, f: Any, arguments: Arguments, owner: Any = None) -> None:
        import torch

        self._torch, self.arguments = torch, arguments
        self.names = list(arguments.names)
        self.movable: int = len(self.names)
        self.gates: dict[str, tuple[str, ...]] = {}
        owner = f if owner is None else owner
        tensors = [torch.as_tensor(x).detach() for x in arguments.variables]
        self._precise, self._own = f, f
        self._parameters: dict[Any, list[Any]] = {"precise": [], "own": []}
        if isinstance(owner, torch.nn.Module):
            own, precise = copy.deepcopy(owner), copy.deepcopy(owner).double()
            self._precise, self._own = (precise, own) if f is owner else (f(precise), f(own))
            wanted = [n for n, p in owner.named_parameters() if p.requires_grad and arguments.wants(n)]
            self.names += wanted
            for which, module in (("precise", precise), ("own", own)):
                self._parameters[which] = [dict(module.named_parameters())[name] for name in wanted]
            tensors += [p.detach() for p in self._parameters["own"]]
            self.gates = {
                name: tuple("ifgo")
                for prefix, part in owner.named_modules()
                if isinstance(part, (torch.nn.LSTM, torch.nn.LSTMCell))
                for name in wanted
                if name.rpartition(".")[0] == prefix
            }
        elif inspect.isclass(f):
            self._precise = self._own = f.apply  # type: ignore[attr-defined]
        self.time_dim: int | None = time_dim_of(owner)
        plain = [x.double() if x.dtype == torch.bfloat16 else x for x in tensors]  # which NumPy does not have
        self.layouts: list[Any] = [x.cpu().numpy() for x in plain]
        self.given: list[Any] = [host.array(a, order="C") for a in self.layouts]
        self.arrays: list[Any] = [a.astype("float64") for a in self.given]
        self.surroundings = Surroundings([self._precise, self._own])
        self._generators = generators()

    def _run(self, arrays: Sequence[Array], leaves: bool) -> tuple[list[Any], list[Any]]:
        """The inputs as tensors, and the floating-point outputs."""
        torch = self._torch
        own = any(a.dtype != "float64" for a in arrays) and all(a.dtype.kind == "f" for a in arrays)
        f, parameters = (self._own, self._parameters["own"]) if own else (self._precise, self._parameters["precise"])
        xs = [_tensor(torch, a).requires_grad_(leaves) for a in arrays[: self.movable]]
        kept = [p.data for p in parameters]
        restore_generators(self._generators)
        try:
            for parameter, array in zip(parameters, arrays[self.movable :], strict=True):
                parameter.data = _tensor(torch, array)
            with torch.set_grad_enabled(leaves), reported(FORWARD) if leaves else nullcontext():
                result = f(*self.arguments.filled(xs, lambda x: _constant(torch, x)))
        finally:
            for parameter, data in zip(parameters, kept, strict=True):
                parameter.data = data
        ys = flat_outputs(result, lambda y: isinstance(y, torch.Tensor) and (y.is_floating_point() or y.is_complex()))
        if not ys:
            raise TypeError(f"gradcheck: the function must return a tensor, it returned {type(result).__name__}")
        return [*xs, *parameters], ys

    def values(self, arrays: Sequence[Array]) -> list[Array]:
        if any(a.dtype.kind == "c" for a in arrays):
            if len(arrays) > self.movable:
                raise TypeError("a module's parameters stay real")
            arrays = [a.astype("complex128") for a in arrays]
        try:
            return [host.array(y.detach().resolve_conj().cpu().numpy()) for y in self._run(arrays, leaves=False)[1]]
        finally:
            self.surroundings.put_back()

    def gradients(
        self, arrays: Sequence[Array], cotangents: Sequence[Array], watch: Watch | None = None
    ) -> list[Array | None]:
        torch = self._torch
        try:
            xs, ys = self._run(arrays, leaves=True)
            computed = [y.detach().clone() for y in ys] if watch is not None else []
            weights = [_tensor(torch, w).to(y.dtype) for y, w in zip(ys, cotangents, strict=True)]
            used = [(y, w) for y, w in zip(ys, weights, strict=True) if y.requires_grad]
            if not used:
                return [None] * len(xs)
            with reported(BACKWARD):
                found = torch.autograd.grad([y for y, _ in used], xs, [w for _, w in used], allow_unused=True)
            if watch is not None:
                watch.raw = [None if g is None else g.detach().numpy() for g in found]
                watch.inputs, watch.cotangents = [_array(x) for x in xs], [_array(w) for w in weights]
                watch.outputs, watch.computed = [_array(y) for y in ys], [_array(y) for y in computed]
                if len(arrays) > self.movable:
                    watch.inputs = watch.inputs[: self.movable]
            return [None if g is None else _array(g) for g in found]
        finally:
            self.surroundings.put_back()


def _tensor(torch: Any, a: Array) -> Any:
    """A tensor that shows an array where PyTorch can: not where it is reversed, nor where it is read-only."""
    if 0 in a.strides and a.size:
        part = tuple([slice(0, 1) if stride == 0 else slice(None) for stride in a.strides])
        return torch.from_numpy(a[part].copy()).expand(a.shape)
    return torch.from_numpy(a if a.flags.writeable and all(s >= 0 for s in a.strides) else a.copy())


def _array(x: Any) -> Array:
    return host.array(x.detach().cpu().numpy())


def _constant(torch: Any, x: Any) -> Any:
    return torch.from_numpy(x) if isinstance(x, host.ndarray) else x

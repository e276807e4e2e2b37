"""Weights of recurrent layers in the layouts of other libraries: `read` and `write`, `load` and `save`.

What the libraries disagree about, the order of the gates, whether matrices stand or lie, and what becomes of the two
biases, is in one table, `LAYOUTS`. Everything else here is written once and driven by it.

Letters: T steps, B sequences, F input size, H hidden size, G gates, D directions. Gates have PyTorch's letters: i, f, g
and o (input, forget, candidate, output) of an LSTM; r, z and n (reset, update, candidate) of a GRU.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import tinygrad_seq as tg

from ..module import Module
from .layouts import LAYOUTS, Layout, Spec, table
from .plan import Plan

__all__ = ["LAYOUTS", "Layout", "Spec", "load", "read", "save", "table", "write"]


def write(module: Module, layout: str = "torch") -> Any:
    """The module's weights as another library takes them: fresh NumPy arrays under that library's names.

    Of a library whose layers, or cells, are objects of their own (all but "torch"),
    a list with one dictionary for each; of "torch" one dictionary. Where the library has one bias in the
    place of two, it is their sum; where it always has biases and the module has none, zeros.

    Args:
        module: an `nn.RNN`, `nn.LSTM` or `nn.GRU`, or one of their cells.
        layout: a key of `LAYOUTS`.

    Raises:
        ValueError: if the library has no layer that computes what the module does.
    """
    plan = Plan(module, layout)
    result: Any = {} if plan.layout.of == "module" else [{} for _ in range(plan.units)]
    for name, tensor in plan.theirs().items():
        path = name.split("/")
        place = result if isinstance(result, dict) else result[int(path.pop(0))]
        for key in path[:-1]:
            place = place.setdefault(key, {})
        place[path[-1]] = tensor.cpu().numpy().copy()
    return result


def read(
    module: Module, weights: Any, layout: str = "torch", *, prefix: str = "", reset_after: bool | None = None
) -> None:
    """Take over weights that another library holds. Either all of them fit, or nothing is changed.

    Where that library has one bias in the place of two, it becomes bias_ih, and bias_hh becomes zeros. Weights without
    biases are weights with biases of zeros.

    Args:
        module: an `nn.RNN`, `nn.LSTM` or `nn.GRU`, or one of their cells.
        weights: what `write` returns, with anything for arrays that `tg.as_tensor` takes. A list of arrays in the place
            of a dictionary is read in the library's order, as Keras's `get_weights()` has it; of a single layer or cell
            the outer list may be left out; dictionaries may be flat, with names such as "hi/kernel".
        layout: a key of `LAYOUTS`.
        prefix: what the names begin with, such as "rnn."; others are not looked at.
        reset_after: of a GRU, whether its reset gate acts after the product with the state (Keras's reset_after, ONNX's
            linear_before_reset). ONNX's arrays don't show it, and its default is False, so it must be said there.

    Raises:
        ValueError: if names or shapes differ, or the module cannot compute what the weights were made for; it lists all
            differences, with both shapes and the likely cause.
    """
    plan = Plan(module, layout)
    plan.require_reset_after(reset_after)
    module.load_state_dict(plan.ours(_flat(weights, plan, prefix)))


def save(module: Module, path: str | os.PathLike[str], layout: str = "torch", *, prefix: str = "") -> None:
    """Write the module's weights to a .npz or .safetensors file, each array under `prefix` and its name.

    Names are PyTorch's; in other layouts keys are joined by "/", as Chainer does: "0/w0". See `write` and `tg.save`.
    """
    tg.save({prefix + name: tensor.cpu() for name, tensor in Plan(module, layout).theirs().items()}, path)


def load(
    module: Module,
    path: str | os.PathLike[str],
    layout: str = "torch",
    *,
    prefix: str = "",
    reset_after: bool | None = None,
) -> None:
    """Take over weights from a .npz or .safetensors file, as `read` does from a dictionary. See `tg.load`."""
    read(module, tg.load(path), layout, prefix=prefix, reset_after=reset_after)


def _flat(weights: Any, plan: Plan, prefix: str) -> dict[str, Any]:
    """Weights in any of the forms that `read` takes as one dictionary, by the names that the plan has."""

    def named(mapping: Mapping[str, Any]) -> dict[str, Any]:
        return {name.removeprefix(prefix): x for name, x in _leaves(mapping) if name.startswith(prefix)}

    library, of = plan.layout.library, plan.layout.of
    if isinstance(weights, Mapping):
        flat = named(weights)
        if of == "module" or any(name in plan.slots for name in flat):
            return flat
        units: list[Any] = [flat]
    elif of == "module" or not isinstance(weights, (list, tuple)):
        raise TypeError(f"interchange: {library}: takes a dictionary of arrays, got {type(weights).__name__}")
    else:
        whole = all(isinstance(unit, (Mapping, list, tuple)) for unit in weights)
        units = [named(u) if isinstance(u, Mapping) else u for u in (weights if whole else [weights])]
    if len(units) != plan.units:
        raise ValueError(f"interchange: {library}: weights of {len(units)} {of}s there, of {plan.units} here")
    result: dict[str, Any] = {}
    for u, unit in enumerate(units):
        names = [name.partition("/")[2] for name in plan.slots if name.startswith(f"{u}/")]
        if not isinstance(unit, Mapping) and len(unit) > len(names):
            raise ValueError(f"interchange: {library}: {len(unit)} arrays there, {len(names)} here: {', '.join(names)}")
        plain = [name for name in names if not plan.slots[f"{u}/{name}"][0].spec.is_bias]
        in_order = plain if len(unit) == len(plain) else names  # of a layer without biases, the others
        pairs = unit.items() if isinstance(unit, Mapping) else zip(in_order, unit, strict=False)
        result |= {f"{u}/{name}": x for name, x in pairs}
    return result


def _leaves(weights: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in weights.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}{key}/")
        else:
            yield f"{path}{key}", value

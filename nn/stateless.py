"""A module as a function of its parameters."""

from __future__ import annotations

from _thread import RLock  # what threading has, which takes long to load
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tinygrad_seq import Tensor
from tinygrad_seq.graph import recomputation

from .module import Module

Slots = list[tuple[str, Module, str, Tensor]]

_swapping = RLock()
_own: dict[tuple[int, str], Tensor] = {}  # under this lock, what modules hold themselves where a tensor is replaced


def functional_call(
    module: Module,
    tensors: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
) -> Any:
    """What the module returns for the arguments with some of its parameters and buffers replaced for this one call.

    With it, a module is a function of its parameters, which `tg.grad`, `tg.jvp`, `tg.vmap` and the others take:

    >>> def loss(parameters, x):
    ...     return nn.functional_call(module, parameters, x).sum()
    >>> parameters = {name: p.detach() for name, p in module.named_parameters()}
    >>> tg.grad(loss)(parameters, x)

    Afterwards, and after an error, the module is as it was. Calls in several threads wait for one another; a thread
    that calls a module directly needs a copy of its own (`copy.deepcopy`).

    Args:
        tensors: what to put in the place of the parameters and buffers of these names, or several such mappings. One
            that is used in several places is replaced in all of them.
        args: the positional arguments, as a tuple, or the only one.

    Raises:
        KeyError: if the module has no tensor of such a name.
        TypeError: if a replacement is no tensor.
        ValueError: if different ones are given for several names of one tensor, or two mappings have the same name.
    """
    given = _merged(tensors)
    # a checkpoint inside runs again when the module has its own parameters back
    with recomputation.reentrant(lambda: _swapped(module, given)):
        return module(*(args if isinstance(args, tuple) else (args,)), **(kwargs or {}))


def _merged(tensors: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    mappings = [tensors] if isinstance(tensors, Mapping) else list(tensors)
    merged: dict[str, Tensor] = {}
    for mapping in mappings:
        if not isinstance(mapping, Mapping):
            raise TypeError(f"functional_call: takes a mapping of names to tensors, got a {type(mapping).__name__}")
        twice = sorted(mapping.keys() & merged.keys())
        if twice:
            raise ValueError(f"functional_call: got {twice} in several mappings")
        merged.update(mapping)
    for name, tensor in merged.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"functional_call: {name!r} takes a tensor, got a {type(tensor).__name__}; use tg.tensor()")
    return merged


@contextmanager
def _swapped(module: Module, tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """The module with these tensors in the place of its own."""
    with _swapping:
        slots = [
            (f"{place}.{name}" if place else name, owner, name, _own.get((id(owner), name), value))
            for place, owner in module.named_modules(remove_duplicate=False)
            for name, value in vars(owner).items()
            if isinstance(value, Tensor)
        ]
        replacements = _replacements(type(module).__name__, slots, tensors)
        places = [(owner, name, vars(owner)[name], own) for _, owner, name, own in slots if id(own) in replacements]
        outermost = {(id(owner), name) for owner, name, _, _ in places} - _own.keys()
        try:
            for owner, name, _, own in places:
                _own[id(owner), name] = own
                vars(owner)[name] = replacements[id(own)]
            yield
        finally:
            for owner, name, before, _ in places:
                vars(owner)[name] = before
            for key in outermost:
                _own.pop(key, None)


def _replacements(model: str, slots: Slots, tensors: Mapping[str, Tensor]) -> dict[int, Tensor]:
    """By the ids of the module's own tensors, what to put in their place."""
    own = {name: id(tensor) for name, _, _, tensor in slots}
    unknown = [name for name in tensors if name not in own]
    if unknown:
        raise KeyError(f"functional_call: {model} has no {unknown}; it has {sorted(own)}")
    replacements: dict[int, Tensor] = {}
    for name, tensor in tensors.items():
        other = replacements.setdefault(own[name], tensor)
        if other.node is not tensor.node or other.array is not tensor.array:
            tied = [n for n in tensors if own[n] == own[name]]
            raise ValueError(
                f"functional_call: {tied} are names of one tensor of {model}, and got different ones; give the same "
                "tensor for all, or one name alone"
            )
    return replacements

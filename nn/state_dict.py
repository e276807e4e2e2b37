"""Loading the state of a module: all of what does not fit is named, and nothing is changed then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import tinygrad_seq as tg
from tinygrad_seq import Tensor

from .parameter import Parameter

if TYPE_CHECKING:
    from .module import Module

_KINDS = {"b": 0, "i": 1, "u": 1, "f": 2, "c": 3}  # of numbers, each fitting into those after it


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` found missing and unexpected."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def load_state(module: Module, given: Mapping[str, Any], strict: bool, assign: bool) -> IncompatibleKeys:
    """See `Module.load_state_dict`."""
    if not isinstance(given, Mapping):
        raise TypeError(f"load_state_dict: takes a mapping of names to tensors, got a {type(given).__name__}")
    own = module._state()
    missing = [name for name in own if name not in given]
    unexpected = [name for name in given if name not in own]
    new = {name: tg.as_tensor(given[name], like=None if assign else own[name]) for name in own if name in given}
    problems = [
        f"{name}: has shape {tuple(value.shape)} there, {own[name].shape} here"
        for name, value in new.items()
        if tuple(value.shape) != own[name].shape
    ]
    problems += [
        f"{name}: has {value.dtype} there, which does not fit the {own[name].dtype} here"
        for name, value in new.items()
        if _KINDS[value.dtype.kind] > max(_KINDS[own[name].dtype.kind], 1)
        or (assign and own[name].requires_grad and value.dtype.kind not in "fc")
    ]
    problems += [
        f"{name}: is in read-only memory here (expanded, say); give the module a clone()"
        for name in new
        if not assign and not own[name].is_writable()
    ]
    if strict:
        problems += [f"{name}: is missing there" for name in missing]
        problems += [f"{name}: is not known here" for name in unexpected]
    if problems:
        raise RuntimeError(
            f"load_state_dict: {type(module).__name__} cannot take this state:\n  " + "\n  ".join(problems)
        )
    if assign:
        for name, value in new.items():
            _put(module, name, own[name], value)
        return IncompatibleKeys(missing, unexpected)
    with tg.no_grad():
        moved = {name: value.to(own[name]) for name, value in new.items()}
        for name, value in moved.items():  # nothing can fail any more
            own[name].copy_(value)
    return IncompatibleKeys(missing, unexpected)


def _put(module: Module, name: str, old: Tensor, new: Tensor) -> None:
    """Put a tensor in place of the parameter or buffer of a dotted name."""
    place, _, attribute = name.rpartition(".")
    if isinstance(old, Parameter):
        new = new if isinstance(new, Parameter) else Parameter(new.detach(), old.requires_grad)
        new.requires_grad_(old.requires_grad)
    setattr(module.get_submodule(place), attribute, new)

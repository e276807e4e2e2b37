"""Containers of tensors: lists, tuples, named tuples, dictionaries and dataclasses, nested at will."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from typing import Any


class Hole:
    """Stands for each leaf in the form of a container."""

    dtype = None  # like a tensor: a dataclass with holes is a container still


HOLE = Hole()


def form_of(tree: Any) -> Any:
    """A container like `tree`, with nothing in it."""
    return tree_map(lambda _: HOLE, tree)


def leaves(tree: Any) -> list[Any]:
    """What stands at the ends of a nested container, in order; None counts for nothing."""
    if isinstance(tree, dict):
        return [leaf for value in tree.values() for leaf in leaves(value)]
    if isinstance(tree, (list, tuple)):
        return [leaf for value in tree for leaf in leaves(value)]
    if is_record(tree):
        return [leaf for value in fields_of(tree).values() for leaf in leaves(value)]
    return [] if tree is None else [tree]


def is_record(x: Any) -> bool:
    """Whether this is a dataclass with tensors or arrays in its fields, as a batch.

    One of settings is a leaf; so is a module, and one with eq=False, which stands for itself and not for its fields.
    """
    kind = type(x)
    params = getattr(kind, "__dataclass_params__", None)
    if params is None or not params.eq or hasattr(kind, "named_parameters"):
        return False
    return any(hasattr(type(leaf), "dtype") for value in fields_of(x).values() for leaf in leaves(value))


def fields_of(record: Any) -> dict[str, Any]:
    """The fields of a dataclass, as far as they are set."""
    return {name: getattr(record, name) for name in type(record).__dataclass_fields__ if hasattr(record, name)}


def rebuild(tree: Any, new_leaves: Iterator[Any]) -> Any:
    """A container like `tree`, with the next of `new_leaves` in the place of each leaf."""
    if isinstance(tree, dict):
        values = {key: rebuild(value, new_leaves) for key, value in tree.items()}
        if type(tree) is dict:
            return values
        made = copy(tree)  # with what else it has, as a default
        made.update(values)
        return made
    if isinstance(tree, (list, tuple)):
        entries = [rebuild(value, new_leaves) for value in tree]
        kind: Any = type(tree)
        if isinstance(tree, list) and kind is not list:
            made_list = copy(tree)
            made_list[:] = entries
            return made_list
        return kind._make(entries) if hasattr(tree, "_fields") else kind(entries)
    if is_record(tree):
        made_record = copy(tree)
        for name, value in fields_of(tree).items():
            object.__setattr__(made_record, name, rebuild(value, new_leaves))  # it may be frozen
        return made_record
    return None if tree is None else next(new_leaves)


def tree_map(function: Callable[[Any], Any], tree: Any) -> Any:
    """A container like `tree` of what `function` makes of each leaf."""
    return rebuild(tree, map(function, leaves(tree)))

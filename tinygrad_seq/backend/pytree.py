"""Containers of tensors: lists, tuples, named tuples and dictionaries, nested at will."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from typing import Any


def leaves(tree: Any) -> list[Any]:
    """What stands at the ends of a nested container, in order; None counts for nothing."""
    if isinstance(tree, dict):
        return [leaf for value in tree.values() for leaf in leaves(value)]
    if isinstance(tree, (list, tuple)):
        return [leaf for value in tree for leaf in leaves(value)]
    return [] if tree is None else [tree]


def structure(tree: Any) -> Any:
    """How a container is built and which objects are its leaves, to see whether it is still so."""
    if isinstance(tree, dict):
        return type(tree), tuple([(key, structure(value)) for key, value in tree.items()])
    if isinstance(tree, (list, tuple)):
        return type(tree), tuple([structure(value) for value in tree])
    return id(tree)


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
    return None if tree is None else next(new_leaves)


def tree_map(function: Callable[[Any], Any], tree: Any) -> Any:
    """A container like `tree` of what `function` makes of each leaf."""
    return rebuild(tree, map(function, leaves(tree)))

"""Hooks: what to do with the gradient that arrives at a tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .node import Node

after_backward: list[Callable[[Any], None]] = []  # called at the end of each `backward()`, with the nodes it reached


class RemovableHandle:
    """Takes a hook away again."""

    def __init__(self, node: Node, call: Callable[[Any], Any]) -> None:
        self._node, self._call = node, call
        Node.any_hooks = True
        hooks = [*getattr(node, "hooks", ()), call]
        node.hooks = sorted(
            hooks, key=lambda hook: isinstance(hook, Retained)
        )  # which keeps what the others made of it

    def remove(self) -> None:
        """End the hook. A second time it does nothing."""
        self._node.hooks = [hook for hook in self._node.hooks if hook is not self._call]


class Retained:
    """The hook that keeps the gradient of a tensor which is no leaf.

    Attributes:
        grad: the sum of the gradients that arrived so far, as a tensor; None before.
    """

    def __init__(self, as_tensor: Callable[[Any], Any]) -> None:
        self._as_tensor = as_tensor
        self.grad: Any = None

    def __call__(self, g: Any) -> Any:
        arrived = self._as_tensor(g)
        self.grad = arrived if self.grad is None else self.grad + arrived
        return g

    @staticmethod
    def of(node: Node | None) -> Retained | None:
        """The one that a node has, if any."""
        return next((hook for hook in getattr(node, "hooks", ()) if isinstance(hook, Retained)), None)

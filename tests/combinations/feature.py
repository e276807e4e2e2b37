"""What a feature is: how it changes the program, and in plain code what that means."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from random import Random
from typing import Any, ClassVar

import tinygrad_seq as tg

from .world import Function, World


class Feature:
    """One feature. What it does not say, it does not change.

    The methods that begin with `plain_` say in plain code what must come out; the others use the library's feature.

    Attributes:
        needs: words of which one must be in the description of the model; any model will do without.
        outermost: where several have a `plain_outermost`, the higher ones come around the lower ones.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    outermost: ClassVar[int] = 0
    draws: ClassVar[bool] = False  # random numbers whose order depends on how sequences are batched

    def __init__(self, rng: Random) -> None:
        self.rng = rng  # for choices that both runs make alike

    def prepare(self, world: World) -> None:
        """Before the first step, to the model."""

    def plain_prepare(self, world: World) -> None:
        pass

    def around(self, world: World) -> AbstractContextManager[Any]:
        """Around the forward and the backward pass of a step."""
        return nullcontext()

    def plain_around(self, world: World) -> AbstractContextManager[Any]:
        return nullcontext()

    def input(self, world: World, x: tg.Tensor) -> tg.Tensor:
        """To the input, outside of all functions."""
        return x

    def function(self, world: World, f: Function) -> Function:
        """To the loss as a function of the input."""
        return f

    def plain_function(self, world: World, f: Function) -> Function:
        return f

    def plain_outermost(self, world: World, f: Function) -> Function:
        """The meaning of what is done outside of all functions."""
        return f

    def between(self, world: World) -> None:
        """Between the forward and the backward pass."""

    def loss(self, world: World, loss: tg.Tensor, x: tg.Tensor) -> tg.Tensor:
        """To the loss, outside of all functions."""
        return loss

    def passed(self, world: World, x: tg.Tensor) -> None:
        """After the backward pass."""

    def plain_passed(self, world: World, x: tg.Tensor) -> None:
        pass

    def after(self, world: World) -> None:
        """Between two steps."""

    def plain_after(self, world: World) -> None:
        pass

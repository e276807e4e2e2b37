"""Features of a training step: hooks, kept gradients, second sweeps, what changes in between, and the update."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import nn
import tinygrad_seq as tg

from .feature import Feature
from .world import Function, World, direction, inner


class TensorHook(Feature):
    """A hook on a tensor outside of all functions: called once with the whole gradient, which it halves."""

    name = "tensor hook"

    def input(self, world: World, x: tg.Tensor) -> tg.Tensor:
        def halved(g: tg.Tensor) -> tg.Tensor:
            world.note("tensor hook", g)
            return g * 0.5

        y = x * 1 if x.is_leaf else x
        y.register_hook(halved)
        return y

    def plain_outermost(self, world: World, f: Function) -> Function:
        return lambda x, batch: f(x * 0.5 + world.constant(x) * 0.5, batch)

    def plain_passed(self, world: World, x: tg.Tensor) -> None:
        for g in world.arrived("x", x):
            world.note("tensor hook", g / 0.5)


class ParameterHooks(Feature):
    """Hooks on parameters: called once with the whole gradient, which they turn around."""

    name = "parameter hooks"

    @contextmanager
    def around(self, world: World) -> Iterator[None]:
        def turned(name: str) -> Any:
            def hook(g: tg.Tensor) -> tg.Tensor:
                world.note(f"hook of {name}", g)
                return g * -2

            return hook

        handles = [p.register_hook(turned(name)) for name, p in world.trained()]
        yield
        for handle in handles:
            handle.remove()

    def plain_outermost(self, world: World, f: Function) -> Function:
        def turned(x: tg.Tensor, batch: Any) -> tg.Tensor:
            with world.replaced(lambda _, p: p * -2 + world.constant(p) * 3):
                return f(x, batch)

        return turned

    def plain_passed(self, world: World, x: tg.Tensor) -> None:
        for name, p in world.leaves.items():
            for g in world.arrived(name, p):
                world.note(f"hook of {name}", g / -2)


class RetainGrad(Feature):
    """The gradient of a tensor outside that is no leaf: as its hooks leave it, wherever they were put."""

    name = "retain_grad"

    def input(self, world: World, x: tg.Tensor) -> tg.Tensor:
        y = x * 1 if x.is_leaf else x
        y.retain_grad()
        world.kept.append(y)
        return y

    def passed(self, world: World, x: tg.Tensor) -> None:
        world.note("retained", world.kept.pop().grad)

    def plain_passed(self, world: World, x: tg.Tensor) -> None:
        world.note("retained", x.grad)


class CreateGraph(Feature):
    """The loss, and a derivative that `backward` left in `.grad` added to it."""

    name = "create_graph"
    outermost = 1

    def loss(self, world: World, loss: tg.Tensor, x: tg.Tensor) -> tg.Tensor:
        loss.backward(create_graph=True)
        leaves: list[tuple[tg.Tensor, tg.Tensor]]
        leaves = [(p, direction(p, len(name))) for name, p in world.leaves.items() if p.grad is not None]
        leaves.append((x, direction(x)))
        total = loss + inner([leaf.grad for leaf, _ in leaves if leaf.grad is not None], [v for _, v in leaves])
        for leaf in [*[leaf for leaf, _ in leaves], *world.kept]:
            leaf.grad = None
        return total

    def plain_outermost(self, world: World, f: Function) -> Function:
        def added(x: tg.Tensor, batch: Any) -> tg.Tensor:
            def at(h: float) -> tg.Tensor:
                with world.moved(h, without=world.late):
                    return f(x + direction(x) * h, batch)

            value, derivative = world.derived(at)
            world.first_sweep(value, x)
            return value + derivative

        return added


class Twice(Feature):
    """Two backward passes over one graph: gradients add up."""

    name = "retain_graph"

    def prepare(self, world: World) -> None:
        world.sweeps = 2

    plain_prepare = prepare


class FrozenBetween(Feature):
    """A parameter that is frozen between the forward and the backward pass gets no gradient, until it is free again."""

    name = "frozen in between"

    def plain_prepare(self, world: World) -> None:
        world.late = ("head.0.weight",)

    def between(self, world: World) -> None:
        world.leaves["head.0.weight"].requires_grad_(False)

    def passed(self, world: World, x: tg.Tensor) -> None:
        world.leaves["head.0.weight"].requires_grad_(True)


class ReboundBetween(Feature):
    """Another Parameter stands in the place of one while the backward pass runs: the gradient is the first one's."""

    name = "re-bound in between"

    def between(self, world: World) -> None:
        linear = world.model.head[0]
        self.weight = linear.weight
        linear.weight = nn.Parameter(linear.weight.detach() * 2)

    def passed(self, world: World, x: tg.Tensor) -> None:
        world.model.head[0].weight = self.weight


class WrittenBetween(Feature):
    """A parameter is changed in place between the forward and the backward pass: refused where it is still needed.

    Which a weight is, and a bias is not, but where it is computed with again.
    """

    name = "written in between"

    def prepare(self, world: World) -> None:
        self.place = self.rng.choice(["head.2.weight", "head.0.bias", "head.2.bias", "embedding.weight"])

    plain_prepare = prepare

    def between(self, world: World) -> None:
        with tg.no_grad():
            dict(world.model.named_parameters()).get(self.place, world.model.head[2].bias).mul_(1.5)

    def plain_passed(self, world: World, x: tg.Tensor) -> None:
        self.between(world)


class Groups(Feature):
    """Weights and biases with settings of their own."""

    name = "parameter groups"

    def prepare(self, world: World) -> None:
        world.settings |= {"groups": True}

    plain_prepare = prepare


class Clipping(Feature):
    """Gradients scaled down to a length, or cut off."""

    name = "clipping"

    def prepare(self, world: World) -> None:
        world.settings |= {"clip": self.rng.choice(["norm", "value"])}

    plain_prepare = prepare


class Schedule(Feature):
    """Learning rates that fall from step to step."""

    name = "scheduler"

    def prepare(self, world: World) -> None:
        world.settings |= {"schedule": self.rng.choice(["StepLR", "ExponentialLR", "MultiStepLR"])}

    plain_prepare = prepare


STEPS: list[type[Feature]] = [
    TensorHook, ParameterHooks, RetainGrad, CreateGraph, Twice, FrozenBetween, ReboundBetween, WrittenBetween, Groups,
    Clipping, Schedule,
]  # fmt: skip

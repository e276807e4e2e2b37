"""Features that make another function of a function: derivatives, samples, checkpoints, what functions do inside."""

from __future__ import annotations

import nn
import tinygrad_seq as tg

from .feature import Feature
from .world import Function, World, direction, inner
from .zoo import Batch


class Checkpoint(Feature):
    """The whole function is computed again, or a part of the model, or both."""

    name = "checkpoint"

    def prepare(self, world: World) -> None:
        self.whole, world.model.again = self.rng.choice(
            [(True, ()), (False, ("recurrent",)), (False, ("head", "recurrent")), (True, ("recurrent",))]
        )

    def function(self, world: World, f: Function) -> Function:
        return (lambda x, batch: tg.checkpoint(f, x, batch)) if self.whole else f


class Vmap(Feature):
    """Each sample alone."""

    name = "vmap"

    def function(self, world: World, f: Function) -> Function:
        def alone(x: tg.Tensor, batch: Batch) -> tg.Tensor:
            return f(x.unsqueeze(0), {name: value.unsqueeze(0) for name, value in batch.items()})

        return lambda x, batch: tg.vmap(alone)(x, batch).sum()

    def plain_function(self, world: World, f: Function) -> Function:
        def each(x: tg.Tensor, batch: Batch) -> tg.Tensor:
            samples = [f(x[n : n + 1], {k: v[n : n + 1] for k, v in batch.items()}) for n in range(len(x))]
            return tg.stack(samples).sum()

        return each


class Scan(Feature):
    """Sample after sample, the last one first; each begins with a part of what came of those before."""

    name = "scan"

    def function(self, world: World, f: Function) -> Function:
        def step(total: tg.Tensor, sample: tuple[tg.Tensor, Batch]) -> tuple[tg.Tensor, tg.Tensor]:
            x, batch = sample
            value = f(x.unsqueeze(0) + total * 0.01, {name: value.unsqueeze(0) for name, value in batch.items()})
            return total + value, value

        def scanned(x: tg.Tensor, batch: Batch) -> tg.Tensor:
            total, values = tg.scan(step, tg.zeros((), dtype=x.dtype), (x, batch), reverse=True)
            return total + values[0]

        return scanned

    def plain_function(self, world: World, f: Function) -> Function:
        def each(x: tg.Tensor, batch: Batch) -> tg.Tensor:
            total = value = tg.zeros((), dtype=x.dtype)
            for n in reversed(range(len(x))):
                value = f(x[n : n + 1] + total * 0.01, {k: v[n : n + 1] for k, v in batch.items()})
                total = total + value
            return total + value

        return each


class _Derivative(Feature):
    """The function, and a derivative by its input added to it."""

    order = 1

    def plain_function(self, world: World, f: Function) -> Function:
        def added(x: tg.Tensor, batch: Batch) -> tg.Tensor:
            value, derivative = world.derived(lambda h: f(x + direction(x) * h, batch), self.order)
            return value + derivative

        return added


class Grad(_Derivative):
    name = "grad"

    def function(self, world: World, f: Function) -> Function:
        def added(x: tg.Tensor, batch: Batch) -> tg.Tensor:
            value, gradient = tg.value_and_grad(f)(x, batch)
            return value + (gradient * direction(x)).sum()

        return added


class Vjp(_Derivative):
    name = "vjp"

    def function(self, world: World, f: Function) -> Function:
        def added(x: tg.Tensor, batch: Batch) -> tg.Tensor:
            value, pull = tg.vjp(lambda x: f(x, batch), x)
            return value + (pull(tg.ones_like(value))[0] * direction(x)).sum()

        return added


class Jvp(_Derivative):
    name = "jvp"

    def function(self, world: World, f: Function) -> Function:
        def added(x: tg.Tensor, batch: Batch) -> tg.Tensor:
            value, derivative = tg.jvp(lambda x: f(x, batch), (x,), (direction(x),))
            return value + derivative

        return added


class Hvp(_Derivative):
    name = "hvp"
    order = 2

    def function(self, world: World, f: Function) -> Function:
        def added(x: tg.Tensor, batch: Batch) -> tg.Tensor:
            value, (product,) = tg.hvp(lambda x: f(x, batch), (x,), (direction(x),))
            return value + (product * direction(x)).sum()

        return added


class Jacobian(_Derivative):
    """Of two results, each a row; the value is computed once more."""

    name = "jacobian"

    def function(self, world: World, f: Function) -> Function:
        def added(x: tg.Tensor, batch: Batch) -> tg.Tensor:
            def both(x: tg.Tensor) -> tg.Tensor:
                value = f(x, batch)
                return tg.stack([value, value * 2])

            rows = tg.jacobian(both)(x)
            return f(x, batch) + (rows * direction(x)).sum() / 3

        return added

    def plain_function(self, world: World, f: Function) -> Function:
        def added(x: tg.Tensor, batch: Batch) -> tg.Tensor:
            _, derivative = world.derived(lambda h: f(x + direction(x) * h, batch))
            return f(x, batch) + derivative

        return added


class _Inside(nn.Module):
    """A function that uses a model, as a module: `functional_call` takes it."""

    def __init__(self, world: World, f: Function) -> None:
        self.model, self._f = world.model, f

    def forward(self, x: tg.Tensor, batch: Batch) -> tg.Tensor:
        return self._f(x, batch)


class FunctionalCall(Feature):
    """The function with other tensors, equal ones, in the place of some of the model's parameters."""

    name = "functional_call"

    def function(self, world: World, f: Function) -> Function:
        share = self.rng.choice([1, 2])

        def called(x: tg.Tensor, batch: Batch) -> tg.Tensor:
            tensors = {f"model.{name}": p * 1 for n, (name, p) in enumerate(world.current().items()) if n % share == 0}
            return nn.functional_call(_Inside(world, f), tensors, (x, batch))

        return called


class GradOfParameters(Feature):
    """The function, and a derivative by the parameters added to it."""

    name = "grad by parameters"

    def function(self, world: World, f: Function) -> Function:
        def added(x: tg.Tensor, batch: Batch) -> tg.Tensor:
            tensors = {f"model.{name}": p for name, p in world.current().items()}
            value, gradients = tg.value_and_grad(
                lambda tensors: nn.functional_call(_Inside(world, f), tensors, (x, batch))
            )(tensors)
            directions = [direction(p, len(name)) for name, p in world.leaves.items()]
            return value + inner(list(gradients.values()), directions)

        return added

    def plain_function(self, world: World, f: Function) -> Function:
        def added(x: tg.Tensor, batch: Batch) -> tg.Tensor:
            def at(h: float) -> tg.Tensor:
                with world.moved(h):
                    return f(x, batch)

            value, derivative = world.derived(at)
            return value + derivative

        return added


class Detach(Feature):
    """The function times a factor that is made of its value, and is a constant."""

    name = "detach"

    def function(self, world: World, f: Function) -> Function:
        def scaled(x: tg.Tensor, batch: Batch) -> tg.Tensor:
            value = f(x, batch)
            return value * tg.tanh(value.detach())

        return scaled

    def plain_function(self, world: World, f: Function) -> Function:
        def scaled(x: tg.Tensor, batch: Batch) -> tg.Tensor:
            value = f(x, batch)
            return value * world.constant(tg.tanh(value))

        return scaled


class NoGrad(Feature):
    """A region that is not recorded: it writes to a buffer of the model, and its result is a constant."""

    name = "no_grad"

    def function(self, world: World, f: Function) -> Function:
        def scaled(x: tg.Tensor, batch: Batch) -> tg.Tensor:
            with tg.no_grad():
                factor = tg.exp(x.mean())
                world.model.seen[0] += 1
                world.model.seen.select(0, 1).mul_(0.5).add_(factor)
            return f(x, batch) * factor

        return scaled

    def plain_function(self, world: World, f: Function) -> Function:
        def scaled(x: tg.Tensor, batch: Batch) -> tg.Tensor:
            factor = world.constant(tg.exp(x.mean()))
            if not world.following:
                count, mean = world.model.seen.tolist()
                world.model.seen.copy_(tg.tensor([count + 1, mean * 0.5 + factor.item()]))
            return f(x, batch) * factor

        return scaled


class InPlace(Feature):
    """The input changed in place, in memory of the function's own."""

    name = "in place"

    def function(self, world: World, f: Function) -> Function:
        def changed(x: tg.Tensor, batch: Batch) -> tg.Tensor:
            y = x.clone()
            y += 0.25
            y.mul_(1.5).tanh_()
            offset = tg.zeros_like(x)
            with tg.no_grad():
                offset[:, 0] = 0.5
                offset -= 0.25
            return f(y + offset.requires_grad_(False), batch)

        return changed

    def plain_function(self, world: World, f: Function) -> Function:
        def changed(x: tg.Tensor, batch: Batch) -> tg.Tensor:
            first = (tg.arange(x.shape[1], device=x.device) == 0).unsqueeze(-1)
            return f(tg.tanh((x + 0.25) * 1.5) + tg.where(first, 0.25, -0.25).to(x.dtype), batch)

        return changed


class Views(Feature):
    """The input seen through views and back, and numbers written through views of fresh memory."""

    name = "views"

    def function(self, world: World, f: Function) -> Function:
        def turned(x: tg.Tensor, batch: Batch) -> tg.Tensor:
            steps = x.transpose(0, 1).unbind(0)
            y = tg.stack(steps, 1).flip(1).flip(1)
            y = tg.cat([y[..., :1], y.narrow(-1, 1, y.shape[-1] - 1)], -1).reshape(-1).view(x.shape)
            offset = tg.zeros_like(x)
            copied = offset.flip(0)
            offset.select(1, 0).fill_(0.5)
            offset[:, -1].add_(0.25)
            return f(y.squeeze().reshape(x.shape) + offset + copied, batch)

        return turned

    def plain_function(self, world: World, f: Function) -> Function:
        def turned(x: tg.Tensor, batch: Batch) -> tg.Tensor:
            t = tg.arange(x.shape[1], device=x.device).unsqueeze(-1)
            return f(x + (t == 0) * 0.5 + (t == x.shape[1] - 1) * 0.25, batch)

        return turned


class Noise(Feature):
    """The input with noise from a generator of the user's own and from the one that all share."""

    name = "generators"
    draws = True

    def function(self, world: World, f: Function) -> Function:
        def noisy(x: tg.Tensor, batch: Batch) -> tg.Tensor:
            own = tg.randn(x.shape, generator=world.generator, dtype=x.dtype)
            return f(x + own * 0.1 + tg.rand(x.shape, dtype=x.dtype) * 0.1, batch)

        return noisy

    plain_function = function


class HookInside(Feature):
    """A hook on a tensor of the function's own halves the gradient that passes."""

    name = "hook inside"

    def function(self, world: World, f: Function) -> Function:
        def hooked(x: tg.Tensor, batch: Batch) -> tg.Tensor:
            y = x * 1
            if y.requires_grad:
                y.register_hook(lambda g: g * 0.5)
            return f(y, batch)

        return hooked

    def plain_function(self, world: World, f: Function) -> Function:
        return lambda x, batch: f(x * 0.5 + world.constant(x) * 0.5, batch)


class CompiledFunction(Feature):
    """The function compiled with all that it is made of: recorded at the first step, and replayed at the second."""

    name = "compiled function"

    def prepare(self, world: World) -> None:
        self.executor = self.rng.choice(["numpy", None])
        self.compiled: Function | None = None

    def function(self, world: World, f: Function) -> Function:
        self.compiled = self.compiled or tg.compile(f, executor=self.executor)
        return self.compiled


FUNCTIONS: list[type[Feature]] = [
    Checkpoint, Vmap, Scan, Grad, Vjp, Jvp, Hvp, Jacobian, FunctionalCall, GradOfParameters, Detach, NoGrad, InPlace,
    Views, Noise, HookInside, CompiledFunction,
]  # fmt: skip

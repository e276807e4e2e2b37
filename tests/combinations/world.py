"""One run of the training program: a model, its random numbers, an optimizer, and what is seen of it.

The same program runs twice: with features as the library has them, and in plain code that says what they mean. In
plain code a derivative along a direction is a difference of values, and what `detach` makes a constant is a number
that stays when the direction is followed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import nn
import tinygrad_seq as tg

from .zoo import Batch

if TYPE_CHECKING:
    from .feature import Feature
    from .zoo import Net

Function = Callable[[tg.Tensor, Batch], tg.Tensor]  # an input (B, T, F) and what goes with it -> a scalar

# of values at small steps h: the first and the second derivative, up to h⁶ (Fornberg, 1988)
# the weights of values at 0, h, 2 h, ... in a derivative of first order (odd: f(-h) has -w) and of second (even)
Weights = dict[int, tuple[float, ...]]
WEIGHTS: Weights = {1: (0.0, 3 / 4, -3 / 20, 1 / 60), 2: (-49 / 18, 3 / 2, -3 / 20, 1 / 90)}  # exact to h^6
# exact to h^10, so that long steps will do, at which rounding matters less
OF_TEN: Weights = {
    1: (0.0, 5 / 6, -5 / 21, 5 / 84, -5 / 504, 1 / 1260),
    2: (-5269 / 1800, 5 / 3, -5 / 21, 5 / 126, -5 / 1008, 1 / 3150),
}


def direction(like: tg.Tensor, phase: float = 0.0) -> tg.Tensor:
    """A tensor of the shape of another, in which derivatives are taken."""
    numbers = tg.arange(like.numel(), dtype=tg.float64, device=like.device)
    return (tg.sin(numbers * 1.7 + phase + 0.5) * 0.4).reshape(like.shape)


def inner(a: Sequence[tg.Tensor], b: Sequence[tg.Tensor]) -> tg.Tensor:
    """Σ a · b over several tensors."""
    total = (a[0] * b[0]).sum()
    for x, y in zip(a[1:], b[1:], strict=True):
        total = total + (x * y).sum()
    return total


class World:
    """A run of the program.

    Attributes:
        plain: whether it is in plain code; `h`: with differences of such steps.
        notes: what hooks and the like were told, by name, in order.
        frozen: names of parameters that get no gradient; `late`: those frozen between forward and backward.
        leaves: the parameters that get a gradient in this step.
        kept: tensors whose gradient is retained.
        settings: of the update.
    """

    def __init__(
        self,
        features: Sequence[Feature],
        model: Net,
        x: tg.Tensor,
        batch: Batch,
        h: float | None,
        weights: Weights = WEIGHTS,
    ) -> None:
        self.features, self.model, self.x, self.batch = features, model, x, batch
        self.plain, self.h, self.weights = h is not None, h or 0.0, weights
        self.names = {feature.name for feature in features}
        self.generator = tg.Generator(7)
        self.notes: dict[str, list[Any]] = {}
        self.frozen: set[str] = set()
        self.late: tuple[str, ...] = ()
        self.leaves: dict[str, nn.Parameter] = {}
        self.before: dict[str, Any] = {}
        self.kept: list[tg.Tensor] = []
        self.settings: dict[str, Any] = {}
        self.optimizer: Any = None
        self._constants: list[tg.Tensor] = []
        self._next = 0
        self.following = 0  # how many directions are being followed
        self.sweeps = 1  # how often the backward pass goes over the graph
        self._first: dict[str, tg.Tensor] = {}  # what arrived before, in a sweep that was recorded

    # --- what is seen ---

    def note(self, name: str, value: Any) -> None:
        """A hook, or the like, was told this."""
        if not self.following:
            self.notes.setdefault(name, []).append(value.detach().tolist() if isinstance(value, tg.Tensor) else value)

    def trained(self) -> list[tuple[str, nn.Parameter]]:
        """The parameters that get a gradient."""
        return [(name, p) for name, p in self.model.named_parameters() if name not in self.frozen]

    def current(self) -> dict[str, tg.Tensor]:
        """What stands in the place of these parameters, where `functional_call` may have put something else."""
        named = [(name, *name.rpartition(".")[::2]) for name in self.leaves]
        return {name: getattr(self.model.get_submodule(prefix), own) for name, prefix, own in named}

    # --- plain code ---

    def constant(self, x: tg.Tensor) -> tg.Tensor:
        """A number that stays while a direction is followed."""
        if not self.following:
            self._constants.append(x.detach().clone())
        self._next += 1
        return self._constants[self._next - 1]

    def derived(self, at: Callable[[float], tg.Tensor], order: int = 1) -> tuple[tg.Tensor, tg.Tensor]:
        """at(0), and a derivative of `at` there, of first or second order."""
        start = self._mark()
        value = at(0.0)
        after = self._mark()
        self.following += 1
        total: Any = 0.0
        for k, weight in enumerate(self.weights[order]):
            for sign in (1, -1) if k else (1,):
                self._rewind(start)
                total = total + at(sign * k * self.h) * (weight * sign**order)
        self.following -= 1
        self._rewind(after)
        return value, total / self.h**order

    def first_sweep(self, value: tg.Tensor, x: tg.Tensor) -> None:
        """Note what arrives at the input and at the parameters in a sweep before the last ones."""
        value.backward(retain_graph=True)
        leaves: list[tuple[str, tg.Tensor]] = [("x", x), *self.leaves.items()]
        self._first = {name: leaf.grad for name, leaf in leaves if leaf.grad is not None}
        for _, leaf in leaves:
            leaf.grad = None

    def arrived(self, name: str, leaf: tg.Tensor) -> list[tg.Tensor]:
        """What arrived at the input ("x") or at a parameter, sweep by sweep."""
        if leaf.grad is None:
            return []
        return [*([self._first[name]] if name in self._first else []), *[leaf.grad / self.sweeps] * self.sweeps]

    def _mark(self) -> Any:
        return tg.default_generator.get_state(), self.generator.get_state(), self._next

    def _rewind(self, state: Any) -> None:
        default, own, self._next = state
        tg.default_generator.set_state(default)
        self.generator.set_state(own)

    @contextmanager
    def replaced(self, change: Callable[[str, tg.Tensor], tg.Tensor]) -> Iterator[None]:
        """Other tensors in the place of the model's parameters, put there by hand."""
        places = [
            (module, name, value, f"{prefix}.{name}" if prefix else name)
            for prefix, module in self.model.named_modules()
            for name, value in vars(module).items()
            if isinstance(value, tg.Tensor) and name not in vars(module).get("_buffers", ())
        ]
        try:
            for module, name, value, full in places:
                if full not in self.frozen:
                    vars(module)[name] = change(full, value)
            yield
        finally:
            for module, name, value, _ in places:
                vars(module)[name] = value

    def moved(self, h: float, without: Sequence[str] = ()) -> Any:
        """All parameters a step further in their directions."""
        return self.replaced(lambda name, p: p if name in without else p + direction(p, len(name)) * h)

    # --- the program ---

    def function(self) -> Function:
        """The loss as a function of the input, with what the features make of it."""
        f: Function = lambda x, batch: self.model(x, batch)  # noqa: E731
        for feature in self.features:
            f = feature.plain_function(self, f) if self.plain else feature.function(self, f)
        if self.plain:
            for feature in sorted(self.features, key=lambda feature: feature.outermost):
                f = feature.plain_outermost(self, f)
        return f

    def step(self) -> None:
        """One training step: forward, backward, update."""
        self.before, self.leaves = self.holds(), dict(self.trained())
        x = self.x.clone().requires_grad_()
        with ExitStack() as stack:
            for feature in self.features:
                stack.enter_context(feature.plain_around(self) if self.plain else feature.around(self))
            f = self.function()
            if self.plain:
                loss = f(x, self.batch)
                value = loss.detach()
                (loss * self.sweeps).backward()
            else:
                given = x
                for feature in self.features:
                    given = feature.input(self, given)
                loss = f(given, self.batch)
                value = loss.detach()
                for feature in self.features:
                    feature.between(self)
                self.before = self.holds()
                for feature in self.features:
                    loss = feature.loss(self, loss, x)
                    value = loss.detach()
                for n in range(self.sweeps):
                    loss.backward(retain_graph=n + 1 < self.sweeps)
            for feature in self.features:
                feature.passed(self, x) if not self.plain else feature.plain_passed(self, x)
            for name in self.late if self.plain else ():
                self.leaves[name].grad = None
        self.note("loss", value)
        self.note("gradient of x", x.grad)
        for name, p in self.model.named_parameters():
            self.note(f"gradient of {name}", p.grad)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def seen(self) -> dict[str, Any]:
        """Everything that a run left behind."""
        return self.notes | {
            "state": {name: value.tolist() for name, value in self.model.state_dict().items()},
            "generators": [tg.default_generator.get_state(), self.generator.get_state()],
            "recording": tg.is_grad_enabled(),
            "input": self.x.tolist(),
            "batch": {name: value.tolist() for name, value in self.batch.items()},
        }

    def holds(self) -> dict[str, Any]:
        """What the user holds, to see whether an error left it as it was."""
        return {
            "parameters": {name: (id(p), p.tolist(), p.requires_grad) for name, p in self.model.named_parameters()},
            "gradients": {
                name: None if p.grad is None else p.grad.tolist() for name, p in self.model.named_parameters()
            },
            "buffers": {name: value.tolist() for name, value in self.model.named_buffers()},
            "input": self.x.tolist(),
            "batch": {name: value.tolist() for name, value in self.batch.items()},
            "recording": tg.is_grad_enabled(),
        }

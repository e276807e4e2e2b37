"""Features of a model: copies of it, what is looked at, frozen, dropped, and how it is told which steps are there."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import nn
import tinygrad_seq as tg

from .feature import Feature
from .world import World
from .zoo import Stepwise


class _Copied(Feature):
    """Between two steps, the model and its optimizer go on as copies; the originals stay as they are."""

    def copied(self, pair: Any) -> Any:
        raise NotImplementedError

    def after(self, world: World) -> None:
        before = {name: value.tolist() for name, value in world.model.state_dict().items()}
        original = world.model
        world.model, world.optimizer = self.copied((world.model, world.optimizer))
        self.original, self.before = original, before

    def passed(self, world: World, x: tg.Tensor) -> None:
        if hasattr(self, "original"):
            now = {name: value.tolist() for name, value in self.original.state_dict().items()}
            assert now == self.before, "the original of a copy was changed"


class Deepcopy(_Copied):
    name = "deepcopy"

    def copied(self, pair: Any) -> Any:
        return copy.deepcopy(pair)


class Pickle(_Copied):
    name = "pickle"

    def copied(self, pair: Any) -> Any:
        return pickle.loads(pickle.dumps(pair))


class LoadStateDict(Feature):
    """Between two steps the numbers go out of a model and its optimizer, are destroyed, and come back."""

    name = "load_state_dict"

    def after(self, world: World) -> None:
        state = {name: value.clone() for name, value in world.model.state_dict().items()}
        learned = world.optimizer.state_dict()
        with tg.no_grad():
            for p in world.model.parameters():
                p.fill_(3.0)
        world.model.load_state_dict(state)
        world.optimizer.load_state_dict(learned)


class Rebound(Feature):
    """Parameters in memory of their own from now on: another Parameter first, other `data` between the steps."""

    name = "re-bound"

    def prepare(self, world: World) -> None:
        linear = world.model.head[0]
        linear.weight = nn.Parameter(linear.weight.detach().clone())

    def after(self, world: World) -> None:
        for p in world.model.parameters():
            p.data = p.detach().clone()


class Grows(Feature):
    """Between two steps the model gets a layer more, and the optimizer its parameters."""

    name = "grows"

    def after(self, world: World) -> None:
        world.model.extra = nn.Sequential(nn.Linear(3, 3), nn.Tanh()).double()
        world.optimizer.add(world.model.extra)

    plain_after = after


class Toggled(Feature):
    """Gradients switched off and on again: before the first step, and between forward and backward."""

    name = "requires_grad toggled"

    def prepare(self, world: World) -> None:
        self.toggle(world)

    def between(self, world: World) -> None:
        self.toggle(world)

    def toggle(self, world: World) -> None:
        for _, p in world.trained():
            if p.requires_grad:
                p.requires_grad_(False)
                p.requires_grad = True


class Frozen(Feature):
    """Some parameters get no gradient."""

    name = "frozen"

    def prepare(self, world: World) -> None:
        self.plain_prepare(world)
        world.model.head[2].requires_grad_(False)

    def plain_prepare(self, world: World) -> None:
        world.frozen |= {"head.2.weight", "head.2.bias"}

    def plain_passed(self, world: World, x: tg.Tensor) -> None:
        for p in world.model.head[2].parameters():
            p.grad = None


class Dropout(Feature):
    """Dropout between the layers, of the recurrent state, and before the head."""

    name = "dropout"
    draws = True

    def prepare(self, world: World) -> None:
        model, variational = world.model, self.rng.random() < 0.5
        model.drop.p = 0.3
        if isinstance(model.recurrent, nn.Recurrent):
            model.recurrent.dropout, model.recurrent.variational = 0.3, variational
            model.recurrent.recurrent_dropout = self.rng.choice([0.0, 0.3])

    plain_prepare = prepare


class Zoneout(Feature):
    """Elements of the state that stay as they were."""

    name = "zoneout"
    draws = True
    needs = ("RNN,", "LSTM,", "GRU,", "custom")

    def prepare(self, world: World) -> None:
        recurrent: Any = world.model.recurrent
        coupled = recurrent._cells()[0].coupled
        recurrent.zoneout = (
            tuple([0.0 if letter in coupled else 0.3 for letter in recurrent.states]) if coupled else 0.3
        )

    plain_prepare = prepare


class _Lengths(Feature):
    """Sequences of different lengths; alone, each is what it is in a batch."""

    how: str

    def prepare(self, world: World) -> None:
        world.model.how = self.how

    def plain_prepare(self, world: World) -> None:
        # masks are drawn for a batch: one by one they would be others
        world.model.how = "lengths" if any(feature.draws for feature in world.features) else "alone"


class Lengths(_Lengths):
    name = how = "lengths"


class Packed(_Lengths):
    name = how = "packed"


class Mask(_Lengths):
    name = how = "mask"


class Lens(Feature):
    """A look at the recurrent layer: each step once, its state, and a gradient for each."""

    name = "lens"

    @contextmanager
    def around(self, world: World) -> Iterator[None]:
        with nn.lens(world.model) as seen:
            yield
        layer = seen[[name for name in seen.layers if not name.endswith("_reverse")][-1]]
        states, gradients = layer.state("h"), layer.gradient_norm("h")
        world.note("lens: steps", len(layer))
        world.note("lens: gradients", int((gradients == gradients).sum()))
        if self._outputs_are_states(world):
            world.note("lens: states", float(states[states == states].sum()))

    @staticmethod
    def _outputs_are_states(world: World) -> bool:
        """Not where some are of padding, or made of a state."""
        recurrent: Any = world.model.recurrent
        if isinstance(recurrent, Stepwise):
            return world.model.how == "whole"
        return type(recurrent._cells()[0]).read_out is nn.Cell.read_out

    @contextmanager
    def plain_around(self, world: World) -> Iterator[None]:
        recurrent, steps, gradients, states = world.model.recurrent, 0, 0, 0.0

        def called(_module: Any, args: Any) -> None:
            nonlocal steps, gradients
            whole = isinstance(recurrent, Stepwise) or world.model.how == "whole"
            lengths = [args[0].shape[1]] * len(args[0]) if whole else args[1]["lengths"].tolist()
            if not world.following:
                steps, gradients = steps + max(lengths), gradients + sum(lengths)

        def ran(_module: Any, _args: Any, output: Any) -> None:
            nonlocal states
            width = output[0].shape[-1] // (2 if getattr(recurrent, "bidirectional", False) else 1)
            states += 0 if world.following else output[0][..., :width].sum().item()

        with world.model.register_forward_pre_hook(called), recurrent.register_forward_hook(ran):
            yield
        world.note("lens: steps", steps)
        world.note("lens: gradients", gradients)
        if self._outputs_are_states(world):
            world.note("lens: states", states)


class ModuleHooks(Feature):
    """Hooks that look on, before and after the head: called once for each call."""

    name = "module hooks"

    @contextmanager
    def around(self, world: World) -> Iterator[None]:
        def before(_module: Any, args: Any) -> None:
            world.note("hook before the head", args[0].sum())

        def after(_module: Any, _args: Any, output: Any) -> None:
            world.note("hook after the head", output.sum())

        head = world.model.head
        with head.register_forward_pre_hook(before), head.register_forward_hook(after):
            yield

    plain_around = around


class ModuleHookThatChanges(Feature):
    """A hook whose result is the head's from then on."""

    name = "module hook that changes"

    def around(self, world: World) -> AbstractContextManager[Any]:
        return world.model.head[0].register_forward_hook(lambda _module, _args, output: output * 1.5)

    @contextmanager
    def plain_around(self, world: World) -> Iterator[None]:
        first = world.model.head[0]
        vars(first)["forward"] = lambda x: type(first).forward(first, x) * 1.5
        yield
        del vars(first)["forward"]


class CompiledModel(Feature):
    """The model compiled, the backward pass outside of it; what a program cannot follow is refused in words."""

    name = "compiled model"

    def prepare(self, world: World) -> None:
        world.model = tg.compile(world.model, executor=self.rng.choice(["numpy", None]))


MODELS: list[type[Feature]] = [
    Deepcopy, Pickle, LoadStateDict, Rebound, Grows, Toggled, Frozen, Dropout, Zoneout, Lengths, Packed, Mask, Lens,
    ModuleHooks, ModuleHookThatChanges, CompiledModel,
]  # fmt: skip

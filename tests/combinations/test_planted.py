"""Faults put into the library, each at a seam: the matrix finds every one of them within a few draws."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import nn
import tinygrad_seq as tg
from tinygrad_seq.graph import recomputation
from tinygrad_seq.graph.hooks import Retained
from tinygrad_seq.tensor.autograd_methods import AutogradMethods
from tinygrad_seq.transforms import checkpoint

from . import matrix

DRAWS = 3000  # of which only those are run that have the features
grad_mode: Any = sys.modules["tinygrad_seq.graph.grad_mode"]


def drawn_with(*features: str) -> list[matrix.Case]:
    """The first few draws that have these features."""
    return [case for case in matrix.draws(DRAWS, seed=3) if {*features} <= {*case.features}][:8]


Patch = pytest.MonkeyPatch


def own_parameters_again(monkeypatch: Patch) -> None:
    """checkpoint computes again with the module's own parameters after `functional_call` is over, and says nothing."""

    @contextmanager
    def without_contexts(self: Any) -> Iterator[None]:
        kept, self.contexts = self.contexts, ()
        yield from running(self)
        self.contexts = kept

    running = recomputation.Run._running.__wrapped__  # type: ignore[attr-defined]
    monkeypatch.setattr(recomputation.Run, "_running", without_contexts)
    monkeypatch.setattr(checkpoint._Segment, "_require_same", lambda *_: None)


def hooks_in_the_inner_sweep(monkeypatch: Patch) -> None:
    """Hooks of tensors outside run in the sweep inside of a checkpoint, and once more outside."""
    for name in ("sweep", "recorded_sweep"):
        original = getattr(checkpoint, name)
        monkeypatch.setattr(
            checkpoint, name, lambda *args, _original=original, outside=None, **options: _original(*args, **options)
        )


def another_leaf(monkeypatch: Patch) -> None:
    """A tensor that is frozen and free again is another leaf: its gradient and its place in graphs are gone."""
    keeper = AutogradMethods._keeper
    monkeypatch.setattr(AutogradMethods, "_keeper", lambda self: None if self.node is None else keeper(self))


def generator_goes_on(monkeypatch: Patch) -> None:
    """A checkpoint draws other numbers the second time, and leaves the generator further on."""
    monkeypatch.setattr(recomputation, "draws", lambda generator: None)
    monkeypatch.setattr(checkpoint._Segment, "_require_same", lambda *_: None)


def retained_twice(monkeypatch: Patch) -> None:
    """A retained gradient is added twice."""

    def twice(self: Any, g: Any) -> Any:
        arrived = self._as_tensor(g)
        self.grad = arrived + arrived if self.grad is None else self.grad + arrived
        return g

    monkeypatch.setattr(Retained, "__call__", twice)


def recording_in_no_grad(monkeypatch: Patch) -> None:
    """Inside a derivative, what is under `no_grad` is recorded after all."""
    functional: Any = sys.modules["tinygrad_seq.transforms.functional"]
    evaluate = functional._evaluate

    def evaluated(*args: Any) -> Any:
        with pytest.MonkeyPatch.context() as inside:
            inside.setattr(tg, "no_grad", tg.enable_grad)
            return evaluate(*args)

    monkeypatch.setattr(functional, "_evaluate", evaluated)


def view_for_a_copy(monkeypatch: Patch) -> None:
    """`flip` shows the memory of its argument."""
    flip = tg.Tensor.flip
    monkeypatch.setattr(
        tg.Tensor, "flip", lambda self, *dims: self.detach() if self.node is None else flip(self, *dims)
    )


def module_left_replaced(monkeypatch: Patch) -> None:
    """`functional_call` leaves the other tensors in the module."""

    def called(module: Any, tensors: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = original(module, tensors, args, kwargs)
        name, tensor = next(iter(tensors.items()))
        prefix, _, own = name.rpartition(".")
        vars(module.get_submodule(prefix))[own] = nn.Parameter(tensor.detach())
        return result

    original = nn.functional_call
    monkeypatch.setattr(nn, "functional_call", called)


def lens_looks_twice(monkeypatch: Patch) -> None:
    """What only looks on looks on once more when a checkpoint computes again."""
    monkeypatch.setattr(recomputation, "once", lambda key, effect, otherwise: effect())


@pytest.mark.parametrize(
    ("plant", "features"),
    [
        (own_parameters_again, ("checkpoint", "functional_call")),
        (hooks_in_the_inner_sweep, ("checkpoint", "parameter hooks")),
        (another_leaf, ("requires_grad toggled",)),
        (generator_goes_on, ("checkpoint", "dropout")),
        (retained_twice, ("retain_grad",)),
        (recording_in_no_grad, ("no_grad", "jvp")),
        (view_for_a_copy, ("views",)),
        (module_left_replaced, ("functional_call",)),
        (lens_looks_twice, ("checkpoint", "lens")),
    ],
)
def test_it_is_found(plant: Any, features: tuple[str, ...]) -> None:
    for case in drawn_with(*features):
        with pytest.MonkeyPatch.context() as monkeypatch:
            plant(monkeypatch)
            found = matrix.fault(case)
        if found is not None:
            assert matrix.fault(case) is None  # without it
            return
    pytest.fail("not found")

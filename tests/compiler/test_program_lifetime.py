"""What programs take goes when they do: cycles, and instances with compiled methods."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import tinygrad_seq as tg


def made(k: int, executor: str | None = None) -> Callable[..., Any]:
    w = tg.ones(3, requires_grad=True)
    compiled: Callable[..., Any] = tg.compile(lambda x: ((w * x).tanh() * (k + 0.5)).sum(), executor=executor)
    compiled(tg.ones(3))
    return compiled


@pytest.mark.parametrize("executor", ["numpy", None])
def test_functions_that_are_dropped_do_not_add_up(executor: str | None) -> None:
    for _ in range(50):
        made(0, executor)
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(300):
        made(0, executor)
    assert len(gc.get_objects()) < before + 100 * 250  # of each program there are 200 or so


class Model:
    def __init__(self) -> None:
        self.w = tg.ones(3, requires_grad=True)

    @tg.compile
    def loss(self, x: tg.Tensor) -> tg.Tensor:
        return (self.w * x).sum()


def test_instances_with_a_compiled_method_can_go() -> None:
    models = [Model() for _ in range(3)]
    for k, model in enumerate(models):
        with tg.no_grad():
            model.w.fill_(k)
        for _ in range(2):
            assert model.loss(tg.ones(3)).item() == 3 * k
    gone = [weakref.ref(model) for model in models]
    del model, models
    gc.collect()
    assert [model() for model in gone] == [None] * 3


def test_machine_code_goes_with_its_programs() -> None:
    jit = pytest.importorskip("tinygrad_seq.compiler.native.jit", reason="needs llvmlite")

    def drawn(k: int) -> Callable[..., Any]:
        """A function with a kernel that no other one has."""
        compiled: Callable[..., Any] = tg.compile(lambda x: (x * 1.25 + (k + 0.125)).sum(), executor="native")
        compiled(tg.ones(8, 8))
        return compiled

    kept = [drawn(k) for k in range(30)]
    codes = [weakref.ref(code) for code in jit._recent]
    assert len(codes) == jit._recent.maxlen
    assert all(compiled(tg.ones(8, 8)).item() == 64 * (k + 1.375) for k, compiled in enumerate(kept))
    jit._recent.clear()
    gc.collect()
    assert all(code() is not None for code in codes)  # which programs have
    del kept
    gc.collect()
    assert all(code() is None for code in codes)

"""A call that fails or is interrupted leaves all as it was, or a whole step."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import nn
import nn.functional as F
import tinygrad_seq as tg
from nn import optim
from tinygrad_seq.graph.saved_tensors import version_counter

from .training_step import equal, everything, model_and_step


@pytest.mark.host("to look at tokens would wait for a GPU")
@pytest.mark.parametrize("warm", [0, 1, 3])
def test_a_failed_call_leaves_all_as_it_was(warm: int) -> None:
    model, optimizer, step = model_and_step()
    for _ in range(warm):
        step(tg.ones(5, 3))
    failing = [False]

    @tg.compile
    def broken(x: tg.Tensor) -> None:
        optimizer.zero_grad()
        (model(x) ** 2).mean().backward()
        optimizer.step()
        tg.rand(3)
        if not failing:
            return
        raise KeyError("after everything")

    before = everything(model, optimizer)
    if warm:
        with pytest.raises(KeyError, match="after everything"):
            broken(tg.ones(5, 3))
        assert equal(before, everything(model, optimizer))
    with pytest.raises(IndexError, match="embedding: got index 5"):
        tg.compile(lambda t: F.embedding(t, tg.ones(3, 2)))(tg.tensor([5]))
    assert all(type(p.detach().numpy()) is np.ndarray for p in model.parameters())


@pytest.mark.host("to look at tokens would wait for a GPU")
def test_a_check_that_fails_at_a_replay_leaves_all_as_it_was() -> None:
    table = nn.Embedding(5, 3)
    optimizer = optim.Adam(table.parameters())

    @tg.compile
    def step(tokens: tg.Tensor) -> None:
        optimizer.zero_grad()
        table(tokens).sum().backward()
        optimizer.step()

    for _ in range(3):
        step(tg.tensor([1, 2]))
    before = everything(table, optimizer)
    with pytest.raises(IndexError, match="embedding: got index 7"):
        step(tg.tensor([1, 7]))
    assert equal(before, everything(table, optimizer))


@pytest.mark.parametrize("before", [True, False])
def test_an_interrupted_replay_leaves_a_whole_step(before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for interrupted in (False, True):
        model, optimizer, step = model_and_step()
        for _ in range(3):
            step(tg.ones(5, 3))
        then = everything(model, optimizer)
        if interrupted:
            count = iter(range(100))
            real = version_counter.bump_known

            def mark(writes: Any, count: Any = count, real: Any = real) -> None:
                if not before:
                    real(writes)
                if next(count) == 0:
                    raise KeyboardInterrupt
                real(writes)

            with monkeypatch.context() as patch:
                patch.setattr(version_counter, "bump_known", mark)
                with pytest.raises(KeyboardInterrupt):
                    step(tg.ones(5, 3))
        else:
            step(tg.ones(5, 3))
        results.append(everything(model, optimizer))
        assert not equal(then, results[-1])
    assert equal(*results)


@pytest.mark.parametrize("executor", ["numpy", None])
def test_an_interrupt_at_any_line_of_a_replay_leaves_a_whole_step(executor: str | None) -> None:
    model, optimizer, step = model_and_step(executor)
    other, other_optimizer, other_step = model_and_step(executor)

    def state() -> list[Any]:
        return everything(model, optimizer, gradients=False)

    stream = tg.default_generator.get_state()
    for run in (step, other_step):
        tg.default_generator.set_state(stream)
        for _ in range(3):
            run(tg.ones(5, 3))
    lines, interrupted = 0, True
    while interrupted:
        lines += 1
        count = iter(range(lines))

        def watch(frame: Any, event: str, _: Any, count: Any = count) -> Any:
            ours = "compiler" in frame.f_code.co_filename
            if ours and event == "line" and next(count, None) is None:
                sys.settrace(None)
                raise KeyboardInterrupt
            return watch if ours else None

        before, stream = state(), tg.default_generator.get_state()
        sys.settrace(watch)
        try:
            step(tg.ones(5, 3))
            interrupted = False
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        now = state()
        tg.default_generator.set_state(stream)
        other_step(tg.ones(5, 3))
        whole = everything(other, other_optimizer, gradients=False)
        assert equal(now, before) or equal(now, whole), f"interrupted at line {lines}"
        if equal(now, before):
            tg.default_generator.set_state(stream)
            step(tg.ones(5, 3))
            assert equal(state(), whole)
    assert lines > 100

"""Compiled functions that put what they compute into attributes of modules, as weights that are dropped out anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import nn
import nn.functional as F
import tinygrad_seq as tg

Made = tuple[Callable[[tg.Tensor], tg.Tensor], Any, nn.Parameter]


def dropped(train: bool) -> Made:
    tg.manual_seed(0)
    lstm: Any = nn.LSTM(3, 4)
    head = nn.Linear(4, 2)
    raw = nn.Parameter(lstm.weight_hh_l0.detach().clone())
    del lstm.weight_hh_l0
    optimizer = nn.optim.Adam([raw, *lstm.parameters(), *head.parameters()], lr=0.01)

    def step(x: tg.Tensor) -> tg.Tensor:
        setattr(lstm, "weight_hh_l0", F.dropout(raw, 0.5))  # noqa: B010, as programs write it
        loss = (head(lstm(x)[0]) ** 2).sum()
        if train:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss

    return step, lstm, raw


@pytest.mark.parametrize("mode", [None, "verify"])
@pytest.mark.parametrize("train", [True, False])
def test_each_call_leaves_the_attribute_as_an_eager_one_does(train: bool, mode: str | None) -> None:
    (eager, theirs, their_raw), (step, ours, our_raw) = dropped(train), dropped(train)
    compiled = tg.compile(step, mode=mode)
    for seed in range(4):
        x = tg.full((5, 2, 3), 0.1 * (seed + 1))
        tg.manual_seed(seed)
        expected = eager(x)
        tg.manual_seed(seed)
        found = compiled(x)
        assert found.item() == pytest.approx(expected.item(), rel=1e-5)
        assert tg.allclose(ours.weight_hh_l0.detach(), theirs.weight_hh_l0.detach(), 1e-5, 1e-6)
        if not train:
            expected.backward()
            found.backward()
        assert our_raw.grad is not None
        assert their_raw.grad is not None
        assert tg.allclose(our_raw.grad, their_raw.grad, 1e-4, 1e-5)
    assert len(compiled.programs) == 1


def test_what_was_read_before_is_a_state_or_refused() -> None:
    module: Any = nn.Linear(2, 2)
    module.scale = tg.ones(2)

    def grown(x: tg.Tensor) -> tg.Tensor:
        module.scale = module.scale * 2
        return module(x) * module.scale

    before, run = module.scale, tg.compile(grown)
    for k in range(1, 4):
        found = run(tg.ones(1, 2))
        assert module.scale.tolist() == [2.0**k] * 2
        assert tg.allclose(found, module(tg.ones(1, 2)) * 2**k)
    assert before.tolist() == [1.0, 1.0]

    def counted(x: tg.Tensor) -> tg.Tensor:
        module.count = 3
        return module(x)

    with pytest.raises(tg.CompileError, match="assigns to the attribute 'count'"):
        tg.compile(counted)(tg.ones(1, 2))
    assert not hasattr(module, "count")


def test_what_was_read_by_another_name_is_refused() -> None:
    module: Any = nn.Linear(2, 2)
    module.register_buffer("mean", tg.zeros(2))

    def moved(x: tg.Tensor) -> tg.Tensor:
        (before,) = module.buffers()
        module.mean = before * 0.9 + x.mean(0) * 0.1
        return module(x)

    with pytest.raises(tg.CompileError, match="assigns to the attribute 'mean'"):
        tg.compile(moved)(tg.ones(1, 2))
    assert module.mean.tolist() == [0, 0]

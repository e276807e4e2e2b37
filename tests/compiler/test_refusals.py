"""What `tg.compile` refuses, in words that name the line and the way out."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg
from nn import optim

from .training_step import model_and_step

FETCHED = pytest.mark.host("on a device `numpy()` fetches, for tests")
KEPT: list[Any] = []


def _branch(x: tg.Tensor) -> tg.Tensor:
    return x if x.sum() > 0 else -x


def _item(x: tg.Tensor) -> float:
    return x.sum().item()


def _numpy(x: tg.Tensor) -> Any:
    return np.exp(x.numpy())


def _asarray(x: tg.Tensor) -> Any:
    return np.asarray(x)


def _chosen(x: tg.Tensor) -> Any:
    return x[x > 0]


def _nonzero(x: tg.Tensor) -> Any:
    return tg.nonzero(x)


def _listed(x: tg.Tensor) -> tg.Tensor:
    KEPT.append(x * 2)
    return x


def _counted(x: tg.Tensor) -> tg.Tensor:
    KEPT.append(1)
    return x


def _graph(x: tg.Tensor) -> tg.Tensor:
    return nn.Linear(3, 1)(x)


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (_branch, "asks for the number.*use tg.where"),
        (_item, "asks for the number.*return the tensor"),
        pytest.param(_numpy, "NumPy asks for the numbers.*use tg's functions", marks=FETCHED),
        pytest.param(_asarray, "NumPy asks for the numbers.*use tg's functions", marks=FETCHED),
        (_chosen, "booleans picks elements.*masked_fill"),
        (_nonzero, "depends on values"),
        (_listed, "keeps a tensor.*return it instead"),
        (_counted, "changes the list 'KEPT'.*return what is to go there"),
        (_graph, "gradient could pass through.*detach"),
    ],
)
def test_what_cannot_be_replayed(f: Any, message: str) -> None:
    KEPT.clear()
    with pytest.raises(tg.CompileError, match=message) as caught:
        tg.compile(f)(tg.ones(3))
    if "KEPT" not in str(caught.value) and f is not _graph:  # the user's line
        line = f.__code__.co_firstlineno + 1
        assert re.search(rf"{re.escape(__file__)}:{line}\)", str(caught.value))
    KEPT.clear()
    assert tg.compile(lambda x: x + 1)(tg.ones(1)).item() == 2  # and recording is over


def test_a_schedulers_step_belongs_outside() -> None:
    model, optimizer, _ = model_and_step()
    schedule = optim.lr_scheduler.ExponentialLR(optimizer, 0.5)

    @tg.compile
    def step(x: tg.Tensor) -> None:
        optimizer.zero_grad()
        model(x).sum().backward()
        optimizer.step()
        schedule.step()

    with pytest.raises(tg.CompileError, match="scheduler"):
        step(tg.ones(2, 3))
    assert schedule.last_epoch == 0


def test_what_is_not_a_function_or_an_argument() -> None:
    with pytest.raises(TypeError, match="compile: takes a function, got a int"):
        tg.compile(3)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="mode is None, 'explain' or 'verify', got 'fast'"):
        tg.compile(_branch, mode="fast")
    with pytest.raises(tg.CompileError, match="an argument is a set"):
        tg.compile(lambda x: 1)({1})


def test_a_shape_that_turns_out_otherwise_is_noticed() -> None:
    f = tg.compile(lambda x: tg.unique(x) * 2)
    assert f(tg.tensor([1, 1, 2])).tolist() == [2, 4]
    with pytest.raises(tg.CompileError, match="shape of unique depends on values: it was"):
        f(tg.tensor([1, 2, 3]))


def test_a_generator_is_seeded_outside() -> None:
    def f(x: tg.Tensor) -> tg.Tensor:
        y = x + tg.rand(2)
        tg.manual_seed(0)
        return y + tg.rand(2)

    with pytest.raises(tg.CompileError, match="made or seeded; do that outside"):
        tg.compile(f)(tg.ones(2))

"""Losses, layers and initial values stay on the device of what they are given: on one that refuses NumPy's arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import nn
import nn.functional as F
import tinygrad_seq as tg

from ..engine.strict_array import installed
from .test_init import FILLS
from .test_losses import CHECKED


@pytest.fixture(autouse=True, scope="module")
def _strict() -> Iterator[None]:
    with installed():
        yield


def on_both(function: Any, inputs: list[tg.Tensor]) -> None:
    """The same values and gradients on both devices, each of them there."""
    found = []
    for device in ("cpu", "cuda"):
        xs = [x.detach().to(device=device).requires_grad_() for x in inputs]
        y = function(*xs)
        assert y.device.type == device
        y.sum().backward()
        gradients = [x.grad for x in xs]
        assert all(g is not None and g.device.type == device for g in gradients)
        found.append([y.tolist(), *[g.tolist() for g in gradients if g is not None]])
    assert found[0] == found[1]


@pytest.mark.parametrize("name", CHECKED)
def test_losses(name: str) -> None:
    function, inputs = CHECKED[name]
    for reduction in ("mean", "sum", "none"):
        on_both(lambda *xs, r=reduction: function(*xs, reduction=r), inputs())


def test_ctc() -> None:
    x = F.log_softmax(tg.randn(5, 2, 4), 2)
    for targets in ([[1, 1], [2, 3]], [1, 1, 2]):
        on_both(lambda x, t=targets: F.ctc_loss(x, t, [5, 4], [2, 1], zero_infinity=True), [x])
        on_both(lambda x, t=targets: F.ctc_loss(x, tg.tensor(t, device=x.device), tg.tensor([5, 4]), [2, 1]), [x])


def test_layers() -> None:
    layers = [nn.Hardtanh(), nn.Softplus(), nn.LogSigmoid(), nn.GELU(), nn.LogSoftmax(1)]
    on_both(nn.Sequential(*layers), [tg.randn(3, 4)])
    on_both(lambda x, w: F.layer_norm(x, (4,), w), [tg.randn(3, 4), tg.randn(4)])
    on_both(lambda x, y: F.cosine_similarity(x, y), [tg.randn(3, 4), tg.randn(3, 4)])
    on_both(lambda w: F.embedding([[1, 2]], w, 1), [tg.randn(3, 4)])


@pytest.mark.parametrize("name", sorted(FILLS.keys() - {"orthogonal_"}))  # the strict arrays have no linalg
def test_initial_values(name: str) -> None:
    drawn = [FILLS[name](tg.zeros(4, 5, device=device), generator=tg.Generator(1)) for device in ("cpu", "cuda")]
    assert [w.device.type for w in drawn] == ["cpu", "cuda"]
    assert drawn[0].tolist() == drawn[1].tolist()

"""Compiled for the GPU and eager on the host agree: over all primitives, random programs, layers, optimizers.

On a stand-in for a GPU: its kernels are compiled for the host.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nn
import nn.functional as F
import tinygrad_seq as tg
from nn import optim

from ..engine.op_cases import DIFFERENTIABLE, WITHOUT_DERIVATIVE
from ..profiles import one_in
from .test_agreement import LAYERS, OPTIMIZERS, VALUE_DEPENDENT, applied
from .test_cuda import close

pytestmark = pytest.mark.usefixtures("gpu")


@pytest.mark.parametrize("name", sorted((DIFFERENTIABLE | WITHOUT_DERIVATIVE).keys() - VALUE_DEPENDENT - {"to_device"}))
@one_in(12)
@given(data=st.data())
def test_every_primitive_and_its_gradient(name: str, data: st.DataObject) -> None:
    call = data.draw((DIFFERENTIABLE | WITHOUT_DERIVATIVE)[name])
    run = applied(name, call.arrays, call.params)

    def on_device(*tensors: tg.Tensor) -> Any:
        with tg.device("cuda"):
            return run(*tensors)

    compiled = tg.compile(on_device)
    for _ in range(3):  # launched one by one, captured, launched at once
        if not any(a.size for a in call.arrays):
            return
        expected = run(*[tg.tensor(a) for a in call.arrays])
        close(compiled(*[tg.tensor(a, device="cuda") for a in call.arrays]), expected)
        call = call._replace(arrays=[a * 0.5 if a.dtype.kind == "f" else a for a in call.arrays])


UNARY = ["tanh", "sigmoid", "exp", "relu", "neg", "sin", "abs", "erf", "sign"]
BINARY = ["add", "sub", "mul", "maximum", "minimum"]
OVER_ROWS = ["sum", "max", "softmax", "log_softmax", "centred", "sum of rows", "kept"]


@one_in(2)
@given(
    seed=st.integers(0, 2**16),
    steps=st.lists(
        st.tuples(
            st.sampled_from([*UNARY, *BINARY, *OVER_ROWS, *OVER_ROWS, "where", "T", "half", "cat", "div", "compare"]),
            st.integers(0, 9),
            st.integers(0, 9),
        ),
        min_size=1,
        max_size=25,
    ),
    shape=st.sampled_from([(3, 5), (2, 1), (1, 70), (2, 3, 4), (6,), ()]),
    dtype=st.sampled_from([tg.float32, tg.float64]),
)
def test_random_programs(seed: int, steps: list[tuple[str, int, int]], shape: tuple[int, ...], dtype: Any) -> None:
    """Elements and rows, with views, broadcasting, parts written apart, and gradients through all of it."""
    rng = np.random.default_rng(seed)

    def over_rows(op: str, a: tg.Tensor, b: tg.Tensor) -> tg.Tensor:
        if op == "sum":
            return a * 0.1 - b.sum(-1, keepdim=True) * 0.1
        if op == "max":
            return tg.tanh(a) + b.amax(-1, keepdim=True)
        if op in ("softmax", "log_softmax"):
            return getattr(b, op)(-1) + a * 0.5
        if op == "centred":
            mean = a.mean(-1, keepdim=True)
            return (a - mean) / tg.sqrt(((a - mean) ** 2).mean(-1, keepdim=True) + 0.1)
        if op == "kept":
            return a + tg.exp(-tg.abs(b.sum(-1))).unsqueeze(-1)
        return (tg.tanh(a.sum(-1)) * b.mean(-1)).unsqueeze(-1) + a

    def f(x: tg.Tensor, row: tg.Tensor) -> Any:
        x, row = x.detach().requires_grad_(), row.detach().requires_grad_()
        made = [x, x * row, row + x * 0.5]
        for op, i, j in steps:
            a, b = made[i % len(made)], made[j % len(made)]
            if op in UNARY:
                made.append(getattr(tg, op)(tg.tanh(a)))
            elif op in BINARY:
                made.append(tg.tanh(getattr(tg, op)(a, b)))
            elif op == "where":
                made.append(tg.where((a > b) & (a != 0), a, b * 2.0))
            elif op == "compare":
                made.append((a < b).to(a.dtype) * a)
            elif op == "div":
                made.append(a / (tg.abs(b) + 1.0))
            elif not shape:
                continue
            elif op in OVER_ROWS:
                made.append(over_rows(op, a, b))
            elif op == "T":
                made.append((a.reshape(a.shape[::-1]) * 2.0).permute(*range(a.ndim)[::-1]))
            elif op == "half":
                n = a.shape[-1] // 2
                made.append(tg.cat([a[..., n:], b[..., :n] * 0.5], -1))
            else:
                made.append(tg.stack([r * 2.0 for r in a.unbind(0)]) + b[:1])
        loss = sum([(m * m).mean() for m in made[-4:]], start=x.sum() * 0.0)
        loss.backward()
        return [m.detach() for m in made[-3:]], x.grad, row.grad

    compiled = tg.compile(f)
    tolerance = 1e-9 if dtype == tg.float64 else 2e-3
    for _ in range(3):
        arrays = [rng.standard_normal(s).astype(dtype) for s in (shape, shape[-1:])]
        expected = f(*[tg.tensor(a) for a in arrays])
        close(compiled(*[tg.tensor(a, device="cuda") for a in arrays]), expected, tolerance)


def trained(device: str, make_layer: Any, make_optimizer: Any, compiled: bool, steps: int = 5) -> Any:
    tg.manual_seed(3)
    layer = make_layer().double().to(device)
    optimizer = make_optimizer(layer.parameters())
    schedule = optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)
    stream = tg.Generator(5)

    def step(x: tg.Tensor) -> tg.Tensor:
        y, _ = layer(x)
        loss = F.mse_loss(y, tg.zeros_like(y) + 0.3)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(layer.parameters(), 0.5)
        optimizer.step()
        return loss.detach()

    run = tg.compile(step) if compiled else step
    seen = []
    for _ in range(steps):
        seen.append(run(tg.randn(6, 3, 4, dtype=tg.float64, generator=stream, device=device)).item())
        schedule.step()
    seen += [p.grad.tolist() for p in layer.parameters()] + [p.tolist() for p in layer.parameters()]
    state = optimizer.state_dict()["state"]
    seen += [v.tolist() if isinstance(v, tg.Tensor) else v for s in state.values() for v in s.values()]
    return seen


def agree(a: Any, b: Any) -> None:
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_trains_as_on_the_host(layer: str) -> None:
    made = LAYERS[layer], OPTIMIZERS["Adam"]
    agree(trained("cuda", *made, compiled=True), trained("cpu", *made, compiled=False))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_trains_as_on_the_host(optimizer: str) -> None:
    made = LAYERS["RNN"], OPTIMIZERS[optimizer]
    agree(trained("cuda", *made, compiled=True), trained("cpu", *made, compiled=False))


def test_the_same_masks_and_samples_as_on_the_host() -> None:
    def draw(p: tg.Tensor) -> Any:
        chosen = tg.multinomial(p, 3, replacement=True), tg.randint(9, (4,), device=p.device)
        return F.dropout(tg.ones(4, 5, device=p.device), 0.5), *chosen, tg.rand(11, device=p.device)

    found = []
    for device, run in (("cpu", draw), ("cuda", tg.compile(draw))):
        tg.manual_seed(1)
        p = tg.tensor([0.2, 0.3, 0.5], device=device)
        found.append([[y.tolist() for y in run(p)] for _ in range(4)] + [tg.rand(2).tolist()])
    assert found[0] == found[1]

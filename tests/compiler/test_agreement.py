"""Compiled and eager agree: over all primitives, random programs, layers, optimizers."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nn
import nn.functional as F
import tinygrad_seq as tg
from nn import optim

from ..engine.op_cases import DIFFERENTIABLE, WITHOUT_DERIVATIVE, primitives

pytestmark = pytest.mark.host("bit for bit: the host's executors")
PRIMITIVES = primitives()
EXECUTORS = [
    "numpy",
    pytest.param("native", marks=pytest.mark.skipif(find_spec("llvmlite") is None, reason="llvmlite is not installed")),
]
both = pytest.mark.parametrize("executor", EXECUTORS)
VALUE_DEPENDENT = {"nonzero"}  # the shape of the result depends on values
REORDERED = {"matmul", "linear"}  # the order of addition is BLAS's choice, by where its operands lie
REORDERED_NATIVE = {*REORDERED, "scatter", "getitem"}  # rows are added to what is there, not to each other first


def same(a: Any, b: Any, ulps: int = 0, largest: float = 0.0) -> None:
    """Bit for bit, nan included; or up to so many units of the last digit of the largest number of all results.

    Of all, because the terms of a sum, such as a bias's gradient, may be larger than the sum.
    """
    assert type(a) is type(b)
    if isinstance(a, tg.Tensor):
        assert a.dtype == b.dtype
        x, y = a.detach().numpy(), b.detach().numpy()
        if ulps and x.size and x.dtype.kind == "f":
            largest = max(largest, float(np.abs(y).max()))
            np.testing.assert_allclose(x, y, rtol=0, atol=ulps * np.spacing(y.dtype.type(largest)))
        else:
            np.testing.assert_array_equal(x, y)
    elif isinstance(a, (tuple, list)):
        numbers = [x.detach().numpy() for x in b if isinstance(x, tg.Tensor) and x.dtype.kind == "f" and x.numel()]
        largest = max([largest, *[float(np.abs(x).max()) for x in numbers if np.isfinite(x).all()]])
        for part, other in zip(a, b, strict=True):
            same(part, other, ulps, largest)
    else:
        assert a == b


def applied(name: str, arrays: list[Any], params: dict[str, Any]) -> Callable[..., Any]:
    """The primitive with its gradients."""

    def run(*tensors: tg.Tensor) -> Any:
        variables = [x.detach().requires_grad_() if x.dtype.kind == "f" else x for x in tensors]
        y = PRIMITIVES[name](*variables, **params)
        parts = y if isinstance(y, tuple) else (y,)
        wanted = [p for p in parts if p.requires_grad]
        if not wanted:
            return y
        sum([(p * p).sum() for p in wanted], start=tg.tensor(0.0, dtype=wanted[0].dtype)).backward()
        grads = [None if x.grad is None else x.grad.clone() for x in variables if x.requires_grad]
        return [p.detach() for p in parts], grads

    return run


@pytest.mark.parametrize("name", sorted(DIFFERENTIABLE | WITHOUT_DERIVATIVE))
@both
@given(data=st.data())
def test_every_primitive_and_its_gradient(name: str, executor: str, data: st.DataObject) -> None:
    if name in VALUE_DEPENDENT:
        return
    call = data.draw((DIFFERENTIABLE | WITHOUT_DERIVATIVE)[name])
    run = applied(name, call.arrays, call.params)
    compiled = tg.compile(run, executor=executor)
    for _ in range(2):
        tensors = [tg.tensor(a) for a in call.arrays]
        found = compiled(*tensors)
        reordered = name in REORDERED
        if executor == "native":  # adds up rows in its own order
            reordered = name in REORDERED_NATIVE or any(i.op == "sum" for p in compiled.programs for i in p.instrs)
        same(found, run(*tensors), ulps=8 if reordered else 0)
        call = call._replace(arrays=[a * 0.5 if a.dtype.kind == "f" else a for a in call.arrays])


UNARY = ["tanh", "sigmoid", "exp", "relu", "neg", "sin"]
BINARY = ["add", "sub", "mul", "maximum"]
STEPS = [*UNARY, *BINARY, "matmul", "linear", "cat", "rows", "T", "sum"]


def stepped(op: str, a: tg.Tensor, b: tg.Tensor, weight: tg.Tensor) -> tg.Tensor:
    """One of `STEPS`, of square matrices of one size."""
    if op in UNARY:
        return getattr(tg, op)(tg.tanh(a))
    if op in BINARY:
        return getattr(tg, op)(a, b)
    if op == "matmul":
        return tg.tanh(a @ b)
    if op == "linear":
        return tg.tanh(tg.linear(a, weight))
    if op == "cat":
        return tg.cat([a[:2], b[2:]])
    if op == "rows":
        return tg.stack([row * 2.0 for row in a.unbind(0)])
    return a.T if op == "T" else a + b.sum(0)


@both
@given(
    seed=st.integers(0, 2**16),
    steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=25),
)
def test_random_programs(executor: str, seed: int, steps: list[tuple[str, int, int]]) -> None:
    """Graphs of many operations on square matrices, with shared parts, dead ends, views and products."""
    rng = np.random.default_rng(seed)

    def f(x: tg.Tensor, w: tg.Tensor) -> Any:
        x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
        made = [x, w, x * 0.5]
        for op, i, j in steps:
            made.append(stepped(op, made[i % len(made)], made[j % len(made)], w))
        loss = sum([(m * m).mean() for m in made[-3:]], start=tg.tensor(0.0, dtype=tg.float64))
        if loss.requires_grad:
            loss.backward()
        return loss.detach(), *[None if v.grad is None else v.grad.clone() for v in (x, w)]

    compiled = tg.compile(f, executor=executor)
    for _ in range(2):
        args = [tg.tensor(rng.standard_normal((3, 3))) for _ in range(2)]
        for a, b in zip(compiled(*args), f(*args), strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10, atol=1e-10)


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "RNN": lambda: nn.RNN(4, 5),
    "LSTM": lambda: nn.LSTM(4, 5, num_layers=2, dropout=0.3),
    "GRU": lambda: nn.GRU(4, 5, bidirectional=True),
    "LSTM, batch first": lambda: nn.LSTM(4, 5, batch_first=True, proj_size=3),
    "LSTM, variational": lambda: nn.LSTM(4, 5, num_layers=2, dropout=0.3, variational=True, recurrent_dropout=0.2),
    "GRU, zoneout": lambda: nn.GRU(4, 5, zoneout=0.3),
}
OPTIMIZERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "SGD": lambda p: optim.SGD(p, lr=0.1),
    "SGD, momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "Adagrad": lambda p: optim.Adagrad(p, lr=0.1),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
    "Adadelta": lambda p: optim.Adadelta(p),
    "Adam": lambda p: optim.Adam(p, lr=0.01, amsgrad=True),
    "AdamW": lambda p: optim.AdamW(p, lr=0.01),
    "NAdam": lambda p: optim.NAdam(p, lr=0.01),
}


def trained(make_layer: Any, make_optimizer: Any, executor: str | None, steps: int = 4) -> tuple[list[Any], Any]:
    """A few steps of training with a schedule: losses, gradients, parameters, and the optimizer's state."""
    tg.manual_seed(3)
    layer = make_layer().double()
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

    run = tg.compile(step, executor=executor) if executor else step
    seen: list[Any] = []
    for _ in range(steps):
        seen.append(run(tg.randn(6, 3, 4, dtype=tg.float64, generator=stream)).item())
        schedule.step()
    seen += [p.grad.numpy().copy() for p in layer.parameters()]
    seen += [p.detach().numpy() for p in layer.parameters()]
    return seen, optimizer.state_dict()


def agree(a: Any, b: Any) -> None:
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            agree(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        for x, y in zip(a, b, strict=True):
            agree(x, y)
    elif isinstance(a, (np.ndarray, tg.Tensor, float)):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-9, atol=1e-12)
    else:
        assert a == b


@both
@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_trains_alike(layer: str, executor: str) -> None:
    eager, compiled = (trained(LAYERS[layer], OPTIMIZERS["Adam"], e) for e in (None, executor))
    agree(eager, compiled)


@both
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_trains_alike(optimizer: str, executor: str) -> None:
    eager, compiled = (trained(LAYERS["RNN"], OPTIMIZERS[optimizer], e, steps=5) for e in (None, executor))
    agree(eager, compiled)


def test_second_order() -> None:
    f = lambda x: (tg.tanh(x) ** 3).sum()  # noqa: E731
    run = lambda x, v: tg.hvp(f, (x,), (v,))  # noqa: E731
    x, v = tg.randn(5), tg.randn(5)
    (value, (product,)), (eager_value, (eager,)) = tg.compile(run)(x, v), run(x, v)
    np.testing.assert_allclose(value.numpy(), eager_value.numpy(), rtol=1e-6)
    np.testing.assert_allclose(product.numpy(), eager.numpy(), rtol=1e-5)


def test_the_same_masks_and_samples_as_eager() -> None:
    def draw(p: tg.Tensor) -> Any:
        return F.dropout(tg.ones(4, 5), 0.5), tg.multinomial(p, 3, replacement=True), tg.randn(3), tg.randint(9, (4,))

    compiled, p = tg.compile(draw), tg.tensor([0.2, 0.3, 0.5])
    tg.manual_seed(1)
    eager = [draw(p) for _ in range(3)]
    tg.manual_seed(1)
    same([compiled(p) for _ in range(3)], eager)
    same(tg.rand(2), [tg.manual_seed(1), [draw(p) for _ in range(3)], tg.rand(2)][2])  # and the stream goes on alike


@pytest.mark.parametrize("dtype", [tg.float32, tg.float64])
def test_state_carried_between_calls(dtype: Any) -> None:
    layer = nn.LSTM(3, 4).to(dtype)

    def step(x: tg.Tensor, state: Any) -> Any:
        with tg.no_grad():
            return layer(x, state)

    compiled, state, other = tg.compile(step), None, None
    for _ in range(4):
        x = tg.randn(2, 1, 3, dtype=dtype)
        y, state = step(x, state)
        z, other = compiled(x, other)
        np.testing.assert_allclose(y.numpy(), z.numpy(), rtol=1e-5, atol=1e-6)
        assert type(other) is type(state)
        other = other.detach()
    assert len(compiled.programs) == 2  # without a state, and with one


@both
@given(
    seed=st.integers(0, 2**16),
    steps=st.lists(st.tuples(st.sampled_from([*UNARY, *BINARY, "div", "where", "abs", "sqrt"]), st.integers(0, 9),
                             st.integers(0, 9)), min_size=1, max_size=30),
    shape=st.sampled_from([(3,), (17,), (5, 33), (1, 16), (4, 1, 7), ()]),
    halves=st.booleans(),
)  # fmt: skip
def test_random_chains_of_elements(
    executor: str, seed: int, steps: list[tuple[str, int, int]], shape: tuple[int, ...], halves: bool
) -> None:
    """Chains that become one kernel, in float32: at all lengths of a row, over broadcast and strided operands."""
    rng = np.random.default_rng(seed)

    def f(x: tg.Tensor, row: tg.Tensor, wide: tg.Tensor) -> list[tg.Tensor]:
        made = [x, row, wide[..., : x.shape[-1]] if x.ndim else x, x * 0.5]
        for op, i, j in steps:
            a, b = made[i % len(made)], made[j % len(made)]
            if op == "where":
                made.append(tg.where((a > b) & (a != 0), a, b * 2.0))
            elif op == "sqrt":
                made.append(tg.sqrt(tg.abs(a) + 1.0))
            elif op == "div":
                made.append(a / (tg.abs(b) + 1.0))
            elif op in ("abs", *UNARY):
                made.append(getattr(tg, op)(tg.minimum(tg.maximum(a, -3.0), 3.0)))
            else:
                made.append(getattr(tg, op)(a, tg.tanh(b)))
            if halves and made[-1].ndim and made[-1].shape[-1] > 1:
                left, right = made[-1].split([1, made[-1].shape[-1] - 1], dim=-1)
                made.append(tg.cat([right, left * 2.0], dim=-1))
        return [m * 1.5 for m in made[-3:]]

    compiled = tg.compile(f, executor=executor)
    for _ in range(2):
        numbers = [rng.standard_normal(s) for s in (shape, shape[-1:], (*shape[:-1], *[n + 2 for n in shape[-1:]]))]
        args = [tg.tensor(n.astype(np.float32)) for n in numbers]
        for a, b in zip(compiled(*args), f(*args), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-3, atol=1e-5)


def test_checkpoints_and_their_masks() -> None:
    layer = nn.Linear(3, 3)

    def step(x: tg.Tensor) -> tg.Tensor:
        layer.zero_grad()
        tg.checkpoint(lambda z: F.dropout(tg.tanh(layer(z)), 0.5), x).sum().backward()
        assert layer.weight.grad is not None
        return layer.weight.grad.clone()

    x, found = tg.randn(4, 3), []
    for run in (step, tg.compile(step)):
        tg.manual_seed(2)
        found.append([run(x).numpy() for _ in range(3)] + [tg.rand(2).numpy()])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_sequences_of_different_lengths() -> None:
    lstm = nn.LSTM(3, 5, bidirectional=True).double()

    def step(x: tg.Tensor) -> list[tg.Tensor]:
        lstm.zero_grad()
        lstm(x, lengths=[4, 0, 2])[0].sum().backward()
        return [p.grad.clone() for p in lstm.parameters() if p.grad is not None]

    compiled, x = tg.compile(step), tg.randn(4, 3, 3, dtype=tg.float64)
    agree([g.numpy() for g in step(x)], [g.numpy() for g in compiled(x)])


def test_derivatives_inside() -> None:
    x = tg.randn(4, dtype=tg.float64)
    for f in (
        tg.jacobian(lambda r: tg.tanh(r) * r),
        tg.hessian(lambda r: (tg.tanh(r) ** 2).sum()),
        tg.vmap(tg.grad(lambda r: (r * r * r).sum())),
        lambda x: tg.jvp(tg.tanh, (x,), (x,))[1],
    ):
        np.testing.assert_allclose(tg.compile(f)(x).numpy(), f(x).numpy(), rtol=1e-9, atol=1e-12)


@both
@pytest.mark.parametrize("dtype", [tg.float32, tg.float64])
@pytest.mark.parametrize(
    "f",
    [
        lambda x: x * (x > 0),
        lambda x: x.bool(),
        lambda x: tg.where(x, x, x * 2.0),
        lambda x: (x > 0) == x,
        lambda x: tg.where(x > 0, x < 1, x * 2.0),
        lambda x: ~(x > 0) & ((x < 1) ^ (x == 0)),
        lambda x: tg.maximum(x > 0, x) + (x != 0).to(x.dtype),
    ],
)
def test_numbers_and_truths_mixed(executor: str, dtype: Any, f: Any) -> None:
    x = tg.tensor([[-1.5, 0.0, 0.5], [2.0, -0.0, 1.0]], dtype=dtype)
    same(tg.compile(f, executor=executor)(x), f(x))


def test_products_that_would_wait_for_each_other() -> None:
    def f(x: tg.Tensor, w: tg.Tensor, v: tg.Tensor) -> tg.Tensor:
        rows = x.split(1)
        one, other = [(r @ w) @ v for r in rows[:2]], [(r @ v) @ w for r in rows[2:]]
        return tg.cat([*one, *other])

    args = [tg.randn(5, 5, dtype=tg.float64) for _ in range(3)]
    np.testing.assert_allclose(tg.compile(f)(*args).numpy(), f(*args).numpy(), rtol=1e-10)

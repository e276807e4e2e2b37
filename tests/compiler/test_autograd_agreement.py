"""Gradients through a compiled function's result are the eager ones: primitives, random programs, training loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nn
import tinygrad_seq as tg
from nn import optim

from ..engine.op_cases import DIFFERENTIABLE
from .test_agreement import PRIMITIVES, STEPS, both, stepped
from .test_autograd_bridge import close, variable


@pytest.mark.parametrize("name", sorted(DIFFERENTIABLE))
@both
@given(data=st.data())
def test_every_primitive(name: str, executor: str, data: st.DataObject) -> None:
    call = data.draw(DIFFERENTIABLE[name])
    f = lambda *tensors: PRIMITIVES[name](*tensors, **call.params)  # noqa: E731
    compiled = tg.compile(f, executor=executor)
    arrays = call.arrays
    for _ in range(2):
        found = []
        for run in (f, compiled):
            tensors = [tg.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
            y = run(*tensors)
            parts = y if isinstance(y, tuple) else (y,)
            wanted = [p for p in parts if p.requires_grad]
            if wanted:
                sum([(p * p).sum() for p in wanted], start=tg.tensor(0.0, dtype=wanted[0].dtype)).backward()
            found.append([*parts, *[t.grad for t in tensors if t.requires_grad]])
        close(*found, rtol=1e-5, atol=1e-6)
        arrays = [a * 0.5 if a.dtype.kind == "f" else a for a in arrays]


@both
@given(
    seed=st.integers(0, 2**16),
    steps=st.lists(
        st.tuples(st.sampled_from([*STEPS, "detach"]), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=25
    ),
    used=st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_random_programs(executor: str, seed: int, steps: list[tuple[str, int, int]], used: list[bool]) -> None:
    """Shared parts, dead ends, views, products, results that are not used, a captured parameter and arguments."""
    rng = np.random.default_rng(seed)
    captured = tg.tensor(rng.standard_normal((3, 3)), requires_grad=True)

    def f(x: tg.Tensor, w: tg.Tensor) -> Any:
        made = [x, w, captured, x * 0.5]
        for op, i, j in steps:
            a, b = made[i % len(made)], made[j % len(made)]
            made.append(a.detach() * b if op == "detach" else stepped(op, a, b, captured))
        return tuple(made[-3:])

    compiled = tg.compile(f, executor=executor)
    for _ in range(2):
        numbers, found = [rng.standard_normal((3, 3)) for _ in range(2)], []
        for run in (f, compiled):
            args = [tg.tensor(n, requires_grad=True) for n in numbers]
            captured.grad = None
            results = run(*args)
            wanted = [y for y, use in zip(results, used, strict=True) if use and y.requires_grad]
            if wanted:
                sum([(y * y).mean() for y in wanted], start=tg.tensor(0.0, dtype=tg.float64)).backward()
            found.append([*results, captured.grad, *[x.grad for x in args]])
        one, other = [[tg.zeros(3, 3).double() if g is None else g for g in some] for some in found]
        close(one, other, rtol=1e-8, atol=1e-9)


class LanguageModel(nn.Module):
    def __init__(self, kind: Any, **settings: Any) -> None:
        self.table = nn.Embedding(7, 6)
        self.rnn = kind(6, 5, **settings)
        self.drop = nn.Dropout(0.2)
        self.out = nn.Linear(5, 7)

    def forward(self, tokens: tg.Tensor, state: Any = None) -> Any:
        y, state = self.rnn(self.table(tokens), state)
        return self.out(self.drop(y)), state


def trained(kind: Any, compiled: bool, executor: str, dtype: Any, **settings: Any) -> list[Any]:
    """Truncated backpropagation over a stream, as one writes it with PyTorch; then an evaluation."""
    tg.manual_seed(1)
    model: Any = LanguageModel(kind, **settings).to(dtype)
    tokens = tg.randint(7, (17, 3), generator=tg.Generator(2))
    if compiled:
        model = tg.compile(model, executor=executor)
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    state: Any = None
    seen: list[Any] = []
    for epoch in range(2):
        model.train()
        for start in range(0, 16, 4):
            x, y = tokens[start : start + 4], tokens[start + 1 : start + 5]
            optimizer.zero_grad()
            logits, state = model(x, state)
            loss = criterion(logits.reshape(-1, 7), y.reshape(-1))
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            state = state.detach()
            seen.append(loss.detach())
        model.eval()
        with tg.no_grad():
            seen.append(model(tokens[:4])[0])
        state = None if epoch else state
    seen += [p.detach() for p in model.parameters()] + [p.grad for p in model.parameters()]
    if compiled:
        assert len(model.programs) == 3  # without a state, with one, evaluating
    return [*seen, tg.rand(2)]


@both
@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_a_training_loop_as_one_writes_it(kind: Any, executor: str) -> None:
    settings = {"num_layers": 2, "dropout": 0.3}
    close(*[trained(kind, c, executor, tg.float64, **settings) for c in (False, True)], rtol=1e-8, atol=1e-10)


def test_in_single_precision() -> None:
    close(*[trained(nn.LSTM, c, "numpy", tg.float32) for c in (False, True)], rtol=1e-3, atol=1e-4)


def test_gradients_are_checked_against_differences() -> None:
    lstm = nn.LSTM(2, 3, num_layers=2).double()
    compiled: Any = tg.compile(lstm)
    assert tg.gradcheck(lambda x: compiled(x)[0], (variable(4, 2, 2),))
    assert tg.gradcheck(tg.compile(nn.GRU(2, 3).double()), (variable(4, 2, 2),))
    assert tg.gradcheck(tg.compile(lambda x, w: (tg.tanh(x @ w), (x * x).sum())), (variable(3, 2), variable(2, 4)))
    assert tg.gradgradcheck(tg.compile(lambda x: tg.tanh(x * x).sum()), (variable(3),))
    assert len(compiled.programs) >= 1

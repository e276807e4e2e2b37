"""Does each operation find what was made for it, wherever a plan has put it?

Every operation of a program writes a number of its own into its result's place, and every read must find the numbers
that were written for it: what lies where something else is needed yet is seen, whatever the program computes.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nn
import tinygrad_seq as tg
from nn import optim
from tinygrad_seq.compiler.numpy.executor import NumpyExecutor
from tinygrad_seq.compiler.operations import VIEWS, evaluate
from tinygrad_seq.compiler.program import Instr

pytestmark = pytest.mark.host("plans lie in the host's memory")
EXECUTORS = ["numpy", *(["native"] if find_spec("llvmlite") else [])]
both = pytest.mark.parametrize("executor", EXECUTORS)


@pytest.fixture(autouse=True, scope="module")
def planned() -> Iterator[list[NumpyExecutor]]:
    """The executors that have planned their memory since somebody emptied the list."""
    found: list[NumpyExecutor] = []
    bind = NumpyExecutor._bind

    def noted(self: NumpyExecutor, arrays: list[Any]) -> None:
        bind(self, arrays)
        found.append(self)

    NumpyExecutor._bind = noted  # type: ignore[method-assign]
    yield found
    NumpyExecutor._bind = bind  # type: ignore[method-assign]


def check(executor: Any) -> None:
    """Go through the program, with numbers that say who wrote them in the place of results."""
    arrays, program = executor.plan.arrays, executor.program
    fusion_temporaries = set(executor.plan._fusion_temporaries)
    own = {*program.sources, *program.constants}
    parts: list[list[Instr]] = getattr(executor, "parts", [[i] for i in program.instrs if i.op not in VIEWS])
    views = [i for i in program.instrs if i.op in VIEWS]
    expected: dict[Any, Any] = {}

    def numbers(v: Any) -> Any:
        """What has been written for a Var, views looked up in what they are views of."""
        if v in own:
            return arrays[v]
        if v not in expected:
            view = made_by.get(v)
            if view is None or (found := numbers(view.args[0])) is None:
                return None
            expected[v] = evaluate(view.op, (found,), view.params)
        return expected[v]

    made_by = {i.out: i for i in views}
    count = 0
    for part in parts:
        inside = {i.out for i in part}
        for instr in part:
            for v in instr.inputs():
                if (
                    v not in own
                    and v not in inside
                    and v not in fusion_temporaries
                    and (found := numbers(v)) is not None
                ):
                    assert np.array_equal(arrays[v], found), f"{v} is not there for {instr}"
        for instr in part:
            out = instr.out
            if out.dtype.char not in "fdl" or out in fusion_temporaries:
                expected[out] = None
            elif instr.op == "concat" and all(numbers(a) is not None for a in instr.args):
                expected[out] = np.concatenate([numbers(a) for a in instr.args], instr.params["axis"])
                arrays[out][...] = expected[out]
            else:
                count += 1
                arrays[out][...] = count
                expected[out] = arrays[out].copy()
    for v in program.outputs:
        if v not in own and (found := numbers(v)) is not None:
            assert np.array_equal(arrays[v], found), f"{v} is not there at the end"


ELEMENTWISE = ["tanh", "sin", "sigmoid", "twice", "mul", "add"]
OTHERS = ["left", "right", "top", "bottom", "below", "beside", "product", "reshape", "T", "swap"]


@both
@given(
    steps=st.lists(
        st.tuples(st.sampled_from([*ELEMENTWISE, *OTHERS]), st.integers(0, 30), st.integers(0, 30)),
        min_size=3,
        max_size=40,
    ),
    kept=st.lists(st.integers(0, 40), min_size=1, max_size=5),
)
def test_random_programs(executor: str, steps: list[tuple[str, int, int]], kept: list[int], planned: Any) -> None:
    def f(x: tg.Tensor, w: tg.Tensor) -> list[tg.Tensor]:
        made = [x, w, tg.tanh(x @ w)]
        for op, i, j in steps:
            a, b = made[-1 - i % len(made)], made[-1 - j % len(made)]
            if op in ("tanh", "sin", "sigmoid"):
                y = getattr(tg, op)(a)
            elif op == "twice":
                y = a * 2
            elif op in ("mul", "add"):
                y = getattr(tg, op)(a, b) if a.shape == b.shape else tg.tanh(a)
            elif op in ("left", "right"):
                half = a.shape[1] // 2 or 1
                y = a[:, :half] if op == "left" else a[:, -half:]
            elif op in ("top", "bottom"):
                half = a.shape[0] // 2 or 1
                y = a[:half] if op == "top" else a[-half:]
            elif op == "below":
                y = tg.cat([a, b]) if a.shape[1] == b.shape[1] and a.shape[0] < 9 else tg.cat([a, a * 3])[:8]
            elif op == "beside":
                y = tg.cat([a, b], 1) if a.shape[0] == b.shape[0] and a.shape[1] < 9 else tg.cat([a, a * 3], 1)[:, :8]
            elif op == "product":
                y = a @ b if a.shape[1] == b.shape[0] else a @ a.T
            elif op == "reshape":
                y = a.reshape(-1, a.shape[0])
            elif op == "T":
                y = a.T
            else:
                y = tg.cat([a[a.shape[0] // 2 :], a[: a.shape[0] // 2]])
            made.append(tg.tanh(y) if op == "product" else y)
        return [made[-1 - k % len(made)] * 1.5 for k in kept]

    planned.clear()
    run = tg.compile(f, executor=executor)
    args = [tg.randn(4, 8), tg.randn(8, 8)]
    for a, b in zip(run(*args), f(*args), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)
    for executor_ in planned:
        check(executor_)


@both
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_training_steps(executor: str, kind: str, planned: Any) -> None:
    model = getattr(nn, kind)(3, 8, 2, bidirectional=kind == "GRU")
    head = nn.Linear(16 if kind == "GRU" else 8, 5)
    optimizer = optim.Adam([*model.parameters(), *head.parameters()])

    def step(x: tg.Tensor, target: tg.Tensor) -> tg.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(head(model(x)[0]).reshape(-1, 5), target)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    planned.clear()
    run = tg.compile(step, executor=executor)
    for _ in range(3):
        run(tg.randn(9, 4, 3), tg.randint(0, 5, (36,)))
    assert planned
    check(planned[-1])


@both
def test_pieces_that_are_needed_longer_than_the_whole(executor: str) -> None:
    def f(a: tg.Tensor, b: tg.Tensor) -> Any:
        p, q = tg.tanh(a), tg.tanh(b)
        t = tg.cat([p, q], 0)
        u, v = tg.sin(t[:4]) * 2, tg.sin(t[4:]) * 2
        return (u + v).sum(0), tg.cos(p)

    agree(f, executor, (4, 8), (4, 8))


@both
def test_parts_of_parts_that_are_needed_longer(executor: str) -> None:
    def f(a: tg.Tensor, w: tg.Tensor, b: tg.Tensor, c: tg.Tensor) -> Any:
        x = a @ w
        t, s = tg.tanh(x[:, :4]), tg.tanh(x[:, 4:])
        z = (s * s) @ b
        u, v = tg.sin(t[:2]), tg.sin(t[2:])
        q = tg.softplus(z) @ b
        whole = tg.cat([tg.tanh(q * c), tg.tanh(z * c)], 1)
        return whole @ whole.T, tg.cos(u) * 2, tg.cos(v) + v

    agree(f, executor, (4, 8), (8, 8), (4, 4), (4, 4))


@both
def test_what_lies_in_rows_apart_is_not_reshaped_there(executor: str) -> None:
    def piece_of_a_piece(a: tg.Tensor, b: tg.Tensor, c: tg.Tensor) -> Any:
        y = a * 2
        r = tg.tanh(y.reshape(8, 4))
        return tg.cat([tg.cat([y, b], 0), c], 1), r

    def rows_of_a_piece(a: tg.Tensor, c: tg.Tensor) -> Any:
        y = a * 2
        return tg.cat([y, c], 1), tg.tanh(y[1:].reshape(8, 2))

    agree(piece_of_a_piece, executor, (4, 8), (4, 8), (8, 8))
    agree(rows_of_a_piece, executor, (5, 4), (5, 4))


def agree(f: Any, executor: str, *shapes: tuple[int, int]) -> None:
    args = [tg.randn(*shape) for shape in shapes]
    run = tg.compile(f, executor=executor)
    for _ in range(2):
        for a, b in zip(run(*args), f(*args), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)

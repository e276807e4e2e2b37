"""LBFGS and its line search: PyTorch's numbers and numbers of evaluations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg
from nn.optim.line_search import Point, cubic_minimum, strong_wolfe

from .test_optim import close, leaf


def rosenbrock(x: Any, y: Any) -> Any:
    return 100.0 * (y - x**2) ** 2 + (1.0 - x) ** 2


LBFGS_CASES: list[dict[str, Any]] = [
    {"lr": 0.1},
    {"lr": 0.5, "max_iter": 4, "history_size": 3},
    {"lr": 0.3, "max_iter": 10, "max_eval": 7},
    {"line_search_fn": "strong_wolfe"},
    {"line_search_fn": "strong_wolfe", "lr": 0.1, "max_iter": 3, "history_size": 2},
    {"line_search_fn": "strong_wolfe", "lr": 100.0, "max_iter": 5},
    {"line_search_fn": "strong_wolfe", "max_eval": 3},
    {"line_search_fn": "strong_wolfe", "max_iter": 1, "max_eval": 1},
    {"line_search_fn": "strong_wolfe", "tolerance_grad": 1e-2},
    {"line_search_fn": "strong_wolfe", "tolerance_change": 1e-2},
]


@pytest.mark.parametrize("options", LBFGS_CASES, ids=str)
@pytest.mark.parametrize("problem", ["valley", "regression"])
def test_lbfgs_against_torch(torch: Any, options: dict[str, Any], problem: str) -> None:
    rng = np.random.default_rng(1)
    inputs, targets = rng.standard_normal((20, 3)), rng.standard_normal((20, 2))
    found = []
    for tensor, library in ((tg.tensor, nn.optim), (torch.tensor, torch.optim)):
        first = np.array([-1.2]) if problem == "valley" else 0.1 * np.ones((3, 2))
        second = np.array([1.0]) if problem == "valley" else np.zeros(2)
        a, b = (tensor(v, requires_grad=True) for v in (first, second))
        unused = tensor(np.ones(2), requires_grad=True)
        optimizer = library.LBFGS([a, unused, b], **options)
        x, t = tensor(inputs), tensor(targets)
        calls: list[float] = []

        def closure(
            a: Any = a, b: Any = b, x: Any = x, t: Any = t, calls: Any = calls, optimizer: Any = optimizer
        ) -> Any:
            optimizer.zero_grad()
            loss = rosenbrock(a, b).sum() if problem == "valley" else (((x @ a).tanh() + b - t) ** 2).mean()
            loss.backward()
            calls.append(loss.item())
            return loss

        losses = [optimizer.step(closure).item() for _ in range(4)]
        found.append((losses, calls, a, b, optimizer.state_dict()["state"][0]))
    (losses, calls, a, b, state), (their_losses, their_calls, their_a, their_b, their_state) = found
    assert len(calls) == len(their_calls)
    np.testing.assert_allclose(losses, their_losses, rtol=0, atol=1e-10)
    close(a, their_a, 1e-10)
    close(b, their_b, 1e-10)
    assert {k: state[k] for k in ("func_evals", "n_iter")} == {k: their_state[k] for k in ("func_evals", "n_iter")}


@pytest.mark.parametrize("seed", range(200))
def test_the_line_search_against_torch(torch: Any, seed: int) -> None:
    """Lines with many bumps, all first lengths and budgets: the same points, one by one."""
    search = getattr(pytest.importorskip("torch.optim.lbfgs"), "_strong_wolfe", None)
    if search is None:
        pytest.skip("PyTorch has it no longer under this name")
    rng = np.random.default_rng(seed)
    waves = rng.standard_normal((4, 3)) * [1.0, 3.0, 3.0]

    def f(t: float) -> tuple[float, float]:
        height = sum(a * math.sin(w * t + b) for a, w, b in waves) + 0.05 * t * t
        return height, sum(a * w * math.cos(w * t + b) for a, w, b in waves) + 0.1 * t

    sign = -1.0 if f(0.0)[1] > 0 else 1.0  # downhill
    ours, theirs = [], []

    def evaluate(t: float) -> Point:
        ours.append(t)
        height, slope = f(sign * t)
        return Point(t, height, tg.tensor([slope], dtype=tg.float64), sign * slope)

    def reference(_x: Any, t: Any, d: Any) -> Any:
        theirs.append(float(t))
        height, slope = f(float(t) * d.item())
        return height, torch.tensor([slope])

    start = evaluate(0.0)
    del ours[0]
    first, budget, tolerance = 10 ** rng.uniform(-2, 2), int(rng.integers(1, 25)), 10 ** rng.uniform(-6, 1)
    point, tried = strong_wolfe(evaluate, start, first, budget, 1.0, tolerance)
    g, d = torch.tensor(start.gradient.numpy().copy()), torch.tensor([sign])
    loss, _, t, count = search(
        reference, None, first, d, start.loss, g, g.dot(d), max_ls=budget, tolerance_change=tolerance
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-10)
    assert tried == count
    np.testing.assert_allclose([point.t, point.loss], [float(t), loss], rtol=1e-10)


def test_a_line_search_copes_where_there_is_no_minimum() -> None:
    p = leaf(1.0)
    optimizer = nn.optim.LBFGS([p], line_search_fn="strong_wolfe", max_iter=3, max_eval=25)

    def straight_then_nan() -> tg.Tensor:
        optimizer.zero_grad()
        loss = -p.sum() if p.item() < 50 else (p * math.nan).sum()
        loss.backward()
        return loss

    optimizer.step(straight_then_nan)
    assert 1 < p.item() < 50
    g = tg.zeros(1)
    assert cubic_minimum(Point(0.0, 1.0, g, -1.0), Point(1.0, 0.0, g, -1.0), (1.0, 10.0)) == 5.5  # a line
    assert cubic_minimum(Point(0.0, 1.0, g, -2.0), Point(1.0, 0.0, g, 0.0), (0.0, 1.0)) == 1.0  # a parabola
    assert cubic_minimum(Point(1.0, 0.0, g, 0.0), Point(0.0, 1.0, g, -2.0), (0.0, 0.5)) == 0.5
    assert cubic_minimum(Point(0.0, 1.0, g, -2.0), Point(0.0, 1.0, g, -2.0), (0.0, 2.0)) == 1.0

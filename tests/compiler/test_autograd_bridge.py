"""A compiled function's result in front of `backward`: gradients go where they go without compiling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nn
import nn.functional as F
import tinygrad_seq as tg


def close(*pair: Any, rtol: float = 1e-9, atol: float = 1e-12) -> None:
    """Tensors, or containers of them, agree; where one has no gradient, neither has the other."""
    a, b = pair
    if isinstance(a, (list, tuple)):
        for x, y in zip(a, b, strict=True):
            close(x, y, rtol=rtol, atol=atol)
    elif a is None or b is None:
        assert a is b
    else:
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=rtol, atol=atol)


def variable(*shape: int, seed: int = 0, dtype: Any = tg.float64) -> tg.Tensor:
    return tg.randn(*shape, generator=tg.Generator(seed), dtype=dtype).requires_grad_()


# --- what a result is ---


def test_results_with_and_without_a_gradient() -> None:
    w = variable(3)

    @tg.compile
    def f(x: tg.Tensor, d: dict[str, tg.Tensor]) -> Any:
        y = x * w
        return {"y": y, "again": y, "view": y.reshape(3, 1), "plain": y.detach(), "best": y.argmax(), "n": 3,
                "same": d["x"], "w": w, "none": None, "list": [y.sum(), tg.ones(2)]}  # fmt: skip

    for _ in range(2):
        x = variable(3, seed=4)
        d = {"x": x}
        r = f(x, d)
        assert [k for k, v in r.items() if isinstance(v, tg.Tensor) and v.requires_grad] == [
            "y", "again", "view", "same", "w",
        ]  # fmt: skip
        assert r["y"] is r["again"]
        assert r["same"] is x
        assert r["w"] is w
        assert (r["n"], r["none"]) == (3, None)
        assert r["list"][0].requires_grad
        assert not r["list"][1].requires_grad
        assert r["best"].item() == int((x * w).argmax().item())
        assert "grad_fn=<f>" in repr(r["y"])
        w.grad = None
        ((r["y"] + r["again"]) * r["plain"] + r["view"].sum() + r["same"]).sum().backward()
        y = (x * w).detach()
        close(w.grad, (2 * y + 3) * x.detach())
        close(x.grad, (2 * y + 3) * w.detach() + 1)


def test_gradients_add_up_and_no_grad_gives_constants() -> None:
    w = variable(2)
    f = tg.compile(lambda x: (x * w).sum())
    for _ in range(3):
        f(tg.tensor([1.0, 2.0]).double()).backward()
    close(w.grad, tg.tensor([3.0, 6.0]).double())
    with tg.no_grad():
        assert not f(tg.ones(2).double()).requires_grad
    assert len(f.programs) == 2


def test_a_result_of_a_backward_pass_inside_carries_none() -> None:
    w = variable(3)

    @tg.compile
    def step(x: tg.Tensor) -> Any:
        y = x * w
        loss = (y * y).sum()
        loss.backward()
        return loss, y * 2, (x * w).sum()

    loss, double, other = step(tg.ones(3).double())
    assert [t.requires_grad for t in (loss, double, other)] == [False, False, True]
    before = w.grad
    assert before is not None
    before = before.clone()
    other.backward()
    close(w.grad, before + 1.0)


@pytest.mark.parametrize("executor", ["numpy", None])
def test_changed_parameters_and_buffers_of_the_call_itself(executor: Any) -> None:
    """The backward half has the numbers from before the change."""
    results = []
    for compiled in (False, True):
        w, scale, x = variable(3), tg.ones(3).double(), variable(3, seed=1)

        def f(x: tg.Tensor, w: tg.Tensor = w, scale: tg.Tensor = scale) -> tg.Tensor:
            y = (x * w * scale.clone()).sum()
            with tg.no_grad():
                scale.mul_(2.0)
            return y

        run = tg.compile(lambda x, f=f: f(x), executor=executor) if compiled else f
        for _ in range(3):
            run(x).backward()
        results.append([w.grad, x.grad, scale])
    close(*results)


def test_products_of_both_halves_with_one_right_hand_side() -> None:
    w, grads = variable(3, 3), []

    def f(x: tg.Tensor, k: tg.Tensor) -> tg.Tensor:
        one, other = [r @ w for r in x.split(1)], [r @ w.T for r in k.split(1)]
        return tg.cat([*one, *[tg.tanh(o) for o in other]])

    for run in (f, tg.compile(f)):
        x, k, w.grad = variable(4, 3, seed=1), variable(4, 3, seed=2), None
        y = run(x, k)
        (y * y).sum().backward()
        grads.append([y, x.grad, k.grad, w.grad])
    close(*grads)


def test_no_gradient_comes_back() -> None:
    for f in (lambda x: tg.floor(x), lambda x: tg.floor(x) + x.detach()):
        found = []
        for run in (f, tg.compile(f)):
            x = variable(3)
            run(x).sum().backward()
            found.append(x.grad)
        close(*found)


# --- transformations, and higher order ---


def objective(x: tg.Tensor) -> tg.Tensor:
    return (tg.tanh(x) * x * tg.exp(-x)).sum()


@pytest.mark.parametrize(
    "transform",
    [
        lambda f: tg.grad(f),
        lambda f: tg.value_and_grad(f),
        lambda f: tg.grad(lambda x: tg.grad(f)(x).pow(2).sum()),
        lambda f: tg.hessian(f),
        lambda f: lambda x: tg.hvp(f, (x,), (tg.ones_like(x),)),
        lambda f: lambda x: tg.jvp(f, (x,), (tg.ones_like(x),)),
        lambda f: lambda x: tg.jacobian(lambda x: f(x) * x)(x),
        lambda f: lambda x: tg.vjp(f, x)[1](tg.tensor(2.0).double()),
        lambda f: lambda x: tg.vmap(tg.grad(f))(x.reshape(-1, 1)),
        lambda f: tg.compile(tg.grad(f)),
        lambda f: lambda x: tg.grad(lambda x: tg.checkpoint(f, x))(x),
    ],
)
def test_transformations(transform: Callable[..., Any]) -> None:
    compiled = tg.compile(objective)
    for n in range(2):
        x = variable(4, seed=n).detach()
        close(transform(compiled)(x), transform(objective)(x))
    assert compiled.programs or transform(objective)


def test_a_second_derivative_draws_the_same_masks() -> None:
    layer, found = nn.Linear(3, 3).double(), []

    def f(x: tg.Tensor) -> tg.Tensor:
        return F.dropout(tg.tanh(layer(x)), 0.5).sum()

    for run in (f, tg.compile(f)):
        tg.manual_seed(3)
        layer.zero_grad()
        x = variable(4, 3)
        run(x).backward(create_graph=True)
        assert x.grad is not None
        (x.grad**2).sum().backward()
        found.append([x.grad, *[p.grad for p in layer.parameters()], tg.rand(2)])
    close(found[0], found[1])


def test_a_second_derivative_after_a_change_or_of_what_changes_something() -> None:
    w = variable(3)
    f = tg.compile(lambda x: (x * x * tg.exp(w * 0.0)).sum())
    x = variable(3)
    y = f(x)
    w.data = tg.ones(3).double()
    with pytest.raises(RuntimeError, match=r"second derivative.*was changed since; change it after backward"):
        y.backward(create_graph=True)
    count = tg.zeros(1)

    @tg.compile
    def counted(x: tg.Tensor) -> tg.Tensor:
        with tg.no_grad():
            count.add_(1.0)
        return (x * x).sum()

    with pytest.raises(RuntimeError, match=r"second derivative.*changes something outside.*without compile"):
        counted(x).backward(create_graph=True)
    assert count.item() == 1


# --- what is refused ---


def test_what_cannot_carry_a_gradient() -> None:
    x, state = variable(3), tg.zeros(3).double()
    with pytest.raises(tg.CompileError, match="makes itself, anew at each call; make parameters outside"):
        tg.compile(lambda x: x * nn.Parameter(tg.ones(3)))(tg.ones(3))
    with pytest.raises(tg.CompileError, match="returns a variable that it makes itself"):
        tg.compile(lambda x: x.detach().requires_grad_())(x)
    with pytest.raises(tg.CompileError, match=r"changes argument 1 in place.*under no_grad"):
        tg.compile(lambda x, s: s.copy_(x * 2).sum())(x, state)

    @tg.compile
    def changing(x: tg.Tensor) -> tg.Tensor:
        y = (x * state).sum()
        state.mul_(2.0)
        return y

    with pytest.raises(tg.CompileError, match=r"but it could not: .* was changed in place.*return y.detach"):
        changing(x)
    assert state.tolist() == [0, 0, 0]
    loss = tg.compile(lambda x: (x * x).sum())(x)
    with pytest.raises(tg.CompileError, match="reaches the result of <lambda>, which was called outside"):
        tg.compile(lambda y: y.backward())(loss)
    assert type(x.detach().numpy()) is np.ndarray
    assert type(state.numpy()) is np.ndarray


# --- what there is to look at ---


def test_a_program_says_what_it_keeps() -> None:
    f = tg.compile(lambda x: tg.exp(x * 2))
    f(variable(3))
    assert "a call keeps 24 bytes" in f.programs[0].explanation()
    assert "the gradient of result 0" in str(f.programs[0].backward)

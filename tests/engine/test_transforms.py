"""Derivatives of functions, against formulas."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_seq as tg

X = tg.tensor([0.5, 1.0, 2.0], dtype=tg.float64)


def cubes(x: tg.Tensor) -> tg.Tensor:
    return (x**3).sum()


def close(a: tg.Tensor, b: object) -> None:
    np.testing.assert_allclose(a.detach().numpy(), np.asarray(b), rtol=1e-13, atol=1e-13)


def test_grad_of_any_order() -> None:
    f = tg.grad(lambda x: x**5)
    close(f(2.0), 80)
    close(tg.grad(f)(2.0), 160)
    close(tg.grad(tg.grad(f))(2.0), 240)
    close(tg.grad(tg.grad(tg.grad(f)))(2.0), 240)


def test_value_argnums_aux_and_containers() -> None:
    value, (gx, gz) = tg.value_and_grad(lambda x, y, z: (x * y * z).sum(), (0, 2))(X, 2.0, X)
    close(value, 2 * (X * X).sum().item())
    close(gx, 2 * X.numpy())
    close(gz, 2 * X.numpy())
    gradient, aux = tg.grad(lambda x: (cubes(x), "more"), has_aux=True)(X)
    assert aux == "more"
    close(gradient, 3 * X.numpy() ** 2)
    found = tg.grad(lambda p: (p["a"] * p["b"][0]).sum())({"a": X, "b": [X, X]})
    close(found["a"], X.numpy())
    close(found["b"][1], np.zeros(3))


def test_results_are_constants_unless_something_outside_asks() -> None:
    assert not tg.grad(cubes)(X).requires_grad
    w = tg.tensor(2.0, dtype=tg.float64, requires_grad=True)
    inner = tg.grad(lambda x: (w * w * x**3).sum())(X)
    inner.sum().backward()
    close(w.grad, (2 * 2 * 3 * X.numpy() ** 2).sum())  # type: ignore[arg-type]
    with tg.no_grad():
        assert not tg.grad(lambda x: (w * x).sum())(X).requires_grad


def test_a_graph_outside_survives() -> None:
    w = tg.ones(3, dtype=tg.float64, requires_grad=True)
    y = w.exp()
    with tg.no_grad():
        tg.grad(lambda x: (x * y).sum())(X)
    tg.grad(lambda x: (x * y).sum())(X)
    y.sum().backward()


def test_vjp_jvp_hvp() -> None:
    value, pull = tg.vjp(lambda x: (x * x, x.exp()), X)
    close(value[1], np.exp(X.numpy()))
    (g,) = pull((tg.ones(3), tg.tensor([1.0, 0.0, 0.0])))
    close(g, 2 * X.numpy() + np.exp(X.numpy()) * [1, 0, 0])
    (g,) = pull((tg.zeros(3), tg.ones(3)))
    close(g, np.exp(X.numpy()))
    value, product = tg.jvp(lambda x: x.exp() * x.sum(), (X,), (X,))
    v = X.numpy()
    close(product, np.exp(v) * v * v.sum() + np.exp(v) * v.sum())
    value, (product,) = tg.hvp(cubes, (X,), (tg.ones(3),))
    close(value, (v**3).sum())
    close(product, 6 * v)
    assert not product.requires_grad


def test_jacobian_and_hessian() -> None:
    v = X.numpy()
    close(tg.jacobian(lambda x: x[:2] * x[1:])(X), [[v[1], v[0], 0], [0, v[2], v[1]]])
    close(tg.hessian(lambda x: x[0] * x[1] * x[2])(X), [[0, v[2], v[1]], [v[2], 0, v[0]], [v[1], v[0], 0]])
    assert tg.jacobian(lambda x: x[:0])(X).shape == (0, 3)
    assert tg.jacobian(tg.jacobian(lambda x: x.tanh()))(X).shape == (3, 3, 3)


def test_forward_and_reverse_nest() -> None:
    ones = tg.ones(3)
    second = tg.jvp(lambda x: tg.jvp(lambda x: x**4, (x,), (ones,))[1], (X,), (ones,))[1]
    close(second, 12 * X.numpy() ** 2)
    close(tg.grad(lambda x: tg.jvp(cubes, (x,), (ones,))[1])(X), 6 * X.numpy())


def test_what_does_not_depend_has_zero_derivative() -> None:
    close(tg.grad(lambda x: tg.ones(1, dtype=tg.float64).sum())(X), np.zeros(3))
    close(tg.jvp(lambda x: tg.ones(2), (X,), (X,))[1], np.zeros(2))
    close(tg.hvp(lambda x: x.sum(), (X,), (X,))[1][0], np.zeros(3))


def test_mistakes_are_named() -> None:
    with pytest.raises(TypeError, match=r"grad: the function must return a scalar .* shape \(3,\)"):
        tg.grad(lambda x: x)(X)
    with pytest.raises(TypeError, match="returned a NoneType"):
        tg.grad(lambda x: None)(X)
    with pytest.raises(TypeError, match="argnums=1, but the function was called with 1"):
        tg.grad(cubes, 1)(X)
    with pytest.raises(TypeError, match=r"argument of int64 has no gradient"):
        tg.grad(cubes)(tg.tensor([1, 2]))
    with pytest.raises(ValueError, match=r"vjp: the function returned shape \(3,\)"):
        tg.vjp(lambda x: x * 2, X)[1](tg.ones(2))
    with pytest.raises(ValueError, match=r"jvp: the primals have shapes .*tangents \[\(2,\)\]"):
        tg.jvp(cubes, (X,), (tg.ones(2),))


def test_checkpoint_changes_nothing_but_the_memory() -> None:
    w = tg.randn(4, 4, dtype=tg.float64, requires_grad=True)

    def piece(h: tg.Tensor) -> tg.Tensor:
        for _ in range(3):
            h = (h @ w).tanh() * (tg.rand(4) > 0.3).to(h.dtype)
        return h

    found: list[list[tg.Tensor | None]] = []
    for run in (piece, lambda h: tg.checkpoint(piece, h)):
        tg.manual_seed(1)
        x = tg.ones(2, 4, dtype=tg.float64, requires_grad=True)
        w.grad = None
        run(run(x)).sum().backward(create_graph=True)
        assert x.grad is not None
        assert w.grad is not None
        first = [x.grad.detach(), w.grad.detach()]
        g = (x.grad * x.grad).sum() + (w.grad * w.grad).sum()
        w.grad = x.grad = None
        g.backward()
        found.append([*first, x.grad, w.grad])
    for a, b in zip(*found, strict=True):
        assert a is not None
        assert b is not None
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)


def test_checkpoint_notices_a_changed_parameter() -> None:
    w = tg.ones(3, requires_grad=True)
    y = tg.checkpoint(lambda x: (x * w).tanh(), tg.ones(3, requires_grad=True)).sum()
    with tg.no_grad():
        w += 1
    with pytest.raises(RuntimeError, match="changed in place between"):
        y.backward()

"""What can be checked: containers, some of the inputs, a model with its loss, functions of other frameworks."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

import nn
import nn.functional as F
import tinygrad_seq as tg
from tinygrad_seq import testing

X = np.random.default_rng(0).uniform(0.5, 2.0, (2, 3))


class Two(NamedTuple):
    a: Any
    b: Any


@pytest.mark.parametrize(
    ("f", "inputs", "names"),
    [
        (lambda d: d["a"] * d["b"], {"a": X, "b": X}, ["input 0['a']", "input 0['b']"]),
        (lambda x, m: x * 2.0 if m is None else x, (X, None), ["input 0"]),
        (lambda p, z: p[0] @ p[1] + z, ([X, X.T.copy()], np.ones((2, 2))), ["input 0[0]", "input 0[1]", "input 1"]),
        (lambda t: t.a * t.b, [Two(X, X)], ["input 0[0]", "input 0[1]"]),
        (lambda x, y: x * y, [[1.0, 2.0], 3.0], ["input 0", "input 1"]),
    ],
)
def test_containers(f: Any, inputs: Any, names: list[str]) -> None:
    report = tg.gradcheck(f, inputs)
    assert [i.name for i in report.inputs] == names
    assert report
    assert tg.gradgradcheck(lambda *xs: f(*xs).sin(), inputs)


def test_a_wrong_entry_of_a_container_is_named() -> None:
    with pytest.raises(tg.GradcheckError, match=r"input 0\['b'\], shape"):
        tg.gradcheck(lambda d: d["a"] * d["b"].detach(), {"a": X, "b": X})


def test_containers_of_a_pair() -> None:
    pair = (lambda d, k: d["a"] * d["b"] * k, lambda g, d, k, y: ({"a": g * d["b"] * k, "b": g * d["a"] * k}, None))
    assert tg.gradcheck(pair, ({"a": X, "b": X}, 2), wrt=0)
    wrong = (pair[0], lambda g, d, k, y: ({"a": g * d["b"] * k, "b": g * d["a"]}, None))
    assert not tg.gradcheck(wrong, ({"a": X, "b": X}, 2), wrt=0, raise_exception=False)
    assert tg.gradcheck(wrong, ({"a": X, "b": X}, 2), wrt="input 0['a']")


def test_wrt_chooses_and_what_is_left_out_may_be_integers() -> None:
    rows = np.array([0, 1, 1])
    assert [i.name for i in tg.gradcheck(lambda x, r: x[r], (X, rows), wrt=0).inputs] == ["input 0"]
    lstm = nn.LSTM(2, 3)
    report = tg.gradcheck(lstm, tg.randn(3, 1, 2), wrt=["weight_hh_l0", "bias_ih_l0"])
    assert [i.name for i in report.inputs] == ["weight_hh_l0", "bias_ih_l0"]
    parts = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    report = tg.gradcheck(parts, tg.randn(3, 2), wrt="1")
    assert [i.name for i in report.inputs] == ["1.weight", "1.bias"]
    for wrong in (2, "no such"):
        with pytest.raises(ValueError, match=f"wrt={wrong!r} names no floating-point input"):
            tg.gradcheck(lambda x: x, X, wrt=wrong)


def test_a_whole_model_with_its_loss() -> None:
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 5))
    batch = (np.array([1, 2, 4]), np.array([0, 3, 1]))
    for loss in (nn.CrossEntropyLoss(), F.cross_entropy, lambda scores, target: F.cross_entropy(scores, target)):
        report = tg.gradcheck(model, batch, loss=loss)
        assert [i.name for i in report.inputs] == ["0.weight", "1.weight", "1.bias"]
        assert report
    assert tg.gradcheck(model, batch[:1], loss=lambda scores: (scores * scores).mean())
    assert tg.gradgradcheck(model, batch, loss=F.cross_entropy, wrt="1")
    assert all(p.grad is None for p in model.parameters())
    with pytest.raises(TypeError, match="loss= takes a function"):
        tg.gradcheck(model, batch, loss=3)


def test_a_default_argument_of_a_backward_function() -> None:
    assert tg.gradcheck((np.sin, lambda g, x, y, k=1.0: g * np.cos(x) * k), X)


def test_integer_outputs_carry_no_gradient() -> None:
    assert tg.gradcheck((lambda x: (np.sin(x), np.argsort(x)), lambda g, x, y: g[0] * np.cos(x)), X)


@pytest.mark.parametrize(
    "call",
    [
        lambda: tg.gradcheck(lambda z: z * z, tg.tensor(X + 1j)),
        lambda: tg.gradcheck((np.square, lambda g, z, y: 2 * g * z), X + 1j),
        lambda: tg.gradcheck(lambda x: x * (1 + 1j), X),
        lambda: tg.gradcheck((np.fft.fft, lambda g, x, y: g.real), X),
    ],
)
def test_complex_numbers_are_refused(call: Any) -> None:
    with pytest.raises(TypeError, match="is complex"):
        call()


def test_functions_of_pytorch_by_themselves() -> None:
    torch = pytest.importorskip("torch")
    assert tg.gradcheck(torch.sin, X)
    with pytest.raises(TypeError, match="give it torch tensors"):
        tg.gradcheck(lambda x: torch.sin(x), X)
    assert testing.check_gradients(lambda x: torch.sin(x), X, framework="torch")
    model = torch.nn.Sequential(torch.nn.Embedding(5, 4), torch.nn.Linear(4, 5))
    batch = (torch.tensor([1, 2]), torch.tensor([0, 3]))
    report = tg.gradcheck(model, batch, loss=torch.nn.CrossEntropyLoss())
    assert [i.name for i in report.inputs] == ["0.weight", "1.weight", "1.bias"]


def test_functions_of_jax() -> None:
    jax = pytest.importorskip("jax")
    jnp = jax.numpy

    @jax.custom_vjp  # type: ignore[untyped-decorator]
    def right(x: Any) -> Any:
        return jnp.sin(x)

    right.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (g * jnp.cos(x),))

    @jax.custom_vjp  # type: ignore[untyped-decorator]
    def wrong(x: Any) -> Any:
        return jnp.sin(x)

    wrong.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (g * jnp.cos(x) * (1 + 1e-6),))
    assert testing.check_gradients(right, X)
    assert testing.check_gradients(jax.jit(lambda d: d["a"] * d["b"]), {"a": X, "b": X})
    assert testing.check_gradients(jax.grad(lambda x: (x**3).sum()), X, framework="jax")
    for f in (wrong, lambda x: wrong(x) * x):
        with pytest.raises(tg.GradcheckError, match="input 0"):
            testing.check_gradients(f, X, framework="jax")
    with pytest.raises(TypeError, match="gradgradcheck"):
        testing.check_gradients(right, X, order=2)
    with pytest.raises(ValueError, match="framework is jax, torch or None"):
        testing.check_gradients(right, X, framework="no such")


def test_check_gradients_of_ours() -> None:
    assert testing.check_gradients(lambda x: x.sin(), X, order=2)

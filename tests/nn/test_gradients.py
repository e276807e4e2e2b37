"""RNN and LSTM as a whole against derivatives computed from values alone: input, states and every parameter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nn
import nn.functional as F
import tinygrad_seq as tg

from ..profiles import one_in

d = tg.float64


def with_parameters(module: nn.Module, call: Callable[..., Any]) -> tuple[Callable[..., Any], list[tg.Tensor]]:
    """call(module, *inputs) as a function of the inputs and then of all the module's parameters; and these."""
    parameters = dict(module.named_parameters())

    def function(*given: tg.Tensor) -> Any:
        inputs, values = given[: len(given) - len(parameters)], given[len(given) - len(parameters) :]

        class Call(nn.Module):
            def __init__(self) -> None:
                self.module = module

            def forward(self) -> Any:
                return call(module, *inputs)

        names = [f"module.{name}" for name in parameters]
        return nn.functional_call(Call(), dict(zip(names, values, strict=True)))

    return function, [value.detach() for value in parameters.values()]


def recurrent(kind: str, features: int, hidden: int, **settings: Any) -> Any:
    if kind == "LSTM":
        return nn.LSTM(features, hidden, **settings)
    return nn.RNN(features, hidden, nonlinearity=kind.partition(" ")[2], **settings)


def run(module: Any, x: tg.Tensor, *states: tg.Tensor) -> Any:
    if not states:
        return module(x)
    return module(x, states if isinstance(module, nn.LSTM) else states[0])


# a network of one unit may be dead
pytestmark = pytest.mark.filterwarnings("ignore::tinygrad_seq.gradcheck.NotTestedWarning")
KINDS = ["LSTM", "RNN tanh", "RNN relu"]


@pytest.mark.parametrize("kind", KINDS)
@one_in(4)  # each is a check of many entries
@given(data=st.data())
def test_whole_networks(kind: str, data: st.DataObject) -> None:
    size = st.integers(1, 3)
    T, B, features, H, layers = (data.draw(size) for _ in range(5))
    options = {name: data.draw(st.booleans()) for name in ("bias", "batch_first", "bidirectional")}
    tg.manual_seed(data.draw(st.integers(0, 99)))
    module = recurrent(kind, features, H, num_layers=layers, **options)
    count = layers * (2 if options["bidirectional"] else 1)
    x = tg.randn(*((B, T) if options["batch_first"] else (T, B)), features)
    states = [tg.randn(count, B, H) for _ in module.states]
    function, parameters = with_parameters(module, run)
    tg.gradcheck(function, [x, *states, *parameters])


@pytest.mark.parametrize("kind", KINDS)
def test_second_order(kind: str) -> None:
    module = recurrent(kind, 2, 2, num_layers=2)
    function, parameters = with_parameters(module, run)
    tg.gradgradcheck(function, [tg.randn(3, 1, 2), *[tg.randn(2, 1, 2) for _ in module.states], *parameters])


@pytest.mark.parametrize("kind", KINDS)
def test_without_batch_or_states(kind: str) -> None:
    module = recurrent(kind, 2, 3)
    function, parameters = with_parameters(module, run)
    tg.gradcheck(function, [tg.randn(4, 2), *parameters])


def test_cells() -> None:
    for cell in (nn.LSTMCell(3, 2), nn.RNNCell(3, 2), nn.RNNCell(3, 2, nonlinearity="relu", bias=False)):
        states = [tg.randn(4, 2), tg.randn(4, 2)] if isinstance(cell, nn.LSTMCell) else [tg.randn(4, 2)]

        def call(m: Any, x: tg.Tensor, *s: tg.Tensor) -> Any:
            return m(x, s if isinstance(m, nn.LSTMCell) else s[0])

        function, parameters = with_parameters(cell, call)
        tg.gradcheck(function, [tg.randn(4, 3), *states, *parameters])
        tg.gradgradcheck(function, [tg.randn(4, 3), *states, *parameters])


def test_layers_and_losses() -> None:
    linear, parameters = with_parameters(nn.Linear(3, 2), lambda m, x: m(x))
    tg.gradgradcheck(linear, [tg.randn(2, 4, 3), *parameters])
    tokens = tg.tensor([[0, 2], [2, 1]])
    embedding, parameters = with_parameters(nn.Embedding(4, 3), lambda m: m(tokens).tanh())
    tg.gradgradcheck(embedding, parameters)
    target = tg.tensor([2, 0, 2])
    for reduction in ("mean", "sum", "none"):
        tg.gradgradcheck(lambda z, r=reduction: F.cross_entropy(z, target, reduction=r), tg.randn(3, 4) * 5)
        tg.gradcheck(lambda z, r=reduction: F.nll_loss(z, target, reduction=r), tg.randn(3, 4))
        tg.gradgradcheck(lambda x, y, r=reduction: F.mse_loss(x, y, reduction=r), (tg.randn(3, 4), tg.randn(3, 4)))
    tg.gradcheck(lambda z: F.cross_entropy(z, tg.tensor([[0, 1], [3, 2]])), tg.randn(2, 4, 2))

    def dropped(x: tg.Tensor) -> tg.Tensor:
        return F.dropout(x, 0.4, generator=tg.Generator(1)).tanh()

    tg.gradgradcheck(dropped, tg.randn(3, 4))


def test_truncated_backpropagation_is_the_gradient_with_the_past_frozen() -> None:
    lstm = nn.LSTM(2, 3, dtype=d)
    x = tg.randn(8, 1, 2, dtype=d)
    _, (h, c) = lstm(x[:4])
    frozen = (h.detach(), c.detach())
    function, parameters = with_parameters(lstm, lambda m: m(x[4:], frozen)[0])
    tg.gradcheck(function, parameters)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_derivative_of_every_network(kind: str, dtype: str) -> None:
    """Gradient, gradient of gradient, jvp, hvp, ∂h_T/∂h_0, per sample: they agree, in both precisions."""
    kept = getattr(tg, dtype)
    rtol, atol = (1e-9, 1e-12) if dtype == "float64" else (2e-3, 1e-5)
    module = recurrent(kind, 2, 3, dtype=kept)
    module.requires_grad_(False)
    x, v = tg.randn(5, 2, dtype=kept), tg.randn(5, 2, dtype=kept)
    h0 = [tg.randn(1, 3, dtype=kept) * 0.1 for _ in module.states]

    def loss(x: tg.Tensor) -> tg.Tensor:
        return (run(module, x, *h0)[0] ** 2).sum()

    g = tg.grad(loss)(x)
    _, directional = tg.jvp(loss, (x,), (v,))
    np.testing.assert_allclose(directional.item(), (g * v).sum().item(), rtol=rtol, atol=atol)
    _, (product,) = tg.hvp(loss, (x,), (v,))
    hessian = tg.hessian(loss)(x).reshape(10, 10)
    np.testing.assert_allclose(product.reshape(10).numpy(), (hessian @ v.reshape(10)).numpy(), rtol=rtol, atol=atol)
    np.testing.assert_allclose(hessian.numpy(), hessian.T.numpy(), rtol=rtol, atol=atol)
    assert g.dtype == directional.dtype == product.dtype == hessian.dtype == kept

    def last(h: tg.Tensor) -> tg.Tensor:
        h_n: tg.Tensor = run(module, x, h, *h0[1:])[0][-1]
        return h_n

    J = tg.jacobian(last)(h0[0]).reshape(3, 3)
    columns = [tg.jvp(last, (h0[0],), (tg.tensor(np.eye(3)[k : k + 1], dtype=kept),))[1] for k in range(3)]
    np.testing.assert_allclose(J.numpy(), tg.stack(columns, dim=1).numpy(), rtol=rtol, atol=atol)

    parameters = dict(module.named_parameters())
    batch = tg.randn(5, 4, 2, dtype=kept)

    def of_parameters(parameters: dict[str, tg.Tensor], x: tg.Tensor) -> tg.Tensor:
        return (nn.functional_call(module, parameters, x)[0] ** 2).sum()

    per_sample = tg.vmap(tg.grad(of_parameters), in_dims=(None, 1))(parameters, batch)
    together = tg.grad(of_parameters)(parameters, batch)
    for name, parameter in parameters.items():
        assert per_sample[name].shape == (4, *parameter.shape)
        assert per_sample[name].dtype == kept
        np.testing.assert_allclose(per_sample[name].sum(0).numpy(), together[name].numpy(), rtol=rtol, atol=atol)
    one = tg.grad(of_parameters)(parameters, batch[:, 2])
    for name in parameters:
        np.testing.assert_allclose(per_sample[name][2].numpy(), one[name].numpy(), rtol=rtol, atol=atol)

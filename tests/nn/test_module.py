"""Modules, optimizers and training: what they keep, what they refuse, and in which words."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import nn
import nn.functional as F
import tinygrad_seq as tg


class Net(nn.Module):
    """A shared weight, a nested module, a buffer and things that are none of these."""

    def __init__(self) -> None:
        self.first = nn.Linear(3, 3)
        self.tied = self.first
        self.layers = nn.ModuleList([nn.Linear(3, 2), nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))])
        self.scale = nn.Parameter(tg.ones(2))
        self.register_buffer("mean", tg.zeros(2))
        self.register_buffer("scratch", tg.zeros(2), persistent=False)
        self.name = "net"
        self.constant = tg.ones(1)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        for layer in self.layers:
            x = layer(x)
        return x * self.scale


def test_names_come_from_attributes() -> None:
    net = Net()
    assert [name for name, _ in net.named_parameters()] == [
        "scale",
        "first.weight",
        "first.bias",
        "layers.0.weight",
        "layers.0.bias",
        "layers.1.0.weight",
        "layers.1.0.bias",
    ]
    assert [name for name, _ in net.named_buffers()] == ["mean", "scratch"]
    assert {"mean", "scale", "tied.weight", "first.weight"} < net.state_dict().keys()
    assert "scratch" not in net.state_dict()
    assert "constant" not in net.state_dict()
    assert len(list(net.parameters())) == 7, "the shared ones count once"
    assert net.layers[1][0].weight.shape == (2, 2)


def test_train_and_eval_reach_everything() -> None:
    net = Net()
    assert all(not m.training for m in net.eval().modules())
    assert all(m.training for m in net.train().modules())
    x = tg.ones(5, 3)
    np.testing.assert_array_equal(net.eval()(x).detach().numpy(), net(x).detach().numpy())


def test_state_dict_round_trip() -> None:
    a, b = Net(), Net()
    b.load_state_dict(a.state_dict())
    for x, y in zip(a.parameters(), b.parameters(), strict=True):
        np.testing.assert_array_equal(x.detach().numpy(), y.detach().numpy())
        assert x.array is not y.array


def test_a_wrong_state_is_refused_whole_with_all_reasons() -> None:
    net = Net()
    before = {name: value.numpy().copy() for name, value in net.state_dict().items()}
    state: dict[str, Any] = dict(copy.deepcopy(net.state_dict()))
    state["mean"] = tg.ones(2)
    state["first.weight"] = tg.ones(4, 3)
    del state["scale"]
    state["other"] = tg.ones(1)
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(state)
    text = str(caught.value)
    assert "first.weight: has shape (4, 3) there, (3, 3) here" in text
    assert "scale: is missing" in text
    assert "other: is not known" in text
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
    del state["first.weight"]
    found = net.load_state_dict(state, strict=False)
    assert found.missing_keys == ["scale", "first.weight"] or set(found.missing_keys) == {"scale", "first.weight"}
    assert found.unexpected_keys == ["other"]
    assert net.mean.tolist() == [1, 1]  # type: ignore[attr-defined]


def test_moving_keeps_the_parameters_so_the_optimizer_goes_on() -> None:
    net = nn.Linear(2, 1)
    optimizer = nn.optim.SGD(net.parameters(), lr=0.1)
    weight = net.weight
    net.double()
    assert net.weight is weight
    assert weight.dtype == tg.float64
    before = weight.detach().numpy().copy()
    net(tg.ones(3, 2, dtype=tg.float64)).sum().backward()
    optimizer.step()
    np.testing.assert_allclose(weight.detach().numpy(), before - 0.3)


def test_copies_and_pickles_are_independent() -> None:
    lstm: Any = nn.LSTM(2, 3)
    x = tg.randn(4, 2)
    for other in (copy.deepcopy(lstm), pickle.loads(pickle.dumps(lstm))):
        np.testing.assert_array_equal(other(x)[0].detach().numpy(), lstm(x)[0].detach().numpy())
        with tg.no_grad():
            other.weight_hh_l0 += 1
        assert not np.array_equal(other(x)[0].detach().numpy(), lstm(x)[0].detach().numpy())
        assert isinstance(other.weight_hh_l0, nn.Parameter)
        other(x)[0].sum().backward()


def test_repr_shows_the_tree() -> None:
    shown = repr(nn.Sequential(nn.Linear(2, 3), nn.LSTM(3, 4, num_layers=2)))
    assert shown == (
        "Sequential(\n  (0): Linear(in_features=2, out_features=3, bias=True)\n  (1): LSTM(3, 4, num_layers=2)\n)"
    )
    assert repr(nn.Dropout(0.1)) == "Dropout(p=0.1)"


class Model(nn.Module):
    def __init__(self) -> None:
        self.embedding, self.lstm, self.head = nn.Embedding(5, 4), nn.LSTM(4, 6, 2, dropout=0.1), nn.Linear(6, 5)

    def forward(self, tokens: Any, state: Any = None) -> Any:
        hidden, state = self.lstm(self.embedding(tokens), state)
        return self.head(hidden), state


def train(optimizer_name: str, steps: int) -> tuple[list[float], Model, Any]:
    tg.manual_seed(0)
    model = Model()
    optimizer = getattr(nn.optim, optimizer_name)(model.parameters(), lr=0.05)
    tokens = np.tile([0, 1, 2, 3, 1, 4], 6)[:, None]
    losses = []
    for _ in range(steps):
        scores, _ = model(tokens[:-1])
        loss = F.cross_entropy(scores.reshape(-1, 5), tokens[1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses, model, optimizer


def test_a_small_text_is_learned_and_the_same_seed_repeats_it() -> None:
    losses, _, _ = train("Adam", 60)
    assert losses[0] > 1.4
    assert losses[-1] < 0.2
    assert train("Adam", 5)[0] == losses[:5]


@pytest.mark.parametrize("name", ["SGD", "Adagrad", "RMSprop", "Adam", "AdamW"])
def test_float32_stays_float32_in_training(name: str) -> None:
    _, model, optimizer = train(name, 2)
    for parameter in model.parameters():
        assert parameter.dtype == tg.float32
        assert parameter.grad is not None
        assert parameter.grad.dtype == tg.float32
    kept = [v for state in optimizer.state.values() for v in state.values() if isinstance(v, tg.Tensor)]
    assert all(v.dtype == tg.float32 for v in kept)


@pytest.mark.parametrize("name", ["SGD", "Adagrad", "RMSprop", "Adam", "AdamW"])
def test_optimizer_state_goes_on_where_it_was(name: str) -> None:
    def step(p: tg.Tensor, optimizer: Any) -> None:
        optimizer.zero_grad()
        (p**3).sum().backward()
        optimizer.step()

    settings = {"momentum": 0.9} if name in ("SGD", "RMSprop") else {}
    p = tg.tensor([1.0, -2.0], requires_grad=True)
    optimizer = getattr(nn.optim, name)([p], lr=0.01, **settings)
    step(p, optimizer)
    q = p.detach().clone().requires_grad_()
    other = getattr(nn.optim, name)([q], lr=0.5, **settings)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for _ in range(3):
        step(p, optimizer)
        step(q, other)
    np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())


def test_optimizers_explain_themselves() -> None:
    p = tg.ones(2, requires_grad=True)
    with pytest.raises(ValueError, match="Adam: got no parameters"):
        nn.optim.Adam([])
    with pytest.raises(ValueError, match="lr must not be negative"):
        nn.optim.SGD([p], lr=-1)
    with pytest.raises(TypeError, match="takes leaf tensors"):
        nn.optim.SGD([p * 2])
    with pytest.raises(ValueError, match="listed twice"):
        nn.optim.SGD([p, p])
    with pytest.raises(ValueError, match="nesterov"):
        nn.optim.SGD([p], nesterov=True)
    with pytest.raises(ValueError, match="betas"):
        nn.optim.Adam([p], betas=(1.0, 0.9))
    groups = nn.optim.SGD([{"params": [p], "lr": 0.5}, {"params": tg.ones(1, requires_grad=True)}], lr=0.1)
    assert [g["lr"] for g in groups.param_groups] == [0.5, 0.1]
    with pytest.raises(ValueError, match=r"groups of \[1, 1\] parameters, the state \[1\]"):
        groups.load_state_dict(nn.optim.SGD([p]).state_dict())


def test_modules_explain_themselves() -> None:
    lstm = nn.LSTM(3, 4, num_layers=2)
    with pytest.raises(ValueError, match=r"LSTM: x has shape \(5, 2, 4\).*input_size=3.*forget the Embedding"):
        lstm(tg.ones(5, 2, 4))
    with pytest.raises(ValueError, match=r"LSTM: the initial state h has shape \(1, 2, 4\).*take \(2, 2, 4\)"):
        lstm(tg.ones(5, 2, 3), (tg.ones(1, 2, 4), tg.ones(2, 2, 4)))
    with pytest.raises(ValueError, match="T = 0"):
        lstm(tg.ones(0, 2, 3))
    assert lstm(tg.ones(5, 0, 3))[0].shape == (5, 0, 4)
    with pytest.raises(ValueError, match=r"LSTMCell: x has shape \(2, 4\)"):
        nn.LSTMCell(3, 4)(tg.ones(2, 4))
    with pytest.raises(ValueError, match=r"the state must be h \(2, 4\), got \[\(3, 4\)\]"):
        nn.RNNCell(3, 4)(tg.ones(2, 3), tg.ones(3, 4))
    with pytest.raises(ValueError, match=r"Linear: x has shape \(2,\).*in_features=3"):
        nn.Linear(3, 4)(tg.ones(2))
    with pytest.raises(ValueError, match="'tanh' or 'relu', got 'gelu'"):
        nn.RNN(3, 4, nonlinearity="gelu")
    for bad in ({"hidden_size": 0}, {"num_layers": 0}, {"dropout": 2.0}):
        with pytest.raises(ValueError, match=r"LSTM: (hidden_size|num_layers|dropout)"):
            nn.LSTM(**({"input_size": 3, "hidden_size": 4} | bad))
    with pytest.raises(ValueError, match="probability"):
        nn.Dropout(1.5)
    with pytest.raises(NotImplementedError, match="Module has no forward"):
        nn.Module()(1)
    with pytest.raises(TypeError, match="takes modules"):
        nn.ModuleList([1])


def test_class_numbers_never_wrap() -> None:
    z = tg.randn(2, 4, device="cpu")  # looking would wait for a GPU
    with pytest.raises(IndexError, match=r"a target class is -1, but there are 4: 0 to 3"):
        F.cross_entropy(z, [1, -1])
    with pytest.raises(IndexError, match="a target class is 4"):
        F.cross_entropy(z, [1, 4])
    with pytest.raises(TypeError, match="takes integers, got float32"):
        F.cross_entropy(z, tg.ones(2).cpu())
    with pytest.raises(ValueError, match=r"scores of shape \(2, 4\).*flatten time and batch"):
        F.cross_entropy(z, [1, 2, 3])
    with pytest.raises(IndexError, match="embedding: got index -1"):
        nn.Embedding(4, 2).to("cpu")([-1])
    with pytest.raises(ValueError, match="'mean', 'sum' or 'none', got 'max'"):
        F.cross_entropy(z, [1, 2], reduction="max")
    with pytest.raises(ValueError, match="must be equal"):
        F.mse_loss(z, tg.ones(2))


def test_dropout() -> None:
    x = tg.ones(1000)
    tg.manual_seed(1)
    y = F.dropout(x, 0.25).numpy()
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs(y.mean() - 1) < 0.1
    tg.manual_seed(1)
    np.testing.assert_array_equal(F.dropout(x, 0.25).numpy(), y)
    assert F.dropout(x, 0.25, training=False) is x
    assert F.dropout(x, 1.0).numpy().sum() == 0
    assert F.dropout(x, 0.0) is x


def test_stale_states_are_explained() -> None:
    lstm = nn.LSTM(2, 3)
    out, state = lstm(tg.ones(4, 1, 2))
    out.sum().backward()
    out, _ = lstm(tg.ones(4, 1, 2), state)
    with pytest.raises(RuntimeError, match=r"recurrent state.*detach\(\)"):
        out.sum().backward()
    out, _ = lstm(tg.ones(4, 1, 2), tuple(s.detach() for s in state))
    out.sum().backward()


def test_a_state_that_begins_anew_forgets_nan() -> None:
    bad = tg.full((1, 2, 3), float("nan"))
    layer: Any  # a checker sees a GRU's state as the tensor that it is
    for layer in (nn.LSTM(2, 3), nn.GRU(2, 3)):
        _, state = layer(tg.ones(1, 2, 2), (bad, bad) if isinstance(layer, nn.LSTM) else bad)
        for tensor in state.reset() if isinstance(layer, nn.LSTM) else [state.reset()]:
            assert tensor.tolist() == [[[0.0] * 3] * 2]

"""Conv1d, BatchNorm1d, attention, lazy layers, weight normalisation; ASGD, Adamax, CyclicLR."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import nn
import nn.functional
import tinygrad_seq as tg
from nn import optim

F: Any = nn.functional


def close(ours: Any, theirs: Any, atol: float = 1e-10) -> None:
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=0, atol=atol)


def oracle() -> Any:
    return pytest.importorskip("torch", reason="the oracle")


def same(ours: Any, theirs: Any, *inputs: Any, **settings: Any) -> Any:
    """The same state, result and gradients as PyTorch's module; our result."""
    import torch

    ours.load_state_dict(theirs.state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    xs = [tg.tensor(x, requires_grad=True) for x in inputs]
    ys = [torch.tensor(x, requires_grad=True) for x in inputs]
    found = ours(*xs, **{k: tg.tensor(v) if isinstance(v, np.ndarray) else v for k, v in settings.items()})
    wanted = theirs(*ys, **{k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in settings.items()})
    for mine, other in zip(*[r if isinstance(r, tuple) else (r,) for r in (found, wanted)], strict=True):
        assert (mine is None) == (other is None)
        if mine is not None:
            close(mine, other)
    y, z = (r[0] if isinstance(r, tuple) else r for r in (found, wanted))
    weights = np.random.default_rng(1).normal(size=y.shape)
    (y * tg.tensor(weights)).sum().backward()
    (z * torch.tensor(weights)).sum().backward()
    for mine, other in itertools.chain(
        zip(xs, ys, strict=True), zip(ours.parameters(), theirs.parameters(), strict=True)
    ):
        close(mine.grad, other.grad)
    for mine, other in zip(ours.buffers(), theirs.buffers(), strict=True):
        close(mine, other)
    return found


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"stride": 2, "padding": 1},
        {"dilation": 2, "padding": 2},
        {"groups": 2, "bias": False},
        {"padding": "same", "dilation": 3},
        {"padding": "valid", "stride": 3},
        {"stride": (2,), "padding": (1,), "dilation": (1,)},
    ],
)
@pytest.mark.parametrize("shape", [(3, 4, 11), (4, 11)])
def test_conv1d(settings: dict[str, Any], shape: tuple[int, ...]) -> None:
    torch = oracle()
    ours = nn.Conv1d(4, 6, 3, **settings, dtype=tg.float64)
    same(ours, torch.nn.Conv1d(4, 6, 3, **settings, dtype=torch.float64), draw(*shape))


def test_conv1d_without_pytorch() -> None:
    x, w, b = draw(2, 3, 7), draw(4, 3, 2), draw(4)
    y = F.conv1d(tg.tensor(x), tg.tensor(w), tg.tensor(b), stride=2)
    for t in range(3):
        expected = np.einsum("bck,ock->bo", x[:, :, 2 * t : 2 * t + 2], w) + b
        np.testing.assert_allclose(y[:, :, t].numpy(), expected, rtol=1e-12)
    assert tg.gradcheck(lambda *a: F.conv1d(*a, stride=2, padding=1), [tg.tensor(a) for a in (x, w, b)])
    for make, message in (
        (lambda: nn.Conv1d(3, 4, 2)(tg.ones(2, 4, 5)), r"conv1d: x has shape \(2, 4, 5\)"),
        (lambda: nn.Conv1d(3, 4, 5)(tg.ones(2, 3, 4)), "a window reaches over 5 steps, and x with its padding has 4"),
        (lambda: nn.Conv1d(3, 4, 2, groups=2), "groups=2 must divide"),
        (lambda: nn.Conv1d(3, 4, 2, stride=2, padding="same")(tg.ones(1, 3, 4)), "'same' with stride=1"),
        (lambda: nn.Conv1d(3, 4, 2, stride=0)(tg.ones(1, 3, 4)), "stride takes a whole number from 1 on"),
        (lambda: nn.Conv1d(3, 4, 2, padding_mode="circular"), "padding_mode takes 'zeros' alone"),
        *[
            (
                lambda s=s: F.conv1d(tg.ones(2, 3, 7), tg.ones(4, 3, 2), tg.ones(*s)),
                r"bias has shape \(.*for each .*\(4,\)",
            )
            for s in ((1,), (1, 4), (6, 4), (3,))  # of which some would broadcast
        ],
    ):
        with pytest.raises(ValueError, match=message):
            make()


@pytest.mark.parametrize("shape", [(5, 3), (5, 3, 4)])
@pytest.mark.parametrize(
    "settings",
    [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}, {"momentum": 0.5, "eps": 0.1}],
)
def test_batch_norm(settings: dict[str, Any], shape: tuple[int, ...]) -> None:
    torch = oracle()
    ours = nn.BatchNorm1d(3, **settings, dtype=tg.float64)
    theirs = torch.nn.BatchNorm1d(3, **settings, dtype=torch.float64)
    for factor in (1.0, 3.0):
        same(ours, theirs, draw(*shape) * factor)
        ours.zero_grad()
        theirs.zero_grad()
    same(ours.eval(), theirs.eval(), draw(*shape))


def test_batch_norm_without_pytorch() -> None:
    x = draw(6, 2)
    layer = nn.BatchNorm1d(2, dtype=tg.float64)
    y = layer(tg.tensor(x))
    np.testing.assert_allclose(y.detach().numpy(), (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5), rtol=1e-9)
    assert layer.running_var is not None
    np.testing.assert_allclose(layer.running_var.numpy(), 0.9 + 0.1 * x.var(0, ddof=1), rtol=1e-9)
    assert tg.gradcheck(lambda x: F.batch_norm(x, None, None, training=True), tg.tensor(x))
    with pytest.raises(ValueError, match="more than one value"):
        layer(tg.ones(1, 2, dtype=tg.float64))
    with pytest.raises(ValueError, match=r"takes x \(B, 2\)"):
        layer(tg.ones(3, 4))

    with pytest.raises(ValueError, match="more than one value"):  # evaluating, where nothing is kept
        nn.BatchNorm1d(2, track_running_stats=False).eval()(tg.ones(1, 2))

    model = nn.BatchNorm1d(2)
    step = tg.compile(lambda x: model(x).sum())
    for _ in range(3):
        step(tg.randn(4, 2))
    assert model.num_batches_tracked is not None
    assert model.num_batches_tracked.item() == 3


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("name", ["running_mean", "running_var", "weight", "bias", "x"])
def test_a_batch_norm_that_is_refused_changes_nothing(name: str, momentum: float | None) -> None:
    layer: Any = nn.BatchNorm1d(2, momentum=momentum)
    x = tg.ones(1, 2)
    if name != "x":
        x = tg.randn(4, 2)
        if name.startswith("running"):
            layer.register_buffer(name, tg.ones(3))
        else:
            setattr(layer, name, nn.Parameter(tg.ones(1)))
    before = {key: value.tolist() for key, value in layer.state_dict().items()}
    for _ in range(2):
        with pytest.raises(ValueError, match="more than one value" if name == "x" else f"batch_norm: {name} has shape"):
            layer(x)
    assert {key: value.tolist() for key, value in layer.state_dict().items()} == before
    with pytest.raises(ValueError, match="both, or neither"):
        F.batch_norm(x, layer.running_mean, None, training=True)


MASK = np.triu(np.ones((3, 3), bool), 1)
PADDING = np.array([[False, False, True], [False, True, True]])


@pytest.mark.parametrize(
    ("settings", "call"),
    [
        ({}, {}),
        ({"bias": False, "batch_first": True}, {}),
        ({"batch_first": True}, {"key_padding_mask": PADDING}),
        ({}, {"attn_mask": MASK, "key_padding_mask": PADDING}),
        ({}, {"attn_mask": MASK * -2.0, "need_weights": False}),
        ({}, {"average_attn_weights": False}),
        ({}, {"attn_mask": np.repeat(MASK[None], 4, 0), "is_causal": True}),
    ],
)
def test_multihead_attention(settings: dict[str, Any], call: dict[str, Any]) -> None:
    torch = oracle()
    ours = nn.MultiheadAttention(6, 2, **settings, dtype=tg.float64)
    theirs = torch.nn.MultiheadAttention(6, 2, **settings, dtype=torch.float64)
    shape = (2, 3, 6) if settings.get("batch_first") else (3, 2, 6)
    same(ours, theirs, draw(*shape), draw(*shape) * 2, draw(*shape) - 1, **call)


def test_attention_of_other_widths_and_without_a_batch() -> None:
    torch = oracle()
    ours = nn.MultiheadAttention(6, 3, kdim=4, vdim=5, dtype=tg.float64)
    theirs = torch.nn.MultiheadAttention(6, 3, kdim=4, vdim=5, dtype=torch.float64)
    same(ours, theirs, draw(3, 2, 6), draw(7, 2, 4), draw(7, 2, 5))
    ours = nn.MultiheadAttention(6, 3, dtype=tg.float64)
    same(ours, torch.nn.MultiheadAttention(6, 3, dtype=torch.float64), draw(3, 6), draw(7, 6), draw(7, 6))


def test_attention_without_pytorch() -> None:
    q, k, v = draw(2, 3, 4), draw(2, 5, 4), draw(2, 5, 6)
    scores = np.einsum("bte,bse->bts", q, k) / 2
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    given = [tg.tensor(a) for a in (q, k, v)]
    found = F.scaled_dot_product_attention(*given)
    np.testing.assert_allclose(found.numpy(), weights @ v, rtol=1e-9)
    assert tg.gradcheck(F.scaled_dot_product_attention, given)
    causal = F.scaled_dot_product_attention(given[1], given[1], given[2], is_causal=True)
    np.testing.assert_allclose(causal[:, 0].numpy(), v[:, 0], rtol=1e-12)
    with pytest.raises(ValueError, match="got both"):
        F.scaled_dot_product_attention(*given, attn_mask=tg.ones(3, 5, dtype=tg.bool), is_causal=True)
    with pytest.raises(ValueError, match="must divide embed_dim"):
        nn.MultiheadAttention(5, 2)
    x = tg.ones(3, 1, 4)
    with pytest.raises(ValueError, match="needs attn_mask"):
        nn.MultiheadAttention(4, 2)(x, x, x, is_causal=True)


def test_lazy_linear() -> None:
    model = nn.Sequential(nn.LazyLinear(3), nn.Tanh(), nn.LazyLinear(1))
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    tg.manual_seed(0)
    x = tg.randn(4, 5)
    model(x)
    assert {name: p.shape for name, p in model.named_parameters()} == {
        "0.weight": (3, 5), "0.bias": (3,), "2.weight": (1, 3), "2.bias": (1,),
    }  # fmt: skip
    tg.manual_seed(0)
    tg.randn(4, 5)
    layer: Any = model[0]
    assert layer.weight.tolist() == nn.Linear(5, 3).weight.tolist()
    before = [p.detach().clone() for p in model.parameters()]
    model(x).sum().backward()
    optimizer.step()
    assert all((p != q).any() for p, q in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm(dim: int | None) -> None:
    torch = oracle()
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = torch.nn.utils.weight_norm(torch.nn.Linear(3, 4, dtype=torch.float64), dim=dim)
    ours = nn.utils.weight_norm(nn.Linear(3, 4, dtype=tg.float64), dim=dim)
    same(ours, theirs, draw(5, 3))


def test_weight_norm_without_pytorch() -> None:
    layer = nn.Linear(3, 4)
    weight, x = layer.weight.detach().clone(), tg.randn(2, 3)
    expected = layer(x)
    assert nn.utils.weight_norm(layer) is layer
    assert sorted(dict(layer.named_parameters())) == ["bias", "weight_g", "weight_v"]
    assert tg.allclose(layer(x), expected, atol=1e-6)
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    layer(x).sum().backward()
    optimizer.step()
    assert not tg.allclose(layer(x), expected)
    gradients = []
    for run in (layer, lambda x: tg.checkpoint(layer, x)):
        layer.zero_grad()
        run(x).sum().backward()
        gradients.append([None if p.grad is None else p.grad.tolist() for p in layer.parameters()])
    assert gradients[0] == gradients[1]
    assert None not in gradients[0]
    with pytest.raises(ValueError, match="normalised already"):
        nn.utils.weight_norm(layer)
    after = layer(x)
    nn.utils.remove_weight_norm(layer)
    assert list(dict(layer.named_parameters())) == ["bias", "weight"]
    assert tg.allclose(layer(x), after)
    assert layer.weight.shape == weight.shape
    with pytest.raises(ValueError, match="is not normalised"):
        nn.utils.remove_weight_norm(layer)
    lstm = nn.utils.weight_norm(nn.LSTM(2, 3), "weight_hh_l0")
    lstm(tg.ones(4, 1, 2))[0].sum().backward()
    assert lstm.get_parameter("weight_hh_l0_g").grad is not None


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Adamax", {}),
        ("Adamax", {"lr": 0.1, "weight_decay": 0.1, "betas": (0.8, 0.9), "maximize": True}),
        ("ASGD", {}),
        ("ASGD", {"lr": 0.1, "lambd": 0.1, "t0": 2, "weight_decay": 0.1}),
    ],
)
def test_optimizers(name: str, settings: dict[str, Any], request: pytest.FixtureRequest) -> None:
    torch = oracle()
    request.addfinalizer(lambda: torch.set_default_dtype(torch.float32))
    torch.set_default_dtype(torch.float64)  # that of ASGD's rate
    ours = nn.Parameter(tg.tensor(draw(3, 2)))
    theirs = torch.nn.Parameter(torch.tensor(draw(3, 2)))
    mine, other = getattr(optim, name)([ours], **settings), getattr(torch.optim, name)([theirs], **settings)
    for step in range(6):
        if step == 3:
            mine.load_state_dict(other.state_dict())
        for p, optimizer in ((ours, mine), (theirs, other)):
            optimizer.zero_grad()
            ((p * p).sin() * 3).sum().backward()
            optimizer.step()
        close(ours, theirs)
    if name == "ASGD":
        close(mine.state[ours]["ax"], other.state[theirs]["ax"])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"mode": "triangular2", "step_size_down": 3},
        {"mode": "exp_range", "gamma": 0.9},
        {"scale_fn": lambda x: 1 / (1 + x), "scale_mode": "iterations", "cycle_momentum": False},
    ],
)
def test_cyclic_rates(settings: dict[str, Any]) -> None:
    torch = oracle()
    found = []
    for library, p in ((optim, nn.Parameter(tg.ones(1))), (torch.optim, torch.nn.Parameter(torch.ones(1)))):
        optimizer = library.SGD([p], lr=0.1, momentum=0.9)
        scheduler = library.lr_scheduler.CyclicLR(optimizer, 0.1, 0.5, step_size_up=4, **settings)
        rates = []
        for _ in range(20):
            rates.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"]))
            optimizer.step()
            scheduler.step()
        found.append(rates)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


def test_cyclic_rates_without_pytorch() -> None:
    optimizer = optim.Adam([nn.Parameter(tg.ones(1))])
    scheduler = optim.lr_scheduler.CyclicLR(optimizer, 1.0, 3.0, step_size_up=2)
    rates, momenta = [], []
    optimizer.step()
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        momenta.append(optimizer.param_groups[0]["betas"][0])
        scheduler.step()
    assert rates == [1, 2, 3, 2, 1]
    np.testing.assert_allclose(momenta, [0.9, 0.85, 0.8, 0.85, 0.9])
    for wrong, message in (
        ({"mode": "square"}, "mode is 'triangular'"),
        ({"scale_mode": "x"}, "scale_mode is"),
        ({"step_size_up": 0}, "step_size_up must be"),
    ):
        with pytest.raises(ValueError, match=message):
            optim.lr_scheduler.CyclicLR(optimizer, 1.0, 3.0, **wrong)
    with pytest.raises(ValueError, match="neither betas nor momentum"):
        optim.lr_scheduler.CyclicLR(optim.Adagrad([nn.Parameter(tg.ones(1))]), 1.0, 3.0)

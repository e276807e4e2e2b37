"""Optimizers: PyTorch's numbers, and states that go on where they were."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg
from tests.engine.strict_backend import installed

NAMES = ["SGD", "Adagrad", "RMSprop", "Adadelta", "Adam", "AdamW", "NAdam"]
STATEFUL: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.9},
    "RMSprop": {"momentum": 0.9, "centered": True},
    "Adam": {"amsgrad": True},
}


def close(ours: Any, theirs: Any, atol: float = 1e-12) -> None:
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=atol, atol=atol)


def leaf(*values: float, dtype: Any = tg.float64) -> tg.Tensor:
    return tg.tensor(list(values), dtype=dtype, requires_grad=True)


def make(name: str, params: Any, **settings: Any) -> Any:
    return getattr(nn.optim, name)(params, **STATEFUL.get(name, {}) | settings)


def step(optimizer: Any, *parameters: tg.Tensor) -> None:
    """One step on a loss that all of the parameters are part of."""

    def closure() -> tg.Tensor:
        optimizer.zero_grad()
        loss: tg.Tensor = sum([((p - 0.3) ** 4).sum() for p in parameters], start=tg.zeros((), dtype=tg.float64))
        loss.backward()
        return loss

    optimizer.step(closure)


# --- the numbers ---


CASES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("SGD", {"lr": 1e-3, "momentum": 0.5, "maximize": True, "weight_decay": 0.1}),
    ("Adagrad", {"lr": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.01, "initial_accumulator_value": 0.1}),
    ("Adagrad", {"lr": 0.01, "maximize": True, "eps": 1e-3}),
    ("RMSprop", {"lr": 0.01}),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9, "momentum": 0.5, "weight_decay": 0.01}),
    ("RMSprop", {"lr": 0.01, "centered": True, "momentum": 0.5, "eps": 1e-4}),
    ("RMSprop", {"lr": 0.01, "maximize": True}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-3, "weight_decay": 0.1}),
    ("Adadelta", {"maximize": True}),
    ("Adam", {"lr": 0.01}),
    ("Adam", {"lr": 0.01, "betas": (0.8, 0.9), "weight_decay": 0.1, "eps": 1e-4}),
    ("Adam", {"lr": 0.01, "betas": (0.8, 0.5), "amsgrad": True}),
    ("Adam", {"lr": 0.01, "maximize": True, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("AdamW", {"lr": 0.01}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.2, "amsgrad": True, "maximize": True}),
    ("NAdam", {"lr": 0.01}),
    ("NAdam", {"lr": 0.01, "weight_decay": 0.1, "momentum_decay": 0.1, "betas": (0.7, 0.8), "eps": 1e-4}),
    ("NAdam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
]


def loss_of(a: Any, b: Any, step: int) -> Any:
    return (a**2).sum() * (1.0 + step % 3) + (b - 1.0).abs().sum() * 0.1 + (a[0, 0] * b[2]).sin()


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("grouped", [False, True])
def test_optimizers_against_torch(torch: Any, name: str, options: dict[str, Any], grouped: bool) -> None:
    rng = np.random.default_rng(0)
    start = [rng.standard_normal((3, 4)), rng.standard_normal(5)]
    ours = [tg.tensor(a, requires_grad=True) for a in start]
    theirs = [torch.tensor(a, requires_grad=True) for a in start]
    pairs: list[Any] = []
    for library, (a, b) in ((nn.optim, ours), (torch.optim, theirs)):
        params = [{"params": a, "lr": 0.02, "weight_decay": 0.3}, {"params": [b]}] if grouped else [a, b]
        pairs.append((getattr(library, name)(params, **options), a, b))
    assert all(type(v) is type(pairs[1][0].defaults[k]) or v == 0 for k, v in pairs[0][0].defaults.items())
    for count in range(50):
        for optimizer, a, b in pairs:
            optimizer.zero_grad()
            loss_of(a, b, count).backward()
            optimizer.step()
    for a, b in zip(ours, theirs, strict=True):
        close(a, b)


def test_defaults_are_those_of_torch(torch: Any) -> None:
    for name in [*NAMES, "LBFGS"]:
        mine = getattr(nn.optim, name)([leaf(1.0)]).defaults
        theirs = getattr(torch.optim, name)([torch.ones(1, requires_grad=True)]).defaults
        assert mine == {setting: theirs[setting] for setting in mine}, name


def test_torch_state_dicts_are_taken_over(torch: Any) -> None:
    for name in [*NAMES, "LBFGS"]:
        start = np.array([1.0, -2.0])
        settings = STATEFUL.get(name, {})
        theirs = torch.tensor(start, requires_grad=True)
        scalar = torch.tensor(2.0, requires_grad=True)
        reference = getattr(torch.optim, name)([theirs, scalar], lr=0.01, **settings)

        def torch_step(reference: Any = reference, theirs: Any = theirs, scalar: Any = scalar) -> None:
            def closure() -> Any:
                reference.zero_grad()
                loss = ((theirs - 0.3) ** 4).sum() + (scalar - 0.3) ** 4
                loss.backward()
                return loss

            reference.step(closure)

        for _ in range(3):
            torch_step()
        p, q = (tg.tensor(t.detach().numpy().copy(), requires_grad=True) for t in (theirs, scalar))
        optimizer = make(name, [p, q], lr=0.5)
        optimizer.load_state_dict(reference.state_dict())
        for _ in range(3):
            torch_step()
            step(optimizer, p, q)
        close(p, theirs)
        close(q, scalar)


# --- states ---


@pytest.mark.parametrize("name", [*NAMES, "LBFGS", "LBFGS strong_wolfe"])
def test_a_resumed_run_is_the_same_bit_for_bit(name: str, tmp_path: Path) -> None:
    name, _, search = name.partition(" ")
    settings: dict[str, Any] = {"lr": 0.01} | ({"max_iter": 3, "history_size": 2} if name == "LBFGS" else {})
    settings |= {"line_search_fn": search} if search else {}
    p, q = leaf(1.0, -2.0), leaf(3.0)
    optimizer = make(name, [p, q], **settings)
    for _ in range(4):
        step(optimizer, p, q)
    saved = optimizer.state_dict()
    before = copy.deepcopy(saved)
    tg.save(saved, tmp_path / "optimizer.npz")
    r, s = (x.detach().clone().requires_grad_() for x in (p, q))
    other = make(name, [r, s], **settings | {"lr": 0.7})
    other.load_state_dict(tg.load(tmp_path / "optimizer.npz"))
    assert other.param_groups[0]["lr"] == 0.01
    for _ in range(4):
        step(optimizer, p, q)
        step(other, r, s)
    for a, b in ((p, r), (q, s)):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    assert repr(saved) == repr(before), "later steps leave a saved state alone"
    assert repr(other.state_dict()) == repr(optimizer.state_dict())


@pytest.mark.parametrize("name", [*NAMES, "LBFGS"])
def test_what_is_remembered_follows_its_parameter(name: str) -> None:
    with installed():
        with tg.device("cpu"):
            p = leaf(1.0, -2.0)
            optimizer = make(name, [p], lr=0.01)
            step(optimizer, p)
        p.data = p.detach().to("cuda", dtype=tg.float32)
        with tg.device("cuda"):
            step(optimizer, p)
            assert optimizer._fusible
        tensors = [t for v in optimizer.state[0].values() for t in (v if isinstance(v, list) else [v])]
        tensors = [t for t in tensors if isinstance(t, tg.Tensor)]
        assert all(t.dtype == tg.float32 and t.device.type == "cuda" for t in [p, *tensors])
        with tg.device("cpu"):
            other = make(name, [leaf(1.0, -2.0)], lr=0.01)
        other.load_state_dict(optimizer.state_dict())
        kept = [v for v in other.state[0].values() if isinstance(v, tg.Tensor)]
        assert all(v.dtype == tg.float64 and v.device.type == "cpu" for v in kept)
        assert len(kept) or name == "SGD"


def test_the_gradient_is_not_the_momentum() -> None:
    p = leaf(1.0)
    optimizer = nn.optim.SGD([p], lr=0.1, momentum=0.5)
    p.grad = tg.ones(1, dtype=tg.float64)
    optimizer.step()
    p.grad.zero_()
    optimizer.step()
    assert p.item() == pytest.approx(1 - 0.1 - 0.05)


def test_a_group_may_have_no_parameters() -> None:
    p = nn.Parameter(tg.ones(2))
    optimizer = nn.optim.SGD([{"params": []}, {"params": [p]}], lr=0.5)
    p.grad = tg.ones(2)
    optimizer.step()
    assert p.tolist() == [0.5, 0.5]


def test_parameters_with_names_and_groups_added_later() -> None:
    layer = nn.Linear(2, 1)
    optimizer = nn.optim.SGD(layer.named_parameters(), lr=0.5, momentum=0.9)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    assert optimizer.param_groups[0]["params"][1] is layer.bias
    with pytest.raises(ValueError, match="listed twice"):
        optimizer.add_param_group({"params": layer.weight})
    with pytest.raises(ValueError, match="lr must not be negative, got -1"):
        optimizer.add_param_group({"params": leaf(1.0), "lr": -1})
    assert len(optimizer.param_groups) == 1
    late = leaf(2.0)
    late.grad = tg.ones(1, dtype=tg.float64)
    optimizer.add_param_group({"params": [late], "lr": 0.25})
    optimizer.step()
    assert late.tolist() == [1.75]
    assert [*optimizer.state] == [2], "parameters without a gradient have no state"
    assert optimizer.state_dict()["param_groups"][1]["params"] == [2]
    assert "2 parameters: lr=0.5, momentum=0.9" in repr(optimizer)
    other = nn.optim.SGD(nn.Linear(2, 1).named_parameters(), momentum=0.1)
    other.add_param_group({"params": leaf(1.0)})
    other.load_state_dict(optimizer.state_dict())
    assert [group["lr"] for group in other.param_groups] == [0.5, 0.25]


def test_gradients_are_forgotten_or_zero() -> None:
    p, q = leaf(1.0), leaf(1.0)
    p.grad = tg.ones(1, dtype=tg.float64)
    optimizer = nn.optim.SGD([p, q])
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is not None
    assert p.grad.tolist() == [0]
    assert q.grad is None
    optimizer.zero_grad()
    assert p.grad is None


def test_a_closure_is_recorded_even_without_grad() -> None:
    p = leaf(2.0)
    optimizer = nn.optim.SGD([p], lr=0.1)

    def closure() -> tg.Tensor:
        loss = (p**2).sum()
        loss.backward()
        return loss

    with tg.no_grad():
        assert optimizer.step(closure).item() == 4
    assert p.item() == pytest.approx(1.6)

"""Mistakes with optimizers, in plain words: they change nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

import nn
import tinygrad_seq as tg

from .test_optim import NAMES, leaf, make, step


class Broken(nn.optim.SGD):
    def update(self, p: Any, g: Any, state: dict[str, Any], group: Any) -> Any:
        new = super().update(p, g, state, group)
        if p.shape == (2,):
            raise ArithmeticError("in the second parameter")
        return new


def test_a_step_that_fails_changes_nothing() -> None:
    p, q = leaf(1.0), leaf(1.0, 2.0)
    optimizer: Any = Broken([p, q], lr=0.1, momentum=0.9)
    with pytest.raises(ArithmeticError, match="second"):
        step(optimizer, p, q)
    assert p.tolist() == [1.0]
    assert optimizer.state == {}

    lbfgs = nn.optim.LBFGS([p, q], line_search_fn="strong_wolfe")
    step(lbfgs, p, q)
    before, state, calls = [p.tolist(), q.tolist()], repr(lbfgs.state_dict()), []

    def closure() -> tg.Tensor:
        lbfgs.zero_grad()
        loss = (p**2).sum() + (q**2).sum()
        loss.backward()
        calls.append(p.tolist())
        if len(calls) == 3:
            raise KeyboardInterrupt
        return loss

    with pytest.raises(KeyboardInterrupt):
        lbfgs.step(closure)
    assert calls[2] != calls[0]
    assert [p.tolist(), q.tolist()] == before
    assert repr(lbfgs.state_dict()) == state


def test_gradients_that_do_not_fit_are_refused() -> None:
    for g in (tg.ones(3), tg.ones(2, dtype=tg.float64)):
        p = tg.ones(2, requires_grad=True)
        optimizer = nn.optim.Adam([("head.bias", p)])
        p.node.grad = g  # type: ignore[union-attr]  # past the setter, which refuses it too
        with pytest.raises(
            ValueError, match=r"^Adam: parameter 'head.bias' has shape \(2,\) and float32, but its gradient"
        ):
            optimizer.step()
        assert p.tolist() == [1, 1]


class Reshaping(nn.optim.Optimizer):
    def update(self, p: Any, g: Any, state: dict[str, Any], group: Any) -> Any:
        return (p - g).sum()


def test_an_update_of_another_shape_is_refused() -> None:
    p = leaf(1.0, 2.0)
    with pytest.raises(ValueError, match=r"^Reshaping: update of parameter 0 gave shape \(\), not \(2,\)"):
        step(Reshaping([p], {}), p)
    with pytest.raises(NotImplementedError, match="Optimizer does not say how"):
        step(nn.optim.Optimizer([p], {}), p)


P = leaf(1.0)
ADAM_STATE: dict[str, Any] = nn.optim.Adam([leaf(1.0)]).state_dict()
MISTAKES: list[tuple[str, type[Exception], Callable[[], Any]]] = [
    ("Adam: got no parameters", ValueError, lambda: nn.optim.Adam([])),
    ("Adam: takes parameters, such as .*, got a Linear", TypeError, lambda: nn.optim.Adam(nn.Linear(1, 1))),  # type: ignore[arg-type]
    ("SGD: takes leaf tensors .* got a constant", TypeError, lambda: nn.optim.SGD(tg.ones(1))),
    ("SGD: takes leaf tensors .* got a result", TypeError, lambda: nn.optim.SGD([P * 2])),
    ("SGD: takes leaf tensors .* got tuple", TypeError, lambda: nn.optim.SGD([("a", P), leaf(1.0)])),
    ("SGD: takes leaf tensors .* got dict", TypeError, lambda: nn.optim.SGD([P, {"params": leaf(1.0)}])),
    ("SGD: a group is a dictionary .* got {'lr': 1}", TypeError, lambda: nn.optim.SGD([{"lr": 1}])),
    ("SGD: .* in an order, got a set", TypeError, lambda: nn.optim.SGD([{"params": {P}}])),
    ("SGD: a parameter is listed twice", ValueError, lambda: nn.optim.SGD([P, P])),
    ("SGD: lr must not be negative, got nan", ValueError, lambda: nn.optim.SGD([P], lr=math.nan)),
    ("SGD: lr must be finite, got inf", ValueError, lambda: nn.optim.SGD([P], lr=math.inf)),
    ("SGD: lr must be a number, got a str", TypeError, lambda: nn.optim.SGD([P], lr="0.1")),  # type: ignore[arg-type]
    ("SGD: momentum must not be negative, got -0.1", ValueError, lambda: nn.optim.SGD([P], momentum=-0.1)),
    ("SGD: nesterov takes a momentum above 0", ValueError, lambda: nn.optim.SGD([P], nesterov=True)),
    ("RMSprop: alpha must be from 0 to 1, got 1.5", ValueError, lambda: nn.optim.RMSprop([P], alpha=1.5)),
    ("Adadelta: rho must be from 0 to 1, got 2", ValueError, lambda: nn.optim.Adadelta([P], rho=2)),
    ("Adagrad: lr_decay must not be negative", ValueError, lambda: nn.optim.Adagrad([P], lr_decay=-1)),
    ("NAdam: momentum_decay must not be", ValueError, lambda: nn.optim.NAdam([P], momentum_decay=-1)),
    ("AdamW: eps must not be negative", ValueError, lambda: nn.optim.AdamW([P], eps=-1)),
    ("NAdam: betas must be from 0 to below 1, got", ValueError, lambda: nn.optim.NAdam([P], betas=(0.9, 1.0))),
    ("Adam: betas must be a pair of numbers, got 0.9", TypeError, lambda: nn.optim.Adam([P], betas=0.9)),  # type: ignore[arg-type]
    ("Adam: betas must be a pair", TypeError, lambda: nn.optim.Adam([P], betas=(0.9,))),  # type: ignore[arg-type]
    (
        "Adam: takes real parameters, got complex64",
        TypeError,
        lambda: nn.optim.Adam([tg.ones(2, dtype=tg.complex64, requires_grad=True)]),
    ),
    ("LBFGS: max_iter must be a whole number", ValueError, lambda: nn.optim.LBFGS([P], max_iter=0)),
    ("LBFGS: history_size must be a whole number", ValueError, lambda: nn.optim.LBFGS([P], history_size=0)),
    ("LBFGS: tolerance_grad must not be negative", ValueError, lambda: nn.optim.LBFGS([P], tolerance_grad=-1)),
    ("LBFGS: line_search_fn must be 'strong_wolfe'", ValueError, lambda: nn.optim.LBFGS([P], line_search_fn="w")),
    ("LBFGS: takes one group", ValueError, lambda: nn.optim.LBFGS([{"params": P}, {"params": leaf(1.0)}])),
    (
        "LBFGS: takes parameters of one dtype .* float32 on .*, float64 on",
        TypeError,
        lambda: nn.optim.LBFGS([P, leaf(1.0, dtype=tg.float32)]),
    ),
    ("LBFGS: step takes a function", TypeError, lambda: nn.optim.LBFGS([P]).step()),
    ("LBFGS: the closure must return the loss.* a NoneType", TypeError, lambda: nn.optim.LBFGS([P]).step(lambda: None)),
    (
        r"LBFGS: the closure must return the loss.* shape \(2,\)",
        TypeError,
        lambda: nn.optim.LBFGS([P]).step(lambda: tg.ones(2)),
    ),
    ("LBFGS: the closure left no gradients", RuntimeError, lambda: nn.optim.LBFGS([leaf(1.0)]).step(lambda: 1.0)),
    (
        'Adam: load_state_dict: takes a dictionary with "state"',
        ValueError,
        lambda: nn.optim.Adam([P]).load_state_dict({}),
    ),
    (
        r"SGD: load_state_dict: the state has no \['momentum', 'dampening'\]",
        ValueError,
        lambda: nn.optim.SGD([P]).load_state_dict(ADAM_STATE),
    ),
    (
        r"Adam: load_state_dict: exp_avg of parameter 0 has shape \(3,\), not \(1,\)",
        ValueError,
        lambda: nn.optim.Adam([P]).load_state_dict(ADAM_STATE | {"state": {0: {"exp_avg": tg.ones(3)}}}),
    ),
    (
        "Adam: load_state_dict: there is a state of parameter 1, but only 1",
        ValueError,
        lambda: nn.optim.Adam([P]).load_state_dict(ADAM_STATE | {"state": {1: {}}}),
    ),
    ("clip_grad_norm_: max_norm must not be negative", ValueError, lambda: nn.utils.clip_grad_norm_(P, -1.0)),
    ("clip_grad_norm_: norm_type must be above 0", ValueError, lambda: nn.utils.clip_grad_norm_(P, 1.0, 0)),
    ("clip_grad_value_: clip_value must not be", ValueError, lambda: nn.utils.clip_grad_value_(P, math.nan)),
    ("parameters_to_vector: got no", ValueError, lambda: nn.utils.parameters_to_vector([])),
    (r"vector_to_parameters: takes shape \(1,\)", ValueError, lambda: nn.utils.vector_to_parameters(tg.ones(2), [P])),
    ("vector_to_parameters: takes a tensor", TypeError, lambda: nn.utils.vector_to_parameters([1.0], [P])),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("message", "kind", "call"), MISTAKES, ids=[message for message, _, _ in MISTAKES])
def test_mistakes_are_explained(message: str, kind: type[Exception], call: Callable[[], Any]) -> None:
    with pytest.raises(kind, match=f"^{message}"):
        call()


def test_a_learning_rate_that_has_become_nan_is_refused() -> None:
    p = leaf(1.0)
    for name in [*NAMES, "LBFGS"]:
        optimizer = make(name, [p])
        optimizer.param_groups[0]["lr"] = math.nan
        with pytest.raises(ValueError, match=f"^{name}: lr must not be negative, got nan"):
            step(optimizer, p)
        assert p.tolist() == [1.0]


def test_a_refused_state_changes_nothing() -> None:
    optimizer = nn.optim.Adam([leaf(1.0)], lr=0.1)
    state = nn.optim.Adam([leaf(1.0)], lr=0.2).state_dict() | {"state": {0: {"exp_avg": tg.ones(2)}}}
    with pytest.raises(ValueError, match="exp_avg"):
        optimizer.load_state_dict(state)
    state = nn.optim.Adam([leaf(1.0)]).state_dict()
    state["param_groups"][0]["lr"] = math.nan
    with pytest.raises(ValueError, match="Adam: lr must not be negative, got nan"):
        optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_a_state_from_before_a_switch_is_taken() -> None:
    state = nn.optim.AdamW([leaf(1.0)], lr=0.2).state_dict()
    for switch in ("amsgrad", "maximize", "decoupled_weight_decay"):
        del state["param_groups"][0][switch]
    optimizer = nn.optim.AdamW([leaf(1.0)])
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] == 0.2
    assert optimizer.param_groups[0]["decoupled_weight_decay"]

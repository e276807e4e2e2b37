"""Gradients that a compiled function leaves: they are there for whoever looks, and nobody notices where they lay."""

from __future__ import annotations

import copy
import gc
import weakref
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from nn import Parameter, optim
from tinygrad_seq.graph import LazyGrad, Leaf

from ..engine.strict_backend import stand_in_only


def leaf_of(w: tg.Tensor) -> Leaf:
    assert isinstance(w.node, Leaf)
    return w.node


def grad_of(w: tg.Tensor) -> tg.Tensor:
    assert w.grad is not None
    return w.grad


def squares() -> tuple[Parameter, Any]:
    w = Parameter(tg.tensor([1.0, 2.0, 3.0]))

    @tg.compile
    def f(x: tg.Tensor) -> None:
        w.grad = None
        (w * x).sum().backward()

    f(tg.ones(3))
    return w, f


def is_waiting(w: tg.Tensor) -> bool:
    return isinstance(leaf_of(w)._grad, LazyGrad)


def test_a_gradient_is_copied_out_when_somebody_looks() -> None:
    w, f = squares()
    f(tg.full((3,), 2.0))
    assert is_waiting(w)
    assert leaf_of(w).has_grad
    assert is_waiting(w)
    kept = grad_of(w)
    assert not is_waiting(w)
    assert w.grad is kept
    f(tg.full((3,), 5.0))
    assert kept.tolist() == [2, 2, 2]
    assert grad_of(w).tolist() == [5, 5, 5]


def test_memory_that_nobody_kept_is_taken_again_and_what_is_not_looked_at_takes_none() -> None:
    w, f = squares()
    f(tg.ones(3))
    address = grad_of(w).numpy().__array_interface__["data"][0]
    f(tg.ones(3))
    assert grad_of(w).numpy().__array_interface__["data"][0] == address
    gone = weakref.ref(grad_of(w).array)
    f(tg.ones(3))
    assert gone() is not None
    f(tg.ones(3))  # nobody has looked since
    assert gone() is None


def test_a_view_that_somebody_keeps_stays_as_it_is() -> None:
    w, f = squares()
    f(tg.full((3,), 2.0))
    view = grad_of(w).numpy()[1:]
    for n in (3.0, 4.0):
        f(tg.full((3,), n))
        assert grad_of(w).tolist() == [n] * 3
    assert view.tolist() == [2, 2]


def test_gradients_of_arguments_stay_with_the_argument() -> None:
    f = tg.compile(lambda v, x: (v * x).sum().backward())
    first, second = [tg.ones(3, requires_grad=True) for _ in range(2)]
    f(first, tg.full((3,), 2.0))
    f(second, tg.full((3,), 3.0))
    assert grad_of(first).tolist() == [2, 2, 2]
    assert grad_of(second).tolist() == [3, 3, 3]


def test_it_outlives_the_function_whose_memory_goes() -> None:
    w, f = squares()
    f(tg.full((3,), 2.0))
    assert is_waiting(w)
    del f
    gc.collect()
    assert not is_waiting(w)
    assert grad_of(w).tolist() == [2, 2, 2]


def test_a_copy_and_an_eager_pass_find_it() -> None:
    w, f = squares()
    f(tg.full((3,), 2.0))
    assert grad_of(copy.deepcopy(w)).tolist() == [2, 2, 2]
    f(tg.full((3,), 2.0))
    (w * 3).sum().backward()
    assert grad_of(w).tolist() == [5, 5, 5]


def test_an_optimizer_outside_sees_it() -> None:
    w, f = squares()
    optimizer = optim.SGD([w], lr=1.0)
    f(tg.full((3,), 0.5))
    optimizer.step()
    assert w.tolist() == [0.5, 1.5, 2.5]


def test_two_programs_take_turns() -> None:
    w, f = squares()
    g = tg.compile(lambda x: ((w * x * x).sum().backward(), 0)[1])
    f(tg.full((3,), 2.0))
    g(tg.full((3,), 3.0))
    g(tg.full((3,), 3.0))
    assert grad_of(w).tolist() == [2 + 2 * 9] * 3
    f(tg.full((3,), 2.0))
    assert grad_of(w).tolist() == [2, 2, 2]


@stand_in_only
@pytest.mark.parametrize("looked", [False, True])
def test_after_a_call_that_fails_there_is_what_somebody_saw_or_none(looked: bool) -> None:
    table = Parameter(tg.ones(4, 2))

    @tg.compile
    def step(tokens: tg.Tensor) -> None:
        table.grad = None
        table[tokens].sum().backward()

    for _ in range(3):
        step(tg.tensor([1, 2]))
    before = grad_of(table).tolist() if looked else None
    with pytest.raises(IndexError):
        step(tg.tensor([1, 7]))
    assert (None if table.grad is None else table.grad.tolist()) == before
    step(tg.tensor([1, 2]))
    np.testing.assert_array_equal(grad_of(table).numpy(), [[0, 0], [1, 1], [1, 1], [0, 0]])

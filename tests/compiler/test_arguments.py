"""Arguments of a compiled function: changed in place, given twice, captured as well, with gradients and hooks."""

from __future__ import annotations

import numpy as np
import pytest

import nn
import tinygrad_seq as tg
from nn import optim

from .training_step import grad_of


@pytest.mark.host("NumPy's arrays as arguments")
def test_arrays_are_arguments_too_and_captured_ones_are_read_at_each_call() -> None:
    seen = np.zeros(3, np.float32)
    f = tg.compile(lambda x: tg.tensor(x) + tg.tensor(seen))
    assert f(np.ones(3, np.float32)).tolist() == [1, 1, 1]
    seen[:] = 5
    assert f(np.ones(3, np.float32)).tolist() == [6, 6, 6]


def test_arguments_changed_in_place_are_changed() -> None:
    def swap(a: tg.Tensor, b: tg.Tensor) -> None:
        old = a.clone()
        a.copy_(b)
        b.copy_(old)

    f = tg.compile(swap)
    for _ in range(3):
        a, b = tg.ones(2), tg.zeros(2)
        f(a, b)
        assert (a.tolist(), b.tolist()) == ([0, 0], [1, 1])


def test_one_tensor_given_twice() -> None:
    f = tg.compile(lambda a, b: a + 2 * b)
    x = tg.ones(2)
    assert f(x, x).tolist() == [3, 3]
    assert f(tg.ones(2), tg.zeros(2)).tolist() == [1, 1]


@pytest.mark.parametrize("known_first", [True, False])
def test_an_argument_that_is_a_captured_tensor_too(known_first: bool) -> None:
    w, other = nn.Parameter(tg.full((2,), 3.0)), nn.Parameter(tg.ones(2))
    f = tg.compile(lambda a: a * w)
    calls = [(w, [9, 9], [6, 6]), (other, [3, 3], [1, 1])]
    for a, value, gradient in (calls if known_first else calls[::-1]) * 2:
        w.grad = other.grad = None
        product = f(a)
        product.sum().backward()
        assert product.tolist() == value
        assert grad_of(w) == gradient
        assert a is w or grad_of(other) == [3, 3]
    assert len(f.programs) == 2


def test_an_argument_that_is_a_parameter_of_the_optimizer() -> None:
    w = nn.Parameter(tg.ones(2))
    optimizer = optim.SGD([w], lr=0.5)

    @tg.compile
    def step(x: tg.Tensor) -> tg.Tensor:
        optimizer.zero_grad()
        loss = (x * x).sum()
        loss.backward()
        optimizer.step()
        return loss.detach()

    step(tg.ones(2, requires_grad=True))
    assert w.tolist() == [1, 1]
    step(w)
    assert w.tolist() == [0, 0]


def test_an_argument_whose_gradient_the_function_looks_at_as_another_ones() -> None:
    w = tg.ones(2, requires_grad=True)

    @tg.compile
    def f(x: tg.Tensor) -> tg.Tensor:
        loss = (x * x).sum()
        loss.backward()
        return loss.detach() if w.grad is None else w.grad * 1

    assert f(tg.ones(2, requires_grad=True)).item() == 2
    assert f(w).tolist() == [2, 2]


def test_hooks_of_arguments_belong_to_a_program() -> None:
    @tg.compile
    def f(x: tg.Tensor) -> None:
        (x * x).sum().backward()

    for hooked in (False, True, False):
        x = tg.ones(2, requires_grad=True)
        if hooked:
            x.register_hook(lambda g: g * 2)
        f(x)
        assert grad_of(x) == ([4, 4] if hooked else [2, 2])


def test_arguments_that_share_memory_with_what_is_changed() -> None:
    w = tg.arange(3.0)
    f = tg.compile(lambda x: (w.add_(1), x * 2 + w)[1])
    f(tg.zeros(3))
    with pytest.raises(tg.CompileError, match="shares its memory"):
        f(w[:])
    assert w.tolist() == [1, 2, 3]


def test_an_argument_that_is_kept_is_refused() -> None:
    layer = nn.Linear(2, 2)
    weight = layer.weight

    def f(p: tg.Tensor, x: tg.Tensor) -> tg.Tensor:
        layer.weight = p  # type: ignore[assignment]
        return layer(x)

    with pytest.raises(tg.CompileError, match="assigns to the attribute 'weight' of a Linear"):
        tg.compile(f)(nn.Parameter(tg.ones(2, 2)), tg.ones(3, 2))
    layer.weight = weight


def test_a_captured_numpy_array_given_as_an_argument() -> None:
    known = np.full(2, 3.0, np.float32)
    f = tg.compile(
        lambda x: tg.tensor(known) * x if isinstance(x, tg.Tensor) else tg.from_numpy(known) * tg.from_numpy(x)
    )
    assert f(known).tolist() == [9, 9]
    assert f(np.ones(2, np.float32)).tolist() == [3, 3]


def test_an_argument_returned_as_it_is() -> None:
    f = tg.compile(lambda a: (a, {"twice": a * 2, "name": "a", "nothing": None}))
    same, more = f(tg.ones(2))
    assert same.tolist() == [1, 1]
    assert more["twice"].tolist() == [2, 2]
    assert (more["name"], more["nothing"]) == ("a", None)


def test_gradients_of_arguments_go_to_the_arguments_of_this_call() -> None:
    @tg.compile
    def f(x: tg.Tensor) -> tg.Tensor:
        (x * x).sum().backward()
        return x

    made = [tg.full((2,), float(n), requires_grad=True) for n in range(4)]
    for n, x in enumerate(made):
        assert f(x) is x
        assert x.grad is not None
        assert x.grad.tolist() == [2 * n, 2 * n]
    for n, x in enumerate(made):
        f(x)
        assert x.grad is not None
        assert x.grad.tolist() == [4 * n, 4 * n]

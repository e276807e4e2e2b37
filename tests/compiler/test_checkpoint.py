"""`tg.checkpoint` in compiled functions: it saves memory, changes no number, and draws the same again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg
from nn import optim

from .training_step import grad_of


def in_pieces(count: int, executor: str | None, compiled: bool = True) -> tuple[Any, Any, Any]:
    """A step of a network whose sequence is cut in pieces; the network, and the loss of two steps."""
    tg.manual_seed(0)
    model = nn.LSTM(6, 32, num_layers=2, dropout=0.5)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    x = tg.randn(64, 5, 6)

    def piece(x: tg.Tensor, h: tg.Tensor, c: tg.Tensor) -> Any:
        out, (h, c) = model(x, (h, c))
        return (out * out).sum(), h, c

    def step() -> tg.Tensor:
        h = c = tg.zeros(2, 5, 32)
        loss = tg.zeros(())
        for part in x.chunk(count):
            more, h, c = tg.checkpoint(piece, part, h, c)
            loss = loss + more
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    run = tg.compile(step, executor=executor) if compiled else step
    return model, run, [run().item() for _ in range(3)]


@pytest.mark.host("how much the host's plan of memory saves")
@pytest.mark.parametrize("executor", ["numpy", None])  # None: the native one, where that is installed
def test_a_checkpoint_saves_memory_and_changes_no_number(executor: str | None) -> None:
    (model, run, losses), (other, _, truth) = in_pieces(8, executor), in_pieces(8, None, compiled=False)
    np.testing.assert_allclose(losses, truth, rtol=1e-5)
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-3, atol=1e-5)
    _, whole, _ = in_pieces(1, executor)
    (some,), (all_of_it,) = [
        [r._executor.plan for executables in f._cache.values() for r in executables] for f in (run, whole)
    ]
    assert some.peak < 0.5 * all_of_it.peak


def test_a_checkpoint_in_a_function_that_is_differentiated_outside() -> None:
    w = tg.randn(4, 4, requires_grad=True)
    x = tg.randn(3, 4, requires_grad=True)

    def f(x: tg.Tensor) -> Any:
        return tg.checkpoint(lambda x: (x @ w).tanh() @ w, x)

    run = tg.compile(f)
    for _ in range(2):
        found = []
        for function in (run, f):
            x.grad = w.grad = None
            function(x).sum().backward()
            found.append([grad_of(x), grad_of(w)])
        np.testing.assert_allclose(np.concatenate(found[0]), np.concatenate(found[1]), rtol=1e-5)
    backward = run.programs[0].backward
    assert backward is not None
    assert any(instr.op == "tanh" for instr in backward.instrs)  # again


@pytest.mark.parametrize("buffer", [False, True])
def test_a_checkpoint_notices_what_was_changed_before_the_backward_pass(buffer: bool) -> None:
    w = tg.randn(3, 3, requires_grad=not buffer)

    @tg.compile
    def f(x: tg.Tensor) -> None:
        y = tg.checkpoint(lambda a: (a @ w).tanh(), x).sum()
        with tg.no_grad():
            w.mul_(0.5)
        y.backward()

    with pytest.raises(RuntimeError, match="changed in place"):
        f(tg.randn(3, 3, requires_grad=True))


def test_a_checkpoint_made_outside_and_a_backward_pass_inside() -> None:
    x = tg.randn(3, requires_grad=True)
    y = tg.checkpoint(lambda a: a.tanh(), x).sum()
    f = tg.compile(lambda z: ((y * z).backward(retain_graph=True), z * 1)[1])
    assert f(tg.tensor(2.0)).item() == 2
    np.testing.assert_allclose(grad_of(x), 2 * (1 - np.tanh(x.detach().numpy()) ** 2), rtol=1e-5)


def test_a_checkpoint_that_fails_leaves_the_generator_as_it_was() -> None:
    w, fails = tg.ones(2, requires_grad=True), [False]

    def f(a: tg.Tensor) -> tg.Tensor:
        drawn = tg.rand(2)
        if fails[0]:
            raise ValueError("now")
        return a * drawn

    y = tg.checkpoint(f, w).sum()
    fails[0] = True
    tg.rand(5)  # so that drawing again ends elsewhere
    before = tg.default_generator.get_state()
    with pytest.raises(ValueError, match="now"):
        y.backward()
    assert tg.default_generator.get_state() == before

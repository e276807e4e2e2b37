"""Assignment to a part of a tensor while recording, and changes of views: what PyTorch gives, in linear time."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg

from .assignment_programs import PROGRAMS, B, T, loop


def start(lib: Any, seed: int = 0) -> tuple[Any, Any]:
    values = np.random.default_rng(seed).normal(size=(T, B))
    return lib.tensor(values, requires_grad=True), lib.zeros(T, B, dtype=lib.float64)


def close(ours: Any, theirs: Any) -> bool:
    return np.allclose(ours.detach().numpy(), theirs.detach().numpy(), 1e-10, 1e-12)


# what PyTorch refuses, since a node has saved what is changed then; the derivatives are checked below all the same
ALLOWED_HERE = ["whole", "used_before_and_after", "views_of_views", "a_diagonal", "another_part_of_itself"]
ALLOWED_HERE += ["filled_in_place"]


@pytest.mark.parametrize("name", [name for name in PROGRAMS if name not in ALLOWED_HERE])
def test_values_and_gradients_are_those_of_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
    (w, out), (v, other) = start(tg), start(torch)
    y, z = PROGRAMS[name](tg, w, out), PROGRAMS[name](torch, v, other)
    assert close(y, z)
    weights = tg.arange(float(T * B)).reshape(T, B).double()
    (y * y * weights).sum().backward()
    (z * z * torch.from_numpy(weights.numpy().copy())).sum().backward()
    assert close(w.grad, v.grad)


SMOOTH = [name for name in PROGRAMS if name not in ("of_another_dtype",)]  # which has five digits


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_of_second_order_are_right(name: str) -> None:
    w, _ = start(tg, 1)
    tg.gradgradcheck(lambda w: PROGRAMS[name](tg, w, tg.zeros(T, B, dtype=tg.float64)), w)


# a mask picks as many elements as it happens to; a diagonal of what is recorded cannot be written to
REFUSED_COMPILED = {"mask": "booleans picks elements", "a_diagonal": "a view is written to"}


@pytest.mark.parametrize("name", PROGRAMS)
def test_compiled_it_is_the_same_or_refused(name: str) -> None:
    def f(w: tg.Tensor) -> Any:
        return PROGRAMS[name](tg, w, tg.zeros(T, B, dtype=tg.float64))

    def step(w: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        return f(w).detach(), tg.grad(lambda w: (f(w) ** 2).sum())(w)

    compiled = tg.compile(step)
    if name in REFUSED_COMPILED:
        with pytest.raises(tg.CompileError, match=REFUSED_COMPILED[name]):
            compiled(start(tg)[0])
        return
    for seed in range(3):
        w, _ = start(tg, seed)
        for ours, theirs in zip(compiled(w), step(w), strict=True):
            assert close(ours, theirs)
    assert len(compiled.programs) == 1


def test_samples_and_checkpoints() -> None:
    w, _ = start(tg)

    def f(w: tg.Tensor) -> tg.Tensor:
        return loop(tg, w, tg.zeros(T, B, dtype=tg.float64))

    stacked = tg.stack([w.detach(), w.detach() * 2])
    assert close(tg.vmap(f)(stacked), tg.stack([f(x) for x in stacked]))
    (tg.checkpoint(f, w) ** 2).sum().backward()
    assert close(w.grad, tg.grad(lambda w: (f(w) ** 2).sum())(w.detach()))


def test_the_graph_can_be_kept() -> None:
    w, out = start(tg)
    y = loop(tg, w, out).sum()
    y.backward(retain_graph=True)
    assert w.grad is not None
    first = w.grad.clone()
    y.backward()
    assert close(w.grad, first * 2)


def test_hooks_see_what_arrives() -> None:
    w, out = start(tg)
    seen: list[Any] = []
    out[0] = w[0]
    out.register_hook(lambda g: seen.append(g.tolist()))  # of what it is now
    out[1] = w[1]
    out.retain_grad()
    out[2] = w[2]
    (out * 2).sum().backward()
    assert seen == [[[2.0] * B, [0.0] * B, [0.0] * B, [2.0] * B]]
    assert out.grad is not None
    assert out.grad.tolist() == [[2.0] * B] * T


def test_gradients_that_are_kept_do_not_change() -> None:
    w, _ = start(tg)
    y = w * 1.0
    middle = []
    for t in range(T):
        y[t] = w[t] * 2
        y.register_hook(lambda g: middle.append((g, g.clone())))
    y.sum().backward()
    assert len(middle) == T
    assert all(g.tolist() == copy.tolist() for g, copy in middle)
    both = w * 1.0
    y = both * 1.0
    y[0] = w[0]
    (y + both).sum().backward()  # the same gradient on two ways


def test_what_a_node_saved_stays() -> None:
    w, out = start(tg)
    out[0] = w[0]
    product = out * out  # keeps it
    out[1] = w[1]
    (product.sum() + out.sum()).backward()
    assert w.grad is not None
    expected = np.zeros((T, B))
    expected[0], expected[1] = 2 * w.detach().numpy()[0] + 1, 1
    assert np.allclose(w.grad.numpy(), expected)


def test_without_recording_the_memory_changes() -> None:
    w, out = start(tg)
    shown = out[0]
    with tg.no_grad():
        out[0] = w[0]
        out[1:][:, 0] = 3.0
    assert not out.requires_grad
    assert shown.tolist() == w[0].tolist()


@pytest.mark.host("NumPy's memory")
def test_memory_from_outside_is_refused() -> None:
    (w, _), outside = start(tg), tg.from_numpy(np.zeros(3))
    with pytest.raises(RuntimeError, match="shares memory with an array outside"):
        outside[0] = w[0, 0]
    assert outside.tolist() == [0, 0, 0]


def test_refused_before_anything_changed() -> None:
    w, out = start(tg)
    refusals: list[tuple[Any, str, Callable[[], object]]] = [
        (RuntimeError, "a leaf that requires", lambda: w.__setitem__(0, 1.0)),
        (RuntimeError, "a view of a leaf", lambda: w[0].add_(1.0)),
        (RuntimeError, "a view of a leaf", lambda: w[0].__setitem__(0, 1.0)),
        (ValueError, "assigning to an index.*broadcast", lambda: out.__setitem__(0, w[:, 0])),
        (IndexError, "assigning to an index", lambda: out.__setitem__(9, w[0])),
        (IndexError, "assigning to an index", lambda: out.__setitem__([0, 9], w[0])),
        (ValueError, "a place twice", lambda: out.__setitem__([1, -3], w[:2])),
        (ValueError, "a place twice", lambda: out.__setitem__((None, [0, 0], [1, 1]), w[0, 0])),
        (TypeError, "does not fit in int64", lambda: tg.zeros(3, dtype=tg.int64).__setitem__(0, w[0, 0])),
    ]  # fmt: skip
    for kind, words, change in refusals:
        before = w.tolist(), out.tolist(), out.requires_grad
        with pytest.raises(kind, match=words):
            change()
        assert (w.tolist(), out.tolist(), out.requires_grad) == before
    row = out[0]
    with pytest.raises(RuntimeError, match=r"shares memory with another tensor.*clone\(\)"):
        out[1] = w[1]
    assert row.tolist() == [0.0] * B


def test_a_value_that_is_a_view_follows() -> None:
    w, _ = start(tg)
    y = w * 1.0
    part = y[1:3]
    y[0:2] = part  # which it overlaps
    expected = w.detach().numpy()[[1, 2, 2, 3]]
    assert np.array_equal(y.detach().numpy(), expected)
    assert np.array_equal(part.detach().numpy(), expected[1:3])
    (part * part + y[2:]).sum().backward()
    assert w.grad is not None
    shown = np.zeros((T, B))
    shown[2] = 4 * w.detach().numpy()[2] + 1
    shown[3] = 1
    assert np.allclose(w.grad.numpy(), shown)
    with pytest.raises(RuntimeError, match="shares memory with another tensor"):
        y[0] = y.chunk(2)[1][0]


def test_a_view_taken_without_recording_is_refused() -> None:
    w, _ = start(tg)
    y = w * 1.0
    with tg.no_grad():
        row = y[0]
    with pytest.raises(RuntimeError, match="shares memory with another tensor"):
        row += w[0]
    flat = (w * 1.0).detach()
    part = flat[0]
    flat.unsqueeze_(0)
    with pytest.raises(RuntimeError, match="shares memory with another tensor"):
        part += w[0]


@pytest.mark.host("NumPy's memory")
@pytest.mark.parametrize("body", ["put", "from the one before", "added"])
def test_a_loop_copies_a_step_at_a_time(body: str) -> None:
    """Of T assignments into (T, 64) none takes memory for all of it, on the way there or back."""
    steps, taken, last = 400, list[int](), 0

    def look(_: Any = None) -> None:
        nonlocal last
        now, peak = tracemalloc.get_traced_memory()
        taken.append(peak - last)
        last = now
        tracemalloc.reset_peak()

    w, out = tg.randn(64, requires_grad=True), tg.zeros(steps, 64)
    tracemalloc.start()
    for t in range(steps):
        new = w + out[t - 1] if body == "from the one before" else w * 2
        new.register_hook(look)
        if body == "added":
            out[t] += new
        else:
            out[t] = new
        del new
        look()
    out.sum().backward()
    tracemalloc.stop()
    assert len(taken) == 2 * steps
    whole = steps * 64 * 4
    assert sum(n > whole / 4 for n in taken) <= 4, "but for what the gradient of the whole takes once"


@pytest.mark.host("NumPy's memory")
def test_compiled_loops_do_not_copy() -> None:
    """What is written lies in one place, and what is read of it, forwards and backwards, is taken where it was made."""
    w = tg.randn(8)

    def table(w: tg.Tensor) -> tg.Tensor:
        out = tg.zeros(20, 8)
        for t in range(20):
            out[t] = tg.tanh(w + out[t - 1])
        return out

    forward = tg.compile(table, executor="numpy")
    assert tg.allclose(forward(w), table(w), 1e-5, 1e-6)
    (replay,) = next(iter(forward._cache.values()))
    updates = [instr.out for instr in replay.program.instrs if instr.op == "update"]
    arrays = [replay._executor.plan.arrays[v] for v in updates]
    assert len(updates) == 20
    assert len({array.__array_interface__["data"] for array in arrays}) == 1
    assert not any(instr.op == "slice" and instr.args[0] in updates for instr in replay.program.instrs)

    backward = tg.compile(tg.grad(lambda w: table(w).sum()), executor="numpy")
    assert tg.allclose(backward(w), tg.grad(lambda w: table(w).sum())(w), 1e-4, 1e-5)
    assert not any(instr.op in ("update", "scatter_add") for instr in backward.programs[0].instrs)


def test_a_refused_recorded_assignment_names_no_internals() -> None:
    x = tg.ones(2, 3, requires_grad=True) * 1
    with pytest.raises(IndexError, match=r"assigning to an index: cannot take shape \(2, 3\), 1.0: index 5 is out"):
        x[5] = 1.0

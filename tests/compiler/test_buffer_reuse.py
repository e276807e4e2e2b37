"""In-place reuse: results in the buffers of operands, of slices, and a concat in that of a dead matrix."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

import nn
import nn.functional as F
import tinygrad_seq as tg
from nn import optim
from tinygrad_seq.compiler.memory.buffer_reuse import _tiles
from tinygrad_seq.compiler.memory.plan import MemoryPlan
from tinygrad_seq.compiler.native.fusion import _overlap, _span
from tinygrad_seq.compiler.program import Instr, Program, Source, Var

FLOAT = np.dtype(np.float32)
native = pytest.mark.skipif(find_spec("llvmlite") is None, reason="llvmlite is not installed")
both = pytest.mark.parametrize("executor", ["numpy", pytest.param("native", marks=native)])


class Written:
    """A program that is written down operation by operation, and its plan."""

    def __init__(self) -> None:
        self.program = Program()
        self.outside: dict[Var, np.ndarray] = {}

    def source(self, *shape: int) -> Var:
        var = self.program.new(shape, FLOAT)
        self.outside[var] = np.zeros(shape, FLOAT)
        return var

    def put(self, op: str, *args: Any, shape: tuple[int, ...], **params: Any) -> Var:
        out = self.program.new(shape, FLOAT)
        self.program.instrs.append(Instr(op, args, params, out))
        return out

    def rows(self, v: Var, start: int, end: int) -> Var:
        return self.put("slice", v, shape=(end - start, v.shape[1]), index=(slice(start, end), Ellipsis))

    def plan(self, *outputs: Var) -> MemoryPlan:
        self.program.outputs = list(outputs)
        return MemoryPlan(self.program, self.outside)


def address(plan: MemoryPlan, v: Var) -> int:
    return int(plan.arrays[v].__array_interface__["data"][0])


# --- a result in the buffer of an operand ---


def test_a_result_reuses_the_buffer_of_an_operand_at_its_last_use() -> None:
    w = Written()
    x = w.source(4, 4)
    a = w.put("multiply", x, 2.0, shape=(4, 4))
    b = w.put("tanh", a, shape=(4, 4))
    c = w.put("multiply", b, a, shape=(4, 4))
    plan = w.plan(c)
    assert address(plan, a) != address(plan, b)  # a is read again
    assert address(plan, c) in (address(plan, a), address(plan, b))
    assert plan.peak == 2 * 64
    assert all(address(plan, v) != address(plan, x) for v in (a, b, c))  # what comes from outside is not ours


def test_an_output_keeps_its_buffer() -> None:
    w = Written()
    a = w.put("multiply", w.source(4, 4), 2.0, shape=(4, 4))
    b = w.put("tanh", a, shape=(4, 4))
    plan = w.plan(a, b)
    assert address(plan, a) != address(plan, b)


def test_a_view_keeps_what_it_is_a_view_of() -> None:
    w = Written()
    a = w.put("multiply", w.source(4, 4), 2.0, shape=(4, 4))
    transposed = w.put("transpose", a, shape=(4, 4), dims=(1, 0))
    b = w.put("add", a, transposed, shape=(4, 4))
    plan = w.plan(b)
    assert address(plan, a) != address(plan, b)


# --- slices ---


def two_bands(w: Written, op: str = "tanh") -> tuple[Var, list[Var], list[Var]]:
    """A matrix, its two slices, and what is made of them."""
    parent = w.put("matmul", w.source(4, 3), w.source(3, 8), shape=(4, 8))
    slices = [w.rows(parent, 0, 2), w.rows(parent, 2, 4)]
    return parent, slices, [w.put(op, s, shape=(2, 8)) for s in slices]


def test_what_is_computed_of_slices_reuses_the_buffer_of_their_parent() -> None:
    w = Written()
    parent, slices, made = two_bands(w)
    plan = w.plan(w.put("multiply", *made, shape=(2, 8)))
    assert [address(plan, v) for v in made] == [address(plan, v) for v in slices]
    assert plan.arrays[made[0]].base is plan.arrays[parent].base


def test_a_slice_that_is_read_again_keeps_its_buffer() -> None:
    w = Written()
    _, slices, made = two_bands(w)
    total = w.put("multiply", *made, shape=(2, 8))
    plan = w.plan(w.put("add", total, slices[0], shape=(2, 8)))
    assert all(address(plan, v) not in [address(plan, s) for s in slices] for v in made)


def test_a_slice_with_another_view_keeps_its_buffer() -> None:
    w = Written()
    parent = w.put("matmul", w.source(4, 3), w.source(3, 2), shape=(4, 2))
    slices = [w.rows(parent, 0, 2), w.rows(parent, 2, 4)]
    transposed = [w.put("transpose", s, shape=(2, 2), dims=(1, 0)) for s in slices]
    made = [w.put("add", *pair, shape=(2, 2)) for pair in zip(slices, transposed, strict=True)]
    plan = w.plan(w.put("multiply", *made, shape=(2, 2)))
    assert all(address(plan, v) != address(plan, s) for v, s in zip(made, slices, strict=True))


def test_slices_must_fill_their_parent_without_overlap() -> None:
    assert _tiles([((0, 2), (0, 3)), ((2, 4), (0, 3))], (4, 3))
    assert _tiles([((0, 2), (1, 3)), ((2, 4), (0, 3)), ((0, 2), (0, 1))], (4, 3))
    assert not _tiles([((0, 2), (0, 3))], (4, 3))
    assert not _tiles([((0, 3), (0, 3)), ((2, 4), (0, 3))], (4, 3))
    assert not _tiles([((0, 2), (0, 2)), ((0, 2), (1, 3)), ((2, 4), (0, 3))], (4, 3))


def test_what_a_product_reads_has_a_buffer_of_its_own() -> None:
    w = Written()
    _, slices, made = two_bands(w)
    right = w.source(8, 8)
    products = [w.put("matmul", v, right, shape=(2, 8)) for v in made]
    plan = w.plan(w.put("multiply", *products, shape=(2, 8)))
    assert all(address(plan, v) != address(plan, s) for v, s in zip(made, slices, strict=True))


@pytest.mark.parametrize("late", [False, True])
def test_a_concat_reuses_a_buffer_once_each_part_is_dead(late: bool) -> None:
    w = Written()
    parent, _, made = two_bands(w)
    pieces = [w.put("multiply", v, 3.0, shape=(2, 8)) for v in reversed(made)]
    if late:
        pieces.append(w.put("add", pieces[0], made[0], shape=(2, 8)))  # what the first one was made of is read again
        pieces = [pieces[2], pieces[0]]
    whole = w.put("concat", *reversed(pieces), shape=(4, 8), axis=0)
    plan = w.plan(w.put("matmul", whole, w.source(8, 8), shape=(4, 8)))
    assert (address(plan, whole) == address(plan, parent)) != late


def test_columns_of_one_matrix_do_not_overlap() -> None:
    a = np.zeros((4, 12), FLOAT)
    left, middle, right = (_span(part) for part in (a[:, :4], a[:, 3:6], a[:, 8:]))
    assert _overlap(left, middle)
    assert not _overlap(left, right)
    assert not _overlap(right, middle)
    assert not _overlap(_span(a[1:3, :4]), _span(a[:, 4:8]))
    assert _overlap(_span(a[1:3, :4]), _span(a[:, 2:6]))
    assert _overlap(_span(a[:2]), _span(a[1:, 4:8]))
    assert not _overlap(_span(a[:2]), _span(a[2:]))


# --- training steps ---


class Model(nn.Module):
    def __init__(self, kind: str, V: int, H: int) -> None:
        self.embedding = nn.Embedding(V, H)
        self.layers = getattr(nn, kind)(H, H, 2)
        self.head = nn.Linear(H, V)

    def forward(self, tokens: tg.Tensor) -> tg.Tensor:
        scores: tg.Tensor = self.head(self.layers(self.embedding(tokens))[0])
        return scores


def training(kind: str, executor: str | None, T: int, B: int, H: int, V: int = 11) -> tuple[Model, Any]:
    tg.manual_seed(1)
    model = Model(kind, V, H)
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    def step(x: tg.Tensor) -> tg.Tensor:
        loss = F.cross_entropy(model(x[:-1]).reshape(-1, V), x[1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    return model, tg.compile(step, executor=executor) if executor else step


def tokens(T: int, B: int, V: int = 11) -> tg.Tensor:
    return tg.tensor(np.random.default_rng(0).integers(0, V, (T + 1, B)))


def trains_alike(kind: str, executor: str, T: int, B: int, H: int) -> None:
    """Compare some steps of a compiled function with the same ones of what it was compiled from."""
    losses, parameters = [], []
    for name in (None, executor):
        model, step = training(kind, name, T, B, H)
        losses.append([step(tokens(T, B)).item() for _ in range(4)])
        parameters.append([p.detach().numpy() for p in model.parameters()])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    for eager, compiled in zip(*parameters, strict=True):
        np.testing.assert_allclose(compiled, eager, rtol=0, atol=2e-4)


@pytest.mark.host("about the plans of the CPU's executors")
@both
def test_the_memory_of_a_training_step(executor: str) -> None:
    T, B, H = 24, 64, 256
    _, step = training("LSTM", executor, T, B, H)
    for _ in range(3):
        step(tokens(T, B))
    (replay,) = [replay for executables in step._cache.values() for replay in executables]
    states = T * B * H * 4
    weights = 4 * H * H * 4
    # per layer four gates and half of the cells; the states and their gradients of one layer; two weights' gradients
    most = 11 if executor == "native" else 15  # NumPy keeps what is made of the gates of one layer beside them
    assert replay._executor.plan.peak < most * states + 2 * weights


@both
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_training_is_the_same_with_reuse(kind: str, executor: str) -> None:
    trains_alike(kind, executor, T=20, B=64, H=256)  # large and long enough for everything that saves memory


@pytest.mark.host("about the plans of the CPU's executors")
@native
def test_a_kernel_that_cannot_be_made_gets_a_plan_without_reuse_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinygrad_seq.compiler.native.executor import NativeExecutor

    real, tries = NativeExecutor._groups, []

    def groups(self: Any) -> Any:
        tries.append(self.plan.peak)
        return None if len(tries) == 1 else real(self)

    monkeypatch.setattr(NativeExecutor, "_groups", groups)
    f = tg.compile(lambda x: ((x * 2).tanh() @ x.T).exp() * 3, executor="native")
    x = tg.randn(5, 5)
    y = f(x)
    assert len(tries) == 2
    assert tries[0] <= f._cache[next(iter(f._cache))][0]._executor.plan.peak
    np.testing.assert_allclose(y.numpy(), (((x * 2).tanh() @ x.T).exp() * 3).numpy(), rtol=1e-4)


@native
def test_a_kernel_reads_a_buffer_again_that_it_has_reused() -> None:
    from tinygrad_seq.compiler.native.executor import NativeExecutor

    w = Written()
    a = w.put("matmul", w.source(4, 4), w.source(4, 4), shape=(4, 4))
    b = w.put("tanh", a, shape=(4, 4))
    c = w.put("multiply", a, b, shape=(4, 4))
    program = w.program
    program.sources = {v: Source("given", lambda _: None) for v in w.outside}
    program.outputs = [w.put("matmul", v, c, shape=(4, 4)) for v in (b, c)]
    executor = NativeExecutor(program)
    values = executor.run([np.eye(4, dtype=FLOAT), np.full((4, 4), 0.5, FLOAT)], [])
    assert address(executor.plan, b) == address(executor.plan, a)
    y = np.tanh(np.full((4, 4), 0.5, FLOAT))
    np.testing.assert_allclose(values[program.outputs[0]], y @ (0.5 * y), rtol=1e-5)

"""Which rows a process has, without others: what is drawn, and what a recorded program holds for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

import nn
import nn.functional as F
import tinygrad_seq as tg
from tinygrad_seq import distributed as dist
from tinygrad_seq.graph.batch_shard import BatchShard, set_shard

Run = Callable[[Callable[[], tg.Tensor]], tg.Tensor]


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    yield
    set_shard()


def test_a_program_holds_for_the_rows_that_it_was_recorded_with() -> None:
    def f(x: tg.Tensor) -> tg.Tensor:
        return F.dropout(x, 0.5, True)

    compiled, x = tg.compile(f), tg.ones(3, 2, 2)
    for part in (None, BatchShard(2, 4, 4, 1), BatchShard(3, 5, 5, 1), BatchShard(2, 4, 4, 1)):
        set_shard(*[part] if part else [])
        found = []
        for run in (f, compiled):
            tg.manual_seed(0)
            found.append((run(x).tolist(), tg.rand(3).tolist()))
        assert found[0] == found[1]
    set_shard(None)
    with pytest.raises(RuntimeError, match=r"call distributed.shard\(\) first"):
        compiled(x)


@pytest.mark.parametrize("here", [2, 3])
def test_attention_draws_for_its_rows(here: int) -> None:
    attention, x = nn.MultiheadAttention(4, 2, dropout=0.5), tg.randn(3, 4, 4)
    tg.manual_seed(1)
    whole = attention(x, x, x)[0][:, 4 - here :]
    set_shard(BatchShard(4 - here, 4, 4, 1))
    tg.manual_seed(1)
    mine = x[:, 4 - here :]
    assert tg.allclose(attention(mine, mine, mine)[0], whole, atol=1e-6)


T, N, H = 6, 2, 8  # with two rows of four, where the first dimension of a weight (6, 8) could be (T·B)


def drawn(run: Run, f: Callable[[], tg.Tensor], dim: int = 1, **given: Any) -> int:
    """How many words dropout of f() draws, with the last two rows of four."""
    set_shard(BatchShard(2, 4, 4, dim))
    tg.manual_seed(0)
    run(lambda: F.dropout(f(), 0.5, **given))
    return 8 * tg.default_generator.get_state()[1]


def eager(f: Callable[[], tg.Tensor]) -> tg.Tensor:
    return f()


def compiled(f: Callable[[], tg.Tensor]) -> tg.Tensor:
    return tg.compile(f)()


both = pytest.mark.parametrize("run", [eager, compiled])


@both
def test_what_is_computed_of_parameters_alone_belongs_to_no_batch(run: Run) -> None:
    weight, frozen = nn.Parameter(tg.randn(T, H)), nn.Parameter(tg.randn(T, H), requires_grad=False)
    assert drawn(run, lambda: weight) == T * H
    assert drawn(run, lambda: weight * 1) == T * H
    assert drawn(run, lambda: weight.to(tg.float64)) == T * H
    assert drawn(run, lambda: weight.reshape(3, N, H) * tg.tensor(2.0)) == T * H
    assert drawn(run, lambda: weight[:N]) == N * H
    assert drawn(run, lambda: frozen) == T * H


@both
@pytest.mark.parametrize("dim", [0, 1])
def test_activations_belong_to_the_batch(dim: int, run: Run) -> None:
    shape = (T, N) if dim else (N, T)
    ids, x, step = tg.randint(5, shape), tg.randn(*shape, H), tg.randn(N, H)
    embedding, linear = nn.Embedding(5, H), nn.Linear(H, H)
    lstm, cell = nn.LSTM(H, H, batch_first=not dim), nn.GRUCell(H, H)
    for steps in (
        lambda: x,
        lambda: embedding(ids),
        lambda: embedding(ids).reshape(-1, H),
        lambda: linear(x).relu().reshape(-1, H),
        lambda: lstm(x)[0].reshape(-1, H),
        lambda: lstm(embedding(ids))[0].flatten(0, 1),
    ):
        assert drawn(run, steps, dim) == T * 4 * H
    for one in (
        lambda: step,
        lambda: linear(step),
        lambda: lstm(x)[1][0][-1],
        lambda: cell(step, cell(step, tg.zeros(N, H))),
        lambda: embedding(ids[0] if dim else ids[:, 0]),
    ):
        assert drawn(run, one, dim) == 4 * H


def test_what_is_computed_again_draws_for_the_batch() -> None:
    linear, x = nn.Linear(H, H), tg.randn(T, N, H)
    set_shard(BatchShard(2, 4, 4, 1))

    def twice(h: tg.Tensor) -> tg.Tensor:
        return F.dropout(F.dropout(h, 0.5).reshape(-1, H), 0.5)

    found = []
    for f in (twice, lambda h: tg.checkpoint(twice, h)):
        tg.manual_seed(0)
        linear.zero_grad()
        f(linear(x)).sum().backward()
        found.append((linear.weight.grad.tolist(), tg.default_generator.get_state()[1]))  # type: ignore[union-attr]
    assert found[0] == found[1]
    assert found[0][1] == 2 * T * 4 * H // 8


@both
def test_what_could_be_either_is_refused_before_anything_is_drawn(run: Run) -> None:
    weight, raw = nn.Parameter(tg.randn(T, H)), tg.randn(T, H).requires_grad_()
    for f in (
        lambda: weight * tg.ones(T, H),
        lambda: weight[tg.arange(T)],
        lambda: weight.detach() * 1,
        lambda: raw,
        lambda: raw * 1,
        lambda: tg.ones(T, H),
    ):
        with pytest.raises(
            ValueError, match=r"dropout: it is not certain that shape \(6, 8\).*batch_dim=, which is None"
        ):
            drawn(run, f)
        assert tg.default_generator.get_state() == (0, 0)
        assert drawn(run, f, batch_dim=None) == T * H


def test_batch_normalisation_is_refused_while_it_trains() -> None:
    norm = nn.BatchNorm1d(3)
    set_shard(BatchShard(0, 2, 4, 0))
    with pytest.raises(RuntimeError, match=r"BatchNorm1d: in a group.*LayerNorm"):
        norm(tg.randn(2, 3))
    assert norm.num_batches_tracked is not None
    assert norm.num_batches_tracked.item() == 0
    norm.eval()(tg.randn(2, 3))


@pytest.fixture
def group() -> Iterator[None]:
    dist.init_process_group()
    yield
    dist.destroy_process_group()


class Batch(NamedTuple):
    x: tg.Tensor
    y: tg.Tensor


@pytest.mark.usefixtures("group")
def test_a_named_tuple_is_taken_apart_and_made_again() -> None:
    found = dist.shard(Batch(tg.ones(3, 4), tg.zeros(2, 4)))
    assert type(found) is Batch
    assert (found.x.shape, found.y.shape) == ((3, 4), (2, 4))


@pytest.mark.usefixtures("group")
def test_refusals_are_the_same_in_a_group_of_one() -> None:
    with pytest.raises(TypeError, match="got booleans"):
        dist.all_reduce(tg.tensor([True]))
    with pytest.raises(TypeError, match="no order"):
        dist.all_reduce(tg.ones(1, dtype=tg.complex64), dist.ReduceOp.MAX)
    with pytest.raises(RuntimeError, match="a leaf that requires a gradient"):
        dist.all_reduce(tg.ones(1, requires_grad=True))
    weight = tg.ones(1, requires_grad=True)
    (weight**2).sum().backward(create_graph=True)
    with pytest.raises(RuntimeError, match=r"gradient of w was made with create_graph=True.*no_sync\(\)"):
        dist.average_gradients([("w", weight)])
    x = tg.ones(2)
    (mine,) = dist.all_gather(x)
    x.add_(1)
    assert mine.tolist() == [1.0, 1.0]

"""Which rows a process has, without others: what is drawn, and what a recorded program holds for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

import nn
import nn.functional as F
import tinygrad_seq as tg
from tinygrad_seq import distributed as dist
from tinygrad_seq.graph.batch_shard import BatchShard, set_shard


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

"""What is drawn for each row of a batch that several processes share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from tinygrad_seq.graph.batch_shard import BatchShard, set_shard

Run = Callable[[Callable[[], tg.Tensor]], tg.Tensor]


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    yield
    set_shard()


def eager(f: Callable[[], tg.Tensor]) -> tg.Tensor:
    return f()


def compiled(f: Callable[[], tg.Tensor]) -> tg.Tensor:
    return tg.compile(f)()


TABLE = np.random.default_rng(1).dirichlet(np.ones(5), (6, 4))  # probabilities (T, B, V)
DRAWS: dict[str, Callable[[tg.Tensor, Any], tg.Tensor]] = {
    "rand": lambda p, d: tg.rand(p.shape, dtype=tg.float64, batch_dim=d),
    "rand_like": lambda p, d: tg.rand_like(p, batch_dim=d),
    "randn": lambda p, d: tg.randn(p.shape, batch_dim=d),
    "randn_like": lambda p, d: tg.randn_like(p, batch_dim=d),
    "randint": lambda p, d: tg.randint(2, 9, p.shape, batch_dim=d),
    "normal": lambda p, d: tg.normal(p, p, batch_dim=d),
    "normal of numbers": lambda p, d: tg.normal(1.0, 2.0, p.shape, batch_dim=d),
    "bernoulli": lambda p, d: tg.bernoulli(p, batch_dim=d),
    "multinomial": lambda p, d: tg.multinomial(p, 3, True, batch_dim=d),
    "multinomial without replacement": lambda p, d: p.multinomial(3, batch_dim=d),
    "method bernoulli": lambda p, d: p.bernoulli(batch_dim=d),
    "uniform_": lambda p, d: p.clone().uniform_(batch_dim=d),
    "normal_": lambda p, d: p.clone().normal_(batch_dim=d),
    "random_": lambda p, d: p.clone().random_(batch_dim=d),
    "bernoulli_": lambda p, d: p.clone().bernoulli_(batch_dim=d),
    "Normal": lambda p, d: tg.distributions.Normal(p, p).rsample((2,), batch_dim=d and d + 1).movedim(0, -1),
    "Bernoulli": lambda p, d: tg.distributions.Bernoulli(p).sample((2,), batch_dim=d and d + 1).movedim(0, -1),
    "Categorical": lambda p, d: tg.distributions.Categorical(p).sample((2,), batch_dim=d and d + 1).movedim(0, -1),
}


@pytest.mark.parametrize("run", [eager, compiled])
@pytest.mark.parametrize("name", DRAWS)
def test_what_is_drawn_for_each_row_is_what_one_process_draws(name: str, run: Run) -> None:
    draw, probabilities = DRAWS[name], tg.tensor(TABLE)

    def drawn(start: int, stop: int, batch_dim: int | None = 1) -> tg.Tensor:
        set_shard(*[BatchShard(start, stop, 4, 1)] * (stop - start < 4))
        tg.manual_seed(3)
        return run(lambda: draw(probabilities[:, start:stop], batch_dim))

    whole, stands = drawn(0, 4), tg.default_generator.get_state()
    parts = []
    for rows in ((0, 1), (1, 4)):
        parts.append(drawn(*rows))
        assert tg.default_generator.get_state() == stands
    assert tg.equal(tg.cat(parts, 1), whole)
    assert not tg.equal(drawn(1, 4, batch_dim=None), parts[1]), "without it all draw the same"
    set_shard(BatchShard(0, 2, 4, 1))
    with pytest.raises(ValueError, match=r"rows along dimension \d, and shard\(\) gave this process 2 of 4"):
        draw(probabilities, 1)
    set_shard(None)
    with pytest.raises(RuntimeError, match=r"call distributed.shard\(\) first"):
        draw(probabilities, 1)


def test_rows_along_no_dimension() -> None:
    for draw in (tg.rand, tg.randn):
        with pytest.raises(ValueError, match=f"{draw.__name__}: batch_dim=2 is no dimension"):
            draw(2, 3, batch_dim=2)
    with pytest.raises(ValueError, match="rows of a batch lie along a dimension of the probabilities"):
        tg.distributions.Categorical(tg.tensor(TABLE)).sample((2,), batch_dim=0)

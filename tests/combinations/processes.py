"""The feature of many processes: a group of one, or one of two of which the other does the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import nn
import tinygrad_seq as tg
from tinygrad_seq import distributed as dist
from tinygrad_seq.distributed import group as groups
from tinygrad_seq.graph.batch_shard import BatchShard, set_shard

from .feature import Feature
from .world import Function, World
from .zoo import B


class Mirror:
    """Messages to a second process that says and sends what this one does."""

    name, rank, size, local_rank, local_size, on_gpu = "mirror", 0, 2, 0, 2, False

    def exchange(self, words: bytes, timeout: float) -> list[bytes]:
        return [words, words]

    def all_reduce(self, x: Any, out: Any, op: str) -> None:
        np.copyto(out, {"sum": x + x, "product": x * x}.get(op, x))

    def all_gather(self, x: Any, out: Any) -> None:
        out[...] = x

    def broadcast(self, x: Any, source: int) -> None:
        pass

    def abort(self) -> None:
        raise AssertionError("a rank gave up")

    def close(self) -> None:
        pass


class Distributed(Feature):
    """The mean of the losses over all ranks, inside; the mean of the gradients, after each backward pass or before the
    update. All ranks have the same rows of the batch, so these are what one process has.
    """

    name = "distributed"

    def prepare(self, world: World) -> None:
        self.group = groups.Group(self.rng.choice([None, Mirror()]), 60.0)
        self.at_once = self.rng.random() < 0.5
        self.parallel: Any = None

    @contextmanager
    def around(self, world: World) -> Iterator[None]:
        groups.begin(self.group)
        if self.group.size > 1:
            set_shard(BatchShard(0, B, B, 0))
        try:
            if self.at_once:
                self.parallel = nn.parallel.DistributedDataParallel(world.model)
            yield
        finally:
            self.parallel = None
            groups.end()

    def function(self, world: World, f: Function) -> Function:
        def mean(x: tg.Tensor, batch: Any) -> tg.Tensor:
            return dist.all_reduce(f(x, batch) * 1.0) / dist.get_world_size()

        return mean

    def passed(self, world: World, x: tg.Tensor) -> None:
        if not self.at_once:
            dist.average_gradients([(name, p) for name, p in world.trained() if p.requires_grad], weight=B)

"""Training in several processes, in PyTorch's names: a module whose gradients are averaged, and models that are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import tinygrad_seq as tg
from tinygrad_seq import Tensor
from tinygrad_seq import distributed as dist
from tinygrad_seq.backend.pytree import leaves
from tinygrad_seq.graph import batch_shard

from .module import Module


class DistributedDataParallel(Module):
    """A module that is the same on all ranks: `backward()` ends by averaging its gradients over them.

    It takes over rank 0's parameters and buffers when it is made. The mean is weighted by the rows that
    `distributed.shard` gave each rank; where nobody has called that, all ranks must have given `forward` tensors of the
    same shapes. Other weights, as the numbers of tokens, are those of `distributed.average_gradients`.

    >>> model = nn.parallel.DistributedDataParallel(model)

    Args:
        module: whose parameters are trained.
        settings: PyTorch's, such as device_ids and find_unused_parameters, which are not needed here.
    """

    def __init__(self, module: Module, **settings: Any) -> None:
        if not isinstance(module, Module):
            raise TypeError(f"DistributedDataParallel: takes a Module, got a {type(module).__name__}")
        strange = settings.keys() - _OF_PYTORCH
        if strange:
            raise TypeError(f"DistributedDataParallel: got an unexpected argument {min(strange)!r}")
        if not any(p.requires_grad for p in module.parameters()):
            raise RuntimeError("DistributedDataParallel: the module has no parameter that requires a gradient")
        self.module = module
        self._syncs = True
        self._batch = _Batch()
        dist.broadcast_parameters(module)
        dist.call_after_backward(self._average)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        self._batch.shapes = [x.shape for x in leaves((inputs, named)) if isinstance(x, Tensor)]
        return self.module(*inputs, **named)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Inside, `backward()` averages nothing: gradients add up until one that runs outside, which averages all."""
        before, self._syncs = self._syncs, False
        try:
            yield
        finally:
            self._syncs = before

    def _average(self, reached: Any) -> None:
        """What `backward()` does in the end: `reached` are the nodes that a gradient has arrived at."""
        parameters = [(name, p) for name, p in self.module.named_parameters() if p.requires_grad]
        if not self._syncs or not any(p.node in reached for _, p in parameters):
            return
        here = batch_shard.known()
        if here is None:
            name, p = parameters[0]
            shapes = " and ".join(map(str, self._batch.shapes))
            parameters[0] = (f"{name} of a batch of {shapes} (shard() says which rows a rank has if they differ)", p)
        dist.average_gradients(parameters, weight=1 if here is None else here.here)


class _Batch:
    """The last one that went through a module: the shapes of its tensors."""

    __slots__ = ("shapes",)

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []


_OF_PYTORCH = {
    "device_ids", "output_device", "dim", "broadcast_buffers", "init_sync", "process_group", "bucket_cap_mb",
    "find_unused_parameters", "check_reduction", "gradient_as_bucket_view", "static_graph",
}  # fmt: skip


class PeriodicModelAverager:
    """Averages parameters themselves, every so many steps: between them each rank trains on its own (local SGD).

    For networks so slow that averaging gradients in every step does not pay. Stich, "Local SGD converges fast and
    communicates little", 2019.

    >>> averager = nn.parallel.PeriodicModelAverager(period=8)
    >>> ...
    >>> optimizer.step()
    >>> averager.average_parameters(model.parameters())

    Args:
        period: the number of steps from one averaging to the next.
        warmup_steps: after how many steps the first one is.

    Attributes:
        step: how often `average_parameters` was called.
    """

    period: int
    warmup_steps: int
    step: int

    def __init__(self, period: int, warmup_steps: int = 0) -> None:
        for name, value, least in (("period", period, 1), ("warmup_steps", warmup_steps, 0)):
            if not isinstance(value, int) or value < least:
                raise ValueError(f"PeriodicModelAverager: {name} is a whole number from {least} on, got {value!r}")
        self.period, self.warmup_steps, self.step = period, warmup_steps, 0

    def average_parameters(self, params: Iterable[Tensor]) -> None:
        """Count a step, and where it is due let parameters be their means over all ranks."""
        due = self.step >= self.warmup_steps and (self.step - self.warmup_steps) % self.period == 0
        self.step += 1
        parameters = list(params)
        if not due or dist.get_world_size() == 1:
            return
        with tg.no_grad():
            for kind in dict.fromkeys([p.dtype for p in parameters]):
                alike = [p for p in parameters if p.dtype == kind]
                mean = dist.all_reduce(tg.cat([p.reshape(-1) for p in alike]), dist.ReduceOp.AVG)
                for p, new in zip(alike, mean.split([p.numel() for p in alike]), strict=True):
                    p.copy_(new.reshape(p.shape))

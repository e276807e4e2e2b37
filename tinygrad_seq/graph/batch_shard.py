"""Which rows of a batch this process has, where several share one: what layers that draw for each row have to know."""

from __future__ import annotations

from typing import Literal, NamedTuple

from .ancestry import is_of_batch, is_of_parameters
from .node import Value
from .tracing_hook import current_tracer

Size = tuple[int, ...]


class BatchShard(NamedTuple):
    """Some rows of a batch.

    Attributes:
        start, stop: which of `total`.
        dim: the dimension along which they lie: 1 in tensors (T, B, ...), 0 in (B, ...).
    """

    start: int
    stop: int
    total: int
    dim: int

    @property
    def here(self) -> int:
        return self.stop - self.start


# empty where this process has the whole batch; None where nobody has said which rows it has
_shard: list[BatchShard | None] = []


def set_shard(*shards: BatchShard | None) -> None:
    """From now on this process has these rows; None for some that nobody has named; nothing for the whole batch."""
    _shard[:] = shards


def _current() -> list[BatchShard | None]:
    """The shard now; a program that is recorded is right for that alone."""
    if (tracer := current_tracer()) is not None:
        then = [*_shard]
        tracer.guards.append(lambda: _shard == then)
    return _shard


def known() -> BatchShard | None:
    """The rows that this process has; None for the whole batch, and where nobody has said which."""
    found = _current()
    return found[0] if found else None


def is_one_of_several() -> bool:
    """Whether other processes have other rows of the same batch."""
    return bool(_current())


def required(name: str) -> BatchShard | None:
    """The rows that this process has; None for the whole batch.

    Raises:
        RuntimeError: if it is one of several, and nobody has said which rows it has; it names the function `name`.
    """
    found = _current()
    if not found:
        return None
    if found[0] is None:
        raise RuntimeError(
            f"{name}: this process is one of a group, and which rows of the batch it has is not known, so what it "
            "would draw is not what one process draws for them; call distributed.shard() first, or give it a "
            "generator= of its own"
        )
    return found[0]


def located(name: str, x: Value, dim: int | Literal["auto"] | None = "auto") -> tuple[Size, int | None]:
    """Where the rows of the batch lie in a tensor: a shape, and which dimension of it; None if all ranks have the same.

    Found out for activations (T, B, ...), (T·B, F) or (B, F), with batches first (B, ...) and (B·T, F), and for what
    is computed of parameters alone, which belongs to no batch. Of anything else `dim` has to say it.

    Args:
        dim: the dimension, or None, if it is known.

    Raises:
        RuntimeError: if nobody has said which rows this process has.
        ValueError: if it is not certain where they lie.
    """
    shape = x.array.shape
    if dim is None or not is_one_of_several() or (dim == "auto" and is_of_parameters(x)):
        return shape, None
    shard = required(name)
    assert shard is not None
    if dim != "auto":
        return shape, dim
    n, dim = shard.here, shard.dim
    if len(shape) > 2 and shape[dim] == n:
        return shape, dim
    if 0 < len(shape) <= 2 and n and shape[0] % n == 0 and is_of_batch(x, n, dim):
        others = shape[0] // n
        return ((others, n, *shape[1:]) if dim else (n, others, *shape[1:])), dim
    if 0 in shape:
        return shape, None
    where = "(T, B, ...) or (T·B, F)" if dim else "(B, ...) or (B·T, F)"
    raise ValueError(
        f"{name}: it is not certain that shape {shape} has the {n} rows which shard() gave this process, in any of "
        f"{where}; say batch_dim=, which is None for what belongs to no batch, as weights, call shard() for each batch "
        "of another size, or give it a generator= of its own"
    )

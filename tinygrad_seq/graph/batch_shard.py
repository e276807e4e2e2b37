"""Which rows of a batch this process has, where several share one: what layers that draw for each row have to know."""

from __future__ import annotations

from typing import NamedTuple

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


def located(name: str, shape: Size, dim: int | None = None) -> tuple[Size, int | None]:
    """Where the rows of the batch lie in activations (T, B, ...), (T·B, F) or (B, F): a shape, and which dimension.

    With batches first, in (B, ...) and (B·T, F). Of anything else, as numbers (T, B), `dim` has to say it.

    Args:
        dim: the dimension, if it is known.

    Raises:
        ValueError: if there is no such dimension in which as many lie as this process has.
    """
    shard = required(name)
    if shard is None:
        return shape, None
    if dim is not None:
        return shape, dim
    n, dim = shard.here, shard.dim
    if len(shape) > 2 and shape[dim] == n:
        return shape, dim
    if 0 < len(shape) <= 2 and n and shape[0] % n == 0:
        others = shape[0] // n
        return ((others, n, *shape[1:]) if dim else (n, others, *shape[1:])), dim
    if 0 in shape:
        return shape, None
    where = "(T, B, ...) or (T·B, F)" if dim else "(B, ...) or (B·T, F)"
    raise ValueError(
        f"{name}: shape {shape} has no {n} rows, which shard() gave this process, in any of {where}; say "
        "batch_dim=, call shard() for each batch of another size, or give it a generator= of its own"
    )

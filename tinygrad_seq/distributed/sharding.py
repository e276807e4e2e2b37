"""Which rows of a batch a rank has."""

from __future__ import annotations

import warnings
from operator import index
from typing import Any

from ..backend import is_array
from ..backend.pytree import leaves, tree_map
from ..graph import batch_shard
from ..tensor import Tensor
from .group import current
from .message import outside


def shard(batch: Any, dim: int = 1) -> Any:
    """This rank's part of a batch: consecutive rows, as many as the other ranks have, or one more or less.

    Layers that draw random numbers for each row, as `nn.Dropout` does, draw from then on what one process would have
    drawn for these rows; all ranks keep their generator in the same state.

    >>> mine = dist.shard(12)  # on rank 1 of 3: slice(4, 8)
    >>> x, y = x[:, mine], y[:, mine]  # (T, B)

    Args:
        batch: the number of rows, for a slice; or a tensor, an array, or several in tuples, lists and dictionaries,
            for this rank's part of each.
        dim: the dimension of tensors along which rows lie: 1 in (T, B, ...), 0 with `batch_first`. Give it with a
            number, too: dropout looks at it.

    Raises:
        TypeError: if the batch is none of these.
        ValueError: if the tensors have different numbers of rows.
    """
    group = current("shard")
    outside("shard")
    if dim not in (0, 1):
        raise ValueError(f"shard: dim is 1 in (T, B, ...) and 0 in (B, ...), got {dim}")
    count = _number(batch)
    total = _rows(batch, dim) if count is None else count
    if total < 0:
        raise ValueError(f"shard: takes a number of rows from 0 on, got {total}")
    if total < group.size and group.rank == 0 and not group.said_idle:
        group.said_idle = True
        warnings.warn(
            f"shard: {total} rows for {group.size} ranks leave {group.size - total} without data; they take part with "
            "weight 0",
            stacklevel=2,
        )
    each, more = divmod(total, group.size)
    start = group.rank * each + min(group.rank, more)
    mine = slice(start, start + each + (group.rank < more))
    place = (*[slice(None)] * dim, mine)
    taken = mine if count is not None else tree_map(lambda x: x[place], batch)
    if group.size > 1:
        batch_shard.set_shard(batch_shard.BatchShard(mine.start, mine.stop, total, dim))
    return taken


def _number(batch: Any) -> int | None:
    """A number of rows, if it is one."""
    try:
        return None if isinstance(batch, (bool, Tensor)) else index(batch)
    except TypeError:
        return None


def _rows(batch: Any, dim: int) -> int:
    """How many rows all tensors of a batch have."""
    found: dict[int, None] = {}
    for x in leaves(batch):
        if not (isinstance(x, Tensor) or is_array(x)):
            raise TypeError(f"shard: takes a number of rows, tensors and arrays, got a {type(x).__name__}")
        if x.ndim <= dim:
            raise ValueError(f"shard: rows lie along dim={dim}, which shape {tuple(x.shape)} has not")
        found[x.shape[dim]] = None
    if len(found) != 1:
        raise ValueError(f"shard: takes tensors with one number of rows along dim={dim}, got {[*found] or 'none'}")
    return next(iter(found))

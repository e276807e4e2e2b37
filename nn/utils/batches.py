"""Which sequences go into a batch together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import tinygrad_seq as tg


def batches(
    lengths: Sequence[int], batch_size: int, *, shuffle: bool = True, generator: tg.Generator | None = None
) -> Iterator[list[int]]:
    """Numbers of sequences, `batch_size` at a time, each number once. The last batch may be smaller.

    Shuffled, sequences of similar lengths come together, so that little is padded: the numbers are shuffled, sorted by
    length within pools of 32 batches, and the batches shuffled in turn.

    >>> for numbers in nn.utils.batches([len(s) for s in sequences], 20):
    ...     output, state = lstm([sequences[n] for n in numbers])

    Args:
        lengths: of the sequences.
        shuffle: if not, the batches are the sequences in their order.

    Raises:
        ValueError: unless batch_size is a whole number from 1 on.
    """
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batches: batch_size must be a whole number from 1 on, got {batch_size!r}")
    count = len(lengths)
    order = tg.randperm(count, generator=generator).tolist() if shuffle else list(range(count))
    if shuffle:
        pool = 32 * batch_size
        pools = [sorted(order[k : k + pool], key=lambda n: lengths[n]) for k in range(0, count, pool)]
        order = [n for numbers in pools for n in numbers]
    cut = [order[k : k + batch_size] for k in range(0, count, batch_size)]
    for k in tg.randperm(len(cut), generator=generator).tolist() if shuffle else range(len(cut)):
        yield cut[k]

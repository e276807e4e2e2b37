"""Samplers: in which order a dataset's examples come, and which of them together."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence, Sized
from itertools import accumulate, islice
from typing import Any, Generic, TypeVar

import tinygrad_seq as tg

from ..batches import batches

T_co = TypeVar("T_co", covariant=True)


class Sampler(Generic[T_co]):
    """Numbers of examples: write `__iter__`, and `__len__` where the number of them is known."""

    def __init__(self, data_source: Any = None) -> None:
        pass

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__} has no __iter__ method: write one")


class SequentialSampler(Sampler[int]):
    """All examples in their order."""

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """Examples in random order.

    Args:
        replacement: draw each anew from all, so that one can come several times.
        num_samples: how many to draw, as many as there are unless given; without replacement, all come before one
            comes again.
        generator: the random numbers, the default stream unless given.
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: tg.Generator | None = None,
    ) -> None:
        if num_samples is not None and not _whole(num_samples):
            raise ValueError(f"RandomSampler: num_samples must be a whole number from 1 on, got {num_samples!r}")
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator

    @property
    def num_samples(self) -> int:
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        count, left = len(self.data_source), self.num_samples
        if self.replacement:
            yield from tg.randint(count, (left,), generator=self.generator).tolist()
            return
        while left > 0 and count:
            yield from tg.randperm(count, generator=self.generator).tolist()[:left]
            left -= count

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """These examples in random order."""

    def __init__(self, indices: Sequence[int], generator: tg.Generator | None = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        for i in tg.randperm(len(self.indices), generator=self.generator).tolist():
            yield self.indices[i]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """Examples drawn with these weights, which need not add up to 1.

    Raises:
        ValueError: if a weight is negative or not finite, or none is positive; without replacement, if fewer than
            num_samples are positive.
    """

    def __init__(
        self,
        weights: Sequence[float] | tg.Tensor,
        num_samples: int,
        replacement: bool = True,
        generator: tg.Generator | None = None,
    ) -> None:
        if not _whole(num_samples):
            raise ValueError(
                f"WeightedRandomSampler: num_samples must be a whole number from 1 on, got {num_samples!r}"
            )
        self.weights: tg.Tensor = tg.as_tensor(weights).detach().to(tg.float64)
        if self.weights.ndim != 1:
            raise ValueError(f"WeightedRandomSampler: takes one weight an example, got shape {self.weights.shape}")
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        if not self.replacement:
            yield from tg.multinomial(self.weights, self.num_samples, generator=self.generator).tolist()
            return
        weights = self.weights.tolist()
        cumulative = list(accumulate(weights))
        if not 0 < cumulative[-1] < float("inf") or min(weights) < 0:
            raise ValueError("WeightedRandomSampler: weights must be finite, not negative, and not all zero")
        for u in tg.rand(self.num_samples, dtype=tg.float64, generator=self.generator).tolist():
            yield bisect_right(cumulative, u * cumulative[-1])

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """The numbers of a sampler, `batch_size` at a time; the last ones too, if fewer, unless `drop_last`."""

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        if not _whole(batch_size):
            raise ValueError(f"BatchSampler: batch_size must be a whole number from 1 on, got {batch_size!r}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        numbers = iter(self.sampler)
        while batch := list(islice(numbers, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def __len__(self) -> int:
        return batch_count(len(self.sampler), self.batch_size, self.drop_last)  # type: ignore[arg-type]


class BucketBatchSampler(Sampler[list[int]]):
    """Batches of sequences of similar lengths, so that little is padded; see `nn.utils.batches`.

    >>> batches = BucketBatchSampler([len(s) for s in sequences], 32)
    >>> DataLoader(sequences, batch_sampler=batches, collate_fn=nn.utils.rnn.pad_sequence)
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        drop_last: bool = False,
        *,
        shuffle: bool = True,
        generator: tg.Generator | None = None,
    ) -> None:
        if not _whole(batch_size):
            raise ValueError(f"BucketBatchSampler: batch_size must be a whole number from 1 on, got {batch_size!r}")
        self.lengths = lengths
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.shuffle = shuffle
        self.generator = generator

    def __iter__(self) -> Iterator[list[int]]:
        for batch in batches(self.lengths, self.batch_size, shuffle=self.shuffle, generator=self.generator):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def __len__(self) -> int:
        return batch_count(len(self.lengths), self.batch_size, self.drop_last)


def batch_count(count: int, batch_size: int, drop_last: bool) -> int:
    """How many batches that many examples make."""
    return count // batch_size if drop_last else -(-count // batch_size)


def _whole(number: Any) -> bool:
    """Whether this is a whole number from 1 on."""
    return isinstance(number, int) and not isinstance(number, bool) and number > 0

"""Datasets: examples by number, or one after the other."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from math import floor, isclose
from typing import Any, Generic, TypeVar

import tinygrad_seq as tg
from tinygrad_seq import Tensor

T_co = TypeVar("T_co", covariant=True)


class Dataset(Generic[T_co]):
    """Examples by number: write `__getitem__` and `__len__`. A list is one as well."""

    def __getitem__(self, index: Any) -> T_co:
        raise NotImplementedError(f"{type(self).__name__} has no __getitem__ method: write one")

    def __iter__(self) -> Iterator[T_co]:
        """The examples in their order, up to the first IndexError."""
        index = 0
        try:
            while True:
                yield self[index]
                index += 1
        except IndexError:
            return

    def __add__(self, other: Any) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T_co]):
    """Examples one after the other, as from a stream: write `__iter__`."""

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__} has no __iter__ method: write one")


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """The rows of tensors: example n is the tuple of the n-th row of each.

    Raises:
        ValueError: unless they all have as many rows.
    """

    def __init__(self, *tensors: Tensor) -> None:
        if not tensors or any(not isinstance(t, Tensor) or not t.ndim for t in tensors):
            raise TypeError("TensorDataset: takes tensors of one dimension or more")
        if any(len(t) != len(tensors[0]) for t in tensors):
            raise ValueError(f"TensorDataset: tensors have {[len(t) for t in tensors]} rows; takes as many of each")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])


class Subset(Dataset[T_co]):
    """The examples of these numbers of another dataset."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> T_co:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)


class ConcatDataset(Dataset[Any]):
    """The examples of several datasets, one dataset after the other."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets: list[Any] = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset: takes one dataset or more, got none")
        if any(isinstance(d, IterableDataset) for d in self.datasets):
            raise TypeError("ConcatDataset: takes datasets of examples by number, got an IterableDataset")
        self.cumulative_sizes: list[int] = list(accumulate(len(d) for d in self.datasets))

    def __getitem__(self, index: int) -> Any:
        count = len(self)
        if not -count <= index < count:
            raise IndexError(f"ConcatDataset: index {index} is out of range for {count} examples")
        index %= count
        place = bisect_right(self.cumulative_sizes, index)
        return self.datasets[place][index - (self.cumulative_sizes[place - 1] if place else 0)]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


def random_split(dataset: Any, lengths: Sequence[float], generator: tg.Generator | None = None) -> list[Subset[Any]]:
    """Subsets of these lengths, or of these fractions that add up to 1, which share out a dataset at random.

    What is left over by rounding fractions down goes to the subsets in turn, one example each.

    Raises:
        ValueError: if the lengths do not add up to the dataset's.
    """
    count = len(dataset)
    sizes = list(lengths)
    if isclose(sum(sizes), 1) and sum(sizes) <= 1 and all(0 <= f <= 1 for f in sizes):
        sizes = [floor(count * fraction) for fraction in sizes]
        for i in range(count - int(sum(sizes))):
            sizes[i % len(sizes)] += 1
    if sum(sizes) != count or any(not isinstance(n, int) or n < 0 for n in sizes):
        raise ValueError(f"random_split: lengths {list(lengths)} do not add up to the {count} examples, nor to 1")
    order = tg.randperm(count, generator=generator).tolist()
    ends = list(accumulate(int(n) for n in sizes))
    return [Subset(dataset, order[end - int(n) : end]) for end, n in zip(ends, sizes, strict=True)]

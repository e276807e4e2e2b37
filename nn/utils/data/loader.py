"""`DataLoader`: batches of a dataset, in PyTorch's words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import tinygrad_seq as tg
from tinygrad_seq import Tensor

from .collate import default_collate, default_convert, mapped
from .datasets import IterableDataset
from .samplers import BatchSampler, RandomSampler, SequentialSampler, batch_count
from .workers import Workers


class _Fetch:
    """Makes a batch of numbers of examples; of one number, an example on its own."""

    def __init__(self, dataset: Any, collate: Callable[[Any], Any], batched: bool) -> None:
        self.dataset, self.collate, self.batched = dataset, collate, batched

    def __call__(self, indices: Any) -> Any:
        if not self.batched:
            return self.collate(self.dataset[indices])
        several = getattr(self.dataset, "__getitems__", None)
        return self.collate(several(indices) if several else [self.dataset[i] for i in indices])


class DataLoader:
    """Batches of a dataset, an epoch each time it is iterated over.

    Args:
        dataset: examples by number (a `Dataset`, a list), or one after the other (an `IterableDataset`).
        batch_size: examples in a batch; None gives each on its own.
        shuffle: have them in random order, another one in each epoch.
        sampler: numbers of examples in another order.
        batch_sampler: lists of numbers, in place of batch_size, shuffle, sampler and drop_last.
        num_workers: processes that fetch batches ahead. They load the program's main file, so it must start its work
            under `if __name__ == "__main__":`; dataset and functions go to them by pickle.
        collate_fn: makes a batch of a list of examples; see `default_collate`.
        pin_memory: put tensors into pinned memory, where there is a GPU.
        drop_last: leave out the last batch if it is smaller.
        timeout: seconds to wait for a worker; 0 waits for ever.
        worker_init_fn: called in each worker, with its number.
        multiprocessing_context: how workers start, "spawn" (the default) or "forkserver".
        generator: the random numbers, the default stream unless given.
        prefetch_factor: batches that each worker fetches ahead, 2 unless given.
        persistent_workers: keep the workers from epoch to epoch.
        pin_memory_device: for PyTorch's programs; does nothing.

    Raises:
        ValueError: if the settings contradict each other.
        TypeError: from workers, if the dataset or a function cannot be pickled.
        RuntimeError: if a worker ends or takes longer than `timeout`.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[int] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: tg.Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
    ) -> None:
        streamed = isinstance(dataset, IterableDataset)
        method = "spawn" if multiprocessing_context is None else multiprocessing_context
        method = method if isinstance(method, str) else method.get_start_method()
        if not isinstance(num_workers, int) or num_workers < 0 or timeout < 0:
            raise ValueError(f"DataLoader: num_workers and timeout are not negative, got {num_workers!r}, {timeout!r}")
        for wrong, why in (
            (streamed and (shuffle or sampler or batch_sampler), "an IterableDataset has its own order; shuffle there"),
            (streamed and num_workers, "an IterableDataset has one order, so it takes num_workers=0"),
            (sampler is not None and shuffle, "sampler and shuffle both say the order; give one"),
            (
                batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last),
                "batch_sampler says it all; leave out batch_size, shuffle, sampler and drop_last",
            ),
            (batch_size is None and drop_last, "without a batch_size there is no last batch to drop"),
            (not num_workers and (prefetch_factor or persistent_workers), "prefetch_factor and persistent_workers are "
             "of workers; give num_workers, too"),
            (method not in ("spawn", "forkserver"), f"multiprocessing_context takes 'spawn' or 'forkserver', got "
             f"{method!r}: a fork beside a running product may hang"),
            (prefetch_factor is not None and prefetch_factor < 1, "prefetch_factor must be 1 or more"),
        ):  # fmt: skip
            if wrong:
                raise ValueError(f"DataLoader: {why}")
        self.dataset: Any = dataset
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.generator = generator
        self.prefetch_factor = prefetch_factor
        self.persistent_workers = persistent_workers
        self._method = method
        self._workers: Workers | None = None
        if sampler is None and not streamed:
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler or (), batch_size, drop_last)
        elif batch_sampler is not None:
            batch_size = None
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.collate_fn: Callable[[Any], Any] = collate_fn or (
            default_convert if batch_sampler is None else default_collate
        )

    def __len__(self) -> int:
        """How many batches an epoch has."""
        if isinstance(self.dataset, IterableDataset):
            count = len(self.dataset)  # type: ignore[arg-type]  # where it has a length
            return count if self.batch_size is None else batch_count(count, self.batch_size, self.drop_last)
        return len(self.sampler if self.batch_sampler is None else self.batch_sampler)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        # drawn with and without workers, so that the order of the examples is the same
        seed = tg.randint(2**53, generator=self.generator).item()
        found = self._streamed() if isinstance(self.dataset, IterableDataset) else self._fetched(seed)
        if not (self.pin_memory and tg.cuda.is_available()):
            return found
        return (mapped(_pinned, batch) for batch in found)

    def _streamed(self) -> Iterator[Any]:
        examples = iter(self.dataset)
        if self.batch_size is None:
            yield from map(self.collate_fn, examples)
            return
        while batch := list(islice(examples, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield self.collate_fn(batch)

    def _fetched(self, seed: int) -> Iterator[Any]:
        fetch = _Fetch(self.dataset, self.collate_fn, self.batch_sampler is not None)
        numbers = iter(self.sampler if self.batch_sampler is None else self.batch_sampler)  # type: ignore[arg-type]
        if not self.num_workers:
            yield from map(fetch, numbers)
            return
        workers, self._workers = self._workers, None  # lent: an iterator beside this one has workers of its own
        workers = workers or Workers(
            fetch, self.num_workers, self.prefetch_factor or 2, self._method, self.worker_init_fn, seed
        )
        try:
            yield from workers.batches(numbers, self.timeout)
        except BaseException:
            workers.close()
            raise
        if self.persistent_workers and self._workers is None:
            self._workers = workers
        else:
            workers.close()


def _pinned(x: Any) -> Any:
    return x.pin_memory() if isinstance(x, Tensor) and x.device.type == "cpu" else x

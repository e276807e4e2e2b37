"""Datasets, samplers, batches and the loader."""

from __future__ import annotations

import os
from collections import Counter, namedtuple
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg
from nn.utils.data import (
    BatchSampler,
    BucketBatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    default_convert,
    random_split,
)

from . import loading

Pair = namedtuple("Pair", "a b")


class Stream(IterableDataset[int]):
    def __iter__(self) -> Any:
        return iter(range(5))


def test_datasets() -> None:
    x, y = tg.arange(6).reshape(3, 2), tg.arange(3)
    rows = TensorDataset(x, y)
    assert len(rows) == 3
    assert [part.tolist() for part in rows[1]] == [[2, 3], 1]
    assert Subset(rows, [2, 0])[0][1].item() == 2
    assert Subset(rows, [2, 0])[[1, 0]][1].tolist() == [0, 2]
    both = Subset(rows, [2]) + rows
    assert isinstance(both, ConcatDataset)
    assert [both[i][1].item() for i in range(-4, 4)] == [2, 0, 1, 2] * 2
    for index in (4, -5):
        with pytest.raises(IndexError, match="out of range for 4 examples"):
            both[index]
    with pytest.raises(ValueError, match=r"have \[3, 2\] rows"):
        TensorDataset(x, x[:2])
    with pytest.raises(TypeError, match="one dimension or more"):
        TensorDataset(tg.tensor(1.0))
    with pytest.raises(NotImplementedError, match="Dataset has no __getitem__"):
        Dataset[int]()[0]
    with pytest.raises(TypeError, match="got an IterableDataset"):
        ConcatDataset([Stream()])
    with pytest.raises(ValueError, match="got none"):
        ConcatDataset([])


def test_random_split() -> None:
    parts = random_split(range(10), [7, 3], generator=tg.Generator(1))
    again = random_split(range(10), [7, 3], tg.Generator(1))
    assert [list(p) for p in parts] == [list(p) for p in again]
    assert [len(p) for p in parts] == [7, 3]
    assert sorted(x for p in parts for x in p) == list(range(10))
    assert [len(p) for p in random_split(range(11), [0.5, 0.25, 0.25])] == [6, 3, 2]
    for wrong in ([7, 2], [11, -1], [0.5, 0.6], [5.5, 4.5]):
        with pytest.raises(ValueError, match="do not add up to the 10 examples"):
            random_split(range(10), wrong)


def test_samplers() -> None:
    tg.manual_seed(0)
    assert list(SequentialSampler("abc")) == [0, 1, 2]
    drawn = RandomSampler(range(50))
    first = list(drawn)
    assert sorted(first) == list(range(50))
    assert first != list(drawn)
    assert sorted(RandomSampler(range(4), num_samples=6))[:2] != [0, 0, 0]
    assert Counter(Counter(RandomSampler(range(4), num_samples=10)).values()) == {2: 2, 3: 2}
    assert len(RandomSampler(range(4), num_samples=10)) == 10
    drawn = RandomSampler(range(3), replacement=True, num_samples=200)
    assert set(drawn) == {0, 1, 2}
    assert sorted(SubsetRandomSampler([3, 5, 8])) == [3, 5, 8]
    for generator in (tg.Generator(3),):
        a = list(RandomSampler(range(20), generator=generator))
        assert a == list(RandomSampler(range(20), generator=tg.Generator(3)))
    with pytest.raises(ValueError, match="num_samples must be a whole number from 1 on"):
        RandomSampler(range(3), num_samples=0)
    with pytest.raises(NotImplementedError, match="Sampler has no __iter__"):
        iter(Sampler[int]())


def test_weighted_sampler() -> None:
    weights = [1.0, 0.0, 3.0, 4.0]
    drawn = Counter(WeightedRandomSampler(weights, 4000, generator=tg.Generator(0)))
    assert drawn[1] == 0
    for n, weight in enumerate(weights):
        assert abs(drawn[n] / 4000 - weight / 8) < 0.03
    assert sorted(WeightedRandomSampler(weights, 3, replacement=False)) == [0, 2, 3]
    assert len(WeightedRandomSampler(tg.tensor(weights), 7)) == 7
    with pytest.raises(ValueError, match="cannot draw 4 different"):
        list(WeightedRandomSampler(weights, 4, replacement=False))
    for wrong in ([0.0, 0.0], [1.0, -1.0, 1.0], [1.0, float("inf")], [float("nan")]):
        with pytest.raises(ValueError, match="finite, not negative, and not all zero"):
            list(WeightedRandomSampler(wrong, 2))
    with pytest.raises(ValueError, match="one weight an example"):
        WeightedRandomSampler([[1.0]], 2)  # type: ignore[list-item]


def test_batch_samplers() -> None:
    assert list(BatchSampler(SequentialSampler(range(5)), 2, False)) == [[0, 1], [2, 3], [4]]
    assert list(BatchSampler(range(5), 2, True)) == [[0, 1], [2, 3]]
    assert [len(BatchSampler(range(5), 2, drop)) for drop in (False, True)] == [3, 2]
    lengths = [3, 9, 1, 7, 2, 8, 4]
    buckets = BucketBatchSampler(lengths, 2, generator=tg.Generator(0))
    batches = list(buckets)
    assert len(batches) == len(buckets) == 4
    assert sorted(n for b in batches for n in b) == list(range(7))
    assert all(abs(lengths[b[0]] - lengths[b[-1]]) <= 2 for b in batches)
    assert batches != list(buckets)
    dropped = BucketBatchSampler(lengths, 2, True)
    assert [len(b) for b in dropped] == [2, 2, 2]
    assert len(dropped) == 3
    for sampler in (lambda: BatchSampler(range(3), 0, False), lambda: BucketBatchSampler([1], 1.5)):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="batch_size must be a whole number"):
            sampler()


def shown(value: Any) -> Any:
    """A batch in a form that can be compared, of PyTorch's tensors or ours."""
    if hasattr(value, "tolist"):
        return str(value.dtype).removeprefix("torch."), value.tolist()
    if isinstance(value, dict):
        return {key: shown(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value), [shown(item) for item in value]
    return value


def batches_of(tensor: Any) -> list[Any]:
    return [
        [tensor([1.0, 2.0]), tensor([3.0, 4.0])],
        [1, 2, 3],
        [1.5, 2.5],
        [True, False],
        ["a", "bc"],
        [b"a", b"b"],
        [(tensor([1.0]), 1), (tensor([2.0]), 2)],
        [[1, 2.5], [3, 4.5]],
        [{"x": tensor([1, 2]), "y": {"z": 1}}, {"x": tensor([3, 4]), "y": {"z": 2}}],
        [Pair(1, "a"), Pair(2, "b")],
        [np.ones(2, "f4"), np.zeros(2, "f4")],
        [np.float64(1.5), np.float64(2.5)],
        [np.int32(3), np.int32(4)],
        [(np.arange(3), ("a", [1]))],
    ]


def test_default_collate() -> None:
    expected = [
        ("float32", [[1, 2], [3, 4]]),
        ("int64", [1, 2, 3]),
        ("float64", [1.5, 2.5]),
        ("bool", [True, False]),
        (list, ["a", "bc"]),
        (list, [b"a", b"b"]),
        (list, [("float32", [[1], [2]]), ("int64", [1, 2])]),
        (list, [("int64", [1, 3]), ("float64", [2.5, 4.5])]),
        {"x": ("int64", [[1, 2], [3, 4]]), "y": {"z": ("int64", [1, 2])}},
        (Pair, [("int64", [1, 2]), (tuple, ["a", "b"])]),
        ("float32", [[1, 1], [0, 0]]),
        ("float64", [1.5, 2.5]),
        ("int32", [3, 4]),
        (list, [("int64", [[0, 1, 2]]), (list, [(tuple, ["a"]), (list, [("int64", [1])])])]),
    ]
    assert [shown(default_collate(batch)) for batch in batches_of(tg.tensor)] == expected
    for batch, error, message in (
        ([tg.ones(2), tg.ones(3)], ValueError, r"shapes \[\(2,\), \(3,\)\]; give .* a collate_fn that pads"),
        ([[1, 2], [3]], ValueError, r"examples have \[1, 2\] parts"),
        ([{1}, {2}], TypeError, "got a set; give the DataLoader a collate_fn"),
        ([np.array(["a"])], TypeError, "takes arrays of numbers, got one of <U1"),
    ):
        with pytest.raises(error, match=message):
            default_collate(batch)


def test_default_collate_is_pytorchs() -> None:
    torch = pytest.importorskip("torch", reason="the oracle")
    from torch.utils.data import default_collate as theirs

    for mine, other in zip(batches_of(tg.tensor), batches_of(torch.tensor), strict=True):
        assert shown(default_collate(mine)) == shown(theirs(other))


def test_loader() -> None:
    loader = DataLoader(TensorDataset(tg.arange(10), tg.arange(10.0)), batch_size=4)
    assert [x.tolist() for x, _ in loader] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(loader) == 3
    assert next(iter(loader))[1].dtype == tg.float32
    assert [b.tolist() for b in DataLoader(list(range(5)), 2, drop_last=True)] == [[0, 1], [2, 3]]
    assert len(DataLoader(list(range(5)), 2, drop_last=True)) == 2
    assert [b.tolist() for b in DataLoader([5, 6])] == [[5], [6]]
    tg.manual_seed(1)
    shuffled = DataLoader(list(range(40)), batch_size=40, shuffle=True)
    epochs = [next(iter(shuffled)).tolist() for _ in range(2)]
    assert epochs[0] != epochs[1]
    assert sorted(epochs[0]) == list(range(40))
    tg.manual_seed(1)
    assert epochs == [next(iter(shuffled)).tolist() for _ in range(2)]
    seeded = [next(iter(DataLoader(range(40), 40, True, generator=tg.Generator(2)))).tolist() for _ in range(2)]
    assert seeded[0] == seeded[1]
    assert list(DataLoader(["a", "b", "c"], 2, sampler=[2, 1, 0], collate_fn="".join)) == ["cb", "a"]
    assert list(DataLoader(["a", "b"], batch_sampler=[[1], [0, 1]], collate_fn="".join)) == ["b", "ab"]
    assert next(iter(DataLoader([np.ones(1), "b"], batch_size=None))).tolist() == [1]
    assert len(DataLoader([1, 2, 3], batch_size=None)) == 3
    assert isinstance(default_convert((np.ones(1), "a"))[0], tg.Tensor)
    assert next(iter(DataLoader([1], pin_memory=True))).tolist() == [1]


def test_batches_of_similar_lengths() -> None:
    sequences = [tg.ones(n) for n in (5, 1, 4, 2)]
    loader = DataLoader(
        sequences, batch_sampler=BucketBatchSampler([5, 1, 4, 2], 2), collate_fn=nn.utils.rnn.pad_sequence
    )
    assert sorted(batch.shape for batch in loader) == [(2, 2), (5, 2)]


def test_streams() -> None:
    assert [b.tolist() for b in DataLoader(Stream(), 2)] == [[0, 1], [2, 3], [4]]
    assert [b.tolist() for b in DataLoader(Stream(), 2, drop_last=True)] == [[0, 1], [2, 3]]
    assert list(DataLoader(Stream(), None)) == [0, 1, 2, 3, 4]
    for settings in ({"shuffle": True}, {"sampler": [1]}, {"num_workers": 1}):
        with pytest.raises(ValueError, match="an IterableDataset has"):
            DataLoader(Stream(), **settings)
    with pytest.raises(NotImplementedError, match="IterableDataset has no __iter__"):
        iter(IterableDataset[int]())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampler": [0], "shuffle": True}, "sampler and shuffle both"),
        ({"batch_sampler": [[0]], "batch_size": 2}, "batch_sampler says it all"),
        ({"batch_sampler": [[0]], "drop_last": True}, "batch_sampler says it all"),
        ({"batch_size": None, "drop_last": True}, "no last batch"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"num_workers": -1}, "not negative"),
        ({"prefetch_factor": 2}, "are of workers"),
        ({"persistent_workers": True}, "are of workers"),
        ({"num_workers": 1, "prefetch_factor": 0.5}, "must be 1 or more"),
        ({"num_workers": 1, "multiprocessing_context": "fork"}, "a fork beside a running product may hang"),
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataLoader([1, 2], **settings)


def test_workers() -> None:
    tg.manual_seed(0)
    loader = DataLoader(loading.Squares(), 3, shuffle=True, num_workers=2, persistent_workers=True)
    epochs = [list(loader) for _ in range(2)]
    tg.manual_seed(0)
    alone = DataLoader(loading.Squares(), 3, shuffle=True)
    for epoch in epochs:
        expected = list(alone)
        assert [b["n"].tolist() for b in epoch] == [b["n"].tolist() for b in expected]
        assert [b["x"].tolist() for b in epoch] == [b["x"].tolist() for b in expected]
    pids = [b["pid"].tolist()[0] for epoch in epochs for b in epoch]
    assert len(set(pids)) == 2
    assert os.getpid() not in pids
    assert pids[:4] == pids[4:]


def test_two_epochs_at_once_have_workers_of_their_own() -> None:
    def numbers(batch: Any) -> list[int]:
        return batch["n"].tolist()

    loader = DataLoader(loading.Squares(), 3, num_workers=1, persistent_workers=True)
    expected = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert [[numbers(a), numbers(b)] for a, b in zip(loader, loader, strict=True)] == [[n, n] for n in expected]
    kept = loader._workers
    assert kept is not None
    assert [numbers(a) for a in loader] == expected
    assert loader._workers is kept
    first: Any = iter(loader)
    assert numbers(next(first)) == expected[0]
    assert [numbers(b) for b in loader] == expected  # while the first one is under way
    first.close()
    assert [numbers(b) for b in loader] == expected
    assert kept.workers[0].process.exitcode is not None  # lent to the one that was left early, and closed with it


def test_workers_draw_the_same_numbers_again() -> None:
    def epoch() -> list[Any]:
        tg.manual_seed(5)
        return [shown(b) for b in DataLoader(loading.Augmented(), 2, num_workers=2, prefetch_factor=1)]

    first = epoch()
    assert first == epoch()
    draws = [str(batch[1][0]) for batch in first]
    assert len(set(draws)) == len(draws)  # no two workers draw the same


def test_workers_are_told_their_numbers() -> None:
    loader = DataLoader(
        loading.Squares(), 4, num_workers=2, worker_init_fn=loading.announce, collate_fn=loading.which, timeout=60
    )
    assert list(loader) == [("0", [0, 1, 2, 3]), ("1", [4, 5, 6, 7]), ("0", [8, 9])]


def test_errors_in_workers_are_clear() -> None:
    with pytest.raises(KeyError, match="example seven") as caught:
        list(DataLoader(loading.Broken(), 2, num_workers=2))
    (note,) = caught.value.__notes__
    assert note.startswith("In worker 1 of a DataLoader:\nTraceback")
    assert "loading.py" in note  # where, in the worker
    with pytest.raises(RuntimeError, match="Unpicklable: a lock"):
        list(DataLoader(loading.Locked(), 2, num_workers=1))
    with pytest.raises(LookupError, match="no data for worker 0"):
        list(DataLoader(loading.Squares(), 2, num_workers=1, worker_init_fn=loading.fail))
    with pytest.raises(RuntimeError, match=r"worker 0 ended before its batch was made; .*__main__"):
        list(DataLoader(loading.Killed(), 2, num_workers=1))
    with pytest.raises(RuntimeError, match=r"worker 0 gave no batch within 3 s"):
        list(DataLoader(loading.Slow(), 2, num_workers=1, timeout=3))
    with pytest.raises(TypeError, match=r"go to the workers by pickle: .*; define them at the top of a module"):
        list(DataLoader(loading.Squares(), 2, num_workers=1, collate_fn=lambda batch: batch))


def test_a_loader_can_be_left_early() -> None:
    loader = DataLoader(loading.Squares(), 1, num_workers=1)
    for batch in loader:
        assert batch["n"].tolist() == [0]
        break
    assert len(list(loader)) == 10

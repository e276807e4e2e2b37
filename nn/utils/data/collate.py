"""Examples put together to a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tinygrad_seq as tg
from tinygrad_seq import Tensor


def default_collate(batch: Sequence[Any]) -> Any:
    """A batch of a list of examples: tensors and arrays are stacked, numbers become a tensor, strings stay as they are.

    Dictionaries, named tuples and lists are gone into: a list of pairs becomes a pair (a list) of batches.

    Raises:
        TypeError: for anything else.
        ValueError: if examples differ in shape or length.
    """
    first = batch[0]
    if isinstance(first, Tensor):
        if any(t.shape != first.shape for t in batch):
            raise ValueError(
                f"default_collate: cannot stack tensors of shapes {sorted({t.shape for t in batch})}; give the "
                "DataLoader a collate_fn that pads, such as nn.utils.rnn.pad_sequence, or list"
            )
        return tg.stack(list(batch))
    if _is_array(first):
        if first.dtype.kind not in "biufc":
            raise TypeError(f"default_collate: takes arrays of numbers, got one of {first.dtype}")
        return default_collate([tg.as_tensor(array) for array in batch])
    if isinstance(first, float):
        return tg.tensor(list(batch), dtype=tg.float64)
    if isinstance(first, int):
        return tg.tensor(list(batch))
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return {key: default_collate([example[key] for example in batch]) for key in first}
    if isinstance(first, Sequence):
        if any(len(example) != len(first) for example in batch):
            raise ValueError(f"default_collate: examples have {sorted({len(e) for e in batch})} parts; takes as many")
        parts = [default_collate(part) for part in zip(*batch, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else parts
    raise TypeError(
        f"default_collate: takes tensors, arrays, numbers, strings, dictionaries and lists, got a "
        f"{type(first).__name__}; give the DataLoader a collate_fn"
    )


def default_convert(example: Any) -> Any:
    """An example on its own, with its arrays as tensors."""
    return mapped(lambda x: tg.as_tensor(x) if _is_array(x) and x.dtype.kind in "biufc" else x, example)


def mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """The same containers with `function` of what is in them."""
    if isinstance(value, Mapping):
        return {key: mapped(function, item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*[mapped(function, item) for item in value])
    if isinstance(value, (list, tuple)):
        return type(value)([mapped(function, item) for item in value])
    return function(value)


def _is_array(value: Any) -> bool:
    return hasattr(value, "dtype") and not isinstance(value, Tensor)

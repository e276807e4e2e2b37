"""The forms in which sequences come to a recurrent layer, as one: packed steps, the longest sequence first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tinygrad_seq as tg
from tinygrad_seq import Tensor

from .utils.rnn import PackedSequence, Packing, pad_sequence, require_lengths, valid_steps


class Layout(NamedTuple):
    """Sequences as a layer walks over them, and the way back.

    Attributes:
        data: (N, F) the steps, packed: all first ones, all second ones, ...
        batch_sizes: how many sequences have each step.
        batch: B.
        restore: brings outputs (N, O) to the form in which the input came.
        order: (B,) which sequence stands where, the longest first; None if they stand as they were given.
        batched: whether there is a batch at all.
    """

    data: Tensor
    batch_sizes: list[int]
    batch: int
    restore: Callable[[Tensor], Any]
    order: Tensor | None = None
    batched: bool = True

    @classmethod
    def of(cls, name: str, x: Any, features: int, batch_first: bool, lengths: Any, mask: Any) -> Layout:
        """Bring any accepted form of sequences to this one.

        Raises:
            ValueError: if it is none, or sizes do not fit; the message begins with `name`.
        """
        if (lengths is not None) + (mask is not None) > (0 if isinstance(x, (PackedSequence, list, tuple)) else 1):
            raise ValueError(
                f"{name}: pass a padded tensor with lengths or with a mask, not both, and neither with packed "
                "sequences or a list, which know their lengths"
            )
        if isinstance(x, PackedSequence):
            _require_features(name, x.data, 2, features, "packed steps (N, F)")
            B = int(x.batch_sizes[0]) if x.sorted_indices is None and len(x.batch_sizes) else 0
            B = B if x.sorted_indices is None else len(x.sorted_indices)
            return cls(x.data, x.batch_sizes.tolist(), B, lambda y: x.map(lambda _: y), x.sorted_indices)
        if isinstance(x, (list, tuple)):
            return _of_list(name, x, features)
        x = tg.as_tensor(x)
        if x.ndim not in (2, 3):
            raise ValueError(f"{name}: x has shape {x.shape}; takes {_forms(batch_first)}, or packed sequences")
        _require_features(name, x, x.ndim, features, _forms(batch_first))
        batched = x.ndim == 3
        if not batched and (lengths is not None or mask is not None):
            raise ValueError(f"{name}: lengths and masks are for batches, but x has shape {x.shape} without one")
        x = x.transpose(0, 1) if batched and batch_first else x if batched else x.unsqueeze(1)
        T, B = x.shape[:2]

        def formed(y: Tensor) -> Tensor:
            return y.transpose(0, 1) if batched and batch_first else y if batched else y.squeeze(1)

        if lengths is None and mask is None:
            if T == 0:
                raise ValueError(f"{name}: the sequence is empty (T = 0); there is no output of no steps")
            return cls(
                x.reshape(T * B, features),
                [B] * T,
                B,
                lambda y: formed(y.reshape(T, B, y.shape[-1])),
                batched=batched,
            )
        if lengths is not None:
            valid = valid_steps(require_lengths(name, lengths, T, B), T, x.device)
        else:
            given = mask if isinstance(mask, Tensor) else tg.as_tensor(mask).to(x.device)
            valid = given.transpose(0, 1) if batch_first and given.ndim == 2 else given
            if valid.shape != (T, B) or valid.dtype != tg.bool:
                raise ValueError(
                    f"{name}: the mask must be booleans of shape {(B, T) if batch_first else (T, B)}, got "
                    f"{given.shape} of {valid.dtype}"
                )
        packing = Packing.of(valid)
        return cls(packing.pack(x), packing.batch_sizes, B, lambda y: formed(packing.pad(y)), packing.order)

    def sorted(self, rows: Tensor) -> Tensor:
        """(B, ...) in the order of the data."""
        return rows if self.order is None else rows[self.order]

    def unsorted(self, rows: Tensor) -> Tensor:
        """(B, ...) in the order in which the sequences were given."""
        return rows if self.order is None else rows[self.order.argsort()]


def _of_list(name: str, x: Any, features: int) -> Layout:
    """A list of sequences (T_b, F)."""
    sequences = [tg.as_tensor(s) for s in x]
    if not sequences:
        raise ValueError(f"{name}: the list of sequences is empty")
    for s in sequences:
        _require_features(name, s, 2, features, "a list of sequences (T_b, F)")
    padded, counts = pad_sequence(sequences), [len(s) for s in sequences]
    packing = Packing.of(valid_steps(counts, len(padded), padded.device))

    def listed(y: Tensor) -> list[Tensor]:
        return [column[:n] for column, n in zip(packing.pad(y).unbind(1), counts, strict=True)]

    return Layout(packing.pack(padded), packing.batch_sizes, len(counts), listed, packing.order)


def _forms(batch_first: bool) -> str:
    return f"{'(B, T, F)' if batch_first else '(T, B, F)'}, or (T, F) without a batch"


def _require_features(name: str, x: Tensor, ndim: int, features: int, form: str) -> None:
    if x.ndim != ndim or x.shape[-1] != features:
        raise ValueError(
            f"{name}: x has shape {x.shape}; takes {form}, its last dimension input_size={features}. Did you forget "
            "the Embedding, or swap batch and features?"
        )

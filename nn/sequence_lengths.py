"""`lengths`, `mask`, lists and packed sequences of a recurrent layer, as one form: packed steps, the longest first.

A program has the same shapes at each replay, so where lengths vary it cannot pack: there all B sequences have all T
steps, and the scan passes over those that are padding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tinygrad_seq as tg
from tinygrad_seq import Tensor
from tinygrad_seq.graph.tracing_hook import varies

from .utils.rnn import PackedSequence, Packing, pad_sequence, require_known, require_lengths, valid_steps


class Padding(NamedTuple):
    """Which of the steps of padded sequences are there.

    Attributes:
        valid: booleans (T, B, 1).
        others: (B,) the place t·B + b of a step that is there for each sequence, its own if it has one.
    """

    valid: Tensor
    others: Tensor

    @classmethod
    def of(cls, valid: Tensor) -> Padding:
        """From a mask (T, B), with a step at least."""
        T, B = valid.shape
        steps = valid.long()
        own = steps.argmax(0) * B + tg.arange(B, device=valid.device)
        return cls(valid.reshape(T, B, 1), tg.where(valid.any(0), own, steps.reshape(-1).argmax()))

    def filled(self, data: Tensor) -> Tensor:
        """(T·B, F) with steps that are there in place of padding.

        What a cell makes of them is dropped. But its gradient is 0 times a derivative, which of padding might be nan.
        """
        T, B, _ = self.valid.shape
        others = tg.where(self.valid.any(), data.detach()[self.others], 0.5)  # in the domain of log, atanh, ...
        return tg.where(self.valid, data.reshape(T, B, -1), others).reshape(data.shape)


class SequenceBatch(NamedTuple):
    """A batch of sequences as a layer scans over it, and the way back to the form in which it came.

    Attributes:
        data: (N, F) the steps, packed: all first ones, all second ones, ...
        batch_sizes: how many sequences have each step.
        batch: B.
        restore: brings outputs (N, O) to the form in which the input came.
        order: (B,) which sequence stands where, the longest first; None if they stand as they were given.
        batched: whether there is a batch at all.
        padding: which steps are there, where all sequences have all of them in the data.
    """

    data: Tensor
    batch_sizes: list[int]
    batch: int
    restore: Callable[[Tensor], Any]
    order: Tensor | None = None
    batched: bool = True
    padding: Padding | None = None

    @classmethod
    def of(cls, name: str, x: Any, features: int, batch_first: bool, lengths: Any, mask: Any) -> SequenceBatch:
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
            sizes = require_known(name, x.batch_sizes)
            B = max(sizes, default=0) if x.sorted_indices is None else len(x.sorted_indices)
            return cls(x.data, sizes, B, lambda y: x.map(lambda _: y), x.sorted_indices)
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

        valid = None
        if lengths is not None:
            valid = valid_steps(require_lengths(name, lengths, T, B), T, x.device)
        elif mask is not None:
            given = mask if isinstance(mask, Tensor) else tg.as_tensor(mask).to(x.device)
            valid = given.transpose(0, 1) if batch_first and given.ndim == 2 else given
            if valid.shape != (T, B) or valid.dtype != tg.bool:
                raise ValueError(
                    f"{name}: the mask must be booleans of shape {(B, T) if batch_first else (T, B)}, got "
                    f"{given.shape} of {valid.dtype}"
                )
        elif T == 0:
            raise ValueError(f"{name}: the sequence is empty (T = 0); there is no output of no steps")
        if valid is not None and not varies(valid):
            packing = Packing.of(valid)
            return cls(packing.pack(x), packing.batch_sizes, B, lambda y: formed(packing.pad(y)), packing.order)
        padding = Padding.of(valid) if valid is not None and T * B else None

        def padded(y: Tensor) -> Tensor:
            y = y.reshape(T, B, y.shape[-1])
            return formed(y if padding is None else tg.where(padding.valid, y, 0.0))

        return cls(x.reshape(T * B, features), [B] * T, B, padded, batched=batched, padding=padding)

    def filled(self, data: Tensor) -> Tensor:
        """Data (N, ...) with nothing in it of steps that are not there."""
        return data if self.padding is None else self.padding.filled(data)

    def sorted(self, rows: Tensor) -> Tensor:
        """(B, ...) in the order of the data."""
        return rows if self.order is None else rows[self.order]

    def unsorted(self, rows: Tensor) -> Tensor:
        """(B, ...) in the order in which the sequences were given."""
        return rows if self.order is None else rows[self.order.argsort()]


def _of_list(name: str, x: Any, features: int) -> SequenceBatch:
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

    return SequenceBatch(packing.pack(padded), packing.batch_sizes, len(counts), listed, packing.order)


def _forms(batch_first: bool) -> str:
    return f"{'(B, T, F)' if batch_first else '(T, B, F)'}, or (T, F) without a batch"


def _require_features(name: str, x: Tensor, ndim: int, features: int, form: str) -> None:
    if x.ndim != ndim or x.shape[-1] != features:
        raise ValueError(
            f"{name}: x has shape {x.shape}; takes {form}, its last dimension input_size={features}. Did you forget "
            "the Embedding, or swap batch and features?"
        )

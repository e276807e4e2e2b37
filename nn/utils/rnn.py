"""Sequences of different lengths: padded to one, or packed step by step without padding. PyTorch's names.

Packed, the first steps of all sequences come first, then their second steps, ...; the sequences stand from the longest
to the shortest, so that those that go on are the first rows of every step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

import tinygrad_seq as tg
from tinygrad_seq import Tensor
from tinygrad_seq.graph.tracing_hook import CompileError, require, varies


class PackedSequence(NamedTuple):
    """Sequences without padding.

    Attributes:
        data: the steps (N, ...), N being the sum of all lengths.
        batch_sizes: how many sequences have a first, a second, ... step: integers (T,), on the CPU.
        sorted_indices: (B,) which of the sequences that were given stands where, the longest first; None if they were
            given in that order, and each has a step.
        unsorted_indices: (B,) where each of those given stands now.
    """

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The same sequences with `function` applied to the data (N, ...)."""
        return self._replace(data=function(self.data))

    def to(self, *targets: Any, **settings: Any) -> Self:
        """The same sequences with another dtype or on another device."""
        return self.map(lambda data: data.to(*targets, **settings))


class Packing(NamedTuple):
    """Where the valid steps of padded sequences (T, B) go.

    Attributes:
        positions: (N,) for each packed step its place t·B + b among the padded ones.
        batch_sizes: how many sequences have a first, a second, ... step.
        order: (B,) the sequences, the longest first.
        shape: (T, B).
    """

    positions: Tensor
    batch_sizes: list[int]
    order: Tensor
    shape: tuple[int, int]

    @classmethod
    def of(cls, valid: Tensor) -> Packing:
        """From a mask (T, B) of the steps that are there. A sequence may also begin late, and have gaps."""
        T, B = valid.shape
        lengths = valid.sum(0)
        order = lengths.argsort(descending=True)
        steps = (~valid).argsort(0)  # the steps that are there first, in their order
        first = tg.arange(T, device=valid.device).unsqueeze(1) < lengths[order]
        places = steps * B + tg.arange(B, device=valid.device)
        return cls(places[:, order][first], first.sum(1).tolist(), order, (T, B))

    def pack(self, padded: Tensor) -> Tensor:
        """(T, B, ...) -> (N, ...)."""
        return padded.reshape(self.shape[0] * self.shape[1], *padded.shape[2:])[self.positions]

    def pad(self, data: Tensor, value: float = 0.0) -> Tensor:
        """(N, ...) -> (T, B, ...), with `value` where nothing is."""
        T, B = self.shape
        N = len(data)
        rows = tg.full((T * B,), N, dtype=tg.int64, device=data.device)
        rows[self.positions] = tg.arange(N, device=data.device)
        return tg.cat([data, data.new_full((1, *data.shape[1:]), value)])[rows].reshape(T, B, *data.shape[1:])


def require_lengths(name: str, lengths: Any, T: int, B: int) -> list[int] | Tensor:
    """The lengths of B sequences as Python integers; as the tensor (B,) that they are where they vary, in a program.

    Raises:
        ValueError: unless there are B of them, each from 0 to T.
        TypeError: unless they are integers.
    """
    given: Any = tg.as_tensor(lengths) if hasattr(lengths, "tolist") else lengths
    if isinstance(given, Tensor) and not varies(given):
        given = given.tolist()
    if isinstance(given, Tensor):
        integers = given.ndim == 1 and given.dtype.kind in "iu"
    else:
        integers = isinstance(given, (list, tuple)) and all(type(n) is int for n in given)
    if not integers:
        raise TypeError(f"{name}: lengths must be integers, one per sequence, got {lengths!r}")
    if len(given) != B:
        raise ValueError(f"{name}: got {len(given)} lengths for a batch of {B} sequences")

    def check(numbers: Any) -> None:
        wrong = [n for n in numbers if not 0 <= n <= T]
        if wrong:
            raise ValueError(
                f"{name}: the sequences are padded to T={T} steps, so lengths are from 0 to {T}, got {wrong[0]}. Is "
                "the input time-major, or is batch_first right?"
            )

    if isinstance(given, Tensor):
        require(lambda array: check(array.tolist()), given)
        return given
    check(given)
    return list(given)


def require_known(name: str, numbers: Any) -> list[int]:
    """Numbers on which it depends how many steps are packed, as Python integers.

    Raises:
        CompileError: if they vary, in a program that is being recorded.
    """
    if isinstance(numbers, Tensor) and varies(numbers):
        raise CompileError(
            f"compile: {name} packs as many steps as the numbers in a tensor say, which cannot be known before the "
            "program runs; give the padded sequences to the layer, with lengths= or mask="
        )
    return numbers.tolist() if isinstance(numbers, Tensor) else list(numbers)


def valid_steps(lengths: Sequence[int] | Tensor, T: int, device: Any = None) -> Tensor:
    """(T, B) which steps of sequences of these lengths are there."""
    return tg.arange(T, device=device).unsqueeze(1) < tg.as_tensor(lengths, dtype=tg.int64, device=device)


def pad_sequence(
    sequences: Sequence[Tensor], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Sequences (T_b, ...) side by side, padded to the longest: (T, B, ...), or (B, T, ...) if `batch_first`.

    Args:
        padding_side: "right" or "left", where the padding goes.
    """
    if padding_side not in ("right", "left"):
        raise ValueError(f"pad_sequence: padding_side is 'right' or 'left', got {padding_side!r}")
    tensors = _sequences("pad_sequence", sequences)
    T = max([len(x) for x in tensors])
    padded = []
    for x in tensors:
        gap = x.new_full((T - len(x), *x.shape[1:]), padding_value)
        padded.append(tg.cat([x, gap] if padding_side == "right" else [gap, x]))
    return tg.stack(padded, dim=0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """The sequences (T_b, ...) of a padded tensor (T, B, ...)."""
    x = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    counts = require_known("unpad_sequence", require_lengths("unpad_sequence", lengths, x.shape[1], len(x)))
    return [x_b[:n] for x_b, n in zip(x.unbind(0), counts, strict=True)]


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Padded sequences (T, B, ...) without their padding.

    Args:
        lengths: (B,) integers, from 0 on.
        enforce_sorted: the sequences come from the longest to the shortest; if not, say False, and they are sorted.

    Raises:
        ValueError: if the lengths do not fit, or the sequences should be sorted and are not.
    """
    x = input.transpose(0, 1) if batch_first else input
    name = "pack_padded_sequence"
    given = require_known(name, require_lengths(name, lengths, x.shape[0], x.shape[1]))
    if enforce_sorted and given != sorted(given, reverse=True):
        raise ValueError(
            f"{name}: the lengths {given} must come from the longest to the shortest; pass "
            "enforce_sorted=False to have the sequences sorted"
        )
    packing = Packing.of(valid_steps(given, max(given, default=0), x.device))
    told = enforce_sorted and 0 not in given  # how many there are; else the order says it
    return _packed(packing, packing.pack(x[: packing.shape[0]]), told)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """Packed sequences as a padded tensor (T, B, ...), in the order in which they were given, and their lengths (B,).

    Args:
        total_length: T, if it is to be more than the longest length.
    """
    lengths = packed_lengths(sequence)
    T = max(lengths, default=0) if total_length is None else total_length
    if max(lengths, default=0) > T:
        raise ValueError(f"pad_packed_sequence: total_length={T} is shorter than the longest sequence, {max(lengths)}")
    padded = Packing.of(valid_steps(lengths, T, sequence.data.device)).pad(sequence.data, padding_value)
    if sequence.unsorted_indices is not None:
        padded = padded[:, sequence.unsorted_indices]
        lengths = [lengths[i] for i in require_known("pad_packed_sequence", sequence.unsorted_indices)]
    return padded.transpose(0, 1) if batch_first else padded, tg.tensor(lengths, dtype=tg.int64, device="cpu")


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Sequences (T_b, ...) packed. See `pack_padded_sequence`."""
    tensors = _sequences("pack_sequence", sequences)
    return pack_padded_sequence(pad_sequence(tensors), [len(x) for x in tensors], enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences (T_b, ...), in the order in which they were given."""
    return unpad_sequence(*pad_packed_sequence(packed_sequences))


def packed_lengths(sequence: PackedSequence) -> list[int]:
    """The lengths of packed sequences, the longest first."""
    sizes = [*require_known("pad_packed_sequence", sequence.batch_sizes), 0]
    B = sizes[0] if sequence.sorted_indices is None else len(sequence.sorted_indices)
    longer = [t + 1 for t in reversed(range(len(sizes) - 1)) for _ in range(sizes[t] - sizes[t + 1])]
    return longer + [0] * (B - len(longer))


def _packed(packing: Packing, data: Tensor, is_sorted: bool) -> PackedSequence:
    order = None if is_sorted else packing.order
    return PackedSequence(data, tg.tensor(packing.batch_sizes), order, None if order is None else order.argsort())


def _sequences(name: str, sequences: Any) -> list[Tensor]:
    tensors = [tg.as_tensor(x) for x in sequences]
    if not tensors:
        raise ValueError(f"{name}: takes at least one sequence, got none")
    shapes = {x.shape[1:] for x in tensors if x.ndim}
    if len(shapes) != 1 or not all(x.ndim for x in tensors):
        raise ValueError(f"{name}: sequences must be (T_b, ...) alike but for T_b, got {[x.shape for x in tensors]}")
    return tensors

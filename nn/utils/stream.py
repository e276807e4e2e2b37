"""Sequences too long for one backward pass, in pieces whose state carries over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import tinygrad_seq as tg
from tinygrad_seq import Tensor


class Stream:
    """One long sequence as B parallel streams, T steps of each at a time. Iterating is one pass.

    Each stream goes on in the next piece where it stopped in this one, so the state that a network had at the end of a
    piece is where it begins with the next. What is left over by cutting into B equal streams is not seen. Of an array
    only the pieces are read, when it is their turn: with `np.memmap`, a text may be larger than memory.

    Args:
        tokens: (N, ...).
        streams: which of the B streams to give, as `distributed.shard(batch)` says; all by default.

    Attributes:
        position: the step at which the next piece begins; set it to go on from there. 0 after a whole pass.
    """

    def __init__(self, tokens: Any, batch: int, steps: int, device: Any = None, streams: slice = slice(None)) -> None:
        if not hasattr(tokens, "__array__"):  # a list, say
            tokens = tg.as_tensor(tokens)
        if tokens.ndim == 0 or batch < 1 or steps < 1:
            raise ValueError(
                f"stream: takes a sequence, batch and steps from 1 on, got shape {tokens.shape}, batch={batch}, "
                f"steps={steps}"
            )
        length = len(tokens) // batch
        if length < 2:
            raise ValueError(
                f"stream: {len(tokens)} tokens make {batch} streams of {length}, too short to predict anything; take a "
                "longer sequence or a smaller batch"
            )
        if not isinstance(streams, slice):
            raise TypeError(f"stream: streams= takes a slice, as shard() gives one, got a {type(streams).__name__}")
        self._streams = tokens[: length * batch].reshape(batch, length, *tokens.shape[1:])[streams].swapaxes(0, 1)
        self._steps, self._device = steps, device
        self.position: int = 0

    def __len__(self) -> int:
        """The number of pieces in a whole pass."""
        return -(-(len(self._streams) - 1) // self._steps)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets, each (T, B); the targets are one step ahead. The last piece may be shorter."""
        last = len(self._streams) - 1
        while self.position < last:
            start, stop = self.position, min(self.position + self._steps, last)
            self.position = stop
            piece = self._piece(start, stop + 1)
            yield piece[:-1], piece[1:]
        self.position = 0

    def _piece(self, start: int, stop: int) -> Tensor:
        """These steps of each stream. Small unsigned integers, which save room in files, become indices."""
        piece = self._streams[start:stop]
        if isinstance(piece, Tensor):
            return piece.to(device=self._device) if self._device is not None else piece
        return tg.tensor(piece, dtype=tg.int64 if piece.dtype.kind == "u" else None, device=self._device)


def stream(tokens: Any, batch: int, steps: int, device: Any = None, streams: slice = slice(None)) -> Stream:
    """One long sequence (N,) as `batch` parallel streams, `steps` of each at a time, on a device. See `Stream`.

    >>> state = None
    >>> for x, y in nn.utils.stream(tokens, batch=50, steps=50):
    ...     scores, state = model(x, state if state is None else state.detach())
    """
    return Stream(tokens, batch, steps, device, streams)


def tbptt(
    network: Callable[..., tuple[Any, Any]], x: Tensor, k1: int, k2: int, state: Any = None
) -> Iterator[tuple[Tensor, Any]]:
    """Truncated backpropagation through time: every k1 steps, a gradient that reaches k2 steps back.

    Williams & Peng, "An efficient gradient-based algorithm for on-line training of recurrent network trajectories",
    1990. For k2 = k1 it is what `stream` and `state.detach()` do; for a larger k2, the k2 - k1 steps before are run
    again from a state that is taken for a constant.

    >>> for output, state in nn.utils.tbptt(lstm, x, k1=10, k2=30):
    ...     loss = criterion(head(output), ...)
    ...     loss.backward()

    Args:
        network: takes (x, state) and returns (output, state), time first.
        x: (T, ...).
        k1: after how many steps to stop for a gradient.
        k2: how many steps back it reaches; at least k1.
        state: where to begin.

    Yields:
        The output of the next k1 steps (fewer at the end), and the state after them.

    Raises:
        ValueError: unless 1 <= k1 <= k2.
    """
    if not 1 <= k1 <= k2:
        raise ValueError(f"tbptt: takes 1 <= k1 <= k2, got k1={k1}, k2={k2}")
    T, start, state = len(x), 0, _constant(state)
    for done in range(0, T, k1):
        stop = min(done + k1, T)
        middle = max(stop + k1 - k2, start)  # where the next gradient will end: its state is kept
        early, kept = network(x[start:middle], state) if middle > start else (None, state)
        late, last = network(x[middle:stop], kept) if stop > middle else (None, kept)
        yield tg.cat([y for y in (early, late) if y is not None])[done - start :], last
        start, state = middle, _constant(kept)


def _constant(state: Any) -> Any:
    """A state, which may be a tuple of tensors, without the graph behind it."""
    if isinstance(state, (tuple, list)) and not hasattr(state, "detach"):
        return type(state)([_constant(s) for s in state])
    return None if state is None else state.detach()

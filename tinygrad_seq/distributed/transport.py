"""What carries messages between processes."""

from __future__ import annotations

from typing import Protocol

from ..backend import Array

NOTICE = 2.0  # seconds in which ranks that have waited for too long tell each other so


class Silence(Exception):
    """Somebody has not come in time.

    Attributes:
        waiting: the ranks that are known to wait.
    """

    def __init__(self, waiting: list[int]) -> None:
        super().__init__()
        self.waiting = waiting


class Transport(Protocol):
    """One of the engines, for a group of more than one process. Arrays are contiguous.

    Attributes:
        name: MPI's, gloo's or NCCL's.
        on_gpu: whether arrays on a GPU are sent from there; others are on the host.
        rank, size: which process this is, of how many.
        local_rank, local_size: which one this is on this host, of how many.
    """

    name: str
    on_gpu: bool
    rank: int
    size: int
    local_rank: int
    local_size: int

    def exchange(self, words: bytes, timeout: float) -> list[bytes]:
        """The words of all ranks, as many on each; Silence after so many seconds."""

    def all_reduce(self, x: Array, out: Array, op: str) -> None:
        """The sum (or what `op` says) over all ranks, into `out`, which may be `x`."""

    def all_gather(self, x: Array, out: Array) -> None:
        """The arrays of all ranks, into `out` (size, *x.shape)."""

    def broadcast(self, x: Array, source: int) -> None:
        """Rank `source`'s array, on all ranks into theirs."""

    def abort(self) -> None:
        """End all processes."""

    def close(self) -> None:
        """All ranks have ended."""

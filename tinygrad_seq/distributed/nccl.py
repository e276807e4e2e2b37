"""NCCL, through CuPy: arrays go from GPU to GPU. Words, and what lies on the host, go over MPI or gloo."""

from __future__ import annotations

from typing import Any

from ..backend import Array, backend_for, backend_of, numpy_backend
from .group import DistributedError
from .transport import Silence, Transport

_LONGEST = 400  # bytes of what is told about what is missing, or about a GPU
_PATIENCE = 600.0  # seconds for what all ranks come to at once


class NCCLTransport:
    """Messages between GPUs, one for each rank.

    Args:
        words: what carries the rest.
        nccl: the module of the backend.
    """

    name = "nccl"
    on_gpu = True

    def __init__(self, words: Transport, nccl: Any) -> None:
        self._words, self._nccl = words, nccl
        self.rank, self.size = words.rank, words.size
        self.local_rank, self.local_size = words.local_rank, words.local_size
        self._communicators: dict[int, Any] = {}

    def exchange(self, words: bytes, timeout: float) -> list[bytes]:
        return self._words.exchange(words, timeout)

    def _way(self, x: Array) -> Any:
        """What carries an array: that of its GPU, which is made when all ranks first send something from there."""
        backend = backend_of(x)
        if backend is numpy_backend:
            return self._words
        index = int(backend.device_name(x).partition(":")[2])
        if index not in self._communicators:
            self._communicators[index] = self._met(index)
        return self._communicators[index]

    def _met(self, index: int) -> Any:
        nccl = self._nccl
        common = nccl.new_id() if self.rank == 0 else bytes(nccl.ID_SIZE)
        found = _exchanged(self._words, common + _padded(nccl.identity(index)))
        gpus = [words[nccl.ID_SIZE :].decode().strip() for words in found]
        for rank, gpu in enumerate(gpus):
            if gpu in gpus[:rank]:
                raise DistributedError(
                    f"distributed: ranks {gpus.index(gpu)} and {rank} have the same GPU, {gpu}, and NCCL takes one for "
                    "each rank; say which with tg.device('cuda:N'), N being get_node_local_rank(), start fewer "
                    "processes, or use init_process_group('mpi')",
                    speaks=self.rank == 0,
                )
        return nccl.Communicator(self.size, found[0][: nccl.ID_SIZE], self.rank, index)

    def all_reduce(self, x: Array, out: Array, op: str) -> None:
        self._way(x).all_reduce(x, out, op)

    def all_gather(self, x: Array, out: Array) -> None:
        self._way(x).all_gather(x, out)

    def broadcast(self, x: Array, source: int) -> None:
        self._way(x).broadcast(x, source)

    def abort(self) -> None:
        for communicator in self._communicators.values():
            communicator.abort()
        self._words.abort()

    def close(self) -> None:
        self._communicators.clear()  # CuPy ends them
        self._words.close()


def _padded(text: str) -> bytes:
    return text.encode()[:_LONGEST].ljust(_LONGEST)


def _exchanged(words: Transport, mine: bytes) -> list[bytes]:
    try:
        return words.exchange(mine, _PATIENCE)
    except Silence:
        raise RuntimeError(
            f"init_process_group: 'nccl' has waited {_PATIENCE:g} s for another rank, which may have ended, or hang"
        ) from None


def _lacking() -> str:
    """What is missing here, in words."""
    try:
        backend_for("cuda")
    except RuntimeError as error:
        return str(error)
    from ..backend import nccl

    return nccl.lacking()


def join(words: Transport | None) -> NCCLTransport | None:
    """The processes that others have joined to exchange words; None if this is the only one.

    Raises:
        RuntimeError: on all ranks, if one has no CuPy, no NCCL or no GPU.
    """
    lacking = _lacking()
    found = [lacking] if words is None else [w.decode().strip() for w in _exchanged(words, _padded(lacking))]
    for rank, what in enumerate(found):
        if what:
            where = f"on rank {rank}: " if len(found) > 1 else ""
            raise RuntimeError(f"init_process_group: 'nccl' does not work here, {where}{what}")
    if words is None:
        return None
    from ..backend import nccl

    return NCCLTransport(words, nccl)

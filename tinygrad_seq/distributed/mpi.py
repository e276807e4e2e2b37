"""MPI, through mpi4py."""

from __future__ import annotations

import time
from typing import Any

from ..backend import Array
from .transport import NOTICE, Silence

_SPIN = 200  # looks before others get the core
_NAP = 0.02  # seconds of waiting after which this process sleeps between looks


class MPITransport:
    """Messages between the processes that an MPI launcher has started."""

    name = "mpi"
    on_gpu = False
    rank: Any
    size: Any

    def __init__(self, MPI: Any) -> None:
        self._MPI = MPI
        self._comm = MPI.COMM_WORLD.Dup()
        self.rank, self.size = self._comm.Get_rank(), self._comm.Get_size()
        host = self._comm.Split_type(MPI.COMM_TYPE_SHARED)
        self.local_rank: Any = host.Get_rank()
        self.local_size: Any = host.Get_size()
        host.Free()
        self._ops = {"sum": MPI.SUM, "product": MPI.PROD, "min": MPI.MIN, "max": MPI.MAX}

    def exchange(self, words: bytes, timeout: float) -> list[bytes]:
        found = bytearray(len(words) * self.size)
        request = self._comm.Iallgather(bytearray(words), found)
        if not self._done(request, timeout):
            raise Silence(self._waiting())
        return [bytes(found[i : i + len(words)]) for i in range(0, len(found), len(words) or 1)]

    def _done(self, request: Any, timeout: float) -> bool:
        """Wait, so that signals are noticed, and slower ranks on this host get the core."""
        start, looks = 0.0, 0
        while not request.Test():
            looks += 1
            if looks > _SPIN:
                now = time.monotonic()
                start = start or now
                if now - start > timeout:
                    return False
                time.sleep(1e-4 if now - start > _NAP else 0)
        return True

    def _waiting(self) -> list[int]:
        """The ranks that have run out of patience as well: those that do not say so are missing."""
        notes = [self._comm.Isend(bytearray(1), other, tag=1) for other in range(self.size) if other != self.rank]
        end, found = time.monotonic() + NOTICE, {self.rank}
        while time.monotonic() < end and len(found) < self.size - 1:
            status = self._MPI.Status()
            if self._comm.Iprobe(tag=1, status=status):
                self._comm.Recv(bytearray(1), source=status.Get_source(), tag=1)
                found.add(status.Get_source())
            time.sleep(0.01)
        del notes
        return sorted(found)

    def all_reduce(self, x: Array, out: Array, op: str) -> None:
        given = self._MPI.IN_PLACE if x is out else x
        self._comm.Allreduce(given, out, self._ops[op])

    def all_gather(self, x: Array, out: Array) -> None:
        self._comm.Allgather(x, out)

    def broadcast(self, x: Array, source: int) -> None:
        self._comm.Bcast(x, source)

    def abort(self) -> None:
        self._comm.Abort(1)

    def close(self) -> None:
        self._comm.Free()


def join() -> MPITransport | None:
    """The processes that the launcher has started; None if this is the only one.

    Raises:
        ImportError: without mpi4py, or without an MPI library for it.
        RuntimeError: if the launcher's MPI and mpi4py's are two different ones.
    """
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise ImportError(
            f"init_process_group: 'mpi' takes mpi4py ({error}): pip install 'tinygrad-seq[mpi]', and with it the MPI "
            "of this machine, or pip install mpich"
        ) from error
    except RuntimeError as error:
        raise ImportError(
            f"init_process_group: mpi4py finds no MPI library ({str(error).splitlines()[0]}); load the MPI of this "
            "machine, as in `module load mpi`, or pip install mpich"
        ) from error
    from .launcher import launched

    size, started = MPI.COMM_WORLD.Get_size(), launched()
    if started is not None and started.size > 1 and size == 1:
        library = MPI.Get_library_version().splitlines()[0].strip()
        raise RuntimeError(
            f"init_process_group: {started.name} has started {started.size} processes, but each is alone for mpi4py, "
            f"which found another MPI ({library}); start them with that one's mpiexec, or install mpi4py for the other"
        )
    return MPITransport(MPI) if size > 1 else None

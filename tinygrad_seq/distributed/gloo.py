"""gloo, through PyTorch where somebody has it: between the processes that torchrun starts."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from importlib.util import find_spec
from threading import Thread
from typing import Any

from ..backend import Array
from ..backend import numpy_module as numpy
from .transport import NOTICE, Silence

_GRACE = 5.0  # seconds in which a launcher ends the others when one process has
_FOREVER = timedelta(days=1)  # this project counts the time itself
_SUMMED = ("int8", "uint8", "int32", "int64", "float16", "float32", "float64")  # what gloo adds up


class GlooTransport:
    """Messages between processes that found each other by MASTER_ADDR and MASTER_PORT, as torchrun sets them.

    Args:
        torch: the module.
        store: through which they found each other.
    """

    name = "gloo"
    on_gpu = False
    rank: Any
    size: Any

    def __init__(self, torch: Any, store: Any) -> None:
        self._torch, self._dist, self._store = torch, torch.distributed, store
        self.rank, self.size = self._dist.get_rank(), self._dist.get_world_size()
        self.local_rank: int = int(os.environ.get("LOCAL_RANK", self.rank))
        self.local_size: int = int(os.environ.get("LOCAL_WORLD_SIZE", self.size))
        op = self._dist.ReduceOp
        self._ops = {"sum": op.SUM, "product": op.PRODUCT, "min": op.MIN, "max": op.MAX}

    def exchange(self, words: bytes, timeout: float) -> list[bytes]:
        mine = self._torch.frombuffer(bytearray(words or b"\0"), dtype=self._torch.uint8)
        found = [self._torch.empty_like(mine) for _ in range(self.size)]
        work = self._dist.all_gather(found, mine, async_op=True)
        end = time.monotonic() + timeout
        while not work.is_completed():
            if time.monotonic() > end:
                raise Silence(self._waiting())
            time.sleep(1e-5)
        try:
            work.wait()
        except RuntimeError:  # a rank is gone, which has told why if it could; the launcher ends this one, too
            time.sleep(_GRACE)
            raise
        return [bytes(t.numpy())[: len(words)] for t in found]

    def _waiting(self) -> list[int]:
        """The ranks that have run out of patience as well, as notes in the store say: those without one are missing."""
        found: list[int] = []

        def ask() -> None:
            self._store.set(f"waiting {self.rank}", "")
            end = time.monotonic() + NOTICE
            while len(found) < self.size - 1 and time.monotonic() < end:
                found[:] = [rank for rank in range(self.size) if self._store.check([f"waiting {rank}"])]
                time.sleep(0.01)

        asking = Thread(target=ask, daemon=True)  # for a process that hangs may be the one that has the store
        asking.start()
        asking.join(2 * NOTICE)
        return found

    def _tensor(self, x: Array) -> Any:
        return self._torch.from_numpy(x)

    def _bytes(self, x: Array) -> Any:
        """An array as bytes, for gloo doesn't know all dtypes."""
        return self._tensor(x.reshape(-1).view("uint8"))

    def all_reduce(self, x: Array, out: Array, op: str) -> None:
        if x.dtype not in _SUMMED and not (x.dtype.kind == "c" and op == "sum"):
            raise TypeError(f"all_reduce: gloo has no {op} of {x.dtype}; convert it first, as to float32 or int32")
        if x is not out:
            numpy.copyto(out, x)
        self._dist.all_reduce(self._tensor(out), self._ops[op])

    def all_gather(self, x: Array, out: Array) -> None:
        self._dist.all_gather([self._bytes(out[r, ...]) for r in range(self.size)], self._bytes(x))

    def broadcast(self, x: Array, source: int) -> None:
        self._dist.broadcast(self._bytes(x), source)

    def abort(self) -> None:
        os._exit(1)  # the launcher ends the others

    def close(self) -> None:
        self._dist.destroy_process_group()


def join() -> GlooTransport | None:
    """The processes that torchrun has started; None if this is the only one.

    Raises:
        ImportError: without PyTorch.
        RuntimeError: if nobody says where the others are.
    """
    if find_spec("torch") is None:
        raise ImportError("init_process_group: 'gloo' takes PyTorch: pip install 'tinygrad-seq[gloo]', or use 'mpi'")
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE") if name not in os.environ]
    if missing:
        raise RuntimeError(
            f"init_process_group: 'gloo' finds the other processes by what torchrun sets, and {', '.join(missing)} is "
            "not set; start the program with torchrun, or set them"
        )
    if int(os.environ["WORLD_SIZE"]) == 1:
        return None
    import torch

    store, rank, size = next(torch.distributed.rendezvous("env://", timeout=_FOREVER))
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=_FOREVER)
    return GlooTransport(torch, store)

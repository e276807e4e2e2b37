"""NCCL, through CuPy: arrays between the GPUs of several processes."""

from __future__ import annotations

import socket
import struct
import warnings
from typing import Any

import cupy as xp

with warnings.catch_warnings():  # without the library it warns, and says so by `available`
    warnings.simplefilter("ignore")
    from cupy.cuda import nccl

_KINDS = {
    "i1": "INT8", "u1": "UINT8", "i4": "INT32", "u4": "UINT32", "i8": "INT64", "u8": "UINT64",
    "f2": "FLOAT16", "f4": "FLOAT32", "f8": "FLOAT64",
}  # fmt: skip
_OPS = {"sum": "SUM", "product": "PROD", "min": "MIN", "max": "MAX"}
_ID = struct.Struct("<?128h")  # whether CuPy has it as bytes (since 14), or as a tuple of signed numbers; and these


def lacking() -> str:
    """What is missing for it, in words; nothing if it is there."""
    if nccl.available:
        return ""
    return "CuPy finds no NCCL: pip install nvidia-nccl-cu13, or nvidia-nccl-cu12 for the CuPy of CUDA 12"


def new_id() -> bytes:
    """A name for communicators that belong together: one rank makes it, all use it."""
    made = nccl.get_unique_id()
    return _ID.pack(isinstance(made, bytes), *made)


ID_SIZE = _ID.size


def identity(index: int) -> str:
    """Which GPU this is, of all on all hosts."""
    return f"{xp.cuda.runtime.deviceGetPCIBusId(index)} of {socket.gethostname()}"


class Communicator:
    """One rank's end of the messages between GPUs. Arrays lie in one piece on its GPU.

    Args:
        size, rank: how many ranks there are, and which one this is.
        common: the id that rank 0 made.
        index: the number of the GPU.
    """

    def __init__(self, size: int, common: bytes, rank: int, index: int) -> None:
        as_bytes, *numbers = _ID.unpack(common)
        self._index = index
        with xp.cuda.Device(index):
            self._comm = nccl.NcclCommunicator(size, bytes(numbers) if as_bytes else tuple(numbers), rank)

    def all_reduce(self, x: Any, out: Any, op: str) -> None:
        """The sum (or what `op` says) over all ranks, into `out`, which may be `x`.

        Raises:
            TypeError: for numbers that NCCL does not add up.
        """
        kind, count = x.dtype.str[1:], x.size
        if x.dtype.kind == "c" and op == "sum":
            kind, count = f"f{x.dtype.itemsize // 2}", 2 * count
        if kind not in _KINDS:
            raise TypeError(f"all_reduce: NCCL has no {op} of {x.dtype}; convert it first, as to float32 or int32")
        self._call("allReduce", x.data.ptr, out.data.ptr, count, _named(_KINDS[kind]), _named(_OPS[op]))

    def all_gather(self, x: Any, out: Any) -> None:
        """The arrays of all ranks, into `out` (size, *x.shape)."""
        self._call("allGather", x.data.ptr, out.data.ptr, x.nbytes, _named("UINT8"))

    def broadcast(self, x: Any, source: int) -> None:
        """Rank `source`'s array, on all ranks into theirs."""
        self._call("broadcast", x.data.ptr, x.data.ptr, x.nbytes, _named("UINT8"), source)

    def abort(self) -> None:
        """Give up what is under way."""
        self._comm.abort()

    def _call(self, name: str, *arguments: int) -> None:
        with xp.cuda.Device(self._index):
            getattr(self._comm, name)(*arguments, xp.cuda.get_current_stream().ptr)


def _named(name: str) -> int:
    return int(getattr(nccl, f"NCCL_{name}"))

"""Joining a process group, and leaving it."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta

from . import gloo, mpi, nccl
from . import group as groups
from .failure import Watchman
from .group import Group, current, is_initialized
from .launcher import launched
from .message import outside
from .threads import share_cores
from .transport import Transport

_BACKENDS: dict[str, Callable[[], Transport | None]] = {
    "mpi": mpi.join,
    "gloo": gloo.join,
    "nccl": lambda: nccl.join(_BACKENDS[_found()]() if _is_launched() else None),
}
_watchmen: list[Watchman] = []


def init_process_group(backend: str | None = None, *, timeout: float | timedelta = 1800.0) -> None:
    """Join the group of the processes that a launcher, as mpiexec, srun or torchrun, has started.

    Without a launcher the group is this process alone, in which every operation is one of nothing.

    Args:
        backend: "mpi" through mpi4py, or "gloo" through PyTorch; "nccl" through CuPy sends what lies on GPUs from
            there, and the rest over one of the others. By default what the launcher calls for: gloo for torchrun, MPI
            for others.
        timeout: the seconds, or the time, after which it is an error that another rank does not come to an operation.

    Raises:
        ValueError: for another backend, or no seconds.
        RuntimeError: if there is a group already, this process was forked from a member of one, or the launcher's MPI
            is another one than mpi4py's; for "nccl", if a rank has no CuPy, no NCCL or no GPU.
        ImportError: if what the backend takes is not installed; the message says how to get it.
    """
    outside("init_process_group")
    if backend not in (None, *_BACKENDS):
        raise ValueError(f"init_process_group: takes {', '.join(map(repr, _BACKENDS))} or None, got {backend!r}")
    timeout = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if not timeout > 0:
        raise ValueError(f"init_process_group: timeout takes seconds above 0, got {timeout}")
    if is_initialized():
        group = current("init_process_group")
        group.require_whole("init_process_group")
        raise RuntimeError(
            f"init_process_group: there is a group already (rank {group.rank} of {group.size}); call it once, or "
            "destroy_process_group() before"
        )
    transport = _BACKENDS[backend or _found()]() if backend is not None or _is_launched() else None
    group = Group(transport, timeout)
    groups.begin(group)
    if transport is not None:
        share_cores(group.rank, transport.local_size)
        _watchmen.append(Watchman(group))


def _is_launched() -> bool:
    """Whether there are other processes."""
    started = launched()
    return started is not None and started.size > 1


def _found() -> str:
    """The backend that the launcher calls for."""
    started = launched()
    return "gloo" if started is not None and started.name == "torchrun" else "mpi"


def is_available() -> bool:
    """True: without a launcher, too, there is a group of one."""
    return True


def destroy_process_group() -> None:
    """Leave the group, together with all others."""
    current("destroy_process_group")
    outside("destroy_process_group")
    for watchman in _watchmen:
        watchman.leave()
    _watchmen.clear()
    groups.end()


def request_stop() -> None:
    """Ask all ranks to stop: `should_stop()` is true on all of them after the next `average_gradients`.

    For handlers of signals, and for clocks: no rank decides for itself.
    """
    current("request_stop").wants_to_stop = True


def should_stop() -> bool:
    """Whether a rank has asked to stop, as all ranks know since the last `average_gradients`; the same on all."""
    group = current("should_stop")
    outside("should_stop")
    return group.stopping if group.size > 1 else group.wants_to_stop


def _in_child() -> None:
    """A forked process belongs to no group; what it calls says so."""
    _watchmen.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)

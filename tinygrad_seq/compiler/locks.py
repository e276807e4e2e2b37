"""Locks that are open in a child process, whoever held them when it was forked."""

from __future__ import annotations

import os
import threading
from typing import Any
from weakref import WeakSet

_locks: WeakSet[Any] = WeakSet()


def lock() -> Any:
    """A lock that its thread may take again. A forked process has one thread, and what others held is open there."""
    made = threading.RLock()
    _locks.add(made)
    return made


def _open() -> None:
    for held in tuple(_locks):
        if not held._is_owned():
            held._at_fork_reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open)

"""How many CPU cores this process may use, which in a container are fewer than there are."""

from __future__ import annotations

import os
from contextlib import suppress
from math import inf

_GROUPS = "/proc/self/cgroup"  # the control groups that this process is in
_MOUNTED = "/sys/fs/cgroup"  # where their settings are


def usable_cores() -> int:
    """The cores that the system lets this process run on, or fewer: whole ones that a quota of CPU time pays for.

    Threads that wait for each other would use up a quota's broken part by waiting, and be put aside for it.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(cores, _quota())))


def _quota() -> float:
    """The seconds of CPU time that this process's control groups allow in a second, as `docker --cpus=` sets it."""
    try:
        with open(_GROUPS) as file:
            lines = file.read().splitlines()
    except OSError:
        return inf  # not Linux
    found = [inf]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        parts = path.strip("/").split("/")
        # the group itself, and those around it, up to the root, where a container may see its own
        groups = ["/".join(parts[:count]) for count in range(len(parts) + 1)]
        for mounted in ("cpu", controllers) if controllers else ("", "unified"):
            found += [_quota_of(os.path.join(_MOUNTED, mounted, group)) for group in groups]
    return min(found)


def _quota_of(group: str) -> float:
    """The quota of a control group itself, of version 2 or 1 of their interface."""
    with suppress(OSError, ValueError):
        quota, period = _setting(group, "cpu.max").split()
        return int(quota) / int(period)  # or "max", which is no number
    with suppress(OSError, ValueError):
        allowed = int(_setting(group, "cpu.cfs_quota_us"))
        return inf if allowed < 0 else allowed / int(_setting(group, "cpu.cfs_period_us"))
    return inf


def _setting(group: str, name: str) -> str:
    with open(os.path.join(group, name)) as file:
        return file.read()

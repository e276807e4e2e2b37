"""Who has started this process, as its environment says."""

from __future__ import annotations

import os
from typing import NamedTuple


class Launched(NamedTuple):
    """By which launcher, and how many processes there are."""

    name: str
    size: int


_LAUNCHERS = (
    ("torchrun", "TORCHELASTIC_RUN_ID", "WORLD_SIZE"),
    ("Open MPI's mpiexec", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_SIZE"),
    ("mpiexec", "PMI_SIZE", "PMI_SIZE"),
    ("srun", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_NUM_TASKS"),
    ("a launcher", "RANK", "WORLD_SIZE"),
)


def launched() -> Launched | None:
    """By whom; None if nobody says."""
    for name, variable, size in _LAUNCHERS:
        if variable in os.environ and os.environ.get(size, "").isdigit():
            return Launched(name, int(os.environ[size]))
    return None

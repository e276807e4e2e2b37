"""A run's folder: one training at a time, the files in it, and the run that was there before."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .errors import UserError

CHECKPOINT, BEST = "checkpoint.npz", "best.npz"
CURVE, METRICS, EVENTS, PAGE = "loss.png", "metrics.csv", "events", "look.html"
OF_A_RUN = (BEST, CURVE, METRICS, EVENTS, PAGE, CHECKPOINT)  # the checkpoint last: until it is away, the run is here
LOCK = ".lock"


def checkpoint_in(path: Path, names: tuple[str, ...] = (BEST, CHECKPOINT)) -> Path:
    """The checkpoint that is meant: the file itself, or in a run's folder the first of `names` that is there."""
    if path.suffix == ".npz" and not path.is_dir():
        return path
    return next((path / name for name in names if (path / name).is_file()), path / names[-1])


def has_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (CHECKPOINT, BEST))


def prepare(folder: Path) -> None:
    """Make the folder for the results, and try to write there: better now than after the training."""
    for name in (CHECKPOINT, BEST):
        if (folder / name).is_dir():
            raise UserError(f"{folder / name} is a folder, so there is no place for the checkpoint. Remove it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"cannot write to the folder {folder}: {error.strerror}. Choose another with --out") from None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other trainings out of the folder. The system lets go of the lock when the process ends, however it does."""
    try:
        import fcntl
    except ImportError:  # Windows has none
        yield
        return
    with open(folder / LOCK, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise UserError(f"another training is running in {folder}. Choose another --out, or stop it") from None
            # a file system without locks: better none than no training
        yield


def tidy(folder: Path) -> None:
    """Remove what a killed process left half written. Only for who has the lock."""
    for name in (CHECKPOINT, BEST, CURVE, METRICS, "tokens-*"):
        for left in folder.glob(f".{name}.*.tmp"):
            left.unlink(missing_ok=True)


def put_aside(folder: Path) -> Path:
    """Move the run that is in the folder to one inside it: previous-1, or the next number that is free."""
    number = 1
    while (aside := folder / f"previous-{number}").exists():
        number += 1
    aside.mkdir()
    for name in OF_A_RUN:
        if (folder / name).exists():
            os.replace(folder / name, aside / name)
    return aside


def runs_aside(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("previous-*") if path.is_dir())


def remove_run(folder: Path) -> None:
    """Remove a run that was put aside, and nothing else that may be in its folder."""
    for name in OF_A_RUN:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()

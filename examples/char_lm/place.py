"""Where a run is kept: a disk that is full, or a folder that went away, is said, and is no reason to lose it."""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from . import curve
from .checkpoint import Run, summary
from .errors import UserError
from .folder import BEST, CHECKPOINT, METRICS, put_aside, remove_run, runs_aside
from .progress import Progress


class Place:
    """The folder in which a run's files are written.

    Args:
        replaces: whether a run that is there already is put aside as soon as this one has something to save.

    Attributes:
        aside: where that one is, then.
        moved: whether the folder could not be written to at last, so that another had to do.
    """

    def __init__(self, folder: Path, progress: Progress, replaces: bool = False) -> None:
        self.folder, self._progress, self._replaces = folder, progress, replaces
        self.aside: Path | None = None
        self.moved = False
        self._said: set[str] = set()

    @property
    def checkpoint(self) -> Path:
        return self.folder / CHECKPOINT

    @property
    def best(self) -> Path:
        return self.folder / BEST

    def save(self, run: Run, best: bool = False) -> bool:
        """Write the last model, and the same as the best one if it is. If that fails, say so: it is tried again later.

        Raises:
            UserError: if the model diverged: such a one is not saved.
        """
        run.require_sound()
        try:
            if self._replaces:
                self.aside, self._replaces = put_aside(self.folder), False
                self.aside = keep_the_best(self.folder, self.aside)
                self._progress.say(f"the run before is kept in {self.aside} until this one is better")
            run.save(self.checkpoint)
            if best:  # a crash in between is mended by `Place.complete`
                run.save(self.best)
                self._drop_worse(run)
        except (OSError, MemoryError) as error:
            self._progress.warn(
                f"could not save to {self.folder} at step {run.step}: {reason(error)}. Training goes on; "
                "it will be tried again"
            )
            return False
        return True

    def complete(self, run: Run) -> None:
        """Write the best model of a run that was killed after its last model was written, and before its best one."""
        if run.best is not None and run.best.step == run.step:
            self.save(run, best=True)

    def save_at_last(self, run: Run, may_ask: bool = True) -> None:
        """Save, in another folder if it must be: one that the user names, or a temporary one."""
        meant, tried = self.folder, False
        while not self.save(run):
            if tried:
                raise UserError(
                    f"step {run.step} could be saved nowhere. What was saved before is as it was. Free some space, "
                    f"and go on in another folder: train --resume {meant} --out ANOTHER"
                )
            named = ask("Another folder (or Enter, to try this one again): ") if may_ask else None
            if named is None:
                tried, named = True, tempfile.mkdtemp(prefix="char_lm-")
            self.folder = Path(named) if named else self.folder
        self.moved = self.folder != meant

    def curves(self, run: Run, events: curve.Events | None) -> None:
        """metrics.csv, loss.png, and TensorBoard's events; what cannot be written is said once."""
        for write in (curve.write_metrics, curve.draw_losses):
            try:
                write(run, self.folder)
            except (OSError, ImportError) as error:
                problem = f"no {'loss curve' if write is curve.draw_losses else METRICS}: {reason(error)}"
                if problem not in self._said:
                    self._said.add(problem)
                    self._progress.say(problem)
        if events is not None:
            events.add(run)

    def _drop_worse(self, run: Run) -> None:
        """Remove the runs aside that learned the same text and were never judged better."""
        mine = Grade(run.settings.digest, run.settings.tokens, run.best.nats if run.best else math.inf)
        for folder in runs_aside(self.folder):
            if mine.is_no_worse_than(grade(folder)):
                remove_run(folder)
                self._progress.say(f"better than the run in {folder}, which is removed")
                self.aside = None if folder == self.aside else self.aside

    def left(self) -> str:
        """What is there when a run ends badly."""
        said = f"The checkpoint {self.checkpoint} is as it was before" if self.checkpoint.exists() else ""
        return said + (f"; the run before this one is in {self.aside}" if self.aside else "")


class Grade(NamedTuple):
    """How good a run is, and at what."""

    digest: str
    tokens: str
    nats: float

    def is_no_worse_than(self, other: Grade | None) -> bool:
        return other is not None and self[:2] == other[:2] and self.nats <= other.nats


def grade(folder: Path) -> Grade | None:
    """That of the run in a folder; None if it cannot be read."""
    try:
        settings, judged = summary(folder / CHECKPOINT)
        return Grade(settings["digest"], settings["tokens"], min((j[3] for j in judged), default=math.inf))
    except (UserError, KeyError, TypeError):
        return None


def keep_the_best(folder: Path, newest: Path) -> Path:
    """Of the runs aside that learned the same text as the newest of them, only the best. Which that is."""
    kept, best = newest, grade(newest)
    for other in runs_aside(folder):
        theirs = grade(other)
        if other == kept or best is None or theirs is None or theirs[:2] != best[:2]:
            continue
        worse, kept, best = (other, kept, best) if best.nats <= theirs.nats else (kept, other, theirs)
        remove_run(worse)
    return kept


def reason(error: BaseException) -> str:
    """Why something failed, in words."""
    if isinstance(error, MemoryError):
        return "out of memory"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def ask(question: str) -> str | None:
    """What the user answers; None if there is nobody to ask."""
    try:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            return None
        return input(question).strip()
    except (OSError, EOFError, ValueError, AttributeError, KeyboardInterrupt):
        return None

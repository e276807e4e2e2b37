"""The learning curve, three ways: loss.png, metrics.csv, and TensorBoard's event files."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .checkpoint import Run
from .errors import UserError
from .folder import CURVE, EVENTS, METRICS

COLUMNS = ("step", "seconds", "training_nats_with_dropout", "held_out_nats", "held_out_bits", "best_held_out_nats")


def rows(run: Run) -> list[tuple[float, ...]]:
    """One row per judgement; see `COLUMNS`."""
    found: list[tuple[float, ...]] = []
    best = math.inf
    for j in run.judged:
        best = min(best, j.nats)
        found.append((j.step, round(j.seconds, 1), j.training, j.nats, j.nats / math.log(2), best))
    return found


def write_metrics(run: Run, folder: Path) -> None:
    """metrics.csv, from the first judgement on."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([COLUMNS, *rows(run)])
    (folder / METRICS).write_text(text.getvalue(), "utf-8")


def draw_losses(run: Run, folder: Path) -> None:
    """loss.png: the loss by step.

    Raises:
        ImportError: without matplotlib, saying which extra brings it.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        raise ImportError('matplotlib is missing: pip install "tinygrad-seq[examples]" brings it') from None
    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    if run.losses:
        label = "training, with dropout" if run.settings.has_dropout else "training"
        axes.plot(*zip(*run.losses, strict=True), label=f"{label}, as it goes", linewidth=1)
    if run.judged:
        axes.plot([j.step for j in run.judged], [j.nats for j in run.judged], "o-", label="held out", markersize=3)
    axes.set(xlabel="step", ylabel=f"nats per {run.vocabulary.unit}")
    axes.grid(alpha=0.3)
    axes.legend()
    try:
        figure.savefig(folder / CURVE, dpi=120)
    finally:
        pyplot.close(figure)


class Events:
    """TensorBoard's event files of a run."""

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboard.summary import Writer
        except ImportError:
            raise UserError(
                '--tensorboard needs the package: pip install "tinygrad-seq[tensorboard]". Or leave the option out'
            ) from None
        self._make: Callable[[], Any] = lambda: Writer(str(folder / EVENTS))
        self._writer: Any = None  # until there is something: a run before may have files there, to be put aside

    def add(self, run: Run) -> None:
        """The newest judgement."""
        newest = run.judged[-1]
        self._writer = self._writer or self._make()
        self._writer.add_scalar("held out", newest.nats, newest.step)
        self._writer.add_scalar("training, as it goes", newest.training, newest.step)
        self._writer.flush()

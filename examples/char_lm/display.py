"""What the user sees: progress while training, and the loss curve."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from .model import bits


def minutes(seconds: float) -> str:
    """Seconds as m:ss."""
    whole = max(round(seconds), 0)
    return f"{whole // 60}:{whole % 60:02d}"


def command(*arguments: object, device: str) -> str:
    """What to type to run this program with these arguments, from the same folder."""
    arguments += ("--device", device) if device != "cpu" else ()
    python = os.path.relpath(sys.executable)
    if python.startswith(os.pardir):
        python = "python" if shutil.which("python") == sys.executable else sys.executable
    return shlex.join([python, "-m", "examples.char_lm", *map(str, arguments)])


class Progress:
    """A progress bar on a terminal with `rich`; elsewhere a line every few seconds."""

    def __init__(self, every: float = 5.0) -> None:
        self._every, self._last = every, time.monotonic()
        self._bar: Any = None
        if sys.stdout.isatty():
            try:
                from rich.progress import BarColumn, TaskProgressColumn, TextColumn
                from rich.progress import Progress as RichProgress
            except ImportError:
                return
            self._bar = RichProgress(BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"))
            self._task = self._bar.add_task("starting", total=1.0)

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: float, step: int, loss: float, speed: float, left: float) -> None:
        """The share of the budget that is done, the loss in nats, characters per second, seconds left."""
        text = (
            f"step {step}  loss {loss:.3f} nats, {bits(loss):.3f} bits/char  {speed:,.0f} chars/s  {minutes(left)} left"
        )
        if self._bar is not None:
            self._bar.update(self._task, completed=done, description=text)
        elif time.monotonic() - self._last >= self._every:
            self._last = time.monotonic()
            print(f"{done:4.0%}  {text}", flush=True)

    def say(self, text: str) -> None:
        """Text above the bar."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, flush=True)


def draw_losses(path: Path, losses: list[tuple[int, float]], held_out: list[tuple[int, float]]) -> str:
    """Draw the loss by step as a PNG; says where it is, or why there is none."""
    try:
        import matplotlib as mpl
    except ImportError:
        return 'no loss curve: matplotlib is missing, pip install "tinygrad-seq[examples]" brings it'
    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    axes.plot(*zip(*losses, strict=True), label="training", linewidth=1)
    if held_out:
        axes.plot(*zip(*held_out, strict=True), "o-", label="held out", markersize=4)
    axes.set(xlabel="step", ylabel="nats per character")
    axes.grid(alpha=0.3)
    axes.legend()
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        return f"no loss curve: cannot write {path}: {error.strerror}"
    finally:
        pyplot.close(figure)
    return f"loss curve  {path}"

"""Training: the loop, with all that happens around it in sight."""

from __future__ import annotations

import math
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import nn
import nn.functional as F
import tinygrad_seq as tg

from .checkpoint import Run, Settings
from .display import Progress, command, draw_losses, minutes
from .errors import UserError
from .model import bits, evaluate, write
from .text import Corpus

CHECKPOINT = "checkpoint.npz"
WARM_UP = 50  # steps over which the learning rate rises
HOPELESS = 1e4  # nats per character, from which no run comes back
LOSS_EVERY = 20  # steps that one point of the training curve stands for


def progress_of(run: Run) -> float:
    """How much of the budget is used, from 0 to 1."""
    if run.settings.steps is not None:
        return min(run.step / run.settings.steps, 1.0)
    return min(run.seconds / (60 * (run.settings.minutes or 1e-9)), 1.0)


def learning_rate(run: Run) -> float:
    """A short warm-up, then half a cosine down to a hundredth (Loshchilov & Hutter, 2017)."""
    warm = min((run.step + 1) / WARM_UP, 1.0)
    return run.settings.lr * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress_of(run))))


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM, so that a step is finished before the loop stops; a second Ctrl-C stops at once."""
    received: list[int] = []

    def note(number: int, _frame: object) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def prepare_folder(folder: Path) -> None:
    """Make the folder for the results, and try to write there: better now than after the training."""
    if (folder / CHECKPOINT).is_dir():
        raise UserError(f"{folder / CHECKPOINT} is a folder, so there is no place for the checkpoint. Remove it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"cannot write to the folder {folder}: {error.strerror}. Choose another with --out") from None


def step_of(run: Run) -> Callable[[tg.Tensor, tg.Tensor, Any], tuple[tg.Tensor, Any]]:
    """One step of training, as a function of inputs and targets (T, B) and the state: the loss and the state after."""
    model, optimizer, clip, V = run.model, run.optimizer, run.settings.clip, len(run.vocabulary)

    def step(inputs: tg.Tensor, targets: tg.Tensor, state: Any) -> tuple[tg.Tensor, Any]:
        scores, state = model(inputs, state)
        loss = F.cross_entropy(scores.reshape(-1, V), targets.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        return loss.detach(), state.detach()

    return step


def train(
    run: Run,
    stream: nn.utils.Stream,
    folder: Path,
    device: str,
    save_every: float,
    show_every: float,
    compiled: bool = True,
) -> int:
    """Train until the budget is used.

    Args:
        compiled: let `tg.compile` make a program of a step, which is faster.
        save_every: seconds between checkpoints.
        show_every: seconds between samples.

    Returns:
        0, or the number of the signal that stopped it before.
    """
    settings = run.settings
    step = tg.compile(step_of(run)) if compiled else step_of(run)
    stream.position = run.position
    began, before = time.monotonic(), run.seconds
    done_before = run.step
    saved = shown = began
    with Progress() as progress, stop_requests() as stop, np.errstate(all="ignore"):  # a bad loss is noticed below
        for inputs, targets, begins in over_and_over(stream):
            if progress_of(run) >= 1 or stop:
                break
            run.optimizer.param_groups[0]["lr"] = learning_rate(run)
            state = run.state.reset() if begins and run.state is not None else run.state
            loss, run.state = step(inputs, targets, state)
            run.position, run.step = stream.position, run.step + 1
            now = time.monotonic()
            run.seconds = before + now - began
            run.recent.append(loss.item())
            if not run.recent[-1] < HOPELESS:  # nan too
                raise UserError(
                    f"the loss became {run.recent[-1]:g} at step {run.step}: lower --lr, or --clip. Nothing was saved"
                )
            if run.step % LOSS_EVERY == 0:
                run.losses.append((run.step, sum(run.recent) / len(run.recent)))
                run.recent.clear()
                done = progress_of(run)
                speed = (run.step - done_before) * settings.batch * settings.chunk / (now - began)
                progress.update(done, run.step, run.losses[-1][1], speed, run.seconds * (1 - done) / max(done, 1e-9))
            if now - shown >= show_every:
                shown = now
                progress.say(f"\n{excerpt(run, device, compiled)}\n")
            if now - saved >= save_every:
                saved = now
                run.save(folder / CHECKPOINT)
        run.save(folder / CHECKPOINT)
    return stop[0] if stop else 0


def over_and_over(stream: nn.utils.Stream) -> Iterator[tuple[tg.Tensor, tg.Tensor, bool]]:
    """Inputs and targets (T, B), and whether the streams begin anew here, so that the state must, too."""
    while True:
        begins = stream.position == 0
        for inputs, targets in stream:
            yield inputs, targets, begins
            begins = False


def excerpt(run: Run, device: str, compiled: bool, length: int = 200) -> str:
    """A sample of what the model writes now, set off by a bar."""
    generator = tg.Generator(run.settings.seed + run.step)  # its own stream: samples do not change the training
    return set_off(write(run.model, run.vocabulary, "", length, 0.8, generator, device, compiled))


def set_off(text: str) -> str:
    """The lines of a text behind a bar."""
    return "\n".join("  | " + line for line in text.splitlines())


def opening(passage: str) -> str:
    """The first few words of a line in a passage, for the model to go on from."""
    found = re.search(r"\n\s*((?:\S+ ){4})", passage)
    return found[1] if found else passage[:30]


def more_of(settings: Settings) -> tuple[str, int | float]:
    """The option that doubles the budget."""
    return ("--steps", 2 * settings.steps) if settings.steps else ("--minutes", 2 * (settings.minutes or 0))


def report(run: Run, corpus: Corpus, folder: Path, device: str, compiled: bool = True) -> None:
    """Judge the model on the held-out text, let it write, and say where everything is."""
    nats = evaluate(run.model, corpus.held_out, device)
    run.held_out.append((run.step, nats))
    run.save(folder / CHECKPOINT)
    print(f"\n{run.step} steps in {minutes(run.seconds)}. What it writes, after ▸:\n")
    for k in range(3):
        start = k * len(corpus.held_out) // 3
        prime = opening(corpus.vocabulary.decode(corpus.held_out[start : start + 300]))
        generator = tg.Generator(run.settings.seed + k)
        written = write(run.model, corpus.vocabulary, prime, 300, 0.7, generator, device, compiled)
        print(set_off(f"{prime}▸{written}") + "\n")
    print("nats per character of the held-out last tenth of the text, read from end to end:")
    for name, value in (("this model", nats), ("unigram model", corpus.unigram()), ("uniform model", corpus.uniform())):
        print(f"  {name:<14} {value:.3f} nats   {bits(value):.3f} bits")
    checkpoint = folder / CHECKPOINT
    print(f"\ncheckpoint  {checkpoint}")
    print(draw_losses(folder / "loss.png", run.losses, run.held_out) if run.losses else "no loss curve: too few steps")
    print(f"write more  {command('sample', '--checkpoint', checkpoint, device=device)}")
    print(f"train more  {command('train', '--resume', '--out', folder, *more_of(run.settings), device=device)}")

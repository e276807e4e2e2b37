"""Training: the loop, with all that happens around it in sight."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import nn
import nn.functional as F
import tinygrad_seq as tg
from tinygrad_seq import distributed as dist

from . import curve, ranks
from .checkpoint import Judgement, Run
from .errors import UserError
from .judge import Judge
from .model import bits
from .output import escaped, minutes
from .place import Place
from .progress import Progress
from .recipe import JUDGING, LAST_RATE, WARM_UP
from .signals import Requests
from .text import Corpus
from .write import Taste, write

LOSS_EVERY = 20  # steps that one point of the training curve stands for
STOPPED = 10.0  # times as long as usual: in such a step the process was stopped, or the machine asleep


@dataclass
class Options:
    """What does not change the result."""

    device: str = "cpu"
    compiled: bool = True
    save_every: float = 30.0  # seconds between checkpoints
    show_every: float = 40.0  # seconds between samples
    events: curve.Events | None = None


def progress_of(run: Run, step: int, seconds: float) -> float:
    """How much of the budget is used at a step, from 0 to 1."""
    if run.settings.steps is not None:
        return min(step / run.settings.steps, 1.0)
    return min(seconds / (60 * (run.settings.minutes or 1e-9)), 1.0)


def used(run: Run) -> float:
    """How much of the budget is used now."""
    return progress_of(run, run.step, run.seconds)


def learning_rate(run: Run) -> float:
    """A short warm-up, then half a cosine (Loshchilov & Hutter, 2017)."""
    warm = min((run.step + 1) / WARM_UP, 1.0)
    cosine = 0.5 * (1 + math.cos(math.pi * used(run)))
    return run.settings.lr * warm * (LAST_RATE + (1 - LAST_RATE) * cosine)


def out_of_patience(run: Run) -> bool:
    """Whether so many judgements as --patience says went by without a better one."""
    if run.settings.patience is None or run.best is None:
        return False
    return len(run.judged) - 1 - run.judged.index(run.best) >= run.settings.patience


def finished(run: Run) -> bool:
    return used(run) >= 1 or out_of_patience(run)


def due(run: Run) -> bool:
    """Whether it is time for a judgement: at equal shares of the budget, unless they took too long, and at its end."""
    last = run.judged[-1] if run.judged else Judgement(0, 0.0, 0.0, 0.0)
    if not run.step or run.step == last.step:
        return False
    if used(run) >= 1:
        return True
    if run.settings.steps is None and run.judging > JUDGING * run.seconds:
        return False
    N, before = run.settings.judgements, progress_of(run, last.step, last.seconds)
    return int(used(run) * N) > int(before * N)


class Clock:
    """Counts the seconds of steps. One that took far longer than usual counts as a usual one."""

    def __init__(self) -> None:
        self._usual: float | None = None
        self._began = 0.0

    def start(self) -> None:
        self._began = time.monotonic()

    def stop(self) -> float:
        """Seconds since `start`, as far as they count."""
        took = time.monotonic() - self._began
        if self._usual is None:  # the first one may compile; the next says what is usual
            self._usual = math.inf
        elif took > STOPPED * self._usual + 1:
            took = self._usual
        else:
            self._usual = min(self._usual, took) + 0.1 * max(took - self._usual, 0.0)
        return took


def step_of(run: Run) -> Callable[[tg.Tensor, tg.Tensor, Any], tuple[tg.Tensor, Any]]:
    """One step of training, as a function of inputs and targets (T, B) and the state: the loss and the state after.

    Of several processes each has its streams; the loss and the gradients are means over all of them.
    """
    model, optimizer, clip, V = run.model, run.optimizer, run.settings.clip, len(run.vocabulary)

    def step(inputs: tg.Tensor, targets: tg.Tensor, state: Any) -> tuple[tg.Tensor, Any]:
        scores, state = model(inputs, state)
        loss = F.cross_entropy(scores.reshape(-1, V), targets.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        loss = dist.average_gradients(model.parameters(), weight=targets.shape[1], loss=loss)
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        return loss.detach(), state.detach()

    return step


def train(run: Run, corpus: Corpus, place: Place, options: Options, progress: Progress, asked: Requests) -> None:
    """Train until the budget is used, the patience is out, or somebody asks to stop; and save."""
    step = tg.compile(step_of(run)) if options.compiled else step_of(run)
    judge = Judge(run.model, corpus.tokens, corpus.cut, options.device, options.compiled)
    mine = dist.shard(run.settings.batch)
    stream = nn.utils.stream(corpus.train, run.settings.batch, run.settings.chunk, options.device, streams=mine)
    stream.position, run.state = run.position, ranks.mine(run.state, mine)
    clock, done_before, seconds_before = Clock(), run.step, run.seconds
    stop, saved_at = 0.0, time.monotonic()
    shown_at = saved_at
    progress.update(used(run), "making the program of a step" if options.compiled else "starting")
    with np.errstate(all="ignore"):  # a bad loss is noticed below
        for inputs, targets, begins in over_and_over(stream):
            if due(run) and not stop:
                stop = judged(run, judge, mine, place, options, progress, asked)
            if finished(run) or stop:
                break
            clock.start()
            run.optimizer.param_groups[0]["lr"] = learning_rate(run)
            state = run.state.reset() if begins and run.state is not None else run.state
            loss, run.state = step(inputs, targets, state)
            run.recent.append(loss.item())
            run.position, run.step = stream.position, run.step + 1
            run.seconds += clock.stop()
            if run.step % LOSS_EVERY == 0 or not math.isfinite(run.recent[-1]):
                ranks.together(run.require_sound)
                run.losses.append((run.step, run.training_loss))
                run.recent.clear()
            tokens = (run.step - done_before) * run.settings.batch * run.settings.chunk
            show(run, progress, tokens / max(run.seconds - seconds_before, 1e-9))
            if ranks.is_first() and time.monotonic() - shown_at >= options.show_every:
                shown_at = time.monotonic()
                progress.say(f"\n{excerpt(run, options)}\n")
            late = float(time.monotonic() - saved_at >= options.save_every)
            run.seconds, late, stop, wanted = ranks.agreed([run.seconds, late], [asked.stop, asked.save])
            if late or wanted:
                saved_at, asked.save = time.monotonic(), False
                if saved(run, mine, place) and wanted:
                    progress.say(f"saved at step {run.step} to {place.checkpoint}")
        asked.stop = asked.stop or int(stop)
        all_of_it = ranks.whole(run, mine)
        ranks.by_first(lambda: place.save_at_last(all_of_it, may_ask=asked.stop in (0, signal.SIGINT)))


def saved(run: Run, mine: slice, place: Place, best: bool = False) -> bool:
    """Let rank 0 write the run, and the same as the best one if it is; whether it could. False on other ranks."""
    all_of_it = ranks.whole(run, mine)
    return bool(ranks.by_first(lambda: place.save(all_of_it, best)))


def judged(
    run: Run, judge: Judge, mine: slice, place: Place, options: Options, progress: Progress, asked: Requests
) -> float:
    """Judge the model, keep it if it is the best so far, and write the curve. Given up if somebody asks to stop.

    Returns:
        The number of the signal that asks to stop, or 0: the same on all ranks.
    """

    def tick(done: float) -> bool:
        progress.update(used(run), f"judging {done:.0%}")
        return bool(asked.stop)

    def nats() -> float | None:
        run.require_sound()
        found = judge(run.settings.judged_tokens, tick)
        if found is not None and not math.isfinite(found[0]):
            raise UserError(
                f"the held-out loss became {found[0]} at step {run.step}: lower --lr. This model was not saved"
            )
        return None if found is None else found[0]

    if used(run) >= 1:  # whatever happens now, this one is there
        saved(run, mine, place)
    began = time.monotonic()
    found = ranks.by_first(nats)
    held_out, stop = ranks.agreed([-math.inf if found is None else found], [asked.stop])
    if held_out < 0:
        return stop
    before = run.best
    run.judged.append(Judgement(run.step, run.seconds, run.training_loss, held_out))
    newest, best = run.judged[-1], run.best
    if best is newest:
        saved(run, mine, place, best=True)
    progress.say(
        f"step {run.step}: held out {newest.nats:.3f} nats, {bits(newest.nats):.3f} bits; "
        f"training {newest.training:.3f}"
    )
    since = len(run.judged) - 1 - run.judged.index(best or newest)
    if since == 2 and before is not None:
        progress.say(
            f"the held-out loss rises since step {before.step}: the model learns by heart. "
            f"The best one is kept in {place.best}"
        )
    ranks.by_first(lambda: place.curves(run, options.events))
    run.judging, stop = ranks.agreed([run.judging + time.monotonic() - began], [asked.stop])
    return stop


def show(run: Run, progress: Progress, speed: float) -> None:
    """Where the training stands, the most important first."""
    done, loss = used(run), run.training_loss
    left = run.seconds * (1 - done) / max(done, 1e-9)
    progress.update(
        done,
        f"step {run.step}",
        f"{loss:.3f} nats",
        f"{minutes(left)} left",
        f"{bits(loss):.3f} bits/{run.vocabulary.unit}",
        f"{speed:,.0f} {run.vocabulary.kind}/s",
    )


def over_and_over(stream: nn.utils.Stream) -> Iterator[tuple[tg.Tensor, tg.Tensor, bool]]:
    """Inputs and targets (T, B), and whether the streams begin anew here, so that the state must, too."""
    while True:
        begins = stream.position == 0
        for inputs, targets in stream:
            yield inputs, targets, begins
            begins = False


def excerpt(run: Run, options: Options, length: int = 200) -> str:
    """A sample of what the model writes now, set off by a bar."""
    generator = tg.Generator(run.settings.seed + run.step)  # its own stream: samples do not change the training
    pieces = write(run.model, run.vocabulary, "", length, Taste(), generator, options.device, options.compiled)
    return set_off(escaped("".join(pieces)))


def set_off(text: str) -> str:
    """The lines of a text behind a bar."""
    return "\n".join("  | " + line for line in text.splitlines())

"""What is said at the end of a training: how good the model is, what it writes, and where everything is."""

from __future__ import annotations

import re

import tinygrad_seq as tg

from .checkpoint import Run
from .folder import CURVE, METRICS, PAGE, checkpoint_in
from .look import LENGTH
from .model import bits
from .output import command, escaped, minutes, say
from .page import text_name, write_page
from .place import Place, reason
from .signals import Requests
from .text import Corpus
from .train import Options, set_off
from .write import Taste, write

MULTIPLICATIONS = 15 * 10**9  # that reading the page's text may cost: all of it takes some seconds then
SHORTEST = 1000  # tokens on the page, however large the model


def opening(passage: str) -> str:
    """The first few words of a line in a passage, for the model to go on from."""
    found = re.search(r"\n\s*((?:\S+ ){4})", passage)
    return found[1] if found else passage[:30]


def more_of(run: Run) -> tuple[str, int | float]:
    """The option that doubles the budget."""
    s = run.settings
    return ("--steps", 2 * s.steps) if s.steps else ("--minutes", 2 * (s.minutes or 0))


def samples(run: Run, corpus: Corpus, options: Options, asked: Requests) -> None:
    """Three passages of the held-out text, and how the model goes on from each."""
    for k in range(3):
        start = k * len(corpus.held_out) // 3
        prime = opening(corpus.vocabulary.decode(corpus.held_out[start : start + 300].tolist()))
        generator = tg.Generator(run.settings.seed + k)
        pieces = write(
            run.model, corpus.vocabulary, prime, 300, Taste(0.7), generator, options.device, options.compiled
        )
        written = ""
        for piece in pieces:
            written += piece
            if asked.stop:
                return
        say(set_off(escaped(f"{prime}▸{written}")) + "\n")


def look_into(run: Run, corpus: Corpus, place: Place, options: Options) -> None:
    """The page to look into the best model, of as much of the held-out text as takes a few seconds."""
    length = min(LENGTH, max(MULTIPLICATIONS // sum(p.numel() for p in run.model.parameters()), SHORTEST))
    page, tokens = place.folder / PAGE, corpus.held_out[:length]
    try:
        is_best = run.best is None or run.best.step == run.step or not place.best.exists()
        best = run if is_best else Run.load(checkpoint_in(place.folder), options.device)
        write_page(page, best, tokens, f"{text_name(run)}, held out", options.device, options.compiled, run)
        say(f"look inside {page}")
    except Exception as error:  # all is saved: whatever is wrong with the page is no reason to fail
        say(f"no page to look inside: {reason(error)}")


def report(run: Run, corpus: Corpus, place: Place, options: Options, asked: Requests) -> None:
    """Say it all. Everything is saved by now."""
    say(f"\n{run.step} steps in {minutes(run.seconds)}. What it writes, after ▸:\n")
    samples(run, corpus, options, asked)
    if asked.stop:
        return
    read = min(run.settings.judged_tokens, len(corpus.held_out) - 1)
    say(
        f"nats per {run.vocabulary.unit} of the held-out last tenth of the text:"
        if read == len(corpus.held_out) - 1
        else f"nats per {run.vocabulary.unit}, of {read:,} of the {len(corpus.held_out):,} that were held out:"
    )
    figures = [("this model", run.judged[-1].nats)] if run.judged else []
    if run.best is not None and run.best is not run.judged[-1]:
        figures.append((f"the best, step {run.best.step}", run.best.nats))
    figures += [("unigram model", corpus.unigram()), ("uniform model", corpus.uniform())]
    width = max(len(name) for name, _ in figures)
    for name, value in figures:
        say(f"  {name:<{width}} {value:.3f} nats   {bits(value):.3f} bits")
    say(f"\ncheckpoint  {place.checkpoint}")
    if place.best.exists():
        say(f"best model  {place.best}")
    if (place.folder / CURVE).exists():
        say(f"loss curve  {place.folder / CURVE}, {METRICS}")
    if place.aside is not None:
        say(f"run before  {place.aside}, not judged worse than this one")
    look_into(run, corpus, place, options)
    say(f"write more  {command('sample', '--checkpoint', place.folder, device=options.device)}")
    say(f"train more  {command('train', '--resume', '--out', place.folder, *more_of(run), device=options.device)}")

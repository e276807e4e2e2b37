"""How a training begins: anew, as a run that goes on, or with what another model learned; and how it ends."""

from __future__ import annotations

import argparse
import contextlib
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

from tinygrad_seq import distributed as dist

from . import curve, ranks, recipe
from .checkpoint import Run
from .errors import UserError
from .folder import BEST, CHECKPOINT, checkpoint_in, has_run, locked, prepare, tidy
from .options import DEFAULT_OUT
from .output import command, minutes
from .place import Place
from .progress import Progress
from .reading import known_encoding
from .report import more_of, report
from .settings import Settings, same_run
from .signals import Requests
from .text import Corpus, Text
from .train import Options, finished, learning_rate, out_of_patience, train, used


def run_train(given: argparse.Namespace, device: str) -> int:
    source = given.resume if isinstance(given.resume, Path) else given.out or DEFAULT_OUT
    old = checkpoint_in(source, (CHECKPOINT,))
    out = given.out or (old.parent if given.resume else DEFAULT_OUT)
    with contextlib.ExitStack() as held:
        progress = held.enter_context(Progress(given.quiet))
        place = Place(out, progress, replaces=has_run(out) and given.overwrite)
        first = ranks.by_first(lambda: prepared(given, old, device, place, progress, held))
        run = ranks.copied(first and first[0], device)
        corpus = ranks.together(lambda: first[1] if first else followed(run, out))
        if given.resume and finished(run) and run.judged and run.judged[-1].step == run.step:
            return nothing_to_do(run, place, device, progress)
        options = Options(
            device,
            not given.no_compile,
            given.save_every,
            given.show_every,
            ranks.by_first(lambda: curve.Events(out)) if given.tensorboard else None,
        )
        progress.say(
            f"{len(corpus.train):,} {corpus.vocabulary.kind} to learn from, {len(corpus.vocabulary):,} different; "
            f"{sum(p.numel() for p in run.model.parameters()):,} parameters"
        )
        return to_the_end(run, corpus, place, options, progress)


def prepared(
    given: argparse.Namespace,
    old: Path,
    device: str,
    place: Place,
    progress: Progress,
    held: contextlib.ExitStack,
) -> tuple[Run, Corpus]:
    """The run and its text, on rank 0; the folder belongs to it as long as `held` says."""
    out = place.folder
    settings = {f.name: getattr(given, f.name) for f in fields(Settings) if hasattr(given, f.name)}
    if "encoding" in settings:
        settings["encoding"] = known_encoding(settings["encoding"])
    if given.resume and given.init_from:
        raise UserError("--init-from begins a new run, and --resume goes on with one: leave one of them out")
    if has_run(out) and not given.overwrite and not (given.resume and out.resolve() == old.parent.resolve()):
        raise UserError(
            f"{out / CHECKPOINT} exists: go on with it (--resume), replace it (--overwrite), or choose another --out"
        )
    if given.resume and not old.is_file():
        Run.load(old, device)  # says that there is none
    prepare(out)
    held.enter_context(locked(out))
    tidy(out)
    if given.resume:
        run, corpus = resume(settings, old, out, device, progress)
        place.complete(run)
    else:
        run, corpus = begin(settings, out, device, given.init_from, progress)
    processes, batch = dist.get_world_size(), run.settings.batch
    if batch < processes:
        raise UserError(
            f"{processes} processes cannot share {batch} streams: start {batch} of them at most"
            + ("" if given.resume else ", or take a larger --batch")
        )
    if processes > 1:
        progress.say(f"{processes} processes train together, each on {batch / processes:.3g} of the {batch} streams")
    return run, corpus


def followed(run: Run, out: Path) -> Corpus:
    """The text that rank 0 has found, on another rank."""
    s = run.settings
    text = Text(None if s.text is None else [Path(path) for path in s.text], s.encoding, s.tokens)
    if text.digest != s.digest:
        raise UserError(
            f"rank {dist.get_rank()} reads another text than rank 0 in {text}: all processes need the same files"
        )
    out.mkdir(parents=True, exist_ok=True)  # on a host that does not share rank 0's disk
    return text.corpus(out, run.vocabulary)


def to_the_end(run: Run, corpus: Corpus, place: Place, options: Options, progress: Progress) -> int:
    """Train, judge, report; say how to go on when that is stopped."""
    with Requests(progress.say) as asked:
        try:
            train(run, corpus, place, options, progress, asked)
            if not asked.stop and not progress.quiet and ranks.is_first():
                if out_of_patience(run):
                    progress.say(f"stopped early: {run.settings.patience} judgements without a better one")
                report(run, corpus, place, options, asked)
        except UserError as error:
            raise UserError(f"{error}. {place.left()}") from None
        except MemoryError:
            raise UserError(
                "out of memory: take a smaller --hidden, --layers, --batch or --chunk, or close other programs. "
                f"{place.left()}"
            ) from None
        except KeyboardInterrupt:
            progress.warn(f"stopped at step {run.step}, without saving it. {place.left()}")
            return 130
    if asked.stop:
        progress.say(f"\nstopped at step {run.step}; saved to {place.checkpoint}")
        progress.say(f"go on with: {command('train', '--resume', '--out', place.folder, device=options.device)}")
        return 128 + asked.stop
    if place.moved:
        progress.warn(f"the run could not be saved where it was meant to be; it is in {place.folder}")
    return int(place.moved)


def begin(
    given: dict[str, Any], out: Path, device: str, init_from: Path | None, progress: Progress
) -> tuple[Run, Corpus]:
    """A new run, with the settings that were given, and what the recipe chooses for the rest."""
    paths = given.pop("text", None)
    text = Text(paths, given.get("encoding"), given.get("tokens", Settings.tokens))
    before = None if init_from is None else Run.load(checkpoint_in(init_from), device)
    if before is not None:
        kept = ("cell", "hidden", "embedding", "layers", "tokens")
        for name in kept:
            given.setdefault(name, getattr(before.settings, name))
        same_run({k: given[k] for k in kept}, before.settings, init_from)
    corpus = text.corpus(out)
    require_enough(len(corpus.tokens), given)
    settings = recipe.choose(given, len(corpus.train), len(corpus.vocabulary), dist.get_world_size())
    recipe.require_room(settings, len(corpus.vocabulary))
    settings.text = None if paths is None else [str(path.resolve()) for path in paths]
    settings.digest = text.digest
    run = Run.new(settings, corpus.vocabulary, device)
    if before is not None:
        shared = take_over(run, before)
        progress.say(f"begins with {init_from}: {shared} of {len(corpus.vocabulary)} {settings.tokens} are known to it")
    s = settings
    progress.say(
        f"{s.cell}, {s.layers} × {s.hidden} units, batch {s.batch}, chunk {s.chunk}, dropout {s.dropout:g}, "
        f"learning rate {s.lr:g}: see recipe.py"
    )
    return run, corpus


def take_over(run: Run, before: Run) -> int:
    """The weights of another model; of the tokens' rows, those of tokens that both know. How many these are."""
    theirs = {token: i for i, token in enumerate(before.vocabulary.tokens)}
    pairs = [(i, theirs[token]) for i, token in enumerate(run.vocabulary.tokens) if token in theirs]
    mine, old = run.model.state_dict(), before.model.state_dict()
    for name, value in old.items():
        if name.startswith("recurrent."):
            mine[name] = value
        elif pairs:
            new = mine[name].clone()
            new[[i for i, _ in pairs]] = value[[k for _, k in pairs]]
            mine[name] = new
    run.model.load_state_dict(mine)
    return len(pairs)


def require_enough(length: int, given: dict[str, Any]) -> None:
    """Refuse a text too short to learn from and to be judged by."""
    learned = length * 9 // 10
    batch, chunk = given.get("batch", 1), given.get("chunk", 1)
    if learned // batch <= chunk:
        raise UserError(
            f"the text is too short: {learned} tokens to learn from make {batch} streams of {learned // batch}, less "
            f"than a chunk of {chunk} + 1. Give a longer text, or a smaller --batch or --chunk"
        )
    if length - learned < 2:
        raise UserError(f"the text is too short: of {length} tokens, the last tenth, to judge by, has less than 2")


def resume(given: dict[str, Any], old: Path, out: Path, device: str, progress: Progress) -> tuple[Run, Corpus]:
    """The run in a checkpoint. Its budget, rate, patience and the place of its text may be given anew; nothing else."""
    run = Run.load(old, device)
    s = run.settings
    paths = given.pop("text", None if s.text is None else [Path(path) for path in s.text])
    text = Text(paths, given.pop("encoding", s.encoding), s.tokens)
    if text.digest != s.digest:
        raise UserError(
            f"{text} is not the text that {old} was learning. Give that one with --text, or begin anew with another "
            "--out"
        )
    s.text = None if paths is None else [str(path.resolve()) for path in paths]
    rate, done = learning_rate(run), used(run)
    if given.keys() & {"steps", "minutes"}:
        s.steps, s.minutes = given.pop("steps", None), given.pop("minutes", None)
    s.lr, s.patience = given.pop("lr", s.lr), given.pop("patience", s.patience)
    same_run(given, s, old)
    progress.say(f"going on with {old} at step {run.step}")
    if learning_rate(run) != rate:
        progress.say(
            f"the learning rate goes from {rate:.2g} to {learning_rate(run):.2g}, since {used(run):.0%} of the budget "
            f"are used now, where it was {done:.0%}; it falls to {s.lr * recipe.LAST_RATE:.2g} at the end"
        )
    if out.resolve() != old.parent.resolve() and (old.parent / BEST).is_file():
        try:
            shutil.copyfile(old.parent / BEST, out / f".{BEST}.copy.tmp")
            (out / f".{BEST}.copy.tmp").replace(out / BEST)
        except OSError as error:
            raise UserError(f"cannot copy the best model to {out}: {error.strerror}. Choose another --out") from None
    return run, text.corpus(out, run.vocabulary)


def nothing_to_do(run: Run, place: Place, device: str, progress: Progress) -> int:
    """A run that is finished already."""
    budget = (
        f"{run.settings.steps} steps" if run.settings.steps else f"{minutes(60 * (run.settings.minutes or 0))} minutes"
    )
    why = "the patience is out" if out_of_patience(run) and used(run) < 1 else f"all of its {budget} are used"
    progress.say(
        f"this run is finished at step {run.step}: {why}. To train more: "
        f"{command('train', '--resume', '--out', place.folder, *more_of(run), device=device)}"
    )
    return 0

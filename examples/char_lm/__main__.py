"""The command line: `train` and `sample`."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

import nn
import tinygrad_seq as tg

from .checkpoint import Run, Settings
from .display import command
from .errors import UserError
from .model import write
from .text import Corpus, digest, read
from .train import CHECKPOINT, prepare_folder, report, train

DEFAULT_OUT = Path("runs/char_lm")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all others of this program."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"char_lm: {message}. See {self.prog} --help\n")


def number(kind: Callable[[str], Any], test: Callable[[Any], bool], takes: str) -> Callable[[str], Any]:
    """A type of option: a number that passes a test."""

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and test(value)):
            raise argparse.ArgumentTypeError(f"takes {takes}, got {text!r}")
        return value

    return parse


positive = number(float, lambda x: x > 0, "a number above 0")
not_negative = number(float, lambda x: x >= 0, "a number from 0 on")
probability = number(float, lambda x: 0 <= x < 1, "a number from 0 to below 1")
count = number(int, lambda x: x >= 1, "a whole number from 1 on")


def parser() -> argparse.ArgumentParser:
    main = Parser(prog="char_lm", description="A character-level language model: train it, let it write.")
    commands = main.add_subparsers(dest="command", required=True)

    learn = commands.add_parser("train", help="learn a text", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    learn.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder for the checkpoint and the loss curve")
    start = learn.add_mutually_exclusive_group()
    start.add_argument("--resume", action="store_true", help="go on with the checkpoint in that folder, as it was set")
    start.add_argument("--overwrite", action="store_true", help="begin anew where there is a checkpoint")
    learn.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    learn.add_argument("--no-compile", action="store_true", help="let Python run each step, operation by operation")
    learn.add_argument("--save-every", type=positive, default=30.0, help="seconds between checkpoints")
    learn.add_argument("--show-every", type=positive, default=40.0, help="seconds between samples")

    # the rest is the run's own and stands in its checkpoint: what is not given here is not in the result either
    def setting(group: Any, name: str, kind: Callable[[str], Any], help: str) -> None:
        default = getattr(Settings, name)
        shown = help if default is None else f"{help} (default: {default})"
        group.add_argument(f"--{name}", type=kind, default=argparse.SUPPRESS, help=shown)

    budget = learn.add_mutually_exclusive_group()
    setting(budget, "minutes", positive, "train for so long in all (default: 2, if --steps is not given either)")
    setting(budget, "steps", count, "train for so many steps in all")
    setting(learn, "text", Path, "a UTF-8 file (default: Python's own documentation)")
    setting(learn, "hidden", count, "size of the LSTM's state")
    setting(learn, "embedding", count, "size of a character's vector")
    setting(learn, "layers", count, "LSTM layers")
    setting(learn, "dropout", probability, "share of each layer's outputs dropped in training")
    setting(learn, "batch", count, "streams read in parallel")
    setting(learn, "chunk", count, "characters per stream and step")
    setting(learn, "lr", positive, "highest learning rate")
    setting(learn, "clip", positive, "longest gradient")
    setting(learn, "seed", int, "of all random numbers")

    say = commands.add_parser("sample", help="write", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    say.add_argument("--checkpoint", type=Path, default=DEFAULT_OUT / CHECKPOINT, help="what `train` saved")
    say.add_argument("--prime", default="", help="how the text begins")
    say.add_argument("--length", type=count, default=500, help="characters to write")
    say.add_argument("--temperature", type=not_negative, default=0.8, help="0: always the likeliest; 1: as learned")
    say.add_argument("--seed", type=int, default=0, help="another one, another text")
    say.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    say.add_argument("--no-compile", action="store_true", help="let Python run each step, operation by operation")
    return main


def check_device(name: str) -> str:
    """The name of a device that works."""
    try:
        tg.zeros(1, device=name)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{error}. Or leave --device out, for the CPU") from None
    return name


def begin(given: dict[str, Any], device: str) -> tuple[Run, Corpus]:
    """A new run, with the settings that were given."""
    path = given.pop("text", None)
    text = read(path)
    corpus = Corpus.of(text)
    if not given.keys() & {"steps", "minutes"}:
        given["minutes"] = 2.0
    settings = Settings(text=str(path.resolve()) if path else None, digest=digest(text), **given)
    return Run.new(settings, corpus.vocabulary, device), corpus


def resume(given: dict[str, Any], checkpoint: Path, device: str) -> tuple[Run, Corpus]:
    """The run in a checkpoint. Its budget and the place of its text may be given anew; all else must be as it was."""
    run = Run.load(checkpoint, device)
    path = given.pop("text", Path(run.settings.text) if run.settings.text else None)
    text = read(path)
    if digest(text) != run.settings.digest:
        raise UserError(
            f"{path or 'the documentation of this Python'} is not the text that {checkpoint} was learning. Give that "
            "one with --text, or begin anew with another --out"
        )
    run.settings.text = str(path.resolve()) if path else None
    if given.keys() & {"steps", "minutes"}:
        run.settings.steps, run.settings.minutes = given.pop("steps", None), given.pop("minutes", None)
    for name, value in given.items():
        if value != getattr(run.settings, name):
            raise UserError(
                f"{checkpoint} was trained with --{name} {getattr(run.settings, name)}, not {value}. Leave the option "
                "out to go on, or begin anew with another --out"
            )
    print(f"going on with {checkpoint} at step {run.step}")
    return run, Corpus.of(text, run.vocabulary)


def run_train(options: argparse.Namespace) -> int:
    device, checkpoint = check_device(options.device), options.out / CHECKPOINT
    given = {f.name: getattr(options, f.name) for f in fields(Settings) if hasattr(options, f.name)}
    if checkpoint.is_file() and not (options.resume or options.overwrite):
        raise UserError(
            f"{checkpoint} exists: go on with it (--resume), replace it (--overwrite), or choose another --out"
        )
    run, corpus = resume(given, checkpoint, device) if options.resume else begin(given, device)
    batch, chunk = run.settings.batch, run.settings.chunk
    if len(corpus.train) // batch <= chunk:
        raise UserError(
            f"the text is too short: {len(corpus.train)} characters to learn from make {batch} streams of "
            f"{len(corpus.train) // batch}, less than a chunk of {chunk} + 1. Give a longer text, or a smaller "
            "--batch or --chunk"
        )
    stream = nn.utils.stream(tg.tensor(corpus.train, device=device), batch, chunk)
    prepare_folder(options.out)
    print(
        f"{len(corpus.train):,} characters to learn from, {len(corpus.vocabulary)} different; "
        f"{sum(p.numel() for p in run.model.parameters()):,} parameters"
    )
    compiled = not options.no_compile
    stopped_by = train(run, stream, options.out, device, options.save_every, options.show_every, compiled)
    if stopped_by:
        print(f"\nstopped at step {run.step}; saved to {checkpoint}")
        print(f"go on with: {command('train', '--resume', '--out', options.out, device=device)}")
        return 128 + stopped_by
    report(run, corpus, options.out, device, compiled)
    return 0


def run_sample(options: argparse.Namespace) -> int:
    device = check_device(options.device)
    run = Run.load(options.checkpoint, device)
    generator = tg.Generator(options.seed)
    compiled = not options.no_compile
    model, settings = run.model, (options.prime, options.length, options.temperature)
    written = write(model, run.vocabulary, *settings, generator, device, compiled)
    print(options.prime + written)
    return 0


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if hasattr(sys.stdout, "reconfigure"):  # a terminal may lack characters that the model has
        sys.stdout.reconfigure(errors="replace")
    try:
        return run_train(options) if options.command == "train" else run_sample(options)
    except UserError as error:
        print(f"char_lm: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # outside of the training loop, which saves first
        print("\nstopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # as in `sample | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())

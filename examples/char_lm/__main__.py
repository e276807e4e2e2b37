"""The command line: `train` and `sample`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import tinygrad_seq as tg

from .checkpoint import Run, Settings
from .errors import UserError
from .model import write
from .text import Corpus, Vocabulary, read
from .train import prepare_folder, report, train

DEFAULT_OUT = Path("runs/char_lm")


def positive(text: str) -> float:
    value = float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"must be above 0, got {text}")
    return value


def count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, got {text}")
    return value


def not_negative(text: str) -> float:
    value = float(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must not be negative, got {text}")
    return value


def probability(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be from 0 to below 1, got {text}")
    return value


def parser() -> argparse.ArgumentParser:
    """The options. The defaults were chosen by what learns most in two minutes on two cores."""
    main = argparse.ArgumentParser(
        prog="char_lm", description="A character-level language model: train it, let it write."
    )
    commands = main.add_subparsers(dest="command", required=True)

    learn = commands.add_parser("train", help="learn a text", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    learn.add_argument("--text", type=Path, help="a UTF-8 file; by default Python's own documentation")
    learn.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder for the checkpoint and the loss curve")
    learn.add_argument("--resume", action="store_true", help="go on with the checkpoint in that folder, as it was set")
    budget = learn.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=positive, help="train for so long (2 if --steps is not given either)")
    budget.add_argument("--steps", type=count, help="train for so many steps")
    learn.add_argument("--hidden", type=count, default=256, help="size of the LSTM's state")
    learn.add_argument("--embedding", type=count, default=64, help="size of a character's vector")
    learn.add_argument("--layers", type=count, default=1, help="LSTM layers")
    learn.add_argument("--dropout", type=probability, default=0.0, help="between layers")
    learn.add_argument("--batch", type=count, default=48, help="streams read in parallel")
    learn.add_argument("--chunk", type=count, default=50, help="characters per stream and step")
    learn.add_argument("--lr", type=positive, default=1e-2, help="highest learning rate")
    learn.add_argument("--clip", type=positive, default=1.0, help="longest gradient")
    learn.add_argument("--seed", type=int, default=0)
    learn.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    learn.add_argument("--save-every", type=positive, default=30.0, help="seconds between checkpoints")
    learn.add_argument("--show-every", type=positive, default=40.0, help="seconds between samples")

    say = commands.add_parser("sample", help="write", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    say.add_argument("--checkpoint", type=Path, default=DEFAULT_OUT / "checkpoint.npz")
    say.add_argument("--prime", default="", help="how the text begins")
    say.add_argument("--length", type=count, default=500, help="characters to write")
    say.add_argument("--temperature", type=not_negative, default=0.8, help="0: always the likeliest; 1: as learned")
    say.add_argument("--seed", type=int, default=0)
    say.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    return main


def check_device(name: str) -> str:
    try:
        with tg.device(name):
            return name
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{error}. Or leave --device out, for the CPU") from None


def run_train(options: argparse.Namespace) -> int:
    device = check_device(options.device)
    checkpoint = options.out / "checkpoint.npz"
    if options.resume:
        run = Run.load(checkpoint, device)
        if options.steps is not None or options.minutes is not None:
            run.settings.steps, run.settings.minutes = options.steps, options.minutes
        learned = run.settings.text
        corpus = Corpus.of(read(Path(learned) if learned else None), run.vocabulary)
        print(f"going on at step {run.step}")
    else:
        corpus = Corpus.of(read(options.text))
        names = ("hidden", "embedding", "layers", "dropout", "batch", "chunk", "lr", "clip", "seed", "steps", "minutes")
        chosen = {name: getattr(options, name) for name in names}
        if options.steps is None and options.minutes is None:
            chosen["minutes"] = 2.0
        text = str(options.text.resolve()) if options.text else None
        run = Run.new(Settings(text=text, **chosen), corpus.vocabulary, device)
    if len(corpus.held_out) < 2:
        raise UserError("the text is too short: its last tenth must have 2 characters at least. Give a longer one")
    prepare_folder(options.out)
    parameters = sum(p.numel() for p in run.model.parameters())
    print(
        f"{len(corpus.train):,} characters to learn from, {len(corpus.vocabulary)} different; {parameters:,} parameters"
    )
    finished = train(run, corpus, options.out, device, options.save_every, options.show_every)
    if not finished:
        print(f"\nstopped at step {run.step}; saved to {checkpoint}")
        print(f"go on with: python -m examples.char_lm train --resume --out {options.out}")
        return 130
    report(run, corpus, options.out, device)
    return 0


def run_sample(options: argparse.Namespace) -> int:
    device = check_device(options.device)
    run = Run.load(options.checkpoint, device)
    vocabulary: Vocabulary = run.vocabulary
    generator = tg.Generator(options.seed)
    written = write(run.model, vocabulary, options.prime, options.length, options.temperature, generator, device)
    print(options.prime + written)
    return 0


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        return run_train(options) if options.command == "train" else run_sample(options)
    except UserError as error:
        print(f"char_lm: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # as in `sample | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())

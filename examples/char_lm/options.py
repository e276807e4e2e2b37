"""The command line's options."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from .cells import CELLS
from .look import LENGTH
from .settings import Settings
from .vocabulary import KINDS

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
share = number(float, lambda x: 0 < x <= 1, "a number above 0, up to 1")
count = number(int, lambda x: x >= 1, "a whole number from 1 on")


def parser() -> argparse.ArgumentParser:
    main = Parser(prog="char_lm", description="A character-level language model: train it, let it write.")
    commands = main.add_subparsers(dest="command", required=True)
    _train(commands.add_parser("train", help="learn a text"))
    _sample(commands.add_parser("sample", help="write"))
    _score(commands.add_parser("score", help="say how surprising a text is"))
    _look(commands.add_parser("look", help="write a page on which one sees what the model expects, and what it does"))
    return main


def _train(learn: argparse.ArgumentParser) -> None:
    learn.add_argument(
        "--out", type=Path, help=f"folder for the checkpoint and the loss curve (default: {DEFAULT_OUT})"
    )
    start = learn.add_mutually_exclusive_group()
    start.add_argument(
        "--resume", type=Path, nargs="?", const=True, metavar="FOLDER",
        help="go on with the run in that folder (default: --out), as it was set",
    )  # fmt: skip
    start.add_argument(
        "--overwrite", action="store_true", help="begin anew where there is a run; it is kept until this one is better"
    )
    learn.add_argument(
        "--init-from", type=Path, metavar="CHECKPOINT",
        help="begin with what another model learned, on another text: what both know keeps its numbers",
    )  # fmt: skip
    _common(learn)
    learn.add_argument("--save-every", type=positive, default=30.0, help="seconds between checkpoints (default: 30)")
    learn.add_argument("--show-every", type=positive, default=40.0, help="seconds between samples (default: 40)")
    learn.add_argument("--quiet", action="store_true", help="say only what goes wrong")
    learn.add_argument("--tensorboard", action="store_true", help="write the curve for TensorBoard, too")

    # the rest is the run's own and stands in its checkpoint: what is not given here is not in the result either
    def setting(group: Any, name: str, kind: Callable[[str], Any], help: str, **more: Any) -> None:
        group.add_argument(f"--{name}", type=kind, default=argparse.SUPPRESS, help=help, **more)

    budget = learn.add_mutually_exclusive_group()
    setting(budget, "minutes", positive, "train for so long in all (default: 2, if --steps is not given either)")
    setting(budget, "steps", count, "train for so many steps in all")
    setting(learn, "text", Path, "files and folders (default: Python's own documentation)", nargs="+")
    setting(learn, "encoding", str, "of the text (default: found out)")
    setting(learn, "tokens", str, "what the model reads and writes (default: characters)", choices=[*KINDS])
    setting(learn, "cell", str, f"the recurrent layers (default: {Settings.cell})", choices=[*CELLS])
    setting(learn, "seed", int, f"of all random numbers (default: {Settings.seed})")
    setting(learn, "patience", count, "stop after so many judgements without a better one (default: never)")
    chosen = learn.add_argument_group("chosen by the text, the budget and the machine, if not given (see recipe.py)")
    setting(chosen, "hidden", count, "units of a layer")
    setting(chosen, "embedding", count, "size of a token's vector")
    setting(chosen, "layers", count, "recurrent layers")
    setting(chosen, "dropout", probability, "share of each layer's outputs dropped in training")
    setting(chosen, "embedding-dropout", probability, "share of the embeddings dropped in training")
    setting(chosen, "recurrent-dropout", probability, "share of the state dropped in training")
    setting(chosen, "batch", count, "streams read in parallel")
    setting(chosen, "chunk", count, "tokens per stream and step")
    setting(chosen, "lr", positive, "highest learning rate; on --resume, too")
    setting(chosen, "weight-decay", not_negative, "AdamW's")
    setting(chosen, "clip", positive, f"longest gradient (default: {Settings.clip})")


def _sample(say: argparse.ArgumentParser) -> None:
    _model(say)
    prime = say.add_mutually_exclusive_group()
    prime.add_argument("--prime", default="", help="how the text begins")
    prime.add_argument("--prime-file", type=Path, help="a file in which it stands; - for standard input")
    say.add_argument("--skip-unknown", action="store_true", help="leave out of the prime what the model does not know")
    say.add_argument("--no-prime", action="store_true", help="print what the model wrote alone")
    say.add_argument("--length", type=count, default=500, help="tokens to write (default: 500)")
    say.add_argument("--stop", default="", help="stop before this")
    say.add_argument("--samples", type=count, default=1, help="so many texts (default: 1)")
    say.add_argument(
        "--temperature", type=not_negative, default=0.8,
        help="0: always the likeliest; 1: as learned (default: 0.8)",
    )  # fmt: skip
    say.add_argument("--top-k", type=count, help="draw among so many of the likeliest")
    say.add_argument("--top-p", type=share, help="draw among the likeliest that have this probability together")
    say.add_argument("--seed", type=int, default=0, help="another one, another text (default: 0)")


def _score(score: argparse.ArgumentParser) -> None:
    _model(score)
    score.add_argument("--text", type=Path, required=True, help="the file; - for standard input")
    score.add_argument("--encoding", help="of the file (default: found out)")
    score.add_argument("--each", choices=["line", "token"], help="print the nats of each, too")
    score.add_argument("--skip-unknown", action="store_true", help="leave out what the model does not know")


def _look(look: argparse.ArgumentParser) -> None:
    _model(look)
    look.add_argument(
        "--text", type=Path, help="a file to look at; - for standard input (default: the part that was held out)"
    )
    look.add_argument("--encoding", help="of the file (default: found out)")
    look.add_argument("--skip-unknown", action="store_true", help="leave out what the model does not know")
    look.add_argument(
        "--length", type=count, default=LENGTH, help=f"tokens to look at (default: {LENGTH:,}, in a page of 3 MB)"
    )
    look.add_argument(
        "--units", type=number(int, lambda x: x >= 0, "whole numbers from 0 on"), nargs="+", default=[],
        help="units to show beside those that rank highest; those of the second layer come after those of the first",
    )  # fmt: skip
    look.add_argument("--out", type=Path, help="the page (default: look.html, beside the checkpoint)")


def _model(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--checkpoint",
        type=Path,
        default=DEFAULT_OUT,
        help=f"what `train` saved, or its folder (default: {DEFAULT_OUT})",
    )
    _common(command)


def _common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: cpu)")
    command.add_argument("--no-compile", action="store_true", help="let Python run each step, operation by operation")

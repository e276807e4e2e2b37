"""The command line: `train`, `sample`, `score` and `look`."""

from __future__ import annotations

import argparse
import sys
from itertools import chain
from pathlib import Path

import numpy as np

import tinygrad_seq as tg

from . import ranks
from .checkpoint import Run
from .errors import UserError
from .folder import CHECKPOINT, PAGE, checkpoint_in
from .judge import surprisals
from .model import bits
from .options import parser
from .output import lost_output, say, shown, surviving_output
from .page import text_name, write_page
from .reading import blocks, known_encoding
from .start import run_train
from .text import Text
from .vocabulary import Tokens, Vocabulary
from .write import Taste, until, write


def check_device(name: str) -> str:
    """The name of a device that works."""
    try:
        tg.zeros(1, device=name)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{error}. Or leave --device out, for the CPU") from None
    return name


def read_all(path: Path, encoding: str | None) -> str:
    """The text of a file, or of standard input."""
    if str(path) != "-":
        return "".join(blocks(path, encoding))
    raw = sys.stdin.buffer.read()
    try:
        return raw.decode(encoding or "utf-8-sig")
    except UnicodeError as error:
        raise UserError(
            f"standard input is not {encoding or 'UTF-8'}: {error}. Say with --encoding what it is"
        ) from None


def known(text: str, vocabulary: Vocabulary, skip: bool) -> str:
    """A text, without the characters that are unknown, if they are to be skipped."""
    return "".join(filter(vocabulary.knows, text)) if skip else text


def run_sample(options: argparse.Namespace) -> int:
    device = check_device(options.device)
    run = Run.load(checkpoint_in(options.checkpoint), device)
    prime = options.prime if options.prime_file is None else read_all(options.prime_file, None)
    prime = known(prime, run.vocabulary, options.skip_unknown)
    taste = Taste(options.temperature, options.top_k, options.top_p)
    for k in range(options.samples):
        seed = options.seed + k
        if options.samples > 1:
            say(f"--- {k + 1} of {options.samples}, --seed {seed} ---")
        pieces = write(
            run.model, run.vocabulary, prime, options.length, taste, tg.Generator(seed), device, not options.no_compile
        )
        first = next(pieces)  # what is wrong with the prime is noticed here
        if not options.no_prime:
            say(shown(prime), end="")
        written = chain([first], pieces)
        for piece in until(written, options.stop) if options.stop else written:
            say(shown(piece), end="")
            if lost_output():
                return lost()
        say()
    return lost()


def run_score(options: argparse.Namespace) -> int:
    device = check_device(options.device)
    run = Run.load(checkpoint_in(options.checkpoint), device)
    encoding = None if options.encoding is None else known_encoding(options.encoding)
    text = known(read_all(options.text, encoding), run.vocabulary, options.skip_unknown)
    if not text:
        raise UserError(f"the text {options.text} is empty. Give another one with --text")
    before = run.vocabulary.encode(run.vocabulary.line_break, "the beginning")  # apart: it could become part of a word
    tokens = np.concatenate([before, run.vocabulary.encode(text, "the text")])
    total, read, line, line_nats = 0.0, 0, "", 0.0
    pieces = run.vocabulary.pieces(tokens[1:].tolist())
    for nats in surprisals(run.model, tokens, device, not options.no_compile):
        for value in nats.tolist():
            total, read, piece = total + value, read + 1, next(pieces)
            line, line_nats = line + piece, line_nats + value
            if options.each == "token":
                say(f"{value:.4f}\t{piece!r}")
            while "\n" in line or (read == len(tokens) - 1 and line):
                if options.each == "line":
                    say(f"{line_nats:.4f}\t{shown(line.rstrip(chr(10)))}")
                line, line_nats = "", 0.0
        if lost_output():
            return lost()
    lines = text.count("\n") + (not text.endswith("\n"))
    say(f"{total:.2f} nats in all; {len(text):,} characters in {lines:,} lines")
    say(
        f"{total / lines:.3f} nats per line; {total / len(text):.4f} nats, {bits(total / len(text)):.4f} bits per "
        "character"
    )
    if run.vocabulary.kind != "characters":
        say(f"{total / read:.4f} nats per {run.vocabulary.unit}, of which there are {read:,}")
    return lost()


def run_look(options: argparse.Namespace) -> int:
    device = check_device(options.device)
    path = checkpoint_in(options.checkpoint)
    run = Run.load(path, device)
    units = run.settings.layers * run.settings.hidden
    for unit in options.units:
        if unit >= units:
            raise UserError(f"--units: this model has units 0 to {units - 1}, not {unit}")
    tokens, what = text_to_look_at(options, run, path.parent)
    tokens = tokens[: options.length]
    if not len(tokens):
        raise UserError(f"the text {options.text} is empty. Give another one with --text")
    last = checkpoint_in(options.checkpoint, (CHECKPOINT,))
    curve = run if last == path or not last.is_file() else Run.load(last, device)
    out = path.parent / PAGE if options.out is None else options.out
    try:
        size = write_page(out, run, tokens, what, device, not options.no_compile, curve, options.units)
    except OSError as error:
        raise UserError(f"cannot write the page {out}: {error.strerror or error}. Choose another --out") from None
    say(f"page  {out} ({size / 1e6:.1f} MB): open it in a browser")
    return lost()


def text_to_look_at(options: argparse.Namespace, run: Run, folder: Path) -> tuple[Tokens, str]:
    """The tokens of --text, or of what was held out of the run's own text; and what they are called."""
    vocabulary, s = run.vocabulary, run.settings
    encoding = None if options.encoding is None else known_encoding(options.encoding)
    if options.text is not None:
        text = known(read_all(options.text, encoding), vocabulary, options.skip_unknown)
        return vocabulary.encode(text, "the text"), options.text.name if str(options.text) != "-" else "standard input"
    own = Text(None if s.text is None else [Path(path) for path in s.text], s.encoding, s.tokens)
    if own.digest != s.digest:
        raise UserError(f"{own} is not the text that this model learned any more. Give one with --text")
    return own.corpus(folder, vocabulary).held_out, f"{text_name(run)}, held out"


def lost() -> int:
    """The exit status when standard output may have gone away: a disk that is full is said, a closed pipe is not."""
    error = lost_output()
    if error is None:
        return 0
    if not isinstance(error, BrokenPipeError):
        raise UserError(f"cannot write to standard output: {error.strerror or error}")
    return 1


def main(arguments: list[str] | None = None) -> int:
    with surviving_output():
        try:
            options = parser().parse_args(arguments)
            if options.command == "train":
                with ranks.joined():
                    return run_train(options, ranks.together(lambda: check_device(ranks.device_of(options.device))))
            return {"sample": run_sample, "score": run_score, "look": run_look}[options.command](options)
        except UserError as error:
            print(f"char_lm: {' '.join(str(error).split())}", file=sys.stderr)
            return 2
        except MemoryError:
            print("char_lm: out of memory: take a smaller --hidden, --layers, --batch or --chunk", file=sys.stderr)
            return 2
        except KeyboardInterrupt:  # outside of the training, which saves first, or for the second time
            print("\nchar_lm: stopped", file=sys.stderr)
            return 130

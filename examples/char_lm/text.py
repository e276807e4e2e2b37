"""The text: reading it, its characters as numbers, and the chunks that training takes from it."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .errors import UserError

Tokens = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


def read(path: Path | None) -> str:
    """The text of a UTF-8 file; without one, Python's own documentation, which every CPython carries."""
    if path is None:
        try:
            from pydoc_data.topics import topics
        except ImportError:
            raise UserError("this Python came without its documentation. Give a UTF-8 text file with --text") from None
        return "\n".join(topics.values())
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8: the byte {error.object[error.start]:#04x} at offset {error.start} ({error.reason}). "
            f"Convert it first, for example: iconv -f latin1 -t utf-8 {path} > utf8.txt"
        ) from None
    except OSError as error:
        raise UserError(f"cannot read the text {path}: {error.strerror}. Give a UTF-8 text file with --text") from None
    if not text:
        raise UserError(f"the text {path} is empty. Give a UTF-8 text file with --text")
    return text


def digest(text: str) -> str:
    """A fingerprint by which a text is known again."""
    return hashlib.sha256(text.encode()).hexdigest()


class Vocabulary:
    """The characters of a text, numbered in their order."""

    def __init__(self, characters: str) -> None:
        self.characters = "".join(sorted(set(characters)))
        self._number = {character: i for i, character in enumerate(self.characters)}

    def __len__(self) -> int:
        return len(self.characters)

    @property
    def line_break(self) -> str:
        """The character to begin a text after: a line break, or the first known one if there is none."""
        return "\n" if "\n" in self._number else self.characters[0]

    def encode(self, text: str, what: str) -> Tokens:
        """Characters as numbers. `what` says in the error where a character comes from that is not known."""
        try:
            return np.array([self._number[character] for character in text], dtype=np.int64)
        except KeyError as error:
            raise UserError(
                f"{what} contains {error.args[0]!r}, which the model has never seen; it knows {len(self)} characters: "
                f"{self.characters[:200]!r}" + (" and more" if len(self) > 200 else "")
            ) from None

    def decode(self, tokens: Tokens) -> str:
        return "".join([self.characters[i] for i in tokens])


class Corpus(NamedTuple):
    """A text cut in two: the first nine tenths to learn from, the last tenth to be judged by.

    The vocabulary is that of the whole text, so no held-out character is unknown; the models that a result is compared
    with have the same one.
    """

    vocabulary: Vocabulary
    train: Tokens
    held_out: Tokens

    @classmethod
    def of(cls, text: str, vocabulary: Vocabulary | None = None) -> Corpus:
        vocabulary = vocabulary or Vocabulary(text)
        tokens = vocabulary.encode(text, "the text")
        cut = len(tokens) * 9 // 10
        return cls(vocabulary, tokens[:cut], tokens[cut:])

    def uniform(self) -> float:
        """Nats per character of a model to which all characters are alike."""
        return math.log(len(self.vocabulary))

    def unigram(self) -> float:
        """Nats per held-out character of a model that knows how often each occurs in the training part, plus one."""
        seen, V = Counter(self.train.tolist()), len(self.vocabulary)
        total = len(self.train) + V
        return -sum(math.log((seen[token] + 1) / total) for token in self.held_out[1:].tolist()) / (
            len(self.held_out) - 1
        )

"""The text as tokens: prepared once, cut into the part to learn from and the part to be judged by."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .errors import UserError
from .reading import blocks, documentation, files_in, raw_blocks
from .vocabulary import CODE_POINTS, Tokens, Vocabulary, code_points, frequent_words

IN_MEMORY = 1 << 24  # tokens up to which a text is kept in memory; a longer one goes to a file
AT_ONCE = 1 << 20  # tokens counted at once


class Text:
    """Where a text comes from, and what is in it.

    Attributes:
        digest: a fingerprint by which it is known again.
        length: how many tokens it has; characters, as long as there is no vocabulary of words.
    """

    def __init__(self, paths: Sequence[Path] | None, encoding: str | None = None, tokens: str = "characters") -> None:
        self.paths, self.encoding, self.kind = paths, encoding, tokens
        self._files = None if paths is None else files_in(paths)
        fingerprint, counts, self.length = hashlib.sha256(), np.zeros(CODE_POINTS, np.int64), 0
        if tokens == "bytes":
            for raw in self._bytes():
                fingerprint.update(raw)
                self.length += len(raw)
        else:
            for block in self.blocks():
                fingerprint.update(block.encode("utf-8", "surrogatepass"))
                counts += np.bincount(code_points(block), minlength=CODE_POINTS)
                self.length += len(block)
        if not self.length:
            raise UserError(f"the text {self} is empty. Give a text file with --text")
        self.digest = fingerprint.hexdigest()
        self.characters = "".join(map(chr, np.flatnonzero(counts)))

    def __str__(self) -> str:
        return "the documentation of this Python" if self.paths is None else ", ".join(map(str, self.paths))

    def blocks(self) -> Iterator[str]:
        """The text, piece by piece."""
        if self._files is None:
            yield documentation()
            return
        for path in self._files:
            yield from blocks(path, self.encoding)

    def _bytes(self) -> Iterator[bytes]:
        if self._files is None:
            yield documentation().encode()
            return
        for path in self._files:
            yield from raw_blocks(path)

    def vocabulary(self) -> Vocabulary:
        words = frequent_words(self.blocks()) if self.kind == "words" else []
        return Vocabulary(self.characters, self.kind, words)

    def encoded(self, vocabulary: Vocabulary) -> Iterator[Tokens]:
        """The text as numbers, piece by piece."""
        if self.kind == "bytes":
            return (np.frombuffer(raw, np.uint8) for raw in self._bytes())
        return vocabulary.encode_blocks(self.blocks(), "the text")

    def corpus(self, folder: Path, vocabulary: Vocabulary | None = None) -> Corpus:
        """The text as tokens: in memory, or, if it is long, in a file in `folder`, read as it is used."""
        vocabulary = vocabulary or self.vocabulary()
        if self.length <= IN_MEMORY:
            return Corpus.cut_at_nine_tenths(vocabulary, np.concatenate([*self.encoded(vocabulary)]))
        path = folder / f"tokens-{self.digest[:16]}-{self.kind}.bin"
        for old in folder.glob("tokens-*.bin"):
            if old != path:
                old.unlink(missing_ok=True)
        if not path.exists():
            write_whole(path, (tokens.tobytes() for tokens in self.encoded(vocabulary)))
        return Corpus.cut_at_nine_tenths(vocabulary, np.memmap(path, vocabulary.dtype, "r"))


def write_whole(path: Path, content: Iterable[bytes]) -> None:
    """A file that appears at once and whole."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            for block in content:
                file.write(block)
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise UserError(f"cannot write the prepared text {path}: {error.strerror}. Choose another --out") from None
        raise


class Corpus(NamedTuple):
    """A text cut in two: the first nine tenths to learn from, the last tenth to be judged by.

    The vocabulary is that of the whole text, so no held-out character is unknown; the models that a result is compared
    with have the same one.
    """

    vocabulary: Vocabulary
    tokens: Tokens
    cut: int

    @classmethod
    def cut_at_nine_tenths(cls, vocabulary: Vocabulary, tokens: Tokens) -> Corpus:
        return cls(vocabulary, tokens, len(tokens) * 9 // 10)

    @classmethod
    def of(cls, text: str, vocabulary: Vocabulary | None = None) -> Corpus:
        vocabulary = vocabulary or Vocabulary(text)
        return cls.cut_at_nine_tenths(vocabulary, vocabulary.encode(text, "the text"))

    @property
    def train(self) -> Tokens:
        return self.tokens[: self.cut]

    @property
    def held_out(self) -> Tokens:
        return self.tokens[self.cut :]

    def uniform(self) -> float:
        """Nats per token of a model to which all tokens are alike."""
        return math.log(len(self.vocabulary))

    def unigram(self) -> float:
        """Nats per held-out token of a model that knows how often each occurs in the training part, plus one."""
        seen, held_out = (self._counts(part) for part in (self.train, self.held_out[1:]))
        surprise = math.log(len(self.train) + len(seen)) - np.log(seen + 1)
        return float(held_out @ surprise) / (len(self.held_out) - 1)

    def _counts(self, tokens: Tokens) -> Tokens:
        counts = np.zeros(len(self.vocabulary), np.int64)
        for k in range(0, len(tokens), AT_ONCE):
            counts += np.bincount(tokens[k : k + AT_ONCE], minlength=len(counts))
        return counts

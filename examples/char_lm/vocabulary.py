"""Tokens: the characters, bytes or words that a text is made of, as numbers."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from .errors import UserError

Tokens = np.ndarray[tuple[int, ...], np.dtype[Any]]
KINDS = {"characters": "character", "bytes": "byte", "words": "word"}
CODE_POINTS = 0x110000
WORD = re.compile(r" ?\w+|.", re.DOTALL)  # a word takes the space before it along; all else is by character
MOST_WORDS = 8192
SELDOM = 5  # a word that occurs less often is spelled


def code_points(text: str) -> Tokens:
    """A text's characters as Unicode numbers them."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def split_words(blocks: Iterable[str]) -> Iterator[list[str]]:
    """Words, and the characters between them. Put together they are the text."""
    rest = ""
    for block in blocks:
        words = WORD.findall(rest + block)
        rest = words.pop() if words else ""
        yield words
    yield [rest] if rest else []


def frequent_words(blocks: Iterable[str]) -> list[str]:
    """The words worth a number of their own: the most frequent ones, longer than one character."""
    seen = Counter[str]()
    for words in split_words(blocks):
        seen.update(words)
    often = [(-count, word) for word, count in seen.items() if len(word) > 1 and count >= SELDOM]
    return [word for _, word in sorted(often)[:MOST_WORDS]]


class Vocabulary:
    """The tokens of a text, numbered: characters in their order, then words if there are any; or the 256 bytes.

    Args:
        characters: all that occur; unused for bytes.
        kind: "characters", "bytes" or "words".
        words: for that kind. What is none of them is spelled with characters, so that no word is unknown.
    """

    def __init__(self, characters: str, kind: str = "characters", words: Iterable[str] = ()) -> None:
        self.kind = kind
        self.characters = "".join(sorted(set(characters)))
        self.words = list(words)
        self.tokens = [*self.characters, *self.words]
        if kind == "bytes":
            self.tokens = [chr(i) for i in range(256)]  # as latin-1 reads them
        self._number = {token: i for i, token in enumerate(self.tokens)}
        self._table: Tokens | None = None  # from code points to numbers; made when it is needed first

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def unit(self) -> str:
        """What one token is called."""
        return KINDS[self.kind]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest one that holds every token's number."""
        return np.min_scalar_type(len(self) - 1)

    @property
    def line_break(self) -> str:
        """The character to begin a text after: a line break, or the first known one if there is none."""
        return "\n" if "\n" in self._number else self.tokens[0]

    def knows(self, character: str) -> bool:
        return self.kind == "bytes" or character in self._number

    def encode(self, text: str, what: str) -> Tokens:
        """A text as numbers. `what` says in the error where a character comes from that is not known."""
        if self.kind == "bytes":
            return np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8)
        if self.kind == "words":
            return np.concatenate([np.empty(0, self.dtype), *self.encode_blocks([text], what)])
        if self._table is None:
            self._table = np.full(CODE_POINTS, -1, np.int32)
            self._table[code_points(self.characters)] = np.arange(len(self.characters))
        points = code_points(text)
        numbers = self._table[points]
        if len(numbers) and numbers.min() < 0:
            raise self._unknown(chr(points[numbers.argmin()]), what)
        return numbers.astype(self.dtype)

    def encode_blocks(self, blocks: Iterable[str], what: str) -> Iterator[Tokens]:
        """A text that comes block by block."""
        if self.kind != "words":
            for block in blocks:
                yield self.encode(block, what)
            return
        number = self._number
        for words in split_words(blocks):
            try:
                found = [n for word in words for n in ([number[word]] if word in number else [number[c] for c in word])]
            except KeyError as error:
                raise self._unknown(error.args[0], what) from None
            yield np.array(found, self.dtype)

    def _unknown(self, character: str, what: str) -> UserError:
        more = " and more" if len(self.characters) > 200 else ""
        return UserError(
            f"{what} contains {character!r}, which the model has never seen; it knows {len(self.characters)} "
            f"characters: {self.characters[:200]!r}{more}. --skip-unknown leaves such out of a prime"
        )

    def decode(self, tokens: Iterable[int]) -> str:
        return "".join(self.pieces(tokens))

    def pieces(self, tokens: Iterable[int]) -> Iterator[str]:
        """The text of each token as it comes; bytes wait until their character is whole."""
        if self.kind != "bytes":
            for token in tokens:
                yield self.tokens[token]
            return
        decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        for token in tokens:
            yield decoder.decode(bytes([token]))
        yield decoder.decode(b"", final=True)

"""What the tests of the page share: texts, a model without training, and the data inside a page."""

from __future__ import annotations

import base64
import json
from html.parser import HTMLParser
from typing import Any

import numpy as np

from examples.char_lm.checkpoint import Run
from examples.char_lm.settings import Settings
from examples.char_lm.vocabulary import Vocabulary

TEXT = 'the quick brown fox.\n"jumps over" the lazy dog.\n\n    the fox\n' * 4
NASTY = "</script><script>alert(1)</script><!-- <script> \"'&amp;\\ \x07\x1b[31m\u2028\u202e\tñ 語 שלום 😀\r\n"


class Scripts(HTMLParser):
    """The scripts of a page, as a browser finds them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag == "script"
        self.found += [""] if self._inside else []

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.found[-1] += data


def data_of(page: bytes) -> dict[str, Any]:
    scripts = Scripts()
    scripts.feed(page.decode("ascii", "strict" if page.isascii() else "replace"))
    assert len(scripts.found) == 2
    found: dict[str, Any] = json.loads(scripts.found[0])
    return found


def unpacked(text: str, dtype: Any, *shape: int) -> Any:
    return np.frombuffer(base64.b64decode(text), dtype).reshape(-1, *shape)


def untrained(vocabulary: Vocabulary, **more: Any) -> Run:
    settings = Settings(steps=1, tokens=vocabulary.kind, embedding=4, **({"hidden": 8} | more))
    return Run.new(settings, vocabulary, "cpu")

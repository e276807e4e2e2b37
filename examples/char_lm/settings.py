"""What a run is asked for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from .cells import CELLS
from .errors import UserError
from .vocabulary import KINDS

LARGEST = 10**7  # of any size


@dataclass
class Settings:
    """The text, the model's sizes, how it is trained, and for how long. `recipe` chooses what is not given."""

    text: list[str] | None = None  # files and folders; None for Python's own documentation
    encoding: str | None = None  # None if it is found out
    tokens: str = "characters"
    digest: str = ""  # of the text, to know it again
    cell: str = "lstm"
    hidden: int = 320
    embedding: int = 64
    layers: int = 1
    dropout: float = 0.5
    embedding_dropout: float = 0.0
    recurrent_dropout: float = 0.0
    batch: int = 24
    chunk: int = 50
    lr: float = 8e-3
    weight_decay: float = 0.0
    clip: float = 1.0
    seed: int = 0
    steps: int | None = None  # the budget, in one of two ways
    minutes: float | None = None
    patience: int | None = None  # stop after so many judgements without a better one
    judgements: int = 10  # in the whole run
    judged_tokens: int = 10_000  # of the held-out part, each time

    @property
    def has_dropout(self) -> bool:
        return bool(self.dropout or self.embedding_dropout or self.recurrent_dropout)

    def check(self) -> None:
        """Refuse what no command line gives.

        Raises:
            ValueError: naming the setting.
        """
        for f in fields(self):
            value = getattr(self, f.name)
            if not _TESTS[f.name](value):
                raise ValueError(f"the setting {f.name} is {value!r:.80}")
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("the settings must have steps or minutes")


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_count(value: Any, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value


def _size(value: Any) -> bool:
    return is_count(value) and value <= LARGEST


def _share(value: Any) -> bool:
    return is_number(value) and 0 <= value < 1


def _positive(value: Any) -> bool:
    return is_number(value) and value > 0


def _texts(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(path, str) for path in value))


_TESTS: dict[str, Callable[[Any], bool]] = {
    "text": _texts,
    "encoding": lambda v: v is None or isinstance(v, str),
    "tokens": lambda v: isinstance(v, str) and v in KINDS,
    "digest": lambda v: isinstance(v, str),
    "cell": lambda v: isinstance(v, str) and v in CELLS,
    "hidden": _size,
    "embedding": _size,
    "layers": _size,
    "dropout": _share,
    "embedding_dropout": _share,
    "recurrent_dropout": _share,
    "batch": _size,
    "chunk": _size,
    "lr": _positive,
    "weight_decay": lambda v: is_number(v) and v >= 0,
    "clip": _positive,
    "seed": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "steps": lambda v: v is None or is_count(v),
    "minutes": lambda v: v is None or _positive(v),
    "patience": lambda v: v is None or is_count(v),
    "judgements": is_count,
    "judged_tokens": is_count,
}


def same_run(given: dict[str, Any], settings: Settings, where: object) -> None:
    """Refuse to change, on the way, what makes a run what it is."""
    for name, value in given.items():
        if value != getattr(settings, name):
            option = name.replace("_", "-")
            raise UserError(
                f"{where} was trained with --{option} {getattr(settings, name)}, not {value}. Leave the option out to "
                "go on, or begin anew with another --out"
            )

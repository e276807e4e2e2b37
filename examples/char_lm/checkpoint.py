"""A run as a file: everything that training needs to go on as if it had not stopped."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import nn
import tinygrad_seq as tg
from nn.state import as_state

from .errors import UserError
from .model import CharLM, State
from .text import Vocabulary

KIND = "tinygrad_seq char_lm 1"


@dataclass
class Settings:
    """What a run was asked for: the text, the model's sizes, how it is trained, and for how long.

    The defaults are what learns most in two minutes on two cores.
    """

    text: str | None = None  # the file; None for Python's own documentation
    digest: str = ""  # of the text, to know it again
    hidden: int = 320
    embedding: int = 64
    layers: int = 1
    dropout: float = 0.5
    batch: int = 24
    chunk: int = 50
    lr: float = 8e-3
    clip: float = 1.0
    seed: int = 0
    steps: int | None = None  # the budget, in one of two ways
    minutes: float | None = None


@dataclass
class Run:
    """A model in training."""

    settings: Settings
    vocabulary: Vocabulary
    model: CharLM
    optimizer: nn.optim.Adam
    state: State | None = None
    step: int = 0
    position: int = 0
    seconds: float = 0.0
    recent: list[float] = field(default_factory=list)
    losses: list[tuple[int, float]] = field(default_factory=list)
    held_out: list[tuple[int, float]] = field(default_factory=list)

    @classmethod
    def new(cls, settings: Settings, vocabulary: Vocabulary, device: str) -> Run:
        tg.manual_seed(settings.seed)
        s = settings
        model = CharLM(len(vocabulary), s.embedding, s.hidden, s.layers, s.dropout).to(device)
        return cls(settings, vocabulary, model, nn.optim.Adam(model.parameters(), lr=s.lr, betas=(0.9, 0.99)))

    def save(self, path: Path) -> None:
        """Write the run to a file, which is whole at any time. A diverged model does not replace a good one."""
        if not all(bool(tg.isfinite(p).all()) for p in self.model.parameters()):
            raise UserError(f"the model diverged by step {self.step}: lower --lr or --clip. It was not saved")
        stored = {
            "kind": KIND,
            "settings": asdict(self.settings),
            "characters": self.vocabulary.characters,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "state": self.state,
            "random": tg.default_generator.get_state(),
            "step": self.step,
            "position": self.position,
            "seconds": self.seconds,
            "recent": self.recent,
            "losses": self.losses,
            "held_out": self.held_out,
        }
        try:
            tg.save(stored, path)
        except OSError as error:
            raise UserError(
                f"cannot write the checkpoint {path}: {error.strerror}. Choose another folder with --out"
            ) from None

    @classmethod
    def load(cls, path: Path, device: str) -> Run:
        """Read a run from a file, and put the random stream where it stood."""
        try:
            stored: Any = tg.load(path)
        except FileNotFoundError:
            raise UserError(
                f"there is no checkpoint {path}. Train one first: python -m examples.char_lm train"
            ) from None
        except OSError as error:
            raise UserError(f"cannot read the checkpoint {path}: {error.strerror}") from None
        except ValueError as error:
            raise UserError(f"cannot use the checkpoint: {error}. Take another one, or train anew") from None
        if not isinstance(stored, dict) or stored.get("kind") != KIND:
            raise UserError(f"{path} is not a checkpoint of this program. Give one that `train` wrote, or train anew")
        try:
            run = cls.new(Settings(**stored["settings"]), Vocabulary(stored["characters"]), device)
            run.model.load_state_dict(stored["model"])
            run.optimizer.load_state_dict(stored["optimizer"])
            run.state = None if stored["state"] is None else as_state([s.to(device) for s in stored["state"]])
            run.step, run.position, run.seconds = stored["step"], stored["position"], stored["seconds"]
            run.recent, run.losses, run.held_out = stored["recent"], stored["losses"], stored["held_out"]
            tg.default_generator.set_state(stored["random"])
        except (KeyError, IndexError, AttributeError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"{path} does not fit the model that it describes: {error}. Train anew") from None
        return run

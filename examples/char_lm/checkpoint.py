"""A run as a file: everything that training needs to go on as if it had not stopped."""

from __future__ import annotations

import math
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import nn
import tinygrad_seq as tg
from nn.state import as_state

from .cells import state_sizes
from .errors import UserError
from .model import CharLM, State, count, shapes
from .settings import Settings, is_count, is_number
from .vocabulary import KINDS, Vocabulary

KIND, VERSION = "tinygrad_seq char_lm", 3
FAR_FROM_UNIFORM = 2.0  # times a uniform model's loss, plus as many nats: a run does not come back from there


class Judgement(NamedTuple):
    """The model at one step."""

    step: int
    seconds: float  # of training before
    training: float  # nats per token, as it went, with dropout
    nats: float  # per held-out token


@dataclass
class Run:
    """A model in training.

    Attributes:
        recent: the losses since the last one of `losses`.
        losses: steps, and the mean loss up to there since the one before.
        judged: what the held-out text said.
        judging: seconds spent on that.
    """

    settings: Settings
    vocabulary: Vocabulary
    model: CharLM
    optimizer: nn.optim.AdamW
    state: State | None = None
    step: int = 0
    position: int = 0
    seconds: float = 0.0
    judging: float = 0.0
    recent: list[float] = field(default_factory=list)
    losses: list[tuple[int, float]] = field(default_factory=list)
    judged: list[Judgement] = field(default_factory=list)

    @classmethod
    def new(cls, settings: Settings, vocabulary: Vocabulary, device: str) -> Run:
        tg.manual_seed(settings.seed)
        s = settings
        sizes = (len(vocabulary), s.embedding, s.hidden, s.layers)
        model = CharLM(*sizes, s.dropout, s.embedding_dropout, s.recurrent_dropout, s.cell).to(device)
        optimizer = nn.optim.AdamW(model.parameters(), lr=s.lr, betas=(0.9, 0.99), weight_decay=s.weight_decay)
        return cls(settings, vocabulary, model, optimizer)

    @property
    def best(self) -> Judgement | None:
        """The first of the best judgements."""
        return min(self.judged, key=lambda j: (j.nats if math.isfinite(j.nats) else math.inf, j.step), default=None)

    @property
    def training_loss(self) -> float:
        """Nats per token now: the mean of the last few steps."""
        return sum(self.recent) / len(self.recent) if self.recent else self.losses[-1][1] if self.losses else math.inf

    def require_sound(self) -> None:
        """Refuse a model that diverged, or whose loss is far worse than that of one that knows nothing."""
        worst = FAR_FROM_UNIFORM * (math.log(len(self.vocabulary)) + 1)
        if self.step and not self.training_loss < worst:  # nan too
            raise UserError(
                f"the loss became {self.training_loss:.4g} at step {self.step}, where a model that knows nothing has "
                f"{math.log(len(self.vocabulary)):.2f}: lower --lr, or --clip. This model was not saved"
            )
        if not all(bool(tg.isfinite(p).all()) for p in self.model.parameters()):
            raise UserError(f"the model diverged by step {self.step}: lower --lr or --clip. It was not saved")

    def stored(self) -> dict[str, Any]:
        """All of the run, as `tg.save` takes it."""
        return {
            "kind": f"{KIND} {VERSION}",
            "settings": asdict(self.settings),
            "tokens": self.vocabulary.kind,
            "characters": self.vocabulary.characters,
            "words": self.vocabulary.words,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "state": None if self.state is None else parts(self.state),
            "random": tg.default_generator.get_state(),
            "step": self.step,
            "position": self.position,
            "seconds": self.seconds,
            "judging": self.judging,
            "recent": self.recent,
            "losses": self.losses,
            "judged": [tuple(j) for j in self.judged],
        }

    @classmethod
    def of(cls, stored: dict[str, Any], where: object, device: str) -> Run:
        """The run that was stored, and the random stream where it stood. `where` says in the error from where it is."""
        try:
            vocabulary = _checked(stored)
            run = cls.new(Settings(**stored["settings"]), vocabulary, device)
            run.model.load_state_dict(stored["model"])
            run.optimizer.load_state_dict(stored["optimizer"])
            run.state = None if stored["state"] is None else as_state([s.to(device) for s in stored["state"]])
            run.step, run.position = stored["step"], stored["position"]
            run.seconds, run.judging = stored["seconds"], stored["judging"]
            run.recent, run.losses = stored["recent"], stored["losses"]
            run.judged = [Judgement(*j) for j in stored["judged"]]
            tg.default_generator.set_state(stored["random"])
        except (KeyError, IndexError, AttributeError, TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise UserError(f"{where} does not fit the model that it describes: {error}. Train anew") from None
        return run

    def save(self, path: Path) -> None:
        """Write the run to a file, which is whole at any time.

        Raises:
            UserError: if the model diverged: such a one does not replace a good one.
            OSError: if the file cannot be written.
        """
        self.require_sound()
        path.parent.mkdir(parents=True, exist_ok=True)  # somebody may have removed it meanwhile
        tg.save(self.stored(), path)

    @classmethod
    def load(cls, path: Path, device: str) -> Run:
        """Read a run from a file, and put the random stream where it stood."""
        return cls.of(_read(path), path, device)


def _read(path: Path) -> dict[str, Any]:
    """What a checkpoint holds; refused if it is another file, or another version's."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                    raise UserError(f"{path} has compressed members, which `train` does not write. Give another one")
        stored: Any = tg.load(path)
    except FileNotFoundError:
        raise UserError(f"there is no checkpoint {path}. Train one first: python -m examples.char_lm train") from None
    except OSError as error:
        raise UserError(f"cannot read the checkpoint {path}: {error.strerror}") from None
    except MemoryError:
        raise UserError(f"there is not enough memory to read the checkpoint {path}") from None
    except (ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"cannot use the checkpoint: {error}. Take another one, or train anew") from None
    kind = stored.get("kind") if isinstance(stored, dict) else None
    if not isinstance(kind, str) or not kind.startswith(f"{KIND} ") or not kind.removeprefix(f"{KIND} ").isdecimal():
        raise UserError(f"{path} is not a checkpoint of this program. Give one that `train` wrote, or train anew")
    version = int(kind.removeprefix(f"{KIND} "))
    if version != VERSION:
        age, cure = ("a newer", "Update it") if version > VERSION else ("an older", "Train anew")
        raise UserError(
            f"{path} was written by {age} version of this program: format {version}, and this one reads {VERSION}. "
            f"{cure}"
        )
    return stored


def parts(state: State) -> tuple[tg.Tensor, ...]:
    """The tensors of a state, of which there may be one."""
    return (state,) if isinstance(state, tg.Tensor) else tuple(state)


def summary(path: Path) -> tuple[dict[str, Any], list[Any]]:
    """The settings and the judgements of a run, without its model."""
    stored = _read(path)
    try:
        return dict(stored["settings"]), list(stored["judged"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not a checkpoint of this program: {error}") from None


def _checked(stored: dict[str, Any]) -> Vocabulary:
    """The vocabulary of a checkpoint, when everything in it has the kind and the shape that it must have.

    What is wrong is found before a model is made, which might be a large one.

    Raises:
        ValueError: naming what is wrong. Others may be raised on nonsense.
    """
    settings = Settings(**stored["settings"])
    settings.check()
    s, kind, characters, words = settings, stored["tokens"], stored["characters"], stored["words"]
    _require(kind == s.tokens and kind in KINDS, "its kind of tokens is not that of its settings")
    _require(isinstance(characters, str) and [*characters] == sorted(set(characters)), "its characters")
    _require(isinstance(words, list) and all(isinstance(w, str) and len(w) > 1 for w in words), "its words")
    vocabulary = Vocabulary(characters, kind, words)
    _require(len(vocabulary) > 0, "it knows no character")
    parameters = stored["model"]
    wanted = count(s.cell, s.embedding, s.hidden, s.layers)
    _require(len(parameters) == wanted, f"{len(parameters)} parameters are not those of {s.layers} layers")
    for name, shape in shapes(s.cell, len(vocabulary), s.embedding, s.hidden, s.layers).items():
        _require_numbers(parameters[name], shape, name)
    parameters_by_number = [*parameters.values()]
    for number, entries in stored["optimizer"]["state"].items():
        of = f"of the optimizer's state of parameter {number}"
        _require({*entries} == {"step", "exp_avg", "exp_avg_sq"}, f"the names {', '.join(map(str, entries))} {of}")
        steps = entries["step"].item() if isinstance(entries["step"], tg.Tensor) else entries["step"]
        _require(is_number(steps) and steps >= 1, f"the step {steps!r:.80} {of}")
        for name in ("exp_avg", "exp_avg_sq"):
            _require_numbers(entries[name], tuple(parameters_by_number[number].shape), f"{name} {of}")
    if stored["state"] is not None:
        widths = state_sizes(s.cell, s.hidden)
        _require(len(stored["state"]) == len(widths), f"its state has not {len(widths)} tensors")
        for part, width in zip(stored["state"], widths, strict=True):
            _require_numbers(part, (s.layers, s.batch, width), "its state")
    for name in ("step", "position"):
        _require(is_count(stored[name], 0), f"its {name} is {stored[name]!r:.80}")
    for name in ("seconds", "judging"):
        _require(is_number(stored[name]) and stored[name] >= 0, f"its {name} is {stored[name]!r:.80}")
    _require(all(is_number(loss) for loss in stored["recent"]), "its recent losses")
    _require(all(is_count(step) and is_number(loss) for step, loss in stored["losses"]), "its losses")
    for judgement in stored["judged"]:
        _require(len(judgement) == len(Judgement._fields) and is_count(judgement[0]), "its judgements")
        _require(all(map(is_number, judgement)), "its judgements")
    return vocabulary


def _require(right: bool, what: str) -> None:
    if not right:
        raise ValueError(what)


def _require_numbers(value: Any, shape: tuple[int, ...] | None, what: str) -> None:
    """A float32 tensor of this shape, of finite numbers."""
    _require(isinstance(value, tg.Tensor), f"{what} is not a tensor")
    _require(value.dtype == tg.float32, f"{what} has dtype {value.dtype}, not float32")
    _require(shape is None or value.shape == shape, f"{what} has shape {value.shape}, not {shape}")
    _require(bool(tg.isfinite(value).all()), f"{what} has numbers that are not finite")

"""Letting a model write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import tinygrad_seq as tg
from tinygrad_seq import Tensor

from .model import CharLM, State
from .vocabulary import Vocabulary

PIECE = 1000  # tokens of a prime read at once
COLDEST = 1e-6  # the temperature below which dividing by it could overflow


@dataclass(frozen=True)
class Taste:
    """How the next token is drawn.

    Attributes:
        temperature: divides the scores: below 1 the likely becomes likelier; 0 takes the likeliest each time.
        top_k: draw among the k likeliest only.
        top_p: draw among the likeliest whose probabilities add up to p only (Holtzman et al., 2020).
    """

    temperature: float = 0.8
    top_k: int | None = None
    top_p: float | None = None

    def draw(self, scores: Tensor, generator: tg.Generator) -> Tensor:
        """A token number. scores (B, V) -> (B, 1)"""
        if self.temperature < COLDEST:
            return scores.argmax(-1, keepdim=True)
        p = (scores / self.temperature).softmax(-1)
        if self.top_k is not None and self.top_k < p.shape[-1]:
            p = p.masked_fill(p < p.topk(self.top_k).values[:, -1:], 0.0)
        if self.top_p is not None:
            p = p / p.sum(-1, keepdim=True)
            likeliest = p.sort(descending=True).values
            before = likeliest.cumsum(-1) - likeliest  # what the likelier ones add up to
            least = likeliest.masked_fill(before >= self.top_p, 2.0).amin(-1, keepdim=True)
            p = p.masked_fill(p < least, 0.0)
        return tg.multinomial(p, generator=generator)


def write(
    model: CharLM,
    vocabulary: Vocabulary,
    prime: str,
    length: int,
    taste: Taste,
    generator: tg.Generator,
    device: str = "cpu",
    compiled: bool = True,
) -> Iterator[str]:
    """Up to `length` tokens that go on from `prime`, each as it is drawn.

    Args:
        compiled: let `tg.compile` make a program of a step, which is faster.
        prime: how the text begins; if empty, as after a line break, where the model knows one.
    """
    return vocabulary.pieces(_tokens(model, vocabulary, prime, length, taste, generator, device, compiled))


def _tokens(
    model: CharLM,
    vocabulary: Vocabulary,
    prime: str,
    length: int,
    taste: Taste,
    generator: tg.Generator,
    device: str,
    compiled: bool,
) -> Iterator[int]:
    def step(given: Tensor, state: State | None) -> tuple[Tensor, State]:
        scores, state = model(given, state)
        return taste.draw(scores[-1], generator), state

    tokens = vocabulary.encode(prime or vocabulary.line_break, "the prime")
    next_step = tg.compile(step) if compiled else step
    given: Tensor = tg.tensor(tokens, dtype=tg.int64, device=device).unsqueeze(1)
    state: State | None = None
    for k in range(length):
        if len(given) > PIECE:
            given, state = _read(model, given, state)
        model.eval()  # whoever takes the tokens may train in between
        with tg.no_grad():
            given, state = (next_step if k else step)(given, state)
        model.train()
        yield int(given)


def _read(model: CharLM, given: Tensor, state: State | None) -> tuple[Tensor, State]:
    """Read all of a long prime but its end; what is left of it, and the state."""
    model.eval()
    with tg.no_grad():
        while len(given) > PIECE:
            state = model(given[:PIECE], state)[1]
            given = given[PIECE:]
    model.train()
    return given, state


def until(pieces: Iterable[str], stop: str) -> Iterator[str]:
    """Text up to where `stop` stands in it, without it. What may be its beginning waits."""
    waiting = ""
    for piece in pieces:
        waiting += piece
        if stop in waiting:
            yield waiting[: waiting.index(stop)]
            return
        held = next((n for n in range(min(len(stop) - 1, len(waiting)), 0, -1) if waiting.endswith(stop[:n])), 0)
        yield waiting[: len(waiting) - held]
        waiting = waiting[len(waiting) - held :]
    yield waiting

"""The model: embedding, LSTM, linear layer; judging a text with it, and writing one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import nn
import nn.functional as F
import tinygrad_seq as tg
from tinygrad_seq import Tensor

from .text import Tokens, Vocabulary

State = Any  # what nn.LSTM returns beside its output
COLDEST = 1e-6  # the temperature below which dividing by it could overflow


class CharLM(nn.Module):
    """Scores of the next character. tokens (T, B), state (L, B, H) twice -> scores (T, B, V), state."""

    def __init__(self, vocabulary: int, embedding: int, hidden: int, layers: int, dropout: float = 0.0) -> None:
        self.embedding = nn.Embedding(vocabulary, embedding)
        between = dropout if layers > 1 else 0.0
        self.lstm = nn.LSTM(embedding, hidden, layers, dropout=between, forget_bias=1.0)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, vocabulary)

    def forward(self, tokens: Tensor | Tokens, state: State | None = None) -> tuple[Tensor, State]:
        hidden, state = self.lstm(self.embedding(tokens), state)
        return self.head(self.dropout(hidden)), state


def evaluate(model: CharLM, tokens: Tokens, device: str = "cpu", chunk: int = 500) -> float:
    """Nats per character of a text, read from its beginning to its end with the state carried through."""
    model.eval()
    total, state = 0.0, None
    with tg.no_grad():
        for start in range(0, len(tokens) - 1, chunk):
            piece = tg.tensor(tokens[start : start + chunk + 1], device=device)
            scores, state = model(piece[:-1].unsqueeze(1), state)
            total += F.cross_entropy(scores.squeeze(1), piece[1:], reduction="sum").item()
    model.train()
    return total / (len(tokens) - 1)


def write(
    model: CharLM,
    vocabulary: Vocabulary,
    prime: str,
    length: int,
    temperature: float,
    generator: tg.Generator,
    device: str = "cpu",
    compiled: bool = True,
) -> str:
    """`length` characters that go on from `prime`.

    Args:
        compiled: let `tg.compile` make a program of a step, which is faster.
        prime: how the text begins; if empty, as after a line break, where the model knows one.
        temperature: divides the scores: below 1 the likely becomes likelier; 0 takes the likeliest each time.
    """

    def step(given: Tensor, state: State | None) -> tuple[Tensor, State]:
        scores, state = model(given, state)
        last = scores[-1]
        if temperature < COLDEST:
            return last.argmax(-1, keepdim=True), state
        return tg.multinomial((last / temperature).softmax(-1), generator=generator), state

    model.eval()
    tokens = vocabulary.encode(prime or vocabulary.line_break, "--prime")
    drawn: list[int] = []
    with tg.no_grad():
        given, state = step(tg.tensor(tokens, device=device).unsqueeze(1), None)
        next_step = tg.compile(step) if compiled else step
        for k in range(length):
            given, state = next_step(given, state) if k else (given, state)
            drawn.append(int(given))
    model.train()
    return vocabulary.decode(np.array(drawn, dtype=np.int64))


def bits(nats: float) -> float:
    """Nats as bits."""
    return nats / math.log(2)

"""The model: embedding, recurrent layers, linear layer."""

from __future__ import annotations

import math
from typing import Any

import nn
from tinygrad_seq import Tensor

from . import cells

State = Any  # a nn.State, which recurrent layers return beside their output


class CharLM(nn.Module):
    """Scores of the next token. tokens (T, B), state -> scores (T, B, V), state.

    Args:
        cell: one of `cells.CELLS`.
        dropout: share of the outputs of each layer that is dropped.
        embedding_dropout: share of the embeddings' elements that is dropped.
        recurrent_dropout: share of the state's elements that is dropped on its way to the next step, the same ones at
            all steps.
    """

    def __init__(
        self,
        vocabulary: int,
        embedding: int,
        hidden: int,
        layers: int,
        dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        cell: str = "lstm",
    ) -> None:
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.embedding_dropout = nn.Dropout(embedding_dropout)
        between = dropout if layers > 1 else 0.0
        self.recurrent = cells.made(
            cell, embedding, hidden, layers, dropout=between, recurrent_dropout=recurrent_dropout
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, vocabulary)

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        hidden, state = self.recurrent(self.embedding_dropout(self.embedding(tokens)), state)
        return self.head(self.dropout(hidden)), state


def shapes(cell: str, vocabulary: int, embedding: int, hidden: int, layers: int) -> cells.Shapes:
    """The shapes of such a model's parameters, without making one."""
    found: cells.Shapes = {"embedding.weight": (vocabulary, embedding)}
    found |= {f"recurrent.{k}": shape for k, shape in cells.shapes(cell, embedding, hidden, layers).items()}
    return found | {"head.weight": (vocabulary, hidden), "head.bias": (vocabulary,)}


def count(cell: str, embedding: int, hidden: int, layers: int) -> int:
    """How many parameters, as tensors, such a model has. Of any size in no time."""
    one, two = (len(shapes(cell, 1, embedding, hidden, k)) for k in (1, 2))
    return one + (layers - 1) * (two - one)


def size(cell: str, vocabulary: int, embedding: int, hidden: int, layers: int) -> int:
    """How many numbers they hold. Of any size in no time."""
    one, two = (sum(map(math.prod, shapes(cell, vocabulary, embedding, hidden, k).values())) for k in (1, 2))
    return one + (layers - 1) * (two - one)


def bits(nats: float) -> float:
    """Nats as bits."""
    return nats / math.log(2)

"""The model: embedding, LSTM, linear layer."""

from __future__ import annotations

import math
from typing import Any

import nn
from tinygrad_seq import Tensor

State = Any  # what nn.LSTM returns beside its output


class CharLM(nn.Module):
    """Scores of the next token. tokens (T, B), state (L, B, H) twice -> scores (T, B, V), state.

    Args:
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
    ) -> None:
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.embedding_dropout = nn.Dropout(embedding_dropout)
        between = dropout if layers > 1 else 0.0
        self.lstm = nn.LSTM(
            embedding, hidden, layers, dropout=between, recurrent_dropout=recurrent_dropout, forget_bias=1.0
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, vocabulary)

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        hidden, state = self.lstm(self.embedding_dropout(self.embedding(tokens)), state)
        return self.head(self.dropout(hidden)), state


def shapes(vocabulary: int, embedding: int, hidden: int, layers: int) -> dict[str, tuple[int, ...]]:
    """The shapes of such a model's parameters, without making one."""
    found: dict[str, tuple[int, ...]] = {"embedding.weight": (vocabulary, embedding)}
    for k in range(layers):
        found[f"lstm.weight_ih_l{k}"] = (4 * hidden, hidden if k else embedding)
        found[f"lstm.weight_hh_l{k}"] = (4 * hidden, hidden)
        found[f"lstm.bias_ih_l{k}"] = found[f"lstm.bias_hh_l{k}"] = (4 * hidden,)
    return found | {"head.weight": (vocabulary, hidden), "head.bias": (vocabulary,)}


def size(vocabulary: int, embedding: int, hidden: int, layers: int) -> int:
    """How many parameters it has. Of any size in no time."""
    per_layer = 4 * hidden * (hidden + 2)
    first, others = 4 * hidden * embedding, 4 * hidden * hidden * (layers - 1)
    return vocabulary * embedding + first + others + layers * per_layer + (hidden + 1) * vocabulary


def bits(nats: float) -> float:
    """Nats as bits."""
    return nats / math.log(2)

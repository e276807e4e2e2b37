"""Small models that train: each recurrent layer and cell there is, embeddings, heads and losses, drawn together."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import nn
import nn.functional as F
import tinygrad_seq as tg
from nn import utils

T, B, FEATURES, HIDDEN, CLASSES = 3, 2, 2, 3, 3

Batch = dict[str, tg.Tensor]  # tokens (B, T), labels (B, T), shares (B, T, V), lengths (B,)


class Leaky(nn.Cell):
    """A cell of a user's own."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.U, self.W = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size, bias=False)

    def step(self, xW: tg.Tensor, state: tg.Tensor) -> tg.Tensor:
        return state * 0.7 + tg.tanh(self.U(xW) + self.W(state)) * 0.3


class Stepwise(nn.Module):
    """A cell in a loop as users write it. x (B, T, F) -> (B, T, H); sequences that are over keep their state."""

    def __init__(self, cell: nn.Cell) -> None:
        self.cell = cell

    def forward(self, x: tg.Tensor, lengths: tg.Tensor | None = None) -> tuple[tg.Tensor, Any]:
        state: Any = None
        outputs = []
        for t, x_t in enumerate(x.unbind(1)):
            new = self.cell(x_t, state)
            h = new if isinstance(new, tg.Tensor) else new[0]
            state = new
            outputs.append(h if lengths is None else h * (lengths > t).unsqueeze(1))
        return tg.stack(outputs, 1), state


def _layers(make: Callable[..., nn.Module], **settings: Any) -> Callable[[], nn.Module]:
    return lambda: make(FEATURES, HIDDEN, batch_first=True, **settings)


def _of_cells(cell: Any, **settings: Any) -> Callable[[], nn.Module]:
    return lambda: nn.Recurrent(cell, FEATURES, HIDDEN, batch_first=True, **settings)


RECURRENT: dict[str, Callable[[], nn.Module]] = {
    "RNN": _layers(nn.RNN),
    "LSTM": _layers(nn.LSTM),
    "GRU": _layers(nn.GRU),
    "LSTM, two layers": _layers(nn.LSTM, num_layers=2),
    "LSTM, projected, both directions": _layers(nn.LSTM, proj_size=2, bidirectional=True),
    "GRU, both directions": _layers(nn.GRU, bidirectional=True),
    "RNN, learned state": _layers(nn.RNN, learned_state=True),
    "peephole": _of_cells(nn.PeepholeLSTMCell),
    "normalised RNN": _of_cells(nn.LayerNormRNNCell),
    "normalised LSTM": _of_cells(nn.LayerNormLSTMCell),
    "normalised GRU": _of_cells(nn.LayerNormGRUCell),
    "minGRU": _of_cells(nn.MinGRUCell),
    "minLSTM, two layers": _of_cells(nn.MinLSTMCell, num_layers=2),
    "LRU, both directions": _of_cells(nn.LRUCell, bidirectional=True),
    "sLSTM": _of_cells(nn.SLSTMCell),
    "custom cell": _of_cells(Leaky),
    "RNN cells": lambda: Stepwise(nn.RNNCell(FEATURES, HIDDEN)),
    "LSTM cells": lambda: Stepwise(nn.LSTMCell(FEATURES, HIDDEN)),
    "GRU cells": lambda: Stepwise(nn.GRUCell(FEATURES, HIDDEN)),
}

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "softplus": nn.Softplus,
    "log sigmoid": nn.LogSigmoid,
    "softmax": lambda: nn.Softmax(-1),
    "log softmax": lambda: nn.LogSoftmax(-1),
    "layer norm": lambda: nn.LayerNorm(HIDDEN),
}


def _ctc(scores: tg.Tensor, batch: Batch) -> tg.Tensor:
    log_probs = F.log_softmax(scores, -1).transpose(0, 1)
    labels = tg.tensor([[1, 2]] * len(scores), device=scores.device)
    sizes = tg.full_like(batch["lengths"], 2)
    return nn.CTCLoss(reduction="sum")(log_probs, labels, batch["lengths"], sizes)


def _each(loss: Callable[[tg.Tensor, Batch], tg.Tensor]) -> Callable[[tg.Tensor, Batch], tg.Tensor]:
    """The sum over the steps that are there of a loss that has a number for each (B, T) or (B, T, V)."""

    def summed(scores: tg.Tensor, batch: Batch) -> tg.Tensor:
        losses = loss(scores, batch)
        there = tg.arange(scores.shape[1], device=scores.device) < batch["lengths"].unsqueeze(1)
        return (losses.reshape(*there.shape, -1).sum(-1) * there).sum()

    return summed


LOSSES: dict[str, Callable[[tg.Tensor, Batch], tg.Tensor]] = {
    "cross entropy": _each(lambda y, b: nn.CrossEntropyLoss(reduction="none")(y.flatten(0, 1), b["labels"].flatten())),
    "negative log likelihood": _each(
        lambda y, b: nn.NLLLoss(reduction="none")(tg.log_softmax(y, -1).transpose(1, 2), b["labels"])
    ),
    "squares": _each(lambda y, b: nn.MSELoss(reduction="none")(y, b["shares"])),
    "binary, logits": _each(lambda y, b: nn.BCEWithLogitsLoss(reduction="none")(y, b["shares"])),
    "binary": _each(lambda y, b: nn.BCELoss(reduction="none")(tg.sigmoid(y), b["shares"])),
    "divergence": _each(lambda y, b: nn.KLDivLoss(reduction="none")(F.log_softmax(y, dim=-1), b["shares"])),
    "cosine": _each(lambda y, b: 1 - nn.CosineSimilarity(-1)(y, b["shares"])),
    "distance": _each(lambda y, b: nn.PairwiseDistance()(y, b["shares"]) + F.pairwise_distance(y, b["shares"], 4.0)),
    "CTC": _ctc,
}


class Net(nn.Module):
    """Features and tokens in, the loss out: embedding, recurrent layer, dropout, head, loss.

    Attributes:
        how: how the recurrent layer is told which steps are there; "whole" where all are.
        again: the parts that are checkpointed.
        extra: a layer that is there once the model has grown.
        seen: a buffer that users' code writes to.
    """

    def __init__(self, recurrent: str, activation: str, loss: str, embedding: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, FEATURES) if embedding else None
        self.recurrent = RECURRENT[recurrent]()
        self.drop = nn.Dropout(0.0)
        width = (
            HIDDEN if isinstance(self.recurrent, Stepwise) else self.recurrent(tg.zeros(1, 1, FEATURES))[0].shape[-1]
        )
        parts = [nn.Linear(width, HIDDEN), ACTIVATIONS[activation](), nn.Linear(HIDDEN, CLASSES)]
        self.head = nn.Sequential(*parts)
        self.extra: nn.Module | None = None
        self.seen: tg.Tensor
        self.register_buffer("seen", tg.zeros(2))
        self.loss, self.how = loss, "whole"
        self.again: tuple[str, ...] = ()
        self.double()

    def _part(self, name: str, f: Callable[..., Any], *args: Any) -> Any:
        return tg.checkpoint(f, *args) if name in self.again else f(*args)

    def _walk(self, data: tg.Tensor, lengths: tg.Tensor) -> tg.Tensor:
        """(B, T, F) -> (B, T, O), zeros where no step is."""
        run, how = self.recurrent, self.how
        if how == "whole":
            return run(data)[0]
        if how == "lengths" or (how != "alone" and isinstance(run, Stepwise)):
            return run(data, lengths=lengths)[0]
        if how == "mask":
            return run(data, mask=tg.arange(data.shape[1], device=data.device) < lengths.unsqueeze(1))[0]
        if how == "packed":
            packed = utils.rnn.pack_padded_sequence(data, lengths, batch_first=True, enforce_sorted=False)
            return utils.rnn.pad_packed_sequence(run(packed)[0], batch_first=True, total_length=data.shape[1])[0]
        parts = [x[:n].unsqueeze(0) for x, n in zip(data, lengths.tolist(), strict=True)]  # each alone
        outputs = [run(x)[0].squeeze(0) if x.shape[1] else run(data[:1])[0][0, :0] for x in parts]
        return tg.stack([tg.cat([y, y.new_zeros(data.shape[1] - len(y), y.shape[1])]) for y in outputs])

    def forward(self, x: tg.Tensor, batch: Batch) -> tg.Tensor:
        data = x
        if self.embedding is not None:
            data = self.embedding(batch["tokens"])
            data += x
        hidden = self.drop(self._part("recurrent", self._walk, data, batch["lengths"]))
        scores = self._part("head", self.head, hidden)
        if self.extra is not None:
            scores = scores + self.extra(scores)
        return LOSSES[self.loss](scores, batch)


def build(rng: Random) -> tuple[Net, str]:
    """A model of the zoo, and what it is in words."""
    recurrent, activation, loss = (rng.choice(list(table)) for table in (RECURRENT, ACTIVATIONS, LOSSES))
    embedding = rng.random() < 0.5
    words = ", ".join([recurrent, activation, loss, *(["embedding"] if embedding else [])])
    return Net(recurrent, activation, loss, embedding), words


def data(rng: Random, *, whole: bool, least: int) -> tuple[tg.Tensor, Batch]:
    """An input (B, T, F) and what goes with it; all sequences of T steps if `whole`, else of `least` and more."""
    x = tg.randn(B, T, FEATURES, dtype=tg.float64)
    lengths = [T if whole else rng.randint(least, T) for _ in range(B)]
    batch = {
        "tokens": tg.randint(5, (B, T)),
        "labels": tg.randint(CLASSES, (B, T)),
        "shares": tg.softmax(tg.randn(B, T, CLASSES, dtype=tg.float64), -1),
        "lengths": tg.tensor(lengths),
    }
    return x, batch

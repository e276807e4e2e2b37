"""Judging a model by a text that it does not learn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import nn.functional as F
import tinygrad_seq as tg

from .model import CharLM, State
from .recipe import MOST_SCORES
from .vocabulary import Tokens

STREAMS = 64  # read in parallel, at most
SHORTEST = 200  # tokens of a stream, if there are several
PIECE = 100  # tokens per stream and step
WARM_UP = 100  # tokens that a stream reads before those that count: its state is not zero then


class Judge:
    """Nats per token of the last part of a text, read in parallel streams by a compiled step.

    Args:
        tokens: the whole text; what stands before `start` is read to warm up only.
        start: where the part begins.
    """

    def __init__(self, model: CharLM, tokens: Tokens, start: int, device: str = "cpu", compiled: bool = True) -> None:
        self._model, self._tokens, self._start, self._device = model, tokens, start, device
        self._eager = self._step
        self._compiled: Callable[..., Any] = tg.compile(self._step) if compiled else self._step

    def _step(self, inputs: tg.Tensor, targets: tg.Tensor, state: State | None) -> tuple[tg.Tensor, State]:
        scores, state = self._model(inputs, state)
        return F.cross_entropy(scores.reshape(-1, scores.shape[-1]), targets.reshape(-1), reduction="sum"), state

    def __call__(
        self, size: int | None = None, tick: Callable[[float], bool] = lambda done: False
    ) -> tuple[float, int] | None:
        """Judge.

        Args:
            size: read about so many tokens, spread evenly over the part; all of them without it.
            tick: is told the share that is done, between pieces; if it returns True, the judgement is given up.

        Returns:
            Nats per token, and of how many tokens; None if it was given up.
        """
        there = len(self._tokens) - 1 - self._start  # tokens that have one after them
        size = there if size is None else min(size, there)
        vocabulary = len(self._model.head.weight)
        streams = max(min(STREAMS, size // SHORTEST, MOST_SCORES // (PIECE * vocabulary)), 1)
        length, spacing = size // streams, there // streams
        starts = self._start + np.arange(streams) * spacing
        warm = min(WARM_UP, self._start)
        total, state = 0.0, None
        self._model.eval()
        try:
            with tg.no_grad(), np.errstate(all="ignore"):  # a diverged model is seen by its figure
                if warm:
                    state = self._eager(*self._piece(starts - warm, warm), state)[1]
                for t in range(0, length, PIECE):
                    if tick(t / length):
                        return None
                    steps = min(PIECE, length - t)
                    step = self._compiled if steps == PIECE and state is not None else self._eager
                    loss, state = step(*self._piece(starts + t, steps), state)
                    total += loss.item()
        finally:
            self._model.train()
        return total / (streams * length), streams * length

    def _piece(self, starts: Tokens, steps: int) -> tuple[tg.Tensor, tg.Tensor]:
        """Inputs and targets (T, B)."""
        read = self._tokens[starts + np.arange(steps + 1)[:, None]]
        piece = tg.tensor(read, dtype=tg.int64, device=self._device)
        return piece[:-1], piece[1:]


def surprisals(model: CharLM, tokens: Tokens, device: str = "cpu", compiled: bool = True) -> Iterator[Tokens]:
    """Nats of each token but the first, piece by piece, read from end to end."""

    def step(piece: tg.Tensor, state: State | None) -> tuple[tg.Tensor, State]:
        scores, state = model(piece[:-1].unsqueeze(1), state)
        return F.cross_entropy(scores.squeeze(1), piece[1:], reduction="none"), state

    model.eval()
    state: State | None = None
    fast = tg.compile(step) if compiled else step
    with tg.no_grad():
        for t in range(0, len(tokens) - 1, PIECE):
            piece = tg.tensor(tokens[t : t + PIECE + 1], dtype=tg.int64, device=device)
            run = fast if len(piece) == PIECE + 1 and state is not None else step
            nats, state = run(piece, state)
            yield nats.cpu().numpy()
    model.train()

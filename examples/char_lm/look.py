"""What a model does at each token of a text: what it expected, what its units do, how far back its gradients reach."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

import nn
import nn.functional as F
import tinygrad_seq as tg

from .model import CharLM, State
from .recipe import MOST_SCORES
from .vocabulary import Tokens

Array = np.ndarray[tuple[int, ...], np.dtype[Any]]

LENGTH = 20_000  # tokens looked at, if not said otherwise
LIKELIEST = 5
PIECE = 32  # tokens; the pieces of a text are looked at side by side
REACH = 96  # tokens that a gradient is followed back
STRETCH = 80  # tokens, of which one's gradient is followed: that costs as much as reading all of them a few times
FEWEST = 20  # tokens whose gradients are followed in a short text
RANKED = 5  # units for each feature
INDENT = " \t"
OPENING, CLOSING, EITHER = "„«「『", "”»」』", '"“'  # “ ends what „ began


class Look(NamedTuple):
    """What happened at each of N tokens. Units are numbered through, layer after layer: there are U.

    Attributes:
        nats: how surprising each token was, (N,).
        likeliest, shares: the tokens that were expected most in its place, and their probabilities, (N, 5).
        states: 127 tanh(c) after each token, rounded, (N, U). A picture needs no more.
        gates: how far each gate was open while it was read, 0 to 15, for i, f, g, o (g: from -1 to 1), (N, U).
        positions: the tokens whose gradients were followed, (M,).
        reach: ‖∂L/∂c‖ in the first layer, where L is such a token's surprisal, and c the state after the token before
            it, the one before that, and so on, (M, 96). Zero before the beginning.
    """

    nats: Array
    likeliest: Array
    shares: Array
    states: Array
    gates: dict[str, Array]
    positions: Array
    reach: Array


def look(model: CharLM, tokens: Tokens, device: str = "cpu", compiled: bool = True) -> Look:
    """Look into a model while it reads.

    It reads the text from end to end first. Then all pieces are read again, side by side under a lens, each from the
    state that was there before it: the numbers are the same, in a tenth of the time.

    Args:
        tokens: (N + 1,). The first one is read only, as what stands before the text.
    """
    model = copy.deepcopy(model)  # one that takes no gradients, and that nobody trains
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    before = _states_before(model, tokens, device, compiled)
    pieces = before[0].shape[1]
    padded = np.pad(tokens, (0, pieces * PIECE + 1 - len(tokens))).astype(np.int64)
    inputs, targets = padded[:-1].reshape(pieces, PIECE), padded[1:].reshape(pieces, PIECE)
    widest = max(len(model.head.weight), before[0].shape[0] * before[0].shape[2])
    at_once = max(MOST_SCORES // (PIECE * widest), 1)
    seen = [
        _side_by_side(model, inputs[k : k + at_once], targets[k : k + at_once], [s[:, k : k + at_once] for s in before])
        for k in range(0, pieces, at_once)
    ]
    nats, likeliest, shares, states, *gates = (np.concatenate(parts) for parts in zip(*seen, strict=True))
    N = len(tokens) - 1
    positions = most_surprising(nats[:N], max(N // STRETCH, FEWEST))
    at_once = max(MOST_SCORES // ((REACH + PIECE) * widest), 1)
    reach = [_reach(model, padded, positions[k : k + at_once], before) for k in range(0, len(positions), at_once)]
    after = slice(1, N + 1)  # the step that reads a token comes after the one that expects it
    return Look(
        nats[:N],
        likeliest[:N],
        shares[:N],
        states[after],
        {name: opened[after] for name, opened in zip("ifgo", gates, strict=True)},
        positions,
        np.concatenate(reach),
    )


def _states_before(model: CharLM, tokens: Tokens, device: str, compiled: bool) -> list[tg.Tensor]:
    """The states h and c before each piece of the text, (L, pieces, H) each."""

    def read(piece: tg.Tensor, state: State | None) -> State:
        return model.recurrent(model.embedding(piece), state)[1]

    fast = tg.compile(read) if compiled else read
    zero = tg.zeros(model.recurrent.num_layers, 1, model.head.weight.shape[1], device=device)
    states: list[State] = [(zero, zero)]
    with tg.no_grad():
        for t in range(0, len(tokens) - PIECE, PIECE):
            piece = tg.tensor(tokens[t : t + PIECE], dtype=tg.int64, device=device).unsqueeze(1)
            states.append(fast(piece, states[-1]))
        return [tg.cat([state[n] for state in states], dim=1) for n in (0, 1)]


def _side_by_side(model: CharLM, inputs: Array, targets: Array, before: list[tg.Tensor]) -> tuple[Array, ...]:
    """Nats, likeliest tokens, their probabilities, states and gates at B pieces: (32·B, ...) each."""
    device = before[0].device

    def flat(values: Array) -> Array:
        """(T, B, ...) -> (B·T, ...)"""
        return values.swapaxes(0, 1).reshape(-1, values.shape[-1])

    with tg.no_grad(), nn.lens(model) as seen:
        scores, _ = model(tg.tensor(inputs.T, device=device), (before[0], before[1]))
        logs = F.log_softmax(scores, dim=-1)
        expected = logs.topk(min(LIKELIEST, logs.shape[-1]))
        nats = -logs.gather(-1, tg.tensor(targets.T, device=device).unsqueeze(-1))
        found = [flat(x.cpu().numpy()) for x in (nats, expected.indices, expected.values.exp())]
    layers = seen.layers.values()
    found.append(flat(np.concatenate([np.rint(127 * np.tanh(x.state("c"))).astype(np.int8) for x in layers], -1)))
    for name in "ifgo":
        opened = (x.gate(name) for x in layers)
        shares = ((x + 1) / 2 if name == "g" else x for x in opened)
        found.append(flat(np.concatenate([np.rint(15 * x).astype(np.uint8) for x in shares], -1)))
    return found[0][:, 0], *found[1:]


def _reach(model: CharLM, padded: Array, positions: Array, before: list[tg.Tensor]) -> Array:
    """‖∂L/∂c‖ backwards from each position, (M, 96), all in one backward pass over windows side by side."""
    M, device = len(positions), before[0].device
    first = np.maximum(positions - REACH + 1, 0) // PIECE  # the piece with which each window begins
    last = positions - first * PIECE
    steps = np.arange(int(last.max()) + 1)[:, None]
    window = padded[np.minimum(first * PIECE + steps, len(padded) - 1)]
    state = [s[:, first.tolist()].detach().requires_grad_() for s in before]  # all that comes after takes gradients
    with nn.lens(model) as seen:
        scores, _ = model(tg.tensor(window, device=device), (state[0], state[1]))
        expected = scores[last.tolist(), list(range(M))]
        F.cross_entropy(expected, tg.tensor(padded[positions + 1], device=device), reduction="sum").backward()
    norms = next(iter(seen.layers.values())).gradient_norm("c")
    back = last[:, None] - np.arange(REACH)
    return np.where(back >= 0, norms[np.maximum(back, 0), np.arange(M)[:, None]], 0.0)


def most_surprising(nats: Array, count: int) -> Array:
    """The positions of the most surprising token in each of so many stretches of the text."""
    edges = np.linspace(0, len(nats), min(count, len(nats)) + 1).astype(int)
    return np.array([a + int(nats[a:b].argmax()) for a, b in pairwise(edges)])


def features(pieces: Sequence[str]) -> dict[str, Array]:
    """What units are known to follow (Karpathy, Johnson & Fei-Fei, 2015), after each piece of a text, (N,) each."""
    inside, column, indent = 0, 0, 0
    blank, found = True, np.zeros((4, len(pieces)))
    text, end = "".join(pieces), 0
    for n, piece in enumerate(pieces):
        end += len(piece)
        for character in piece:
            if character == "\n":
                inside = 0 if blank else inside  # a quotation that nobody closed ends with its paragraph
                column, indent, blank = 0, 0, True
                continue
            column += 1
            if blank and character in INDENT:
                indent += 1
            else:
                blank = False
            if character in EITHER:
                inside = 1 - inside
            elif character in OPENING + CLOSING:
                inside = int(character in OPENING)
        ends = piece[-1:].isalnum() and not text[end : end + 1].isalnum()
        found[:, n] = inside, column, indent, ends
    return dict(zip(("inside quotes", "place in the line", "indentation", "end of a word"), found, strict=True))


def ranked(states: Array, followed: dict[str, Array], count: int = RANKED) -> dict[str, list[tuple[int, float]]]:
    """For each feature the units that follow it most closely, and their correlation with it, the strongest first.

    Features and units that do not change in this text are left out.
    """
    centred = states - states.mean(axis=0, dtype=np.float32)
    size = np.sqrt((centred**2).sum(axis=0))
    found = {}
    for name, values in followed.items():
        off = (values - values.mean()).astype(np.float32)
        scale = np.sqrt((off**2).sum()) * size
        correlation = np.divide(off @ centred, scale, out=np.zeros_like(scale), where=scale > 0)
        best = np.argsort(-abs(correlation), kind="stable")[:count]
        found[name] = [(int(unit), float(correlation[unit])) for unit in best if correlation[unit]]
    return {name: units for name, units in found.items() if units}

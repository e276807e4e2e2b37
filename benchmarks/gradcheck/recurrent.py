"""Recurrent networks by hand, right and with one term of the way back wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .case import CORRECT, WRONG, Case, Draw, draws, enter, normal
from .elementwise import sigmoid


def add(name: str, forward: Any, backward: Any, draw: Draw) -> None:
    enter(CORRECT, name, Case(forward, backward, draw))


def rnn(x: Any, h: Any, U: Any, W: Any) -> Any:
    states = []
    for x_t in x:
        h = np.tanh(x_t @ U.T + h @ W.T)
        states.append(h)
    return np.stack(states)


def rnn_backward(g: Any, x: Any, h: Any, U: Any, W: Any, y: Any) -> Any:
    dx, dU, dW, carried = np.zeros_like(x), np.zeros_like(U), np.zeros_like(W), np.zeros_like(h)
    for t in reversed(range(len(x))):
        da = (g[t] + carried) * (1 - y[t] ** 2)
        before = y[t - 1] if t else h
        dx[t] = da @ U
        dU += da.T @ x[t]
        dW += da.T @ before
        carried = da @ W
    return dx, carried, dU, dW


add(
    "RNN, 5 steps",
    rnn,
    rnn_backward,
    draws(normal(5, 2, 3), normal(2, 4), normal(4, 3, scale=0.5), normal(4, 4, scale=0.5)),
)
add("RNN, 40 steps", rnn, rnn_backward, draws(normal(40, 1, 2), normal(1, 3), normal(3, 2), normal(3, 3, scale=0.6)))
add(
    "RNN, tiny weights", rnn, rnn_backward, draws(normal(6, 2, 3), normal(2, 4), normal(4, 3), normal(4, 4, scale=1e-3))
)


def lstm(x: Any, h: Any, c: Any, W: Any) -> Any:
    """W (4H, H + F) on [h, x], gates i, f, g, o."""
    states = []
    for x_t in x:
        i, f, g, o = np.split(np.concatenate([h, x_t], -1) @ W.T, 4, -1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return np.stack(states)


def lstm_steps(x: Any, h: Any, c: Any, W: Any) -> list[tuple[Any, ...]]:
    """For each step [h, x], the gates i, f, g, o, and the cell before and after."""
    kept = []
    for x_t in x:
        joined = np.concatenate([h, x_t], -1)
        i, f, g, o = np.split(joined @ W.T, 4, -1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        before, c = c, f * c + i * g
        h = o * np.tanh(c)
        kept.append((joined, i, f, g, o, before, c))
    return kept


def lstm_backward(grad: Any, x: Any, h: Any, c: Any, W: Any, y: Any) -> Any:
    H, kept = h.shape[-1], lstm_steps(x, h, c, W)
    dx, dW, dh, dc = np.zeros_like(x), np.zeros_like(W), np.zeros_like(h), np.zeros_like(h)
    for t in reversed(range(len(x))):
        joined, i, f, g, o, before, c = kept[t]
        dh = dh + grad[t]
        dc = dc + dh * o * (1 - np.tanh(c) ** 2)
        da = np.concatenate(
            [dc * g * i * (1 - i), dc * before * f * (1 - f), dc * i * (1 - g * g), dh * np.tanh(c) * o * (1 - o)], -1
        )
        dW += da.T @ joined
        both = da @ W
        dh, dx[t] = both[:, :H], both[:, H:]
        dc = dc * f
    return dx, dh, dc, dW


LSTM_INPUTS = draws(normal(5, 2, 3), normal(2, 4), normal(2, 4), normal(16, 7, scale=0.4))
add("LSTM, 5 steps", lstm, lstm_backward, LSTM_INPUTS)
add("LSTM, 30 steps", lstm, lstm_backward, draws(normal(30, 1, 2), normal(1, 2), normal(1, 2), normal(8, 4)))


def rnn_wrong(term: str) -> Callable[..., Any]:
    def backward(g: Any, x: Any, h: Any, U: Any, W: Any, y: Any) -> Any:
        dx, dU, dW, carried = np.zeros_like(x), np.zeros_like(U), np.zeros_like(W), np.zeros_like(h)
        for t in reversed(range(len(x))):
            da = (g[t] + carried) * (1 - y[t] ** 2)
            before = y[t - 1] if t else (h * 0 if term == "h_0" else h)
            dx[t] = da @ U
            dU += da.T @ x[t]
            dW = dW + da.T @ before if term != "dW overwritten" else da.T @ before
            carried = da @ (W.T if term == "W transposed" else W)
            if term == "no carry":
                carried = carried * 0
            if term == "cut after 3 steps" and t == len(x) - 3:
                carried = carried * 0
        return dx, carried, dU, dW

    return backward


for _term in ("h_0", "dW overwritten", "W transposed", "no carry", "cut after 3 steps"):
    WRONG[f"RNN by hand: {_term}"] = Case(rnn, rnn_wrong(_term), CORRECT["RNN, 5 steps"].draw)


def lstm_wrong(term: str) -> Callable[..., Any]:
    def backward(grad: Any, x: Any, h: Any, c: Any, W: Any, y: Any) -> Any:
        H, kept = h.shape[-1], lstm_steps(x, h, c, W)
        dx, dW, dh, dc = np.zeros_like(x), np.zeros_like(W), np.zeros_like(h), np.zeros_like(h)
        for t in reversed(range(len(x))):
            joined, i, f, g, o, before, c = kept[t]
            dh = dh + grad[t]
            through = dh * o * (1 - np.tanh(c) ** 2)
            dc = through if term == "cell's carry" else dc + through
            if term == "tanh' of the cell":
                dc = dc + dh * o * np.tanh(c) ** 2
            of_forget = dc * (c if term == "c_t for c_{t-1}" else before) * f * (1 - f)
            of_output = dh * (c if term == "c for tanh c" else np.tanh(c)) * o * (1 - o)
            of_input = dc * g * i * (1 - i)
            if term == "input and forget swapped":
                of_input, of_forget = of_forget, of_input
            of_cell = dc * i * (1 - g) if term == "1 - g" else dc * i * (1 - g * g)
            da = np.concatenate([of_input, of_forget, of_cell, of_output], -1)
            dW += da.T @ joined
            both = da @ W
            dh, dx[t] = both[:, :H], both[:, H:]
            if term == "hidden's carry":
                dh = dh * 0
            dc = dc if term == "forget gate on the cell's carry" else dc * f
        return dx, dh, dc, dW

    return backward


for _term in (
    "cell's carry", "tanh' of the cell", "c_t for c_{t-1}", "c for tanh c", "input and forget swapped", "1 - g",
    "hidden's carry", "forget gate on the cell's carry",
):  # fmt: skip
    WRONG[f"LSTM by hand: {_term}"] = Case(lstm, lstm_wrong(_term), LSTM_INPUTS)

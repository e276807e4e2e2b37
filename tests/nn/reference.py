"""The recurrent networks as the slides write them, in plain NumPy: one matrix for each gate, applied to [h, x]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]


def sigma(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


def lstm(x: Array, h: Array, C: Array, W: dict[str, Array], b: dict[str, Array]) -> tuple[list[Array], Array]:
    """x is a list of x_t (F,), h and C (H,), W[gate] (H, H + F), b[gate] (H,) -> every h_t, and the last C."""
    hs = []
    for x_t in x:
        hx = np.concatenate([h, x_t])
        f_t = sigma(W["f"] @ hx + b["f"])
        i_t = sigma(W["i"] @ hx + b["i"])
        C_new = np.tanh(W["C"] @ hx + b["C"])
        C = f_t * C + i_t * C_new
        o_t = sigma(W["o"] @ hx + b["o"])
        h = o_t * np.tanh(C)
        hs.append(h)
    return hs, C


def rnn(x: Array, s: Array, U: Array, W: Array, b: Array, f: Callable[[Array], Array]) -> list[Array]:
    """s_t = f(U x_t + W s_{t-1} + b)."""
    states = []
    for x_t in x:
        s = f(U @ x_t + W @ s + b)
        states.append(s)
    return states


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max())
    return np.asarray(e / e.sum())

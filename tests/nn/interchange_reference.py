"""Recurrent layers as other libraries write their equations, straight in NumPy, and what the tests on them share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg
from nn.interchange import LAYOUTS

F, H, T, B = 3, 4, 5, 2
KINDS = ["RNN", "LSTM", "GRU"]
PAIRS = [(layout, kind) for layout in LAYOUTS for kind in KINDS if kind in LAYOUTS[layout].arrays]
SHAPES = [(1, False), (2, False), (1, True), (2, True)]
ALL = [
    pytest.param(layout, kind, layers, both, id=f"{layout}-{kind}-{layers}-{'both' if both else 'one'}")
    for layout, kind in PAIRS
    for layers, both in SHAPES
    if not both or LAYOUTS[layout].directions == 2
]
SAID: dict[str, Any] = {"onnx": {"reset_after": True}}


def ours(kind: str, layers: int = 1, both: bool = False, dtype: Any = tg.float64, **options: Any) -> Any:
    return getattr(nn, kind)(F, H, layers, bidirectional=both, dtype=dtype, **options)


def data(dtype: Any = np.float64) -> Any:
    return np.random.default_rng(0).standard_normal((T, B, F)).astype(dtype)


def output(module: Any, x: Any) -> Any:
    return module(tg.tensor(x))[0].detach().numpy()


def random_like(weights: Any, seed: int = 1) -> Any:
    """The same names and shapes with other numbers, all different."""
    rng = np.random.default_rng(seed)

    def walk(node: Any) -> Any:
        if isinstance(node, dict):
            return {name: walk(value) for name, value in node.items()}
        return [walk(v) for v in node] if isinstance(node, list) else rng.normal(0, 0.5, node.shape).astype(node.dtype)

    return walk(weights)


# --- the libraries' own equations, straight in NumPy, one step in one direction: (weights, x, state) -> state ---


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def lstm(i: Any, f: Any, g: Any, o: Any, c: Any) -> Any:
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def keras_rnn(w: Any, x: Any, h: Any, _c: Any) -> Any:
    return np.tanh(x @ w["kernel"] + h @ w["recurrent_kernel"] + w["bias"]), _c


def keras_lstm(w: Any, x: Any, h: Any, c: Any) -> Any:
    z = x @ w["kernel"] + h @ w["recurrent_kernel"] + w["bias"]
    i, f, candidate, o = np.split(z, 4, axis=1)
    return lstm(i, f, candidate, o, c)


def keras_gru(w: Any, x: Any, h: Any, _c: Any) -> Any:
    x_z, x_r, x_h = np.split(x @ w["kernel"] + w["bias"][0], 3, axis=1)
    r_z, r_r, r_h = np.split(h @ w["recurrent_kernel"] + w["bias"][1], 3, axis=1)
    z, r = sigmoid(x_z + r_z), sigmoid(x_r + r_r)
    return z * h + (1 - z) * np.tanh(x_h + r * r_h), _c


def flax_rnn(w: Any, x: Any, h: Any, _c: Any) -> Any:
    return np.tanh(x @ w["i"]["kernel"] + w["i"]["bias"] + h @ w["h"]["kernel"]), _c


def flax_lstm(w: Any, x: Any, h: Any, c: Any) -> Any:
    i, f, g, o = (x @ w[f"i{k}"]["kernel"] + h @ w[f"h{k}"]["kernel"] + w[f"h{k}"]["bias"] for k in "ifgo")
    return lstm(i, f, g, o, c)


def flax_gru(w: Any, x: Any, h: Any, _c: Any) -> Any:
    r, z = (sigmoid(x @ w[f"i{k}"]["kernel"] + w[f"i{k}"]["bias"] + h @ w[f"h{k}"]["kernel"]) for k in "rz")
    n = np.tanh(x @ w["in"]["kernel"] + w["in"]["bias"] + r * (h @ w["hn"]["kernel"] + w["hn"]["bias"]))
    return (1 - z) * n + z * h, _c


def onnx_rnn(w: Any, x: Any, h: Any, _c: Any) -> Any:
    Wb, Rb = np.split(w["B"], 2)
    return np.tanh(x @ w["W"].T + h @ w["R"].T + Wb + Rb), _c


def onnx_lstm(w: Any, x: Any, h: Any, c: Any) -> Any:
    Wb, Rb = np.split(w["B"], 2)
    i, o, f, candidate = np.split(x @ w["W"].T + h @ w["R"].T + Wb + Rb, 4, axis=1)
    return lstm(i, f, candidate, o, c)


def onnx_gru(w: Any, x: Any, h: Any, _c: Any) -> Any:
    Wb, Rb = np.split(w["B"], 2)
    x_z, x_r, x_h = np.split(x @ w["W"].T + Wb, 3, axis=1)
    r_z, r_r, r_h = np.split(h @ w["R"].T + Rb, 3, axis=1)
    z, r = sigmoid(x_z + r_z), sigmoid(x_r + r_r)
    return (1 - z) * np.tanh(x_h + r * r_h) + z * h, _c


def chainer_sum(w: Any, x: Any, h: Any, j: int, gates: int) -> Any:
    return x @ w[f"w{j}"].T + w[f"b{j}"] + h @ w[f"w{j + gates}"].T + w[f"b{j + gates}"]


def chainer_rnn(w: Any, x: Any, h: Any, _c: Any) -> Any:
    return np.tanh(chainer_sum(w, x, h, 0, 1)), _c


def chainer_lstm(w: Any, x: Any, h: Any, c: Any) -> Any:
    # its documentation calls gate 2 o and gate 3 the candidate; its code, and cuDNN, compute it so
    i, f, candidate, o = (chainer_sum(w, x, h, j, 4) for j in range(4))
    return lstm(i, f, candidate, o, c)


def chainer_gru(w: Any, x: Any, h: Any, _c: Any) -> Any:
    r, z = sigmoid(chainer_sum(w, x, h, 0, 3)), sigmoid(chainer_sum(w, x, h, 1, 3))
    new = np.tanh(x @ w["w2"].T + w["b2"] + r * (h @ w["w5"].T + w["b5"]))
    return (1 - z) * new + z * h, _c


def chainer_link_lstm(w: Any, x: Any, h: Any, c: Any) -> Any:
    s = x @ w["upward"]["W"].T + w["upward"]["b"] + h @ w["lateral"]["W"].T
    a, i, f, o = np.moveaxis(s.reshape(len(x), -1, 4), -1, 0)
    return lstm(i, f, a, o, c)


def char_rnn_sum(w: Any, x: Any, h: Any) -> Any:
    return x @ w["i2h"]["weight"].T + w["i2h"]["bias"] + h @ w["h2h"]["weight"].T + w["h2h"]["bias"]


def char_rnn_rnn(w: Any, x: Any, h: Any, _c: Any) -> Any:
    return np.tanh(char_rnn_sum(w, x, h)), _c


def char_rnn_lstm(w: Any, x: Any, h: Any, c: Any) -> Any:
    in_gate, forget_gate, out_gate, in_transform = np.moveaxis(char_rnn_sum(w, x, h).reshape(len(x), 4, -1), 1, 0)
    return lstm(in_gate, forget_gate, in_transform, out_gate, c)


def of_direction(layout: str, unit: Any, d: int, both: bool) -> Any:
    """The weights of one direction out of those of a layer."""
    if layout == "onnx":
        return {name: array[d] for name, array in unit.items()}
    if layout == "keras" and both:
        prefix = ("forward_", "backward_")[d]
        return {name.removeprefix(prefix): array for name, array in unit.items() if name.startswith(prefix)}
    return unit


def in_numpy(layout: str, kind: str, weights: Any, both: bool, x: Any) -> Any:
    step = globals()[f"{layout.replace('-', '_')}_{kind.lower()}"]
    directions = 2 if both else 1
    if LAYOUTS[layout].of == "cell":
        weights = [weights[k : k + directions] for k in range(0, len(weights), directions)]
    for unit in weights:
        outputs = []
        for d in range(directions):
            w = unit[d] if isinstance(unit, list) else of_direction(layout, unit, d, both)
            state = (np.zeros((B, H)), np.zeros((B, H)))
            steps = []
            for x_t in x[::-1] if d else x:
                state = step(w, x_t, *state)
                steps.append(state[0])
            outputs.append(np.stack(steps[::-1] if d else steps))
        x = np.concatenate(outputs, axis=-1)
    return x

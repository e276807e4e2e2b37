"""Forward and backward of recurrent layers in the cases that are not plain: two directions, packed, four layers.

H = F = 128, 50 sequences of up to 50 steps, float32, ours and PyTorch's: the composition that ours is, in its eager
operations, and its fused layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np

import nn
import tinygrad_seq as tg

from .processes import Make, markdown, ratio, seconds

T, B, H = 50, 50, 128
LENGTHS = sorted(np.random.default_rng(0).integers(5, T + 1, B).tolist(), reverse=True)
CASES: dict[str, tuple[str, dict[str, Any], bool]] = {  # which layer, its settings, whether it is packed
    "LSTM, bidirectional": ("LSTM", {"bidirectional": True}, False),
    "LSTM, 2 layers, packed": ("LSTM", {"num_layers": 2}, True),
    "LSTM, bidirectional, packed": ("LSTM", {"bidirectional": True}, True),
    "LSTM, 4 layers": ("LSTM", {"num_layers": 4}, False),
    "GRU, 2 layers": ("GRU", {"num_layers": 2}, False),
    "RNN, 2 layers": ("RNN", {"num_layers": 2}, False),
}


def numbers() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((T, B, H)).astype(np.float32)


def ours(case: str) -> Callable[[], float]:
    """Forward and backward of our layer; returns the sum of its output."""
    kind, settings, packed = CASES[case]
    layer = getattr(nn, kind)(H, H, **settings)
    weights = np.random.default_rng(2)
    with tg.no_grad():
        for p in layer.parameters():
            p.copy_(weights.uniform(-0.1, 0.1, p.shape))
    x = tg.tensor(numbers())

    def run() -> float:
        layer.zero_grad()
        given = nn.utils.rnn.pack_padded_sequence(x, LENGTHS) if packed else x
        output, _ = layer(given)
        total = (output.data if packed else output).sum()
        total.backward()
        return float(total.item())

    return run


def theirs(case: str, fused: bool) -> Callable[[], float]:
    """The same in PyTorch: with its fused layer, or step by step with eager operations.

    Raises:
        ImportError: if PyTorch is not installed.
    """
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence

    kind, settings, packed = CASES[case]
    layer = getattr(torch.nn, kind)(H, H, **settings)
    weights = np.random.default_rng(2)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.from_numpy(weights.uniform(-0.1, 0.1, p.shape)))
    x = torch.from_numpy(numbers())

    def step(xW: Any, state: Any, W_hh: Any, b_hh: Any) -> Any:
        if kind == "RNN":
            return (torch.tanh(xW + state[0] @ W_hh + b_hh),)
        if kind == "GRU":
            r, z, n = xW.chunk(3, dim=-1)
            r_h, z_h, n_h = (state[0] @ W_hh + b_hh).chunk(3, dim=-1)
            r, z = torch.sigmoid(r + r_h), torch.sigmoid(z + z_h)
            n = torch.tanh(n + r * n_h)
            return (n + z * (state[0] - n),)
        i, f, g, o = (xW + state[0] @ W_hh).chunk(4, dim=-1)
        i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
        c = f * state[1] + i * g
        return o * torch.tanh(c), c

    def walk(data: Any, batch_sizes: list[int], suffix: str) -> Any:
        """One layer in one direction over packed data."""
        W_ih, b_ih = getattr(layer, f"weight_ih_{suffix}"), getattr(layer, f"bias_ih_{suffix}")
        W_hh, b_hh = getattr(layer, f"weight_hh_{suffix}").T, getattr(layer, f"bias_hh_{suffix}")
        xW = data @ W_ih.T + (b_ih + b_hh if kind == "LSTM" else b_ih)
        steps = list(xW.split(batch_sizes))
        steps = steps[::-1] if "reverse" in suffix else steps
        whole = tuple([torch.zeros(B, H)] * (2 if kind == "LSTM" else 1))
        state, outputs = tuple([s[: len(steps[0])] for s in whole]), []
        for xW_t in steps:
            n, rows = len(xW_t), len(state[0])
            if n < rows:
                state = tuple([s[:n] for s in state])
            elif n > rows:
                state = tuple([torch.cat([s, w[rows:n]]) for s, w in zip(state, whole, strict=True)])
            state = step(xW_t, state, W_hh, b_hh)
            outputs.append(state[0])
        return torch.cat(outputs[::-1] if "reverse" in suffix else outputs)

    def composed(given: Any) -> Any:
        data, sizes = (given.data, given.batch_sizes.tolist()) if packed else (given.reshape(T * B, H), [B] * T)
        for k in range(settings.get("num_layers", 1)):
            ends = ["", "_reverse"] if settings.get("bidirectional") else [""]
            outputs = [walk(data, sizes, f"l{k}{end}") for end in ends]
            data = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)
        return data

    def run() -> float:
        layer.zero_grad()
        given = pack_padded_sequence(x, LENGTHS) if packed else x
        output = layer(given)[0] if fused else composed(given)
        output = output.data if fused and packed else output
        total = output.sum()
        total.backward()
        return float(total.item())

    return run


def main(rounds: int = 11, kernels: Sequence[str | None] = (None, "Haswell")) -> None:
    for choice in kernels:
        print(
            f"\nForward and backward, T={T}, B={B}, F=H={H}, our time / theirs,"
            f" OpenBLAS's kernels {choice or 'not pinned'}:\n"
        )
        rows: list[tuple[str, ...]] = [("", "ms", "same composition", "fused")]
        for case in CASES:
            makes = {"ours": Make("benchmarks.recurrent:ours", (case,))}
            makes |= {f"{fused}": Make("benchmarks.recurrent:theirs", (case, fused)) for fused in (False, True)}
            found = seconds(makes, rounds, choice)
            ratios = [str(ratio(found["ours"], found[k])) if k in found else "" for k in ("False", "True")]
            rows.append((case, f"{median(found['ours']) * 1e3:.1f}", *ratios))
        print(markdown(rows), flush=True)

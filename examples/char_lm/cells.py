"""The recurrent layers to choose from, by --cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nn
import nn.functional as F
from tinygrad_seq import Tensor

Shapes = dict[str, tuple[int, ...]]

GATES = {"lstm": 4, "gru": 3, "slstm": 4}  # cells whose gates see the state
LINEAR: dict[str, Callable[[int, int], nn.LinearCell]] = {
    "mingru": nn.MinGRUCell, "minlstm": nn.MinLSTMCell, "lru": nn.LRUCell
}  # fmt: skip
CELLS = (*GATES, *LINEAR)


class Block(nn.LinearCell):
    """A linear cell as they are used in all papers: a norm before it, a gated unit behind it, and a way around both."""

    def __init__(self, input_size: int, hidden_size: int, kind: str) -> None:
        super().__init__(input_size, hidden_size)
        self.norm, self.cell = nn.LayerNorm(input_size), LINEAR[kind](input_size, hidden_size)
        self.mix = nn.Linear(hidden_size, 2 * hidden_size)
        self.around = nn.Identity() if input_size == hidden_size else nn.Linear(input_size, hidden_size)

    @property
    def state_sizes(self) -> tuple[int, ...]:
        return self.cell.state_sizes

    @property
    def output_size(self) -> int:
        return self.hidden_size

    def project(self, x: Tensor) -> Tensor:
        return self.cell.project(self.norm(x))

    def coefficients(self, xW: Tensor) -> tuple[Tensor, Tensor]:
        return self.cell.coefficients(xW)

    def times(self, a: Tensor, h: Tensor) -> Tensor:
        return self.cell.times(a, h)

    def read_out(self, h: Tensor, x: Tensor) -> Tensor:
        output: Tensor = self.around(x) + F.glu(self.mix(F.silu(self.cell.read_out(h, self.norm(x)))))
        return output


def made(cell: str, features: int, hidden: int, layers: int, **settings: Any) -> nn.Recurrent:
    """The layers. Their settings are those of `nn.Recurrent`."""
    if cell in LINEAR:
        return nn.Recurrent(Block, features, hidden, layers, kind=cell, **settings)
    if cell == "slstm":
        return nn.Recurrent(nn.SLSTMCell, features, hidden, layers, forget_bias=1.0, **settings)
    if cell == "gru":
        return nn.GRU(features, hidden, layers, **settings)
    return nn.LSTM(features, hidden, layers, forget_bias=1.0, **settings)


def shapes(cell: str, features: int, hidden: int, layers: int) -> Shapes:
    """The shapes of their parameters, without making them."""
    found: Shapes = {}
    for k in range(layers):
        width = hidden if k else features
        name = f"{{}}_l{k}" if cell in ("lstm", "gru") else f"cells.{k}.{{}}"
        found |= {name.format(part): shape for part, shape in _layer(cell, width, hidden).items()}
    return found


def _layer(cell: str, F: int, H: int) -> Shapes:
    if cell in GATES:
        G = GATES[cell] * H
        return {"weight_ih": (G, F), "weight_hh": (G, H), "bias_ih": (G,), "bias_hh": (G,)}
    found: Shapes = {"norm.weight": (F,), "norm.bias": (F,), "mix.weight": (2 * H, H), "mix.bias": (2 * H,)}
    if F != H:
        found |= {"around.weight": (H, F), "around.bias": (H,)}
    if cell == "lru":
        found |= {f"cell.{part}": (H,) for part in ("nu_log", "theta_log", "gamma_log")}
        found |= {"cell.B_re": (H, F), "cell.B_im": (H, F), "cell.C_re": (H, H), "cell.C_im": (H, H), "cell.D": (H, F)}
        return found
    G = (2 if cell == "mingru" else 3) * H
    return found | {"cell.linear.weight": (G, F), "cell.linear.bias": (G,)}


def state_sizes(cell: str, hidden: int) -> tuple[int, ...]:
    """The widths of the state's tensors."""
    return {"lstm": (hidden,) * 2, "slstm": (hidden,) * 4, "lru": (2 * hidden,)}.get(cell, (hidden,))

"""One step of a recurrent network: the equations, and the cells that own the weights for them.

The equations take `xW`, the input's share x Wᵢₕᵀ + b of the gates: a layer computes it for all time steps at once.
"""

from __future__ import annotations

from typing import Any

import tinygrad_seq as tg
from tinygrad_seq import Tensor, relu, sigmoid, tanh

from . import functional as F
from . import init
from .module import Module, Parameter

LSTMState = tuple[Tensor, Tensor]


def rnn_step(xW: Tensor, h: Tensor, W_hh: Tensor, f: Any) -> Tensor:
    """s_t = f(U x_t + W s_{t-1}). xW (B, H), h (B, H), W_hh (H, H) -> (B, H)."""
    return f(xW + h @ W_hh)


def lstm_step(xW: Tensor, state: LSTMState, W_hh: Tensor) -> LSTMState:
    """One LSTM step. xW (B, 4H), state h (B, H) and c (B, H), W_hh (H, 4H) -> h (B, H), c (B, H).

    Hochreiter & Schmidhuber, "Long short-term memory", 1997, with the forget gate of Gers et al., 2000. The four gates
    stand side by side: input, forget, candidate, output.
    """
    h, c = state
    i, f, g, o = (xW + h @ W_hh).chunk(4, dim=-1)
    i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
    c = f * c + i * g  # keep what the forget gate keeps, add what the input gate admits
    h = o * tanh(c)
    return h, c


class _Cell(Module):
    """What the cells share: weights for G gates, uniform within 1/√H, in PyTorch's names and layouts."""

    gates: int

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, *, dtype: Any = tg.float32) -> None:
        self.input_size, self.hidden_size = input_size, hidden_size
        rows, bound = self.gates * hidden_size, hidden_size**-0.5

        def parameter(*shape: int) -> Parameter:
            return Parameter(init.uniform_(tg.zeros(shape, dtype=dtype), -bound, bound))

        self.weight_ih = parameter(rows, input_size)
        self.weight_hh = parameter(rows, hidden_size)
        self.bias_ih = parameter(rows) if bias else None
        self.bias_hh = parameter(rows) if bias else None

    def _project(self, x: Tensor) -> Tensor:
        x = tg.as_tensor(x)
        if x.ndim not in (1, 2) or x.shape[-1] != self.input_size:
            raise ValueError(
                f"{type(self).__name__}: x has shape {x.shape}; takes (B, {self.input_size}), or ({self.input_size},) "
                f"without a batch: the last dimension must be input_size={self.input_size}"
            )
        bias = None if self.bias_ih is None or self.bias_hh is None else self.bias_ih + self.bias_hh
        return F.linear(x, self.weight_ih, bias)

    def _checked(self, x: Tensor, h: Tensor | None, name: str) -> Tensor:
        shape = (*x.shape[:-1], self.hidden_size)
        if h is None:
            return tg.zeros(shape, dtype=x.dtype, device=x.device)
        if h.shape != shape:
            raise ValueError(f"{type(self).__name__}: for x of shape {x.shape}, {name} must be {shape}, got {h.shape}")
        return h

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias_ih is not None else ", bias=False")


class RNNCell(_Cell):
    """One step of a plain recurrent network: h' = f(x Wᵢₕᵀ + bᵢₕ + h Wₕₕᵀ + bₕₕ). x (B, F), h (B, H) -> (B, H).

    Args:
        nonlinearity: f, "tanh" or "relu".
    """

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        *,
        dtype: Any = tg.float32,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype=dtype)
        self.nonlinearity = nonlinearity
        self._f = nonlinearity_named(nonlinearity)

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        return rnn_step(self._project(x), self._checked(x, h, "h"), self.weight_hh.T, self._f)


class LSTMCell(_Cell):
    """One LSTM step; see `lstm_step` for the equations. x (B, F), state h (B, H) and c (B, H) -> (h, c)."""

    gates = 4

    def forward(self, x: Tensor, state: LSTMState | None = None) -> LSTMState:
        h, c = state if state is not None else (None, None)
        return lstm_step(self._project(x), (self._checked(x, h, "h"), self._checked(x, c, "c")), self.weight_hh.T)


def nonlinearity_named(name: str) -> Any:
    """The function by that name.

    Raises:
        ValueError: unless it is "tanh" or "relu".
    """
    if name not in ("tanh", "relu"):
        raise ValueError(f"RNN: nonlinearity is 'tanh' or 'relu', got {name!r}")
    return tanh if name == "tanh" else relu

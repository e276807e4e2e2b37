"""Cells beyond PyTorch's. Layers of them: `nn.Recurrent(nn.PeepholeLSTMCell, F, H, num_layers=2)`."""

from __future__ import annotations

from typing import Any

import tinygrad_seq as tg
from tinygrad_seq import Tensor, sigmoid, tanh

from . import functional as F
from .cells import GRUCell, Initializer, LSTMCell, LSTMState, RNNCell
from .module import Parameter


class PeepholeLSTMCell(LSTMCell):
    """An LSTM whose gates see the cell state (Gers & Schmidhuber, "Recurrent nets that time and count", 2000).

    The input and the forget gate see the one before, the output gate the new one, each through weights of its own:
    weight_ci, weight_cf and weight_co (H,).
    """

    weight_ci: Parameter
    weight_cf: Parameter
    weight_co: Parameter

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        proj_size: int = 0,
        forget_bias: float | None = None,
        recurrent_init: Initializer | None = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            bias,
            device,
            dtype,
            proj_size=proj_size,
            forget_bias=forget_bias,
            recurrent_init=recurrent_init,
        )
        self.weight_ci, self.weight_cf, self.weight_co = (self._parameter(self.hidden_size) for _ in range(3))

    def compute_gates(self, xW: Tensor, state: LSTMState) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        h, c = state
        i, f, g, o = (xW + tg.linear(h, self.weight_hh)).chunk(4, dim=-1)
        i, f, g = sigmoid(i + self.weight_ci * c), sigmoid(f + self.weight_cf * c), tanh(g)
        return i, f, g, sigmoid(o + self.weight_co * (f * c + i * g))


class LayerNormRNNCell(RNNCell):
    """A plain recurrent network with normalised sums (Ba, Kiros & Hinton, "Layer normalization", 2016).

    s_t = f(LN(U x_t + W s_{t-1})). Parameters more: gain and shift (H,).
    """

    gain: Parameter
    shift: Parameter

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
        *,
        recurrent_init: Initializer | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, nonlinearity, device, dtype, recurrent_init=recurrent_init)
        self.gain, self.shift = self._gain(self.hidden_size), self._gain(self.hidden_size, 0.0)

    def step(self, xW: Tensor, h: Tensor) -> Tensor:
        summed = xW + tg.linear(h, self.weight_hh)
        return self._f(F.layer_norm(summed, summed.shape[-1:], self.gain, self.shift))


class LayerNormLSTMCell(LSTMCell):
    """An LSTM with normalised sums (Ba, Kiros & Hinton, "Layer normalization", 2016).

    The gates are σ or tanh of LN(Wᵢₕ x) + LN(Wₕₕ h) + b, and h = o · tanh(LN(c)). Parameters more: gain_ih and gain_hh
    (4H,), gain_c and shift_c (H,).
    """

    gain_ih: Parameter
    gain_hh: Parameter
    gain_c: Parameter
    shift_c: Parameter

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        proj_size: int = 0,
        forget_bias: float | None = None,
        recurrent_init: Initializer | None = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            bias,
            device,
            dtype,
            proj_size=proj_size,
            forget_bias=forget_bias,
            recurrent_init=recurrent_init,
        )
        self.gain_ih, self.gain_hh = (self._gain(4 * self.hidden_size) for _ in range(2))
        self.gain_c, self.shift_c = self._gain(self.hidden_size), self._gain(self.hidden_size, 0.0)

    def project(self, x: Tensor) -> Tensor:
        return F.layer_norm(tg.linear(x, self.weight_ih), self.gain_ih.shape, self.gain_ih, self._bias())

    def compute_gates(self, xW: Tensor, state: LSTMState) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        hW = F.layer_norm(tg.linear(state[0], self.weight_hh), self.gain_hh.shape, self.gain_hh)
        i, f, g, o = (xW + hW).chunk(4, dim=-1)
        return sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)

    def step(self, xW: Tensor, state: LSTMState) -> LSTMState:
        i, f, g, o = self.compute_gates(xW, state)
        c = f * state[1] + i * g
        h = o * tanh(F.layer_norm(c, c.shape[-1:], self.gain_c, self.shift_c))
        return (h if self.weight_hr is None else tg.linear(h, self.weight_hr)), c


class LayerNormGRUCell(GRUCell):
    """A GRU with normalised sums: LN(Wᵢₕ x) + bᵢₕ and LN(Wₕₕ h) + bₕₕ in the place of the plain ones (Ba et al., 2016).

    Parameters more: gain_ih and gain_hh (3H,).
    """

    gain_ih: Parameter
    gain_hh: Parameter

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        recurrent_init: Initializer | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype, recurrent_init=recurrent_init)
        self.gain_ih, self.gain_hh = (self._gain(3 * self.hidden_size) for _ in range(2))

    def project(self, x: Tensor) -> Tensor:
        return F.layer_norm(tg.linear(x, self.weight_ih), self.gain_ih.shape, self.gain_ih, self.bias_ih)

    def hidden_projection(self, h: Tensor) -> Tensor:
        return F.layer_norm(tg.linear(h, self.weight_hh), self.gain_hh.shape, self.gain_hh, self.bias_hh)

"""Cells beyond PyTorch's. Layers of them: `nn.Recurrent(nn.PeepholeLSTMCell, F, H, num_layers=2)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tinygrad_seq as tg
from tinygrad_seq import Tensor, exp, log, sigmoid, softplus, tanh

from . import functional as F
from . import init
from .cells import GRUCell, Initializer, LSTMCell, LSTMState, RNNCell
from .layers import Linear
from .linear_cell import LinearCell
from .module import Parameter, require_sizes


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


class SLSTMCell(LSTMCell):
    """The sLSTM: an LSTM with an exponential input gate (Beck et al., "xLSTM: extended long short-term memory", 2024).

    c_t = f c_{t-1} + i z and n_t = f n_{t-1} + i, with i = exp(ĩ), f = σ(f̃), z = tanh(z̃), and h = o · c / n: a mean of
    all z so far, weighted. So that no exponential overflows, c and n are kept divided by exp(m), where
    m_t = max(log f + m_{t-1}, ĩ). x (B, F), state h (B, H), c, n and m (B, H) -> (h, c, n, m). One head.

    Where n is 0, as in a state of zeros, nothing has been seen yet, whatever c and m are; so of a learned initial state
    h alone learns. The gates stand one below the other in the weights: input, forget, candidate, output.
    """

    states = ("h", "c", "n", "m")  # type: ignore[assignment]  # two more than an LSTM
    coupled = ("c", "n", "m")

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

    @property
    def state_sizes(self) -> tuple[int, ...]:
        return (self.proj_size or self.hidden_size, *[self.hidden_size] * 3)

    def _stabilised(self, xW: Tensor, state: Any) -> tuple[Tensor, ...]:
        """i and f divided by exp(m_t), z, o, and m_t."""
        h, _, n, m = state
        i, f, z, o = (xW + tg.linear(h, self.weight_hh)).chunk(4, dim=-1)
        empty = n == 0
        kept = tg.where(empty, i, m - softplus(-f))  # m + log f
        m = tg.maximum(kept, i)
        return exp(i - m), exp(kept - m).masked_fill(empty, 0.0), tanh(z), sigmoid(o), m

    def compute_gates(self, xW: Tensor, state: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        i, f, z, o, _ = self._stabilised(xW, state)
        return i, f, z, o

    def step(self, xW: Tensor, state: Any) -> Any:
        _, c, n, _ = state
        i, f, z, o, m = self._stabilised(xW, state)
        c, n = f * c + i * z, f * n + i
        h = o * (c / n)
        return (h if self.weight_hr is None else tg.linear(h, self.weight_hr)), c, n, m

    if TYPE_CHECKING:

        def __call__(self, x: Tensor, state: Any = None) -> Any: ...


class MinGRUCell(LinearCell):
    """The minGRU (Feng et al., "Were RNNs all we needed?", 2024): h_t = (1 - z) h_{t-1} + z g. x (B, F), h (B, H).

    z = σ(W_z x + b_z) and the candidate g = W_g x + b_g see no state, so a layer finds all steps at once. They stand
    one below the other in `linear`. These are the paper's first equations, not those in logarithms: a mean of
    candidates loses nothing to rounding, but exp of a difference of sums of T logarithms does, and takes g > 0 alone.
    """

    gates = ("z", "g")

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.linear = Linear(input_size, 2 * hidden_size, bias, device, dtype)

    def project(self, x: Tensor) -> Tensor:
        return self.linear(x)

    def compute_gates(self, xW: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        z, g = xW.chunk(2, dim=-1)
        return sigmoid(z), g

    def coefficients(self, xW: Tensor) -> tuple[Tensor, Tensor]:
        z, g = xW.chunk(2, dim=-1)
        return sigmoid(-z), sigmoid(z) * g  # 1 - z, right where z is near 1

    if TYPE_CHECKING:

        def __call__(self, x: Tensor, state: Any = None) -> Tensor: ...


class MinLSTMCell(LinearCell):
    """The minLSTM (Feng et al., "Were RNNs all we needed?", 2024): h_t = f' h_{t-1} + i' g. x (B, F), h (B, H).

    f' = f / (f + i) and i' = i / (f + i), with f = σ(W_f x + b_f) and i = σ(W_i x + b_i), and the candidate is
    g = W_g x + b_g. They see no state, so a layer finds all steps at once. They stand one below the other in `linear`,
    in the order i, f, g.
    """

    gates = ("i", "f", "g")

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.linear = Linear(input_size, 3 * hidden_size, bias, device, dtype)

    def project(self, x: Tensor) -> Tensor:
        return self.linear(x)

    def compute_gates(self, xW: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """i', f' and the candidate."""
        i, f, g = xW.chunk(3, dim=-1)
        ratio = softplus(-i) - softplus(-f)  # log f/i, right where both are 0 to rounding
        return sigmoid(-ratio), sigmoid(ratio), g

    def coefficients(self, xW: Tensor) -> tuple[Tensor, Tensor]:
        i, f, g = self.compute_gates(xW, xW)
        return f, i * g

    if TYPE_CHECKING:

        def __call__(self, x: Tensor, state: Any = None) -> Tensor: ...


class LRUCell(LinearCell):
    """The linear recurrent unit (Orvieto et al., "Resurrecting recurrent neural networks for long sequences", 2023).

    x_t = λ x_{t-1} + γ B u_t for N complex x with λ = exp(-exp(ν) + i exp(θ)), where u (B, F) is the input. The state
    h (B, 2N) holds the real parts of x, then the imaginary ones. The output Re(C x_t) + D u_t (B, H) is what `read_out`
    makes of it. A layer finds all steps at once. It is linear altogether, so something that is not belongs behind it.

    Parameters: nu_log, theta_log and gamma_log (N,), B_re and B_im (N, F), C_re and C_im (H, N), D (H, F).

    Args:
        state_size: N; hidden_size if None.
        r_min: |λ| is r_min to r_max to begin with, and its phase 0 to max_phase: uniform on this part of the disc.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        device: Any = None,
        dtype: Any = None,
        *,
        state_size: int | None = None,
        r_min: float = 0.0,
        r_max: float = 1.0,
        max_phase: float = 2 * tg.pi,
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.state_size = hidden_size if state_size is None else state_size
        require_sizes("LRUCell", state_size=self.state_size)
        if not (0 <= r_min < r_max <= 1 and max_phase > 0):
            raise ValueError(
                f"LRUCell: takes 0 <= r_min < r_max <= 1 and max_phase > 0, got {r_min}, {r_max} and {max_phase}"
            )
        self.r_min, self.r_max, self.max_phase = r_min, r_max, max_phase
        N, F, H = self.state_size, input_size, hidden_size
        made = {"dtype": tg.float32 if dtype is None else dtype, "device": device}
        self.nu_log, self.theta_log, self.gamma_log = (Parameter(tg.zeros(N, **made)) for _ in range(3))
        self.B_re, self.B_im = (Parameter(tg.zeros(N, F, **made)) for _ in range(2))
        self.C_re, self.C_im = (Parameter(tg.zeros(H, N, **made)) for _ in range(2))
        self.D = Parameter(tg.zeros(H, F, **made))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        N, F = self.state_size, self.input_size
        with tg.no_grad():
            u = init.uniform_(tg.zeros_like(self.nu_log), 1e-6, 1 - 1e-6)  # at 0 and 1 a logarithm is infinite
            squared = u * (self.r_max**2 - self.r_min**2) + self.r_min**2  # |λ|²
            self.nu_log.copy_(log(-0.5 * log(squared)))
            self.theta_log.copy_(log(self.max_phase * init.uniform_(u, 1e-6, 1.0)))
            self.gamma_log.copy_(0.5 * log(1 - squared))  # so that the state is as large as the input
        for parameter, fan in ((self.B_re, 2 * F), (self.B_im, 2 * F), (self.C_re, N), (self.C_im, N), (self.D, F)):
            init.normal_(parameter, std=fan**-0.5)

    @property
    def state_sizes(self) -> tuple[int, ...]:
        return (2 * self.state_size,)

    @property
    def output_size(self) -> int:
        return self.hidden_size

    def project(self, x: Tensor) -> Tensor:
        gamma = exp(self.gamma_log).unsqueeze(1)
        return tg.linear(x, tg.cat([gamma * self.B_re, gamma * self.B_im]))

    def coefficients(self, xW: Tensor) -> tuple[Tensor, Tensor]:
        size, phase = exp(-exp(self.nu_log)), exp(self.theta_log)
        return tg.cat([size * tg.cos(phase), size * tg.sin(phase)]), xW

    def times(self, a: Tensor, h: Tensor) -> Tensor:
        """The product of complex numbers."""
        (a_re, a_im), (h_re, h_im) = a.chunk(2, dim=-1), h.chunk(2, dim=-1)
        return tg.cat([a_re * h_re - a_im * h_im, a_re * h_im + a_im * h_re], dim=-1)

    def read_out(self, h: Tensor, x: Tensor) -> Tensor:
        return tg.linear(h, tg.cat([self.C_re, -self.C_im], dim=1)) + tg.linear(x, self.D)

    if TYPE_CHECKING:

        def __call__(self, x: Tensor, state: Any = None) -> Tensor: ...

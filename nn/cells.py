"""One step of a recurrent network: the equations, and the weights for them.

A step takes `xW`, the input's share of what it computes: a layer computes that for all time steps at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import tinygrad_seq as tg
from tinygrad_seq import Tensor, relu, sigmoid, tanh

from . import init
from .module import Module, Parameter, require_sizes

LSTMState = tuple[Tensor, Tensor]
Initializer: TypeAlias = Callable[[Tensor], Any]


class Cell(Module):
    """One step of a recurrent network. `nn.Recurrent` makes a layer of it. A cell of your own is a few lines:

    >>> class Leaky(nn.Cell):
    ...     def __init__(self, input_size, hidden_size):
    ...         super().__init__(input_size, hidden_size)
    ...         self.U, self.W = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)
    ...     def step(self, x, h):
    ...         return 0.9 * h + 0.1 * tg.tanh(self.U(x) + self.W(h))

    Put the part of a step that depends only on the input in `project`, and what no later step needs in `read_out`: a
    layer calls each once for a whole sequence. Each row is computed by itself.

    Attributes:
        states: the names of the tensors that a state is made of; the first of them is the output, unless `read_out`
            makes another one of it. A state of one tensor is that tensor, one of several a tuple of them.
        coupled: those of them that only make sense together, so that zoneout must not keep elements of one alone.
    """

    states: tuple[str, ...] = ("h",)
    coupled: tuple[str, ...] = ()
    _their_names: ClassVar[dict[str, str]] = {"input": "x", "hx": "state"}
    lens: Any = None  # set by `nn.lens` while it records, else None
    input_size: int
    hidden_size: int

    def __init__(self, input_size: int, hidden_size: int) -> None:
        require_sizes(type(self).__name__, input_size=input_size, hidden_size=hidden_size)
        self.input_size, self.hidden_size = input_size, hidden_size

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """The widths of the state's tensors."""
        return (self.hidden_size,) * len(self.states)

    def project(self, x: Tensor) -> Tensor:
        """What a step makes of the input alone. x (..., F) -> (..., anything)."""
        return x

    def step(self, xW: Tensor, state: Any) -> Any:
        """One time step: from `project(x)` (B, ·) and the state before to the state after."""
        raise NotImplementedError(f"{type(self).__name__} has no step method: write one")

    @property
    def output_size(self) -> int:
        """The width of what `read_out` returns."""
        return self.state_sizes[0]

    def read_out(self, h: Tensor, x: Tensor) -> Tensor:
        """What a layer returns for a step, made of the state's first tensor after it, and of the input. (..., O)"""
        return h

    def forward(self, x: Tensor, state: Any = None) -> Any:
        """One step from the input itself. x (B, F) or (F,), each tensor of the state (B, H) or (H,); zeros if None."""
        name, x = type(self).__name__, tg.as_tensor(x)
        if x.ndim not in (1, 2) or x.shape[-1] != self.input_size:
            raise ValueError(
                f"{name}: x has shape {x.shape}; takes (B, {self.input_size}), or ({self.input_size},) without a "
                f"batch: the last dimension must be input_size={self.input_size}"
            )
        shapes = [(*x.shape[:-1], size) for size in self.state_sizes]
        if state is None:
            zeros = tuple([tg.zeros(shape, dtype=x.dtype, device=x.device) for shape in shapes])
            state = zeros if len(zeros) > 1 else zeros[0]
        given = (state,) if isinstance(state, Tensor) else tuple(state)
        if [s.shape for s in given] != shapes:
            wanted = ", ".join([f"{letter} {shape}" for letter, shape in zip(self.states, shapes, strict=True)])
            raise ValueError(
                f"{name}: for x of shape {x.shape} the state must be {wanted}, got {[s.shape for s in given]}"
            )
        xW, before = self.project(x), given if len(given) > 1 else given[0]
        after = self.step(xW, before)
        if self.lens is not None:
            seen = (xW, before, (after,) if isinstance(after, Tensor) else after)
            self.lens.observe("", self, [seen], None, len(xW) if xW.ndim > 1 else None)
        return after

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}"


class WeightedCell(Cell):
    """A cell with PyTorch's weights: weight_ih (G·H, F), weight_hh (G·H, P), bias_ih and bias_hh (G·H,) for G gates.

    Uniform within 1/√H. P is the width of the output, H unless it is projected.

    Args:
        recurrent_init: fills each gate's part of weight_hh in place, such as `nn.init.orthogonal_` (Saxe et al., 2014).
    """

    gates: tuple[str, ...] = ("h",)

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
        super().__init__(input_size, hidden_size)
        self._made = {"dtype": tg.float32 if dtype is None else dtype, "device": device}
        rows = len(self.gates) * hidden_size
        self.weight_ih: Parameter = self._parameter(rows, input_size)
        self.weight_hh: Parameter = self._parameter(rows, self.state_sizes[0])
        self.bias_ih: Parameter | None = self._parameter(rows) if bias else None
        self.bias_hh: Parameter | None = self._parameter(rows) if bias else None
        self._recurrent_init = recurrent_init
        if type(self).reset_parameters is not WeightedCell.reset_parameters:
            self.reset_parameters()  # one of the user's
        else:
            self._apply_initial_overrides()

    def reset_parameters(self) -> None:
        """Draw the weights and biases anew."""
        bound = self.hidden_size**-0.5
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"):
            if getattr(self, name, None) is not None:
                init.uniform_(getattr(self, name), -bound, bound)
        self._apply_initial_overrides()

    def _apply_initial_overrides(self) -> None:
        """Overwrite parts of the random initialization: recurrent_init here, forget_bias in LSTMCell."""
        if self._recurrent_init is not None:
            with tg.no_grad():
                for part in self.weight_hh.detach().split(self.hidden_size):
                    self._recurrent_init(part)

    def _parameter(self, *shape: int) -> Parameter:
        bound = self.hidden_size**-0.5
        return Parameter(init.uniform_(tg.zeros(shape, **self._made), -bound, bound))

    def _gain(self, size: int, value: float = 1.0) -> Parameter:
        return Parameter(tg.full((size,), value, **self._made))

    def _bias(self) -> Tensor | None:
        """Both biases as one."""
        return None if self.bias_ih is None or self.bias_hh is None else self.bias_ih + self.bias_hh

    def project(self, x: Tensor) -> Tensor:
        """x Wᵢₕᵀ + bᵢₕ + bₕₕ."""
        return tg.linear(x, self.weight_ih, self._bias())

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.bias_ih is not None else ", bias=False")


class RNNCell(WeightedCell):
    """The plain recurrent network (Elman, 1990): s_t = f(U x_t + W s_{t-1}). x (B, F), h (B, H) -> (B, H).

    Args:
        nonlinearity: f, "tanh" or "relu".
    """

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
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNN: nonlinearity is 'tanh' or 'relu', got {nonlinearity!r}")
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, bias, device, dtype, recurrent_init=recurrent_init)

    @property
    def _f(self) -> Any:
        return tanh if self.nonlinearity == "tanh" else relu

    def step(self, xW: Tensor, h: Tensor) -> Tensor:
        return self._f(xW + tg.linear(h, self.weight_hh))

    if TYPE_CHECKING:

        def __call__(self, x: Tensor, state: Any = None) -> Tensor: ...


class LSTMCell(WeightedCell):
    """Long short-term memory (Hochreiter & Schmidhuber, 1997), with the forget gate of Gers et al., 2000.

    x (B, F), state h (B, H) and c (B, H) -> (h, c). The gates stand one below the other in the weights: input, forget,
    candidate, output.

    Args:
        proj_size: if above 0, the output is projected to this width by weight_hr (P, H) (Sak et al., 2014).
        forget_bias: the forget gate's bias to begin with, in place of a random one; 1 begins by remembering
            (Jozefowicz et al., 2015).
    """

    states = ("h", "c")
    gates = ("i", "f", "g", "o")
    proj_size: int

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
        require_sizes("LSTM", hidden_size=hidden_size)
        if not isinstance(proj_size, int) or not 0 <= proj_size < hidden_size:
            raise ValueError(f"LSTM: proj_size must be from 0 to below hidden_size={hidden_size}, got {proj_size}")
        self.proj_size, self._forget_bias = proj_size, forget_bias
        if forget_bias is not None and not bias:
            raise ValueError(f"LSTM: forget_bias={forget_bias} needs biases, but bias is False")
        super().__init__(input_size, hidden_size, bias, device, dtype, recurrent_init=recurrent_init)
        self.weight_hr: Parameter | None = self._parameter(proj_size, hidden_size) if proj_size else None

    def _apply_initial_overrides(self) -> None:
        super()._apply_initial_overrides()
        if self._forget_bias is not None and self.bias_ih is not None and self.bias_hh is not None:
            with tg.no_grad():
                self.bias_ih.chunk(4)[1].fill_(self._forget_bias)
                self.bias_hh.chunk(4)[1].fill_(0.0)

    @property
    def state_sizes(self) -> tuple[int, ...]:
        return (self.proj_size or self.hidden_size, self.hidden_size)

    def compute_gates(self, xW: Tensor, state: LSTMState) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """How far each gate is open, and the candidate between the forget and the output gate."""
        i, f, g, o = (xW + tg.linear(state[0], self.weight_hh)).chunk(4, dim=-1)
        return sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)

    def step(self, xW: Tensor, state: LSTMState) -> LSTMState:
        i, f, g, o = self.compute_gates(xW, state)
        c = f * state[1] + i * g  # keep what the forget gate keeps, add what the input gate admits
        h = o * tanh(c)
        return (h if self.weight_hr is None else tg.linear(h, self.weight_hr)), c

    if TYPE_CHECKING:

        def __call__(self, x: Tensor, state: Any = None) -> LSTMState: ...


class GRUCell(WeightedCell):
    """Gated recurrent unit (Cho et al., 2014), in cuDNN's and PyTorch's form. x (B, F), h (B, H) -> (B, H).

    The gates stand one below the other in the weights: reset, update, candidate. The reset gate scales what the
    candidate takes from h, bₕₕ included.
    """

    gates = ("r", "z", "n")

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

    def project(self, x: Tensor) -> Tensor:
        return tg.linear(x, self.weight_ih, self.bias_ih)

    def hidden_projection(self, h: Tensor) -> Tensor:
        """What the gates make of the state: h Wₕₕᵀ + bₕₕ."""
        return tg.linear(h, self.weight_hh, self.bias_hh)

    def compute_gates(self, xW: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """How far each gate is open, and the candidate."""
        r, z, n = xW.chunk(3, dim=-1)
        r_h, z_h, n_h = self.hidden_projection(h).chunk(3, dim=-1)
        r, z = sigmoid(r + r_h), sigmoid(z + z_h)
        return r, z, tanh(n + r * n_h)

    def step(self, xW: Tensor, h: Tensor) -> Tensor:
        _, z, n = self.compute_gates(xW, h)
        return n + z * (h - n)  # (1 - z) n + z h: the update gate keeps what was

    if TYPE_CHECKING:

        def __call__(self, x: Tensor, state: Any = None) -> Tensor: ...

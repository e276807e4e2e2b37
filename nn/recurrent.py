"""RNN and LSTM over whole sequences: several layers, one or both directions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tinygrad_seq as tg
from tinygrad_seq import Tensor

from . import functional as F
from . import init
from .cells import LSTMState, lstm_step, nonlinearity_named, rnn_step
from .module import Module, Parameter, require_sizes


class _Recurrent(Module):
    """What the layers share: the weights in PyTorch's names and layouts, and the walk over layers, directions and time.

    A subclass says how many `gates` a step computes, the names of its `states`, and what one `step` is.
    """

    gates: int
    states: tuple[str, ...]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: Any = tg.float32,
    ) -> None:
        name = type(self).__name__
        require_sizes(name, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        if not 0 <= dropout <= 1:
            raise ValueError(f"{name}: dropout is a probability from 0 to 1, got {dropout}")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout, self.bidirectional = bias, batch_first, dropout, bidirectional
        rows, bound = self.gates * hidden_size, hidden_size**-0.5
        for layer, suffix in self._weight_names():
            features = input_size if layer == 0 else hidden_size * self._directions
            shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, features), "weight_hh": (rows, hidden_size)}
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)} if bias else {}
            for kind, shape in shapes.items():
                filled = init.uniform_(tg.zeros(shape, dtype=dtype), -bound, bound)
                setattr(self, f"{kind}_l{suffix}", Parameter(filled))

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _weight_names(self) -> Iterator[tuple[int, str]]:
        """(layer, suffix of its weights' names), a layer's forward direction before its reverse one."""
        for layer in range(self.num_layers):
            yield layer, f"{layer}"
            if self.bidirectional:
                yield layer, f"{layer}_reverse"

    def step(self, xW: Tensor, state: Any, W_hh: Tensor) -> Any:
        """One time step, from the input's share of the gates and the state before to the state after."""
        raise NotImplementedError(f"{type(self).__name__} does not say what a step is")

    def _run(self, x: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """x (T, B, F) and one (L·D, B, H) per state -> output (T, B, H·D), and the states again."""
        initial = list(zip(*[s.unbind(0) for s in states], strict=True))
        final: list[tuple[Tensor, ...]] = []
        outputs: list[Tensor] = []
        for (layer, suffix), state in zip(self._weight_names(), initial, strict=True):
            reverse = suffix.endswith("reverse")
            if layer and not reverse:
                x = outputs[0] if len(outputs) == 1 else tg.cat(outputs, dim=-1)
                x = F.dropout(x, self.dropout, self.training)
            if not reverse:
                outputs = []
            output, state = self._run_one(x, state, suffix, reverse)
            outputs.append(output)
            final.append(state)
        output = outputs[0] if len(outputs) == 1 else tg.cat(outputs, dim=-1)
        return output, [tg.stack(s) for s in zip(*final, strict=True)]

    def _run_one(
        self, x: Tensor, state: tuple[Tensor, ...], suffix: str, reverse: bool
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """One layer in one direction."""
        bias = getattr(self, f"bias_ih_l{suffix}") + getattr(self, f"bias_hh_l{suffix}") if self.bias else None
        xW = F.linear(x, getattr(self, f"weight_ih_l{suffix}"), bias)
        W_hh = getattr(self, f"weight_hh_l{suffix}").T
        outputs = []
        for xW_t in xW.unbind(0)[::-1] if reverse else xW.unbind(0):
            state = self.step(xW_t, state, W_hh)
            outputs.append(state[0])
        return tg.stack(outputs[::-1] if reverse else outputs), state

    def _forward(self, x: Tensor, states: tuple[Tensor | None, ...]) -> tuple[Tensor, list[Tensor]]:
        """Bring any accepted layout to (T, B, F), run, and bring the results back."""
        name = type(self).__name__
        x = tg.as_tensor(x)
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            layout = "(B, T, F)" if self.batch_first else "(T, B, F)"
            raise ValueError(
                f"{name}: x has shape {x.shape}; takes {layout}, or (T, F) without a batch, its last dimension "
                f"input_size={self.input_size}. Did you forget the Embedding, or swap batch and features?"
            )
        batched = x.ndim == 3
        x = x.transpose(0, 1) if batched and self.batch_first else x if batched else x.unsqueeze(1)
        if x.shape[0] == 0:
            raise ValueError(f"{name}: the sequence is empty (T = 0); there is no output of no steps")
        count, batch = self.num_layers * self._directions, x.shape[1]
        shape = (count, batch, self.hidden_size) if batched else (count, self.hidden_size)
        full = []
        for letter, state in zip(self.states, states, strict=True):
            if state is None:
                full.append(tg.zeros(count, batch, self.hidden_size, dtype=x.dtype, device=x.device))
            elif state.shape != shape:
                raise ValueError(
                    f"{name}: the initial state {letter} has shape {state.shape}, but x and this module take {shape}: "
                    "(layers · directions, B, H)" + ("" if batched else " without B")
                )
            else:
                full.append(state if batched else state.unsqueeze(1))
        output, final = self._run(x, full)
        if not batched:
            return output.squeeze(1), [s.squeeze(1) for s in final]
        return (output.transpose(0, 1) if self.batch_first else output), final

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        defaults = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        return text + "".join(f", {k}={getattr(self, k)}" for k, v in defaults.items() if getattr(self, k) != v)


class RNN(_Recurrent):
    """The plain recurrent network, s_t = f(U x_t + W s_{t-1}), over a sequence (Elman, 1990).

    x (T, B, F), h_0 (L·D, B, H) -> output (T, B, H·D), h_n (L·D, B, H), with L layers and D directions. `batch_first`
    makes x and the output (B, T, ·); without a batch, x is (T, F) and the states are (L·D, H).

    Parameters, for each layer k: weight_ih_l{k} (H, F or H·D), weight_hh_l{k} (H, H), bias_ih_l{k}, bias_hh_l{k} (H,),
    and the same with `_reverse` for the second direction; uniform within 1/√H.

    Args:
        nonlinearity: f, "tanh" or "relu".
        dropout: probability of dropping an output of a layer on its way to the next one, in training.
    """

    gates = 1
    states = ("h",)

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh", **settings: Any
    ) -> None:
        self.nonlinearity = nonlinearity
        self._f = nonlinearity_named(nonlinearity)
        super().__init__(input_size, hidden_size, num_layers, **settings)

    def step(self, xW: Tensor, state: tuple[Tensor], W_hh: Tensor) -> tuple[Tensor]:
        return (rnn_step(xW, state[0], W_hh, self._f),)

    def forward(self, x: Tensor, h_0: Tensor | None = None) -> tuple[Tensor, Tensor]:
        output, (h,) = self._forward(x, (h_0,))
        return output, h


class LSTM(_Recurrent):
    """Long short-term memory over a sequence; see `cells.lstm_step` for the equations.

    x (T, B, F), state h_0 and c_0 (L·D, B, H) -> output (T, B, H·D), (h_n, c_n), with L layers and D directions.
    `batch_first` makes x and the output (B, T, ·); without a batch, x is (T, F) and the states are (L·D, H).

    Parameters, for each layer k: weight_ih_l{k} (4H, F or H·D), weight_hh_l{k} (4H, H), bias_ih_l{k} and bias_hh_l{k}
    (4H,), the gates one below the other in the order i, f, g, o, and the same with `_reverse` for the second direction;
    uniform within 1/√H.

    Args:
        dropout: probability of dropping an output of a layer on its way to the next one, in training.
    """

    gates = 4
    states = ("h", "c")

    def step(self, xW: Tensor, state: LSTMState, W_hh: Tensor) -> LSTMState:
        return lstm_step(xW, state, W_hh)

    def forward(self, x: Tensor, state: LSTMState | None = None) -> tuple[Tensor, LSTMState]:
        output, (h, c) = self._forward(x, (None, None) if state is None else state)
        return output, (h, c)

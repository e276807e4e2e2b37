"""RNN, LSTM and GRU as PyTorch has them: its signatures, its parameters' names and layouts, its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, TypeVar

from .cells import Cell, GRUCell, Initializer, LSTMCell, RNNCell
from .module import Parameter
from .recurrent import Recurrent

if TYPE_CHECKING:
    from tinygrad_seq import Tensor

    from .state import PairState
    from .utils.rnn import PackedSequence

    Sequences = TypeVar("Sequences", Tensor, PackedSequence, list[Tensor])  # the output has the form of x


class RNNBase(Recurrent):
    """A layer whose parameters have PyTorch's names and stand in the layer itself: weight_ih_l0, ..., l0_reverse."""

    def _adopt(self, cells: list[Cell]) -> None:
        self._names = [name for name, value in vars(cells[0]).items() if isinstance(value, Parameter)]
        for k, cell in enumerate(cells):
            for name in self._names:
                setattr(self, f"{name}_{self._suffix(k)}", vars(cell).pop(name))
        self._templates = tuple(cells)  # without weights, which are the layer's: users replace and share them there
        if type(self).reset_parameters is not RNNBase.reset_parameters:
            self.reset_parameters()  # one of the user's

    def reset_parameters(self) -> None:
        """Draw all weights and biases anew."""
        cells: list[Any] = self._cells()
        for cell in cells:
            cell.reset_parameters()

    def flatten_parameters(self) -> None:
        """For PyTorch's programs: where weights lie makes no difference here."""

    @property
    def all_weights(self) -> list[list[Any]]:
        """The parameters of each layer and direction."""
        return [[getattr(self, f"{n}_{self._suffix(k)}") for n in self._names] for k in range(len(self._templates))]

    @property
    def gates(self) -> tuple[str, ...]:
        """The gates in the order in which they stand one below the other in the weights."""
        return getattr(self._templates[0], "gates", ())

    def _cells(self) -> list[Cell]:
        """The cells of one call, with the weights that the layer has at that call."""
        return [self._with_weights(template, self._suffix(k)) for k, template in enumerate(self._templates)]

    def _with_weights(self, template: Cell, suffix: str) -> Cell:
        cell = copy(template)
        vars(cell).update({name: getattr(self, f"{name}_{suffix}") for name in self._names})
        return cell


class RNN(RNNBase):
    """The plain recurrent network, s_t = f(U x_t + W s_{t-1}), over sequences (Elman, 1990). See `RNNCell`.

    x (T, B, F), h_0 (L·D, B, H) -> output (T, B, H·D), h_n (L·D, B, H), with L layers and D directions. See `Recurrent`
    for layouts, sequences of different lengths, and the further settings.

    Parameters, for each layer k: weight_ih_l{k} (H, F or H·D), weight_hh_l{k} (H, H), bias_ih_l{k}, bias_hh_l{k} (H,),
    and the same with `_reverse` for the second direction; uniform within 1/√H.

    Args:
        nonlinearity: f, "tanh" or "relu".
    """

    nonlinearity: str
    bias: bool

    def __init__(
        self,
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        variational: bool = False,
        recurrent_dropout: float = 0.0,
        zoneout: float | tuple[float, ...] = 0.0,
        learned_state: bool = False,
        recurrent_init: Initializer | None = None,
    ) -> None:
        self.nonlinearity, self.bias = nonlinearity, bias
        super().__init__(
            RNNCell,
            input_size,
            hidden_size,
            num_layers,
            batch_first,
            dropout,
            bidirectional,
            variational=variational,
            recurrent_dropout=recurrent_dropout,
            zoneout=zoneout,
            learned_state=learned_state,
            bias=bias,
            nonlinearity=nonlinearity,
            device=device,
            dtype=dtype,
            recurrent_init=recurrent_init,
        )

    if TYPE_CHECKING:

        def __call__(
            self, x: Sequences, state: Any = None, *, lengths: Any = None, mask: Any = None
        ) -> tuple[Sequences, Tensor]: ...


class LSTM(RNNBase):
    """Long short-term memory over sequences. See `LSTMCell` for the equations.

    x (T, B, F), state h_0 (L·D, B, P) and c_0 (L·D, B, H) -> output (T, B, P·D), (h_n, c_n), with L layers and D
    directions; P is proj_size if that is given, else H. See `Recurrent` for layouts, sequences of different lengths,
    and the further settings.

    Parameters, for each layer k: weight_ih_l{k} (4H, F or P·D), weight_hh_l{k} (4H, P), bias_ih_l{k} and bias_hh_l{k}
    (4H,), the gates one below the other in the order i, f, g, o, weight_hr_l{k} (P, H) if projected, and the same with
    `_reverse` for the second direction; uniform within 1/√H.

    Args:
        proj_size: project the output to this width.
        forget_bias: the forget gate's bias to begin with, in place of PyTorch's random one.
    """

    bias: bool
    proj_size: int

    def __init__(
        self,
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
        *,
        variational: bool = False,
        recurrent_dropout: float = 0.0,
        zoneout: float | tuple[float, ...] = 0.0,
        learned_state: bool = False,
        forget_bias: float | None = None,
        recurrent_init: Initializer | None = None,
    ) -> None:
        self.bias, self.proj_size = bias, proj_size
        super().__init__(
            LSTMCell,
            input_size,
            hidden_size,
            num_layers,
            batch_first,
            dropout,
            bidirectional,
            variational=variational,
            recurrent_dropout=recurrent_dropout,
            zoneout=zoneout,
            learned_state=learned_state,
            bias=bias,
            proj_size=proj_size,
            forget_bias=forget_bias,
            device=device,
            dtype=dtype,
            recurrent_init=recurrent_init,
        )

    if TYPE_CHECKING:

        def __call__(
            self, x: Sequences, state: Any = None, *, lengths: Any = None, mask: Any = None
        ) -> tuple[Sequences, PairState]: ...


class GRU(RNNBase):
    """Gated recurrent units over sequences. See `GRUCell` for the equations.

    x (T, B, F), h_0 (L·D, B, H) -> output (T, B, H·D), h_n (L·D, B, H), with L layers and D directions. See `Recurrent`
    for layouts, sequences of different lengths, and the further settings.

    Parameters, for each layer k: weight_ih_l{k} (3H, F or H·D), weight_hh_l{k} (3H, H), bias_ih_l{k} and bias_hh_l{k}
    (3H,), the gates one below the other in the order r, z, n, and the same with `_reverse` for the second direction;
    uniform within 1/√H.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        variational: bool = False,
        recurrent_dropout: float = 0.0,
        zoneout: float | tuple[float, ...] = 0.0,
        learned_state: bool = False,
        recurrent_init: Initializer | None = None,
    ) -> None:
        self.bias = bias
        super().__init__(
            GRUCell,
            input_size,
            hidden_size,
            num_layers,
            batch_first,
            dropout,
            bidirectional,
            variational=variational,
            recurrent_dropout=recurrent_dropout,
            zoneout=zoneout,
            learned_state=learned_state,
            bias=bias,
            device=device,
            dtype=dtype,
            recurrent_init=recurrent_init,
        )

    if TYPE_CHECKING:

        def __call__(
            self, x: Sequences, state: Any = None, *, lengths: Any = None, mask: Any = None
        ) -> tuple[Sequences, Tensor]: ...

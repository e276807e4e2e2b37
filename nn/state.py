"""What a recurrent network remembers between calls: one interface, whether that is one tensor or several."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import tinygrad_seq as tg
from tinygrad_seq import Tensor


class State:
    """The state of a recurrent layer: a tensor (RNN, GRU) or a tuple of them (LSTM: h, c), with the same methods.

    It is what PyTorch has in its place, so `h, c = state`, `state[0]` and `h_n[-1]` do what they do there. Each tensor
    is (L·D, B, H), with L layers and D directions, or (L·D, H) without a batch.
    """

    __slots__ = ()

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The state with `function` applied to each of its tensors."""
        raise NotImplementedError

    def detach(self) -> Self:
        """The state as a constant: backpropagation through time ends here."""
        return self.map(Tensor.detach)

    def to(
        self,
        *targets: Any,
        dtype: Any = None,
        device: Any = None,
        non_blocking: bool = False,
        copy: bool = False,
        memory_format: Any = None,
    ) -> Self:
        """The state with another dtype, or on another device. `non_blocking` makes no difference here."""
        return self.map(lambda s: s.to(*targets, dtype=dtype, device=device, copy=copy))

    def reset(self, rows: Any = None) -> Self:
        """The state with zeros for some sequences of the batch, which begin anew; for all of them without `rows`.

        Args:
            rows: integers, or a boolean mask (B,).

        Raises:
            ValueError: for states without a batch.
        """
        if rows is None:
            return self.map(tg.zeros_like)

        def begun(s: Tensor) -> Tensor:
            if s.ndim < 3:
                raise ValueError(f"reset: a state of shape {s.shape} has no batch to take rows {rows} from")
            anew = tg.zeros(s.shape[-2], dtype=tg.bool, device=s.device)
            anew[tg.tensor(rows, device=s.device)] = True
            return s.masked_fill(anew.unsqueeze(-1), 0.0)

        return self.map(begun)


class TensorState(State, Tensor):
    """A state of one tensor. Operations on it return plain tensors."""

    __slots__ = ()
    array: Any
    node: Any

    def __init__(self, data: Tensor) -> None:
        self.array, self.node = data.array, data.node

    def map(self, function: Callable[[Tensor], Tensor]) -> TensorState:
        return TensorState(function(Tensor.wrap(self.array, self.node)))


class TupleState(State, tuple[Any, ...]):
    """A state of several tensors, or of a tuple of tensors for each layer, where layers have different widths."""

    __slots__ = ()

    def map(self, function: Callable[[Tensor], Tensor]) -> TupleState:
        return TupleState([s.map(function) if isinstance(s, TupleState) else function(s) for s in self])


if TYPE_CHECKING:

    class PairState(State, tuple[Tensor, Tensor]):
        """What a `TupleState` is to type checkers where it is (h, c)."""


def as_state(tensors: list[Any]) -> State:
    """One tensor or several as a state."""
    one = len(tensors) == 1
    return TensorState(tensors[0]) if one and isinstance(tensors[0], Tensor) else TupleState(tensors)

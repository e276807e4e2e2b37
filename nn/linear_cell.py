"""Cells that are linear in their state, so that a layer need not go from step to step."""

from __future__ import annotations

import tinygrad_seq as tg
from tinygrad_seq import Tensor

from .cells import Cell


class LinearCell(Cell):
    """A cell whose state is linear in the one before: h_t = a_t · h_{t-1} + b_t, with a_t and b_t of the input alone.

    Two such steps in a row are one, so `tg.associative_scan` finds all states at once, in 2 log₂ T rounds. A layer does
    that where every sequence has every step, and nothing happens in between: no recurrent dropout, no zoneout, no lens.
    Elsewhere it goes from step to step, and finds the same but for rounding. A cell of your own is one method:

    >>> class Decay(nn.LinearCell):
    ...     def __init__(self, input_size, hidden_size):
    ...         super().__init__(input_size, hidden_size)
    ...         self.linear = nn.Linear(input_size, 2 * hidden_size)
    ...     def coefficients(self, x):
    ...         a, b = self.linear(x).chunk(2, dim=-1)
    ...         return tg.sigmoid(a), b
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)

    def coefficients(self, xW: Tensor) -> tuple[Tensor, Tensor]:
        """a and b of steps, made of what `project` gave for them, (..., ·): each (..., H), or a (H,) for all steps."""
        raise NotImplementedError(f"{type(self).__name__} has no coefficients method: write one")

    def times(self, a: Tensor, h: Tensor) -> Tensor:
        """a · h, element by element; another product may stand here that is associative, and linear in both."""
        return a * h

    def step(self, xW: Tensor, h: Tensor) -> Tensor:
        a, b = self.coefficients(xW)
        return self.times(a, h) + b

    @property
    def is_linear(self) -> bool:
        """Whether a step is still the one above, and not one of a subclass."""
        return getattr(self.step, "__func__", None) is LinearCell.step

    def all_steps(self, xW: Tensor, h: Tensor, reverse: bool = False) -> Tensor:
        """The states after all steps: xW (T, B, ·), h (B, H) before the first one -> (T, B, H)."""
        a, b = self.coefficients(xW)
        if a.ndim == 1:
            a = a.expand(len(b), 1, len(a))
        # the first step takes what was there before, so the products of all a are not needed at the end
        first, others = (b[-1:], b[:-1]) if reverse else (b[:1], b[1:])
        first = self.times(a[-1:] if reverse else a[:1], h) + first
        b = tg.cat([others, first] if reverse else [first, others])

        def then(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            (a, b), (c, d) = first, second
            return self.times(c, a), self.times(c, b) + d

        return tg.associative_scan(then, (a, b), reverse)[1]

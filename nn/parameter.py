"""`Parameter`: a tensor that is trained."""

from __future__ import annotations

from typing import Any, ClassVar

import tinygrad_seq as tg
from tinygrad_seq import Tensor


class Parameter(Tensor):
    """A tensor that its module owns and an optimizer changes: a leaf that requires a gradient.

    Args:
        data: a tensor, whose memory it shares, or anything that `tg.tensor` takes.
    """

    is_parameter: ClassVar[bool] = True
    array: Any
    node: Any

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        self.array = tg.as_tensor(data).array
        self.node = None
        self.requires_grad_(requires_grad)

    def resized(self, *shape: int) -> None:
        """Be of another shape from now on, all zeros: the same parameter to those who have it."""
        required = self.requires_grad
        self.array = tg.zeros(shape, dtype=self.dtype, device=self.device).array
        self.node = None
        self.requires_grad_(required)


def forget_gradient(p: Tensor, set_to_none: bool) -> None:
    """Take the gradient of a tensor away, or make it zeros in its memory: whoever holds it sees them."""
    if set_to_none or p.grad is None:
        p.grad = None
    else:
        p.grad.detach_().zero_()

"""The categorical distribution."""

from __future__ import annotations

import math
from typing import Any

from ..backend import numpy_module
from ..graph.grad_mode import no_grad
from ..ops.activation import clamp
from ..ops.elementwise import log, where
from ..ops.gather import gather
from ..ops.reduce import argmax
from ..ops.shape import broadcast_to, movedim, reshape
from ..ops.softmax import log_softmax, softmax
from ..tensor import Tensor, as_tensor
from ..tensor.finfo import finfo
from ..tensor.random import multinomial
from .distribution import Distribution, one_of


class Categorical(Distribution):
    """Class numbers 0 to V - 1 with probabilities `probs` (..., V), up to a factor, or softmax(`logits`)."""

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        weights, scores = one_of("Categorical", probs, logits)
        given: Any = weights if scores is None else scores
        if not given.ndim or not given.shape[-1]:
            raise ValueError(f"Categorical: takes one number a class, got shape {given.shape}")
        super().__init__(given.shape[:-1], validate_args)
        if weights is not None:
            finite = "probs must be finite, not negative, and not all zero"
            self._require(lambda p: (p >= 0) & (p < math.inf), finite, weights)
            self._require(lambda p: p.sum(axis=-1) > 0, finite, weights)
            self._probs: Tensor | None = weights / weights.sum(dim=-1, keepdim=True)
            self._logits: Tensor | None = None
        else:
            self._require(lambda x: (x == x) & (x < math.inf), "logits must be less than infinity, not nan", given)
            self._require(lambda x: (x > -math.inf).any(axis=-1), "logits of -inf leave no class", given)
            self._probs, self._logits = None, log_softmax(given, dim=-1)

    @property
    def probs(self) -> Tensor:
        """The probabilities of the classes: (*batch_shape, V)."""
        return softmax(self._logits, dim=-1) if self._probs is None else self._probs

    @property
    def logits(self) -> Tensor:
        """The logarithms of the probabilities."""
        if self._logits is not None:
            return self._logits
        eps = finfo(self.probs.dtype).eps
        return log(clamp(self.probs, eps, 1 - eps))

    @property
    def param_shape(self) -> tuple[int, ...]:
        return (self._probs if self._logits is None else self._logits).shape  # type: ignore[union-attr]

    @property
    def mode(self) -> Tensor:
        """The most probable class."""
        return argmax(self.probs, dim=-1)

    def sample(self, sample_shape: Any = (), *, batch_dim: int | None = None) -> Tensor:
        size = self._drawn_shape(sample_shape)
        count = math.prod(size) // max(math.prod(self.batch_shape), 1)
        drawn_dim = None if batch_dim is None else batch_dim - len(size) + len(self.batch_shape)
        if drawn_dim is not None and drawn_dim < 0:
            raise ValueError(
                f"sample: the rows of a batch lie along a dimension of the probabilities, {self.batch_shape}, the last "
                f"ones of the draws, {size}"
            )
        with no_grad():
            drawn = multinomial(self.probs, count, replacement=True, batch_dim=drawn_dim)
            return reshape(movedim(drawn, -1, 0), size)

    def log_prob(self, value: Any) -> Tensor:
        classes = as_tensor(value)
        count = self.param_shape[-1]
        self._require(
            lambda x: (x >= 0) & (x < count) & (x == x // 1),
            f"log_prob takes class numbers from 0 to {count - 1}",
            classes,
        )
        shape = numpy_module.broadcast_shapes(classes.shape, self.batch_shape)
        logits = broadcast_to(self.logits, (*shape, count))
        return gather(logits, -1, broadcast_to(classes, shape).long().unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Tensor:
        logits = where(self.logits > -math.inf, self.logits, 0.0)  # 0 log 0 is 0
        return -(logits * self.probs).sum(dim=-1)

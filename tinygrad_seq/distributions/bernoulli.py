"""The Bernoulli distribution."""

from __future__ import annotations

from typing import Any

from ..graph.grad_mode import no_grad
from ..ops.activation import clamp, softplus
from ..ops.elementwise import log, log1p, sigmoid
from ..ops.shape import broadcast_to
from ..tensor import Tensor, as_tensor
from ..tensor.finfo import finfo
from ..tensor.random import bernoulli
from .distribution import Distribution, one_of


class Bernoulli(Distribution):
    """1 with probability `probs`, or sigmoid(`logits`), and else 0."""

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        self._probs, self._logits = one_of("Bernoulli", probs, logits)
        given = self._probs if self._logits is None else self._logits
        super().__init__(given.shape, validate_args)  # type: ignore[union-attr]
        if self._probs is not None:
            self._require(lambda p: (p >= 0) & (p <= 1), "probs must be from 0 to 1", self._probs)
        else:
            self._require(lambda x: x == x, "logits must not be nan", self.logits)

    @property
    def probs(self) -> Tensor:
        return sigmoid(self._logits) if self._probs is None else self._probs

    @property
    def logits(self) -> Tensor:
        if self._logits is not None:
            return self._logits
        eps = finfo(self.probs.dtype).eps
        p = clamp(self.probs, eps, 1 - eps)
        return log(p) - log1p(-p)

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = (), *, batch_dim: int | None = None) -> Tensor:
        size = self._drawn_shape(sample_shape)
        with no_grad():
            return bernoulli(broadcast_to(self.probs, size), batch_dim=batch_dim)

    def log_prob(self, value: Any) -> Tensor:
        x = as_tensor(value, like=self.logits)
        self._require(lambda x: (x == 0) | (x == 1), "log_prob takes zeros and ones", x)
        return x * self.logits - softplus(self.logits)

    def entropy(self) -> Tensor:
        return softplus(self.logits) - self.probs * self.logits

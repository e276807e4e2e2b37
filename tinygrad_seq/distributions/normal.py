"""The normal distribution."""

from __future__ import annotations

import math
from typing import Any

from ..backend import numpy_module
from ..ops.activation import erf
from ..ops.elementwise import log
from ..ops.shape import broadcast_to
from ..tensor import Tensor, as_tensor
from ..tensor.random import randn
from .distribution import Distribution


class Normal(Distribution):
    """Normal with mean `loc` and standard deviation `scale`, which broadcast with each other."""

    has_rsample = True
    loc: Any
    scale: Any

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        like = next((x for x in (loc, scale) if isinstance(x, Tensor)), None)
        given = [as_tensor(x, like=like) for x in (loc, scale)]
        shape = numpy_module.broadcast_shapes(*[x.shape for x in given])
        self.loc, self.scale = [broadcast_to(x if x.dtype.kind == "f" else x.float(), shape) for x in given]
        super().__init__(shape, validate_args)
        self._require(lambda x: x == x, "loc must not be nan", self.loc)
        self._require(lambda x: x > 0, "scale must be greater than 0", self.scale)

    @property
    def mean(self) -> Tensor:
        return self.loc

    mode = mean

    @property
    def stddev(self) -> Tensor:
        return self.scale

    @property
    def variance(self) -> Tensor:
        return self.scale**2

    def rsample(self, sample_shape: Any = (), *, batch_dim: int | None = None) -> Tensor:
        size = self._drawn_shape(sample_shape)
        return self.loc + randn(size, dtype=self.loc.dtype, device=self.loc.device, batch_dim=batch_dim) * self.scale

    def log_prob(self, value: Any) -> Tensor:
        x = as_tensor(value, like=self.loc)
        self._require(lambda x: x == x, "log_prob takes numbers, got nan", x)
        return -((x - self.loc) ** 2) / (2 * self.variance) - log(self.scale) - 0.5 * math.log(2 * math.pi)

    def entropy(self) -> Tensor:
        return 0.5 + 0.5 * math.log(2 * math.pi) + log(self.scale)

    def cdf(self, value: Any) -> Tensor:
        """The probability of a value that is not greater."""
        return 0.5 * (1 + erf((as_tensor(value, like=self.loc) - self.loc) / (self.scale * math.sqrt(2))))

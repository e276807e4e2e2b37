"""The Kullback-Leibler divergence of two distributions of one kind."""

from __future__ import annotations

import math

from ..ops.activation import softplus
from ..ops.elementwise import where
from ..tensor import Tensor
from .bernoulli import Bernoulli
from .categorical import Categorical
from .distribution import Distribution
from .normal import Normal


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """The divergence of p from q, in nats: the mean under p of log p - log q.

    Raises:
        NotImplementedError: unless both are of one of the kinds Normal, Bernoulli, Categorical.
    """
    if isinstance(p, Normal) and isinstance(q, Normal):
        ratio = (p.scale / q.scale) ** 2
        return 0.5 * (ratio + ((p.loc - q.loc) / q.scale) ** 2 - 1 - ratio.log())
    if isinstance(p, Categorical) and isinstance(q, Categorical):
        return _weighted(p.probs, p.logits - q.logits, q.probs).sum(dim=-1)
    if isinstance(p, Bernoulli) and isinstance(q, Bernoulli):
        ones = _weighted(p.probs, softplus(-q.logits) - softplus(-p.logits), q.probs)
        return ones + _weighted(1 - p.probs, softplus(q.logits) - softplus(p.logits), 1 - q.probs)
    raise NotImplementedError(
        f"kl_divergence: of a {type(p).__name__} and a {type(q).__name__}; takes two Normal, Bernoulli or Categorical"
    )


def _weighted(probs: Tensor, difference: Tensor, others: Tensor) -> Tensor:
    """probs · difference, where 0 · anything is 0, and infinity where only the other distribution says never."""
    terms = probs * where(probs == 0, 0.0, difference)
    return where((others == 0) & (probs != 0), math.inf, terms)

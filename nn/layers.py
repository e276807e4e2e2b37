"""Layers without memory: Linear, Embedding, Dropout."""

from __future__ import annotations

from typing import Any

import tinygrad_seq as tg
from tinygrad_seq import Tensor

from . import functional as F
from . import init
from .module import Module, Parameter, require_sizes


class Linear(Module):
    """y = x Wᵀ + b. x (..., F) -> (..., O).

    Parameters: weight (O, F) and bias (O,), uniform within 1/√F as in PyTorch.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, dtype: Any = tg.float32) -> None:
        require_sizes("Linear", in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        bound = in_features**-0.5
        self.weight = Parameter(init.uniform_(tg.zeros(out_features, in_features, dtype=dtype), -bound, bound))
        self.bias = Parameter(init.uniform_(tg.zeros(out_features, dtype=dtype), -bound, bound)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        x = tg.as_tensor(x)
        if x.ndim == 0 or x.shape[-1] != self.in_features:
            raise ValueError(
                f"Linear: x has shape {x.shape}, but weight has shape {self.weight.shape}: the last dimension of x "
                f"must be in_features={self.in_features}"
            )
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Embedding(Module):
    """A table of V vectors, looked up by integers. tokens (...) -> (..., F).

    Parameters: weight (V, F), standard normal.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, *, dtype: Any = tg.float32) -> None:
        require_sizes("Embedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.weight = Parameter(init.normal_(tg.zeros(num_embeddings, embedding_dim, dtype=dtype)))

    def forward(self, tokens: Any) -> Tensor:
        return F.embedding(tokens, self.weight)

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}"


class Dropout(Module):
    """In training, each element zero with probability p and else divided by 1 - p; evaluating, nothing."""

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p is a probability from 0 to 1, got {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"

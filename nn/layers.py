"""Layers without memory: Linear, Embedding, LayerNorm, Dropout. Activations are in `function_modules`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import tinygrad_seq as tg
from tinygrad_seq import Tensor

from . import functional as F
from . import init
from .functional.layers import padding_row
from .module import Module, Parameter, require_sizes


class Linear(Module):
    """y = x Wᵀ + b. x (..., F) -> (..., O).

    Parameters: weight (O, F) and bias (O,), uniform within 1/√F as in PyTorch.
    """

    in_features: int
    out_features: int
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        require_sizes("Linear", in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        made = {"device": device, "dtype": dtype or tg.float32}
        self.weight = Parameter(tg.zeros(out_features, in_features, **made))
        self.bias = Parameter(tg.zeros(out_features, **made)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        bound = self.in_features**-0.5
        for parameter in (self.weight, self.bias):
            if parameter is not None:
                init.uniform_(parameter, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        x = tg.as_tensor(input)
        if x.ndim == 0 or x.shape[-1] != self.in_features:
            raise ValueError(
                f"Linear: x has shape {x.shape}, but weight has shape {self.weight.shape}: the last dimension of x "
                f"must be in_features={self.in_features}"
            )
        return F.linear(x, self.weight, self.bias)

    if TYPE_CHECKING:

        def __call__(self, input: Tensor) -> Tensor: ...

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class LazyLinear(Linear):
    """A `Linear` whose in_features are those of the first x that it sees: until then its parameters are empty.

    Call it once before an optimizer remembers anything of them, and before a state is loaded.
    """

    def __init__(self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        require_sizes("LazyLinear", out_features=out_features)
        self.in_features, self.out_features = 0, out_features
        made = {"device": device, "dtype": dtype or tg.float32}
        self.weight = Parameter(tg.zeros(0, **made))
        self.bias = Parameter(tg.zeros(0, **made)) if bias else None

    def reset_parameters(self) -> None:
        """Draw the parameters anew, if they have their sizes."""
        if self.in_features:
            super().reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        if not self.in_features:
            self.in_features = tg.as_tensor(input).shape[-1]
            self.weight.resized(self.out_features, self.in_features)
            if self.bias is not None:
                self.bias.resized(self.out_features)
            self.reset_parameters()
        return super().forward(input)


class Embedding(Module):
    """A table of V vectors, looked up by integers. input (...) -> (..., F).

    Parameters: weight (V, F), standard normal.

    Args:
        padding_idx: this row starts at zero and gets no gradient. Negative numbers count from the end.

    Raises:
        IndexError: if there is no such row.
    """

    num_embeddings: int
    embedding_dim: int
    padding_idx: int | None
    weight: Parameter

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        require_sizes("Embedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = None if padding_idx is None else padding_row("Embedding", padding_idx, num_embeddings)
        self.weight = Parameter(tg.zeros(num_embeddings, embedding_dim, device=device, dtype=dtype or tg.float32))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weight anew."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            init.zeros_(self.weight[self.padding_idx].detach())  # a view

    @classmethod
    def from_pretrained(cls, embeddings: Any, freeze: bool = True, padding_idx: int | None = None) -> Self:
        """An embedding whose weight is this tensor (V, F), in its memory.

        Args:
            freeze: leave it as it is in training.
            padding_idx: as of the class, but the row stays as it is given.
        """
        weight = Parameter(embeddings, requires_grad=not freeze)
        if weight.ndim != 2:
            raise ValueError(f"Embedding: from_pretrained takes a table (V, F), got shape {weight.shape}")
        made = cls.__new__(cls)  # without drawing numbers for a weight that is there already
        made.num_embeddings, made.embedding_dim = weight.shape
        made.padding_idx = None if padding_idx is None else padding_row("Embedding", padding_idx, weight.shape[0])
        made.weight = weight
        return made

    def forward(self, input: Any) -> Tensor:
        return F.embedding(input, self.weight, self.padding_idx)

    if TYPE_CHECKING:

        def __call__(self, input: Any) -> Tensor: ...

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


class LayerNorm(Module):
    """(x - mean) / √(variance + eps) · weight + bias, over the last dimensions; see `functional.layer_norm`.

    Parameters: weight, ones, and bias, zeros, of shape `normalized_shape`.

    Args:
        normalized_shape: the lengths of the last dimensions: F or (F,) for x (..., F).
        elementwise_affine: have weight and bias.
        bias: have a bias, if there is a weight.
    """

    normalized_shape: tuple[int, ...]
    eps: float
    elementwise_affine: bool
    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        if not shape:
            raise ValueError(
                "LayerNorm: normalized_shape takes the lengths of the last dimensions, one at least, got ()"
            )
        for n in shape:
            require_sizes("LayerNorm", normalized_shape=n)
        self.normalized_shape, self.eps, self.elementwise_affine = shape, eps, elementwise_affine
        made = {"device": device, "dtype": dtype or tg.float32}
        self.weight = Parameter(tg.ones(shape, **made)) if elementwise_affine else None
        self.bias = Parameter(tg.zeros(shape, **made)) if elementwise_affine and bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight and bias as at first: ones and zeros."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    if TYPE_CHECKING:

        def __call__(self, input: Tensor) -> Tensor: ...

    def extra_repr(self) -> str:
        affine = f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        return f"{self.normalized_shape}, eps={self.eps}, {affine}"


class Dropout(Module):
    """In training, each element zero with probability p and else divided by 1 - p; evaluating, nothing.

    Args:
        inplace: no difference here: what is given stays as it is.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p is a probability from 0 to 1, got {p}")
        self.p = p

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training)

    if TYPE_CHECKING:

        def __call__(self, input: Tensor) -> Tensor: ...

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Identity(Module):
    """What it is given, as it is. Takes any arguments, so that it can stand in the place of any layer."""

    def __init__(self, *_args: Any, **_settings: Any) -> None:
        pass

    def forward(self, input: Any) -> Any:
        return input

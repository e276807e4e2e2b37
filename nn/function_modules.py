"""Functions as modules: the activations, Flatten, CosineSimilarity, PairwiseDistance; losses are in `losses`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import tinygrad_seq as tg
from tinygrad_seq import Tensor

from . import functional as F
from .module import Module

Function: TypeAlias = Callable[..., Tensor]


class FunctionModule(Module):
    """A function as a module, which calls it with the settings that it was made with.

    A subclass says which `function`, and lists the settings in its `__init__`, if there are any. They are attributes;
    those that are tensors are buffers.
    """

    function: ClassVar[Function]

    def __init__(self, **settings: Any) -> None:
        self._settings = tuple(settings)
        for name, value in settings.items():
            if isinstance(value, Tensor):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        return type(self).function(*inputs, **named, **{name: getattr(self, name) for name in self._settings})

    if TYPE_CHECKING:

        def __call__(self, *inputs: Any, **named: Any) -> Tensor: ...

    def extra_repr(self) -> str:
        values = {name: getattr(self, name) for name in self._settings}
        shown = {name: v for name, v in values.items() if v is not None and not isinstance(v, Tensor)}
        return ", ".join([f"{name}={value!r}" for name, value in shown.items()])


class Flatten(FunctionModule):
    """The dimensions from `start_dim` to `end_dim` as one; by default all but the first."""

    function: ClassVar[Function] = tg.flatten
    start_dim: int
    end_dim: int

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__(start_dim=start_dim, end_dim=end_dim)


class Tanh(FunctionModule):
    """The hyperbolic tangent."""

    function: ClassVar[Function] = F.tanh

    def __init__(self) -> None:
        super().__init__()


class Sigmoid(FunctionModule):
    """1 / (1 + exp(-x))."""

    function: ClassVar[Function] = F.sigmoid

    def __init__(self) -> None:
        super().__init__()


class LogSigmoid(FunctionModule):
    """log(sigmoid(x))."""

    function: ClassVar[Function] = F.logsigmoid

    def __init__(self) -> None:
        super().__init__()


class ReLU(FunctionModule):
    """max(x, 0).

    Args:
        inplace: no difference here: what is given stays as it is.
    """

    function: ClassVar[Function] = F.relu

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()


class SiLU(FunctionModule):
    """x · sigmoid(x). As with all modules here, what is given stays as it is, whatever `inplace` says."""

    function: ClassVar[Function] = F.silu

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()


class GLU(FunctionModule):
    """a · sigmoid(b), with a and b the halves of x along `dim`."""

    function: ClassVar[Function] = F.glu
    dim: int

    def __init__(self, dim: int = -1) -> None:
        super().__init__(dim=dim)


class LeakyReLU(FunctionModule):
    """x where it is positive, negative_slope · x elsewhere."""

    function: ClassVar[Function] = F.leaky_relu
    negative_slope: float

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__(negative_slope=negative_slope)


class ELU(FunctionModule):
    """x where it is positive, alpha · (exp(x) - 1) elsewhere."""

    function: ClassVar[Function] = F.elu
    alpha: float

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(alpha=alpha)


class GELU(FunctionModule):
    """x · Φ(x), with Φ the normal distribution function; approximate="tanh" is an approximation of it."""

    function: ClassVar[Function] = F.gelu
    approximate: str

    def __init__(self, approximate: str = "none") -> None:
        super().__init__(approximate=approximate)


class Softplus(FunctionModule):
    """log(1 + exp(beta · x)) / beta, and x itself where beta · x > threshold."""

    function: ClassVar[Function] = F.softplus
    beta: float
    threshold: float

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__(beta=beta, threshold=threshold)


class Hardtanh(FunctionModule):
    """x, but no less than min_val and no more than max_val."""

    function: ClassVar[Function] = F.hardtanh
    min_val: float
    max_val: float

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__(min_val=min_val, max_val=max_val)


class Softmax(FunctionModule):
    """exp(x) / Σ exp(x) along `dim`."""

    function: ClassVar[Function] = F.softmax
    dim: int | None

    def __init__(self, dim: int | None = None) -> None:
        super().__init__(dim=dim)


class LogSoftmax(FunctionModule):
    """x - log Σ exp(x) along `dim`."""

    function: ClassVar[Function] = F.log_softmax
    dim: int | None

    def __init__(self, dim: int | None = None) -> None:
        super().__init__(dim=dim)


class CosineSimilarity(FunctionModule):
    """x₁·x₂ / (‖x₁‖ ‖x₂‖) along `dim`; see `functional.cosine_similarity`."""

    function: ClassVar[Function] = F.cosine_similarity
    dim: int
    eps: float

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__(dim=dim, eps=eps)


class PairwiseDistance(FunctionModule):
    """‖x₁ - x₂ + eps‖ₚ along the last dimension; see `functional.pairwise_distance`."""

    function: ClassVar[Function] = F.pairwise_distance
    p: float
    eps: float
    keepdim: bool

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__(p=p, eps=eps, keepdim=keepdim)

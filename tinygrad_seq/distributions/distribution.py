"""What all distributions have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..backend import Array
from ..graph.grad_mode import no_grad
from ..graph.tracing_hook import require
from ..ops.dims import lengths
from ..tensor import Tensor, as_tensor


class Distribution:
    """A batch of distributions of numbers, one for each entry of its parameters.

    Attributes:
        batch_shape: the shape of the parameters.
        event_shape: that of one draw of one of them: ().
        has_rsample: whether gradients pass through draws to the parameters, by `rsample`.
    """

    has_rsample = False
    event_shape: tuple[int, ...] = ()

    def __init__(self, batch_shape: tuple[int, ...], validate_args: bool | None = None) -> None:
        self.batch_shape = batch_shape
        self._validate = validate_args is not False

    def rsample(self, sample_shape: Any = (), *, batch_dim: int | None = None) -> Tensor:
        """Draws of shape (*sample_shape, *batch_shape), through which gradients pass to the parameters."""
        raise NotImplementedError(
            f"rsample: no gradient passes through a draw of a {type(self).__name__}; use sample() and log_prob()"
        )

    def sample(self, sample_shape: Any = (), *, batch_dim: int | None = None) -> Tensor:
        """Draws of shape (*sample_shape, *batch_shape), as constants.

        Args:
            batch_dim: the dimension of the draws along which the rows of a batch lie that several processes share: see
                `tg.rand`.
        """
        with no_grad():
            return self.rsample(sample_shape, batch_dim=batch_dim)

    def log_prob(self, value: Any) -> Tensor:
        """The logarithm of the probability (density) of a value, which broadcasts with the parameters."""
        raise NotImplementedError(f"log_prob: a {type(self).__name__} has none")

    def entropy(self) -> Tensor:
        """The entropy, in nats."""
        raise NotImplementedError(f"entropy: a {type(self).__name__} has none")

    @property
    def mean(self) -> Tensor:
        raise NotImplementedError(f"mean: a {type(self).__name__} has none")

    @property
    def variance(self) -> Tensor:
        raise NotImplementedError(f"variance: a {type(self).__name__} has none")

    @property
    def stddev(self) -> Tensor:
        return self.variance.sqrt()

    def _drawn_shape(self, sample_shape: Any) -> tuple[int, ...]:
        return (*lengths("sample", (tuple(sample_shape),)), *self.batch_shape)

    def _require(self, fits: Callable[[Array], Any], what: str, x: Tensor) -> None:
        """Raise a ValueError unless all numbers of a tensor fit; in a compiled function at each replay."""
        if self._validate:
            require(_check(fits, f"{type(self).__name__}: {what}"), x)


def _check(fits: Callable[[Array], Any], message: str) -> Callable[[Array], None]:
    """What raises a ValueError unless all numbers of an array fit. It holds no tensor: compiled functions keep it."""

    def check(array: Array) -> None:
        if not bool(fits(array).all()):
            raise ValueError(message)

    return check


def one_of(name: str, probs: Any, logits: Any) -> tuple[Tensor | None, Tensor | None]:
    """The one of two parameters that is given, as a tensor.

    Raises:
        ValueError: if none is, or both are.
    """
    if (probs is None) == (logits is None):
        raise ValueError(f"{name}: takes probs or logits, got {'none' if probs is None else 'both'}")
    given = as_tensor(logits if probs is None else probs)
    if given.dtype.kind != "f":
        given = given.float()
    return (None, given) if probs is None else (given, None)

"""Random tensors."""

from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING, Any

from ..backend import Array, DType, array_module, float32, float64, int64
from ..backend.dispatch import at
from ..graph import Value
from ..graph.conversion import as_dtype, require_fit, to_array
from ..graph.device import device as Device
from ..graph.device import home_of, resolve
from ..graph.errors import public
from ..graph.grad_mode import no_grad
from ..graph.tracing_hook import require
from ..ops.dims import lengths
from . import rng
from .autograd_methods import wrapped
from .legacy_types import Format
from .rng import Generator, Size, default_generator, uniform

if TYPE_CHECKING:
    from .tensor import Tensor


@public
def manual_seed(seed: int) -> Generator:
    """Start the default stream of random numbers anew: the same seed gives the same numbers."""
    return default_generator.manual_seed(seed)


@public
def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: DType = float32,
    device: str | Device | None = None,
    requires_grad: bool = False,
    batch_dim: int | None = None,
) -> Tensor:
    """Uniform in [0, 1).

    Args:
        batch_dim: here and in all that draws, the dimension along which the rows of a batch lie, for a draw of which
            each process of a group is to have its rows' part: see `distributed.shard`. Without it all draw the same.
    """
    kind, target = rng.floating("rand", dtype), resolve(device)
    drawn: Tensor = wrapped(uniform(lengths("rand", size), kind, target, generator, batch_dim))
    return drawn.requires_grad_(requires_grad)


@public
def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: DType = float32,
    device: str | Device | None = None,
    requires_grad: bool = False,
    batch_dim: int | None = None,
) -> Tensor:
    """Normal with mean 0 and variance 1."""
    kind, target = rng.floating("randn", dtype), resolve(device)
    drawn: Tensor = wrapped(rng.normal(lengths("randn", size), kind, target, generator, batch_dim))
    return drawn.requires_grad_(requires_grad)


@public
def rand_like(
    x: Tensor,
    *,
    generator: Generator | None = None,
    dtype: DType = None,
    device: str | Device | None = None,
    requires_grad: bool = False,
    memory_format: Format = None,
    batch_dim: int | None = None,
) -> Tensor:
    """Uniform in [0, 1), of the shape and, unless given, the dtype and device of x."""
    return rand(
        x.shape,
        generator=generator,
        dtype=dtype or x.dtype,
        device=device or x.device,
        requires_grad=requires_grad,
        batch_dim=batch_dim,
    )


@public
def randn_like(
    x: Tensor,
    *,
    generator: Generator | None = None,
    dtype: DType = None,
    device: str | Device | None = None,
    requires_grad: bool = False,
    memory_format: Format = None,
    batch_dim: int | None = None,
) -> Tensor:
    """Normal with mean 0 and variance 1, of the shape and, unless given, the dtype and device of x."""
    return randn(
        x.shape,
        generator=generator,
        dtype=dtype or x.dtype,
        device=device or x.device,
        requires_grad=requires_grad,
        batch_dim=batch_dim,
    )


@public
def normal(
    mean: Any,
    std: Any = 1.0,
    size: Size | None = None,
    *,
    generator: Generator | None = None,
    dtype: DType = None,
    device: str | Device | None = None,
    batch_dim: int | None = None,
) -> Tensor:
    """Normal with this mean and standard deviation: numbers and a size, or tensors that broadcast with each other.

    Differentiable by `mean` and `std`: the draw is mean + std · z.
    """
    if isinstance(std, (int, float)) and not std >= 0:
        raise ValueError(f"normal: std must not be negative, got {std}")
    like = next((v for v in (mean, std) if isinstance(v, Value)), None)
    if like is None:
        made = randn(
            () if size is None else size,
            generator=generator,
            dtype=dtype or float32,
            device=device,
            batch_dim=batch_dim,
        )
        return made * std + mean
    if size is not None or dtype is not None or device is not None:
        raise ValueError(
            "normal: size, dtype and device are those of the tensors mean and std; give numbers and a size, or tensors"
        )
    if isinstance(std, Value):
        require(_require_std, std)
    zeros = (mean + std * 0).detach()
    return mean + std * randn_like(zeros, generator=generator, batch_dim=batch_dim)


def _require_std(std: Array) -> None:
    if not bool((std >= 0).all()):
        raise ValueError("normal: std must not be negative, and an entry of it is")


def _weights(given: Any) -> Tensor:
    """What is given, as a tensor without a graph."""
    made: Tensor = given if isinstance(given, Value) else wrapped(to_array(given, None, home_of(given)))  # type: ignore[assignment]
    return made.detach()


def _require_probabilities(p: Array) -> None:
    if not bool(((p >= 0) & (p <= 1)).all()):
        raise ValueError("bernoulli: probabilities must be from 0 to 1")


def _require_weights(p: Array) -> None:
    xp, total = array_module(p), p.sum(axis=-1, dtype=float64)
    rows = xp.count_nonzero((total > 0) & (total < xp.inf))  # in a sampling step each method of NumPy's counts
    if xp.count_nonzero(p >= 0) < p.size or rows < total.size:
        raise ValueError("multinomial: every row of probabilities must be finite, not negative, and not all zero")


@public
def bernoulli(probability: Tensor, *, generator: Generator | None = None, batch_dim: int | None = None) -> Tensor:
    """1 with the given probability and else 0, element by element, in the dtype of the probabilities.

    Raises:
        ValueError: if one is not from 0 to 1.
    """
    p = _weights(probability)
    require(_require_probabilities, p)
    u: Tensor = wrapped(uniform(p.shape, float64, p.device, generator, batch_dim, "bernoulli"))
    return (u < p).to(p.dtype)


@public
def randint(
    low: int,
    high: Any = None,
    size: Size = (),
    *,
    generator: Generator | None = None,
    dtype: DType = int64,
    device: str | Device | None = None,
    batch_dim: int | None = None,
) -> Tensor:
    """Integers in [low, high), or in [0, low) if `high` is not given: `randint(6, (3,))`, `randint(1, 7, (3,))`."""
    if high is None or isinstance(high, (tuple, list)):
        low, high, size = 0, low, size if high is None else high
    try:
        low, high = index(low), index(high)
    except TypeError:
        raise TypeError(f"randint: takes whole numbers, got low={low!r}, high={high!r}") from None
    if high <= low:
        raise ValueError(f"randint: takes low < high, got low={low}, high={high}")
    if high - low > 2**53:
        raise ValueError(f"randint: a draw has 53 random bits, too few for the numbers from {low} to {high - 1}")
    kind = as_dtype(dtype)
    require_fit("randint", low, kind)
    require_fit("randint", high - 1, kind)
    u = uniform(lengths("randint", (size,)), float64, resolve(device), generator, batch_dim, "randint")
    with at(u):
        drawn = (u * (high - low)).astype(int64) + low  # from 0 on, where leaving out the fraction is rounding down
        return wrapped(array_module(u).asarray(drawn.astype(kind)))  # a 0-d result is a NumPy scalar


@public
def randperm(n: int, *, generator: Generator | None = None, device: str | Device | None = None) -> Tensor:
    """The integers 0 to n - 1 in random order."""
    u = uniform(lengths("randperm", (n,)), float64, resolve(device), generator)
    with at(u):
        return wrapped(u.argsort())


@public
def multinomial(
    probabilities: Any,
    num_samples: int = 1,
    replacement: bool = False,
    *,
    generator: Generator | None = None,
    batch_dim: int | None = None,
) -> Tensor:
    """Draw class numbers. probabilities (..., V), up to a factor -> (..., num_samples).

    With replacement by inversion: the class in whose share of [0, 1) a uniform number falls. Without, the classes with
    the largest u^(1/p) (Efraimidis & Spirakis, "Weighted random sampling with a reservoir", 2006).

    Raises:
        ValueError: if a row has a negative entry, one that is not finite, or adds up to 0; or, without replacement, if
            it has fewer classes that can be drawn than there are samples.
    """
    (num_samples,) = lengths("multinomial", (num_samples,))
    with no_grad():
        p = _weights(probabilities)
        require(_require_weights, p)
        xp = array_module(p.array)
        cumulative = xp.cumsum(p.array.astype(float64), axis=-1)
        total = cumulative[..., -1:]
        if not replacement and num_samples > 1:

            def check(p: Array) -> None:
                if bool(((p > 0).sum(axis=-1) < num_samples).any()):
                    raise ValueError(
                        f"multinomial: cannot draw {num_samples} different classes from a row that has fewer with a "
                        "probability; use replacement=True"
                    )

            require(check, p)
            u = uniform(p.shape, float64, p.device, generator, batch_dim, "multinomial")
            keys = xp.where(p.array > 0, xp.log(1.0 - u) / xp.where(p.array > 0, p.array, 1.0), -xp.inf)
            return wrapped(xp.argsort(-keys, axis=-1)[..., :num_samples])
        size = (*p.shape[:-1], num_samples)
        u = uniform(size, float64, p.device, generator, batch_dim, "multinomial")
        drawn = (u[..., None] * total[..., None] >= cumulative[..., None, :]).sum(axis=-1)
        return wrapped(drawn.astype(int64))

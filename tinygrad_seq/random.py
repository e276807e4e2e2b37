"""Random numbers: streams that are a function of (seed, position) alone, so the same on every device.

Counter-based generators: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011 (Philox).
"""

from __future__ import annotations

import math
from operator import index
from types import NoneType
from typing import Any

from .backend import Array, DType, array_module, dtype, float16, float32, float64, int64
from .conversion import as_dtype
from .device import device as Device
from .device import resolve
from .graph import no_grad
from .ops.dims import lengths
from .public import public
from .tensor import Tensor, as_tensor

Size = tuple[int, ...]


class Generator:
    """A stream of random numbers. Drawing moves it on; `get_state` and `set_state` note and restore where it stands."""

    def __init__(self, seed: int = 0) -> None:
        self.manual_seed(seed)

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of this seed from its beginning."""
        if not isinstance(seed, (int, float)):
            raise TypeError(f"manual_seed: takes a whole number, got {seed!r}")
        self.seed = int(seed) % 2**64
        self.offset = 0
        return self

    def get_state(self) -> tuple[int, int]:
        """(seed, position)."""
        return self.seed, self.offset

    def set_state(self, state: tuple[int, int]) -> None:
        """Go to where `get_state` was called."""
        self.seed, self.offset = int(state[0]), int(state[1])

    def words(self, count: int, target: Device) -> Array:
        """The next `count` uniform 32-bit words, on a device."""
        drawn = target.backend.random_words(self.seed, self.offset, count, target.index)
        self.offset += (count + 7) // 8  # a Philox4x64 block is eight words
        return drawn


default_generator = Generator()


@public
def manual_seed(seed: int) -> Generator:
    """Start the default stream of random numbers anew: the same seed gives the same numbers."""
    return default_generator.manual_seed(seed)


def _floating(name: str, kind: DType) -> DType:
    kind = as_dtype(kind)
    if kind.kind != "f":
        raise TypeError(f"{name}: draws floating-point numbers, got dtype {kind}; randint draws integers")
    return kind


def uniform(size: Size, kind: DType, target: Device, generator: Generator | None) -> Array:
    """Uniform in [0, 1), as an array: 24 random bits for float32, 53 for float64, 11 for float16."""
    if not isinstance(generator, (Generator, NoneType)):
        raise TypeError(f"generator: takes a tg.Generator, got {generator!r}; tg.Generator(seed) makes one")
    count = math.prod(size)
    draw = (generator or default_generator).words
    if kind == float64:
        return ((draw(2 * count, target).view("uint64") >> 11) * 2.0**-53).reshape(size)
    if kind == float16:
        return ((draw(count, target) >> 21).astype(kind) * dtype(kind).type(2.0**-11)).reshape(size)
    return ((draw(count, target) >> 8).astype(kind) * dtype(kind).type(2.0**-24)).reshape(size)


@public
def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: DType = float32,
    device: str | Device | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform in [0, 1)."""
    drawn: Tensor = Tensor.wrap(uniform(lengths("rand", size), _floating("rand", dtype), resolve(device), generator))
    return drawn.requires_grad_(requires_grad)


@public
def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: DType = float32,
    device: str | Device | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal with mean 0 and variance 1 (Box & Muller, "A note on the generation of random normal deviates", 1958)."""
    shape, kind, target = lengths("randn", size), _floating("randn", dtype), resolve(device)
    count = math.prod(shape)
    half = (count + 1) // 2
    u = uniform((2, half), kind, target, generator)
    xp = array_module(u)
    radius = xp.sqrt(-2.0 * xp.log(1.0 - u[0]))
    angle = (2.0 * math.pi) * u[1]
    drawn: Tensor = Tensor.wrap(
        xp.concatenate([radius * xp.cos(angle), radius * xp.sin(angle)])[:count].copy().reshape(shape)
    )
    return drawn.requires_grad_(requires_grad)


@public
def rand_like(x: Tensor, *, generator: Generator | None = None) -> Tensor:
    """Uniform in [0, 1), of the shape and dtype and on the device of x."""
    return rand(x.shape, generator=generator, dtype=x.dtype, device=x.device)


@public
def randn_like(x: Tensor, *, generator: Generator | None = None) -> Tensor:
    """Normal with mean 0 and variance 1, of the shape and dtype and on the device of x."""
    return randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)


@public
def normal(mean: Any, std: Any = 1.0, size: Size | None = None, *, generator: Generator | None = None) -> Tensor:
    """Normal with this mean and standard deviation: numbers and a size, or tensors that broadcast with each other.

    Differentiable by `mean` and `std`: the draw is mean + std · z.
    """
    if isinstance(std, (int, float)) and not std >= 0:
        raise ValueError(f"normal: std must not be negative, got {std}")
    like = next((v for v in (mean, std) if isinstance(v, Tensor)), None)
    if like is None:
        return randn(() if size is None else size, generator=generator) * std + mean
    if size is not None:
        raise ValueError("normal: the size is that of the tensors mean and std; give numbers and a size, or tensors")
    if isinstance(std, Tensor) and not bool((std >= 0).all()):
        raise ValueError("normal: std must not be negative, and an entry of it is")
    zeros = (mean + std * 0).detach()
    return mean + std * randn_like(zeros, generator=generator)


@public
def bernoulli(probability: Tensor, *, generator: Generator | None = None) -> Tensor:
    """1 with the given probability and else 0, element by element, in the dtype of the probabilities.

    Raises:
        ValueError: if one is not from 0 to 1.
    """
    p = as_tensor(probability).detach()
    if not bool(((p >= 0) & (p <= 1)).all()):
        raise ValueError("bernoulli: probabilities must be from 0 to 1")
    return (rand(p.shape, dtype=float64, device=p.device, generator=generator) < p).to(p.dtype)


@public
def randint(
    low: int,
    high: Any = None,
    size: Size = (),
    *,
    generator: Generator | None = None,
    dtype: DType = int64,
    device: str | Device | None = None,
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
    u = uniform(lengths("randint", (size,)), float64, resolve(device), generator)
    return Tensor.wrap((low + u * (high - low)).astype(dtype))


@public
def randperm(n: int, *, generator: Generator | None = None, device: str | Device | None = None) -> Tensor:
    """The integers 0 to n - 1 in random order."""
    u = uniform(lengths("randperm", (n,)), float64, resolve(device), generator)
    return Tensor.wrap(u.argsort())


@public
def multinomial(
    probabilities: Any, num_samples: int = 1, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Draw class numbers. probabilities (..., V), up to a factor -> (..., num_samples).

    With replacement by inversion: the class in whose share of [0, 1) a uniform number falls. Without, the classes with
    the largest u^(1/p) (Efraimidis & Spirakis, "Weighted random sampling with a reservoir", 2006).

    Raises:
        ValueError: if a row has a negative entry, one that is not finite, or adds up to 0; or, without replacement, if
            it has fewer classes that can be drawn than there are samples.
    """
    with no_grad():
        p = as_tensor(probabilities).detach()
        xp = array_module(p.array)
        cumulative = xp.cumsum(p.array.astype(float64), axis=-1)
        total = cumulative[..., -1:]
        if not bool(((p.array >= 0).all()) & xp.isfinite(total).all() & (total > 0).all()):
            raise ValueError("multinomial: every row of probabilities must be finite, not negative, and not all zero")
        if not replacement and num_samples > 1:
            if int((p.array > 0).sum(axis=-1).min()) < num_samples:
                raise ValueError(
                    f"multinomial: cannot draw {num_samples} different classes from a row that has fewer with a "
                    "probability; use replacement=True"
                )
            u = uniform(p.shape, float64, p.device, generator)
            keys = xp.where(p.array > 0, xp.log(1.0 - u) / xp.where(p.array > 0, p.array, 1.0), -xp.inf)
            return Tensor.wrap(xp.argsort(-keys, axis=-1)[..., :num_samples])
        u = uniform((*p.shape[:-1], num_samples), float64, p.device, generator)
        drawn = (u[..., None] * total[..., None] >= cumulative[..., None, :]).sum(axis=-1)
        return Tensor.wrap(drawn.astype(int64))

"""Streams of random numbers, as arrays: a function of (seed, position) alone, so the same on every device.

Counter-based generators: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011 (Philox).
"""

from __future__ import annotations

import math
from math import isfinite
from operator import index
from types import NoneType
from typing import NamedTuple

from ..backend import Array, DType, array_module, dtype, float16, float64
from ..backend.dispatch import at
from ..graph import recomputation
from ..graph.batch_shard import BatchShard, required
from ..graph.batch_shard import Size as Size
from ..graph.conversion import as_dtype
from ..graph.device import device as Device
from ..graph.tracing_hook import current_tracer, tracers


class _Span(NamedTuple):
    """Of each `period` words that one process would draw, those that this one has."""

    period: int
    start: int
    stop: int


class Generator:
    """A stream of random numbers. Drawing moves it on; `get_state` and `set_state` note and restore where it stands."""

    seed: int
    offset: int

    def __init__(self, seed: int = 0) -> None:
        self.manual_seed(seed)

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of this seed from its beginning."""
        if tracers:
            tracers[-1].seeded()
        try:
            self.seed = (int(seed) if isinstance(seed, float) and isfinite(seed) else index(seed)) % 2**64
        except TypeError:
            raise TypeError(f"manual_seed: takes a whole number, got {seed!r}") from None
        self.offset = 0
        return self

    def get_state(self) -> tuple[int, int]:
        """(seed, position)."""
        return self.seed, self.offset

    def set_state(self, state: tuple[int, int]) -> None:
        """Go to where `get_state` was called."""
        try:
            self.seed, self.offset = [index(n) for n in state]
        except (TypeError, ValueError):
            raise TypeError(f"set_state: takes what get_state returned, got {state!r}") from None

    def random_bits(self, count: int, target: Device, span: _Span | None = None) -> Array:
        """The next `count` uniform 32-bit words, on a device; of those, what is in the span."""
        recomputation.draws(self)
        if span is not None:
            return self._spanned(count, target, span)
        if (tracer := current_tracer()) is not None:
            return tracer.random_bits(self, count, target)
        drawn = target.backend.random_bits(self.seed, self.offset, count, target.index)
        self.offset += (count + 7) // 8  # a Philox4x64 block is eight words
        return drawn

    def _spanned(self, count: int, target: Device, span: _Span) -> Array:
        period, start, stop = span
        if (tracer := current_tracer()) is not None:
            words = tracer.random_bits(self, count, target)
            return words.reshape(-1, period)[:, start:stop].reshape(-1) if period else words
        drawn = []
        for first in range(start, count, period or 1):
            blocks, skipped = divmod(first, 8)
            words = target.backend.random_bits(self.seed, self.offset + blocks, skipped + stop - start, target.index)
            drawn.append(words[skipped:])
        self.offset += (count + 7) // 8
        with at(drawn):
            return (
                array_module(drawn[0]).concatenate(drawn)
                if drawn
                else target.backend.full((0,), 0, "uint32", target.index)
            )


default_generator: Generator = Generator()


def floating(name: str, kind: DType) -> DType:
    """The dtype of what is drawn.

    Raises:
        TypeError: if it is not floating-point; the message names the function `name`.
    """
    kind = as_dtype(kind)
    if kind.kind != "f":
        raise TypeError(f"{name}: draws floating-point numbers, got dtype {kind}; randint draws integers")
    return kind


def uniform(
    size: Size,
    kind: DType,
    target: Device,
    generator: Generator | None,
    batch_dim: int | None = None,
    name: str = "rand",
) -> Array:
    """Uniform in [0, 1), as an array: 24 random bits for float32, 53 for float64, 11 for float16.

    Args:
        batch_dim: along which dimension the rows of a batch lie: of a batch that several processes share, each draws
            what one process would draw for its rows.
        name: who draws, for messages.
    """
    if not isinstance(generator, (Generator, NoneType)):
        raise TypeError(f"generator: takes a tg.Generator, got {generator!r}; tg.Generator(seed) makes one")
    draw = (generator or default_generator).random_bits
    each = 2 if kind == float64 else 1
    rows = _rows(name, size, batch_dim)
    if rows is None:
        words = draw(each * math.prod(size), target)
    else:
        dim, shard = rows
        inner = each * math.prod(size[dim + 1 :])
        period = shard.total * inner
        words = draw(math.prod(size[:dim]) * period, target, _Span(period, shard.start * inner, shard.stop * inner))
    with at(words):
        if kind == float64:
            return ((words.view("uint64") >> 11) * 2.0**-53).reshape(size)
        bits = 11 if kind == float16 else 24
        return ((words >> (32 - bits)).astype(kind) * dtype(kind).type(2.0**-bits)).reshape(size)


def _rows(name: str, size: Size, dim: int | None) -> tuple[int, BatchShard] | None:
    """Along which dimension this process has rows of a batch, and which; None where it draws as if it were alone."""
    if dim is None:
        return None
    if not 0 <= dim < len(size):
        raise ValueError(f"{name}: batch_dim={dim} is no dimension of shape {size}")
    shard = required(name)
    if shard is None:
        return None
    if size[dim] != shard.here:
        raise ValueError(
            f"{name}: shape {size} has {size[dim]} rows along dimension {dim}, and shard() gave this process "
            f"{shard.here} of {shard.total}; call shard() for each batch of another size"
        )
    return dim, shard


def normal(
    size: Size,
    kind: DType,
    target: Device,
    generator: Generator | None,
    batch_dim: int | None = None,
    name: str = "randn",
) -> Array:
    """Normal, as an array (Box & Muller, "A note on the generation of random normal deviates", 1958).

    Args:
        batch_dim, name: see `uniform`.
    """
    rows = _rows(name, size, batch_dim)
    if rows is not None:  # a pair of numbers lies half a draw apart, so it takes the whole one
        dim, shard = rows
        whole = normal((*size[:dim], shard.total, *size[dim + 1 :]), kind, target, generator)
        with at(whole):
            return whole[(*[slice(None)] * dim, slice(shard.start, shard.stop))].copy()
    count = math.prod(size)
    half = (count + 1) // 2
    u = uniform((2, half), kind, target, generator)
    xp = array_module(u)
    with at(u):
        radius = xp.sqrt(-2.0 * xp.log(1.0 - u[0]))
        angle = (2.0 * math.pi) * u[1]
        return xp.concatenate([radius * xp.cos(angle), radius * xp.sin(angle)])[:count].copy().reshape(size)

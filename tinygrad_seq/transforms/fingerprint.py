"""A small part of what an array says, by which it is known again: `checkpoint` compares two runs by it."""

from __future__ import annotations

import math
from typing import NamedTuple

from ..backend import Array, array_module
from ..backend.dispatch import at

BLOCK = 64  # elements in one number
TOLERANCE = 1e-3  # of the mean size of a block's elements: sums in another order differ by less


class Fingerprint(NamedTuple):
    """Weighted sums of each block of elements, and of their sizes.

    No two weights are alike, so that a permutation shows, a sign, and a single element that is nan or infinite.
    """

    shape: tuple[int, ...]
    sums: Array
    sizes: Array


def of(array: Array) -> Fingerprint:
    """The fingerprint of an array of floats or complex numbers, on its device."""
    xp = array_module(array)
    with at(array):
        flat = array.reshape(-1)
        kind = "float64" if array.dtype.itemsize // (1 + (array.dtype.kind == "c")) == 8 else "float32"
        parts = [part.astype(kind) for part in ((flat.real, flat.imag) if array.dtype.kind == "c" else (flat,))]
        # numbers that no network computes stand for what is not finite
        parts = [xp.nan_to_num(part, nan=3e30, posinf=5e30, neginf=-7e30) for part in parts]
        missing = xp.zeros(-flat.size * len(parts) % BLOCK, kind)
        blocks = xp.concatenate([*parts, missing]).reshape(-1, BLOCK)
        weights = xp.asarray([1.0 + math.sin(2.0 + 5.0 * k) / 2 for k in range(BLOCK)], kind)
        return Fingerprint(array.shape, blocks @ weights, xp.abs(blocks) @ weights)


def agree(a: Fingerprint, b: Fingerprint) -> bool:
    """Whether two arrays are the same to rounding."""
    return a.shape == b.shape and bool((abs(a.sums - b.sums) <= TOLERANCE / BLOCK * (a.sizes + b.sizes)).all())

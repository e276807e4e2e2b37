"""Numbers of bfloat16, which NumPy does not have."""

from __future__ import annotations

from ..backend import Array


def widened(halves: Array) -> Array:
    """As float32, whose upper half they are, from integers of 16 bits."""
    return (halves.astype("uint32") << 16).view("float32")

"""Which dimensions a function works on."""

from __future__ import annotations

from operator import index
from typing import Any

Dims = tuple[int, ...]


def lengths(name: str, size: Any, least: int = 0) -> tuple[int, ...]:
    """(2, 3) from what was given to f(2, 3) or f((2, 3)).

    Raises:
        TypeError: if a length is no whole number.
        ValueError: if one is smaller than `least`.
    """
    if len(size) == 1 and hasattr(size[0], "__iter__") and getattr(size[0], "ndim", True):
        size = size[0]
    try:
        found = tuple([index(n) for n in size])
    except TypeError:
        raise TypeError(f"{name}: takes whole numbers, got {size!r}") from None
    if min(found, default=least) < least:
        raise ValueError(f"{name}: takes whole numbers from {least} on, got {found}")
    return found


def normalize_dim(name: str, dim: int, ndim: int) -> int:
    """`dim` counted from the front.

    Raises:
        IndexError: if there is no such dimension; the message names the function `name`.
        TypeError: if `dim` is no integer.
    """
    try:
        number = index(dim)
    except TypeError:
        number = None
    if number is None or isinstance(dim, bool):
        raise TypeError(f"{name}: dim must be an integer, got {dim!r}")
    dim = number
    if not -ndim <= dim < ndim:
        has = f"dimensions {-ndim} to {ndim - 1}" if ndim else "no dimensions (it is 0-d)"
        raise IndexError(f"{name}: dim={dim} is out of range; the tensor has {has}")
    return dim % ndim


def normalize_dims(name: str, dim: int | Dims | None, ndim: int) -> Dims:
    """Which dimensions to work on, counted from the front: all of them for None.

    Raises:
        IndexError: if there is no such dimension.
        ValueError: if one is named twice.
    """
    if dim is None:
        return tuple(range(ndim))
    named = dim if isinstance(dim, (tuple, list)) else (dim,)
    if ndim == 0 and named in ((0,), (-1,), [0], [-1]):  # a number is also the only entry of a dimension, as in PyTorch
        return ()
    dims = tuple([normalize_dim(name, d, ndim) for d in named])
    if len(set(dims)) < len(dims):
        raise ValueError(f"{name}: dim={dim} names a dimension twice")
    return dims


def reduced_dims(name: str, dim: int | Dims | None, ndim: int) -> Dims:
    """Which dimensions to reduce, counted from the front: all of them for None.

    Raises:
        ValueError: if none is named, where libraries disagree; or if one is named twice.
    """
    if ndim and isinstance(dim, (tuple, list)) and not dim:
        raise ValueError(
            f"{name}: dim={dim} names no dimension, which PyTorch takes for all of them, and NumPy for none; give None "
            "for all"
        )
    return normalize_dims(name, dim, ndim)

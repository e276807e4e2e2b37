"""Which dimensions a function works on."""

from __future__ import annotations

from operator import index

Dims = tuple[int, ...]


def normalize_dim(name: str, dim: int, ndim: int) -> int:
    """`dim` counted from the front.

    Raises:
        IndexError: if there is no such dimension; the message names the function `name`.
        TypeError: if `dim` is no integer.
    """
    try:
        dim = index(dim)
    except TypeError:
        raise TypeError(f"{name}: dim must be an integer, got {dim!r}") from None
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
    dims = tuple([normalize_dim(name, d, ndim) for d in (dim if isinstance(dim, (tuple, list)) else (dim,))])
    if len(set(dims)) < len(dims):
        raise ValueError(f"{name}: dim={dim} names a dimension twice")
    return dims

"""Which dimensions a function works on: `dim` and `keepdim`, with NumPy's `axis` and `keepdims` accepted."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])
Dims = tuple[int, ...]


def numpy_names(function: F) -> F:
    """Decorator: the function also takes `axis` for `dim` and `keepdims` for `keepdim`.

    Editors and type checkers go on showing `dim` and `keepdim`.
    """

    @wraps(function)
    def translated(*args: Any, **kwargs: Any) -> Any:
        if "axis" in kwargs or "keepdims" in kwargs:
            for theirs, ours in (("axis", "dim"), ("keepdims", "keepdim")):
                if theirs in kwargs:
                    if ours in kwargs:
                        raise TypeError(f"{function.__name__}: got both {ours}= and {theirs}=, which mean the same")
                    kwargs[ours] = kwargs.pop(theirs)
        return function(*args, **kwargs)

    return cast(F, translated)


def normalize_dim(name: str, dim: int, ndim: int) -> int:
    """`dim` counted from the front.

    Raises:
        IndexError: if there is no such dimension; the message names the function `name`.
    """
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
    dims = tuple([normalize_dim(name, d, ndim) for d in ((dim,) if isinstance(dim, int) else dim)])
    if len(set(dims)) < len(dims):
        raise ValueError(f"{name}: dim={dim} names a dimension twice")
    return dims

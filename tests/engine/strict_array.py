"""An array type that behaves as CuPy's does, on a machine without a GPU.

It is no ndarray, refuses to become one silently, keeps 0-d results as arrays of its own, is refused by NumPy's
functions, and does not mix with NumPy arrays. `installed()` makes the engine treat it as an array of device "cuda:0".
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_seq import backend
from tinygrad_seq.backend import numpy as host

device_module: Any = sys.modules["tinygrad_seq.device"]  # the package exports a class of that name
_WORDS = "add sub mul truediv floordiv mod pow matmul and or xor rshift eq ne lt le gt ge"
OPERATORS = _WORDS.split()


def inner(value: Any) -> Any:
    """What NumPy may compute with: the array inside, or a Python value; NumPy arrays are refused, as CuPy does."""
    if isinstance(value, StrictArray):
        return value.hidden
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(value, (list, tuple)):
        return type(value)(inner(v) for v in value)
    return value


def outer(result: Any) -> Any:
    if isinstance(result, (np.ndarray, np.generic)):
        return StrictArray(np.asarray(result))
    if isinstance(result, (list, tuple)):
        return type(result)(outer(r) for r in result)
    return result


class StrictArray:
    """A NumPy array in hiding."""

    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, hidden: Any) -> None:
        self.hidden = hidden

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __array_function__(self, *_: Any) -> Any:
        return NotImplemented

    @property
    def base(self) -> Any:
        return None if self.hidden.base is None else StrictArray(self.hidden.base)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.hidden, name)
        if name in ("shape", "dtype", "ndim", "size", "flags", "item", "tolist"):
            return value
        if callable(value):
            return lambda *args, **kwargs: outer(value(*inner(args), **{k: inner(v) for k, v in kwargs.items()}))
        return outer(value)

    def __getitem__(self, key: Any) -> Any:
        return outer(self.hidden[inner(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.hidden[inner(key)] = inner(value)

    def __len__(self) -> int:
        return len(self.hidden)

    def __bool__(self) -> bool:
        return bool(self.hidden)

    def __int__(self) -> int:
        return int(self.hidden)

    def __float__(self) -> float:
        return float(self.hidden)

    def __neg__(self) -> Any:
        return outer(-self.hidden)

    def __invert__(self) -> Any:
        return outer(~self.hidden)

    def __iadd__(self, other: Any) -> Any:
        self.hidden += inner(other)
        return self

    def __isub__(self, other: Any) -> Any:
        self.hidden -= inner(other)
        return self


def _define(name: str) -> None:
    method, reflected = f"__{name}__", f"__r{name}__"
    setattr(StrictArray, method, lambda a, b: outer(getattr(np.asarray(a.hidden), method)(inner(b))))
    if hasattr(np.ndarray, reflected):
        setattr(StrictArray, reflected, lambda a, b: outer(getattr(np.asarray(a.hidden), reflected)(inner(b))))


for _name in OPERATORS:
    _define(_name)


class Namespace:
    """NumPy's functions for strict arrays."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(np, name)
        if not callable(value) or isinstance(value, type):
            return value
        return lambda *args, **kwargs: outer(value(*inner(args), **{k: inner(v) for k, v in kwargs.items()}))


class StrictBackend:
    """The functions of a backend module."""

    xp = Namespace()
    ndarray = StrictArray

    @staticmethod
    def device_name(array: Any) -> str:
        return "cuda:0"

    @staticmethod
    def asarray(data: Any, dtype: Any = None, index: int = 0) -> Any:
        return StrictArray(np.asarray(data.hidden if isinstance(data, StrictArray) else data, dtype=dtype))

    @staticmethod
    def to_host(array: Any) -> Any:
        return array.hidden.copy()

    @staticmethod
    def scatter_add(buffer: Any, index: Any, values: Any) -> None:
        host.scatter_add(buffer.hidden, inner(index), values.hidden)

    def __getattr__(self, name: str) -> Any:
        """Creation, random numbers and the functions of one array."""
        value = getattr(host, name)
        return lambda *args, **kwargs: outer(value(*inner(args), **kwargs))


@contextmanager
def installed() -> Iterator[None]:
    """The engine knows strict arrays, and takes them for the GPU's."""
    module: Any = StrictBackend()
    before = device_module.backend_for

    def backend_for(device_type: str) -> Any:
        return module if device_type == "cuda" else before(device_type)

    backend.register(StrictArray, module)
    device_module.backend_for = backend_for
    try:
        yield
    finally:
        device_module.backend_for = before
        backend._BY_ARRAY_TYPE.pop(StrictArray)

"""An array type that behaves as CuPy's does, on a machine without a GPU.

It is no ndarray, refuses to become one silently, keeps 0-d results as arrays of its own, is refused by NumPy's
functions, and does not mix with NumPy arrays. While something is `captured`, its operations are noted instead of done.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import numpy as np

from tinygrad_seq.backend.pytree import tree_map

_WORDS = "add sub mul truediv floordiv mod pow matmul and or xor rshift eq ne lt le gt ge"
OPERATORS = _WORDS.split()


owners: WeakValueDictionary[int, StrictArray] = WeakValueDictionary()  # those that own memory, by the array inside
current = [0]  # the device on which operations run
captured: list[list[Callable[[], Any]]] = []  # what the graph being captured is to do


def inner(value: Any) -> Any:
    """What NumPy may compute with: the array inside, or a Python value; NumPy arrays are refused, as CuPy does."""
    if isinstance(value, StrictArray):
        if value.index != current[0]:  # CuPy fetches it with a warning where it can, which we never want
            raise AssertionError(f"an operation on an array of cuda:{value.index} runs on cuda:{current[0]}")
        return value.hidden
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(value, (list, tuple)):
        return type(value)(inner(v) for v in value)
    return value


def outer(result: Any) -> Any:
    if isinstance(result, (np.ndarray, np.generic)):
        return StrictArray(np.asarray(result))
    return tree_map(outer, result) if isinstance(result, (list, tuple)) else result


def done(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call a function of NumPy's, or while something is captured, note that it is to be called at each launch."""
    args, kwargs = inner(args), {k: inner(v) for k, v in kwargs.items()}
    if not captured:
        return function(*args, **kwargs)
    graph = captured[-1]
    if kwargs.get("out") is not None or function in (np.copyto, np.add.at):
        graph.append(lambda: function(*args, **kwargs))
        return kwargs.get("out")
    result = function(*args, **kwargs)
    for made in result if isinstance(result, (list, tuple)) else (result,):
        if isinstance(made, np.ndarray) and made.flags.writeable and not _is_view(made, args):
            graph.append(partial(lambda to: np.copyto(to, function(*args, **kwargs)), made))
            made[...] = np.nan if made.dtype.kind in "fc" else 0
    return result


def _is_view(made: Any, args: Any) -> bool:
    """Whether an array shows an operand: one that index arrays picked has a base, but of its own."""
    return made.base is not None and any(isinstance(a, np.ndarray) and np.may_share_memory(made, a) for a in args)


def refuse_lists(*operands: Any) -> None:
    if any(isinstance(x, (list, tuple)) for x in operands):
        raise TypeError("operand type(s) all returned NotImplemented from __array_ufunc__")


def refuse() -> None:
    if captured:
        raise RuntimeError("operation not permitted when stream is capturing")


class StrictArray:
    """A NumPy array in hiding."""

    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, hidden: Any) -> None:
        self.hidden, self.index = hidden, current[0]
        if hidden.base is None:
            owners[id(hidden)] = self
        else:
            self.owner = self.base  # which CuPy's views hold, too

    shape = property(lambda self: self.hidden.shape)  # these by themselves, since they are asked for most
    dtype = property(lambda self: self.hidden.dtype)
    ndim = property(lambda self: self.hidden.ndim)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __array_function__(self, *_: Any) -> Any:
        return NotImplemented

    __cuda_array_interface__: ClassVar[dict[str, Any]] = {}  # by which others know that the numbers are on a device

    def get(self) -> Any:
        """A copy on the host."""
        refuse()
        return self.hidden.copy()

    @property
    def base(self) -> Any:
        below = self.hidden.base
        if below is None:
            return None
        while isinstance(below.base, np.ndarray):
            below = below.base
        known = owners.get(id(below))
        if known is None or known.hidden is not below:
            self.owner = known = StrictArray(below)  # kept, so that it is the same one next time
            known.index = self.index
        return known

    def item(self) -> Any:
        refuse()
        return self.hidden.item()

    def __reduce__(self) -> Any:
        """By way of the host, as CuPy's."""
        return StrictArray, (self.get(),)

    def tolist(self) -> Any:
        refuse()
        return self.hidden.tolist()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__array_"):  # NumPy's ways to the numbers, which it looks for before it asks `__array__`
            raise AttributeError(name)
        value = getattr(self.hidden, name)
        if name == "min":
            return self._min
        if name in ("size", "flags", "strides", "nbytes", "itemsize"):
            return value
        if callable(value):
            inner(self)
            return lambda *args, **kwargs: outer(done(value, args, kwargs))
        return outer(value)

    def _min(self, axis: Any = None, keepdims: bool = False) -> Any:
        """Without `out`, which CuPy 14 cannot take where CUB does it."""
        return outer(done(inner(self).min, (), {"axis": axis, "keepdims": keepdims}))

    def __getitem__(self, key: Any) -> Any:
        keys = key if isinstance(key, tuple) else (key,)  # CuPy fetches NumPy's arrays here, in silence
        key = tuple([StrictArray(k) if isinstance(k, np.ndarray) else k for k in keys])
        if all(isinstance(k, int) for k in key):
            key = (*key, Ellipsis)  # CuPy's entries are views
        return outer(done(inner(self).__getitem__, (key,), {}))

    def __setitem__(self, key: Any, value: Any) -> None:
        key, value, _ = inner(key), inner(value), inner(self)
        if captured:
            captured[-1].append(lambda: self.hidden.__setitem__(key, value))
        else:
            self.hidden[key] = value

    def __len__(self) -> int:
        return len(self.hidden)

    def __bool__(self) -> bool:
        refuse()
        return bool(self.hidden)

    def __int__(self) -> int:
        refuse()
        return int(self.hidden)

    def __float__(self) -> float:
        refuse()
        return float(self.hidden)

    def __neg__(self) -> Any:
        return outer(done(np.negative, (self,), {}))

    def __abs__(self) -> Any:
        return outer(done(np.abs, (self,), {}))

    def __invert__(self) -> Any:
        return outer(done(np.invert, (self,), {}))

    def __iadd__(self, other: Any) -> Any:
        done(np.add, (self, other), {"out": self})
        return self

    def __isub__(self, other: Any) -> Any:
        done(np.subtract, (self, other), {"out": self})
        return self


def _define(name: str) -> None:
    def operator(method: str) -> Callable[[Any, Any], Any]:
        def apply(a: Any, b: Any) -> Any:
            refuse_lists(b)
            return outer(done(getattr(np.asarray(inner(a)), method), (b,), {}))

        return apply

    setattr(StrictArray, f"__{name}__", operator(f"__{name}__"))
    if hasattr(np.ndarray, f"__r{name}__"):
        setattr(StrictArray, f"__r{name}__", operator(f"__r{name}__"))


for _name in OPERATORS:
    _define(_name)

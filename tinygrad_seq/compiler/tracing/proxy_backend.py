"""What the engine finds for arrays under observation: NumPy's functions, and those in which backends differ."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ...backend import SCALAR, array_module, backend_of, is_array, register
from ...backend import numpy as host
from ...graph.tracing_hook import CompileError
from ..operations import HOLE, UFUNCS
from .proxies import ProxyArray, Viewed

numpy = host.module


class Namespace:
    """NumPy's functions for arrays under observation: what `array_module` gives for one."""

    def __init__(self, tracer: Any) -> None:
        self._tracer = tracer

    def __getattr__(self, name: str) -> Any:
        function = getattr(numpy, name)
        if not callable(function) or isinstance(function, type):
            return function
        made = getattr(self, f"_{name}", None) if not name.startswith("_") else None
        if made is None and name in UFUNCS:
            made = self._ufunc(function.__name__)
        if made is None and name == "errstate":
            made = function
        if made is None:
            made = self._other(name)
        self.__dict__[name] = made
        return made

    def _ufunc(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, out: Any = None, **settings: Any) -> Any:
            if settings:
                raise CompileError(f"compile: numpy.{name} with {sorted(settings)} cannot be recorded; leave them out")
            y = self._tracer.emit(name, *args)
            if out is not None:
                out.become(y)
                return out
            return y

        return call

    def _other(self, name: str) -> Callable[..., Any]:
        """A function that stands as it is in the program; of constants and numbers, a constant."""

        def call(*args: Any, **settings: Any) -> Any:
            places: list[Any] = []

            def lift(x: Any) -> Any:
                if is_array(x) and not isinstance(x, SCALAR):
                    places.append(x)
                    return HOLE
                return type(x)(map(lift, x)) if isinstance(x, (list, tuple)) else x

            pattern, named = [lift(a) for a in args], {k: lift(v) for k, v in settings.items()}

            def applied(*arrays: Any) -> Any:
                rest = iter(arrays)

                def put(x: Any) -> Any:
                    if x is HOLE:
                        return next(rest)
                    return type(x)(map(put, x)) if isinstance(x, (list, tuple)) else x

                xp = array_module(arrays[0]) if arrays else self._tracer.target.xp
                return getattr(xp, name)(*[put(a) for a in pattern], **{k: put(v) for k, v in named.items()})

            if name == "nonzero" and not all(self._tracer.is_constant(p) for p in places):
                places[0]._refuse("the shape of nonzero() depends on values", "use tg.where, or masks")
            direct = len(places) == len(args) == sum([p is HOLE for p in pattern])
            function = partial(getattr(self._tracer.target.xp, name), **settings) if direct else applied
            return self._tracer.emit("call", *places, function=function, name=name)

        return call

    def _where(self, condition: Any, a: Any, b: Any) -> Any:
        condition = self._tracer.traced(condition).astype(host.bool_)  # as NumPy takes numbers there, too
        return self._tracer.emit("where", condition, a, b)

    def _reshape(self, x: Any, shape: Any) -> Any:
        return x.reshape(shape)

    def _transpose(self, x: Any, dims: Any = None) -> Any:
        return x.transpose(dims)

    def _moveaxis(self, x: Any, source: int, destination: int) -> Any:
        dims = [d for d in range(x.ndim) if d != source % x.ndim]
        dims.insert(destination % x.ndim, source % x.ndim)
        return x.transpose(dims)

    def _flip(self, x: Any, axis: Any = None) -> Any:
        axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
        transposed = {d % x.ndim for d in axes}
        return x[tuple([slice(None, None, -1) if d in transposed else slice(None) for d in range(x.ndim)])]

    def _broadcast_to(self, x: Any, shape: Any) -> Any:
        return self._tracer.emit("broadcast", x, shape=tuple(shape))

    def _concatenate(self, xs: Any, axis: int = 0) -> Any:
        return self._tracer.emit("concat", *xs, axis=axis % xs[0].ndim)

    def _stack(self, xs: Any, axis: int = 0) -> Any:
        axis %= xs[0].ndim + 1
        shape = (*xs[0].shape[:axis], 1, *xs[0].shape[axis:])
        if any(x.shape != xs[0].shape for x in xs):
            raise ValueError("all input arrays must have the same shape")
        return self._tracer.emit("concat", *[x.reshape(shape) for x in xs], axis=axis)

    def _zeros_like(self, x: Any, dtype: Any = None) -> Any:
        return self._tracer.backend.full(x.shape, 0, dtype or x.dtype)

    def _ones_like(self, x: Any, dtype: Any = None) -> Any:
        return self._tracer.backend.full(x.shape, 1, dtype or x.dtype)

    def _full_like(self, x: Any, number: Any, shape: Any = None, dtype: Any = None) -> Any:
        ones = self._tracer.backend.full(x.shape if shape is None else shape, 1, dtype or x.dtype)
        return self._tracer.emit("multiply", ones, number)

    def _copyto(self, x: Any, values: Any) -> None:
        new = values.astype(x.dtype)
        x.become(new if new.shape == x.shape else self._broadcast_to(new, x.shape))

    def _ascontiguousarray(self, x: Any) -> Any:
        return x.copy()


class ProxyBackend:
    """What `backend_of` gives for an array under observation."""

    ndarray = ProxyArray

    def __init__(self, tracer: Any) -> None:
        self._tracer = tracer
        self.xp: Namespace = Namespace(tracer)

    def device_name(self, _array: Any) -> str:
        return self._tracer.device or "cpu"

    def asarray(self, data: Any, dtype: Any = None, index: int | None = None) -> Any:
        if not is_array(data) or isinstance(data, SCALAR):
            return self._tracer.made(data, dtype)
        x = self._tracer.traced(data)
        return x if dtype is None else x.astype(dtype)

    def full(self, shape: Any, value: Any, dtype: Any, index: int = 0) -> Any:
        return self._tracer.constant(self._tracer.target.full(shape, value, dtype, self._tracer.index))

    def arange(self, start: Any, stop: Any, step: Any, dtype: Any, index: int = 0) -> Any:
        return self._tracer.constant(self._tracer.target.arange(start, stop, step, dtype, self._tracer.index))

    def to_host(self, array: Any) -> Any:
        return array

    def format_array(self, array: Any, prefix: str, suffix: str) -> str:
        return f"{prefix}<recorded>, shape={array.shape}{suffix}"

    def checksum(self, _array: Any) -> int:
        return 0

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def sigmoid(self, x: Any) -> Any:
        return self._tracer.emit("sigmoid", x.astype(host.float32) if x.dtype.kind in "biu" else x)

    def erf(self, x: Any) -> Any:
        return self._tracer.emit("erf", x)

    def sum_over(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return self._tracer.emit("sum", x, axis=axis, keepdims=keepdims)

    def cumsum(self, x: Any, axis: int) -> Any:
        return self._tracer.emit(
            "call", x, function=lambda x: backend_of(x).cumsum(x, axis), name=f"cumsum over {axis}"
        )

    def concatenate(self, arrays: Any, axis: int) -> Any:
        return self.xp.concatenate(arrays, axis)

    def windows(self, x: Any, axis: int, size: int, step: int) -> Any:
        return self._view("windows", x, axis, size, step)

    def diagonal(self, x: Any, offset: int, axis1: int, axis2: int) -> Any:
        return self._view("diagonal", x, offset, axis1, axis2)

    def _view(self, name: str, x: ProxyArray, *settings: int) -> ProxyArray:
        """What a function of the backend shows of an array."""
        function = getattr(self._tracer.target, name)
        taken = {"function": lambda x: function(x, *settings), "name": name}
        y: ProxyArray = self._tracer.emit("call", x, **taken)
        y.viewed = Viewed(x, x.variable, lambda base: self._view(name, base, *settings), None, ("call", taken))
        return y

    def scatter_add(self, buffer: Any, index: Any, values: Any) -> None:
        keys, arrays = buffer._index(index)
        buffer.become(self._tracer.emit("scatter_add", buffer, values, *arrays, index=keys))

    def verify(self, check: Callable[..., None], *arrays: Any) -> None:
        self._tracer.emit("require", *arrays, check=check)


def enroll(tracer: Any) -> Any:
    """Let the engine take arrays under observation for arrays; the backend for them."""
    backend = ProxyBackend(tracer)
    register(ProxyArray, backend)  # type: ignore[arg-type]
    return backend

"""Arrays under observation: they compute as NumPy's do, and note in the program what was computed."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from ..backend import SCALAR, Array, DType, array_module, backend_of, is_array, register
from ..backend import numpy as host
from ..recording import CompileError
from .operations import HOLE, REDUCTIONS, UFUNCS

numpy = host.module
ndarray = host.ndarray


class Viewed(NamedTuple):
    """What a view is a view of.

    Attributes:
        var: the name that the whole array had when the view was taken.
        again: takes the view once more, of the whole array.
        put: the whole array with other numbers where the view is; None where that cannot be said.
    """

    whole: Any
    var: Any
    again: Callable[[Any], Any]
    put: Callable[[Any, Any], Any] | None = None


def _itself(whole: Any, new: Any = None) -> Any:
    """Of a view that shows all of an array in its shape."""
    return whole if new is None else new


def written_back(op: str, params: dict[str, Any]) -> Callable[[Any, Any], Any] | None:
    """What puts new numbers into the whole array where the view is that this operation takes of it."""
    if op == "slice":
        return lambda whole, new: whole.recorder.emit("update", whole, new, index=params["index"])
    if op == "reshape":
        return lambda whole, new: new.reshape(whole.shape)
    if op == "transpose":
        dims = params["dims"]
        return lambda whole, new: new.transpose(tuple(sorted(range(len(dims)), key=lambda d: dims[d])))
    return None


class Traced:
    """An array of the program being recorded, with the numbers that it has this time.

    Attributes:
        value: the numbers.
        var: its name in the program; an assignment to a part of the array gives it a new one.
        viewed: of a view, what it is a view of.
    """

    __slots__ = ("__weakref__", "recorder", "value", "var", "viewed")

    def __init__(self, recorder: Any, value: Array, var: Any, viewed: Viewed | None = None) -> None:
        self.recorder, self.value, self.var, self.viewed = recorder, value, var, viewed

    # --- what an array says of itself ---

    shape = property(lambda self: self.value.shape)
    dtype = property(lambda self: self.value.dtype)
    ndim = property(lambda self: self.value.ndim)
    size = property(lambda self: self.value.size)
    nbytes = property(lambda self: self.value.nbytes)
    itemsize = property(lambda self: self.value.itemsize)
    flags = property(lambda self: self.value.flags)
    real = property(lambda self: self if self.dtype.kind != "c" else self._part("real"))
    imag = property(lambda self: self._part("imag"))
    T = property(lambda self: self.transpose())
    base = property(lambda self: self.viewed and self.viewed.whole)
    __class__ = property(lambda self: ndarray if self.recorder.home is host else Traced)  # what `isinstance` sees

    def __len__(self) -> int:
        return len(self.value)

    def _part(self, name: str) -> Traced:
        return self.recorder.emit("call", self, function=operator.attrgetter(name), name=name)

    # --- what it cannot say beforehand ---

    def _refuse(self, what: str, cure: str) -> Any:
        raise CompileError(
            f"compile: {what}, which cannot be known before the program runs; {cure} ({self.recorder.line()})"
        )

    def __bool__(self) -> bool:
        return bool(self.item())

    def item(self) -> Any:
        if self._fixed:
            return self.value.item()
        return self._refuse(
            "Python asks for the number in a tensor (.item(), float(), int(), if, while)",
            "use tg.where, return the tensor and ask outside, or leave this part uncompiled",
        )

    __float__ = __int__ = __index__ = __complex__ = item

    def tolist(self) -> Any:
        if self._fixed:
            return self.value.tolist()
        return self._refuse(
            "Python asks for the numbers in a tensor",
            "return the tensor and ask outside; lengths of sequences are better given as a list",
        )

    def __array__(self, *_: Any, **__: Any) -> Any:
        if self._fixed:
            return self.value
        return self._refuse(
            "NumPy asks for the numbers in a tensor", "use tg's functions, or return the tensor and convert it outside"
        )

    tobytes = __array__

    @property
    def _fixed(self) -> bool:
        """Whether the numbers will be these at each call."""
        return bool(self.recorder.is_constant(self))

    def __array_function__(self, function: Any, *_: Any) -> Any:
        return self.__array__()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **settings: Any) -> Any:
        """NumPy's functions of elements, as `np.exp(array)`: recorded."""
        if any(hasattr(x, "array") for x in inputs):
            return NotImplemented  # the tensor's
        if method != "__call__":
            self._refuse(f"NumPy's {ufunc.__name__}.{method} is called on an array", "use tg's functions")
        return getattr(self.recorder.backend.xp, ufunc.__name__)(*inputs, **settings)

    def __getattr__(self, name: str) -> Any:
        """Other methods of arrays."""
        if name not in _METHODS:
            raise AttributeError(f"{name!r} is no attribute of an array that is recorded")

        def call(*args: Any, **settings: Any) -> Traced:
            def applied(x: Any) -> Any:
                y = getattr(x, name)(*args, **settings)
                return backend_of(x).asarray(y)

            made: Traced = self.recorder.emit("call", self, function=applied, name=name)
            return made

        return call

    # --- arranging ---

    def reshape(self, *shape: Any, **_: Any) -> Traced:
        given = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        with self.recorder.home.on(self.recorder.index):
            value = self.value.reshape(given)
        if value.shape == self.shape:
            return Traced(self.recorder, self.value, self.var, Viewed(self, self.var, _itself, _itself))
        return self.recorder.emit("reshape", self, shape=value.shape)

    def transpose(self, *dims: Any) -> Traced:
        given = dims[0] if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims
        order = tuple([d % self.ndim for d in given]) if given and given[0] is not None else range(self.ndim)[::-1]
        return self.recorder.emit("transpose", self, dims=tuple(order))

    def view(self, *kind: Any) -> Traced:
        if not kind:  # a tensor on its way to NumPy
            return self.__array__().view()
        name = str(kind[0])
        return self.recorder.emit("call", self, function=lambda x: x.view(name), name=f"view as {name}")

    def refresh(self) -> Traced:
        """This array, with the numbers that it has now: a view is taken once more if what it shows was written to."""
        viewed = self.viewed
        if viewed is not None:
            whole = viewed.whole.refresh()
            if whole.var is not viewed.var:
                again = viewed.again(whole)
                self.value, self.var = again.value, again.var
                self.viewed = viewed._replace(var=whole.var)
        return self

    def copy(self, *_: Any) -> Traced:
        self.refresh()
        return Traced(self.recorder, self.value, self.var)  # nothing is ever written in place

    def astype(self, kind: DType, copy: bool = True) -> Traced:
        kind = host.dtype(kind)
        return self.copy() if kind == self.dtype else self.recorder.emit("cast", self, dtype=kind)

    def argsort(self, axis: int = -1, kind: str | None = None) -> Traced:
        return self.recorder.emit(
            "call", self, function=lambda x: x.argsort(axis=axis, kind=kind), name=f"argsort over {axis}"
        )

    def round(self, decimals: int = 0) -> Traced:
        return self.recorder.emit("call", self, function=lambda x: x.round(decimals), name="round")

    # --- indexing ---

    def __getitem__(self, key: Any) -> Traced:
        index, arrays = self._index(key)
        if arrays:
            taken: Traced = self.recorder.emit("take", self, *arrays, index=index)
            if all(a.ndim == 0 and a.dtype.kind in "iu" for a in arrays):  # which are numbers: a view of a place
                taken.viewed = Viewed(
                    self,
                    self.var,
                    lambda whole: self.recorder.emit("take", whole, *arrays, index=index),
                    lambda whole, new: self.recorder.emit("update", whole, new, *arrays, index=index),
                )
            return taken
        index = index if Ellipsis in index else (*index, Ellipsis)  # with the dots, a view also where it is 0-d
        return self.recorder.emit("slice", self, index=index)

    def __setitem__(self, key: Any, value: Any) -> None:
        index, arrays = self._index(key)
        if isinstance(value, Traced) and value.dtype != self.dtype:
            value = value.astype(self.dtype)
        self.become(self.recorder.emit("update", self, value, *arrays, index=index))

    def become(self, new: Traced) -> None:
        """Have the numbers of another array from now on."""
        if self.viewed is not None:
            whole, put = self.viewed.whole.refresh(), self.viewed.put
            if put is None:
                self._refuse("a view is written to", "write to the whole array, or put the parts together with cat()")
            else:
                whole.become(put(whole, new))
            self.viewed = self.viewed._replace(var=whole.var)
        self.value, self.var = new.value, new.var

    def _index(self, key: Any) -> tuple[tuple[Any, ...], list[Any]]:
        index, arrays = [], []
        for k in key if isinstance(key, tuple) else (key,):
            if isinstance(k, list):
                k = self.recorder.made(k)
            if is_array(k):
                k = self.recorder.traced(k)
                if k.dtype.kind == "b" and not self.recorder.is_constant(k):
                    self._refuse("a tensor of booleans picks elements", "use tg.where or masked_fill")
                arrays.append(k)
                index.append(HOLE)
            else:
                index.append(k)
        return tuple(index), arrays


_METHODS = {
    "mean",
    "std",
    "var",
    "cumprod",
    "clip",
    "squeeze",
    "ravel",
    "flatten",
    "swapaxes",
    "repeat",
    "trace",
    "conj",
}


def _operator(function: Any, swapped: bool = False) -> Callable[..., Any]:
    name = function.__name__

    def method(self: Traced, other: Any) -> Any:
        if hasattr(other, "array"):
            return NotImplemented  # a tensor's operator answers
        return self.recorder.emit(name, other, self) if swapped else self.recorder.emit(name, self, other)

    return method


def _in_place(function: Any) -> Callable[..., Any]:
    operation = _operator(function)

    def method(self: Traced, other: Any) -> Any:
        new = operation(self, other)
        if new is NotImplemented:
            return new
        self.become(new.astype(self.dtype))
        return self

    return method


_BINARY = {
    "add": numpy.add, "sub": numpy.subtract, "mul": numpy.multiply, "truediv": numpy.true_divide, "pow": numpy.power,
    "floordiv": numpy.floor_divide, "mod": numpy.remainder, "and": numpy.bitwise_and, "or": numpy.bitwise_or,
    "xor": numpy.bitwise_xor, "rshift": numpy.right_shift, "lshift": numpy.left_shift, "matmul": numpy.matmul,
}  # fmt: skip
for _name, _ufunc in _BINARY.items():
    setattr(Traced, f"__{_name}__", _operator(_ufunc))
    setattr(Traced, f"__r{_name}__", _operator(_ufunc, swapped=True))
    setattr(Traced, f"__i{_name}__", _in_place(_ufunc))
for _name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"):
    _short = {"equal": "eq", "not_equal": "ne", "less": "lt", "less_equal": "le", "greater": "gt"}.get(_name, "ge")
    setattr(Traced, f"__{_short}__", _operator(getattr(numpy, _name)))
for _name, _ufunc in {"neg": numpy.negative, "invert": numpy.invert, "abs": numpy.absolute}.items():
    setattr(Traced, f"__{_name}__", lambda self, _n=_ufunc.__name__: self.recorder.emit(_n, self))
Traced.__hash__ = object.__hash__  # type: ignore[method-assign]


def _reduction(name: str) -> Callable[..., Any]:
    def method(self: Traced, axis: Any = None, keepdims: bool = False) -> Any:
        return self.recorder.emit(name, self, axis=axis, keepdims=keepdims)

    return method


for _name in REDUCTIONS:
    setattr(Traced, _name, _reduction(_name))


class Namespace:
    """NumPy's functions for arrays under observation: what `array_module` gives for one."""

    def __init__(self, recorder: Any) -> None:
        self._recorder = recorder

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
            y = self._recorder.emit(name, *args)
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

                xp = array_module(arrays[0]) if arrays else self._recorder.home.xp
                return getattr(xp, name)(*[put(a) for a in pattern], **{k: put(v) for k, v in named.items()})

            if name == "nonzero" and not all(self._recorder.is_constant(p) for p in places):
                places[0]._refuse("the shape of nonzero() depends on values", "use tg.where, or masks")
            direct = len(places) == len(args) == sum([p is HOLE for p in pattern])
            function = partial(getattr(self._recorder.home.xp, name), **settings) if direct else applied
            return self._recorder.emit("call", *places, function=function, name=name)

        return call

    def _where(self, condition: Any, a: Any, b: Any) -> Any:
        condition = self._recorder.traced(condition).astype(host.bool_)  # as NumPy takes numbers there, too
        return self._recorder.emit("where", condition, a, b)

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
        turned = {d % x.ndim for d in axes}
        return x[tuple([slice(None, None, -1) if d in turned else slice(None) for d in range(x.ndim)])]

    def _broadcast_to(self, x: Any, shape: Any) -> Any:
        return self._recorder.emit("broadcast", x, shape=tuple(shape))

    def _concatenate(self, xs: Any, axis: int = 0) -> Any:
        return self._recorder.emit("concat", *xs, axis=axis % xs[0].ndim)

    def _stack(self, xs: Any, axis: int = 0) -> Any:
        axis %= xs[0].ndim + 1
        shape = (*xs[0].shape[:axis], 1, *xs[0].shape[axis:])
        if any(x.shape != xs[0].shape for x in xs):
            raise ValueError("all input arrays must have the same shape")
        return self._recorder.emit("concat", *[x.reshape(shape) for x in xs], axis=axis)

    def _zeros_like(self, x: Any, dtype: Any = None) -> Any:
        return self._recorder.backend.full(x.shape, 0, dtype or x.dtype)

    def _ones_like(self, x: Any, dtype: Any = None) -> Any:
        return self._recorder.backend.full(x.shape, 1, dtype or x.dtype)

    def _full_like(self, x: Any, number: Any, shape: Any = None, dtype: Any = None) -> Any:
        whole = self._recorder.backend.full(x.shape if shape is None else shape, 1, dtype or x.dtype)
        return self._recorder.emit("multiply", whole, number)

    def _copyto(self, x: Any, values: Any) -> None:
        new = values.astype(x.dtype)
        x.become(new if new.shape == x.shape else self._broadcast_to(new, x.shape))

    def _ascontiguousarray(self, x: Any) -> Any:
        return x.copy()


class TracedBackend:
    """What `backend_of` gives for an array under observation."""

    ndarray = Traced

    def __init__(self, recorder: Any) -> None:
        self._recorder = recorder
        self.xp = Namespace(recorder)

    def device_name(self, _array: Any) -> str:
        return self._recorder.device or "cpu"

    def asarray(self, data: Any, dtype: Any = None, index: int | None = None) -> Any:
        if not is_array(data) or isinstance(data, SCALAR):
            return self._recorder.made(data, dtype)
        x = self._recorder.traced(data)
        return x if dtype is None else x.astype(dtype)

    def full(self, shape: Any, value: Any, dtype: Any, index: int = 0) -> Any:
        return self._recorder.constant(self._recorder.home.full(shape, value, dtype, self._recorder.index))

    def arange(self, start: Any, stop: Any, step: Any, dtype: Any, index: int = 0) -> Any:
        return self._recorder.constant(self._recorder.home.arange(start, stop, step, dtype, self._recorder.index))

    def to_host(self, array: Any) -> Any:
        return array

    def format_array(self, array: Any, prefix: str, suffix: str) -> str:
        return f"{prefix}<recorded>, shape={array.shape}{suffix}"

    def checksum(self, _array: Any) -> int:
        return 0

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def sigmoid(self, x: Any) -> Any:
        return self._recorder.emit("sigmoid", x.astype(host.float32) if x.dtype.kind in "biu" else x)

    def erf(self, x: Any) -> Any:
        return self._recorder.emit("erf", x)

    def sum_over(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return self._recorder.emit("sum", x, axis=axis, keepdims=keepdims)

    def cumsum(self, x: Any, axis: int) -> Any:
        return self._recorder.emit(
            "call", x, function=lambda x: backend_of(x).cumsum(x, axis), name=f"cumsum over {axis}"
        )

    def concatenate(self, arrays: Any, axis: int) -> Any:
        return self.xp.concatenate(arrays, axis)

    def windows(self, x: Any, axis: int, size: int, step: int) -> Any:
        return self._view("windows", x, axis, size, step)

    def diagonal(self, x: Any, offset: int, axis1: int, axis2: int) -> Any:
        return self._view("diagonal", x, offset, axis1, axis2)

    def _view(self, name: str, x: Traced, *settings: int) -> Traced:
        """What a function of the backend shows of an array."""
        function = getattr(self._recorder.home, name)
        y: Traced = self._recorder.emit("call", x, function=lambda x: function(x, *settings), name=name)
        y.viewed = Viewed(x, x.var, lambda whole: self._view(name, whole, *settings))
        return y

    def scatter_add(self, buffer: Any, index: Any, values: Any) -> None:
        keys, arrays = buffer._index(index)
        buffer.become(self._recorder.emit("scatter_add", buffer, values, *arrays, index=keys))

    def verify(self, check: Callable[..., None], *arrays: Any) -> None:
        self._recorder.emit("require", *arrays, check=check)


def enroll(recorder: Any) -> Any:
    """Let the engine take arrays under observation for arrays; the backend for them."""
    backend = TracedBackend(recorder)
    register(Traced, backend)  # type: ignore[arg-type]
    return backend

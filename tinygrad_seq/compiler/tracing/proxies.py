"""Arrays under observation: they compute as NumPy's do, and note in the program what was computed."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import ref

from ...backend import Array, DType, array_module, backend_of, is_array
from ...backend import numpy as host
from ...backend.dispatch import at
from ...graph.tracing_hook import CompileError
from ..operations import HOLE, REDUCTIONS

numpy = host.module
ndarray = host.ndarray


class Viewed(NamedTuple):
    """What a view is a view of.

    Attributes:
        var: the Var that the base was when the view was taken.
        again: takes the view once more, of the base.
        put: the base with other values where the view is; None where that cannot be said.
        taken: the operation of one array that takes it, with its settings; "" for all of the base in its shape.
    """

    base: Any
    var: Any
    again: Callable[[Any], Any]
    put: Callable[[Any, Any], Any] | None = None
    taken: tuple[str, dict[str, Any]] | None = None


def _laid_out(new: Array, old: Array) -> Array:
    """Numbers in memory as those that they replace: by that it is decided what of them is a view."""
    if new.strides == old.strides:
        return new
    with at(old):
        made = array_module(old).empty_like(old)
        made[...] = new
    return made


def _itself(base: Any, new: Any = None) -> Any:
    """Of a view that shows all of an array in its shape."""
    return base if new is None else new


def written_back(op: str, params: dict[str, Any]) -> Callable[[Any, Any], Any] | None:
    """What puts new numbers into the base where the view is that this operation takes of it."""
    if op == "slice":
        return lambda base, new: base.tracer.emit("update", base, new, index=params["index"])
    if op == "reshape":
        return lambda base, new: new.reshape(base.shape)
    if op == "transpose":
        dims = params["dims"]
        return lambda base, new: new.transpose(tuple(sorted(range(len(dims)), key=lambda d: dims[d])))
    return None


class ProxyArray:
    """An array of the program being recorded, with the numbers that it has this time.

    Attributes:
        value: the numbers.
        var: its name in the program; an assignment to a part of the array gives it a new one.
        viewed: of a view, what it is a view of.
    """

    __slots__ = ("__weakref__", "tracer", "value", "variable", "viewed")
    tracer: Any
    value: Array
    variable: Any

    def __init__(self, tracer: Any, value: Array, var: Any, viewed: Viewed | None = None) -> None:
        self.tracer, self.value, self.variable, self.viewed = tracer, value, var, viewed
        tracer.made_here.append(ref(self))

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
    base = property(lambda self: self.viewed and self.viewed.base)
    __class__ = property(lambda self: ndarray if self.tracer.target is host else ProxyArray)  # what `isinstance` sees

    def __len__(self) -> int:
        return len(self.value)

    def _part(self, name: str) -> ProxyArray:
        return self.tracer.emit("call", self, function=operator.attrgetter(name), name=name)

    # --- what it cannot say beforehand ---

    def _refuse(self, what: str, cure: str) -> Any:
        raise CompileError(
            f"compile: {what}, which cannot be known before the program runs; {cure} ({self.tracer.line()})"
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
        return self._refuse("Python asks for the numbers in a tensor", "return the tensor and ask outside")

    def __array__(self, *_: Any, **__: Any) -> Any:
        if self._fixed:
            return self.value
        return self._refuse(
            "NumPy asks for the numbers in a tensor", "use tg's functions, or return the tensor and convert it outside"
        )

    tobytes = __array__

    def __deepcopy__(self, _: Any) -> ProxyArray:
        return self.copy()

    def __reduce_ex__(self, _: Any) -> Any:
        return self._refuse("a tensor is pickled", "return the tensor and pickle it outside")

    @property
    def _fixed(self) -> bool:
        """Whether the numbers will be these at each call."""
        return bool(self.tracer.is_constant(self))

    def __array_function__(self, function: Any, *_: Any) -> Any:
        return self.__array__()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **settings: Any) -> Any:
        """NumPy's functions of elements, as `np.exp(array)`: recorded."""
        if any(hasattr(x, "array") for x in inputs):
            return NotImplemented  # the tensor's
        (out,) = settings.pop("out", (None,)) if ufunc.nout == 1 else (None,)
        if method != "__call__" or not (out is None or type(out) is ProxyArray):
            self._refuse(f"NumPy's {ufunc.__name__}.{method} is called on an array", "use tg's functions")
        return getattr(self.tracer.backend.xp, ufunc.__name__)(*inputs, out=out, **settings)

    def __getattr__(self, name: str) -> Any:
        """Other methods of arrays."""
        if name not in _METHODS:
            raise AttributeError(f"{name!r} is no attribute of an array that is recorded")

        def call(*args: Any, **settings: Any) -> ProxyArray:
            if any(is_array(x) for x in (*args, *settings.values())):
                self._refuse(f"an array is given to the method {name} of another one", "use tg's functions")

            def applied(x: Any) -> Any:
                y = getattr(x, name)(*args, **settings)
                return backend_of(x).asarray(y)

            made: ProxyArray = self.tracer.emit("call", self, function=applied, name=name)
            return made

        return call

    # --- arranging ---

    def reshape(self, *shape: Any, **_: Any) -> ProxyArray:
        given = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        with self.tracer.target.on(self.tracer.index):
            value = self.value.reshape(given)
        if value.shape == self.shape:
            itself = Viewed(self, self.variable, _itself, _itself, ("", {}))
            return ProxyArray(self.tracer, self.value, self.variable, itself)
        return self.tracer.emit("reshape", self, shape=value.shape)

    def transpose(self, *dims: Any) -> ProxyArray:
        given = dims[0] if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims
        order = tuple([d % self.ndim for d in given]) if given and given[0] is not None else range(self.ndim)[::-1]
        return self.tracer.emit("transpose", self, dims=tuple(order))

    def view(self, *kind: Any) -> ProxyArray:
        if not kind:  # a tensor on its way to NumPy
            return self.__array__().view()
        name = str(kind[0])
        return self.tracer.emit("call", self, function=lambda x: x.view(name), name=f"view as {name}")

    def refresh(self) -> ProxyArray:
        """This array, with the numbers that it has now: a view is taken once more if its base was written to."""
        viewed = self.viewed
        if viewed is not None:
            base = viewed.base.refresh()
            if base.variable is not viewed.var:
                again = viewed.again(base)
                self.value, self.variable = again.value, again.variable
                self.viewed = viewed._replace(var=base.variable)
        return self

    def copy(self, *_: Any) -> ProxyArray:
        self.refresh()
        value = self.value
        if not self.flags.c_contiguous:
            with at(value):
                value = value.copy()
        return ProxyArray(self.tracer, value, self.variable)  # nothing is ever written in place

    def astype(self, kind: DType, copy: bool = True) -> ProxyArray:
        kind = host.dtype(kind)
        if kind != self.dtype:
            return self.tracer.emit("cast", self, dtype=kind)
        self.refresh()
        if self.flags.c_contiguous:
            return self.copy()
        with at(self.value):
            return ProxyArray(self.tracer, self.value.astype(kind), self.variable)

    def argsort(self, axis: int = -1, kind: str | None = None) -> ProxyArray:
        return self.tracer.emit(
            "call", self, function=lambda x: x.argsort(axis=axis, kind=kind), name=f"argsort over {axis}"
        )

    def round(self, decimals: int = 0) -> ProxyArray:
        return self.tracer.emit("call", self, function=lambda x: x.round(decimals), name="round")

    # --- indexing ---

    def __getitem__(self, key: Any) -> ProxyArray:
        index, arrays = self._index(key)
        if arrays:
            arrays = [a.copy() for a in arrays]  # with the numbers of now
            taken: ProxyArray = self.tracer.emit("take", self, *arrays, index=index)
            if all(a.ndim == 0 and a.dtype.kind in "iu" for a in arrays):  # which are numbers: a view of a place
                taken.viewed = Viewed(
                    self,
                    self.variable,
                    lambda base: self.tracer.emit("take", base, *arrays, index=index),
                    lambda base, new: self.tracer.emit("update", base, new, *arrays, index=index),
                )
            return taken
        index = index if Ellipsis in index else (*index, Ellipsis)  # with the dots, a view also where it is 0-d
        return self.tracer.emit("slice", self, index=index)

    def __setitem__(self, key: Any, value: Any) -> None:
        mask = key[0] if isinstance(key, tuple) and len(key) == 1 else key
        if is_array(mask) and mask.dtype.kind == "b" and mask.ndim and not getattr(value, "ndim", 0):
            self._fill(mask, value)
            return
        index, arrays = self._index(key)
        if isinstance(value, ProxyArray) and value.dtype != self.dtype:
            value = value.astype(self.dtype)
        self.become(self.tracer.emit("update", self, value, *arrays, index=index))

    def _fill(self, mask: Any, value: Any) -> None:
        """One number where a mask is true: however often that is."""
        if mask.shape != self.shape[: mask.ndim]:
            raise IndexError(f"a mask of shape {mask.shape} does not fit an array of shape {self.shape}")
        where = self.tracer.traced(mask).reshape(*mask.shape, *[1] * (self.ndim - mask.ndim))
        value = value.astype(self.dtype) if is_array(value) else self.tracer.made(value, self.dtype)
        self.become(self.tracer.emit("where", where, value, self))

    def become(self, new: ProxyArray) -> None:
        """Have the numbers of another array from now on."""
        if self.viewed is not None:
            base, put = self.viewed.base.refresh(), self.viewed.put
            if put is None:
                self._refuse("a view is written to", "write to the whole array, or put the parts together with cat()")
            else:
                base.become(put(base, new))
            self.viewed = self.viewed._replace(var=base.variable)
            if not self.flags.c_contiguous:
                new = ProxyArray(self.tracer, self.viewed.again(base).value, new.variable)
        self.value, self.variable = _laid_out(new.value, self.value), new.variable

    def _index(self, key: Any) -> tuple[tuple[Any, ...], list[Any]]:
        index, arrays = [], []
        for k in key if isinstance(key, tuple) else (key,):
            if isinstance(k, list):
                k = self.tracer.made(k)
            if is_array(k):
                k = self.tracer.traced(k)
                if k.dtype.kind == "b" and not self.tracer.is_constant(k):
                    self._refuse("a tensor of booleans picks elements", "use tg.where or masked_fill")
                arrays.append(k)
                index.append(HOLE)
            else:
                index.append(k)
        return tuple(index), arrays


_METHODS = {"mean", "std", "var", "cumprod", "clip", "flatten", "repeat", "trace"}  # whose results are no views


def _operator(function: Any, swapped: bool = False) -> Callable[..., Any]:
    name = function.__name__

    def method(self: ProxyArray, other: Any) -> Any:
        if hasattr(other, "array"):
            return NotImplemented  # a tensor's operator answers
        return self.tracer.emit(name, other, self) if swapped else self.tracer.emit(name, self, other)

    return method


def _in_place(function: Any) -> Callable[..., Any]:
    operation = _operator(function)

    def method(self: ProxyArray, other: Any) -> Any:
        new = operation(self, other)
        if new is NotImplemented:
            return new
        if new.shape != self.shape or not numpy.can_cast(new.dtype, self.dtype, "same_kind"):
            raise TypeError(
                f"a result of shape {new.shape} and {new.dtype} does not fit in place of {self.dtype}{self.shape}"
            )
        self.become(new.astype(self.dtype))
        return self

    return method


_BINARY = {
    "add": numpy.add, "sub": numpy.subtract, "mul": numpy.multiply, "truediv": numpy.true_divide, "pow": numpy.power,
    "floordiv": numpy.floor_divide, "mod": numpy.remainder, "and": numpy.bitwise_and, "or": numpy.bitwise_or,
    "xor": numpy.bitwise_xor, "rshift": numpy.right_shift, "lshift": numpy.left_shift, "matmul": numpy.matmul,
}  # fmt: skip
for _name, _ufunc in _BINARY.items():
    setattr(ProxyArray, f"__{_name}__", _operator(_ufunc))
    setattr(ProxyArray, f"__r{_name}__", _operator(_ufunc, swapped=True))
    setattr(ProxyArray, f"__i{_name}__", _in_place(_ufunc))
for _name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"):
    _short = {"equal": "eq", "not_equal": "ne", "less": "lt", "less_equal": "le", "greater": "gt"}.get(_name, "ge")
    setattr(ProxyArray, f"__{_short}__", _operator(getattr(numpy, _name)))
for _name, _ufunc in {"neg": numpy.negative, "invert": numpy.invert, "abs": numpy.absolute}.items():
    setattr(ProxyArray, f"__{_name}__", lambda self, _n=_ufunc.__name__: self.tracer.emit(_n, self))
ProxyArray.__hash__ = object.__hash__  # type: ignore[method-assign]


def _reduction(name: str) -> Callable[..., Any]:
    def method(self: ProxyArray, axis: Any = None, keepdims: bool = False) -> Any:
        return self.tracer.emit(name, self, axis=axis, keepdims=keepdims)

    return method


for _name in REDUCTIONS:
    setattr(ProxyArray, _name, _reduction(_name))

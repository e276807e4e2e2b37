"""An array type that behaves as CuPy's does, on a machine without a GPU.

It is no ndarray, refuses to become one silently, keeps 0-d results as arrays of its own, is refused by NumPy's
functions, and does not mix with NumPy arrays. `installed()` makes the engine treat it as an array of device "cuda:0".

It can be captured, too: while `StrictBackend.capture` runs a function, nothing is computed, and what is asked for has
nan in it; launching does it all again in the same memory. Asking for numbers meanwhile is an error, as it is on a GPU.

With TINYGRAD_SEQ_TEST_DEVICE=cuda (`make test-gpu`) the tests that use it run on a GPU instead.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import numpy as np
import pytest

from tinygrad_seq import backend
from tinygrad_seq.backend import cuda_sources
from tinygrad_seq.backend import numpy as host
from tinygrad_seq.backend.pytree import tree_map
from tinygrad_seq.graph.tracing_hook import CompileError

from .host_kernels import COMPILER, compile_for_host

device_module: Any = sys.modules["tinygrad_seq.graph.device"]
cuda_module: Any = sys.modules["tinygrad_seq.cuda"]
_WORDS = "add sub mul truediv floordiv mod pow matmul and or xor rshift eq ne lt le gt ge"
OPERATORS = _WORDS.split()
PLAIN = (int, float, complex, list, tuple)
_known: WeakValueDictionary[int, StrictArray] = WeakValueDictionary()  # those that own memory, by the array inside
current = [0]  # the device on which operations run
captured: list[list[Callable[[], Any]]] = []  # what the graph being captured is to do
DEVICE = os.environ.get("TINYGRAD_SEQ_TEST_DEVICE", "")  # on which tests run: "strict", "cuda", or nothing: the CPU
REAL = DEVICE == "cuda"  # a GPU takes the stand-in's place
stand_in_only = pytest.mark.skipif(REAL, reason="asks the stand-in what a GPU does not tell")


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
            _known[id(hidden)] = self
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
        known = _known.get(id(below))
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


class Namespace:
    """NumPy's functions for strict arrays; as CuPy has them, where that differs."""

    @staticmethod
    def unravel_index(indices: Any, shape: Any) -> Any:
        if not isinstance(indices, StrictArray):
            raise TypeError("unravel_index: takes an array")
        return outer(done(np.unravel_index, (indices, shape), {}))

    @staticmethod
    def full_like(x: Any, value: Any, dtype: Any = None, shape: Any = None) -> Any:
        return outer(done(np.full_like, (x, value), {"dtype": dtype, "shape": shape or x.shape}))

    @property
    def linalg(self) -> Any:
        return Namespace(np.linalg)

    def __init__(self, functions: Any = np) -> None:
        self._functions = functions

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._functions, name)
        if not callable(value) or isinstance(value, type):
            return value
        if name == "sign":
            return lambda x: outer(done(value, (x,), {})) if x.dtype.kind != "b" else x.copy()  # CuPy's takes booleans

        def call(*args: Any, **kwargs: Any) -> Any:
            if isinstance(value, np.ufunc):
                refuse_lists(*args)
            return outer(done(value, args, kwargs))

        return call


class StrictBackend:
    """The functions of a backend module."""

    xp = Namespace()
    ndarray = StrictArray

    def __init__(self, count: int = 1) -> None:
        self.count = count  # of GPUs
        self.launches = 0  # of kernels and graphs
        self.graphs = 0
        self.sent: list[Any] = []  # what was fetched from pinned memory
        self._pinned: list[Any] = []
        self.most = 0  # bytes at the peak

    @staticmethod
    def device_name(array: Any) -> str:
        return f"cuda:{array.index}"

    @staticmethod
    def asarray(data: Any, dtype: Any = None, index: int | None = None) -> Any:
        refuse()
        at = index if index is not None else data.index if isinstance(data, StrictArray) else current[0]
        if isinstance(data, StrictArray) and (dtype is None or data.dtype == dtype) and data.index == at:
            return data
        with StrictBackend.on(at):
            found = data.hidden if isinstance(data, StrictArray) else data
            made = np.array(found if isinstance(data, PLAIN) else np.asarray(found), dtype=dtype)
            if made.dtype.kind not in "biufc":
                raise ValueError(f"Unsupported dtype {made.dtype}")
            return StrictArray(made)

    @staticmethod
    def to_host(array: Any) -> Any:
        refuse()
        return array.hidden.copy()

    @staticmethod
    def scatter_add(buffer: Any, index: Any, values: Any) -> None:
        buffer, index, values = buffer.hidden, inner(index), inner(values)
        if captured:
            captured[-1].append(lambda: host.scatter_add(buffer, index, values))
        else:
            host.scatter_add(buffer, index, values)

    @staticmethod
    def address(array: Any) -> int:
        return int(array.hidden.__array_interface__["data"][0])

    @staticmethod
    def device_index(array: Any) -> int:
        return int(array.index)

    @staticmethod
    @contextmanager
    def on(index: int) -> Iterator[None]:
        before, current[0] = current[0], index
        try:
            yield
        finally:
            current[0] = before

    def device_count(self) -> int:
        return self.count

    @staticmethod
    def current_device() -> int:
        return current[0]

    def use(self, index: int) -> None:
        assert 0 <= index < self.count
        current[0] = index

    @staticmethod
    def memory_allocated(index: int) -> int:
        return sum(array.hidden.nbytes for array in [*_known.values()])

    def peak(self, index: int) -> int:
        return max(self.most, self.memory_allocated(index))

    def reset_peak(self, index: int) -> None:
        self.most = 0

    def pinned(self, array: Any) -> Any:
        self._pinned.append(array.copy())
        return self._pinned[-1]

    def is_pinned(self, array: Any) -> bool:
        return any(array is known for known in self._pinned)

    def send(self, array: Any, index: int = 0) -> Any:
        if self.is_pinned(array):
            self.sent.append(array)
        return self.asarray(array, None, index)

    @staticmethod
    def empty(shape: Any, dtype: Any, index: int = 0) -> Any:
        with StrictBackend.on(index):
            return StrictArray(np.full(shape, 0xAB, np.dtype(dtype)))  # whatever is there

    @staticmethod
    def upload(target: Any, numbers: Any) -> None:
        refuse()
        target.hidden[: len(numbers)] = numbers

    @staticmethod
    def launches_elements() -> bool:
        return True

    def elementwise(self, kernel: Any, arrays: tuple[Any, ...]) -> Callable[[tuple[Any, ...]], Any]:
        lying = [(a.shape, a.strides) for a in arrays]
        shape = np.broadcast_shapes(*[a.shape for a in arrays])

        def launch(arrays: tuple[Any, ...]) -> Any:
            assert [(a.shape, a.strides) for a in arrays] == lying
            self.launches += 1
            each = [lambda *arrays, k=k: kernel.on_arrays(*arrays)[k] for k in range(len(kernel.outputs))]
            made = [outer(done(one, arrays, {})) for one in each]
            assert all(y.shape == shape for y in made)
            return tuple(made) if len(made) > 1 else made[0]

        return launch

    @staticmethod
    def product(a: Any, b: Any, out: Any) -> None:
        done(np.matmul, (a, b), {"out": out})

    def kernels(self, source: str, names: set[str], index: int = 0) -> dict[str, Any]:
        if COMPILER is None:
            raise CompileError("no g++, which stands in for a GPU's compiler here")
        made = compile_for_host(source, names)

        def launcher(launch: Any) -> Any:
            def call(blocks: int, threads: int, addresses: list[int]) -> None:
                if captured:
                    captured[-1].append(lambda: launch(blocks, threads, addresses))
                else:
                    self.launches += 1
                    launch(blocks, threads, addresses)

            return call

        return {name: launcher(launch) for name, launch in made.items()}

    def capture(self, function: Callable[[], Any], index: int = 0) -> Callable[[], None]:
        captured.append([])
        try:
            function()
        finally:
            graph = captured.pop()
        self.graphs += 1

        def launch() -> None:
            self.launches += 1
            for step in graph:
                step()

        return launch

    def random_bits_at(self, table: Any, seed: int, offset: int, count: int, out: Any) -> None:
        launch = self.kernels(cuda_sources.PHILOX, {"tg_philox_at"})["tg_philox_at"]
        blocks = ((count + 7) // 8 + 255) // 256
        launch(blocks, 256, [self.address(table), seed, offset, count, self.address(out)])

    def __getattr__(self, name: str) -> Any:
        """Creation, random numbers and the functions of one array."""
        value = getattr(host, name)
        if name not in ("full", "arange", "random_bits"):
            return lambda *args, **kwargs: outer(done(value, args, kwargs))

        def make(*args: Any, **kwargs: Any) -> Any:
            given = inspect.signature(value).bind(*args, **kwargs).arguments
            with self.on(given.get("index", 0)):
                return outer(done(value, args, kwargs))

        return make


def is_on_device(array: Any) -> bool:
    """Whether an array is the GPU's, or the stand-in's."""
    return isinstance(array, device_module.device("cuda").backend_module.ndarray)


def assert_same(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    """Lists of numbers: the same bits on the stand-in, and on a GPU the same up to rounding."""
    if not REAL:
        assert a == b
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y, rtol, atol)
    else:
        np.testing.assert_allclose(b, a, rtol=rtol, atol=atol)


@contextmanager
def installed(count: int = 1) -> Iterator[Any]:
    """The engine knows strict arrays, and takes them for those of so many GPUs."""
    if REAL:
        yield device_module.device("cuda").backend_module
        return
    module: Any = StrictBackend(count)
    before = device_module.backend_for

    def backend_for(device_type: str, index: int = 0) -> Any:
        if index >= count:
            raise RuntimeError(f"device 'cuda:{index}': there is none; this machine has cuda:0")
        return module if device_type == "cuda" else before(device_type)

    known = dict(backend._BY_ARRAY_TYPE)
    backend.register(StrictArray, module)
    before_us, backend.on_gpu[:] = [*backend.on_gpu], [module]
    backend.several_gpus.extend([module] * (count > 1))
    device_module.backend_for = cuda_module.backend_for = backend_for
    try:
        yield module
    finally:
        device_module.backend_for = cuda_module.backend_for = before
        backend._BY_ARRAY_TYPE.clear()
        backend._BY_ARRAY_TYPE.update(known)
        backend.on_gpu[:] = before_us
        backend.several_gpus.clear()

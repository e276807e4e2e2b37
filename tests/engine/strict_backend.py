"""A backend of strict arrays: `installed()` makes the engine treat them as arrays of device "cuda:0".

It can be captured, as a GPU's stream: while `StrictBackend.capture` runs a function, nothing is computed, and what is
asked for has nan in it; launching does it all again in the same memory. Asking for numbers meanwhile is an error.

With TINYGRAD_SEQ_TEST_DEVICE=cuda (`make test-gpu`) the tests that use it run on a GPU instead.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from tinygrad_seq import backend
from tinygrad_seq.backend import cuda_sources
from tinygrad_seq.backend import numpy as host
from tinygrad_seq.graph.tracing_hook import CompileError

from .host_kernels import COMPILER, compile_for_host
from .strict_array import StrictArray, captured, current, done, inner, outer, owners, refuse, refuse_lists

device_module: Any = sys.modules["tinygrad_seq.graph.device"]
cuda_module: Any = sys.modules["tinygrad_seq.cuda"]


PLAIN = (int, float, complex, list, tuple)


DEVICE = os.environ.get("TINYGRAD_SEQ_TEST_DEVICE", "")  # on which tests run: "strict", "cuda", or nothing: the CPU
REAL = DEVICE == "cuda"  # a GPU takes the stand-in's place
stand_in_only = pytest.mark.skipif(REAL, reason="asks the stand-in what a GPU does not tell")


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
        return sum(array.hidden.nbytes for array in [*owners.values()])

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

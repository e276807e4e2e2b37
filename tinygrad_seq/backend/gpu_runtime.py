"""The GPU itself: its memory, copies from and to the host, kernels from text, graphs, and products."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

import cupy as xp
import numpy

from . import cublas
from .gpu_allocator import Allocator

_OPTIONS = ("--std=c++17",)
_products: dict[int, Any] = {}


def address(array: Any) -> int:
    """Where in the device's memory an array begins."""
    return int(array.data.ptr)


def device_index(array: Any) -> int:
    """Which GPU an array is on."""
    return int(array.data.device_id)


def on(index: int) -> Any:
    """A context in which this GPU is the current one."""
    return xp.cuda.Device(index)


def empty(shape: tuple[int, ...], dtype: Any, index: int = 0) -> Any:
    """An array of whatever is there."""
    with xp.cuda.Device(index):
        return xp.empty(shape, dtype)


def kernels(source: str, names: set[str], index: int = 0) -> dict[str, Callable[[int, int, list[int]], None]]:
    """Compile CUDA C++; for each name a function that launches that kernel: blocks, threads of each, and addresses."""
    with xp.cuda.Device(index):
        compiled = xp.RawModule(code=source, options=_OPTIONS)
        functions = {name: compiled.get_function(name) for name in names}

    def launcher(function: Any) -> Callable[[int, int, list[int]], None]:
        def launch(blocks: int, threads: int, addresses: list[int]) -> None:
            function((blocks,), (threads,), tuple([numpy.uint64(a) for a in addresses]))

        return launch

    return {name: launcher(function) for name, function in functions.items()}


def capture(function: Callable[[], Any], index: int = 0) -> Callable[[], None]:
    """What a function launches, as a graph; a function that launches it on the current stream.

    Raises:
        Exception: what the library raises that refuses to be captured; nothing is left half captured.
    """
    ordinary = xp.cuda.get_allocator()
    held: list[Any] = []  # a graph writes to it at every launch, so nobody else may have it while the graph is there

    def keep(size: int) -> Any:
        held.append(ordinary(size))
        return held[-1]

    # a stream is its device's: made, and in force, on no other; and the default one cannot be captured
    with xp.cuda.Device(index), xp.cuda.using_allocator(keep), xp.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        try:
            function()
        except BaseException:
            with suppress(xp.cuda.runtime.CUDARuntimeError):
                stream.end_capture()  # else the stream would stay as it is
            raise
        graph = stream.end_capture()

    def launch(_held: Any = held) -> None:
        graph.launch(stream=xp.cuda.get_current_stream())

    return launch


def upload(target: Any, numbers: Any) -> None:
    """Bring a few numbers to the device, after what it was given before. The host's array is free at once."""
    target.data.copy_from_host_async(ctypes.c_void_p(numbers.ctypes.data), numbers.nbytes)


def product(a: Any, b: Any, out: Any) -> None:
    """out = a @ b: by cuBLAS, in a way that a graph can hold; by CuPy where that does not take the arrays."""
    index = device_index(out)
    if index not in _products:
        _products[index] = _own_products(index)
    mine = _products[index]
    if mine is None or not mine(a, b, out, xp.cuda.get_current_stream().ptr, address):
        xp.matmul(a, b, out=out)


def allow_tf32(rounded: bool) -> None:
    """Let the products that CuPy itself has computed round their float32 operands to TF32, or not."""
    linalg = import_module("cupy._core._routines_linalg")  # what the environment variable CUPY_TF32 sets as well
    kind = linalg.COMPUTE_TYPE_TF32 if rounded else linalg.COMPUTE_TYPE_DEFAULT
    linalg.set_compute_type(numpy.float32, kind)


def _own_products(index: int) -> Any:
    def memory(size: int) -> tuple[Any, int]:
        block = xp.cuda.alloc(size)
        return block, block.ptr

    xp.cuda.get_cublas_handle()  # so that CuPy has loaded the library, which it knows to find
    try:
        return cublas.Products(cublas.load(), memory)
    except cublas.Unavailable:
        return None


# --- memory ---

_allocator: Allocator | None = None
_in_flight: list[tuple[Any, Any]] = []  # an event, and the host's memory that is needed until it has come
_pinned: dict[int, Any] = {}


def track_memory() -> Allocator:
    """From now on note how much of the device's memory is in use, and refuse in our own words when there is no more."""
    global _allocator

    def figures(index: int) -> tuple[int, int, int]:
        return memory_reserved(index) - memory_allocated(index), *memory_info(index)

    if _allocator is None:
        inner, failure = xp.cuda.get_allocator(), xp.cuda.memory.OutOfMemoryError
        current = xp.cuda.runtime.getDevice
        _allocator = Allocator(inner, failure, current, memory_allocated, figures, empty_cache)
        xp.cuda.set_allocator(_allocator.malloc)
    return _allocator


def _in_pool(index: int, what: str) -> int:
    with xp.cuda.Device(index):
        return int(getattr(xp.get_default_memory_pool(), what)())


def memory_allocated(index: int) -> int:
    """Bytes in arrays on this GPU."""
    return _in_pool(index, "used_bytes")


def memory_reserved(index: int) -> int:
    """Bytes in arrays on this GPU, and kept for later ones."""
    return _in_pool(index, "total_bytes")


def peak(index: int) -> int:
    """The most bytes in arrays on this GPU so far, since the start or `reset_peak`."""
    return max(track_memory().peaks.get(index, 0), memory_allocated(index))


def reset_peak(index: int) -> None:
    """Let `peak` begin with what is there now."""
    track_memory().reset_peak(index)


def memory_info(index: int) -> tuple[int, int]:
    """Free bytes of this GPU, and all of its bytes."""
    with xp.cuda.Device(index):
        free, whole = xp.cuda.runtime.memGetInfo()
    return int(free), int(whole)


def empty_cache() -> None:
    """Give memory that no array is in back to the driver, on all GPUs."""
    for index in range(int(xp.cuda.runtime.getDeviceCount())):
        with xp.cuda.Device(index):
            xp.get_default_memory_pool().free_all_blocks()
    xp.get_default_pinned_memory_pool().free_all_blocks()


# --- copies ---


def pinned(array: Any) -> Any:
    """A copy in memory of the host that stays where it is, so that the GPU can fetch it by itself."""
    memory = xp.cuda.alloc_pinned_memory(max(array.nbytes, 1))
    whole = numpy.frombuffer(memory, array.dtype, array.size)
    made = whole.reshape(array.shape)
    made[...] = array
    _pinned[made.__array_interface__["data"][0]] = weakref.ref(whole)
    return made


def is_pinned(array: Any) -> bool:
    """Whether an array lies in memory that `pinned` made."""
    while isinstance(array.base, numpy.ndarray):
        array = array.base
    known = _pinned.get(array.__array_interface__["data"][0])
    return known is not None and known() is array


def send(array: Any, index: int = 0) -> Any:
    """A copy of a host's array on CUDA device `index`; of a pinned one it is made while the host goes on."""
    if not isinstance(array, numpy.ndarray) or not is_pinned(array):
        with xp.cuda.Device(index):
            return xp.asarray(array)
    with xp.cuda.Device(index):
        stream = xp.cuda.get_current_stream()
        made = xp.empty(array.shape, array.dtype)
        made.set(array, stream=stream)
        _in_flight[:] = [(event, held) for event, held in _in_flight if not event.done]
        _in_flight.append((stream.record(), array))
    return made

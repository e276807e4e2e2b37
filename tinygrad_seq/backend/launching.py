"""The GPU's part in running programs: kernels from text, graphs, and memory that a graph keeps for itself."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import cupy as xp
import numpy

from . import cublas

_OPTIONS = ("--std=c++17",)
_pools: dict[int, Any] = {}
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


@contextmanager
def workspace(index: int) -> Iterator[None]:
    """Memory that is asked for inside comes from a pool of its own, which what runs outside never gets.

    A graph writes to what its operations asked for when they were captured, at every launch: nobody else may have it.
    """
    pool = _pools.get(index)
    if pool is None:
        pool = _pools[index] = xp.cuda.MemoryPool()
    with xp.cuda.using_allocator(pool.malloc):
        yield


def capture(function: Callable[[], Any], index: int = 0) -> Callable[[], None]:
    """What a function launches, as a graph; a function that launches it on the current stream.

    Raises:
        Exception: what the library raises that refuses to be captured; nothing is left half captured.
    """
    stream = xp.cuda.Stream(non_blocking=True)
    with workspace(index), stream:
        stream.begin_capture()
        try:
            function()
        except BaseException:
            try:  # else all that follows on this stream would fail
                stream.end_capture()
            except xp.cuda.runtime.CUDARuntimeError:
                pass
            raise
        graph = stream.end_capture()

    def launch() -> None:
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


def _own_products(index: int) -> Any:
    def memory(size: int) -> tuple[Any, int]:
        block = xp.cuda.alloc(size)
        return block, block.ptr

    try:
        return cublas.Products(cublas.load(), memory)
    except cublas.Unavailable:
        return None

"""The GPU: CuPy, and the functions in which it differs from NumPy. Imported on first use of a CUDA device."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import numpy

from .cuda_sources import ADD_ROWS, ARRAYS, PHILOX, TRANSPOSED, concatenation

_INSTALL = 'pip install "tinygrad-seq[cuda13]" (CUDA 13) or "tinygrad-seq[cuda12]" (CUDA 12)'

try:
    import cupy as xp
except ModuleNotFoundError as error:
    _missing: str | None = f"device 'cuda' needs CuPy, which is not installed: {_INSTALL} [{error}]"
    xp = None
except Exception as error:  # a library that it needs is not there, or two of its wheels are
    _missing = (
        f"device 'cuda': CuPy is installed, but does not load: {error}. It is made for one version of CUDA, and one "
        f"wheel of it can be installed at a time: {_INSTALL}"
    )
    xp = None
else:
    _missing = None
    from .gpu_runtime import (  # noqa: F401
        address,
        allow_tf32,
        capture,
        device_index,
        empty,
        empty_cache,
        is_pinned,
        kernels,
        memory_allocated,
        memory_info,
        memory_reserved,
        on,
        peak,
        pinned,
        product,
        reset_peak,
        send,
        track_memory,
        upload,
    )

    ndarray = xp.ndarray
    _erf = xp.ElementwiseKernel("T x", "T y", "y = erf(x)", "tinygrad_seq_erf")
    _LONG_SUMS = {
        kind: xp.ReductionKernel("T x", "T y", f"{wide}(x)", "a + b", "y = T(a)", "0", f"tg_sum_{kind}", wide)
        for kind, wide in {"e": "float", "f": "double"}.items()
    }
    _sigmoid = xp.ElementwiseKernel("T x", "T y", "y = T(1) / (T(1) + exp(-x))", "tinygrad_seq_sigmoid")

_THREADS = 256  # of a block
_WORDS = {1: "char", 2: "short", 4: "int", 8: "long long"}  # by their size in bytes
_SHORT = 2**14  # terms of which each thread of a block adds up a few, one after another
_PIECE = 2**22  # bytes that are looked at at once
_NO_DRIVER, _NO_DEVICE = 35, 100  # cudaErrorInsufficientDriver, which is also what no driver gives; cudaErrorNoDevice
_count: int | None = None  # of GPUs, once they have answered


def require(index: int = 0) -> int:
    """The number of GPUs.

    Raises:
        RuntimeError: that says what is missing, unless CuPy, a CUDA driver and the GPU of that number work.
    """
    global _count
    if _missing is not None:
        raise RuntimeError(_missing)
    if _count is None:
        count = _count_of_gpus()
        if count == 0:
            raise RuntimeError("device 'cuda': CuPy is installed, but this machine shows no CUDA device")
        track_memory()
        _count = count
    if index >= _count:
        names = "cuda:0" if _count == 1 else f"cuda:0 to cuda:{_count - 1}"
        raise RuntimeError(f"device 'cuda:{index}': there is none; this machine has {names}")
    return _count


def _count_of_gpus() -> int:
    try:
        return int(xp.cuda.runtime.getDeviceCount())
    except xp.cuda.runtime.CUDARuntimeError as error:
        driver, made_for = xp.cuda.runtime.driverGetVersion(), xp.cuda.runtime.runtimeGetVersion()
        if error.status == _NO_DRIVER and driver:
            raise RuntimeError(
                f"device 'cuda': the NVIDIA driver knows CUDA up to {_version(driver)}, and the CuPy that is installed "
                f"is made for CUDA {_version(made_for)}. Update the driver, or install the CuPy for its version: "
                f"{_INSTALL}"
            ) from None
        what = "this machine shows no CUDA device" if error.status == _NO_DEVICE else "there is no CUDA driver"
        what = what if error.status in (_NO_DRIVER, _NO_DEVICE) else "CUDA does not answer"
        raise RuntimeError(
            f"device 'cuda': CuPy is installed, but {what} ({error}). Check that this machine has an NVIDIA GPU and a "
            "driver that `nvidia-smi` can see."
        ) from None


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def device_count() -> int:
    """The number of GPUs."""
    return int(xp.cuda.runtime.getDeviceCount())


def current_device() -> int:
    """Which GPU is the current one."""
    return int(xp.cuda.runtime.getDevice())


def use(index: int) -> None:
    """Make this GPU the current one."""
    xp.cuda.runtime.setDevice(index)


def name_of(index: int) -> str:
    """What the maker calls this GPU."""
    return str(xp.cuda.runtime.getDeviceProperties(index)["name"].decode())


def describe() -> list[str]:
    """CuPy, CUDA and the GPUs, a line each."""
    runtime = xp.cuda.runtime
    lines = [f"CuPy {xp.__version__}, CUDA runtime {runtime.runtimeGetVersion()}, driver {runtime.driverGetVersion()}"]
    for index in range(device_count()):
        memory = runtime.getDeviceProperties(index)["totalGlobalMem"] / 2**30
        lines.append(f"cuda:{index} {name_of(index)}, {memory:.0f} GiB")
    return lines


def device_name(array: Any) -> str:
    """The device of an array: "cuda:0", "cuda:1", ..."""
    return f"cuda:{array.device.id}"


def asarray(data: Any, dtype: Any = None, index: int | None = None) -> Any:
    """`data` as an array on CUDA device `index`, without a copy where it is there already.

    Without `index`, an array stays on the device that it is on, and what else there is goes to the current one.
    """
    if index is None:
        index = device_index(data) if isinstance(data, ndarray) else current_device()
    with xp.cuda.Device(index):
        if isinstance(data, ndarray) and device_index(data) != index:
            data = data.copy()  # which is made on the current device
        made = xp.asarray(data, dtype=dtype)
        if isinstance(data, numpy.ndarray) and is_pinned(data):
            synchronize()  # CuPy does not wait for what it fetches from there, and somebody may write to it now
    return made


def full(shape: tuple[int, ...], value: Any, dtype: Any, index: int = 0) -> Any:
    """An array of one value on CUDA device `index`."""
    with xp.cuda.Device(index):
        return xp.full(shape, value, dtype)


def arange(start: Any, stop: Any, step: Any, dtype: Any, index: int = 0) -> Any:
    """Evenly spaced numbers on CUDA device `index`."""
    with xp.cuda.Device(index):
        return xp.arange(start, stop, step, dtype)


def to_host(array: Any) -> Any:
    """A NumPy copy of the array."""
    return xp.asnumpy(array)


def checksum(array: Any) -> int:
    """A number that changes when the array's numbers do: their bytes, weighted by where they stand, modulo 2**64."""
    with xp.cuda.Device(device_index(array)):
        data = xp.ascontiguousarray(array).reshape(-1).view(xp.uint8)
        total = xp.zeros((), xp.uint64)
        for start in range(0, data.size, _PIECE):  # each of which takes 24 times its memory
            piece = data[start : start + _PIECE]
            places = xp.arange(start + 1, start + piece.size + 1, dtype=xp.uint64)
            total += (piece * (places * places + places)).sum()
        return int(total)


def verify(check: Callable[..., None], *arrays: Any) -> None:
    """Let a check look at the numbers of arrays; it raises if it does not like them. Waits for the device."""
    with xp.cuda.Device(device_index(arrays[0])):
        check(*arrays)


def synchronize() -> None:
    """Wait until the current stream has done all it was given."""
    xp.cuda.get_current_stream().synchronize()


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)) in one kernel; of complex numbers in a few, without nan where exp overflows."""
    if x.dtype.kind == "c":
        left = x.real < 0
        e = xp.exp(xp.where(left, x, -x))
        return xp.where(left, e, 1) / (1 + e)
    return _sigmoid(x.astype(numpy.float32) if x.dtype.kind in "biu" else x)


def sum_over(x: Any, axis: int | tuple[int, ...] | None = None, keepdims: bool = False, out: Any = None) -> Any:
    """The sum over one dimension, several, or (None) all, in the dtype of x; of booleans an int64.

    Long sums are carried on in twice the precision, which costs nothing beside reading the numbers.
    """
    kind = x.dtype.char
    dims = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    if kind in _LONG_SUMS and math.prod([x.shape[d] for d in dims]) > _SHORT:
        return _LONG_SUMS[kind](x, axis=axis, keepdims=keepdims, out=out)
    return x.sum(axis=axis, dtype=numpy.int64 if kind == "?" else x.dtype, keepdims=keepdims, out=out)


def cumsum(x: Any, axis: int) -> Any:
    """Sums up to and including each entry, which are carried on in twice the precision, and rounded one by one."""
    kind = numpy.dtype({"e": "f", "f": "d", "F": "D", "?": "l"}.get(x.dtype.char, x.dtype.char))
    return x.cumsum(axis=axis, dtype=kind).astype(numpy.int64 if x.dtype.char == "?" else x.dtype, copy=False)


def erf(x: Any) -> Any:
    """The error function in one kernel."""
    if x.dtype.kind == "c":
        raise TypeError("erf: takes real numbers")
    return _erf(x.astype(numpy.float32) if x.dtype.kind in "biu" else x)


@cache
def launches_elements() -> bool:
    """Whether kernels get arrays as ours read them: asked once, since CuPy does not promise it."""
    try:
        x, y = xp.arange(6, dtype=xp.int32).reshape(2, 3).T, xp.empty((3, 2), xp.int32)
        _function(TRANSPOSED, "tg_transposed", current_device())(6, (x, y), 0, _THREADS)
        return bool(xp.asnumpy(y).tolist() == [[6, 9], [7, 10], [8, 11]])
    except Exception:  # whatever another version of it says
        return False


def elementwise(kernel: Any, arrays: tuple[Any, ...]) -> Callable[[tuple[Any, ...]], Any]:
    """A function that launches a kernel of operations on elements, for arrays of the shapes and strides of these.

    It returns what the kernel makes: an array, or a tuple of them.

    Args:
        kernel: one that `compiler.cuda.eager_fusion` makes.
    """
    shape = numpy.broadcast_shapes(*[a.shape for a in arrays])
    flat = all(a.shape == shape and a.flags.c_contiguous for a in arrays)
    array, (kind, *others), size = ndarray, [v.dtype for v in kernel.outputs], math.prod(shape)
    launch = _function(kernel.source(flat), "tg_elements", current_device()) if size else _nothing

    def run(arrays: tuple[Any, ...]) -> Any:
        made = array(shape, kind)
        launch(size, (*arrays, made), 0, _THREADS)
        return made

    def run_several(arrays: tuple[Any, ...]) -> Any:
        made = (array(shape, kind), *[array(shape, k) for k in others])
        launch(size, (*arrays, *made), 0, _THREADS)
        return made

    return run_several if others else run


def _nothing(*_: Any) -> None:
    """What launches a kernel of no threads."""


@cache
def _function(source: str, name: str, _device: int) -> Any:
    """What launches a kernel on the current device: given how many threads, arrays, 0, and threads of a block."""
    return xp.RawKernel(ARRAYS + source, name, options=("--std=c++17",)).kernel.linear_launch


def concatenate(arrays: tuple[Any, ...], axis: int) -> Any:
    """The arrays one after another along an axis."""
    made = _concatenation(axis, current_device(), tuple([(a.dtype, a.shape) for a in arrays]))
    if made is None:
        return xp.concatenate(arrays, axis)
    launch, shape = made
    out = ndarray(shape, arrays[0].dtype)
    launch(out.size, (*arrays, out), 0, _THREADS)
    return out


@lru_cache(1024)
def _concatenation(axis: int, device: int, pieces: tuple[tuple[Any, tuple[int, ...]], ...]) -> Any:
    """What launches it for a few pieces of one dtype, and the shape of the result; None for others."""
    kind, shape = pieces[0]
    if len(pieces) not in range(2, 9) or not shape or kind.itemsize not in _WORDS or not launches_elements():
        return None
    axis %= len(shape)
    outer = {(k, len(s), *s[:axis], *s[axis + 1 :]) for k, s in pieces}
    whole = (*shape[:axis], sum([s[axis] for _, s in pieces if len(s) > axis]), *shape[axis + 1 :])
    if len(outer) > 1 or 0 in whole:
        return None
    source = concatenation(len(pieces), len(shape), axis, _WORDS[kind.itemsize])
    return _function(source, "tg_concatenate", device), whole


def windows(x: Any, axis: int, size: int, step: int) -> Any:
    """Views of `size` entries of an axis, every `step` of them, as a new last axis; they share memory."""
    shape, strides = list(x.shape), list(x.strides)
    shape[axis], strides[axis] = (x.shape[axis] - size) // step + 1, x.strides[axis] * step
    return xp.lib.stride_tricks.as_strided(x, (*shape, size), (*strides, x.strides[axis]))


def diagonal(x: Any, offset: int, axis1: int, axis2: int) -> Any:
    """The diagonal of two axes as the last one: a view."""
    return x.diagonal(offset, axis1, axis2)


def scatter_add(buffer: Any, index: Any, values: Any) -> None:
    """buffer[index] += values, with repeated indices added up. Writes into `buffer`.

    Rows of floats are added up in the order in which they stand, so that the same numbers give the same bits. An index
    that is out of range goes around, as it does where CuPy takes elements: no other memory is written.
    """
    rows = index[0] if isinstance(index, tuple) and len(index) == 1 else None
    plain = rows is not None and rows.dtype.kind in "iu" and buffer.ndim > 1 and buffer.flags.c_contiguous
    if rows is None or not plain or buffer.dtype.char not in "fd" or values.dtype != buffer.dtype:
        _add_at(buffer, index, values.astype(buffer.dtype, copy=False))
        return
    count, width = rows.size, buffer.size // max(buffer.shape[0], 1)
    if not count * width:
        return
    rows = xp.remainder(rows.reshape(-1).astype(xp.int64), buffer.shape[0])
    values = xp.ascontiguousarray(xp.broadcast_to(values, (*index[0].shape, *buffer.shape[1:])))
    table = xp.empty((4, count), xp.int64)  # two pairs of sorted rows and their places, written to in turn
    bits = numpy.int64((buffer.shape[0] - 1).bit_length())
    # sorted by a kernel of ours, since a library's waits for the device, which a graph cannot hold
    _kernel("tg_sort_rows")((1,), (1024,), (rows, table, numpy.int64(count), bits))
    given = (table[0], table[1], values, buffer, numpy.int64(count), numpy.int64(width))
    _kernel(f"tg_add_rows_{buffer.dtype.char}")(((count * width + 255) // 256,), (256,), given)


def _add_at(buffer: Any, index: Any, values: Any) -> None:
    """CuPy's sums at indices, of which it has those of some dtypes, for all of ours."""
    kind = buffer.dtype
    if kind.kind == "c":
        _add_at(buffer.real, index, values.real)
        _add_at(buffer.imag, index, values.imag)
    elif kind == numpy.int64:  # sums of signed whole numbers have the bits of sums of unsigned ones
        xp.add.at(buffer.view(xp.uint64), index, values.view(xp.uint64))
    elif kind.kind in "biu" and kind.itemsize < 4:
        wide = buffer.astype(xp.int32)
        xp.add.at(wide, index, values.astype(xp.int32))
        buffer[...] = wide.astype(kind)
    else:
        xp.add.at(buffer, index, values)


def random_bits(seed: int, offset: int, count: int, index: int = 0) -> Any:
    """`count` uniform uint32 words of the Philox4x64 stream `seed`, from its block `offset` on: NumPy's very words."""
    with xp.cuda.Device(index):
        out = xp.empty(count, dtype=xp.uint32)
        if count:
            blocks = ((count + 7) // 8 + 255) // 256
            words = (numpy.uint64(seed), numpy.uint64(offset), numpy.uint64(count))
            _kernel("tg_philox")((blocks,), (256,), (*words, out))
    return out


def random_bits_at(table: Any, seed: int, offset: int, count: int, out: Any) -> None:
    """As `random_bits`, into `out`, with seed and offset found at these places of a table on the device."""
    if count:
        places = (numpy.uint64(seed), numpy.uint64(offset), numpy.uint64(count))
        _kernel("tg_philox_at")((((count + 7) // 8 + 255) // 256,), (256,), (table, *places, out))


@cache
def _kernel(name: str) -> Any:
    return xp.RawKernel(ADD_ROWS if "rows" in name else PHILOX, name, options=("--std=c++17",))

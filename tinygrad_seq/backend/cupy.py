"""The GPU: CuPy, and the functions in which it differs from NumPy. Imported on first use of a CUDA device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

_INSTALL = 'pip install "tinygrad-seq[cuda13]" (CUDA 13) or "tinygrad-seq[cuda12]" (CUDA 12)'

try:
    import cupy as xp
except ImportError as error:
    _missing: str | None = f"device 'cuda' needs CuPy, which is not installed: {_INSTALL} [{error}]"
    xp = None
else:
    _missing = None
    ndarray = xp.ndarray
    _erf = xp.ElementwiseKernel("T x", "T y", "y = erf(x)", "tinygrad_seq_erf")
    _sigmoid = xp.ElementwiseKernel("T x", "T y", "y = T(1) / (T(1) + exp(-x))", "tinygrad_seq_sigmoid")

_PHILOX = r"""
extern "C" __global__ void philox4x64(unsigned long long seed, unsigned long long offset, unsigned long long blocks,
                                      unsigned long long* out) {
    unsigned long long i = blockIdx.x * (unsigned long long)blockDim.x + threadIdx.x;
    if (i >= blocks) return;
    unsigned long long c0 = offset + i + 1, c1 = c0 < i + 1 ? 1 : 0, c2 = 0, c3 = 0, k0 = seed, k1 = 0;
    for (int round = 0; round < 10; ++round) {
        if (round) { k0 += 0x9E3779B97F4A7C15ULL; k1 += 0xBB67AE8584CAA73BULL; }
        unsigned long long h0 = __umul64hi(0xD2E7470EE14C6C93ULL, c0), l0 = 0xD2E7470EE14C6C93ULL * c0;
        unsigned long long h1 = __umul64hi(0xCA5A826395121157ULL, c2), l1 = 0xCA5A826395121157ULL * c2;
        c0 = h1 ^ c1 ^ k0; c1 = l1; c2 = h0 ^ c3 ^ k1; c3 = l0;
    }
    out[4 * i] = c0; out[4 * i + 1] = c1; out[4 * i + 2] = c2; out[4 * i + 3] = c3;
}
"""


def require() -> None:
    """Raise a RuntimeError that says what is missing unless CuPy and a CUDA driver both work."""
    if _missing is not None:
        raise RuntimeError(_missing)
    try:
        count = xp.cuda.runtime.getDeviceCount()
    except xp.cuda.runtime.CUDARuntimeError as error:
        raise RuntimeError(
            f"device 'cuda': CuPy is installed, but CUDA does not answer ({error}). Check that this machine has an "
            "NVIDIA GPU and a driver that `nvidia-smi` can see."
        ) from None
    if count == 0:
        raise RuntimeError("device 'cuda': CuPy is installed, but this machine shows no CUDA device")


def device_count() -> int:
    """The number of GPUs."""
    return int(xp.cuda.runtime.getDeviceCount())


def describe() -> list[str]:
    """CuPy, CUDA and the GPUs, a line each."""
    runtime = xp.cuda.runtime
    lines = [f"CuPy {xp.__version__}, CUDA runtime {runtime.runtimeGetVersion()}, driver {runtime.driverGetVersion()}"]
    for index in range(device_count()):
        properties = runtime.getDeviceProperties(index)
        name, memory = properties["name"].decode(), properties["totalGlobalMem"] / 2**30
        lines.append(f"cuda:{index} {name}, {memory:.0f} GiB")
    return lines


def device_name(array: Any) -> str:
    """The device of an array: "cuda:0", "cuda:1", ..."""
    return f"cuda:{array.device.id}"


def asarray(data: Any, dtype: Any = None, index: int = 0) -> Any:
    """`data` as an array on CUDA device `index`, without a copy where it is there already."""
    with xp.cuda.Device(index):
        return xp.asarray(data, dtype=dtype)


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
    data = xp.ascontiguousarray(array).reshape(-1).view(xp.uint8)
    places = xp.arange(1, data.size + 1, dtype=xp.uint64)
    return int((data * (places * places + places)).sum())


def verify(check: Callable[..., None], *arrays: Any) -> None:
    """Let a check look at the numbers of arrays; it raises if it does not like them. Waits for the device."""
    check(*arrays)


def synchronize() -> None:
    """Wait until the current stream has done all it was given."""
    xp.cuda.get_current_stream().synchronize()


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)) in one kernel."""
    return _sigmoid(x)


def erf(x: Any) -> Any:
    """The error function in one kernel."""
    return _erf(x)


def scatter_add(buffer: Any, index: Any, values: Any) -> None:
    """buffer[index] += values, with repeated indices added up. Writes into `buffer`."""
    xp.add.at(buffer, index, values)


def random_words(seed: int, offset: int, count: int, index: int = 0) -> Any:
    """`count` uniform uint32 words of the Philox4x64 stream `seed`, from its block `offset` on: NumPy's very words."""
    blocks = (count + 7) // 8
    with xp.cuda.Device(index):
        out = xp.empty(4 * blocks, dtype=xp.uint64)
        kernel = xp.RawKernel(_PHILOX, "philox4x64")
        args = (numpy.uint64(seed), numpy.uint64(offset), numpy.uint64(blocks), out)
        if blocks:
            kernel(((blocks + 255) // 256,), (256,), args)
    return out.view(xp.uint32)[:count]

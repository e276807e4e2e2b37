"""Generated CUDA C++ as the host runs it: compiled by g++ behind a few macros, block by block.

Where a kernel waits for its block (`__syncthreads`), each thread of the block is a thread; else one does all in turn.
"""

from __future__ import annotations

import ctypes
import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

COMPILER = shutil.which("g++")
_FOLDER = Path(tempfile.gettempdir()) / "tinygrad_seq_host_kernels"

_RUNTIME = r"""
#include <barrier>
#include <memory>
#include <thread>
#include <vector>
struct Dim { unsigned x, y, z; };
thread_local Dim threadIdx, blockIdx;
Dim blockDim, gridDim;
static std::unique_ptr<std::barrier<>> barrier;
extern "C" void tg_sync() { barrier->arrive_and_wait(); }
static void all_blocks(void (*kernel)(void**), void** arguments, unsigned thread) {
    for (unsigned b = 0; b < gridDim.x; ++b) {
        threadIdx = {thread, 0, 0}; blockIdx = {b, 0, 0};
        kernel(arguments);
        tg_sync();
    }
}
extern "C" void tg_launch(void (*kernel)(void**), void** arguments, unsigned blocks, unsigned threads, int waits) {
    gridDim = {blocks, 1, 1}; blockDim = {threads, 1, 1};
    if (!waits) {
        for (unsigned b = 0; b < blocks; ++b)
            for (unsigned t = 0; t < threads; ++t) {
                threadIdx = {t, 0, 0}; blockIdx = {b, 0, 0};
                kernel(arguments);
            }
        return;
    }
    barrier = std::make_unique<std::barrier<>>(threads);
    std::vector<std::thread> running;
    for (unsigned t = 0; t < threads; ++t) running.emplace_back(all_blocks, kernel, arguments, t);
    for (auto& t : running) t.join();
}
"""
_WORDS = "exp log expm1 log1p log2 log10 exp2 tanh sin cos tan erf floor ceil trunc rint sqrt fabs"
_FUNCTIONS = _WORDS.split()
_SHIM = (
    "struct Dim { unsigned x, y, z; };\n"
    "extern thread_local Dim threadIdx, blockIdx;\nextern Dim blockDim, gridDim;\n"
    'extern "C" void tg_sync();\n'
    "#define __global__\n#define __launch_bounds__(threads)\n#define __device__ static inline\n"
    "#define __shared__ static\n"
    "#define __syncthreads() tg_sync()\n"
    "static inline double __longlong_as_double(long long x) { double y; __builtin_memcpy(&y, &x, 8); return y; }\n"
    "static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b)"
    " { return (unsigned __int128)a * b >> 64; }\n"
    + "".join(
        f"static inline float tg_{f}(float x) {{ return __builtin_{f}f(x); }}\n"
        f"static inline double tg_{f}(double x) {{ return __builtin_{f}(x); }}\n#define {f} tg_{f}\n"
        for f in _FUNCTIONS
    )
    + "static inline float tg_pow(float x, float y) { return __builtin_powf(x, y); }\n"
    "static inline double tg_pow(double x, double y) { return __builtin_pow(x, y); }\n#define pow tg_pow\n"
)


def _library(source: str, *more: str) -> ctypes.CDLL:
    """A shared library made of C++, or the one made of the same text before."""
    _FOLDER.mkdir(exist_ok=True)
    path = _FOLDER / f"{hashlib.sha256((source + str(more)).encode()).hexdigest()[:24]}.so"
    if not path.exists():
        text, part = path.with_suffix(".cpp"), path.with_suffix(".part")
        text.write_text(source)
        command = [str(COMPILER), "-std=c++20", "-O1", "-ffp-contract=off", "-shared", "-fPIC", "-w", str(text)]
        done = subprocess.run([*command, "-o", str(part), *more], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + source
        part.replace(path)
    return ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)


@cache
def _runtime() -> ctypes.CDLL:
    return _library(_RUNTIME, "-pthread")


def parameters(source: str, name: str) -> list[str]:
    """The types of a kernel's parameters."""
    found = re.search(rf"__global__ void {name}\(([^)]*)\)", source)
    assert found is not None, name
    return [" ".join(p.split()[:-1]) for p in re.split(r",(?![^<]*>)", found[1])]


def handed_over(array: Any) -> Any:
    """An array of NumPy's as a kernel gets one that CuPy passes to it."""
    lengths = ctypes.c_longlong * max(array.ndim, 1)

    class Lying(ctypes.Structure):
        _fields_ = (("at", ctypes.c_void_p), ("size", ctypes.c_longlong), ("lengths", lengths), ("steps", lengths))

    return Lying(array.__array_interface__["data"][0], array.size, lengths(*array.shape), lengths(*array.strides))


def _argument(kind: str, i: int) -> str:
    if kind.startswith("TgArray"):
        return f"*({kind}*)a[{i}]"
    return f"({kind}){f'a[{i}]' if kind.endswith('*') else f'(unsigned long long)a[{i}]'}"


def compile_for_host(source: str, names: set[str]) -> dict[str, Callable[[int, int, list[int]], None]]:
    """The kernels of a source as functions of blocks, threads of each, and arguments.

    These are addresses and whole numbers; of arrays as CuPy passes them, the address of what `handed_over` makes.
    """
    wrappers = []
    for name in sorted(names):
        casts = [_argument(kind, i) for i, kind in enumerate(parameters(source, name))]
        wrappers.append(f'extern "C" void {name}_host(void** a) {{ {name}({", ".join(casts)}); }}')
    runtime = _runtime()
    library = _library("\n".join([_SHIM, source, *wrappers]))
    bodies = re.split(r"(?=extern \"C\" )", source)

    def launcher(name: str) -> Callable[[int, int, list[int]], None]:
        waits = any(f"void {name}(" in body and "__syncthreads" in body for body in bodies)
        kernel = getattr(library, f"{name}_host")
        count = len(parameters(source, name))

        def launch(blocks: int, threads: int, arguments: list[int]) -> None:
            assert len(arguments) == count, (name, arguments)
            given = (ctypes.c_void_p * count)(*arguments)
            runtime.tg_launch(ctypes.cast(kernel, ctypes.c_void_p), given, blocks, threads, int(waits))

        return launch

    return {name: launcher(name) for name in names}

"""NVIDIA's compiler for CUDA C++ as a library: it needs no GPU and no driver."""

from __future__ import annotations

import ctypes
import glob
import importlib.util
from functools import cache
from typing import Any

PACKAGES = "nvidia-cuda-nvrtc (CUDA 13) or nvidia-cuda-nvrtc-cu12"


@cache
def library() -> Any:
    """The library from its wheel or from the system; None where there is neither."""
    spec = importlib.util.find_spec("nvidia")
    folders = list(spec.submodule_search_locations or []) if spec is not None else []
    paths = [p for f in folders for p in glob.glob(f"{f}/*/lib/libnvrtc.so.*") if "alt" not in p]
    for path in [*sorted(paths), "libnvrtc.so.13", "libnvrtc.so.12"]:
        try:
            return ctypes.CDLL(path)
        except OSError:
            continue
    return None


def compile_cuda(source: str, architecture: str = "compute_75") -> bytes:
    """The PTX of a source; an AssertionError with the compiler's log if it does not compile."""
    nvrtc = library()
    program = ctypes.c_void_p()
    text = source.encode()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), text, b"kernels.cu", 0, None, None) == 0
    flags = [b"--std=c++17", f"--gpu-architecture={architecture}".encode()]
    status = nvrtc.nvrtcCompileProgram(program, len(flags), (ctypes.c_char_p * len(flags))(*flags))
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    assert status == 0, f"{log.value.decode()}\n{source}"
    nvrtc.nvrtcGetPTXSize(program, ctypes.byref(size))
    ptx = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetPTX(program, ptx)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return ptx.value

"""Which executor runs a program on the CPU: the native one, where it works and is faster, or NumPy's."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

from ..backend import blas_threads, usable_cores
from .warn_once import warn_once


def native_taken(asked: str | None) -> bool:
    """Whether native code runs a program: as `executor=` asks, if it can, and where nobody asks if it is faster, too.

    Where it was asked for, or llvmlite installed, in vain, one warning says so.
    """
    if asked == "numpy":
        return False
    why = native_fault() if asked else why_not_native()
    if why and (asked or find_spec("llvmlite") is not None):
        warn_once(f"compile: NumPy's executor is taken, because {why}. executor='numpy' takes it without this warning")
    return not why


def native_fault() -> str:
    """Why native code cannot run here; "" where it can."""
    if find_spec("llvmlite") is None:
        return "llvmlite is not installed: pip install 'tinygrad_seq[jit]'"
    return _fault_of_llvmlite()


def why_not_native() -> str:
    """Why NumPy's executor is taken where nobody asks for one; "" where the native one is."""
    return native_fault() or _why_slower()


def described() -> list[str]:
    """Which executor runs compiled functions, on how many threads, and where machine code is kept, a line each."""
    why = why_not_native()
    if why:
        threads = f"BLAS uses {blas_threads() or 'an unknown number of'} threads"
        return [f"compiled functions on the CPU: NumPy's executor ({threads}), not the native one, because {why}"]
    from .native.code_cache import described as kept
    from .native.thread_pool import size

    native = f"native executor (llvmlite {_version()}), threads: {size()}"
    because = f"BLAS uses {blas_threads() or 'an unknown number'}, and this process has {usable_cores()} cores"
    return [f"compiled functions on the CPU: {native}; {because}", kept()]


def forget_threads() -> None:
    """BLAS has another number of threads from now on: take as many."""
    if find_spec("llvmlite") is not None:
        from .native.thread_pool import size

        size.cache_clear()


@cache
def _fault_of_llvmlite() -> str:
    """What goes wrong when a function is compiled with the llvmlite that is installed."""
    try:
        from .native.jit import compiled
        from .native.runtime import COPY

        compiled([COPY])
    except Warning:  # about something else, where warnings are errors
        raise
    except Exception as error:  # whatever another version raises, or half of one
        said = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        return f"llvmlite {_version()} is too old, or broken ({said}): pip install --upgrade 'tinygrad_seq[jit]'"
    return ""


def _version() -> str:
    """Of the llvmlite that is installed, which may not be one to import."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("llvmlite")
    except PackageNotFoundError:
        return "of no known version"


@cache
def _why_slower() -> str:
    import llvmlite.binding as llvm

    if llvm.get_host_cpu_features().get("fma", True):  # there is no such name but on an x86
        return ""
    return "this CPU has no fused multiply-add (FMA), without which native code takes 20 times as long"

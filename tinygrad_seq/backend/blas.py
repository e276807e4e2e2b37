"""The BLAS that NumPy was built with, for native code to call."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from importlib import import_module
from typing import Any, NamedTuple


class BlasFunction(NamedTuple):
    """The address of a function of CBLAS, and how many bytes its integers have."""

    address: int
    integer: int


@lru_cache
def blas_function(name: str, kind: str) -> BlasFunction | None:
    """CBLAS's function of that name for float32 ("f") or float64 ("d"), from the library that NumPy itself uses.

    None where that library does not say its name, as in a NumPy that was built against another one.
    """
    letter = {"f": "s", "d": "d"}[kind]
    library = _library()
    for symbol, integer in (("scipy_cblas_{}64_", 8), ("cblas_{}64_", 8), ("scipy_cblas_{}", 4), ("cblas_{}", 4)):
        found = getattr(library, symbol.format(letter + name), None)
        if found is not None:
            return BlasFunction(ctypes.cast(found, ctypes.c_void_p).value or 0, integer)
    return None


def blas_threads() -> int | None:
    """How many threads it uses, as OPENBLAS_NUM_THREADS and its kin say; None where it does not tell."""
    library = _library()
    for symbol in ("scipy_openblas_get_num_threads{}", "openblas_get_num_threads{}"):
        for end in ("64_", ""):
            found = getattr(library, symbol.format(end), None)
            if found is not None:
                return int(found())
    return None


def set_blas_threads(count: int) -> None:
    """Let it use so many threads, where it can be told."""
    library = _library()
    for symbol in ("scipy_openblas_set_num_threads{}", "openblas_set_num_threads{}"):
        for end in ("64_", ""):
            found = getattr(library, symbol.format(end), None)
            if found is not None:
                found(ctypes.c_int(count))
                return


def _library() -> Any:
    return ctypes.CDLL(
        import_module("numpy._core._multiarray_umath").__file__
    )  # in which what it is linked to is found

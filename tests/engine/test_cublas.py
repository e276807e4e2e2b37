"""Products by cuBLAS's C functions, which a small stand-in plays."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from typing import Any

import numpy as np
import pytest

from tinygrad_seq.backend import cublas

from . import host_kernels

_CUBLAS = r"""
#define GEMM(NAME, T) extern "C" int NAME(void* handle, int ta, int tb, int m, int n, int k, const T* alpha, \
        const T* a, int lda, long long sa, const T* b, int ldb, long long sb, const T* beta, T* c, int ldc, \
        long long sc, int count) { \
    for (int x = 0; x < count; ++x) for (int i = 0; i < m; ++i) for (int j = 0; j < n; ++j) { \
        T total = 0; \
        for (int l = 0; l < k; ++l) \
            total += a[x * sa + (ta ? l + (long long)i * lda : i + (long long)l * lda)] \
                   * b[x * sb + (tb ? j + (long long)l * ldb : l + (long long)j * ldb)]; \
        T* at = c + x * sc + i + (long long)j * ldc; \
        *at = *alpha * total + (*beta == 0 ? T(0) : *beta * *at); \
    } \
    return lda < (ta ? k : m) || ldb < (tb ? n : k) || ldc < m ? 7 : 0; }
GEMM(cublasSgemmStridedBatched, float)
GEMM(cublasDgemmStridedBatched, double)
static long long seen[4];
extern "C" int cublasCreate_v2(void** handle) { *handle = (void*)42; return 0; }
extern "C" int cublasSetStream_v2(void* handle, void* stream) { seen[0] = (long long)stream; seen[1] = 0; return 0; }
extern "C" int cublasSetWorkspace_v2(void* handle, void* p, unsigned long long n) { seen[1] = (long long)p; return 0; }
extern "C" int cublasSetMathMode(void* handle, int mode) { seen[2] = mode; return (long long)handle != 42; }
extern "C" long long* cublas_seen() { return seen; }
"""
ORDERS = {
    "rows": lambda x: x,
    "columns": lambda x: np.asfortranarray(x) if x.ndim == 2 else x.swapaxes(-1, -2).copy().swapaxes(-1, -2),
    "wide": lambda x: np.concatenate([x, x], -1)[..., : x.shape[-1]],
}


@pytest.mark.skipif(host_kernels.COMPILER is None, reason="no g++, which stands in for cuBLAS here")
@pytest.mark.parametrize("kind", ["f", "d"])
@pytest.mark.parametrize("sizes", [(3, 4, 5), (1, 4, 5), (3, 1, 5), (3, 4, 1), (1, 1, 1)])
@pytest.mark.parametrize("batch", [(), (2,)])
def test_products_by_cublas(kind: str, sizes: tuple[int, int, int], batch: tuple[int, ...]) -> None:
    library = host_kernels._library(_CUBLAS)
    products = cublas.Products(library, lambda size: (None, 4096))
    address = lambda x: int(x.__array_interface__["data"][0])  # noqa: E731
    N, K, M = sizes
    rng = np.random.default_rng(0)
    done = 0
    for order_a in ORDERS.values():
        for order_b in ORDERS.values():
            for order_out in ORDERS.values():
                a, b = (
                    rng.standard_normal((*batch, N, K)).astype(kind),
                    rng.standard_normal((*batch, K, M)).astype(kind),
                )
                a, b, out = order_a(a), order_b(b), order_out(np.full((*batch, N, M), np.nan, kind))
                if products(a, b, out, 99, address):
                    np.testing.assert_allclose(out, a @ b, rtol=1e-4, atol=1e-5)
                    done += 1
                else:
                    assert np.isnan(out).all()
    assert done >= 18
    library.cublas_seen.restype = ctypes.POINTER(ctypes.c_longlong)
    assert library.cublas_seen()[0] == 99
    assert library.cublas_seen()[1] == 4096  # the workspace is set again after the stream
    assert library.cublas_seen()[2] == 0  # cuBLAS's own mode: its pedantic one is made for studies, and is slow


@pytest.mark.skipif(host_kernels.COMPILER is None, reason="no g++, which stands in for cuBLAS here")
def test_products_of_several_threads_do_not_mix() -> None:
    """Between telling the handle its stream and multiplying, no other thread may tell it another one."""
    library, seen, told = host_kernels._library(_CUBLAS), [], threading.Event()

    class Slow:
        def __getattr__(self, name: str) -> Any:
            def call(*args: Any) -> int:
                seen.append((name, threading.get_ident()))
                if name == "cublasSetStream_v2" and not told.is_set():
                    told.set()
                    time.sleep(0.1)
                return int(getattr(library, name)(*args))

            return call

    products = cublas.Products(Slow(), lambda size: (None, 4096))
    a, out = np.ones((2, 2), "f"), np.empty((2, 2), "f")
    given = (a, a, out, 99, lambda x: int(x.__array_interface__["data"][0]))
    other = threading.Thread(target=products, args=given)
    other.start()
    assert told.wait(10)
    products(*given)
    other.join()
    threads = [thread for _, thread in seen[1:]]
    assert threads == sorted(threads, key=threads.index)  # one after the other


def test_the_cublas_that_cupy_has_loaded_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []

    def cdll(name: str, mode: int = 0) -> str:
        loaded = bool(mode & os.RTLD_NOLOAD)
        asked.append((name, loaded))
        if "none" in name or (loaded and "12" not in name):
            raise OSError
        return name

    monkeypatch.setattr(ctypes, "CDLL", cdll)
    assert cublas.load() == "libcublas.so.12"  # though there is a libcublas.so.13, too
    monkeypatch.setattr(cublas, "_NAMES", ("libnone.so.1",))
    with pytest.raises(cublas.Unavailable, match=r"none of libnone\.so\.1 can be loaded"):
        cublas.load()


def test_what_cublas_does_not_take() -> None:
    a = np.ones((3, 4), "f")
    assert cublas.described(a[:, ::2], a[:2], np.ones((3, 4), "f")) is None
    assert cublas.described(a.astype("e"), a.astype("e"), a) is None
    assert cublas.described(np.ones((2, 2, 3, 4), "f"), np.ones((2, 2, 4, 3), "f"), np.ones((2, 2, 3, 3), "f")) is None

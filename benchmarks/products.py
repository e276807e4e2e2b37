"""Products of packed panels, as compiled programs have them, beside NumPy's BLAS."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from .timing import interleaved, table

SHAPES = [(50, 512, 128), (50, 128, 512), (64, 2048, 512), (64, 512, 2048), (4096, 2048, 512)]  # M, N, K


def main() -> None:
    if find_spec("llvmlite") is None:
        print("\nProducts of packed panels: llvmlite is not installed")
        return
    from threadpoolctl import threadpool_limits

    from tinygrad_seq.compiler.native.gemm_microkernel import panel_of

    if panel_of("f") is None:
        print("\nProducts of packed panels: this CPU has none")
        return
    rows: list[tuple[str, ...]] = [
        ("M, N, K", "GFLOP/s", "BLAS", "BLAS, transposed B", "BLAS's time / ours", "transposed / ours")
    ]
    for m, n, k in SHAPES:
        random = np.random.default_rng(0)
        a, b = random.standard_normal((m, k), np.float32), random.standard_normal((k, n), np.float32)
        transposed, c = np.ascontiguousarray(b.T).T, np.empty((m, n), np.float32)
        candidates: dict[str, Callable[[], Any]] = {
            "ours": packed_product(a, b, np.empty_like(c)),
            "BLAS": partial(np.matmul, a, b, out=c),
            "transposed": partial(np.matmul, a, transposed, out=c),
        }
        with threadpool_limits(1):
            seconds = interleaved(candidates, turn=max(int(2e8 / (m * n * k)), 1))
        rates = [f"{2e-9 * m * n * k / seconds[name]:.0f}" for name in candidates]
        ratios = [f"{seconds[name] / seconds['ours']:.2f}" for name in ("BLAS", "transposed")]
        rows.append((f"{m}, {n}, {k}", *rates, *ratios))
    print("\nProducts with a matrix that is packed already, float32, one thread, GFLOP/s:")
    print(table(rows))


def packed_product(a: Any, b: Any, c: Any) -> Callable[[], None]:
    """C = A B, of which B is packed now, and A and C lie in rows."""
    from tinygrad_seq.compiler.memory.plan import aligned
    from tinygrad_seq.compiler.native import runtime
    from tinygrad_seq.compiler.native.gemm import Matrix, Native, Products
    from tinygrad_seq.compiler.native.gemm_microkernel import panel_of
    from tinygrad_seq.compiler.native.jit import compiled, function_of_table

    (m, k), n, panel = a.shape, b.shape[1], panel_of("f")
    left, right, whole = [Matrix(x.ctypes.data, False, x.shape[1]) for x in (a, b, c)]
    panels = aligned(-(-n // panel.nr) * panel.nr * k * 4) if panel else aligned(0)
    products = Products()

    def one_call(natives: list[Native]) -> Callable[[], None]:
        addresses = compiled(sorted({runtime.RUN, *[native.text for native in natives]}))
        tables = [np.array(native.table, np.int64) for native in natives]
        calls = [x for native, t in zip(natives, tables, strict=True) for x in (addresses[native.text], t.ctypes.data)]
        given = np.array([len(natives), *calls], np.int64)
        run = function_of_table(addresses[runtime.RUN])
        kept = (a, b, c, panels, products, tables)
        return lambda kept=kept: run(given.ctypes.data)  # type: ignore[misc]

    one_call(products.packed("f", right, k, n, panels.ctypes.data).calls)()
    sections = products.multiplied("f", left, panels.ctypes.data, whole, m, n, k)
    return one_call([native for section in sections for native in section.calls])


if __name__ == "__main__":
    main()

"""Products of packed matrices beside NumPy's, over shapes at and off the sizes of blocks and panels."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(find_spec("llvmlite") is None, reason="llvmlite is not installed")
if find_spec("llvmlite") is not None:
    from tinygrad_seq.compiler.memory.plan import aligned
    from tinygrad_seq.compiler.native import gemm, gemm_microkernel, thread_pool
    from tinygrad_seq.compiler.native.gemm import Matrix, ParallelRegion, Products
    from tinygrad_seq.compiler.native.jit import compiled, function_of_table

    PANELS = {  # of float32
        "AVX-512": gemm_microkernel.Panel(16, 4),
        "AVX2": gemm_microkernel.Panel(8, 2),
        "NEON": gemm_microkernel.Panel(4, 4, masks=False),
    }
    HAS = gemm_microkernel.panel_of("f")
else:
    PANELS, HAS = {}, None
SHAPES = [(6, 64, 8), (1, 1, 1), (7, 65, 33), (50, 130, 20), (64, 63, 515), (200, 17, 3), (13, 128, 1030)]


@pytest.fixture(params=["AVX-512", "AVX2", "NEON"])
def panel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The panels of each kind of CPU, whose code LLVM makes for this one out of what it has."""
    if HAS is None:
        pytest.skip("this CPU has no panels")
    single = PANELS[request.param]

    def panel_of(kind: str) -> Any:
        return single if kind == "f" else single._replace(lanes=single.lanes // 2)

    monkeypatch.setattr(gemm, "panel_of", panel_of)
    return panel_of


def run(sections: list[ParallelRegion]) -> None:
    addresses = compiled(sorted({call.text for section in sections for call in section.calls}))
    for section in sections:
        for call in section.calls:
            table = np.array(call.table, np.int64)
            function_of_table(addresses[call.text])(table.ctypes.data)


def laid(a: np.ndarray, transposed: bool, spare: int) -> np.ndarray:
    """The matrix in rows or in columns, with so much between them."""
    a = a.T if transposed else a
    whole = np.full((a.shape[0], a.shape[1] + spare), np.nan, a.dtype)
    whole[:, : a.shape[1]] = a
    return whole[:, : a.shape[1]].T if transposed else whole[:, : a.shape[1]]


def at(a: np.ndarray) -> Matrix:
    place = Matrix.of(a)
    assert place is not None
    return place


def close(a: np.ndarray, b: np.ndarray, k: int) -> None:
    np.testing.assert_allclose(a, b, rtol=0, atol=4 * k * np.finfo(a.dtype).eps)


@pytest.mark.parametrize("kind", ["f", "d"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("transposed", [(False, False), (False, True), (True, False), (True, True)])
@pytest.mark.parametrize(("threads", "workspace"), [(1, 1 << 21), (3, 1 << 21), (2, 1 << 14)])
def test_products(
    panel: Any,
    kind: str,
    shape: tuple[int, int, int],
    transposed: tuple[bool, bool],
    threads: int,
    workspace: int,
    monkeypatch: Any,
) -> None:
    monkeypatch.setattr(thread_pool, "size", lambda: threads)
    monkeypatch.setattr(gemm, "_WORKSPACE", workspace)
    (m, n, k), random = shape, np.random.default_rng(0)
    a = laid(random.uniform(-1, 1, (m, k)).astype(kind), transposed[0], 3)
    b = laid(random.uniform(-1, 1, (k, n)).astype(kind), transposed[1], 5)
    whole = np.full((m, n + 2), np.nan, kind)
    c = whole[:, :n]
    products = Products()
    run(products.product(kind, at(a), at(b), at(c), m, n, k))
    close(c, a @ b, k)
    assert np.isnan(whole[:, n:]).all()  # what lies between the rows is as it was


@pytest.mark.parametrize("kind", ["f", "d"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_products_with_a_matrix_that_is_packed_once(panel: Any, kind: str, shape: tuple[int, int, int]) -> None:
    (m, n, k), random = shape, np.random.default_rng(0)
    a, b = random.uniform(-1, 1, (m, k)).astype(kind), random.uniform(-1, 1, (k, n)).astype(kind)
    wide = panel(kind).nr
    panels = aligned(-(-n // wide) * k * wide * a.itemsize)
    products, c = Products(), np.empty((m, n), kind)
    packed = products.packed(kind, at(b), k, n, panels.ctypes.data)
    run([packed, *products.multiplied(kind, at(a), panels.ctypes.data, at(c), m, n, k)])
    close(c, a @ b, k)


def test_what_is_not_a_number_stays_in_its_row(panel: Any) -> None:
    a, b, c = np.ones((7, 20), "f"), np.ones((20, 65), "f"), np.empty((7, 65), "f")
    a[3, 4], b[5, 64] = np.inf, np.nan
    products = Products()
    run(products.product("f", at(a), at(b), at(c), 7, 65, 20))
    with np.errstate(invalid="ignore"):  # some of NumPy's products warn
        np.testing.assert_array_equal(c, a @ b)


def test_where_a_matrix_lies() -> None:
    if HAS is None:
        pytest.skip("this CPU has no panels")
    a = np.zeros((4, 6), "f")
    start = a.ctypes.data
    assert Matrix.of(a) == (start, False, 6)
    assert Matrix.of(a[:, :5]) == (start, False, 6)
    assert Matrix.of(a.T) == (start, True, 6)
    assert Matrix.of(a[:, ::2]) is None
    assert Matrix.of(a[:, :1]) == (start, False, 6)
    assert Matrix.of(np.broadcast_to(a[:1], (4, 6))) is None

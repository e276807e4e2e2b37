"""The functions of CuPy's backend on a NumPy that is as particular as CuPy where the two differ."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tinygrad_seq.backend import cuda_sources
from tinygrad_seq.backend import cupy as cupy_backend
from tinygrad_seq.backend import numpy as host

from . import host_kernels

pytestmark = pytest.mark.skipif(host_kernels.COMPILER is None, reason="no g++, which stands in for a GPU's compiler")


class Particular:
    """NumPy, but for sums at indices: CuPy has them of few dtypes, and lets an index that is out of range go around."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    @staticmethod
    def _add_at(buffer: Any, index: Any, values: Any) -> None:
        if buffer.dtype.name not in ("int32", "float16", "float32", "float64", "uint32", "uint64"):
            raise TypeError("scatter_add only supports int32, float16, float32, float64, uint32, uint64, as data type")
        assert values.dtype == buffer.dtype
        np.add.at(buffer, index, values)

    add = SimpleNamespace(at=_add_at)


@pytest.fixture
def particular(monkeypatch: pytest.MonkeyPatch) -> None:
    def kernel(name: str) -> Callable[..., None]:
        launch = host_kernels.compile_for_host(cuda_sources.ADD_ROWS, {name})[name]

        def call(blocks: Any, threads: Any, arguments: Any) -> None:
            given = [a.ctypes.data if a.ndim else int(a) for a in arguments]
            launch(blocks[0], 64 if "sort" in name else threads[0], given)

        return call

    monkeypatch.setattr(cupy_backend, "xp", Particular())
    monkeypatch.setattr(cupy_backend, "_kernel", kernel)
    monkeypatch.setattr(cupy_backend, "_sigmoid", lambda x: (1 / (1 + np.exp(-x))).astype(x.dtype), raising=False)
    monkeypatch.setattr(cupy_backend, "_erf", lambda x: host.erf(x).astype(x.dtype), raising=False)


@pytest.mark.parametrize("kind", ["?", "b", "B", "h", "i", "q", "I", "Q", "e", "f", "d", "F", "D"])
def test_sums_at_indices_are_of_every_dtype(kind: str, particular: None) -> None:
    rng = np.random.default_rng(0)
    index = np.array([3, 0, 3, -1])
    cases: list[tuple[Any, tuple[int, ...], tuple[int, ...]]] = [
        ((index,), (5,), (4,)),
        ((index,), (5, 2), (4, 2)),
        ((index, np.array([0, 1, 0, 1])), (5, 2), (4,)),
        ((slice(None), np.array([1, 1])), (3, 2), (3, 2)),
    ]
    for places, shape, given in cases:
        found, expected = (np.ones(shape, kind) for _ in range(2))
        values = (rng.integers(-3, 4, given) if np.dtype(kind).kind not in "bu" else rng.integers(0, 3, given)).astype(
            kind
        )
        if np.dtype(kind).kind == "c":
            values = values * np.array(1 - 2j, kind)
        cupy_backend.scatter_add(found, places, values)
        np.add.at(expected, places, values)
        np.testing.assert_array_equal(found, expected)


def test_an_index_out_of_range_writes_to_no_other_memory(particular: None) -> None:
    memory = np.zeros((9, 2), "f")
    buffer = memory[3:6]
    cupy_backend.scatter_add(buffer, (np.array([[-1, 3], [7, 0]]),), np.ones((2, 2, 2), "f"))
    assert buffer.tolist() == [[2, 2], [1, 1], [1, 1]]
    assert memory[:3].sum() == memory[6:].sum() == 0
    cupy_backend.scatter_add(memory[:0], (np.zeros(0, int),), np.ones((0, 2), "f"))


def test_functions_of_whole_and_of_complex_numbers(particular: None) -> None:
    for kind in ("?", "b", "q"):
        x = np.array([0, 1, 1]).astype(kind)
        for name in ("sigmoid", "erf"):
            made = getattr(cupy_backend, name)(x)
            assert made.dtype == np.float32
            np.testing.assert_allclose(made, getattr(host, name)(x), rtol=1e-6)
    z = np.array([1e4 + 1j, -1e4 + 1j, 0.5 - 0.1j])
    np.testing.assert_allclose(cupy_backend.sigmoid(z), host.sigmoid(z))
    with pytest.raises(TypeError, match="erf: takes real numbers"):
        cupy_backend.erf(z)


def test_a_checksum_takes_little_memory_and_sees_every_change(
    particular: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest: list[int] = []

    def arange(start: int, stop: int, dtype: Any) -> Any:
        largest.append(stop - start)
        return np.arange(start, stop, dtype=dtype)

    made: Any = Particular()
    made.arange, made.cuda = arange, SimpleNamespace(Device=host.on)
    monkeypatch.setattr(cupy_backend, "xp", made)
    monkeypatch.setattr(cupy_backend, "device_index", lambda array: 0, raising=False)
    monkeypatch.setattr(cupy_backend, "_PIECE", 64)
    x = np.arange(100.0)
    found = {cupy_backend.checksum(x)}
    for k in range(0, 100, 7):
        x[k] += 1.0
        found.add(cupy_backend.checksum(x))
    assert len(found) == 16
    assert max(largest) <= 64
    monkeypatch.setattr(cupy_backend, "_PIECE", 2**22)
    assert cupy_backend.checksum(x) in found

"""CUDA C++: what programs make goes through NVIDIA's compiler, without a GPU; what is hand-written computes right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nn
import nn.functional as F
import tinygrad_seq as tg
from nn import optim
from tinygrad_seq.backend import cuda_sources

from ..engine import host_kernels, nvrtc
from ..engine.strict_backend import stand_in_only
from .test_cuda import close

pytestmark = pytest.mark.usefixtures("gpu")


# --- NVIDIA's compiler ---


@pytest.fixture
def sources(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What programs hand to the compiler from now on."""
    seen: list[str] = []
    real = gpu.kernels

    def kernels(source: str, names: set[str], index: int = 0) -> Any:
        seen.append(source)
        return real(source, names, index)

    monkeypatch.setattr(gpu, "kernels", kernels, raising=False)
    return seen


needs_nvrtc = pytest.mark.skipif(nvrtc.library() is None, reason=f"no NVRTC; its wheel is {nvrtc.PACKAGES}")


@stand_in_only
@needs_nvrtc
@pytest.mark.parametrize("architecture", ["compute_75", "compute_90"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_kernels_of_a_training_step_compile(architecture: str, dtype: str, sources: list[str]) -> None:
    layers = [nn.Embedding(5, 4), nn.LSTM(4, 6, 2, dropout=0.2), nn.LayerNorm(6), nn.Linear(6, 5)]
    model = nn.ModuleList(layers).to(dtype).to("cuda")
    embedding, recurrent, norm, head = model
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    @tg.compile
    def step(tokens: tg.Tensor) -> tg.Tensor:
        scores = head(norm(recurrent(embedding(tokens[:-1]))[0]))
        loss = F.cross_entropy(scores.reshape(-1, 5), tokens[1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        return loss.detach()

    tokens = tg.tensor(np.arange(24).reshape(8, 3) % 5, device="cuda")
    for _ in range(2):
        step(tokens)
    assert max(source.count("__global__") for source in sources) > 10
    for source in sources:
        assert b".entry" in nvrtc.compile_cuda(source, architecture)


@stand_in_only
@needs_nvrtc
def test_a_block_has_registers_for_all_its_threads(sources: list[str]) -> None:
    """The compiler is told how many there are: 512 threads with 255 registers each would not start at all."""

    @tg.compile
    def long(x: tg.Tensor) -> tg.Tensor:
        for k in range(20):
            x = tg.exp(x.softmax(-1) * 0.1) + tg.tanh(x + 0.1 * k)
        return x

    long(tg.randn(3, 2000, device="cuda"))
    ptx = b"".join([nvrtc.compile_cuda(source) for source in [*sources, cuda_sources.ADD_ROWS]])
    assert b".maxntid 512" in ptx
    assert b".maxntid 1024" in ptx
    own = sum([source.count("__global__") for source in sources])
    assert ptx.count(b".maxntid") == own + 1
    assert b".f64" not in b"".join([nvrtc.compile_cuda(source) for source in sources])  # a float32 program's


@needs_nvrtc
def test_a_wrong_kernel_does_not_compile() -> None:
    with pytest.raises(AssertionError, match="undefined"):
        nvrtc.compile_cuda('extern "C" __global__ void k(float* a) { a[0] = missing; }')


ALL_KINDS: list[Callable[[tg.Tensor], Any]] = [
    lambda x: x.to(tg.int32) * 2 + x.to(tg.uint8).to(tg.int32),
    lambda x: (x.to(tg.int16) < 3) | (x.long() == 2) & ~(x > 1),
    lambda x: tg.where(x > 0, tg.log1p(tg.abs(x)), tg.expm1(x)) ** 1.5,
    lambda x: tg.floor(x) + tg.ceil(x) + tg.round(x) + tg.trunc(x) + tg.erf(x) + tg.cos(x) * tg.log(tg.exp(x)),
    lambda x: tg.isnan(x / 0.0) | tg.isinf(x / 0.0) | tg.isfinite(x) | (x == float("inf")) | (x != float("nan")),
    lambda x: tg.maximum(x, float("-inf")) + x.clamp(-1e-3, 1e30) - x.square().reciprocal(),
    lambda x: x.prod(-1) + x.amin(-1) + (x * 2.0).amax(-1) + x.sum(-1),
]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("f", ALL_KINDS)
def test_all_types_compute_and_compile(f: Any, dtype: str, sources: list[str]) -> None:
    x = tg.tensor([[1.5, -2.0, 0.25, 3.0], [-0.0, 4.0, 1.0, 2.5]]).to(dtype)
    x = x if dtype != "int64" else x + 5
    with np.errstate(all="ignore"):
        try:
            expected = f(x)
        except (TypeError, RuntimeError):
            return  # not of integers
        close(tg.compile(f)(x.to("cuda")), expected, 1e-5)
    if nvrtc.library() is not None:
        for source in sources:
            nvrtc.compile_cuda(source)


# --- what is written by hand ---


@needs_nvrtc
@pytest.mark.parametrize("source", [cuda_sources.PHILOX, cuda_sources.ADD_ROWS])
def test_the_backends_own_kernels_compile(source: str) -> None:
    assert nvrtc.compile_cuda(source).count(b".entry") == source.count("__global__")


def test_random_bits_are_numpys() -> None:
    from tinygrad_seq.backend import numpy as host

    launch = host_kernels.compile_for_host(cuda_sources.PHILOX, {"tg_philox"})["tg_philox"]
    for seed, start, count in ((0, 0, 8), (2**63 + 11, 5, 1000), (7, 2**64 - 2, 3)):
        out = np.zeros(count, np.uint32)
        launch(4, 256, [seed, start, count, out.ctypes.data])
        np.testing.assert_array_equal(out, host.random_bits(seed, start, count))


@pytest.mark.parametrize(("count", "length"), [(1, 1), (5, 2), (200, 65), (64, 1000), (129, 3)])
def test_rows_are_sorted_in_place_of_a_library(count: int, length: int) -> None:
    name = "tg_sort_rows"
    launch = host_kernels.compile_for_host(cuda_sources.ADD_ROWS, {name})[name]
    rows = np.random.default_rng(count).integers(0, length, count)
    table = np.full((4, count), -1)
    launch(1, 32, [rows.ctypes.data, table.ctypes.data, count, (length - 1).bit_length()])
    order = np.argsort(rows, kind="stable")
    np.testing.assert_array_equal(table[0], rows[order])
    np.testing.assert_array_equal(table[1], order)


@pytest.mark.parametrize("kind", ["f", "d"])
def test_rows_are_added_up_in_order(kind: str) -> None:
    name = f"tg_add_rows_{kind}"
    launch = host_kernels.compile_for_host(cuda_sources.ADD_ROWS, {name})[name]
    rng = np.random.default_rng(0)
    index, values = rng.integers(0, 5, 40), rng.standard_normal((40, 7)).astype(kind)
    order = np.argsort(index, kind="stable")
    out, expected = np.ones((5, 7), kind), np.ones((5, 7), kind)
    launch(2, 256, [a.ctypes.data for a in (index[order], order, values, out)] + [40, 7])
    np.add.at(expected, index, values)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


def test_many_rows_that_are_added_up_lose_nothing() -> None:
    launch = host_kernels.compile_for_host(cuda_sources.ADD_ROWS, {"tg_add_rows_f"})["tg_add_rows_f"]
    count = 30000
    rows, order = np.zeros(count, np.int64), np.arange(count)
    values, out = np.full((count, 3), 0.1, "f"), np.zeros((1, 3), "f")
    launch(count * 3 // 256 + 1, 256, [a.ctypes.data for a in (rows, order, values, out)] + [count, 3])
    np.testing.assert_allclose(out, count * float(np.float32(0.1)), rtol=1e-7)

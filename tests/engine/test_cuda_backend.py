"""What is said where a GPU cannot be used, what is counted of its memory, and products by cuBLAS's C functions.

CuPy and cuBLAS are played by small stand-ins with the functions that are called.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg
from tinygrad_seq import backend, config
from tinygrad_seq.backend import cublas
from tinygrad_seq.backend import cupy as cupy_backend
from tinygrad_seq.backend.gpu_allocator import Allocator, OutOfMemoryError, readable
from tinygrad_seq.graph.device import default_device

from . import host_kernels
from .strict_array import StrictArray, installed, stand_in_only

ROOT = Path(__file__).parent.parent.parent


class FakeError(RuntimeError):
    """As CuPy's CUDARuntimeError."""

    def __init__(self, status: int) -> None:
        super().__init__(f"cudaError {status}")
        self.status = status


def fake_cupy(count: int | FakeError, driver: int = 13000) -> Any:
    def answer() -> int:
        if isinstance(count, FakeError):
            raise count
        return count

    runtime = SimpleNamespace(
        getDeviceCount=answer, CUDARuntimeError=FakeError, driverGetVersion=lambda: driver,
        runtimeGetVersion=lambda: 13000,
    )  # fmt: skip
    return SimpleNamespace(cuda=SimpleNamespace(runtime=runtime))


REFUSALS: list[tuple[Any, int, str]] = [
    (FakeError(35), 0, r"CuPy is installed, but there is no CUDA driver .*`nvidia-smi`"),
    (FakeError(35), 12020, r"driver knows CUDA up to 12\.2, and the CuPy .* made for CUDA 13\.0\. Update the driver"),
    (FakeError(100), 13000, r"this machine shows no CUDA device .*`nvidia-smi`"),
    (FakeError(999), 13000, r"CUDA does not answer \(cudaError 999\)"),
    (0, 13000, r"this machine shows no CUDA device"),
]


@pytest.mark.host("what is said without a GPU")
@pytest.mark.parametrize(("count", "driver", "message"), REFUSALS)
def test_what_is_missing_is_said(count: Any, driver: int, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cupy_backend, "_missing", None)
    monkeypatch.setattr(cupy_backend, "_count", None)
    monkeypatch.setattr(cupy_backend, "xp", fake_cupy(count, driver))
    for call in (
        lambda: tg.zeros(2, device="cuda"),
        lambda: tg.ones(2).to("cuda"),
        lambda: tg.set_default_device("cuda"),
    ):
        with pytest.raises(RuntimeError, match=message):
            call()
    assert not tg.cuda.is_available()
    assert tg.zeros(1).device == "cpu"


@pytest.mark.host("what is said without a GPU")
def test_a_module_stays_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cupy_backend, "_missing", None)
    monkeypatch.setattr(cupy_backend, "_count", None)
    monkeypatch.setattr(cupy_backend, "xp", fake_cupy(FakeError(35), 0))
    module = nn.LSTM(2, 3)
    with pytest.raises(RuntimeError, match="no CUDA driver"):
        module.to("cuda")
    assert all(p.device == "cpu" for p in module.parameters())


@pytest.mark.host("what is said without a GPU")
def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cupy_backend, "_missing", None)
    monkeypatch.setattr(cupy_backend, "_count", None)
    monkeypatch.setattr(cupy_backend, "xp", fake_cupy(2))
    monkeypatch.setattr(cupy_backend, "track_memory", lambda: None, raising=False)
    with pytest.raises(RuntimeError, match=r"device 'cuda:2': there is none; this machine has cuda:0 to cuda:1"):
        tg.zeros(2, device="cuda:2")
    assert cupy_backend.require(1) == 2
    monkeypatch.setattr(backend, "several_gpus", [])
    for _ in range(2):
        assert backend.backend_for("cuda", 1) is cupy_backend
        assert backend.several_gpus == [cupy_backend]  # from now on each operation looks where its operands are


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ("raise ModuleNotFoundError('No module named cupy')", r"needs CuPy, which is not installed: pip install"),
        (
            "raise ImportError('libcublas.so.12: cannot open')",
            r"does not load: libcublas.so.12.*made for one version of",
        ),
    ],
)
def test_cupy_that_is_not_there_or_another_cudas(failure: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "cupy.py").write_text(failure)
    code = "import tinygrad_seq as tg\ntry: tg.zeros(1, device='cuda')\nexcept RuntimeError as e: print(e)"
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True, cwd=tmp_path
    )
    assert "Traceback" not in shown.stdout
    assert __import__("re").search(message, shown.stdout)


def test_the_environment_names_a_device() -> None:
    def run(name: str) -> subprocess.CompletedProcess[str]:
        look = "from tinygrad_seq.graph.device import default_device as d; print(d())"
        code = f"import tinygrad_seq as tg; {look}; tg.zeros(1)"
        environment = os.environ | {"PYTHONPATH": str(ROOT), "TINYGRAD_SEQ_DEVICE": name}
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
        )

    assert run("").stdout == run("cpu").stdout == "cpu\n"
    assert run("cuda:1").stdout == "cuda:1\n"  # and then there is none, or it works
    assert "variable TINYGRAD_SEQ_DEVICE is 'gpu'; takes 'cpu', 'cuda' or 'cuda:N'" in run("gpu").stderr


# --- memory ---


class Full(MemoryError):
    """As CuPy's OutOfMemoryError."""


def test_memory_is_counted_and_refused_in_words() -> None:
    held: list[int] = []
    kept = [70000]

    def malloc(size: int) -> object:
        if sum(held) + kept[0] + size > 100000:
            raise Full
        held.append(size)
        return object()

    def let_go() -> None:
        kept[0] = 0

    allocator = Allocator(
        malloc, Full, lambda: 1, lambda index: sum(held), lambda index: (kept[0], 10240, 204800), let_go
    )
    allocator.malloc(20000)
    assert allocator.peaks == {1: 20000}
    allocator.malloc(50000)  # once what is kept for later is let go
    assert allocator.peaks == {1: 70000}
    with pytest.raises(OutOfMemoryError) as caught:
        allocator.malloc(40960)
    text = str(caught.value)
    assert "cuda:1 is out of memory: 40.0 KiB were asked for, and of 200.0 KiB there are 10.0 KiB free" in text
    assert "arrays of this process hold 68.4 KiB, memory kept for later ones 0 B, CUDA and other processes" in text
    held.clear()
    allocator.malloc(40000)
    assert allocator.peaks == {1: 70000}
    allocator.reset_peak(1)
    allocator.malloc(1000)
    assert allocator.peaks == {1: 41000}


def test_memory_is_counted_only_where_there_may_be_a_new_peak() -> None:
    """Counting what thousands of arrays hold, at each new one, would take longer than all else."""
    sizes, counted, held = [3000, 10, 5000, 800, 4000, 2, 700], [0], [0]

    def used(index: int) -> int:
        counted[0] += 1
        return held[0]

    def malloc(size: int) -> None:
        held[0] += size + 500  # some are given more

    allocator = Allocator(malloc, Full, lambda: 0, used, lambda index: (0, 0, 0), lambda: None)
    most = 0
    for k in range(400):
        if k % 8 == 7:
            held[0] = 0  # all arrays are gone
        allocator.malloc(sizes[k % 7] * (3 if k == 200 else 1))
        most = max(most, held[0])
        assert allocator.peaks[0] == most
    assert counted[0] < 150


def test_bytes_as_people_say_them() -> None:
    assert [readable(n) for n in (5, 2048, 3 * 2**20, 5 * 2**30)] == ["5 B", "2.0 KiB", "3.0 MiB", "5.0 GiB"]


# --- what is asked of CuPy ---


class FakeStream:
    """As CuPy's: a context on the device that was current when it was made, which can be captured."""

    log: list[str]

    def __init__(self, non_blocking: bool = False) -> None:
        self.ptr, self.non_blocking, self.device = 7, non_blocking, self.log[-1:]

    def __enter__(self) -> FakeStream:
        assert self.log[-1:] == self.device
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def begin_capture(self) -> None:
        assert self.non_blocking  # the default stream cannot be captured
        self.log.append("begin")

    def end_capture(self) -> Any:
        self.log.append("end")
        return SimpleNamespace(launch=lambda stream: self.log.append("launch"))

    def record(self) -> Any:
        return SimpleNamespace(done=False)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[str]]:
    """The module that talks to CuPy, with one that answers, and what it was asked."""
    gpu_runtime = pytest.importorskip("tinygrad_seq.backend.gpu_runtime", reason='the extras "cuda12" and "cuda13"')
    log: list[str] = []
    monkeypatch.setattr(FakeStream, "log", log, raising=False)

    def malloc(size: int) -> Any:
        log.append(f"malloc {size}")
        return bytearray(size)

    allocators: list[Any] = [malloc]

    @contextmanager
    def using_allocator(malloc: Any) -> Iterator[None]:
        allocators.append(malloc)
        yield
        allocators.pop()

    @contextmanager
    def device(index: int) -> Iterator[None]:
        log.append(f"device {index}")
        yield

    def function(grid: Any, block: Any, args: Any) -> None:
        log.append(f"{grid} {block} {[(type(a).__name__, int(a)) for a in args]}")

    cuda = SimpleNamespace(
        Device=device, Stream=FakeStream, using_allocator=using_allocator, get_allocator=lambda: allocators[-1],
        get_current_stream=FakeStream, runtime=SimpleNamespace(CUDARuntimeError=FakeError),
        alloc_pinned_memory=bytearray,
    )  # fmt: skip
    module = SimpleNamespace(get_function=lambda name: function)
    fake = SimpleNamespace(cuda=cuda, RawModule=lambda code, options: module, empty=np.empty, asarray=np.array)
    monkeypatch.setattr(gpu_runtime, "xp", fake)
    return gpu_runtime, log


def test_a_capture_ends_whatever_happens_and_keeps_what_it_asked_for(asked: Any) -> None:
    gpu_runtime, log = asked
    got: list[Any] = []
    launch = gpu_runtime.capture(lambda: got.append(gpu_runtime.xp.cuda.get_allocator()(16)), 1)
    assert log == ["device 1", "begin", "malloc 16", "end"]
    assert any(held is got[0] for held in launch.__defaults__[0])
    launch()
    assert log[-1] == "launch"
    log.clear()
    with pytest.raises(NotImplementedError):
        gpu_runtime.capture(lambda: (_ for _ in ()).throw(NotImplementedError))
    assert log == ["device 0", "begin", "end"]
    gpu_runtime.xp.cuda.get_allocator()(8)
    assert log[-1] == "malloc 8"


def test_kernels_are_launched_with_addresses(asked: Any) -> None:
    gpu_runtime, log = asked
    gpu_runtime.kernels("...", {"k"}, 0)["k"](3, 256, [2**63, 5])
    assert log[-1] == f"(3,) (256,) [('uint64', {2**63}), ('uint64', 5)]"


def test_what_is_fetched_stays_until_it_has_come(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu_runtime, _ = asked

    class Array(np.ndarray):
        def set(self, array: Any, stream: Any) -> None:
            assert stream is not None
            self[...] = array

    monkeypatch.setattr(gpu_runtime.xp, "empty", lambda shape, kind: np.empty(shape, kind).view(Array))
    monkeypatch.setattr(gpu_runtime, "_in_flight", [])
    batch = gpu_runtime.pinned(np.arange(6.0).reshape(2, 3))
    assert gpu_runtime.is_pinned(batch)
    assert gpu_runtime.is_pinned(batch[1:, 1])
    assert not gpu_runtime.is_pinned(np.arange(6.0))
    assert not gpu_runtime.is_pinned(batch.copy())
    assert gpu_runtime.send(batch).tolist() == batch.tolist()
    ((event, held),) = gpu_runtime._in_flight
    assert held is batch
    event.done = True
    gpu_runtime.send(batch)
    assert len(gpu_runtime._in_flight) == 1


def test_pinned_memory_may_be_written_to_once_it_is_sent(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless `non_blocking` says otherwise: CuPy would go on while the GPU still fetches."""
    gpu_runtime, log = asked
    monkeypatch.setattr(cupy_backend, "xp", gpu_runtime.xp)
    monkeypatch.setattr(FakeStream, "synchronize", lambda self: log.append("wait"), raising=False)
    cupy_backend.asarray(np.ones(3), None, 1)
    assert log == ["device 1"]
    cupy_backend.asarray(gpu_runtime.pinned(np.ones(3))[1:], None, 1)
    assert log == ["device 1", "device 1", "wait"]


def test_eager_products_round_as_compiled_ones_do(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu_runtime, _ = asked
    told: list[Any] = []
    linalg = SimpleNamespace(
        COMPUTE_TYPE_TF32=7, COMPUTE_TYPE_DEFAULT=1, set_compute_type=lambda *given: told.append(given)
    )
    monkeypatch.setattr(gpu_runtime, "import_module", lambda name: linalg)
    monkeypatch.setattr(config, "backend_for", lambda name: gpu_runtime)
    for precision, kind in (("high", 7), ("highest", 1)):
        tg.set_float32_matmul_precision(precision)
        assert told[-1] == (np.float32, kind)
        assert tg.get_float32_matmul_precision() == cublas.precision == precision


# --- on the stand-in ---


@pytest.fixture
def gpu() -> Iterator[Any]:
    with installed() as backend:
        yield backend


@stand_in_only
@pytest.mark.parametrize("compiled", [False, True])
def test_training_goes_on_with_a_smaller_batch(compiled: bool, gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that finds no memory, wherever it is, leaves parameters, gradients and optimizer as they were."""
    model = nn.RNN(2, 3).to("cuda")
    optimizer = nn.optim.Adam(model.parameters())

    def plain(x: tg.Tensor) -> tg.Tensor:
        loss = (model(x)[0] ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    step = tg.compile(plain) if compiled else plain
    small, large = tg.ones(4, 2, 2, device="cuda"), tg.ones(4, 50, 2, device="cuda")
    for _ in range(3):
        step(small)
    before = [p.tolist() for p in model.parameters()]
    state = [v.tolist() for s in optimizer.state.values() for v in s.values() if isinstance(v, tg.Tensor)]
    real = StrictArray.__init__

    def full(self: Any, hidden: Any) -> None:
        if hidden.size > 200:
            raise OutOfMemoryError("cuda:0 is out of memory")
        real(self, hidden)

    with monkeypatch.context() as patch:
        patch.setattr(StrictArray, "__init__", full)
        with pytest.raises(tg.cuda.OutOfMemoryError, match="cuda:0 is out of memory"):
            step(large)
    assert before == [p.tolist() for p in model.parameters()]
    assert state == [v.tolist() for s in optimizer.state.values() for v in s.values() if isinstance(v, tg.Tensor)]
    step(small)
    assert before != [p.tolist() for p in model.parameters()]


@stand_in_only
def test_devices_in_force(gpu: Any) -> None:
    before = default_device()
    tg.set_default_device("cuda")
    try:
        assert tg.zeros(1).device == "cuda:0"
        with tg.device("cpu"):
            assert tg.zeros(1).device == "cpu"
        assert nn.Linear(2, 2).weight.device == "cuda"
    finally:
        tg.set_default_device(before)
    with pytest.raises(RuntimeError, match="'cuda:1': there is none"), tg.device("cuda:1"):
        pass
    assert tg.zeros(1).device == before
    assert tg.ones(1).cuda(0).device == tg.ones(1).cuda().device == "cuda:0"


@stand_in_only
def test_pinned_batches_are_fetched(gpu: Any) -> None:
    x = tg.arange(4, device="cpu")
    batch = x.pin_memory()
    assert batch.is_pinned()
    assert batch.pin_memory() is batch
    assert not x.is_pinned()
    assert not gpu.sent
    moved = batch.to("cuda", non_blocking=True)
    assert moved.tolist() == batch.tolist() == [0, 1, 2, 3]
    assert len(gpu.sent) == 1
    assert x.to("cuda", non_blocking=True).device == "cuda:0"
    with pytest.raises(RuntimeError, match="on the CPU, this one is on cuda:0"):
        moved.pin_memory()


@stand_in_only
def test_figures_of_memory(gpu: Any) -> None:
    before = tg.cuda.memory_allocated()
    x = tg.zeros(1000, device="cuda")
    assert tg.cuda.memory_allocated("cuda:0") == tg.cuda.memory_allocated(x) == before + 4000
    gpu.most = 10**9
    assert tg.cuda.max_memory_allocated() == 10**9
    tg.cuda.reset_peak_memory_stats()
    assert tg.cuda.max_memory_allocated() == before + 4000
    with pytest.raises(ValueError, match="takes a CUDA device, got 'cpu'"):
        tg.cuda.memory_allocated("cpu")


@pytest.mark.skipif(tg.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_there_is_nothing_to_count() -> None:
    assert tg.cuda.memory_allocated() == tg.cuda.max_memory_allocated() == tg.cuda.device_count() == 0
    tg.cuda.empty_cache()
    assert not tg.ones(1).is_pinned()
    with pytest.raises(RuntimeError, match="device 'cuda'"):
        tg.ones(1).pin_memory()


# --- cuBLAS ---

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

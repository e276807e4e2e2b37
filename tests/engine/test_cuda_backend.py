"""What is asked of CuPy, which a small stand-in plays; on the other stand-in: devices, pinned batches, memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg
from tinygrad_seq import config
from tinygrad_seq.backend import cublas
from tinygrad_seq.backend import cupy as cupy_backend
from tinygrad_seq.backend.gpu_allocator import OutOfMemoryError
from tinygrad_seq.graph.device import default_device

from .strict_array import StrictArray
from .strict_backend import installed, stand_in_only
from .test_missing_gpu import FakeError

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

"""NCCL as far as it goes without a GPU: what is asked of it, and who is asked when."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg
from tinygrad_seq import distributed as dist
from tinygrad_seq.distributed import group as groups
from tinygrad_seq.distributed.nccl import NCCLTransport, join
from tinygrad_seq.distributed.transport import Silence
from tinygrad_seq.graph.batch_shard import BatchShard, set_shard

from ..combinations.processes import Mirror
from ..engine.host_kernels import COMPILER
from ..engine.strict_array import StrictArray
from ..engine.strict_backend import installed, stand_in_only
from .test_failure import run

needs_cupy = pytest.mark.skipif(find_spec("cupy") is None, reason='the extras "cuda12" and "cuda13"')
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no g++, which stands in for a GPU here")
SIGNATURES = [
    "allReduce(self, intptr_t sendbuf, intptr_t recvbuf, size_t count, int datatype, int op, intptr_t stream)",
    "allGather(self, intptr_t sendbuf, intptr_t recvbuf, size_t count, int datatype, intptr_t stream)",
    "broadcast(self, intptr_t sendbuff, intptr_t recvbuff, size_t count, int datatype, int root, intptr_t stream)",
]


@needs_cupy
def test_cupy_has_what_is_called() -> None:
    spec = find_spec("cupy_backends.cuda.libs.nccl")
    assert spec is not None
    library = Path(spec.origin or "").read_bytes()
    for signature in SIGNATURES:
        assert signature.encode() in library
    for name in "INT8 UINT8 INT32 UINT32 INT64 UINT64 FLOAT16 FLOAT32 FLOAT64 SUM PROD MIN MAX".split():  # noqa: SIM905
        assert f"NCCL_{name}".encode() in library


class Recorder:
    """The library, which notes what it is asked."""

    def __init__(self, as_bytes: bool) -> None:
        self.log: list[Any] = []
        self.given: Any = None
        numbers = [*range(-64, 64)]
        self.made = bytes([n % 256 for n in numbers]) if as_bytes else tuple(numbers)
        self.get_unique_id = lambda: self.made

    def __getattr__(self, name: str) -> Any:
        return len(name) if name.startswith("NCCL_") else lambda *given: self.log.append((name, *given))

    def NcclCommunicator(self, size: int, common: Any, rank: int) -> Any:
        self.given = (size, common, rank)
        return self


@needs_cupy
@pytest.mark.parametrize("as_bytes", [True, False])
def test_the_library_is_given_addresses_and_counts(as_bytes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from tinygrad_seq.backend import nccl

    library = Recorder(as_bytes)
    stream = SimpleNamespace(ptr=99)
    cuda = SimpleNamespace(Device=lambda index: nullcontext(), get_current_stream=lambda: stream)
    monkeypatch.setattr(nccl, "nccl", library)
    monkeypatch.setattr(nccl, "xp", SimpleNamespace(cuda=cuda))
    made = nccl.Communicator(3, nccl.new_id(), 2, 0)
    assert library.given == (3, library.made, 2)

    def lying(dtype: str, at: int) -> Any:
        kind = np.dtype(dtype)
        return SimpleNamespace(dtype=kind, size=6, nbytes=6 * kind.itemsize, data=SimpleNamespace(ptr=at))

    made.all_reduce(lying("f4", 10), lying("f4", 20), "sum")
    made.all_reduce(lying("c16", 10), lying("c16", 20), "sum")
    made.all_gather(lying("f8", 10), lying("f8", 20))
    made.broadcast(lying("?", 10), 1)
    made.abort()
    kind = {name: len(f"NCCL_{name}") for name in ("FLOAT32", "FLOAT64", "UINT8", "SUM")}
    assert library.log == [
        ("allReduce", 10, 20, 6, kind["FLOAT32"], kind["SUM"], 99),
        ("allReduce", 10, 20, 12, kind["FLOAT64"], kind["SUM"], 99),
        ("allGather", 10, 20, 48, kind["UINT8"], 99),
        ("broadcast", 10, 10, 6, kind["UINT8"], 1, 99),
        ("abort",),
    ]
    for dtype, op in (("i2", "sum"), ("c8", "product")):
        with pytest.raises(TypeError, match=f"all_reduce: NCCL has no {op} of .*; convert it first"):
            made.all_reduce(lying(dtype, 10), lying(dtype, 20), op)


class Ends:
    """One end of messages to a rank that sends the same; only arrays on a GPU may go through it."""

    ID_SIZE = 3

    def __init__(self) -> None:
        self.log: list[str] = []
        self.others = Mirror()

    def new_id(self) -> bytes:
        return b"abc"

    def identity(self, index: int) -> str:
        return f"GPU {index}"

    def Communicator(self, size: int, common: bytes, rank: int, index: int) -> Any:
        self.log.append(f"{size} {common!r} {rank} {index}")
        return self

    def __getattr__(self, name: str) -> Callable[..., None]:
        def send(x: Any, *rest: Any) -> None:
            assert type(x) is StrictArray
            self.log.append(f"{name} {x.dtype}{list(x.shape)}")
            getattr(self.others, name)(*[a.hidden if type(a) is StrictArray else a for a in (x, *rest)])

        return send


class Words(Mirror):
    """The other rank has another GPU, and arrays on the host go this way."""

    def __init__(self, other: str = "another GPU") -> None:
        self.other = other
        self.sent = 0

    def exchange(self, words: bytes, timeout: float) -> list[bytes]:
        theirs = words.replace(b"GPU 0", self.other.encode())[: len(words)] if b"GPU 0" in words else words
        return [words, theirs]

    def all_reduce(self, x: Any, out: Any, op: str) -> None:
        assert type(x) is np.ndarray
        self.sent += 1
        super().all_reduce(x, out, op)


@pytest.fixture
def two() -> Iterator[tuple[Ends, Words]]:
    """A group of two over NCCL, of which the other does the same on a GPU of its own."""
    ends, words = Ends(), Words()
    with installed():
        groups.begin(groups.Group(NCCLTransport(words, ends), 60.0))
        set_shard(BatchShard(0, 4, 4, 0))
        yield ends, words
        groups.end()


@stand_in_only
def test_arrays_go_from_the_gpu_where_they_are(two: tuple[Ends, Words]) -> None:
    ends, words = two
    x = tg.ones(2, 3, device="cuda").T
    assert dist.all_reduce(x * 1).tolist() == [[2.0, 2.0]] * 3
    assert [t.tolist() for t in dist.all_gather(tg.tensor(5.0, device="cuda"))] == [5.0, 5.0]
    assert dist.broadcast(x).tolist() == [[1.0, 1.0]] * 3
    assert ends.log == ["2 b'abc' 0 0", "all_reduce float32[3, 2]", "all_gather float32[]", "broadcast float32[3, 2]"]
    assert dist.all_reduce(tg.ones(2)).tolist() == [2.0, 2.0]
    assert words.sent == 1


@stand_in_only
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=needs_compiler)])
def test_a_step_sends_its_gradients_from_the_gpu(two: tuple[Ends, Words], compiled: bool) -> None:
    ends, words = two
    tg.manual_seed(0)
    model, alone = [nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5)).to("cuda") for _ in range(2)]
    alone.load_state_dict(model.state_dict())
    x, stands = tg.randn(4, 3).to("cuda"), tg.default_generator.get_state()

    def trained(model: nn.Module, averages: bool) -> list[list[float]]:
        tg.default_generator.set_state(stands)
        optimizer = nn.optim.SGD(model.parameters(), lr=0.1)

        def step(x: tg.Tensor) -> tg.Tensor:
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            if averages:
                dist.average_gradients(model.parameters(), weight=len(x), loss=loss)
            optimizer.step()
            return loss

        run = tg.compile(step) if compiled else step
        for _ in range(3):
            run(x)
        return [p.detach().cpu().reshape(-1).tolist() for p in model.parameters()]

    assert trained(model, True) == trained(alone, False)
    assert ends.log == ["2 b'abc' 0 0"] + ["all_reduce float32[9]"] * 3
    assert words.sent == 0
    dist.require_identical(model)


@stand_in_only
def test_two_ranks_with_one_gpu() -> None:
    with installed():
        groups.begin(groups.Group(NCCLTransport(Words("GPU 0"), Ends()), 60.0))
        try:
            with pytest.raises(
                dist.DistributedError, match=r"ranks 0 and 1 have the same GPU, GPU 0, .*get_node_local_rank"
            ):
                dist.all_reduce(tg.ones(2, device="cuda") * 1)
        finally:
            groups.end()


def test_what_is_missing_is_said_on_all_ranks() -> None:
    class Others(Mirror):
        def exchange(self, words: bytes, timeout: float) -> list[bytes]:
            return [b" " * len(words), b"device 'cuda': no driver".ljust(len(words))]

    with pytest.raises(RuntimeError, match=r"'nccl' does not work here, on rank 1: device 'cuda': no driver"):
        join(Others())


def test_a_rank_that_does_not_come() -> None:
    class Others(Mirror):
        def exchange(self, words: bytes, timeout: float) -> list[bytes]:
            raise Silence([])

    with pytest.raises(RuntimeError, match="'nccl' has waited 600 s for another rank"):
        join(Others())


@stand_in_only
@needs_cupy
def test_without_a_gpu() -> None:
    if tg.cuda.is_available():
        pytest.skip("there is a GPU")
    text = run("dist.init_process_group('nccl')", {})
    assert re.search(r"RuntimeError: init_process_group: 'nccl' does not work here, device 'cuda': CuPy is", text), text
    text = run("import sys; sys.modules['cupy'] = None\ndist.init_process_group('nccl')", {})
    assert "'nccl' does not work here, device 'cuda' needs CuPy, which is not installed" in text, text

"""What the benchmarks say of this engine, except for its speed."""

from __future__ import annotations

import sys

import pytest

import tinygrad_seq as tg
from benchmarks import compiled, engines, gpu, memory, recurrent
from benchmarks.language_model import Workload, ours

from .engine import host_kernels
from .engine.strict_array import installed, stand_in_only

TINY = Workload("tiny", V=5, H=4, L=1, B=2, T=9)


@pytest.mark.parametrize("question", engines.PROBES)
def test_the_table_says_yes(question: str) -> None:
    assert engines.answer(question, "tinygrad_seq") == "yes"


@pytest.mark.parametrize("executor", [None, "numpy"])
def test_checkpoints_change_nothing_but_memory(executor: str | None) -> None:
    steps = memory.in_pieces(TINY, 3, executor), ours(TINY)
    for _ in range(3):
        assert steps[0]() == pytest.approx(steps[1](), rel=1e-5)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's figures")
def test_checkpoints_save_memory() -> None:
    stored, in_pieces = (memory.peak("long", name) for name in memory.CANDIDATES[memory.LONG])
    assert stored is not None
    assert in_pieces is not None
    assert in_pieces[0] < stored[0] / 4


@pytest.mark.parametrize("case", recurrent.CASES)
def test_the_peer_computes_the_same(case: str) -> None:
    pytest.importorskip("torch", reason="PyTorch is the peer")
    found = [recurrent.ours(*recurrent.CASES[case])().item()]
    found += [recurrent.theirs(*recurrent.CASES[case], fused=fused)().item() for fused in (False, True)]
    assert found == pytest.approx([found[0]] * 3, rel=1e-4)


@pytest.mark.parametrize("kind", ["LSTM", "RNN"])
@pytest.mark.parametrize("executor", compiled.EXECUTORS)
def test_compiled_steps_compute_the_same(kind: str, executor: str) -> None:
    eager, replayed = (ours(TINY, kind, e) for e in (None, executor))
    assert [replayed() for _ in range(4)] == pytest.approx([eager() for _ in range(4)], rel=1e-4)


@pytest.mark.parametrize("executor", compiled.EXECUTORS)
def test_compiled_samples_are_the_same(executor: str) -> None:
    drawn = []
    for e in (None, executor):
        tg.manual_seed(0)
        draw = compiled.sampling(e, H=8, L=1, V=5)
        drawn.append([draw() for _ in range(20)])
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("candidate", ["compiled", "eager"])
def test_steps_on_a_gpu_compute_the_same(candidate: str) -> None:
    """On the tests' stand-in for one."""
    if host_kernels.COMPILER is None:
        pytest.skip("no g++, which stands in for a GPU here")
    with installed():
        step = gpu.CANDIDATES[candidate](TINY)
        host = ours(TINY)
        assert [step() for _ in range(4)] == pytest.approx([host() for _ in range(4)], rel=1e-4)


@stand_in_only
def test_the_table_of_a_gpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    if host_kernels.COMPILER is None:
        pytest.skip("no g++, which stands in for a GPU here")
    monkeypatch.setattr(gpu, "WORKLOADS", {"tiny": TINY})
    monkeypatch.setattr(gpu, "_settle", lambda precision: False)
    monkeypatch.setattr(gpu, "ROUNDS", 1)
    with installed():
        gpu.measure(gpu.FULL)
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert [len(row) for row in rows] == [13] * 3
    assert rows[2][1].strip() == "tiny"
    assert float(rows[2][2]) > 0
    assert float(rows[2][3]) > 0
    assert not rows[2][4].strip()


@pytest.mark.skipif(tg.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    gpu.main()
    assert capsys.readouterr().out.startswith("No figures: device 'cuda'")

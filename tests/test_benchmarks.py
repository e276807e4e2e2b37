"""What the benchmarks say of this engine, except for its speed."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import pytest

import tinygrad_seq as tg
from benchmarks import (
    against,
    compiled,
    distributed,
    engine_probes,
    engines,
    gpu,
    learning,
    memory,
    peers,
    recording,
    recurrent,
)
from benchmarks.language_model import ours, sampling
from benchmarks.processes import HERE, Candidate, Make, alive, estimate, in_turn, ratio
from benchmarks.workloads import Workload

from .distributed.launch import mpiexec
from .engine import host_kernels
from .engine.strict_backend import installed, stand_in_only
from .systems import posix

TINY = Workload("tiny", V=5, H=4, L=1, B=2, T=9)
SMALL = Workload("G", V=5, H=8, L=1, B=1, T=1)


@pytest.mark.parametrize("question", engine_probes.PROBES)
def test_the_table_says_yes(question: str) -> None:
    assert engines.answer(question, "tinygrad_seq") == "yes"


@pytest.mark.parametrize("executor", [None, "numpy"])
def test_checkpoints_change_nothing_but_memory(executor: str | None) -> None:
    steps = memory.in_pieces(TINY, 3, executor), ours(TINY)
    for _ in range(3):
        assert steps[0]() == pytest.approx(steps[1](), rel=1e-5)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's figures")
def test_checkpoints_save_memory() -> None:
    found = memory.peaks(memory.makes(memory.LONG), rounds=1)
    stored, in_pieces = (found[name][0] for name in memory.CANDIDATES[memory.LONG])
    assert in_pieces < stored / 4


@pytest.mark.parametrize("case", recurrent.CASES)
def test_the_peer_computes_the_same(case: str) -> None:
    pytest.importorskip("torch", reason="PyTorch is the peer")
    found = [recurrent.ours(case)()]
    found += [recurrent.theirs(case, fused)() for fused in (False, True)]
    assert found == pytest.approx([found[0]] * 3, rel=1e-4)


def test_results_of_pytorchs_inputs_are_told_apart() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the peer")
    pytest.importorskip("expecttest", reason="PyTorch's test inputs take it")
    from benchmarks import pytorch_inputs

    def outcome(theirs: Any, ours: Any, name: str = "add") -> Any:
        return pytorch_inputs.outcome(name, ("", lambda: {"value": theirs}, lambda: {"value": ours()}))

    two = torch.tensor([1.0, 2.0])
    assert outcome(two, lambda: tg.tensor([1.0, 2.0])) == ("agree", "")
    assert outcome(two, lambda: tg.tensor([1.0, 2.1])) == ("differ", "values")
    assert outcome(two, lambda: tg.tensor([1.0, 2.1]), "randn") == ("agree", "")
    assert outcome(two, lambda: tg.tensor([1, 2])) == ("differ", "dtype int64 for float32")
    assert outcome(two, lambda: tg.tensor([[1.0, 2.0]])) == ("differ", "shape (1, 2) for (2,)")
    assert outcome(two, lambda: 1.0) == ("differ", "a float for a tensor")
    assert outcome((two, two), lambda: tg.tensor([1.0, 2.0])) == ("differ", "1 results for 2")
    assert outcome(two, lambda: tg.ones(2) @ tg.ones(3))[0] == "raise"
    names = [name for name, _ in pytorch_inputs.tables()]
    assert {"add", "nn.functional.pad", "nn.LSTM", "optim.Adam"} <= {*names}


def test_the_peer_learns_and_is_judged_by_the_same_function(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch is the peer")
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 400, "utf-8")
    learning.theirs(str(text), 0.01, str(tmp_path))
    corpus = learning.corpus_of(text, tmp_path)
    assert learning.judged(learning.their_model(tmp_path, len(corpus.vocabulary)), corpus) < corpus.uniform()


@pytest.mark.parametrize("kind", ["LSTM", "RNN"])
@pytest.mark.parametrize("executor", compiled.EXECUTORS)
def test_compiled_steps_compute_the_same(kind: str, executor: str) -> None:
    eager, replayed = (ours(TINY._replace(kind=kind), e) for e in (None, executor))
    assert [replayed() for _ in range(4)] == pytest.approx([eager() for _ in range(4)], rel=1e-4)


@pytest.mark.parametrize("kind", ["LSTM", "RNN"])
@pytest.mark.parametrize(
    ("engine", "step"), [("torch", "torch_step"), ("jax", "jax_step"), ("autograd", "autograd_step")]
)
def test_peers_train_as_we_do(kind: str, engine: str, step: str) -> None:
    pytest.importorskip(engine, reason="a peer")
    w = TINY._replace(kind=kind, L=2)
    mine, theirs = ours(w), getattr(peers, step)(w)
    assert [theirs() for _ in range(4)] == pytest.approx([mine() for _ in range(4)], rel=1e-4)


def test_the_composition_in_pytorch_is_ours() -> None:
    pytest.importorskip("torch", reason="a peer")
    mine, theirs = ours(TINY), peers.torch_step(TINY, fused=False)
    assert [theirs() for _ in range(4)] == pytest.approx([mine() for _ in range(4)], rel=1e-4)


@pytest.mark.parametrize("executor", compiled.EXECUTORS)
def test_compiled_samples_are_the_same(executor: str) -> None:
    draws = [sampling(SMALL, e) for e in (None, executor)]
    assert [draws[0]() for _ in range(20)] == [draws[1]() for _ in range(20)]


def test_samples_by_hand_are_distributed_as_ours() -> None:
    counts = []
    for draw in (sampling(SMALL), peers.numpy_sampling(SMALL)):
        drawn = [draw() for _ in range(3000)]
        counts.append([drawn.count(token) / 3000 for token in range(SMALL.V)])
    assert counts[0] == pytest.approx(counts[1], abs=0.06)


def test_a_candidate_runs_in_a_process_of_its_own() -> None:
    with contextlib.closing(Candidate(Make("benchmarks.language_model:ours", (TINY,)))) as candidate:
        seconds, loss = candidate.run(2)
    here = ours(TINY)
    losses = [here() for _ in range(6)]  # three to warm up, one to see how long it takes, two asked for
    assert seconds > 0
    assert loss == pytest.approx(losses[-1], rel=1e-5)


def test_candidates_that_are_not_installed_are_left_out() -> None:
    makes = {name: Make("tests.test_benchmarks:needs", (name,)) for name in ("json", "no_such_engine")}
    with alive(makes) as found:
        turns = in_turn(found, 2)
    assert [len(each) for each in turns.values()] == [2]
    assert list(turns) == ["json"]


def needs(module: str) -> object:
    """Made in a candidate's process."""
    return str(__import__(module).__name__).strip


def test_a_candidate_that_fails_is_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"language_model:ours.* failed in"):
        Candidate(Make("benchmarks.language_model:ours", (TINY, "no such executor")))


@posix
def test_the_other_checkout_is_the_one_that_runs(tmp_path: Path) -> None:
    """Its engine, but this checkout's benchmarks; and it is no silent comparison with oneself."""
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "language_model.py").write_text("raise SystemExit('an old harness')")
    make = Make("benchmarks.language_model:ours", (TINY,), tmp_path)
    with pytest.raises(RuntimeError, match="failed in"):
        Candidate(make)
    for package in ("tinygrad_seq", "nn"):
        (tmp_path / package).symlink_to(HERE / package)
    with contextlib.closing(Candidate(make)) as candidate:
        assert candidate.run(1)[1] > 0


def test_two_checkouts_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    against.main("recording", HERE, rounds=1)
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if line.startswith("| tinygrad_seq")]
    assert [row[1].strip() for row in rows] == ["tinygrad_seq forward", "tinygrad_seq both"]
    assert all(float(row[2]) > 0 and float(row[3]) > 0 for row in rows)
    with pytest.raises(ValueError, match="recording, compiled or memory, not 'import'"):
        against.chosen("import")
    assert len(against.chosen("compiled")) == len(compiled.WORKLOADS) * len(compiled.OURS)
    assert not [name for name in against.chosen("memory") if "PyTorch" in name]


def test_chains_are_long() -> None:
    for back in (False, True):
        recording.chain("tinygrad_seq", back)()


def test_the_interval_of_a_median() -> None:
    """At 15 values it is the fourth from either end: P(at most 3 of 15 on one side) = 0.0176, at most 4: 0.059."""
    assert estimate([float(n) for n in range(15, 0, -1)]) == (8.0, 4.0, 12.0)
    assert estimate([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)
    assert estimate([float(n) for n in range(1, 7)]) == (3.5, 1.0, 6.0)
    assert ratio([2.0, 9.0, 4.0], [1.0, 3.0, 4.0]) == (2.0, 1.0, 3.0)


def test_the_tables(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the peers, which take their time to start."""
    monkeypatch.setattr(compiled, "fastest_peer", lambda w, kernels: None)
    all_makes = compiled.makes
    monkeypatch.setattr(compiled, "makes", lambda w, _: {n: m for n, m in all_makes(w).items() if n in compiled.OURS})
    compiled.tables(1, None, [TINY])
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if line.startswith("| tinygrad_seq")]
    assert [row[1].strip() for row in rows] == list(compiled.OURS)
    assert all(float(row[2]) > 0 for row in rows)


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


def test_messages_take_longer_over_tcp() -> None:
    mpiexec()
    networks = distributed._networks_here(5)
    if "loopback TCP" not in networks:
        pytest.skip("only MPICH is told by its environment to use TCP on one host")
    assert networks["shared memory"][0] < networks["loopback TCP"][0]


def test_the_model_of_scaling(capsys: pytest.CaptureFixture[str]) -> None:
    distributed._table(0.1, 10**7, {"a network": (0.0, 1e-8)})  # 0.1 s for the step, and for the message on two ranks
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    (weak,), (strong,) = ([line for line in lines if kind in line] for kind in ("weak", "strong"))
    assert weak[:5] == ["a", "network", "weak", "100%", "50%"]
    assert strong[:5] == ["a", "network", "strong", "100%", "33%"]

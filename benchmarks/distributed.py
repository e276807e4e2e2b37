"""Data-parallel training: what a message costs here, and from that, in a model, how far it scales.

Each measurement runs under mpiexec in processes of its own, with one thread each.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .workloads import W2, W3, Workload

HERE = Path(__file__).resolve().parent.parent
_NETWORKS = {"100 Gbit/s": (5e-6, 8 / 100e9), "10 Gbit/s": (2e-5, 8 / 10e9), "1 Gbit/s": (5e-5, 8 / 1e9)}  # α s, β s/B
_BATCH, _STEPS, _BOUNDS = 12, 12, {"float64": 1e-12, "float32": 1e-4}
_PERIOD = 8  # steps from one averaging of parameters to the next
_RANKS = (1, 2, 4, 8, 16, 32, 64)
_TCP = {
    "MPIR_CVAR_NOLOCAL": "1",
    "UCX_TLS": "tcp,self",
    "FI_PROVIDER": "tcp",
}  # MPICH: as if each had a host of its own


def main(rounds: int = 15) -> None:
    """Print whether ranks train what one does, what is measured, and then the table of the model."""
    _equality()
    message = _under_mpiexec(2, "message", rounds)
    print(f"a message of W3's gradients, {message['bytes'] / 1e6:.1f} MB, between two ranks here:")
    plain, ours = [1e3 * message[name] for name in ("plain", "ours")]
    print(f"  mpi4py's Allreduce {plain:.2f} ms, ours {ours:.2f} ms: {message['ratio']:.2f} times that")
    alone = _under_mpiexec(1, "alone", rounds)
    print(f"W2's compiled step with average_gradients on a group of one: {alone['ratio']:.3f} of the step without")
    steps = {n: _under_mpiexec(n, "step", rounds) for n in (1, 2)}
    for n, step in steps.items():
        print(
            f"W2's step on {n} rank{'s' * (n > 1)}: {step['time'] * 1e3:.1f} ms, {step['calls']} calls of Python in it"
        )
    print(f"  2 ranks are {steps[1]['time'] / steps[2]['time']:.2f} times as fast as one, with one thread each")
    networks = _networks_here(rounds)
    print("messages between two ranks here, α the time of an empty one, β that of a byte:")
    for name, (alpha, beta) in networks.items():
        print(f"  {name}: α {alpha * 1e6:.1f} µs, β {beta * 1e9:.3f} ns, which is {1 / beta / 1e9:.2f} GB/s")
    _table(_under_mpiexec(1, "w3", 5)["time"], message["bytes"], networks | _NETWORKS)


def _equality() -> None:
    """The parameters after some steps on 1 to 5 ranks, beside those of one."""
    print(
        f"{_STEPS} steps with {_BATCH} rows, dropout and zoneout: the largest difference of a parameter from one rank's"
    )
    for kind, bound in _BOUNDS.items():
        found = [_under_mpiexec(n, f"trained_{kind}", _STEPS) for n in range(1, 6)]
        off = [max(abs(a - b) for a, b in zip(x["numbers"], found[0]["numbers"], strict=True)) for x in found]
        same = "bit-identical" if all(x["identical"] for x in found) else "NOT IDENTICAL"
        verdict = "" if max(off) <= bound else ", which is TOO MUCH"
        shown = ", ".join([f"{n} ranks {d:.0e}" for n, d in enumerate(off[1:], 2)])
        print(f"  {kind}: {shown}; at most {bound:.0e} is allowed{verdict}; ranks are {same}")


def _networks_here(rounds: int) -> dict[str, tuple[float, float]]:
    """α and β of shared memory, and of loopback TCP where the MPI can be told to use it."""
    shared = _under_mpiexec(2, "alpha_beta", rounds)
    found = {"shared memory": shared["fit"]}
    if shared["library"].startswith("MPICH"):
        found["loopback TCP"] = _under_mpiexec(2, "alpha_beta", rounds, _TCP)["fit"]
    return {name: (alpha, beta) for name, (alpha, beta) in found.items()}


def _table(step: float, size: int, networks: dict[str, tuple[float, float]]) -> None:
    """Time of a ring all-reduce, 2 (n - 1) (α + β size / n), beside the step, which is not hidden behind it."""
    print(f"\nA MODEL (ring, α and β as above, {step * 1e3:.0f} ms for W3's step on one rank): efficiency")
    print("  ranks                " + "".join([f"{n:>7}" for n in _RANKS]))
    for name, (alpha, beta) in networks.items():
        messages = [2 * (n - 1) * (alpha + beta * size / n) for n in _RANKS]
        weak = [step / (step + m) for m in messages]
        strong = [step / n / (step / n + m) for n, m in zip(_RANKS, messages, strict=True)]
        for kind, found in (("weak", weak), ("strong", strong)):
            print(f"  {name:<14}{kind:<7}" + "".join([f"{e:>7.0%}" for e in found]))
        local = [step / n / (step / n + m / _PERIOD) for n, m in zip(_RANKS, messages, strict=True)]
        print(f"  {name:<14}{'local':<7}" + "".join([f"{e:>7.0%}" for e in local]))
    print(f"  (local: strong, with parameters averaged every {_PERIOD} steps instead, by PeriodicModelAverager)")


def _under_mpiexec(ranks: int, name: str, rounds: int, environment: dict[str, str] | None = None) -> dict[str, Any]:
    launcher = Path(sys.executable).with_name("mpiexec")
    command = [str(launcher) if launcher.exists() else "mpiexec", "-n", str(ranks), sys.executable, "-m", __name__]
    given = os.environ | {"OPENBLAS_NUM_THREADS": "1"} | (environment or {})
    done = subprocess.run(
        [*command, name, str(rounds)], capture_output=True, text=True, check=False, cwd=HERE, env=given, timeout=600
    )
    if done.returncode:
        raise RuntimeError(f"benchmarks: {name} on {ranks} ranks failed: {done.stdout}{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


# --- what the ranks run ---


def _median(call: Callable[[], Any], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def message(rounds: int) -> dict[str, Any]:
    """The message of a compiled step, header and all, and MPI's own of the same buffer, in turns."""
    from mpi4py import MPI

    from tinygrad_seq.distributed.agreement import Agreement
    from tinygrad_seq.distributed.gradients import _Average
    from tinygrad_seq.distributed.group import current

    count = sum([w.size for w in W3.weights().values()])
    x, out = np.ones(count, np.float32), np.empty(count, np.float32)
    ours = _Average(Agreement(current("benchmarks"), ["x"], [True], static=True), first=True)
    ratios, plains, times = [], [], []
    for n in range(rounds + 3):
        MPI.COMM_WORLD.Barrier()
        plain = _median(lambda: MPI.COMM_WORLD.Allreduce(x, out), 1)
        MPI.COMM_WORLD.Barrier()
        mine = _median(lambda: ours(x, 1.0, 0, 0, out=out), 1)
        if n >= 3:
            plains.append(plain)
            times.append(mine)
            ratios.append(mine / plain)
    medians = {"plain": statistics.median(plains), "ours": statistics.median(times)}
    return medians | {"ratio": statistics.median(ratios), "bytes": x.nbytes}


def _step(workload: Workload, averages: bool = True) -> tuple[Any, Callable[[], Any]]:
    import nn
    import nn.functional as F
    import tinygrad_seq as tg
    from tinygrad_seq import distributed as dist

    model = nn.ModuleDict(
        {
            "embedding": nn.Embedding(workload.V, workload.H),
            "lstm": nn.LSTM(workload.H, workload.H, workload.L),
            "head": nn.Linear(workload.H, workload.V),
        }
    )
    model.load_state_dict({name: tg.tensor(w) for name, w in workload.weights().items()})
    optimizer = nn.optim.Adam(model.parameters(), lr=1e-3)
    mine = dist.shard(workload.B)

    @tg.compile
    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        hidden, _ = model["lstm"](model["embedding"](x))
        loss = F.cross_entropy(model["head"](hidden).reshape(-1, workload.V), y.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        if averages:
            dist.average_gradients(model.parameters(), weight=y.shape[1])
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    x, y = [tg.tensor(a[:, mine]) for a in workload.batch()]
    for _ in range(3):
        step(x, y)
    return step, lambda: step(x, y)


def alone(rounds: int) -> dict[str, Any]:
    """With and without the averaging, in turns."""
    (_, with_it), (_, without) = _step(W2), _step(W2, averages=False)
    return {"ratio": statistics.median([_median(with_it, 1) / _median(without, 1) for _ in range(2 * rounds)])}


def step(rounds: int) -> dict[str, Any]:
    compiled, call = _step(W2)
    notes = [note for note in compiled.programs[0].notes if "calls of Python" in note]
    calls = notes[-1].split(", ")[-1].split(" ")[0] if notes else "all"
    return {"time": _median(call, rounds), "calls": calls}


def _trained(kind: str, steps: int) -> dict[str, Any]:
    """The parameters of a small recurrent net with all kinds of dropout, after some steps on a shared batch."""
    import nn
    import nn.functional as F
    import tinygrad_seq as tg
    from tinygrad_seq import distributed as dist

    tg.manual_seed(0)
    dtype = getattr(tg, kind)
    lstm = nn.LSTM(8, 16, 2, dropout=0.3, zoneout=0.1, recurrent_dropout=0.2, dtype=dtype)
    model = nn.ModuleDict({"lstm": lstm, "head": nn.Linear(16, 5, dtype=dtype)})
    optimizer = nn.optim.Adam(model.parameters(), lr=0.01)
    mine = dist.shard(_BATCH)
    for n in range(steps):
        rng = np.random.default_rng(n)
        x, y = rng.normal(size=(7, _BATCH, 8)).astype(kind)[:, mine], rng.integers(0, 5, (7, _BATCH))[:, mine]
        hidden, _ = lstm(tg.tensor(x))
        scores = model["head"](F.dropout(hidden, 0.2))
        optimizer.zero_grad()
        F.cross_entropy(scores.reshape(-1, 5), tg.tensor(y).reshape(-1)).backward()
        dist.average_gradients(model.parameters(), weight=y.size)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    flat = tg.cat([p.detach().reshape(-1) for p in model.parameters()])
    identical = all(tg.equal(theirs, flat) for theirs in dist.all_gather(flat))
    return {"numbers": flat.tolist(), "identical": identical}


def trained_float64(steps: int) -> dict[str, Any]:
    return _trained("float64", steps)


def trained_float32(steps: int) -> dict[str, Any]:
    return _trained("float32", steps)


def w3(rounds: int) -> dict[str, Any]:
    return {"time": _median(_step(W3)[1], rounds)}


def alpha_beta(rounds: int) -> dict[str, Any]:
    """Half the time of a message there and back, of one byte and of many."""
    from mpi4py import MPI

    comm, times = MPI.COMM_WORLD, []
    for size in (1, 1 << 22):
        words = np.zeros(size, np.uint8)

        def there_and_back(words: Any = words) -> None:
            for turn in (0, 1):
                if comm.Get_rank() == turn:
                    comm.Send(words, 1 - turn)
                else:
                    comm.Recv(words, turn)

        times.append(min([_median(there_and_back, 1) for _ in range(20 * rounds)]) / 2)  # nothing makes one faster
    alpha, beta = times[0], (times[1] - times[0]) / (1 << 22)
    return {"fit": [alpha, max(beta, math.ulp(1.0))], "library": MPI.Get_library_version()}


if __name__ == "__main__":
    from tinygrad_seq import distributed as dist

    dist.init_process_group("mpi")
    found = globals()[sys.argv[1]](int(sys.argv[2]))
    if dist.get_rank() == 0:
        print(json.dumps(found))

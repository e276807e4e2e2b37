"""What the ranks of a test run: `mpiexec -n 2 python -m tests.distributed.programs NAME:ARGUMENT ...`."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import nn
import nn.functional as F
import tinygrad_seq as tg
from tinygrad_seq import distributed as dist

T, B, V, H = 3, 6, 7, 5


class Model(nn.Module):
    """A language model that draws in all the ways in which layers do."""

    def __init__(self, dtype: Any = tg.float64) -> None:
        self.embedding = nn.Embedding(V, H, dtype=dtype)
        self.lstm = nn.LSTM(H, H, 2, dropout=0.3, zoneout=0.1, recurrent_dropout=0.2, dtype=dtype)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(H, V, dtype=dtype)
        self.gain = nn.Parameter(tg.tensor(1.0, dtype=dtype))

    def forward(self, x: tg.Tensor, state: Any = None) -> tuple[tg.Tensor, Any]:
        y, state = self.lstm(self.embedding(x), state)
        return self.head(self.dropout(y)) * self.gain, state


def tokens(step: int) -> Any:
    return np.random.default_rng(step).integers(0, V, (T + 1, B))


class Training:
    """Truncated backpropagation over a stream, on this rank's rows."""

    def __init__(self, executor: str, pieces: int = 1, dtype: Any = tg.float64) -> None:
        tg.manual_seed(0)
        self.model = Model(dtype)
        self.optimizer = nn.optim.Adam(self.model.parameters(), lr=0.01)
        self.pieces = pieces
        self.step: Callable[..., Any] = self._step
        if executor == "verify":
            self.step = tg.compile(self._step, mode="verify")
        elif executor != "eager":
            self.step = tg.compile(self._step, executor=executor)

    def _step(self, x: tg.Tensor, y: tg.Tensor, state: Any) -> Any:
        self.optimizer.zero_grad()
        mean: Any = 0.0
        for x_part, y_part in zip(x.chunk(self.pieces), y.chunk(self.pieces), strict=True):
            scores, state = self.model(x_part, state)
            loss = F.cross_entropy(scores.reshape(-1, V), y_part.reshape(-1)) / self.pieces
            loss.backward()
            mean = mean + loss.detach()
            state = tuple([s.detach() for s in state])
        mean = dist.average_gradients(self.model.parameters(), weight=y.shape[1], loss=mean)
        nn.utils.clip_grad_norm_(self.model.parameters(), 0.3)
        self.optimizer.step()
        return mean, state

    def numbers(self) -> list[float]:
        return np.concatenate([p.detach().numpy().ravel() for p in self.model.parameters()]).tolist()


def advance(training: Training, first: int, last: int, state: Any = None) -> tuple[float, Any]:
    """Some steps: the last loss, and the state to go on with."""
    mine, loss = dist.shard(B), 0.0
    for n in range(first, last):
        data = tokens(n)[:, mine]
        mean, state = training.step(tg.tensor(data[:-1]), tg.tensor(data[1:]), state)
        loss = mean.item()
    return loss, state


def equal(executor: str, pieces: str = "1", dtype: str = "float64") -> Any:
    training = Training(executor, int(pieces), getattr(tg, dtype))
    loss, _ = advance(training, 0, 12)
    dist.require_identical(training.model)
    return training.numbers(), loss


def resumed(path: str, first: str, last: str, executor: str = "eager") -> Any:
    """Some steps of a training whose checkpoint, if there is one, any number of ranks has written."""
    training, state = Training(executor), None
    if int(first):
        saved = tg.load(path)
        training.model.load_state_dict(saved["model"])
        training.optimizer.load_state_dict(saved["optimizer"])
        tg.default_generator.set_state(saved["random"])
        state = tuple([s[:, dist.shard(B)] for s in saved["state"]])
    _, state = advance(training, int(first), int(last), state)
    dist.require_identical(training.model)
    whole = [gathered(s) for s in state or ()]
    if dist.get_rank() == 0:
        entries = {"model": training.model.state_dict(), "optimizer": training.optimizer.state_dict()}
        tg.save(entries | {"random": [*tg.default_generator.get_state()], "state": whole}, path)
    dist.barrier()
    return training.numbers()


def gathered(s: tg.Tensor) -> tg.Tensor:
    """The rows of all ranks, (L, B, H)."""
    whole = tg.zeros(s.shape[0], B, s.shape[2], dtype=s.dtype)
    whole[:, dist.shard(B)] = s
    return dist.all_reduce(whole)


def idle(executor: str) -> Any:
    """Four rows for five ranks: one has nothing to compute, and takes part with weight 0."""
    training, state = Training(executor), None
    mine = dist.shard(4)
    for n in range(3):
        data = tokens(n)[:, :4][:, mine]
        if data.shape[1]:
            _, state = training.step(tg.tensor(data[:-1]), tg.tensor(data[1:]), state)
        else:
            training.optimizer.zero_grad()
            dist.average_gradients(training.model.parameters(), weight=0)
            nn.utils.clip_grad_norm_(training.model.parameters(), 0.3)
            training.optimizer.step()
    return training.numbers()


def new_shape() -> Any:
    """One rank meets another shape, and records, in a step in which the others run their programs."""
    model = nn.Linear(3, 2)
    dist.broadcast_parameters(model)
    optimizer = nn.optim.SGD(model.parameters(), lr=0.1)

    @tg.compile
    def step(x: tg.Tensor) -> tg.Tensor:
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        dist.average_gradients(model.parameters(), weight=len(x))
        optimizer.step()
        return loss

    for n in range(4):
        step(tg.ones(2 + (n == 2 and dist.get_rank() == 1), 3))
    dist.require_identical(model)
    return len(step.programs)


def unused() -> Any:
    """What comes of a message is looked at on one rank alone."""
    looks = dist.get_rank() == 0

    @tg.compile
    def step(x: tg.Tensor) -> tg.Tensor:
        a, b, c = dist.all_reduce(x * 1), dist.all_reduce(x * 2), dist.all_reduce(x * 2)
        return a + b + c if looks else x

    return [step(tg.tensor([1.0, 2.0])).tolist() for _ in range(3)]


def statistics(executor: str) -> Any:
    """The gradient through a mean over all ranks, forwards and backwards."""
    mine = dist.shard(B, dim=0)
    x = tg.tensor(np.arange(B * 2.0).reshape(B, 2) ** 2 + 1)[mine].requires_grad_()

    def loss(x: tg.Tensor) -> tg.Tensor:
        mean = dist.all_reduce(x.sum(0)) / B
        largest = dist.all_reduce((x * 1).amax(0), dist.ReduceOp.MAX)
        return ((x - mean) ** 3 / (mean + largest)).sum()

    f = loss if executor == "eager" else tg.compile(loss, executor=executor)
    f(x).backward()
    whole = tg.zeros(B, 2, dtype=x.dtype)
    whole[mine] = x.grad
    return dist.all_reduce(whole).tolist()


def collectives() -> Any:
    rank, size = dist.get_rank(), dist.get_world_size()
    assert dist.get_node_local_rank() == rank  # on one host
    total = dist.all_reduce(tg.tensor([1.0 + rank, 2.0]))
    mean = dist.all_reduce(tg.tensor([1.0 + rank]), dist.ReduceOp.AVG)
    least = dist.all_reduce(tg.tensor([rank]), dist.ReduceOp.MIN)
    halves = dist.all_reduce(tg.tensor([0.5], dtype=tg.float16))
    everything = [t.tolist() for t in dist.all_gather(tg.tensor([[rank]]))]
    scalars = [dist.all_reduce(tg.tensor(1.0 + rank)).item(), [t.item() for t in dist.all_gather(tg.tensor(rank))]]
    scalars += [dist.broadcast(tg.tensor(rank), src=size - 1).item()]
    last = dist.broadcast(tg.tensor([float(rank)]), src=size - 1)
    dist.barrier()
    return [total.tolist(), mean.tolist(), least.tolist(), halves.tolist(), everything, last.tolist(), scalars]


def dtypes() -> Any:
    """What no one adds up is sent as it is; of what the engine does not add up, it says so."""
    rank = dist.get_rank()
    found: list[Any] = []
    for kind in (tg.int16, tg.uint8, tg.bool, tg.float16, tg.complex64):
        x = tg.tensor([rank, 1], dtype=kind)
        everything = dist.all_gather(x)
        assert everything[0].dtype == kind
        found.append([np.abs(t.numpy()).tolist() for t in (*everything, dist.broadcast(x, 1))])
    entries = {"weight": tg.ones(2, 2) * rank, "short": tg.tensor(rank, dtype=tg.int16)}
    tg.manual_seed(rank)
    dist.broadcast_parameters(entries, src=1)
    dist.require_identical(entries)
    found.append([entries["short"].item(), tg.default_generator.get_state()[0]])
    try:
        found.append(dist.all_reduce(tg.tensor([rank, 1], dtype=tg.int16)).tolist())
    except TypeError as error:
        found.append(str(error))
    return found


def missing() -> Any:
    """A parameter that has a gradient on rank 0 alone, one that has none anywhere, one that is frozen, one of no
    dimension, and a loss that is nan where there is no data.
    """
    a, b, c = [tg.tensor([1.0, 2.0], requires_grad=True) for _ in range(3)]
    gain, frozen = tg.tensor(3.0, requires_grad=True), tg.ones(2)
    (a.sum() * gain + (b.sum() if dist.get_rank() == 0 else 0)).backward()
    if dist.get_rank() == 1:
        a.grad = tg.full((2,), float("nan"))
    loss = dist.average_gradients(
        [a, b, c, gain, frozen], weight=0 if dist.get_rank() == 1 else 2, loss=a.sum().detach()
    )
    assert a.grad is not None
    assert b.grad is not None
    assert loss is not None
    assert gain.grad is not None
    assert all(isinstance(x.array, np.ndarray) for x in (gain.grad, loss)), "a NumPy scalar"
    assert frozen.grad is None
    return [a.grad.tolist(), b.grad.tolist(), c.grad is None, gain.grad.item(), loss.item()]


def stopping() -> Any:
    """Rank 1 asks to stop; all stop after the same step."""
    p = tg.tensor([1.0], requires_grad=True)
    for n in range(5):
        p.sum().backward()
        if n == 2 and dist.get_rank() == 1:
            dist.request_stop()
        dist.average_gradients([p])
        if dist.should_stop():
            return n
    return -1


def fails(how: str) -> Any:
    """One rank does something else in step 3."""
    rank = dist.get_rank()
    p = tg.tensor([1.0, 2.0], requires_grad=True)
    q = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    for n in range(5):
        p.sum().backward()
        q.sum().backward()
        if n == 2 and rank == 1:
            if how == "raise":
                raise KeyError("a word")
            if how == "exit":
                sys.exit(3)
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if how == "fewer":
                return 0
            if how == "barrier":
                dist.barrier()
            if how == "hang":
                time.sleep(60)
            if how == "drawn":
                tg.rand(20)
        dist.average_gradients([q if how == "shape" and n == 2 and rank == 1 else p])
        if how == "count" and n == 2:
            dist.average_gradients([p, q] if rank == 1 else [p])
        if how == "weights" and n == 2:
            dist.average_gradients([p], weight=0)
        if how == "changed" and n == 2:
            with tg.no_grad():
                p += 1.0 if rank == 1 else 0.0
            dist.require_identical({"p": p})
        if how == "names" and n == 2:
            dist.broadcast_parameters({"p" if rank else "q": p})
    return 0


def parallel(kind: str) -> Any:
    tg.manual_seed(dist.get_rank())
    model = nn.parallel.DistributedDataParallel(nn.Linear(3, 2))
    optimizer = nn.optim.SGD(model.parameters(), lr=0.1)
    x = tg.tensor(np.random.default_rng(0).normal(size=(5, 4, 3)).astype("float32"))
    mine = dist.shard(5, dim=0) if kind != "unknown" else slice(0, 2 + dist.get_rank())

    def step(x: tg.Tensor) -> tg.Tensor:
        optimizer.zero_grad()
        with model.no_sync():
            model(x[:, :2]).square().mean().backward()
        loss = model(x[:, 2:]).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    run = tg.compile(step) if kind == "compiled" else step
    for _ in range(3):
        run(x[mine])
    dist.require_identical(model)
    return [p.detach().tolist() for p in model.parameters()]


def periodic() -> Any:
    model = nn.Linear(2, 1)
    dist.broadcast_parameters(model)
    averager = nn.parallel.PeriodicModelAverager(period=2)
    seen = []
    for _ in range(4):
        with tg.no_grad():
            model.weight.add_(float(dist.get_rank()))
        averager.average_parameters(model.parameters())
        seen.append(len({tuple(w.reshape(-1).tolist()) for w in dist.all_gather(model.weight.detach())}))
    return seen


def memory(path: str, batch: str) -> Any:
    """The peak of memory while reading this rank's streams of a file."""
    import resource

    data = np.memmap(path, np.uint8, "r")
    mine = dist.shard(int(batch))
    total = 0
    for x, _ in nn.utils.stream(data, int(batch), 4096, streams=mine):
        total += int(x.long().sum().item())
    return [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, total]


def main() -> None:
    """Run calls, each `name:argument:...`, one after another; what they give goes to a file for each rank."""
    dist.init_process_group(os.environ.get("BACKEND"), timeout=float(os.environ.get("PATIENCE", "60")))
    results = {}
    for call in sys.argv[1:]:
        name, *arguments = call.split(":")
        results[call] = globals()[name](*arguments)
    if os.environ.get("OUT"):
        Path(os.environ["OUT"], f"{dist.get_rank()}.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main()

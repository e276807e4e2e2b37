"""The processes that a launcher has started: rank 0 decides, writes and speaks; the others compute with it.

Without a launcher there is rank 0 alone, and all this is nothing.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

import tinygrad_seq as tg
from tinygrad_seq import distributed as dist

from .checkpoint import Run
from .errors import UserError
from .model import State

T = TypeVar("T")


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """As one of the ranks; what the others than rank 0 print to standard output is dropped."""
    try:
        dist.init_process_group()
    except (ImportError, RuntimeError) as error:
        raise UserError(str(error)) from None
    with contextlib.ExitStack() as stack:
        if not is_first():
            stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
        try:
            yield
        except BaseException:  # with others, the end of the process tells them
            if dist.get_world_size() == 1:
                dist.destroy_process_group()
            raise
        dist.destroy_process_group()


def is_first() -> bool:
    return dist.get_rank() == 0


def device_of(name: str) -> str:
    """The device that this rank computes on: of several processes on a host, each takes the next GPU for "cuda"."""
    if name != "cuda" or dist.get_world_size() == 1:
        return name
    number = dist.get_node_local_rank() % max(tg.cuda.device_count(), 1)
    return f"cuda:{number}" if number else name


def together(act: Callable[[], T]) -> T:
    """What `act` gives here, if all ranks could do it. What is wrong on one of them ends all, and rank 0 says it."""
    if dist.get_world_size() == 1:
        return act()
    result, wrong = None, ""
    try:
        result = act()
    except UserError as error:
        wrong = str(error)
    said = next(filter(None, _texts(wrong)), None)
    if said is None:
        return result  # type: ignore[return-value]  # what `act` has given
    if is_first():
        raise UserError(said)
    raise SystemExit(2)


def by_first(act: Callable[[], T]) -> T | None:
    """What `act` gives on rank 0, for which the others wait; None on these."""
    return together(lambda: act() if is_first() else None)


def agreed(of_first: Sequence[float], of_any: Sequence[float] = ()) -> list[float]:
    """Numbers that are the same on all ranks: those that rank 0 has, and the largest that any has."""
    if dist.get_world_size() == 1:
        return [*of_first, *of_any]
    mine = of_first if is_first() else [-math.inf] * len(of_first)
    return dist.all_reduce(tg.tensor([*mine, *of_any], dtype=tg.float64), dist.ReduceOp.MAX).tolist()


def _texts(text: str) -> list[str]:
    """A text from each rank."""
    words = text.encode("utf-8", "surrogatepass")
    longest = int(agreed([], [len(words)])[0])
    padded = tg.tensor(np.frombuffer(words.ljust(longest, b"\0"), np.uint8)) if longest else None
    found = [] if padded is None else dist.all_gather(padded)
    return [t.numpy().tobytes().rstrip(b"\0").decode("utf-8", "surrogatepass") for t in found]


def copied(run: Run | None, device: str) -> Run:
    """The run that rank 0 has, on all ranks; and the random stream where it stands there."""
    if run is not None and dist.get_world_size() == 1:
        return run
    content = io.BytesIO()
    if run is not None:
        tg.save(run.stored(), content)
    size = int(agreed([content.tell()])[0])
    words = np.frombuffer(content.getvalue().ljust(size, b"\0"), np.uint8)
    sent = dist.broadcast(tg.tensor(words)).numpy().tobytes()
    return run if run is not None else Run.of(tg.load(io.BytesIO(sent)), "what rank 0 sends", device)


def mine(state: State | None, rows: slice) -> State | None:
    """The part of a state that belongs to some streams."""
    return None if state is None else state.map(lambda s: s[:, rows])


def whole(run: Run, rows: slice) -> Run:
    """A run with the state of all streams, of which this rank has some. Its model is the same on all ranks.

    Raises:
        DistributedError: on all ranks, if the model is not.
    """
    if dist.get_world_size() == 1:
        return run
    dist.require_identical(run.model)

    def gathered(s: tg.Tensor) -> tg.Tensor:
        everything = tg.zeros(s.shape[0], run.settings.batch, s.shape[2], dtype=s.dtype, device=s.device)
        everything[:, rows] = s
        return dist.all_reduce(everything)

    return run if run.state is None else replace(run, state=run.state.map(gathered))

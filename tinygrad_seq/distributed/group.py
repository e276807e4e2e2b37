"""The process group: who is in it, and how its members agree on what comes next before anything is sent."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from ..graph import batch_shard
from ..graph.tracing_hook import current_tracer
from .header import ENDS, STATIC, STOP, Header
from .transport import Silence, Transport


class DistributedError(RuntimeError):
    """The ranks of a group cannot go on together. It is raised on all of them, with the same message.

    Attributes:
        speaks: whether this rank is the one that tells, if nobody catches the error.
    """

    def __init__(self, message: str, speaks: bool = True) -> None:
        super().__init__(message)
        self.speaks = speaks


class Group:
    """The processes that train together, as one of them sees it.

    Attributes:
        rank, size: which one this is, of how many.
        timeout: the seconds after which waiting for the others is an error.
        step: how many times gradients were averaged.
        stopping: whether a rank has asked to stop, as all of them know since the last averaging.
        wants_to_stop: whether this one has, which the others do not know yet.
        broken: why it cannot be used any more, if so.
        said_idle: whether it was said that there are ranks without data.
    """

    transport: Transport | None
    timeout: float
    stopping: bool
    broken: str

    def __init__(self, transport: Transport | None, timeout: float) -> None:
        self.transport, self.timeout = transport, timeout
        self.rank: int = 0 if transport is None else transport.rank
        self.size: int = 1 if transport is None else transport.size
        self.step = 0
        self.stopping = self.wants_to_stop = False
        self.broken = ""
        self.said_idle = False
        self.process: int = os.getpid()

    @property
    def link(self) -> Transport:
        """What the messages go through, in a group of more than one."""
        assert self.transport is not None
        return self.transport

    def require_whole(self, name: str) -> None:
        """Raise a RuntimeError if this process cannot send anything: it was forked, or the group is broken."""
        if self.process != os.getpid():
            raise RuntimeError(
                f"{name}: this process was forked from one of a process group, and is none of its members; start "
                "processes that do other work before init_process_group(), or with the method 'spawn'"
            )
        if self.broken:
            raise DistributedError(self.broken)

    def meet(
        self,
        kind: str,
        what: Callable[[], str],
        *,
        weight: float = 1.0,
        present: int = 0,
        static: bool = False,
        stands: tuple[int, int] | None = None,
    ) -> list[Header]:
        """Tell all ranks what this one is about to do, and hear the same from them.

        Args:
            kind: the name of the operation.
            what: with which arrays, in words that are the same on all ranks.
            weight, present, static: see `Header`.
            stands: where the common generator stands; None if it need not stand at the same place.

        Raises:
            DistributedError: on all ranks, if they are about to do different things, or do not come in time.
        """
        self.require_whole(kind)
        seed, offset = stands or (0, 0)
        flags = STATIC * static | STOP * self.wants_to_stop
        mine = Header.of(kind, what(), self.step, weight, flags, present, seed, offset)
        headers = [Header.unpacked(words) for words in self.exchange(mine.packed(), kind)]
        if any(h.matches != mine.matches for h in headers):
            self._differ(kind, what(), headers)
        self.stopping = self.stopping or any(h.flags & STOP for h in headers)
        return headers

    def exchange(self, words: bytes, kind: str) -> list[bytes]:
        """The words of all ranks, as many on each."""
        try:
            return self.link.exchange(words, self.timeout)
        except Silence as silence:
            absent = [r for r in range(self.size) if r not in silence.waiting] if silence.waiting else []
            who = ranks(absent) if absent else "another rank"
            speaker = min(silence.waiting, default=self.rank)
            self.fail(
                f"rank {speaker} {_action(kind, self.step)} and has waited {self.timeout:g} s for {who}, which neither "
                "came nor ended; it may hang, or take longer: see timeout= of init_process_group()",
                self.rank == speaker,
            )
            raise
        except RuntimeError as error:  # a transport that notices by itself that a rank is gone
            self.fail(f"rank {self.rank} {_action(kind, self.step)} and got no answer: a rank is gone ({error})", True)
            raise

    def exchange_texts(self, text: str, kind: str) -> list[str]:
        """A text from each rank."""
        mine = text.encode()
        sizes = [int.from_bytes(n, "little") for n in self.exchange(len(mine).to_bytes(8, "little"), kind)]
        found = self.exchange(mine.ljust(max(sizes)), kind)
        return [words[:size].decode() for words, size in zip(found, sizes, strict=True)]

    def fail(self, message: str, speaks: bool | None = None) -> None:
        """Raise a DistributedError with a message that all ranks have. The first of them tells it."""
        self.broken = f"distributed: {message}"
        raise DistributedError(self.broken, self.rank == 0 if speaks is None else speaks)

    def _differ(self, kind: str, what: str, headers: list[Header]) -> None:
        """Say which ranks do what."""
        actions = self.exchange_texts(f"{kind}\n{self.step}\n{what}\n{_line()}", kind)
        told: dict[str, list[int]] = {}
        for r, (header, action) in enumerate(zip(headers, actions, strict=True)):
            name, step, arrays, line = action.split("\n", 3)
            did = _action(name, int(step)) + (f" of {arrays}" if arrays and len(arrays) < 60 else "")
            if header.has_generator:
                did += f", the random numbers standing at {header.offset} of seed {header.seed}"
            told.setdefault(did + (f" ({line})" if line else ""), []).append(r)
        texts = [
            f"{ranks(who)} {did if len(who) == 1 else did.replace('calls', 'call', 1)}"
            for did, who in sorted(told.items(), key=lambda entry: len(entry[1]))
        ]
        difference = _first_difference([action.split("\n", 3)[2] for action in actions])
        self.fail(f"the ranks do not do the same: {'; '.join(texts)}{difference}")


def ranks(numbers: Sequence[int]) -> str:
    """Ranks in words."""
    *first, last = [str(n) for n in numbers]
    return f"ranks {', '.join(first)} and {last}" if first else f"rank {last}"


def _action(kind: str, step: int) -> str:
    if kind == ENDS:
        return f"ended its program after step {step}"
    return f"calls {kind} in step {step + 1}"


def _first_difference(whats: list[str]) -> str:
    """Where lists of arrays differ first."""
    lists = [what.split("; ") for what in whats]
    if max(map(len, lists)) < 2:
        return ""
    if len({len(entries) for entries in lists}) > 1:
        counts = ", ".join([f"{len(entries)} on rank {r}" for r, entries in enumerate(lists)])
        return f" (the number of arrays: {counts})"
    for entries in zip(*lists, strict=True):
        if len(set(entries)) > 1:
            other = next(r for r, entry in enumerate(entries) if entry != entries[0])
            return f" ({entries[0]} on rank 0 is {entries[other]} on rank {other})"
    return ""


_OURS = __file__.rpartition("tinygrad_seq")[0]


def _line() -> str:
    """Where in the user's code we are."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith((_OURS + "tinygrad_seq", _OURS + "nn")):
        frame = frame.f_back
    return "" if frame is None else f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"


_groups: list[Group] = []  # the one that there is


def current(name: str) -> Group:
    """The process group.

    Raises:
        RuntimeError: if there is none; the message names the function `name`.
    """
    if not _groups:
        raise RuntimeError(f"{name}: there is no process group yet; call init_process_group() first")
    group = _groups[0]
    if (tracer := current_tracer()) is not None:  # a program is right for the group that it was recorded in
        tracer.guards.append(lambda: bool(_groups) and _groups[0] is group)
    return group


def is_initialized() -> bool:
    """Whether there is a process group."""
    return bool(_groups)


def get_rank() -> int:
    """The number of this process in the group, from 0 on."""
    return current("get_rank").rank


def get_node_local_rank() -> int:
    """The number of this process among those of the group on this host, from 0 on: of its GPU, if each has one."""
    transport = current("get_node_local_rank").transport
    return 0 if transport is None else transport.local_rank


def get_world_size() -> int:
    """How many processes the group has."""
    return current("get_world_size").size


def begin(group: Group) -> None:
    """Let this be the process group."""
    _groups.append(group)
    if group.size > 1:
        batch_shard.set_shard(None)


def end() -> None:
    """Let there be no process group."""
    _groups.clear()
    batch_shard.set_shard()

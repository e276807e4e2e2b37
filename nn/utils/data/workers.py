"""Processes that make batches while the program trains.

Batch n always comes from worker n modulo their number, so that the same seed gives the same batches.
"""

from __future__ import annotations

import os
import pickle
import random
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from threading import Thread
from typing import Any

import tinygrad_seq as tg


def _serve(
    tasks: Connection, results: Connection, fetch: Callable[[Any], Any], init: Any, number: int, seed: int
) -> None:
    """What a worker does: make a batch of each list of numbers that comes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the program decides what a Ctrl-C means
    waiting: SimpleQueue[Any] = SimpleQueue()
    Thread(target=_receive, args=(tasks, waiting), daemon=True).start()
    random.seed(seed)
    tg.array_module(0.0).random.seed(seed % 2**32)
    tg.manual_seed(seed)
    failed = None
    try:
        if init is not None:
            init(number)
    except Exception as error:
        failed = _packed(error)
    while True:
        indices = waiting.get()
        try:
            message = failed or pickle.dumps((fetch(indices), None, ""))
        except Exception as error:
            message = _packed(error)
        results.send_bytes(message)


def _receive(tasks: Connection, waiting: SimpleQueue[Any]) -> None:
    """Take in what comes at once, so that the program never waits to hand it over; end with the program."""
    try:
        while True:
            waiting.put(tasks.recv())
    except (EOFError, OSError):
        os._exit(0)


def _packed(error: Exception) -> bytes:
    text = traceback.format_exc()
    try:
        message = pickle.dumps((None, error, text))
        pickle.loads(message)
    except Exception:  # not every exception can be sent
        message = pickle.dumps((None, RuntimeError(f"{type(error).__name__}: {error}"), text))
    return message


class _Worker:
    """One process, and the two pipes to it."""

    def __init__(self, number: int, method: str, *arguments: Any) -> None:
        context: Any = get_context(method)
        self.number = number
        their_tasks, self.tasks = context.Pipe(duplex=False)
        self.results, their_results = context.Pipe(duplex=False)
        self.process = context.Process(target=_serve, args=(their_tasks, their_results, *arguments), daemon=True)
        try:
            self.process.start()
        except Exception as error:  # by pickle, which raises all kinds
            raise TypeError(
                f"DataLoader: the dataset, collate_fn and worker_init_fn go to the workers by pickle: {error}; define "
                "them at the top of a module, or use num_workers=0"
            ) from error
        their_tasks.close()
        their_results.close()

    def submit(self, indices: Any) -> None:
        try:
            self.tasks.send(indices)
        except OSError:
            raise self._ended() from None

    def result(self, timeout: float) -> Any:
        """The next batch, or what was raised while it was made."""
        if not wait([self.results, self.process.sentinel], timeout or None):
            raise RuntimeError(f"DataLoader: worker {self.number} gave no batch within {timeout} s")
        try:
            batch, error, text = pickle.loads(self.results.recv_bytes())
        except (EOFError, OSError):
            raise self._ended() from None
        if error is not None:
            error.add_note(f"In worker {self.number} of a DataLoader:\n{text}")
            raise error
        return batch

    def _ended(self) -> RuntimeError:
        return RuntimeError(
            f"DataLoader: worker {self.number} ended before its batch was made; it may have been out of memory, or "
            "could not load the program: see above for what it printed. Workers load the program's main file again, so "
            'it must start its work under `if __name__ == "__main__":`'
        )


class Workers:
    """Processes that make batches.

    Args:
        fetch: makes a batch of numbers of examples. It goes to the processes by pickle.
        count: how many.
        ahead: how many batches each makes ahead.
        method: how processes start, "spawn" or "forkserver".
        init: called in each process, with its number.
        seed: of the random numbers in worker 0; the next one has the next.
    """

    def __init__(
        self, fetch: Any, count: int, ahead: int, method: str, init: Callable[[int], None] | None, seed: int
    ) -> None:
        self.workers: list[_Worker] = []
        self.ahead: int = ahead * count
        try:
            for n in range(count):
                self.workers.append(_Worker(n, method, fetch, init, n, seed + n))
        except BaseException:
            self.close()
            raise

    def batches(self, numbers: Iterator[Any], timeout: float) -> Iterator[Any]:
        """The batches of these numbers, in their order."""
        tasks = ((self.workers[n % len(self.workers)], indices) for n, indices in enumerate(numbers))
        waiting: deque[_Worker] = deque()
        while True:
            for worker, indices in islice(tasks, self.ahead - len(waiting)):
                worker.submit(indices)
                waiting.append(worker)
            if not waiting:
                return
            yield waiting.popleft().result(timeout)

    def close(self) -> None:
        """End the processes."""
        for worker in self.workers:
            worker.process.terminate()
            worker.tasks.close()
            worker.results.close()
        for worker in self.workers:
            worker.process.join()

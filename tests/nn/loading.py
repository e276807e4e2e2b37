"""What workers load: datasets and functions at the top of a module."""

from __future__ import annotations

import os
import random
import threading
import time
from typing import Any

import tinygrad_seq as tg
from nn.utils.data import Dataset


class Squares(Dataset[Any]):
    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> Any:
        return {"x": tg.tensor(float(index * index)), "n": index, "pid": os.getpid()}


class Augmented(Squares):
    def __getitem__(self, index: int) -> Any:
        noise = tg.array_module(0.0).random.rand()
        return tg.randn(2), random.random(), noise, index


class Broken(Squares):
    def __getitem__(self, index: int) -> Any:
        if index == 7:
            raise KeyError("example seven")
        return index


class Unpicklable(Exception):
    def __init__(self, what: str, lock: Any) -> None:
        super().__init__(what)
        self.lock = lock


class Locked(Squares):
    def __getitem__(self, index: int) -> Any:
        raise Unpicklable("a lock", threading.Lock())


class Killed(Squares):
    def __getitem__(self, index: int) -> Any:
        os._exit(3)


class Slow(Squares):
    def __getitem__(self, index: int) -> Any:
        time.sleep(20)


def announce(worker: int) -> None:
    os.environ["WORKER"] = str(worker)


def which(examples: list[Any]) -> tuple[str, list[int]]:
    return os.environ["WORKER"], [e["n"] for e in examples]


def fail(worker: int) -> None:
    raise LookupError(f"no data for worker {worker}")

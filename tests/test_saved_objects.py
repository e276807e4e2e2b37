"""Whatever lies beside a model is stored as well as can be, and never keeps the model from being stored."""

from __future__ import annotations

import collections
import warnings
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest

import tinygrad_seq as tg

Point = collections.namedtuple("Point", "x y")


class Slots:
    __slots__ = ("a", "unset")

    def __init__(self) -> None:
        self.a = tg.ones(2)


class MoreSlots(Slots):
    __slots__ = ("b",)

    def __init__(self) -> None:
        super().__init__()
        self.b = 3


class SaysNothing:
    def __repr__(self) -> str:
        raise ValueError("no text")


class HasNothing:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise RuntimeError("no text")


class Entries(list[Any]):
    pass


def stored(obj: Any, path: Path) -> tuple[Any, str]:
    """What comes back, and what `save` warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tg.save(obj, path / "all.pt")
    return tg.load(path / "all.pt"), " ".join(str(w.message) for w in caught)


@pytest.mark.parametrize(
    "obj",
    [
        collections.deque([1, 2.5], maxlen=4),
        collections.deque(["a"]),
        range(2, 9, 3),
        collections.Counter("hello"),
        collections.OrderedDict(b=1, a=2),
        collections.defaultdict(list, {1: [2]}),
        collections.defaultdict(None, {"k": 0}),
        Point(1, (2, 3)),
    ],
    ids=repr,
)
def test_what_comes_back_as_it_was(obj: Any, tmp_path: Path) -> None:
    back, warned = stored({"it": obj, "w": tg.ones(1)}, tmp_path)
    assert back["it"] == obj
    assert not warned
    if isinstance(obj, Point):
        assert (type(back["it"]).__name__, back["it"].y) == ("Point", (2, 3))
    else:
        assert type(back["it"]) is type(obj)
    for name in ("maxlen", "default_factory"):
        assert getattr(back["it"], name, None) == getattr(obj, name, None)


def test_tensors_in_a_replay_buffer_come_back(tmp_path: Path) -> None:
    buffer = collections.deque([(tg.arange(3.0), 1), (tg.zeros(2), 0)], maxlen=9)
    cells = np.empty((1, 2), object)
    cells[0, 0], cells[0, 1] = tg.ones(2), None
    back, warned = stored({"replay": buffer, "cells": cells}, tmp_path)
    assert not warned
    assert [x.tolist() for x, _ in back["replay"]] == [[0.0, 1.0, 2.0], [0.0, 0.0]]
    assert back["cells"].shape == (1, 2)
    assert (back["cells"][0, 0].tolist(), back["cells"][0, 1]) == ([1.0, 1.0], None)


def test_slots_are_attributes(tmp_path: Path) -> None:
    back, warned = stored(MoreSlots(), tmp_path)
    assert (back.a.tolist(), back.b) == ([1.0, 1.0], 3)
    assert "the MoreSlots at the top" in warned


def nested(depth: int) -> list[Any]:
    x: list[Any] = []
    for _ in range(depth):
        x = [x]
    return x


@pytest.mark.parametrize(
    "neighbour",
    [SaysNothing(), HasNothing(), MagicMock(), np, nested(3000), print, Point],
    ids=lambda x: type(x).__name__,
)
def test_no_neighbour_keeps_a_model_from_being_stored(neighbour: Any, tmp_path: Path) -> None:
    back, warned = stored({"before": tg.ones(1), "b": neighbour, "model": tg.arange(2.0)}, tmp_path)
    assert (back["before"].tolist(), back["model"].tolist()) == ([1.0], [0.0, 1.0])
    assert "at b" in warned


def test_a_list_of_the_users_own_kind_is_said_to_become_a_plain_one(tmp_path: Path) -> None:
    back, warned = stored({"l": Entries([tg.ones(1)])}, tmp_path)
    assert type(back["l"]) is list
    assert "the Entries at l" in warned

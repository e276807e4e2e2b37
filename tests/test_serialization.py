"""Files: what comes back, what is refused, and that nothing is ever lost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nn
import tinygrad_seq as tg

plain = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text()
tensors = st.builds(lambda n: tg.arange(n) * 0.5, st.integers(0, 3))
trees = st.recursive(
    plain | tensors,
    lambda t: (
        st.lists(t, max_size=3)
        | st.tuples(t, t)
        | st.dictionaries(st.text(max_size=5) | st.integers(-5, 5), t, max_size=3)
    ),
    max_leaves=8,
)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, tg.Tensor):
        return isinstance(b, tg.Tensor) and a.dtype == b.dtype and a.shape == b.shape and a.tolist() == b.tolist()
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@given(tree=trees)
def test_trees_come_back(tmp_path_factory: Any, tree: Any) -> None:
    path = tmp_path_factory.mktemp("tree") / "file.npz"
    tg.save(tree, path)
    assert same(tg.load(path), tree)


def test_numpy_reads_parameters_by_name(tmp_path: Path) -> None:
    lstm = nn.LSTM(2, 3)
    tg.save(lstm.state_dict(), tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:
        np.testing.assert_array_equal(file["weight_hh_l0"], lstm.weight_hh_l0.detach().numpy())  # type: ignore[attr-defined]
    np.savez(tmp_path / "b.npz", x=np.ones(2))
    assert tg.load(tmp_path / "b.npz")["x"].tolist() == [1, 1]


def test_safetensors(tmp_path: Path) -> None:
    pytest.importorskip("safetensors", reason='the extra "io"')
    state = nn.LSTM(2, 3).state_dict()
    tg.save(state, tmp_path / "a.safetensors")
    loaded = tg.load(tmp_path / "a.safetensors")
    assert same({name: loaded[name] for name in state}, state)
    with pytest.raises(TypeError, match="dictionary of tensors; use"):
        tg.save({"a": 1}, tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match=r"b\.safetensors is not a whole"):
        tg.load(tmp_path / "b.safetensors")


def test_safetensors_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match=r'pip install "tinygrad-seq\[io\]"'):
        tg.save({}, tmp_path / "a.safetensors")


def test_what_cannot_be_stored_is_named(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"cannot store a set \(at a\.1\)"):
        tg.save({"a": [1, {2}]}, tmp_path / "a.npz")
    with pytest.raises(TypeError, match="keys of a must be strings or integers"):
        tg.save({"a": {1.5: 2}}, tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_cut_file_is_a_value_error(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "a.npz"
    tg.save({"x": tg.randn(50)}, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep if keep >= 1 else keep * len(data))])
    with pytest.raises(ValueError, match=r"a\.npz is not a whole \.npz file"):
        tg.load(path)


def test_a_pickle_is_never_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="not a whole"):
        tg.load(tmp_path / "a.npz")


def test_a_missing_file_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        tg.load(tmp_path / "a.npz")


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_failure_leaves_the_file_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    path = tmp_path / "a.npz"
    tg.save({"x": 1}, path)

    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, moment, fail)
    with pytest.raises(KeyboardInterrupt):
        tg.save({"x": 2}, path)
    monkeypatch.undo()
    assert tg.load(path) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]

"""Files: what comes back, what is refused, and that nothing is ever lost."""

from __future__ import annotations

import importlib.util
import os
import random
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nn
import tinygrad_seq as tg

ROOT = Path(__file__).parent.parent
plain = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text()
tensors = st.builds(lambda n: tg.arange(n) * 0.5, st.integers(0, 3))
trees = st.recursive(
    plain | tensors,
    lambda t: (
        st.lists(t, max_size=3)
        | st.tuples(t, t)
        | st.dictionaries(
            st.text(max_size=5) | st.sampled_from(["a", "a.0", "0", ""]) | st.integers(-5, 5), t, max_size=3
        )
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


@pytest.mark.parametrize(
    "tree",
    [
        {"a": {"b": tg.ones(1)}, "a.b": tg.zeros(1)},  # one dotted name for two tensors
        {1: tg.ones(1), "1": tg.zeros(1)},
        {"file": tg.ones(1), "allow_pickle": tg.zeros(1)},  # what np.savez calls its own
        {"__tree__": tg.ones(1)},
        {"x.npy": tg.ones(1), "x": tg.zeros(1)},
        {"a\0b": tg.ones(1), "a": tg.zeros(1), "\ud800": tg.ones(2), "../a": tg.ones(3), "": tg.ones(4)},
        {},
        tg.ones(2, 3).T,
        {"state": {0: {"step": 3, "exp_avg": tg.zeros(2)}}, "param_groups": [{"betas": (0.9, 0.99), "params": [0]}]},
    ],
)
def test_awkward_names_come_back(tmp_path: Path, tree: Any) -> None:
    tg.save(tree, tmp_path / "a.npz")
    assert same(tg.load(tmp_path / "a.npz"), tree)


@given(dtype=st.sampled_from(["float16", "float64", "complex64", "int8", "uint8", "bool"]), data=st.data())
def test_every_dtype_comes_back(tmp_path_factory: Any, dtype: str, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("dtype")
    shape = data.draw(st.lists(st.integers(0, 3), max_size=3).map(tuple))
    tree = {"x": tg.from_numpy(np.ones(shape, dtype=dtype))}
    for name in ("a.npz", "a.safetensors"):
        if name.endswith("npz") or importlib.util.find_spec("safetensors"):
            tg.save(tree, folder / name)
            assert same(tg.load(folder / name), tree)


def test_numpy_reads_parameters_by_name(tmp_path: Path) -> None:
    lstm = nn.LSTM(2, 3)
    tg.save(lstm.state_dict(), tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:
        assert list(file) == list(lstm.state_dict())
        np.testing.assert_array_equal(file["weight_hh_l0"], lstm.weight_hh_l0.detach().numpy())  # type: ignore[attr-defined]
    np.savez(tmp_path / "b.npz", x=np.ones(2))
    assert tg.load(tmp_path / "b.npz")["x"].tolist() == [1, 1]


def test_safetensors(tmp_path: Path) -> None:
    pytest.importorskip("safetensors", reason='the extra "io"')
    state = nn.LSTM(2, 3).state_dict()
    tg.save(state, tmp_path / "a.safetensors")
    loaded = tg.load(tmp_path / "a.safetensors")
    assert same({name: loaded[name] for name in state}, state)
    with pytest.raises(TypeError, match=r"by name; use \.npz"):
        tg.save({"a": 1}, tmp_path / "a.safetensors")
    with pytest.raises(TypeError, match=r"by name; use \.npz"):
        tg.save({1: tg.ones(1)}, tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match=r"b\.safetensors is not a whole"):
        tg.load(tmp_path / "b.safetensors")


def test_safetensors_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
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


def test_a_damaged_file_never_loads_as_other_numbers(tmp_path: Path) -> None:
    path, tree = tmp_path / "a.npz", {"state": {0: {"m": tg.randn(4), "step": 3}}, "x": tg.randn(20)}
    tg.save(tree, path)
    data = path.read_bytes()
    draw = random.Random(0)
    for _ in range(300):
        damaged = bytearray(data)
        damaged[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            found = tg.load(path)
        except ValueError:
            continue
        assert same(found, tree)  # a bit that means nothing, as of a time stamp


def test_a_foreign_archive_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(ValueError, match=r"holds 'hello\.txt', which is not an array"):
        tg.load(tmp_path / "a.npz")
    for path in ("a.pt", "npz"):
        with pytest.raises(ValueError, match=r"ends in \.npz or \.safetensors, got"):
            tg.save({}, path)
        with pytest.raises(ValueError, match=r"ends in \.npz or \.safetensors, got"):
            tg.load(path)


def test_errors_of_the_system_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "folder.npz").mkdir()
    for path, kind in ((tmp_path / "a.npz", FileNotFoundError), (tmp_path / "folder.npz", IsADirectoryError)):
        with pytest.raises(kind):
            tg.load(path)
    for path in (tmp_path / "none" / "a.npz", tmp_path / "folder.npz"):
        with pytest.raises(OSError, match=f"{path}'$"):
            tg.save({"x": 1}, path)
    assert [p.name for p in tmp_path.iterdir()] == ["folder.npz"]


def test_links_and_permissions_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a.npz").symlink_to(tmp_path / "b.npz")
    tg.save({"x": 1}, tmp_path / "a.npz")
    (tmp_path / "b.npz").chmod(0o640)
    tg.save({"x": 2}, tmp_path / "a.npz")
    assert (tmp_path / "a.npz").is_symlink()
    assert tg.load(tmp_path / "b.npz") == {"x": 2}
    assert (tmp_path / "b.npz").stat().st_mode & 0o777 == 0o640


def test_a_kill_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    code = f"""
import tinygrad_seq as tg
for k in range(10**9):
    tg.save({{"k": k, "x": tg.full((50_000,), float(k))}}, {str(path)!r})
"""
    for pause in (0.0, 0.011, 0.023):
        path.unlink(missing_ok=True)
        with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as process:
            while not path.exists() and process.poll() is None:
                time.sleep(0.001)
            time.sleep(pause)
            process.kill()
        saved = tg.load(path)
        assert saved["x"].tolist() == [saved["k"]] * 50_000


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

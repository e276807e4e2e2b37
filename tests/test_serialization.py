"""Files: what comes back, what is refused, and that nothing is ever lost."""

from __future__ import annotations

import argparse
import copy
import importlib.util
import io
import json
import os
import random
import subprocess
import sys
import threading
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

from .systems import posix

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


def safetensors_file(kind: str, shape: list[int], content: bytes) -> io.BytesIO:
    header = json.dumps({"x": {"dtype": kind, "shape": shape, "data_offsets": [0, len(content)]}}).encode()
    return io.BytesIO(len(header).to_bytes(8, "little") + header + content)


def test_dtypes_of_safetensors() -> None:
    pytest.importorskip("safetensors", reason='the extra "io"')
    for kind, dtype in (("F64", "f8"), ("F16", "f2"), ("I8", "i1"), ("U16", "u2"), ("BOOL", "?"), ("C64", "c8")):
        values = np.array([[1, 0], [1, 1]], dtype)
        found = tg.load(safetensors_file(kind, [2, 2], values.tobytes()))["x"]
        assert found.dtype == values.dtype
        assert found.tolist() == values.tolist()
    values = np.array([[1.0, -2.5, np.inf]], "f4")
    found = tg.load(safetensors_file("BF16", [1, 3], (values.view("u4") >> 16).astype("u2").tobytes()))["x"]
    assert found.dtype == tg.float32
    assert found.tolist() == values.tolist()
    with pytest.raises(ValueError, match="the open file holds 'x', of F8_E4M3, a dtype that is not read"):
        tg.load(safetensors_file("F8_E4M3", [2], bytes(2)))


def test_arrays_of_text_are_refused_in_words(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array(["a"]))
    with pytest.raises(ValueError, match=r"a\.npz holds 'x', an array of <U1; load takes arrays of numbers"):
        tg.load(tmp_path / "a.npz")


def test_safetensors_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match=r'pip install "tinygrad-seq\[io\]"'):
        tg.save({}, tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    "name", ["model.pt", "model.pth", "model", "model.bin", "a.tar", ".hidden", "a.b.c", "ü x.ckpt"]
)
def test_any_name_will_do(tmp_path: Path, name: str) -> None:
    tree = {"epoch": 3, "model": nn.LSTM(2, 3).state_dict()}
    tg.save(tree, tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert same(tg.load(tmp_path / name), tree)
    tg.save(tree, str(tmp_path / name))
    assert same(tg.load(str(tmp_path / name)), tree)
    (tmp_path / name).write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="is not a whole"):
        tg.load(tmp_path / name)


def test_open_files(tmp_path: Path) -> None:
    tree = {"epoch": 3, "x": tg.ones(2)}
    with open(tmp_path / "a.pt", "wb") as out:
        tg.save(tree, out)
    with open(tmp_path / "a.pt", "rb") as given:
        assert same(tg.load(given), tree)
    buffer = io.BytesIO()
    tg.save(tree, buffer)
    buffer.seek(0)
    assert same(tg.load(buffer), tree)
    with open(tmp_path / "a.txt", "w", encoding="utf-8") as text, pytest.raises(TypeError, match=r"bytes \('wb'\)"):
        tg.save(tree, text)  # type: ignore[arg-type]
    with open(tmp_path / "a.txt", encoding="utf-8") as text, pytest.raises(TypeError, match=r"bytes \('rb'\)"):
        tg.load(text)  # type: ignore[arg-type]
    nowhere: Any = 3
    with pytest.raises(TypeError, match="save: takes a name or a file"):
        tg.save({}, nowhere)
    with pytest.raises(TypeError, match="load: takes a name or a file"):
        tg.load(nowhere)


def test_plain_values_come_back(tmp_path: Path) -> None:
    tree = {
        "set": {1, 2},
        "frozen": frozenset("ab"),
        "bytes": b"\x00\xff",
        "complex": 1 + 2j,
        (1, "pair"): [float("inf"), -0.0],
        None: True,
        1.5: "half",
        True: (1, (2,)),
        "dtype": tg.int64,
        "device": tg.device("cpu"),
        "number": np.float32(2.5),
        "whole": np.int64(7),
    }
    tg.save(tree, tmp_path / "a.pt")
    found = tg.load(tmp_path / "a.pt")
    assert found == tree
    assert [type(value) for value in found.values()] == [type(value) for value in tree.values()]


def test_arrays_come_back_as_arrays(tmp_path: Path) -> None:
    arrays = [np.arange(6).reshape(2, 3), np.array(["a", "bc"]), np.array(1.5), np.ones(3)[::2], np.array([True])]
    tg.save({"arrays": arrays, "tensor": tg.ones(2)}, tmp_path / "a.pt")
    found = tg.load(tmp_path / "a.pt")
    for mine, given_ in zip(found["arrays"], arrays, strict=True):
        assert type(mine) is np.ndarray
        assert mine.dtype == given_.dtype
        np.testing.assert_array_equal(mine, given_)
    assert isinstance(found["tensor"], tg.Tensor)


def test_what_requires_a_gradient_does_so_again(tmp_path: Path) -> None:
    leaf = tg.ones(2, requires_grad=True)
    tg.save(
        {"leaf": leaf, "parameter": nn.Parameter(tg.ones(1)), "result": leaf * 2, "plain": tg.ones(1)}, tmp_path / "a"
    )
    found = tg.load(tmp_path / "a")
    assert [name for name, value in found.items() if value.requires_grad] == ["leaf", "parameter"]


def test_modules_and_optimizers(tmp_path: Path) -> None:
    model = nn.LSTM(2, 3)
    optimizer = nn.optim.Adam(model.parameters(), lr=0.3)
    model(tg.ones(4, 1, 2))[0].sum().backward()
    optimizer.step()
    tg.save({"model": model, "optimizer": optimizer}, tmp_path / "a.pt")
    found = tg.load(tmp_path / "a.pt")
    assert same(dict(found["model"]), model.state_dict())
    other = nn.LSTM(2, 3)
    other.load_state_dict(found["model"])
    resumed = nn.optim.Adam(other.parameters())
    resumed.load_state_dict(found["optimizer"])
    assert resumed.param_groups[0]["lr"] == 0.3
    tg.save(model, tmp_path / "b.pt")
    loaded = tg.load(tmp_path / "b.pt")
    with pytest.raises(AttributeError, match=r"the state_dict of a LSTM, .* load_state_dict\(tg\.load\(path\)\)"):
        loaded.eval()
    with pytest.raises(TypeError, match="the state_dict of a LSTM"):
        loaded(tg.ones(4, 1, 2))
    assert same(dict(copy.deepcopy(loaded)), model.state_dict())


class Vocabulary:
    def __init__(self) -> None:
        self.index = {"a": 0, "b": 1}
        self.itself = self

    def __len__(self) -> int:
        return len(self.index)


def test_a_training_is_never_lost_for_an_object_beside_it(tmp_path: Path) -> None:
    tree = {"weight": tg.ones(2), "vocab": Vocabulary(), "f": [len], "lock": threading.Lock(), "o": np.array([{}])}
    with pytest.warns(
        UserWarning, match=r"of the Vocabulary at vocab, .* the builtin_function_or_method at f\.0, the lock"
    ):
        tg.save(tree, tmp_path / "a.pt")
    found = tg.load(tmp_path / "a.pt")
    assert found["weight"].tolist() == [1, 1]
    assert found["vocab"].index == {"a": 0, "b": 1}
    assert found["f"][0].text == "<built-in function len>"
    assert repr(found["vocab"]).startswith("Saved Vocabulary(index={'a': 0, 'b': 1}")
    with pytest.raises(AttributeError, match=r"of this Vocabulary the file has \['index', 'itself'\], not 'encode'"):
        found["vocab"].encode("a")
    copy.copy(found["vocab"])
    with pytest.warns(UserWarning, match="the Namespace at the top"):
        tg.save(argparse.Namespace(lr=0.1, layers=[1, 2]), tmp_path / "b.pt")
    assert vars(tg.load(tmp_path / "b.pt")) == {"lr": 0.1, "layers": [1, 2]}


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


def test_errors_of_the_system_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "folder.npz").mkdir()
    for path, kind in ((tmp_path / "a.npz", FileNotFoundError), (tmp_path / "folder.npz", IsADirectoryError)):
        with pytest.raises(kind):
            tg.load(path)
    for path in (tmp_path / "none" / "a.npz", tmp_path / "folder.npz"):
        with pytest.raises(OSError, match=f"{path}'$"):
            tg.save({"x": 1}, path)
    assert [p.name for p in tmp_path.iterdir()] == ["folder.npz"]


@posix
def test_links_and_permissions_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a.npz").symlink_to(tmp_path / "b.npz")
    tg.save({"x": 1}, tmp_path / "a.npz")
    (tmp_path / "b.npz").chmod(0o640)
    tg.save({"x": 2}, tmp_path / "a.npz")
    assert (tmp_path / "a.npz").is_symlink()
    assert tg.load(tmp_path / "b.npz") == {"x": 2}
    assert (tmp_path / "b.npz").stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes in folders")
@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_is_written_into(tmp_path: Path, linked: bool) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    path = tmp_path / "link" if linked else pipe
    if linked:
        path.symlink_to(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    before = sorted(tmp_path.iterdir())
    tg.save({"x": tg.ones(3)}, path)
    assert pipe.is_fifo()
    assert tg.load(io.BytesIO(os.read(reader, 65536)))["x"].tolist() == [1, 1, 1]
    os.close(reader)
    assert sorted(tmp_path.iterdir()) == before


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

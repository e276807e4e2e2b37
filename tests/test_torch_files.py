"""PyTorch's files: what is in them comes back, and nothing in them is ever run."""

from __future__ import annotations

import importlib.util
import io
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg

from .torch_files import Archive, Call, Global, view

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch writes the files")


def load(data: bytes, **settings: Any) -> Any:
    return tg.load(io.BytesIO(data), **settings)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("order", ["<", ">"])
def test_values_come_back(protocol: int, order: str) -> None:
    archive = Archive(order)
    numbers = np.arange(6, dtype="f4").reshape(2, 3)
    ordered = Call(Global("collections", "OrderedDict"), state={"_metadata": {"": {"version": 1}}})
    tree = {
        "weight": archive.tensor(numbers),
        "step": archive.tensor(np.array(3, "i8")),
        "mask": archive.tensor(np.array([True, False])),
        "half": archive.tensor(np.array([0.5, 2], "f2")),
        "double": archive.tensor(np.array([1e-300]), requires_grad=True),
        "complex": archive.tensor(np.array([1 + 2j], "c8")),
        "none": archive.tensor(np.zeros((0, 3), "f4")),
        "plain": [1, -5, 2**70, 1.5, None, True, "ü", (1, (2,)), {}, [], ()],
        7: ordered,
        "size": Call(Global("torch", "Size"), (2, 3)),
        "dtype": Global("torch", "float64"),
    }
    found = load(archive.write(tree, protocol))
    assert found["weight"].dtype == tg.float32
    assert found["weight"].tolist() == numbers.tolist()
    assert (found["step"].item(), found["step"].dtype, found["step"].shape) == (3, tg.int64, ())
    assert found["mask"].dtype == tg.bool
    assert found["mask"].tolist() == [True, False]
    assert found["half"].dtype == tg.float16
    assert found["double"].tolist() == [1e-300]
    assert [name for name, value in found.items() if getattr(value, "requires_grad", False)] == ["double"]
    assert found["complex"].tolist() == [1 + 2j]
    assert found["none"].shape == (0, 3)
    assert found["plain"] == tree["plain"]
    assert found[7] == {}
    assert found["size"] == (2, 3)
    assert found["dtype"] == tg.float64


def test_bfloat16_is_read_as_float32() -> None:
    archive = Archive()
    values = np.array([1.0, -2.5, 3e38, 0.0078125, np.inf], "f4")
    upper = (values.view("u4") >> 16).astype("u2")
    tree = view(archive.storage(upper, kind="BFloat16"), 1, (4,), (1,))
    found = load(archive.write(tree))
    assert found.dtype == tg.float32
    assert found.tolist() == (upper.astype("u4") << 16).view("f4")[1:].tolist()


def test_views_share_memory_as_they_did() -> None:
    archive = Archive()
    storage = archive.storage(np.arange(12, dtype="f4"))
    whole, turned = view(storage, 0, (3, 4), (4, 1)), view(storage, 0, (4, 3), (1, 4))
    found = load(archive.write([whole, turned, view(storage, 4, (2, 3), (0, 1)), view(storage, 11, (), ())]))
    assert found[1].tolist() == found[0].T.tolist()
    assert found[2].tolist() == [[4, 5, 6]] * 2
    assert found[3].item() == 11
    found[0][1, 1] = 50.0
    assert found[1][1, 1].item() == 50
    assert found[2].tolist() == [[4, 50, 6]] * 2
    with pytest.raises(RuntimeError, match="another tensor"):  # as of any view
        found[0].mul_(tg.ones(1, requires_grad=True))


def test_marks_of_conjugate_and_negative_tensors() -> None:
    archive = Archive()
    z, x = np.array([1 + 2j, 3 - 4j], "c8"), np.array([2, 4], "u2")
    complexes, integers = archive.storage(z), archive.storage(x, kind="Untyped")
    for marks, expected in (
        (None, z), ({}, z), ({"conj": False}, z), ({"conj": True}, z.conj()), ({"neg": True}, -z),
        ({"conj": True, "neg": True}, -z.conj()),
    ):  # fmt: skip
        found = load(archive.write([view(complexes, 0, (2,), (1,)), view(complexes, 0, (2,), (1,), False, marks)]))
        assert found[0].tolist() == z.tolist()
        assert found[1].tolist() == expected.tolist()
        assert found[1].dtype == tg.complex64
    kind = Global("torch", "uint16")
    assert load(archive.write(view(integers, 0, (2,), (1,), False, kind))).tolist() == [2, 4]
    assert load(archive.write(view(integers, 0, (2,), (1,), False, kind, {"neg": True}))).tolist() == (-x).tolist()
    with pytest.raises(ValueError, match=r"holds a tensor marked \['zero'\], .* save tensor\.clone\(\)"):
        load(archive.write(view(complexes, 0, (2,), (1,), False, {"zero": True})))


def test_the_other_order_of_bytes_is_not_taken_for_this_one() -> None:
    archive = Archive(">")
    data = archive.write(archive.tensor(np.array([1.0, 256.0], "f4")))
    assert load(data).tolist() == [1, 256]


def test_map_location() -> None:
    archive = Archive()
    data = archive.write({"a": archive.tensor(np.ones(2, "f4"), "cuda:1"), "b": archive.tensor(np.ones(1, "f4"))})
    asked = []

    def where(tensor: tg.Tensor, device: str) -> Any:
        asked.append((tensor.shape, device))
        return tensor if device == "cpu" else None

    for location in (None, "cpu", tg.device("cpu"), {"cuda:1": "cpu"}, where, lambda storage, loc: storage):
        assert load(data, map_location=location)["a"].device.type == "cpu"
    assert asked == [((2,), "cuda:1"), ((1,), "cpu")]
    with pytest.raises(TypeError, match="map_location takes a device"):
        load(data, map_location=3)
    with pytest.raises(TypeError, match="map_location takes a tensor and its device's name"):
        load(data, map_location=lambda tensor, device: "cpu")
    for function in (
        lambda tensor, _: tensor * 2,
        lambda tensor, _: tensor.double() * 2,
        lambda tensor, _: tensor.mul_(2),
    ):
        found = load(data, map_location=function)
        assert [found["a"].tolist(), found["b"].tolist()] == [[2, 2], [2]]
    assert load(data, map_location=lambda tensor, _: tensor.double())["a"].dtype == tg.float64
    with pytest.raises(ValueError, match=r"map_location was given a tensor of shape \(2,\), and gave one of \(1,\)"):
        load(data, map_location=lambda tensor, _: tensor[:1])
    with pytest.raises(ZeroDivisionError):  # a mistake in it is no mistake of the file
        load(data, map_location=lambda tensor, device: 1 // 0)
    ours = io.BytesIO()
    tg.save({"x": tg.ones(2), "leaf": tg.ones(1, requires_grad=True)}, ours)
    doubled = load(ours.getvalue(), map_location=lambda tensor, device: tensor * 2)
    assert (doubled["x"].tolist(), doubled["leaf"].tolist(), doubled["leaf"].requires_grad) == ([2, 2], [2], True)
    asked.clear()
    load(ours.getvalue(), map_location=where, weights_only=False)
    assert asked == [((2,), "cpu"), ((1,), "cpu")]


class Evil:
    def __reduce__(self) -> Any:
        import os

        return os.system, ("exit 1",)


def _dtype(code: str, inside: Any) -> Call:
    return Call(Global("numpy", "dtype"), code, False, True, state=(4, "<", *inside, -1, -1, 0))


def _hostile() -> dict[str, tuple[Any, str]]:
    archive = Archive()
    ones = archive.storage(np.ones(4, "f4"))
    slots = Call(Global("torch", "Size"), (1,), state=(None, {"__class__": 1}))
    return {
        "system": (Call(Global("os", "system"), "exit 1"), r"holds os\.system; load takes tensors, dict"),
        "eval": (Call(Global("builtins", "eval"), "1"), r"holds builtins\.eval"),
        "getattr": (Call(Global("builtins", "getattr"), [], "append"), r"holds builtins\.getattr"),
        "dotted": (Call(Global("torch", "Size.__new__"), ()), r"holds torch\.Size\.__new__"),
        "load": (Call(Global("torch", "load"), "x"), r"holds torch\.load"),
        "module": (Call(Global("__main__", "Net")), r"holds __main__\.Net; .* save a model's state_dict\(\)"),
        "class": (Call(Global("torch", "Tensor"), [1.0]), r"calls torch\.Tensor"),
        "state": (slots, "sets the state of a tuple"),
        "state of a function": (Call(Global("torch.nn.parameter", "Parameter"), state={"x": 1}), r"calls torch"),
        "beyond": (view(ones, 0, (5,), (1,)), "not a whole PyTorch file"),
        "offset": (view(ones, 3, (2,), (1,)), "not a whole PyTorch file"),
        "far": (view(ones, 2**62, (1,), (1,)), "not a whole PyTorch file"),
        "before": (view(ones, -1, (2,), (1,)), "not a whole PyTorch file"),
        "backwards": (view(ones, 0, (2,), (-1,)), "not a whole PyTorch file"),
        "strides": (view(ones, 0, (3,), (2**61,)), "not a whole PyTorch file"),
        "long": (view(ones, 0, (2**40, 2**40), (0, 0)), "not a whole PyTorch file"),
        "negative": (view(ones, 0, (-1,), (1,)), "not a whole PyTorch file"),
        "dimensions": (view(ones, 0, (1,) * 100, (1,) * 100), "not a whole PyTorch file"),
        "count": (view(ones._replace(size=2**50), 0, (4,), (1,)), "not a whole PyTorch file"),
        "missing": (view(ones._replace(key="../x"), 0, (4,), (1,)), "not a whole PyTorch file"),
        "kind": (view(ones._replace(kind="QInt8"), 0, (4,), (1,)), "holds a tensor of qint8"),
        "sparse": (Call(Global("torch._utils", "_rebuild_sparse_tensor")), r"holds torch\._utils\._rebuild_sparse"),
        "storage": (view("text", 0, (1,), (1,)), "not a whole PyTorch file"),
        "storage alone": ([(ones,)], "holds a storage, .* save the tensor in its place"),
        "storage as a key": ({ones: 1}, "holds a storage"),
        "a class": ({"x": Global("torch", "Tensor")}, r"holds the class torch\.Tensor, which is not read"),
        "a class in a set": ({Global("builtins", "set")}, r"holds the class builtins\.set"),
        "device": (Call(Global("torch", "device"), "mps"), "holds the device 'mps'; here are 'cpu' and 'cuda'"),
        "unhashable": (Call(Global("builtins", "set"), [[1]]), "looks things up by a list"),
        "unit": (_dtype("M8", (None, None, None)), "dtype of NumPy's that is not one of numbers"),
        "fields": (_dtype("V8", (None, ("a",), {"a": 1})), "dtype of NumPy's that is not one of numbers"),
    }


@pytest.mark.parametrize("name", _hostile())
def test_hostile_files_are_refused(name: str) -> None:
    archive = Archive()
    archive.storage(np.ones(4, "f4"))
    tree, message = _hostile()[name]
    with pytest.raises(ValueError, match=message):
        load(archive.write({"a": tree}))


def test_instructions_that_no_file_of_pytorch_has_are_refused() -> None:
    for pickled, message in (
        (b"\x80\x02cos\nsystem\n.", r"holds os\.system"),
        (b"(S'exit 1'\nios\nsystem\n.", "instruction STRING"),
        (b"(i__main__\nNet\n.", "instruction INST"),
        (b"\x80\x02}(K\x01u.", "not a whole"),  # an item without a value
        (b"\x80\x02K\x01K\x02a.", "no list"),
        (b"\x80\x02]K\x02K\x03s.", "no dictionary"),
        (b"\x80\x02r\xff\xff\xff\xff.", "not a whole"),  # a memo of four billion entries
        (b"\x80\x02K\x01", "not a whole"),
        (b"\x80\x02j\x05\x00\x00\x00.", "not a whole"),
        (b"\x80\x02\x82\x01.", "instruction EXT1"),
        (b"\x80\x02X\xff\xff\xff\x7fab.", "not a whole"),  # two gigabytes, says the length
        (b"\x80\x02K\x01K\x02R.", "calls what is no function"),
        (b"\x80\x02K\x01Q.", "not a whole"),
    ):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("a/data.pkl", pickled)
        with pytest.raises(ValueError, match=message):
            load(out.getvalue())


DEEP = b")" + b"\x85" * 2000  # a tuple in a tuple in a tuple
WIDE = b")" + b"q\x00h\x00\x86" * 15  # the same twice, and that twice: it has 2 ** 15 parts


@pytest.mark.parametrize("nested", [DEEP, WIDE], ids=["deep", "wide"])
def test_nested_tuples_are_never_looked_up_by(nested: bytes) -> None:
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n%bX\x03\x00\x00\x00cpuK\x01tQ" % nested
    parts, name = "key of more than 1000 parts", "is no string"
    for pickled, message in (
        (b"}" + nested + b"Ns", parts),
        (b"}(" + nested + b"Nu", parts),
        (b"\x8f(" + nested + b"\x90", parts),
        (b"(" + nested + b"\x91", parts),
        (b"cbuiltins\nset\n](" + nested + b"e\x85R", parts),
        (b"cbuiltins\nfrozenset\n](" + nested + b"e\x85R", parts),
        (b"ccollections\nOrderedDict\n](" + nested + b"N\x86e\x85R", parts),
        (b"ccollections\nCounter\n](" + nested + b"N\x86e\x85R", "what is no dictionary"),
        (nested + b"X\x01\x00\x00\x00x\x93", name),
        (b"X\x05\x00\x00\x00torch" + nested + b"\x93", name),
        (b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00K\x01\x85K\x01\x85\x89}tR", name),
    ):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("a/data.pkl", b"\x80\x04" + pickled + b".")
        with pytest.raises(ValueError, match=message):
            load(out.getvalue())


def test_keys_come_back() -> None:
    keys = ["a", 1, 1.5, None, True, b"b", 1j, ("a", (1, (2, ())), None), frozenset({1, (2, 3)})]
    ordered = Call(Global("collections", "OrderedDict"), [[key, n] for n, key in enumerate(keys)])
    counted = Call(Global("collections", "Counter"), {"a": 2, "b": 1})
    for protocol in (2, 4):
        found = load(Archive().write([dict.fromkeys(keys, 1), set(keys), ordered, counted], protocol))
        assert found == [dict.fromkeys(keys, 1), set(keys), {key: n for n, key in enumerate(keys)}, {"a": 2, "b": 1}]


def test_compressed_entries_are_refused() -> None:
    archive = Archive(compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="compressed entries"):
        load(archive.write(archive.tensor(np.zeros(100_000, "f4"))))


def test_bare_pickles_are_refused_in_words(tmp_path: Path) -> None:
    for protocol in (2, 4):
        (tmp_path / "old.pt").write_bytes(pickle.dumps(Evil(), protocol))
        with pytest.raises(ValueError, match=r"old\.pt is a bare pickle, or of a PyTorch before 1\.6"):
            tg.load(tmp_path / "old.pt")


def test_damaged_files_are_refused() -> None:
    archive = Archive()
    data = archive.write({"x": archive.tensor(np.arange(20, dtype="f4")), "epoch": 3})
    draw = random.Random(0)
    for keep in (0, 3, 40, len(data) // 2, len(data) - 1):
        with pytest.raises(ValueError, match="not a whole"):
            load(data[:keep])
    for _ in range(300):
        damaged = bytearray(data)
        damaged[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        try:
            found = load(bytes(damaged))
        except ValueError:
            continue
        assert list(found) == ["x", "epoch"]
        assert found["x"].tolist() == list(range(20))
        assert found["epoch"] == 3


def test_numbers_of_numpy() -> None:
    kind = Call(Global("numpy", "dtype"), "f8", False, True, state=(3, "<", None, None, None, -1, -1, 0))
    data = Call(Global("_codecs", "encode"), np.float64(2.5).tobytes().decode("latin1"), "latin1")
    found = load(Archive().write({"loss": Call(Global("numpy._core.multiarray", "scalar"), kind, data)}))
    assert found["loss"] == 2.5
    kind.state = (3, ">", None, None, None, -1, -1, 0)
    with pytest.raises(ValueError, match="in the other order"):
        load(Archive().write(Call(Global("numpy._core.multiarray", "scalar"), kind, data)))


@needs_torch
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_checkpoint_of_pytorch(tmp_path: Path, protocol: int) -> None:
    import torch

    torch.manual_seed(0)
    theirs = torch.nn.LSTM(3, 4, num_layers=2)
    optimizer = torch.optim.Adam(theirs.parameters(), lr=0.1)
    x = torch.randn(5, 2, 3)
    theirs(x)[0].sum().backward()
    optimizer.step()
    weight = torch.arange(12.0).reshape(3, 4)
    z = torch.tensor([1 + 2j, 3 - 4j])
    tree = {
        "model": theirs.state_dict(),
        "optimizer": optimizer.state_dict(),
        "views": [weight, weight.T, weight[1:, 2], weight[:, 1:2].expand(3, 5)],
        "marked": [z, z.conj(), z.conj()[1:], torch.tensor([1 + 2j]).conj().imag],
        "bfloat16": torch.randn(7).bfloat16(),
        "uint16": torch.tensor([1, 65535], dtype=torch.uint16),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "size": weight.shape,
        "dtype": torch.float64,
        "device": torch.device("cpu"),
        "others": [1 + 2j, {1, 2}, b"a\xff", 2**70],
        "epoch": 3,
    }
    tree["parameter"].note = "an attribute"
    torch.save(tree, tmp_path / "model.pt", pickle_protocol=protocol)
    found = tg.load(tmp_path / "model.pt", map_location="cpu", weights_only=True)
    ours = nn.LSTM(3, 4, num_layers=2)
    ours.load_state_dict(found["model"])
    resumed = nn.optim.Adam(ours.parameters(), lr=0.5)
    resumed.load_state_dict(found["optimizer"])
    np.testing.assert_allclose(
        ours(tg.from_numpy(x.numpy()))[0].detach().numpy(), theirs(x)[0].detach().numpy(), atol=1e-6
    )
    for model, step in ((theirs, optimizer), (ours, resumed)):
        step.zero_grad()
        model(x if model is theirs else tg.from_numpy(x.numpy()))[0].sum().backward()
        step.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(mine.detach().numpy(), other.detach().numpy(), atol=1e-5)
    for mine, other in zip(found["views"], tree["views"], strict=True):
        assert mine.tolist() == other.tolist()
    assert [t.tolist() for t in found["marked"]] == [t.tolist() for t in tree["marked"]]
    assert found["bfloat16"].tolist() == tree["bfloat16"].tolist()
    assert found["uint16"].tolist() == [1, 65535]
    assert found["parameter"].requires_grad
    assert found["size"] == (3, 4)
    assert found["dtype"] == tg.float64
    assert found["others"] == tree["others"]
    assert found["epoch"] == 3


@needs_torch
def test_what_of_pytorch_is_refused(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "a.pt"
    for obj, message in (
        (torch.nn.Linear(2, 3), r"holds torch\.nn\.modules\.linear\.Linear"),
        (torch.ones(2).to_sparse(), "sparse"),
        (torch.ones(2).to(torch.float8_e5m2), "float8_e5m2"),
    ):
        torch.save(obj, path)
        with pytest.raises(ValueError, match=message):
            tg.load(path)
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"before 1\.6"):
        tg.load(path)

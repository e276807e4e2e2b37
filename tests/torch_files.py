"""Files as PyTorch writes them, written by hand: an archive of a pickle and of the bytes of storages."""

from __future__ import annotations

import io
import pickle
import zipfile
from typing import Any, NamedTuple

import numpy as np


class Global(NamedTuple):
    """A name of Python's, as `torch._utils._rebuild_tensor_v2`."""

    module: str
    name: str


class Call:
    """What calling a global gives."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.function, self.arguments, self.state = function, arguments, state


class Stored(NamedTuple):
    """The persistent id of a storage."""

    kind: str
    key: str
    location: str
    size: int


_PurePickler: Any = pickle._Pickler


class _Pickler(_PurePickler):  # type: ignore[misc]
    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Stored):
            super().save(("storage", Global("torch", f"{obj.kind}Storage"), *obj[1:]))
            self.write(pickle.BINPERSID)
        elif isinstance(obj, Global):
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, Call):
            self.save(obj.function)
            super().save(tuple(obj.arguments))
            self.write(pickle.REDUCE)
            if obj.state is not None:
                self.save(obj.state)
                self.write(pickle.BUILD)
        else:
            super().save(obj, save_persistent_id)


KINDS = {"f4": "Float", "f8": "Double", "i8": "Long", "b1": "Bool", "f2": "Half", "c8": "ComplexFloat"}


class Archive:
    """A file in the making: `tensor` gives what stands for a tensor in the tree, `write` the bytes of the file."""

    def __init__(self, order: Any = "<", compression: int = zipfile.ZIP_STORED) -> None:
        self.order, self.compression = order, compression
        self.storages: dict[str, bytes] = {}

    def storage(self, array: np.ndarray, location: str = "cpu", kind: str | None = None) -> Stored:
        key = str(len(self.storages))
        self.storages[key] = array.astype(array.dtype.newbyteorder(self.order)).tobytes()
        return Stored(kind or KINDS[array.dtype.str[1:]], key, location, array.size)

    def tensor(self, array: np.ndarray, location: str = "cpu", requires_grad: bool = False) -> Call:
        stride = tuple(s // array.itemsize for s in np.empty(array.shape, array.dtype).strides)
        return view(self.storage(array, location), 0, array.shape, stride, requires_grad)

    def write(self, tree: Any, protocol: int = 2) -> bytes:
        content, out = io.BytesIO(), io.BytesIO()
        _Pickler(content, protocol).dump(tree)
        with zipfile.ZipFile(out, "w", self.compression) as archive:
            archive.writestr("model/data.pkl", content.getvalue())
            archive.writestr("model/byteorder", "big" if self.order == ">" else "little")
            for key, data in self.storages.items():
                archive.writestr(f"model/data/{key}", data)
            archive.writestr("model/version", "3\n")
        return out.getvalue()


def view(storage: Any, offset: Any, size: Any, stride: Any, requires_grad: bool = False, *more: Any) -> Call:
    """A tensor; of version 3 with its dtype in `more`, and in the end of both, where it has some, its marks."""
    hooks = Call(Global("collections", "OrderedDict"))
    version = 3 if more and isinstance(more[0], Global) else 2
    function = Global("torch._utils", f"_rebuild_tensor_v{version}")
    return Call(function, storage, offset, size, stride, requires_grad, hooks, *more)

"""`save` and `load`: trees of tensors and plain values in one file, `.npz` or `.safetensors`, never pickle."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from .backend import Array, backend_of
from .backend import numpy as host
from .tensor import Tensor

_FOREIGN = object()  # stands for the tree of a file that `save` did not write
_TREE = "__tree__"  # the entry that holds everything but the numbers, as JSON


def save(obj: Any, path: str | os.PathLike[str]) -> None:
    """Write a tree of dictionaries, lists, tuples, numbers, strings, None and tensors to a file.

    Tensors are entries of an ordinary `.npz` file under their dotted names, as in `np.load(path)["lstm.weight_hh_l0"]`;
    the rest is JSON in one more entry. A `.safetensors` file takes a dictionary of tensors alone.

    The file appears at once and whole: it is written beside its place and then moved there, so that a crash leaves what
    was there before.

    Raises:
        TypeError: if something in the tree can be stored in neither way.
        ImportError: for `.safetensors` without that package.
        OSError: if the file cannot be written.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        _replace(path, _safetensors().save(_flat(obj)))
        return
    arrays: dict[str, Array] = {}
    tree = _encode(obj, "", arrays)
    arrays[_TREE] = host.bytes_to_array(json.dumps(tree).encode())
    _replace(path, host.npz_bytes(arrays))


def load(path: str | os.PathLike[str]) -> Any:
    """Read what `save` wrote: the same tree, with its tensors on the CPU. Of any other `.npz`, a dictionary of tensors.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is cut off, damaged, or of another kind.
    """
    path = Path(path)
    data = path.read_bytes()
    if path.suffix == ".safetensors":
        safetensors = _safetensors()
        try:
            return {name: Tensor.wrap(array) for name, array in safetensors.load(data).items()}
        except Exception as error:  # the package raises a class of its own that it does not export everywhere
            raise ValueError(f"load: {path} is not a whole .safetensors file: {error}") from None
    try:
        arrays = host.npz_arrays(data)
        tree = json.loads(arrays.pop(_TREE).tobytes()) if _TREE in arrays else _FOREIGN
    except (zipfile.BadZipFile, ValueError, EOFError, KeyError, OSError) as error:
        raise ValueError(
            f"load: {path} is not a whole .npz file (cut off, damaged or of another kind): {error}"
        ) from None
    if tree is _FOREIGN:
        return {name: Tensor.wrap(array) for name, array in arrays.items()}
    return _decode(tree, arrays)


def _encode(obj: Any, name: str, arrays: dict[str, Array]) -> Any:
    """The tree as JSON values; the arrays of its tensors go into `arrays`. Containers are marked by their kind."""
    if isinstance(obj, Tensor):
        key = name or "tensor"
        arrays[key] = backend_of(obj.array).to_host(obj.array)
        return {"tensor": key}
    if obj is None or isinstance(obj, (bool, int, float, str)):
        return obj
    if isinstance(obj, dict):
        if not all(isinstance(key, (str, int)) and not isinstance(key, bool) for key in obj):
            raise TypeError(f"save: the keys of {name or 'the dictionary'} must be strings or integers")
        items = [[key, _encode(value, f"{name}.{key}" if name else str(key), arrays)] for key, value in obj.items()]
        return {"dict": items}
    if isinstance(obj, (list, tuple)):
        items = [_encode(value, f"{name}.{i}" if name else str(i), arrays) for i, value in enumerate(obj)]
        return {"list" if isinstance(obj, list) else "tuple": items}
    raise TypeError(
        f"save: cannot store a {type(obj).__name__} (at {name or 'the top'}); takes tensors, numbers, strings, None, "
        "and dictionaries, lists and tuples of them"
    )


def _decode(tree: Any, arrays: dict[str, Array]) -> Any:
    if not isinstance(tree, dict):
        return tree
    (kind, content) = next(iter(tree.items()))
    if kind == "tensor":
        return Tensor.wrap(arrays[content])
    if kind == "dict":
        return {key: _decode(value, arrays) for key, value in content}
    items = [_decode(value, arrays) for value in content]
    return tuple(items) if kind == "tuple" else items


def _flat(obj: Any) -> dict[str, Array]:
    if not isinstance(obj, dict) or not all(isinstance(value, Tensor) for value in obj.values()):
        raise TypeError("save: a .safetensors file takes a dictionary of tensors; use .npz for anything else")
    arrays = {str(name): backend_of(t.array).to_host(t.array) for name, t in obj.items()}
    return {name: array.copy("C") for name, array in arrays.items()}


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise ImportError('.safetensors files need the extra "io": pip install "tinygrad-seq[io]"') from None
    return safetensors.numpy


def _replace(path: Path, data: bytes) -> None:
    """Put a file of these bytes at `path`, in one step."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            os.chmod(temporary, path.stat().st_mode)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise

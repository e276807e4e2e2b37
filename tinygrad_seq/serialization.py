"""`save` and `load`: trees of tensors and plain values in one file, `.npz` or `.safetensors`, never pickle."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from .backend import Array, backend_of, npz
from .conversion import require_numbers_in
from .tensor import Tensor

_TREE = "__tree__"  # the entry that holds everything but the numbers, as JSON


def save(obj: Any, path: str | os.PathLike[str]) -> None:
    """Write a tree of dictionaries, lists, tuples, numbers, strings, None and tensors to a file.

    Tensors are entries of an ordinary `.npz` file under their dotted names, as in `np.load(path)["lstm.weight_hh_l0"]`;
    the rest is JSON in one more entry, which a flat dictionary of tensors does without. A `.safetensors` file takes
    such a dictionary alone.

    The file appears at once and whole: it is written beside its place and then moved there, so that a crash at any
    moment leaves what was there before.

    Raises:
        TypeError: if something in the tree can be stored in neither way.
        ValueError: if the path ends in neither suffix.
        ImportError: for `.safetensors` without that package.
        OSError: if the file cannot be written.
    """
    path = Path(path)
    if _suffix("save", path) == ".safetensors":
        content = _safetensors().save(_flat(obj))
        with _replacing(path) as file:
            file.write(content)
        return
    arrays: dict[str, Array] = {}
    tree = _encode(obj, "", arrays)
    if tree != {"dict": [[name, {"tensor": name}] for name in arrays]}:  # if it is, the names say it all
        # it stands first: a directory cut short loses what it names, which is noticed
        arrays = {_TREE: npz.bytes_to_array(json.dumps(tree).encode()), **arrays}
    with _replacing(path) as file:
        npz.write(file, arrays)


def load(path: str | os.PathLike[str]) -> Any:
    """Read what `save` wrote: the same tree, with its tensors on the CPU. Of any other `.npz`, a dictionary of tensors.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is cut off, damaged, or of another kind.
    """
    path = Path(path)
    suffix = _suffix("load", path)
    parser = _safetensors() if suffix == ".safetensors" else None
    data = path.read_bytes()  # what goes wrong here is the system's; what goes wrong below is the content's
    try:
        arrays = npz.read(data) if parser is None else parser.load(data)
        for array in arrays.values():
            require_numbers_in("load", array)
        if _TREE in arrays:
            return _decode(json.loads(arrays.pop(_TREE).tobytes()), arrays)
        return {name: Tensor.wrap(array) for name, array in arrays.items()}
    except Exception as error:  # the parsers raise all kinds on bytes that were never meant for them
        raise ValueError(
            f"load: {path} is not a whole {suffix} file (cut off, damaged or of another kind): {error}"
        ) from None


def _suffix(name: str, path: Path) -> str:
    if path.suffix not in (".npz", ".safetensors"):
        raise ValueError(f"{name}: takes a path that ends in .npz or .safetensors, got {path}")
    return path.suffix


def _encode(obj: Any, name: str, arrays: dict[str, Array]) -> Any:
    """The tree as JSON values; the arrays of its tensors go into `arrays`. Containers are marked by their kind.

    A dictionary becomes a list of pairs, because JSON would turn its integer keys into strings.
    """
    if isinstance(obj, Tensor):
        entry = _free_name(name, arrays)
        arrays[entry] = backend_of(obj.array).to_host(obj.array)
        return {"tensor": entry}
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


def _free_name(name: str, taken: dict[str, Array]) -> str:
    """`name` as a file in an archive can have it, and none has it yet: {"a": {"b": x}, "a.b": y} has two of "a.b"."""
    name = name.encode("utf-8", "replace").decode().replace("\0", "") or "tensor"
    while name in taken or name == _TREE:
        name += "_"
    return name


def _decode(tree: Any, arrays: dict[str, Array]) -> Any:
    if not isinstance(tree, dict):
        return tree
    ((kind, content),) = tree.items()
    if kind == "tensor":
        return Tensor.wrap(arrays[content])
    if kind == "dict":
        return {key: _decode(value, arrays) for key, value in content}
    items = [_decode(value, arrays) for value in content]
    return tuple(items) if kind == "tuple" else items


def _flat(obj: Any) -> dict[str, Array]:
    if not isinstance(obj, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in obj.items()):
        raise TypeError("save: a .safetensors file takes a dictionary of tensors by name; use .npz for anything else")
    return {name: backend_of(t.array).to_host(t.array).copy("C") for name, t in obj.items()}


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise ImportError('.safetensors files need the extra "io": pip install "tinygrad-seq[io]"') from None
    return safetensors.numpy


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path` in one step at the end, or leaves no trace if that fails."""
    target = Path(os.path.realpath(path))  # a link stays one
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            os.chmod(temporary, target.stat().st_mode)
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno:  # name the path that the user knows
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise

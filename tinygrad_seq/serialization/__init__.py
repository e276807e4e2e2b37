"""`save` and `load`: what a training keeps, in one file, never as a pickle; and PyTorch's files, to read."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from ..backend import npz
from ..graph.device import device as Device
from ..tensor import Tensor
from . import safetensors_file, torch_archive
from .refused import Refused
from .tree import decode, encode


def save(obj: Any, path: str | os.PathLike[str] | BinaryIO) -> None:
    """Write tensors, arrays, numbers, strings, and dictionaries, lists, tuples and sets of them to a file of any name.

    The format is that of `.npz` files, whatever the name: tensors are entries under their dotted names, as in
    `np.load(path)["lstm.weight_hh_l0"]`; the rest is JSON in one more entry, which a flat dictionary of tensors does
    without. A name that ends in `.safetensors` gives a file of that kind, which takes such a dictionary alone.

    Of what has a `state_dict` (modules, optimizers, schedulers) that is stored; of other objects their attributes, or
    their repr where they have none, and a warning says so: the rest of the file is whole.

    A named file appears at once and whole: it is written beside its place and then moved there, so that a crash at any
    moment leaves what was there before. A pipe or a device, such as /dev/null, is written into.

    Args:
        path: a name, or a file that is open for writing bytes.

    Raises:
        TypeError: for `.safetensors`, if it is no flat dictionary of tensors; if the open file takes text.
        ImportError: for `.safetensors` without that package.
        OSError: if the file cannot be written.
    """
    if not isinstance(path, (str, os.PathLike)):
        if not hasattr(path, "write") or isinstance(path, io.TextIOBase):
            raise TypeError(f"save: takes a name or a file open for writing bytes ('wb'), got {path!r}")
        content = io.BytesIO()
        npz.write(content, encode(obj))
        path.write(content.getvalue())
        return
    path = Path(path)
    if path.suffix == ".safetensors":
        flat = safetensors_file.write(obj)
        with _replacing(path) as file:
            file.write(flat)
        return
    arrays = encode(obj)
    with _replacing(path) as file:
        npz.write(file, arrays)


def load(path: str | os.PathLike[str] | BinaryIO, map_location: Any = None, *, weights_only: bool = True) -> Any:
    """Read what `save` wrote, its tensors on the CPU; of any other `.npz` or `.safetensors`, a dictionary of tensors.

    PyTorch's files (`.pt`, `.pth`, since 1.6) are read as well: tensors, dictionaries, lists, tuples, sets, numbers and
    strings in them, and nothing else: no code of a file ever runs. bfloat16 comes as float32, here and in .safetensors.

    Args:
        path: a name, or a file that is open for reading bytes.
        map_location: where tensors go: a device, a dictionary from the device they were on to another, or a function of
            (tensor, device's name) that gives the tensor in its place, or None to leave it.
        weights_only: for PyTorch's programs; nothing but such values is read in either case.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is cut off, damaged, or of another kind, or holds what is not read; it says what.
    """
    if isinstance(path, (str, os.PathLike)):
        data, name = Path(path).read_bytes(), str(path)  # what goes wrong here is the system's
    elif hasattr(path, "read"):
        data, name = path.read(), str(getattr(path, "name", "the open file"))
        if not isinstance(data, bytes):
            raise TypeError(f"load: takes a name or a file open for reading bytes ('rb'), got {path!r}")
    else:
        raise TypeError(f"load: takes a name or a file open for reading bytes ('rb'), got {path!r}")
    move = _placement(map_location)
    located: list[tuple[Tensor, str]] = []  # the tensors, and the devices they were on
    kind = ".npz"
    try:  # what goes wrong below is the content's
        if name.endswith(".safetensors") or data[8:9] == b"{":
            kind = ".safetensors"
            found: Any = decode(safetensors_file.read(data), located)
        elif torch_archive.recognises(data):
            kind = "PyTorch"
            found = torch_archive.read(data, located)
        else:
            found = decode(npz.read(data), located)
    except ImportError:
        raise
    except Refused as error:
        raise ValueError(f"load: {name} {error}") from None
    except Exception as error:  # the parsers raise all kinds on bytes that were never meant for them
        raise ValueError(
            f"load: {name} is not a whole {kind} file (cut off, damaged or of another kind): {error}"
        ) from None
    if move is not None:
        for tensor, device in located:
            given = tensor.detach()
            _settle(tensor, given, move(given, device))
    return found


def _placement(map_location: Any) -> Callable[[Tensor, str], Any] | None:
    """What gives a tensor as `map_location` wants it, or None for as it is, from it and the name of its old device."""
    if map_location is None or callable(map_location):
        return map_location
    if isinstance(map_location, Mapping):
        return lambda tensor, was: tensor.to(device=map_location[was]) if was in map_location else None
    if not isinstance(map_location, (str, Device)):
        raise TypeError(
            f"load: map_location takes a device, a dictionary of devices or a function, got {map_location!r}"
        )
    target = Device(map_location)
    return lambda tensor, _: tensor.to(device=target)


def _settle(tensor: Tensor, given: Tensor, moved: Any) -> None:
    """Let a tensor be what a map_location made of `given`, which shows the same numbers."""
    if moved is None or moved is given:
        return
    if not isinstance(moved, Tensor):
        raise TypeError(
            f"load: map_location takes a tensor and its device's name and gives a tensor or None, this gave {moved!r}"
        )
    if moved.shape != tensor.shape:
        raise ValueError(
            f"load: map_location was given a tensor of shape {tensor.shape}, and gave one of {moved.shape}"
        )
    tensor.data = moved


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path` in one step at the end, or leaves no trace if that fails.

    What is there and no regular file, a pipe or a device, has the whole content written into it at the end.
    """
    if path.exists() and not path.is_file():
        content = io.BytesIO()
        yield content
        path.write_bytes(content.getbuffer())
        return
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

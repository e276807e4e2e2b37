"""NumPy's file format. A module of its own, since importing `zipfile` takes longer than all of the package."""

from __future__ import annotations

import io
import zipfile
from typing import IO, Any

import numpy


def write(file: IO[bytes], arrays: dict[str, Any]) -> None:
    """Write an `.npz` file of these arrays. As `np.savez`, which cannot take an array named "file"."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                numpy.lib.format.write_array(entry, array, allow_pickle=False)


def read(data: bytes) -> dict[str, Any]:
    """The arrays in the content of an `.npz` file. Of damaged content, an error of one kind or another."""
    arrays = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.namelist():
            if not entry.endswith(".npy"):
                raise ValueError(f"it holds {entry!r}, which is not an array")
            content = io.BytesIO(archive.read(entry))  # all of it, so that its checksum is looked at first
            arrays[entry.removesuffix(".npy")] = numpy.lib.format.read_array(content, allow_pickle=False)
    return arrays


def bytes_to_array(data: bytes) -> Any:
    """Bytes as an array of uint8."""
    return numpy.frombuffer(data, numpy.uint8)

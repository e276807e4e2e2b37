"""`.safetensors`, by the package of that name: arrays by name and nothing else."""

from __future__ import annotations

from typing import Any

from ..backend import Array, backend_of, numpy_module
from ..tensor import Tensor
from .bfloat16 import widened
from .refused import Refused

_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?", "C64": "<c8",
}  # fmt: skip


def write(obj: Any) -> bytes:
    """The content of a file that holds a dictionary of tensors."""
    package = _package()
    if not isinstance(obj, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in obj.items()):
        raise TypeError("save: a .safetensors file takes a dictionary of tensors by name; use .npz for anything else")
    arrays = {name: backend_of(t.array).to_host(t.array).copy("C") for name, t in obj.items()}
    content: bytes = package.numpy.save(arrays)
    return content


def read(data: bytes) -> dict[str, Array]:
    """The arrays in the content of a file, those of bfloat16 as float32."""
    arrays = {}
    for name, entry in _package().deserialize(data):
        kind = entry["dtype"]
        if kind not in _DTYPES:
            raise Refused(f"holds {name!r}, of {kind}, a dtype that is not read; convert it where it was saved")
        stored = numpy_module.frombuffer(entry["data"], _DTYPES[kind])
        array = widened(stored) if kind == "BF16" else stored
        arrays[name] = array.reshape(entry["shape"])
    return arrays


def _package() -> Any:
    try:
        import safetensors
        import safetensors.numpy
    except ImportError:
        raise ImportError('.safetensors files need the extra "io": pip install "tinygrad-seq[io]"') from None
    return safetensors

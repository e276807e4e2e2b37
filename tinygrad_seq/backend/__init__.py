"""Where arrays live: NumPy or CuPy, each behind the same few functions.

A backend is an array namespace plus the handful of functions in which NumPy and CuPy differ. This package alone
imports them; the rest of the project asks `array_module(array)` for the namespace and `backend_of(array)` for the rest.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, TypeAlias

from . import numpy as numpy_backend
from .blas import blas_function as blas_function
from .blas import blas_threads as blas_threads
from .blas import set_blas_threads as set_blas_threads
from .cores import usable_cores as usable_cores
from .numpy import bool_ as bool_
from .numpy import complex64 as complex64
from .numpy import complex128 as complex128
from .numpy import dtype as dtype
from .numpy import float16 as float16
from .numpy import float32 as float32
from .numpy import float64 as float64
from .numpy import int8 as int8
from .numpy import int16 as int16
from .numpy import int32 as int32
from .numpy import int64 as int64
from .numpy import result_type as result_type
from .numpy import uint8 as uint8

Array: TypeAlias = Any  # an array of some backend; typing one would tie us to a library
DType: TypeAlias = Any

SCALAR = numpy_backend.SCALAR
numpy_module: Any = numpy_backend.module  # for what runs on the CPU whatever the device

on_gpu: list[ModuleType] = []  # CuPy's backend, once it is used
several_gpus: list[ModuleType] = []  # the same, once it shows that there are several GPUs

_OF_NUMPY = (numpy_backend.ndarray, SCALAR)  # subclasses such as memmap included
_BY_ARRAY_TYPE: dict[type, ModuleType] = {numpy_backend.ndarray: numpy_backend}


def backend_of(array: Array) -> ModuleType:
    """The backend module that an array belongs to; NumPy's for anything that is not an array (a number, a list)."""
    found = _BY_ARRAY_TYPE.get(type(array))
    if found is not None:
        return found
    if type(array).__module__.partition(".")[0] == "cupy":
        register(type(array), backend_for("cuda"))
        return _BY_ARRAY_TYPE[type(array)]
    return next((b for kind, b in _BY_ARRAY_TYPE.items() if isinstance(array, kind)), numpy_backend)


def array_module(array: Array) -> Any:
    """The namespace (numpy, cupy) whose functions take this array."""
    try:
        return _BY_ARRAY_TYPE[type(array)].xp
    except KeyError:
        return backend_of(array).xp


def register(array_type: type, backend: ModuleType) -> None:
    """Make `backend` answer for arrays of `array_type`."""
    _BY_ARRAY_TYPE[array_type] = backend


def is_array(value: object) -> bool:
    """Whether `value` is an array of a registered backend (CuPy's included, once an array of it exists)."""
    return type(value) in _BY_ARRAY_TYPE or backend_of(value) is not numpy_backend or isinstance(value, _OF_NUMPY)


def is_plain(array: Array) -> bool:
    """Whether this is an array of exactly a registered type: a subclass may mean something else by `*`."""
    return type(array) in _BY_ARRAY_TYPE


def backend_for(device_type: str, index: int = 0) -> ModuleType:
    """The backend module of a device: "cpu", or "cuda" with a number.

    Raises:
        RuntimeError: for "cuda" without CuPy, without a working driver, or without a GPU of that number; the message
            says which and what to install.
    """
    if device_type == "cpu":
        return numpy_backend
    from . import cupy as cupy_backend

    if cupy_backend.require(index) and not on_gpu:
        on_gpu.append(cupy_backend)
    if cupy_backend.require(index) > 1 and not several_gpus:
        several_gpus.append(cupy_backend)
    return cupy_backend

"""`tg.cuda`: what there is to ask of the GPU itself, by PyTorch's names."""

from __future__ import annotations

from typing import Any

from .backend import backend_for
from .backend.gpu_allocator import OutOfMemoryError as OutOfMemoryError
from .graph.device import device as Device
from .graph.device import device_of


def is_available() -> bool:
    """Whether tensors can live on "cuda": CuPy is installed and a CUDA driver answers with at least one GPU."""
    return device_count() > 0


def device_count() -> int:
    """The number of GPUs; 0 without CuPy or without a driver."""
    try:
        count: int = backend_for("cuda").device_count()
    except RuntimeError:
        return 0
    return count


def current_device() -> int:
    """Which GPU is the current one: 0, or that of the innermost `with tg.device("cuda:N")`."""
    return int(backend_for("cuda").current_device())


def set_device(device: Any) -> None:
    """Make a GPU the current one. `with tg.device("cuda:N")` does so for a block, and makes new tensors there."""
    index = _index(device)
    backend_for("cuda", index).use(index)


def get_device_name(device: Any = None) -> str:
    """What the maker calls a GPU."""
    index = _index(device)
    return str(backend_for("cuda", index).name_of(index))


def manual_seed(seed: int) -> None:
    """As `tg.manual_seed`: one stream of random numbers is for all devices."""
    from .tensor.rng import default_generator

    default_generator.manual_seed(seed)


manual_seed_all = manual_seed


def synchronize(device: Any = None) -> None:
    """Wait until the GPU has done all that it was given. Timings need it.

    Raises:
        RuntimeError: without CuPy or without a driver; the message says which.
    """
    index = _index(device)
    backend = backend_for("cuda", index)
    with backend.on(index):
        backend.synchronize()


# --- memory ---


def memory_allocated(device: Any = None) -> int:
    """Bytes in arrays on a GPU, those of compiled programs included; 0 where there is no GPU."""
    return _figure("memory_allocated", device)


def memory_reserved(device: Any = None) -> int:
    """Bytes in arrays on a GPU and kept for later ones; 0 where there is no GPU."""
    return _figure("memory_reserved", device)


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes in arrays on a GPU since the start or `reset_peak_memory_stats`; 0 where there is no GPU."""
    return _figure("peak", device)


def reset_peak_memory_stats(device: Any = None) -> None:
    """Let `max_memory_allocated` begin with what is there now."""
    index = _index(device)
    backend_for("cuda", index).reset_peak(index)


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """Free bytes of a GPU, and all of its bytes."""
    index = _index(device)
    free, whole = backend_for("cuda", index).memory_info(index)
    return free, whole


def empty_cache() -> None:
    """Give memory that no array is in back to the driver, for other programs. Does nothing where there is no GPU."""
    if is_available():
        backend_for("cuda").empty_cache()


def _figure(name: str, device: Any) -> int:
    if not is_available():
        return 0
    index = _index(device)
    return int(getattr(backend_for("cuda", index), name)(index))


def _index(device: Any) -> int:
    """The number of a GPU, given as one, as a name, a device or a tensor on it; the current one for None."""
    if device is None:
        return current_device()
    if isinstance(device, int):
        if device < 0:
            raise ValueError(f"cuda: the number of a device is from 0 on, got {device}")
        return device
    found = device_of(device.array) if hasattr(device, "array") else Device(device)
    if found.type != "cuda":
        raise ValueError(f"cuda: takes a CUDA device, got {str(found)!r}")
    return found.index

"""`tg.cuda`: what there is to ask of the GPU itself."""

from __future__ import annotations

from .backend import backend_for


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


def manual_seed(seed: int) -> None:
    """As `tg.manual_seed`: one stream of random numbers is for all devices."""
    from .streams import default_generator

    default_generator.manual_seed(seed)


manual_seed_all = manual_seed


def synchronize() -> None:
    """Wait until the GPU has done all that it was given. Timings need it.

    Raises:
        RuntimeError: without CuPy or without a driver; the message says which.
    """
    backend_for("cuda").synchronize()

"""The GPU that programs are made for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ..engine import host_kernels
from ..engine.strict_backend import REAL, installed


@pytest.fixture(scope="module")
def gpu() -> Iterator[Any]:
    """Its backend, or that of the stand-in, whose kernels are compiled for the host."""
    if host_kernels.COMPILER is None and not REAL:
        pytest.skip("no g++, which stands in for a GPU here")
    with installed() as backend:
        yield backend

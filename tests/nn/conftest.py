"""The oracle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def torch() -> Iterator[Any]:
    """PyTorch, with float64 as its default, in which it also keeps NAdam's product of momenta."""
    oracle = pytest.importorskip("torch", reason="PyTorch is the oracle here")
    before = oracle.get_default_dtype()
    oracle.set_default_dtype(oracle.float64)
    yield oracle
    oracle.set_default_dtype(before)

"""What every test must leave as it found it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

import tinygrad_seq as tg
from tinygrad_seq.device import default_device

from . import profiles

profiles.load()


def pytest_sessionstart() -> None:
    """`make test-gpu` asks for a GPU: where there is none, say why, and stop without a failure."""
    if os.environ.get("TINYGRAD_SEQ_TEST_DEVICE", "").startswith("cuda"):
        try:
            tg.zeros(1, device="cuda")
        except RuntimeError as error:
            pytest.exit(f"nothing was tested: {error}", returncode=0)


@pytest.fixture(autouse=True)
def _nothing_left_switched() -> Iterator[None]:
    tg.manual_seed(0)
    yield
    assert tg.is_grad_enabled(), "the test left recording off"
    assert str(default_device()) == "cpu", "the test left another default device"

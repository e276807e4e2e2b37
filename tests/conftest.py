"""What every test must leave as it found it, and the device on which those of the engine and the layers run.

$TINYGRAD_SEQ_TEST_DEVICE names it: a GPU ("cuda"), or the stand-in for one ("strict"). New tensors are made there, and
a test looks at their numbers as it does on the CPU: `numpy()` fetches them, for tests alone. What is about the host's
memory has the marker `host`, and is skipped elsewhere with the reason that it gives.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import pytest

import tinygrad_seq as tg
from tinygrad_seq.graph.device import default_device

from . import profiles
from .engine.strict_backend import DEVICE, installed

profiles.load()
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a shell's background, where Ctrl-C is ignored
ON_AXIS = ("engine", "nn", "gradcheck", "compiler", "combinations")  # folders; programs choose their devices themselves
_session = ExitStack()
_numpy = tg.Tensor.numpy


def _fetched(self: tg.Tensor) -> Any:
    """What `Tensor.numpy` is on the axis: a copy, when a test asks; the engine and the layers are refused as ever."""
    asking: Any = sys._getframe(1)
    while asking.f_code is tg.Tensor.__array__.__code__ or asking.f_globals["__name__"].startswith("numpy."):
        asking = asking.f_back
    return _numpy(self.cpu() if asking.f_globals["__name__"].startswith("tests.") else self)


def pytest_sessionstart() -> None:
    """`make test-gpu` asks for a GPU: where there is none, say why, and stop without a failure."""
    if not DEVICE:
        return
    try:
        _session.enter_context(installed())
        tg.set_default_device("cuda")
        tg.zeros(1)
    except RuntimeError as error:
        pytest.exit(f"nothing was tested: {error}", returncode=0)
    tg.Tensor.numpy = _fetched  # type: ignore[method-assign]


def pytest_sessionfinish() -> None:
    tg.set_default_device("cpu")
    _session.close()


def pytest_runtest_setup(item: pytest.Item) -> None:
    mark = item.get_closest_marker("host")
    if DEVICE and mark is not None:
        pytest.skip(f"on the host: {mark.args[0]}")


@pytest.fixture(autouse=True)
def _nothing_left_switched(request: pytest.FixtureRequest) -> Iterator[None]:
    parts = request.path.relative_to(Path(__file__).parent).parts
    with nullcontext() if parts[0] in ON_AXIS else tg.device("cpu"):
        before = default_device()
        tg.manual_seed(0)
        yield
        assert tg.is_grad_enabled(), "the test left recording off"
        assert default_device() == before, "the test left another default device"

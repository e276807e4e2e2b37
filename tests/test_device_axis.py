"""The engine's and the layers' tests once more, with everything on an array type that is as strict as a GPU's.

Each part in a process of its own, with few random examples: `make test-strict` takes as many as `make test` does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .engine.strict_array import DEVICE

ROOT = Path(__file__).parent.parent
FILES = [str(path.relative_to(ROOT)) for name in ("engine", "nn") for path in (ROOT / "tests" / name).glob("test_*.py")]
PARTS = 4


@pytest.mark.skipif(bool(DEVICE), reason="all tests run on a device already")
@pytest.mark.parametrize("part", range(PARTS))
def test_on_the_stand_in(part: int) -> None:
    environment = os.environ | {"TINYGRAD_SEQ_TEST_DEVICE": "strict", "HYPOTHESIS_PROFILE": "quick"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *sorted(FILES)[part::PARTS]]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]

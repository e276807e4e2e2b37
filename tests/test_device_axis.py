"""The engine's and the layers' tests once more, with everything on an array type that is as strict as a GPU's.

Each part in a process of its own, with few random examples and without what says little of arrays for its time:
`make test-strict` runs all, with as many examples as `make test` takes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .engine.strict_backend import DEVICE

ROOT = Path(__file__).parent.parent
LEFT_OUT = {  # whose subject is something else, and what takes long
    *("test_data", "test_stream", "test_init", "test_lbfgs", "test_lens", "test_interchange_peers"),
    *("test_multi_gpu", "test_cuda_backend", "test_missing_gpu", "test_gpu_allocator", "test_cublas"),
    *("test_random_programs", "test_schedulers", "test_scheduler_mistakes"),
}
LONG = (
    "test_a_long_chain_is_walked_and_dropped_without_recursion",
    "test_a_small_text_is_learned",
    "test_second_order",
)
PATHS = [path for name in ("engine", "nn") for path in (ROOT / "tests" / name).glob("test_*.py")]
FILES = [str(path.relative_to(ROOT)) for path in PATHS if path.stem not in LEFT_OUT]
PARTS = 4


@pytest.mark.skipif(bool(DEVICE), reason="all tests run on a device already")
@pytest.mark.parametrize("part", range(PARTS))
def test_on_the_stand_in(part: int) -> None:
    environment = os.environ | {"TINYGRAD_SEQ_TEST_DEVICE": "strict", "HYPOTHESIS_PROFILE": "quick"}
    chosen = f"not ({' or '.join(LONG)})"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", chosen, *sorted(FILES)[part::PARTS]]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]

"""Starting processes under a launcher, with an end to everything."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 150  # seconds, on a machine that does other things as well


class Ended(NamedTuple):
    """How the processes ended: their exit code, what they said, and what each gave, by call."""

    code: int
    text: str
    results: list[dict[str, Any]]


def mpiexec() -> str:
    """The launcher; a test is skipped where there is none."""
    if find_spec("mpi4py") is None:
        pytest.skip("mpi4py is not installed")
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        pytest.skip("there is no mpiexec: pip install mpich")
    return found


def launched(ranks: int, *calls: str, folder: Path, environment: dict[str, str] | None = None) -> Ended:
    """Run calls of `programs` on so many ranks; on 0, without a launcher."""
    command = [mpiexec(), "-n", str(ranks)] if ranks else []
    out = folder / "out"
    out.mkdir(exist_ok=True)
    for old in out.iterdir():
        old.unlink()
    given = {"OUT": str(out), "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **(environment or {})}
    done = subprocess.run(
        [*command, sys.executable, "-m", "tests.distributed.programs", *calls],
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "TINYGRAD_SEQ_TEST_DEVICE"} | given,
        timeout=PATIENCE,
        check=False,
        cwd=ROOT,
    )
    found = [json.loads((out / f"{r}.json").read_text()) for r in range(max(ranks, 1)) if (out / f"{r}.json").exists()]
    return Ended(done.returncode, done.stdout + done.stderr, found)


def given(ranks: int, *calls: str, folder: Path, environment: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """What each rank gave, if all went well."""
    ended = launched(ranks, *calls, folder=folder, environment=environment)
    assert ended.code == 0, ended.text
    assert len(ended.results) == max(ranks, 1), ended.text
    return ended.results

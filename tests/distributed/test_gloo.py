"""The same over gloo, where PyTorch is installed."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from .launch import PATIENCE, ROOT
from .test_failure import WAITS, run


@contextmanager
def _started(size: int, *calls: str, environment: dict[str, str] | None = None) -> Iterator[list[Any]]:
    """Processes that find each other as torchrun's do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"BACKEND": "gloo", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size)}
    common |= {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "OUT": "", **(environment or {})}
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.distributed.programs", *calls],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    env=os.environ | common | {"RANK": str(rank)},
                    cwd=ROOT,
                )
            )
            for rank in range(size)
        ]
        try:
            yield processes
        finally:
            for p in processes:
                p.kill()


def _outcomes(*calls: str) -> list[tuple[int, str]]:
    """The exit code and the words of two processes."""
    with _started(2, *calls) as processes:
        texts = [p.communicate(timeout=PATIENCE)[0] for p in processes]
        return [(p.returncode, text) for p, text in zip(processes, texts, strict=True)]


torch_needed = pytest.mark.skipif(find_spec("torch") is None, reason="gloo takes PyTorch, which is not installed")


@torch_needed
def test_two_processes(tmp_path: Path) -> None:
    with _started(
        2, "equal:eager", "collectives", "missing", "dtypes", environment={"OUT": str(tmp_path)}
    ) as processes:
        for p in processes:
            text = p.communicate(timeout=PATIENCE)[0]
            assert p.returncode == 0, text
    for rank in range(2):
        *sent, refused = json.loads((tmp_path / f"{rank}.json").read_text())["dtypes"]
        assert sent == [[[0, 1], [1, 1], [1, 1]]] * 5 + [[1, 1]]
        assert "gloo has no sum of int16; convert it first" in refused


@torch_needed
def test_two_processes_of_which_one_fails() -> None:
    texts = [text for code, text in _outcomes("fails:raise") if code]
    assert len(texts) == 2
    assert "rank 1 of 2 failed in step 3 (KeyError: 'a word')" in texts[1]


@torch_needed
def test_one_message_names_the_rank_that_does_not_come() -> None:
    with _started(3, "fails:hang", environment={"PATIENCE": "1"}) as (first, hangs, last):
        text = first.communicate(timeout=PATIENCE)[0]
        assert first.returncode
        assert hangs.poll() is None
        last.kill()
        text += last.communicate()[0]
    assert re.search(f"distributed: {WAITS}", text), text
    assert text.count("distributed: ") == 1, text


def test_without_pytorch_or_a_launcher() -> None:
    text = run("import sys\nsys.modules['torch'] = None\nfrom importlib import util\n"
               "util.find_spec = lambda name: None\nimport tinygrad_seq.distributed.gloo as g\n"
               "g.find_spec = util.find_spec\ndist.init_process_group('gloo')", {})  # fmt: skip
    assert "'gloo' takes PyTorch" in text, text
    if find_spec("torch") is not None:
        assert "MASTER_ADDR, MASTER_PORT, RANK, WORLD_SIZE is not set" in run("dist.init_process_group('gloo')", {})

"""The same over gloo, where PyTorch is installed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from importlib.util import find_spec

import pytest

from .launch import PATIENCE, ROOT
from .test_failure import run


def _outcomes(*calls: str) -> list[tuple[int, str]]:
    """The exit code and the words of two processes that find each other as torchrun's do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"BACKEND": "gloo", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    common |= {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "OUT": ""}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.distributed.programs", *calls],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | common | {"RANK": str(rank)},
            cwd=ROOT,
        )
        for rank in range(2)
    ]
    try:
        texts = [p.communicate(timeout=PATIENCE)[0] for p in processes]
        return [(p.returncode, text) for p, text in zip(processes, texts, strict=True)]
    finally:
        for p in processes:
            p.kill()


@pytest.mark.skipif(find_spec("torch") is None, reason="gloo takes PyTorch, which is not installed")
def test_two_processes() -> None:
    for code, text in _outcomes("equal:eager", "collectives", "missing"):
        assert code == 0, text
    texts = [text for code, text in _outcomes("fails:raise") if code]
    assert len(texts) == 2
    assert "rank 1 of 2 failed in step 3 (KeyError: 'a word')" in texts[1]


def test_without_pytorch_or_a_launcher() -> None:
    text = run("import sys\nsys.modules['torch'] = None\nfrom importlib import util\n"
               "util.find_spec = lambda name: None\nimport tinygrad_seq.distributed.gloo as g\n"
               "g.find_spec = util.find_spec\ndist.init_process_group('gloo')", {})  # fmt: skip
    assert "'gloo' takes PyTorch" in text, text
    if find_spec("torch") is not None:
        assert "MASTER_ADDR, MASTER_PORT, RANK, WORLD_SIZE is not set" in run("dist.init_process_group('gloo')", {})

"""A rank that cannot go on says so once, and none is left waiting."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ..systems import posix
from .launch import ROOT, launched

WAITS = r"rank 0 calls average_gradients in step 3 and has waited 1 s for rank 1, which neither came nor ended"
CASES = {
    "raise": r"rank 1 of 2 failed in step 3 \(KeyError: 'a word'\)",
    "exit": r"rank 0 calls average_gradients in step 3 .*; rank 1 ended its program after step 2",
    "fewer": r"rank 0 calls average_gradients in step 3 .*; rank 1 ended its program after step 2",
    "barrier": r"rank 0 calls average_gradients in step 3 .*; rank 1 calls barrier in step 3 \(programs\.py:\d+\)",
    "shape": r"rank 0 calls average_gradients .*rank 1 calls average_gradients .*"
    r"\(parameter 0 float32\[2\] on rank 0 is parameter 0 float32\[3\] on rank 1\)",
    "count": r"the ranks do not do the same: .*\(the number of arrays: 2 on rank 0, 3 on rank 1\)",
    "drawn": r"step 3: the ranks have not drawn the same random numbers: .* on rank 0, 3 of seed 0 on rank 1",
    "weights": r"weights from 0 on, and one above 0 at least; the ranks gave \[0\.0, 0\.0\]",
    "changed": r"after step 3, p is not on rank 1 what it is on rank 0",
    "names": r"rank 0 calls broadcast_parameters in step 4 of q float32\[2\] .*rank 1 calls .* of p float32\[2\]",
    "hang": WAITS,
}


@pytest.mark.parametrize("how", CASES)
def test_one_message(how: str, tmp_path: Path) -> None:
    start = time.monotonic()
    hangs = how == "hang"  # of three, two have to agree on who is missing
    ended = launched(2 + hangs, f"fails:{how}", folder=tmp_path, environment={"PATIENCE": "1" if hangs else "60"})
    assert ended.code, ended.text
    assert re.search(CASES[how], ended.text), ended.text
    assert len(re.findall(r"distributed: ", ended.text)) == 1, ended.text
    assert time.monotonic() - start < 45  # most of it for starting, on a busy machine


def test_batches_of_which_nobody_has_said_the_rows(tmp_path: Path) -> None:
    ended = launched(2, "parallel:unknown", folder=tmp_path)
    assert ended.code
    wrong = (
        r"ranks 0 and 1 call average_gradients.*a batch of \(2, 2, 3\) \(shard\(\) says which rows a rank has if they"
    )
    assert re.search(wrong, ended.text), ended.text
    assert len(re.findall(r"distributed: ", ended.text)) == 1, ended.text


def test_a_process_that_is_killed(tmp_path: Path) -> None:
    assert launched(2, "fails:kill", folder=tmp_path).code


def test_after_two_messages_nobody_hangs(tmp_path: Path) -> None:
    """Three ranks, of which the last one fails."""
    ended = launched(3, "fails:raise", folder=tmp_path)
    assert ended.code
    assert ended.text.count("distributed: ") == 1


def run(code: str, environment: dict[str, str]) -> str:
    command = [sys.executable, "-c", f"from tinygrad_seq import distributed as dist\n{code}"]
    env = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=100, check=False, cwd=ROOT)
    return done.stdout + done.stderr


@posix
def test_bad_input() -> None:
    code = """
import os
from datetime import timedelta
import numpy as np
import tinygrad_seq as tg
def says(f, *args, **kwargs):
    try:
        f(*args, **kwargs)
    except Exception as error:
        print(type(error).__name__, error)
says(dist.get_rank)
says(dist.average_gradients, [])
says(dist.init_process_group, "horovod")
says(dist.init_process_group, timeout=timedelta(0))
dist.init_process_group()
says(dist.init_process_group)
says(dist.average_gradients, [tg.ones(2)])
says(dist.average_gradients, [tg.ones(2, requires_grad=True), 3])
says(dist.average_gradients, [])
says(dist.all_gather, [tg.ones(2)], tg.ones(2))
says(dist.all_gather, [tg.ones(2)])
says(dist.all_reduce, 3)
says(dist.shard, "ab")
says(dist.shard, [tg.ones(2, 3), tg.ones(2, 4)])
says(dist.broadcast, tg.ones(2), src=1)
says(tg.compile(lambda x: dist.barrier()), tg.ones(1))
print(dist.is_available(), dist.shard(np.int64(5)))
print(dist.shard(5), dist.get_rank() + dist.get_node_local_rank(), dist.get_world_size(), flush=True)
if os.fork() == 0:
    says(dist.barrier)
    says(dist.init_process_group)
    os._exit(0)
os.wait()
dist.destroy_process_group()
print(dist.is_initialized())
"""
    text = run(code, {})
    lines = [
        r"RuntimeError get_rank: there is no process group yet; call init_process_group\(\) first",
        r"RuntimeError average_gradients: there is no process group yet",
        r"ValueError init_process_group: takes .*'mpi'.*, got 'horovod'",
        r"ValueError init_process_group: timeout takes seconds above 0",
        r"RuntimeError init_process_group: there is a group already \(rank 0 of 1\)",
        r"TypeError average_gradients: takes parameters, of which one at least requires a gradient, got 1 "
        r"of which none does",
        r"TypeError average_gradients: takes parameters, .*, got a int",
        r"TypeError average_gradients: takes parameters, .*, got none",
        r"TypeError all_gather: takes one tensor, and returns those of all ranks: tensors = dist.all_gather\(tensor\)",
        r"TypeError all_gather: takes a tensor, got a list",
        r"TypeError all_reduce: takes a tensor, got a int",
        r"TypeError shard: takes a number of rows, tensors and arrays, got a str",
        r"ValueError shard: takes tensors with one number of rows along dim=1, got \[\d, \d\]",
        r"ValueError broadcast: src=1 is no rank; there are 0 to 0",
        r"CompileError compile: barrier\(\) is called inside",
        r"True slice\(0, 5, None\)",
        r"slice\(0, 5, None\) 0 1",
        r"RuntimeError barrier: this process was forked",
        r"RuntimeError init_process_group: this process was forked",
        r"False",
    ]
    assert re.search(".*\n(.*\n)*?".join(lines), text), text


def test_another_mpi_than_the_launchers() -> None:
    pytest.importorskip("mpi4py")
    text = run("dist.init_process_group()", {"OMPI_COMM_WORLD_SIZE": "4"})
    assert "Open MPI's mpiexec has started 4 processes, but each is alone for mpi4py" in text, text


def test_a_launcher_that_starts_one_process_takes_no_transport() -> None:
    code = "import sys; sys.modules['mpi4py'] = None\ndist.init_process_group()\nprint(dist.get_world_size())"
    assert run(code, {"SLURM_STEP_NUM_TASKS": "1"}) == "1\n"


def test_no_mpi4py_and_no_mpi_library() -> None:
    text = run("import sys; sys.modules['mpi4py'] = None\ndist.init_process_group('mpi')", {})
    assert "'mpi' takes mpi4py" in text, text
    broken = "import sys, types\nm = types.ModuleType('mpi4py')\nsys.modules['mpi4py'] = m\n"
    broken += "def get(name): raise RuntimeError('cannot load MPI library')\nm.__getattr__ = get\n"
    text = run(broken + "dist.init_process_group('mpi')", {})
    assert "mpi4py finds no MPI library (cannot load MPI library)" in text, text

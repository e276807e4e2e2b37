"""Processes of one host share its cores."""

from __future__ import annotations

import os

import pytest

from tinygrad_seq.backend import blas_threads, set_blas_threads
from tinygrad_seq.distributed import threads


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> object:
    """BLAS with two threads on a host of four cores, where nobody has said how many to take."""
    before = blas_threads()
    if before is None:
        pytest.skip("NumPy's BLAS does not tell how many threads it has")
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(threads, "usable_cores", lambda: 4)
    set_blas_threads(2)
    yield
    set_blas_threads(before)


def test_the_cores_are_shared(two_threads: object, capsys: pytest.CaptureFixture[str]) -> None:
    threads.share_cores(0, 2)
    assert blas_threads() == 2
    assert not capsys.readouterr().err
    threads.share_cores(0, 4)
    assert blas_threads() == 1
    assert "4 processes share 4 cores here, so each takes 1 thread instead of 2" in capsys.readouterr().err


def test_what_the_environment_says_holds(two_threads: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    threads.share_cores(0, 4)
    assert blas_threads() == 2


def test_a_launcher_may_bind_processes_to_cores(two_threads: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "usable_cores", lambda: 2)
    threads.share_cores(0, 2)
    assert blas_threads() == 2

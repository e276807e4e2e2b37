"""What is said where a GPU cannot be used: no CuPy, no driver, no device, or another one is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import nn
import tinygrad_seq as tg
from tinygrad_seq import backend
from tinygrad_seq.backend import cupy as cupy_backend

ROOT = Path(__file__).parent.parent.parent


class FakeError(RuntimeError):
    """As CuPy's CUDARuntimeError."""

    def __init__(self, status: int) -> None:
        super().__init__(f"cudaError {status}")
        self.status = status


def fake_cupy(count: int | FakeError, driver: int = 13000) -> Any:
    def answer() -> int:
        if isinstance(count, FakeError):
            raise count
        return count

    runtime = SimpleNamespace(
        getDeviceCount=answer, CUDARuntimeError=FakeError, driverGetVersion=lambda: driver,
        runtimeGetVersion=lambda: 13000,
    )  # fmt: skip
    return SimpleNamespace(cuda=SimpleNamespace(runtime=runtime))


REFUSALS: list[tuple[Any, int, str]] = [
    (FakeError(35), 0, r"CuPy is installed, but there is no CUDA driver .*`nvidia-smi`"),
    (FakeError(35), 12020, r"driver knows CUDA up to 12\.2, and the CuPy .* made for CUDA 13\.0\. Update the driver"),
    (FakeError(100), 13000, r"this machine shows no CUDA device .*`nvidia-smi`"),
    (FakeError(999), 13000, r"CUDA does not answer \(cudaError 999\)"),
    (0, 13000, r"this machine shows no CUDA device"),
]


@pytest.mark.host("what is said without a GPU")
@pytest.mark.parametrize(("count", "driver", "message"), REFUSALS)
def test_what_is_missing_is_said(count: Any, driver: int, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cupy_backend, "_missing", None)
    monkeypatch.setattr(cupy_backend, "_count", None)
    monkeypatch.setattr(cupy_backend, "xp", fake_cupy(count, driver))
    for call in (
        lambda: tg.zeros(2, device="cuda"),
        lambda: tg.ones(2).to("cuda"),
        lambda: tg.set_default_device("cuda"),
    ):
        with pytest.raises(RuntimeError, match=message):
            call()
    assert not tg.cuda.is_available()
    assert tg.zeros(1).device == "cpu"


@pytest.mark.host("what is said without a GPU")
def test_a_module_stays_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cupy_backend, "_missing", None)
    monkeypatch.setattr(cupy_backend, "_count", None)
    monkeypatch.setattr(cupy_backend, "xp", fake_cupy(FakeError(35), 0))
    module = nn.LSTM(2, 3)
    with pytest.raises(RuntimeError, match="no CUDA driver"):
        module.to("cuda")
    assert all(p.device == "cpu" for p in module.parameters())


@pytest.mark.host("what is said without a GPU")
def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cupy_backend, "_missing", None)
    monkeypatch.setattr(cupy_backend, "_count", None)
    monkeypatch.setattr(cupy_backend, "xp", fake_cupy(2))
    monkeypatch.setattr(cupy_backend, "track_memory", lambda: None, raising=False)
    with pytest.raises(RuntimeError, match=r"device 'cuda:2': there is none; this machine has cuda:0 to cuda:1"):
        tg.zeros(2, device="cuda:2")
    assert cupy_backend.require(1) == 2
    monkeypatch.setattr(backend, "several_gpus", [])
    for _ in range(2):
        assert backend.backend_for("cuda", 1) is cupy_backend
        assert backend.several_gpus == [cupy_backend]  # from now on each operation looks where its operands are


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ("raise ModuleNotFoundError('No module named cupy')", r"needs CuPy, which is not installed: pip install"),
        (
            "raise ImportError('libcublas.so.12: cannot open')",
            r"does not load: libcublas.so.12.*made for one version of",
        ),
    ],
)
def test_cupy_that_is_not_there_or_another_cudas(failure: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "cupy.py").write_text(failure)
    code = "import tinygrad_seq as tg\ntry: tg.zeros(1, device='cuda')\nexcept RuntimeError as e: print(e)"
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True, cwd=tmp_path
    )
    assert "Traceback" not in shown.stdout
    assert __import__("re").search(message, shown.stdout)


def test_the_environment_names_a_device() -> None:
    def run(name: str) -> subprocess.CompletedProcess[str]:
        look = "from tinygrad_seq.graph.device import default_device as d; print(d())"
        code = f"import tinygrad_seq as tg; {look}; tg.zeros(1)"
        environment = os.environ | {"PYTHONPATH": str(ROOT), "TINYGRAD_SEQ_DEVICE": name}
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
        )

    assert run("").stdout == run("cpu").stdout == "cpu\n"
    assert run("cuda:1").stdout == "cuda:1\n"  # and then there is none, or it works
    assert "variable TINYGRAD_SEQ_DEVICE is 'gpu'; takes 'cpu', 'cuda' or 'cuda:N'" in run("gpu").stderr

"""What computes here: `show_config` and `tg.cuda`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from tinygrad_seq.backend import numpy as numpy_backend


def test_says_what_computes(capsys: pytest.CaptureFixture[str]) -> None:
    tg.show_config()
    shown = capsys.readouterr().out
    assert f"tinygrad_seq {tg.__version__}" in shown
    assert f"NumPy {np.__version__}" in shown
    assert "cuda" in shown


def test_warns_of_pinned_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    build: Any = np.show_config(mode="dicts")
    build["SIMD Extensions"] = {"found": ["X86_V3", "AVX512_SKX"]}
    monkeypatch.setattr(np, "show_config", lambda mode: build)
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert any(line.startswith("WARNING: OPENBLAS_CORETYPE=Haswell") for line in numpy_backend.describe())
    build["SIMD Extensions"] = {"found": ["X86_V3"]}
    assert not any("WARNING" in line for line in numpy_backend.describe())
    build["SIMD Extensions"] = {"found": ["AVX512_SKX"]}
    monkeypatch.delenv("OPENBLAS_CORETYPE")
    assert not any("WARNING" in line for line in numpy_backend.describe())


def test_cuda_says_whether_it_is_there() -> None:
    assert tg.cuda.is_available() == (tg.cuda.device_count() > 0)
    if tg.cuda.is_available():
        tg.cuda.synchronize()
    else:
        with pytest.raises(RuntimeError, match="device 'cuda'"):
            tg.cuda.synchronize()

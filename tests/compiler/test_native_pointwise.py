"""The functions that native kernels compute: how far from the truth, and at the ends of the line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="the native executor takes llvmlite")

from tinygrad_seq.compiler.native import jit
from tinygrad_seq.compiler.native.pointwise import FUNCTIONS, kernel

TRUTH: dict[str, Callable[[Any], Any]] = {"exp": np.exp, "tanh": np.tanh, "sigmoid": lambda x: 1 / (1 + np.exp(-x))}


def applied(name: str, x: np.ndarray) -> np.ndarray:
    text = kernel("f", ((name, "in0"),), (("f", False),), (("f", "v0"),))
    y = np.empty_like(x)
    table = np.array([1, x.size, x.ctypes.data, 0, y.ctypes.data, 0], np.int64)
    jit.function_of_table(jit.compiled([text])[text])(table.ctypes.data)
    return y


@pytest.mark.parametrize(("name", "ulp"), [("exp", 1.1), ("tanh", 1.5), ("sigmoid", 2.5)])
def test_within_a_few_units_of_the_last_digit(name: str, ulp: float) -> None:
    x = np.concatenate([np.linspace(-87, 88, 1_000_003), np.linspace(-1, 1, 500_001)]).astype(np.float32)
    truth = TRUTH[name](x.astype(np.float64))
    assert np.max(np.abs(applied(name, x) - truth) / np.spacing(np.abs(truth).astype(np.float32))) < ulp


@pytest.mark.parametrize("name", FUNCTIONS)
def test_at_the_ends(name: str) -> None:
    x = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 200, -200, 1e-30, -1e-30, -100], np.float32)
    with np.errstate(all="ignore"):
        truth = TRUTH[name](x.astype(np.float64)).astype(np.float32)
    y = applied(name, x)
    np.testing.assert_allclose(y, truth, rtol=1e-6, atol=1e-38)  # below, float32 has fewer digits, and then none
    assert np.array_equal(np.signbit(y[:2]), np.signbit(truth[:2]))
    assert np.signbit(y[4]) == np.signbit(truth[4])


def test_the_second_process_finds_the_code_of_the_first(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGRAD_SEQ_CACHE", str(tmp_path))
    monkeypatch.setattr(jit, "_known", {})
    x = np.linspace(-3, 3, 50, dtype=np.float32)
    first = applied("tanh", x)
    assert len(list(tmp_path.glob("*.o"))) == 1
    monkeypatch.setattr(jit, "_known", {})
    llvm: Any = vars(jit)["llvm"]
    monkeypatch.setattr(llvm, "parse_assembly", _empty_only(llvm.parse_assembly))
    assert np.array_equal(applied("tanh", x), first)


def _empty_only(parse: Callable[..., Any]) -> Callable[..., Any]:
    def parsed(text: str, *rest: Any) -> Any:
        assert not text, "compiled again"
        return parse(text, *rest)

    return parsed


@pytest.mark.parametrize("damage", [lambda code: b"", lambda code: code[:-1], lambda code: bytes(len(code))])
def test_a_damaged_file_is_compiled_again(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, damage: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setenv("TINYGRAD_SEQ_CACHE", str(tmp_path))
    x = np.linspace(-3, 3, 50, dtype=np.float32)
    monkeypatch.setattr(jit, "_known", {})
    first = applied("tanh", x)
    (file,) = tmp_path.glob("*.o")
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    monkeypatch.setattr(jit, "_known", {})
    assert np.array_equal(applied("tanh", x), first)
    assert file.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("TINYGRAD_SEQ_CACHE", str(tmp_path / "file" / "inside"))
    monkeypatch.setattr(jit, "_known", {})
    x = np.ones(3, np.float32)
    assert np.allclose(applied("exp", x), np.e)

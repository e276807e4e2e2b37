"""Which executor runs here, why not the native one, and what `show_config` says of it."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tinygrad_seq as tg
from tinygrad_seq import config
from tinygrad_seq.compiler import executors, warn_once
from tinygrad_seq.compiler.native import code_cache

from ..systems import posix

ROOT = Path(__file__).parents[2]
native = pytest.mark.skipif(bool(executors.why_not_native()), reason="about a machine where native code runs")
pytestmark = pytest.mark.host("about the CPU")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """As in a process that has not tried anything yet."""

    def forget() -> None:
        executors._fault_of_llvmlite.cache_clear()
        executors._why_slower.cache_clear()
        warn_once._told.clear()

    forget()
    yield
    forget()


def chosen(executor: str | None = None) -> tuple[bool, list[str]]:
    """Whether native code is taken for two functions, and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        taken = [tg.compile(lambda x, k=k: x * k, executor=executor) for k in (2.0, 3.0)]
        assert [f(tg.ones(2)).tolist() for f in taken] == [[2, 2], [3, 3]]
        found = [executors.native_taken(executor) for _ in taken]
    assert found[0] == found[1]
    return found[0], [str(w.message) for w in caught]


@native
def test_native_where_it_works() -> None:
    assert chosen() == (True, [])
    assert chosen("native") == (True, [])
    assert chosen("numpy") == (False, [])


def test_without_llvmlite_numpys_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "find_spec", lambda name: None)
    assert chosen() == (False, [])
    with pytest.raises(ImportError, match=r"not installed: pip install 'tinygrad_seq\[jit\]'. Or leave executor= out"):
        tg.compile(lambda x: x, executor="native")
    with pytest.warns(RuntimeWarning, match="NumPy's executor is taken, because llvmlite is not installed"):
        assert not executors.native_taken("native")  # of a function that was made elsewhere


@native
@pytest.mark.parametrize("place", ["parse_assembly", "initialize_native_target", "create_mcjit_compiler"])
def test_an_llvmlite_that_does_not_work_is_told_of_once(
    monkeypatch: pytest.MonkeyPatch, place: str, tmp_path: Path
) -> None:
    import llvmlite.binding as llvm

    from tinygrad_seq.compiler.native import jit

    def broken(*given: Any) -> Any:
        raise RuntimeError("LLVM IR parsing error\nand where")

    monkeypatch.setenv("TINYGRAD_SEQ_CACHE", str(tmp_path))
    monkeypatch.setattr(jit, "_known", {})
    monkeypatch.setattr(llvm, place, broken)
    taken, (warning,) = chosen()
    assert not taken
    assert "compile: NumPy's executor is taken, because llvmlite" in warning
    assert "too old, or broken (RuntimeError: LLVM IR parsing error): pip install --upgrade" in warning
    assert chosen() == (False, [])
    assert chosen("numpy") == (False, [])
    with pytest.raises(ImportError, match=r"too old, or broken .* Or leave executor= out, for NumPy"):
        tg.compile(lambda x: x, executor="native")


def test_an_llvmlite_that_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "llvmlite").mkdir()
    (tmp_path / "llvmlite" / "__init__.py").write_text("raise OSError('libllvmlite.so: no such file')")
    code = (
        "import tinygrad_seq as tg\n"
        "print([tg.compile(lambda x: x * k)(tg.ones(2)).tolist() for k in (2, 3)]); tg.show_config()\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    shown = subprocess.run(
        [sys.executable, "-W", "always", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=environment,
    )
    assert shown.stdout.startswith("[[2.0, 2.0], [3.0, 3.0]]\n")
    assert shown.stderr.count("RuntimeWarning: compile: NumPy's executor is taken") == 1
    assert "broken (OSError: libllvmlite.so: no such file)" in shown.stdout


@native
@posix
def test_a_warning_that_is_an_error_is_no_fault_of_llvmlite(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from tinygrad_seq.compiler.native import jit

    tmp_path.chmod(0o777)
    monkeypatch.setenv("TINYGRAD_SEQ_CACHE", str(tmp_path))
    monkeypatch.setattr(jit, "_known", {})
    with pytest.raises(RuntimeWarning, match="others can write to it"):
        executors.native_taken(None)
    assert executors.native_taken(None)


@native
def test_without_fma_numpys_is_taken_unless_native_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    features["fma"] = False
    monkeypatch.setattr(llvm, "get_host_cpu_features", lambda: features)
    taken, (warning,) = chosen()
    assert not taken
    assert "no fused multiply-add (FMA)" in warning
    assert chosen() == (False, [])
    assert "no fused multiply-add" in executors.described()[0]
    assert executors.native_taken("native")
    tg.compile(lambda x: x, executor="native")
    del features["fma"]  # as on an ARM
    executors._why_slower.cache_clear()
    assert chosen() == (True, [])


# --- show_config ---


@native
def test_says_which_executor_runs_on_how_many_threads_from_which_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tinygrad_seq.compiler.native import thread_pool

    monkeypatch.setenv("TINYGRAD_SEQ_CACHE", str(tmp_path / "cache"))
    tg.show_config()
    shown = capsys.readouterr().out
    assert "compiled functions on the CPU: native executor (llvmlite " in shown
    assert f", threads: {thread_pool.size()}; BLAS uses " in shown
    assert f"machine code in {tmp_path / 'cache'}: 0 files" in shown
    code_cache.write("0a" * 32, bytes(3 << 20))
    tg.show_config()
    assert f"machine code in {tmp_path / 'cache'}: 1 files, 3 MiB of at most 200" in capsys.readouterr().out


def test_says_why_not_the_native_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(executors, "find_spec", lambda name: None)
    tg.show_config()
    shown = capsys.readouterr().out
    assert "NumPy's executor (BLAS uses " in shown
    assert "not the native one, because llvmlite is not installed: pip install 'tinygrad_seq[jit]'" in shown


@posix
def test_says_why_machine_code_is_not_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TINYGRAD_SEQ_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").write_text("a file")
    assert code_cache.described().endswith("cache cannot be written to")
    (tmp_path / "cache").unlink()
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    assert "because it belongs to another user, or others can write to it" in code_cache.described()
    monkeypatch.setattr(code_cache, "cache_folder", lambda: None)
    assert "this user has no home" in code_cache.described()


def test_says_how_many_cores_there_are_for_the_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for cores, threads, warned in ((1, 64, True), (2, 2, False), (4, None, False)):
        monkeypatch.setattr(config, "usable_cores", lambda cores=cores: cores)
        monkeypatch.setattr(config, "blas_threads", lambda threads=threads: threads)
        tg.show_config()
        shown = capsys.readouterr().out
        assert f" cores, {cores} of them for this process" in shown
        assert ("Export OPENBLAS_NUM_THREADS=1 before Python starts" in shown) == warned


# --- PyTorch's arguments ---


@pytest.mark.parametrize(
    "given",
    [
        {"mode": "default"},
        {"mode": "reduce-overhead"},
        {"mode": "max-autotune"},
        {"fullgraph": True},
        {"dynamic": False},
        {"backend": "inductor"},
        {"options": {"triton.cudagraphs": True}},
        {"mode": "max-autotune-no-cudagraphs", "fullgraph": False, "dynamic": True, "backend": print},
    ],
)
@pytest.mark.parametrize("decorator", [False, True])
def test_what_pytorch_takes_is_ignored_with_a_warning_each(given: dict[str, Any], decorator: bool) -> None:
    with pytest.warns(UserWarning, match="is PyTorch's, and changes nothing here") as caught:
        f = tg.compile(**given)(lambda x: x + 1) if decorator else tg.compile(lambda x: x + 1, **given)
    messages = [str(w.message) for w in caught]
    assert sorted(messages) == sorted(
        m for n, v in given.items() for m in messages if m.startswith(f"compile: {n}={v!r} ")
    )
    assert len(messages) == len(given)
    assert {w.filename for w in caught} == {__file__}
    assert f(tg.zeros(2)).tolist() == [1, 1]
    assert f.mode is None


def test_what_nobody_takes_is_refused() -> None:
    with pytest.raises(ValueError, match="mode is None, 'explain' or 'verify', got 'fast'"):
        tg.compile(lambda x: x, mode="fast")
    with pytest.raises(TypeError, match="unexpected keyword argument 'inplace'"):
        tg.compile(lambda x: x, inplace=True)  # type: ignore[call-overload]

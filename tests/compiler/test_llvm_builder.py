"""Functions written with the builder: loops, branches, masks; and what is made of kernels for an aarch64 CPU."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="the native executor takes llvmlite")

import llvmlite.binding as llvm

from tinygrad_seq.compiler.native import gemm_microkernel, runtime, vector_unit
from tinygrad_seq.compiler.native.jit import compiled, function_of_table
from tinygrad_seq.compiler.native.llvm_builder import FunctionBuilder
from tinygrad_seq.compiler.native.pointwise import kernel


def call(f: FunctionBuilder, *args: Any) -> None:
    """Run a function that is written, with numbers and arrays."""
    text = f.text()
    table = np.array([a.ctypes.data if isinstance(a, np.ndarray) else a for a in args], np.int64)
    function_of_table(compiled([text])[text])(table.ctypes.data)


@pytest.mark.parametrize(("start", "stop", "step"), [(0, 0, 1), (0, 5, 1), (3, 20, 4), (7, 7, 2), (9, 2, 1)])
def test_a_loop_carries_what_it_changes(start: int, stop: int, step: int) -> None:
    f = FunctionBuilder()
    out, first, last = f.arguments("int*out first last")
    state = [f.integer(100), f.integer(1)]
    for i in f.range(first, last, step, carried=state):
        for j in f.range(i, carried=state):
            state[0] = state[0] + j
        state[1] = state[1] << 1
    out[0], out[1] = state
    found = np.zeros(2, np.int64)
    call(f, found, start, stop)
    numbers = range(start, stop, step)
    assert found.tolist() == [100 + sum([sum(range(i)) for i in numbers]), 2 ** len(numbers)]


@pytest.mark.parametrize("n", [0, 1, 7])
def test_a_branch_merges_what_it_changes(n: int) -> None:
    f = FunctionBuilder()
    out, given = f.arguments("int*out given")
    state = [given, f.integer(5)]
    with f.if_(given < 3, state):
        with f.if_(given.compare("==", 0), state):
            state[1] = f.integer(40)
        state[0] = state[0] + 10
    out[0], out[1] = state
    found = np.zeros(2, np.int64)
    call(f, found, n)
    assert found.tolist() == [n + 10 if n < 3 else n, 40 if n == 0 else 5]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 200])
def test_a_loop_that_ends_in_two_places(n: int) -> None:
    f = FunctionBuilder()
    out, given = f.arguments("int*out given")
    state = [given, f.integer(0)]
    with f.loop(state) as loop:  # Collatz, or 10 steps
        loop.exit_if(state[0].compare("==", 1))
        odd = (state[0] & 1).compare("==", 1)
        state[:] = [f.select(odd, state[0] * 3 + 1, state[0] >> 1), state[1] + 1]
        loop.exit_if(state[1] >= 10)
    out[0], out[1] = state
    found = np.zeros(2, np.int64)
    call(f, found, n)
    value, steps = n, 0
    while value != 1 and steps < 10:
        value, steps = value * 3 + 1 if value % 2 else value // 2, steps + 1
    assert found.tolist() == [value, steps]


@pytest.mark.parametrize("kind", ["f", "d"])
@pytest.mark.parametrize("vectors", [1, 3])
def test_columns_are_all_taken_and_no_others(kind: str, vectors: int) -> None:
    for n in range(3 * vectors * vector_unit.LANES + 2):
        f = FunctionBuilder(kind)
        x, y, cols = f.arguments("*x *y cols")
        for c, masks in f.columns(cols, vectors):
            for v, mask in enumerate(masks):
                y.store(c + v * f.lanes, x.load(c + v * f.lanes, mask) * 2.0, mask)
        source, target = np.arange(1, n + 1, dtype=kind), np.full(n + 64, -1, kind)
        call(f, source, target, n)
        assert target.tolist() == [*(2 * source), *[-1] * 64]


def test_constants_that_compare_equal_are_told_apart() -> None:
    f = FunctionBuilder("d")
    (out,) = f.arguments("*out")
    for place, x in enumerate((0.0, -0.0, 1.0, float("nan"), -float("inf"))):
        out[place] = f.number(x)
    found = np.zeros(5)
    call(f, found)
    assert [*map(str, found.tolist())] == ["0.0", "-0.0", "1.0", "nan", "-inf"]
    assert f.integer(1).ir.type != f.number(1.0).ir.type


@pytest.fixture(scope="module")
def aarch64() -> Any:
    """A function that gives LLVM's assembly of a text for an aarch64 CPU."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple("aarch64-unknown-linux-gnu").create_target_machine(opt=3)

    def assembly(text: str) -> str:
        module = llvm.parse_assembly(text)
        module.verify()
        return str(machine.emit_assembly(module))

    return assembly


@pytest.mark.parametrize(("kind", "lanes", "shape"), [("f", 4, "4s"), ("d", 2, "2d")])
@pytest.mark.parametrize("packed", [False, True])
def test_neons_micro_kernel_is_fused_and_stays_in_registers(
    aarch64: Any, kind: str, lanes: int, shape: str, packed: bool
) -> None:
    panel = gemm_microkernel.Panel(lanes, 4, masks=False)
    text = aarch64(gemm_microkernel.multiply(panel, kind, gemm_microkernel.MR, packed))
    blocks = re.split(r"\n(?=\.LBB)", text)
    (inner, *_) = [block for block in blocks if len(re.findall(rf"fmla\s+v\d+\.{shape}", block)) == 24]
    loop = inner[: inner.index("b.lo")]
    assert len(re.findall(r"\b(?:str|stp|ldr|ldp)\s+q\d+[^\n]*\[sp", loop)) == 0  # none of the sums is in memory


def test_neons_other_functions(aarch64: Any) -> None:
    panel = gemm_microkernel.Panel(4, 4, masks=False)
    packs = [pack(panel, "f") for pack in (gemm_microkernel.pack_rows, gemm_microkernel.pack_columns)]
    for text in [*packs, gemm_microkernel.pack_transposed(panel, "f"), gemm_microkernel.pack_blocks(panel, "f", 6)]:
        assert "fma" not in aarch64(text)
    for text in (runtime.rows_times_vector("f"), kernel("f", (("tanh", "in0"),), (("f", False),), (("f", "v0"),))):
        assert re.search(r"fmla\s+v\d+\.4s", aarch64(text))
        assert "bl\tfma" not in aarch64(text)  # a call of the C library for each element


@pytest.mark.parametrize(
    ("triple", "features", "unit"),
    [
        ("x86_64-unknown-linux-gnu", ["avx2", "fma", "avx512f", "avx512vl"], vector_unit.AVX512),
        ("x86_64-unknown-linux-gnu", ["avx2", "fma", "avx512f"], vector_unit.AVX2),
        ("x86_64-apple-darwin", ["avx2", "fma"], vector_unit.AVX2),
        ("x86_64-unknown-linux-gnu", ["avx2"], vector_unit.BASELINE),
        ("x86_64-unknown-linux-gnu", [], vector_unit.BASELINE),
        ("aarch64-unknown-linux-gnu", [], vector_unit.NEON),
        ("arm64-apple-darwin23", [], vector_unit.NEON),
    ],
)
def test_a_cpu_is_known_by_its_features(
    monkeypatch: pytest.MonkeyPatch, triple: str, features: list[str], unit: vector_unit.VectorUnit
) -> None:
    monkeypatch.setattr(llvm, "get_process_triple", lambda: triple)
    monkeypatch.setattr(llvm, "get_host_cpu_features", lambda: dict.fromkeys(features, True))
    assert vector_unit.vector_unit.__wrapped__() == unit
    monkeypatch.setattr(gemm_microkernel, "vector_unit", lambda: unit)
    panel = gemm_microkernel.panel_of.__wrapped__("f")
    assert (panel is None) == (not unit.fma)
    if panel is not None:
        assert gemm_microkernel.MR * panel.vectors + panel.vectors < unit.registers

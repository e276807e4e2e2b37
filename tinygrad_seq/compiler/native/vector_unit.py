"""The vector registers of this CPU, by which kernels choose how many elements they take at a time."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import llvmlite.binding as llvm


class VectorUnit(NamedTuple):
    """A CPU's vector instructions.

    Attributes:
        bytes: of one register.
        registers: how many there are.
        masks: whether loads and stores take a mask; elsewhere LLVM makes a branch for each lane of one.
        fma: whether there is a fused multiply-add.
    """

    bytes: int
    registers: int
    masks: bool
    fma: bool


AVX512 = VectorUnit(64, 32, masks=True, fma=True)
AVX2 = VectorUnit(32, 16, masks=True, fma=True)
NEON = VectorUnit(16, 32, masks=False, fma=True)
BASELINE = VectorUnit(16, 16, masks=False, fma=False)  # SSE2, and what is not known


@cache
def vector_unit() -> VectorUnit:
    """Of the CPU that runs this process."""
    if llvm.get_process_triple().startswith(("aarch64", "arm64")):  # each of them has NEON
        return NEON
    features = llvm.get_host_cpu_features()
    if features.get("avx512f") and features.get("avx512vl"):
        return AVX512
    return AVX2 if features.get("avx2") and features.get("fma") else BASELINE


LANES = 16 if vector_unit().bytes > 16 else 8  # elements of a vector in a loop over elements: one register or a few


def accumulators(kind: str) -> int:
    """How many sums of LANES elements, float32 ("f") or float64 ("d"), fill half of the registers; 8 at most."""
    unit = vector_unit()
    return min(unit.registers * unit.bytes // (2 * LANES * (4 if kind == "f" else 8)), 8)

"""Products that are only read transposed are computed transposed."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_seq as tg
from tinygrad_seq.compiler.operations import evaluate
from tinygrad_seq.compiler.passes.transpose_folding import fold_transposes
from tinygrad_seq.compiler.program import Instr, Program, Var

FLOAT = np.dtype(np.float64)


def written(*, also_read: bool = False, output: bool = False) -> tuple[Program, list[Var], Var]:
    """(x yᵀ)ᵀ + 1, for x (2, 4) and y (3, 4)."""
    made = Program()
    x, y, transposed, product, back, out = [
        made.new(shape, FLOAT) for shape in ((2, 4), (3, 4), (4, 3), (2, 3), (3, 2), (3, 2))
    ]
    made.instrs = [
        Instr("transpose", (y,), {"dims": (1, 0)}, transposed),
        Instr("matmul", (x, transposed), {}, product),
        Instr("transpose", (product,), {"dims": (1, 0)}, back),
        Instr("add", (back, 1.0), {}, out),
    ]
    if also_read:
        made.instrs.append(Instr("tanh", (product,), {}, made.new((2, 3), FLOAT)))
    made.outputs = [out, *[product] * output]
    return made, [x, y], out


def run(program: Program, sources: list[Var], out: Var) -> np.ndarray:
    rng = np.random.default_rng(0)
    found = {v: rng.standard_normal(v.shape) for v in sources}
    for instr in program.instrs:
        found[instr.out] = evaluate(
            instr.op, [found.get(a, a) if type(a) is Var else a for a in instr.args], instr.params
        )
    return found[out]


def test_the_product_is_the_other_way_round_and_the_same() -> None:
    before, after = written(), written()
    program = fold_transposes(after[0])
    assert [i.op for i in program.instrs] == ["transpose", "transpose", "matmul", "add"]
    (product,) = [i for i in program.instrs if i.op == "matmul"]
    assert product.args[0] is after[1][1], "what was transposed is taken as it lies"
    assert product.out.shape == (3, 2)
    np.testing.assert_allclose(run(program, *after[1:]), run(*before), rtol=1e-12)


@pytest.mark.parametrize("settings", [{"also_read": True}, {"output": True}])
def test_what_is_read_as_it_is_stays(settings: dict[str, bool]) -> None:
    program, _, _ = written(**settings)
    assert [i.op for i in fold_transposes(program).instrs][:3] == ["transpose", "matmul", "transpose"]


@pytest.mark.host("about the CPU's executors")
def test_the_gradient_of_a_weight_lies_as_the_weight_does() -> None:
    pytest.importorskip("llvmlite", reason="the pass is the native executor's")
    weight = tg.randn(5, 200, requires_grad=True)  # fewer rows than columns: its gradient is computed transposed

    @tg.compile
    def step(x: tg.Tensor) -> None:
        weight.grad = None
        (x @ weight.T).sum().backward()

    for _ in range(3):
        step(tg.ones(7, 200))
    (program,) = step.programs
    assert [i.out.shape for i in program.instrs if i.op == "matmul"].count((5, 200)) == 1
    assert weight.grad is not None
    assert weight.grad.is_contiguous()
    np.testing.assert_allclose(weight.grad.numpy(), np.full((5, 200), 7.0))


@pytest.mark.host("about the CPU's executors")
@pytest.mark.parametrize("executor", ["native", "numpy"])
def test_turned_products_of_turned_products(executor: str) -> None:
    tg.manual_seed(0)
    a, b, c, d = tg.randn(3, 4), tg.randn(4, 5), tg.randn(3, 6), tg.randn(6, 3)
    for chain in (lambda: ((a @ b).T @ c).T * 2.0, lambda: (d @ (b.T @ a.T).T).T * 2.0):
        np.testing.assert_allclose(
            tg.compile(chain, executor=executor)().numpy(), chain().numpy(), rtol=1e-5, atol=1e-6
        )

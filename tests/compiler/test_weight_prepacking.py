"""A matrix that many products take: put in order once, where it pays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from tinygrad_seq.compiler.passes.weight_prepacking import prepack_weights, transpose_weights_once
from tinygrad_seq.compiler.program import Instr, Program


def program(products: int, rows: int) -> Program:
    """So many products of so many rows with one matrix, transposed."""
    made = Program()
    kind = np.dtype(np.float32)
    weight, transposed = made.new((5, 3), kind), made.new((3, 5), kind)
    made.instrs.append(Instr("transpose", (weight,), {"dims": (1, 0)}, transposed))
    for _ in range(products):
        x, y = made.new((rows, 3), kind), made.new((rows, 5), kind)
        made.instrs.append(Instr("matmul", (x, transposed), {}, y))
    return made


@pytest.mark.parametrize(
    ("products", "rows", "often"), [(20, 64, True), (20, 1, False), (2, 512, False), (20, 8, False)]
)
def test_it_is_done_where_it_pays(products: int, rows: int, often: bool) -> None:
    made = transpose_weights_once(program(products, rows))
    assert [i.op for i in made.instrs] == ["transpose", *["copy"] * often, *["matmul"] * products]
    made = prepack_weights(program(products, rows), lambda kind: 4)
    op = "matmul_packed" if often else "matmul"
    assert [i.op for i in made.instrs] == ["transpose", *["pack"] * often, *[op] * products]
    assert len({i.args[1] for i in made.instrs if i.op == op}) == 1
    assert not often or made.instrs[1].out.shape == (2, 3, 4)


def test_what_does_not_lie_the_other_way_round_stays() -> None:
    made = program(20, 64)
    made.instrs = made.instrs[1:]
    assert {i.op for i in transpose_weights_once(made).instrs} == {"matmul"}
    assert {i.op for i in prepack_weights(made, lambda kind: None).instrs} == {"matmul"}


@pytest.mark.host("about the CPU's executors")
@pytest.mark.parametrize("executor", ["numpy", "native"])
@pytest.mark.parametrize("kind", [tg.float32, tg.float64])
def test_the_products_are_the_same(executor: str, kind: Any) -> None:
    weight = (tg.randn(70, 33) / 10).to(kind)  # small enough that rounding does not grow from step to step

    def chain(x: tg.Tensor) -> tg.Tensor:
        for _ in range(20):
            x = (x @ weight.T)[:, :33].tanh()
        return x

    run = tg.compile(chain, executor=executor)
    x = tg.randn(64, 33).to(kind)
    for y in (run(x), run(x)):
        np.testing.assert_allclose(y.numpy(), chain(x).numpy(), rtol=1e-5, atol=1e-6)
    assert any("in order once" in note for note in run.programs[0].notes)

"""A matrix that many products take turned: turned once, where it pays."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_seq as tg
from tinygrad_seq.compiler.passes.turned import turned_once
from tinygrad_seq.compiler.program import Instr, Program


def program(products: int, rows: int) -> Program:
    """So many products of so many rows with one matrix, turned."""
    made = Program()
    kind = np.dtype(np.float32)
    weight, turned = made.new((5, 3), kind), made.new((3, 5), kind)
    made.instrs.append(Instr("transpose", (weight,), {"dims": (1, 0)}, turned))
    for _ in range(products):
        x, y = made.new((rows, 3), kind), made.new((rows, 5), kind)
        made.instrs.append(Instr("matmul", (x, turned), {}, y))
    return made


@pytest.mark.parametrize(("products", "rows", "copies"), [(20, 64, 1), (20, 1, 0), (2, 2048, 0), (20, 8, 0)])
def test_it_is_turned_where_it_pays(products: int, rows: int, copies: int) -> None:
    made = turned_once(program(products, rows))
    assert [instr.op for instr in made.instrs] == ["transpose", *["copy"] * copies, *["matmul"] * products]
    assert len({instr.args[1] for instr in made.instrs if instr.op == "matmul"}) == 1


@pytest.mark.parametrize("executor", ["numpy", "native"])
def test_the_products_are_the_same(executor: str) -> None:
    weight = tg.randn(70, 33) / 10  # small enough that rounding does not grow from step to step

    def chain(x: tg.Tensor) -> tg.Tensor:
        for _ in range(20):
            x = (x @ weight.T)[:, :33].tanh()
        return x

    run = tg.compile(chain, executor=executor)
    x = tg.randn(64, 33)
    for y in (run(x), run(x)):
        np.testing.assert_allclose(y.numpy(), chain(x).numpy(), rtol=1e-5, atol=1e-6)
    assert any("turned" in note for note in run.programs[0].notes)

"""What is done to each row that is looked up is done to the rows of the table."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import tinygrad_seq as tg
from tinygrad_seq.compiler.operations import HOLE
from tinygrad_seq.compiler.passes.gather_matmul_reordering import reorder_gather_matmul
from tinygrad_seq.compiler.program import Instr, Program


def trained(compiled: bool, bias: tuple[int, ...], executor: str) -> tuple[list[list[float]], list[int], list[str]]:
    """Gradients of a table (5, 6), a weight (6, 7) and a bias for 40 tokens; shapes and names of all operations."""
    tg.manual_seed(0)
    given = [tg.randn(*shape, requires_grad=True) for shape in ((5, 6), (6, 7), bias)]
    tokens = tg.tensor(np.random.default_rng(0).integers(0, 5, (8, 5)))
    factors = tg.randn(8, 5, 7)

    def step(tokens: tg.Tensor) -> tg.Tensor:
        table, weight, offset = given
        for x in given:
            x.grad = None
        y = (table[tokens].reshape(-1, 6) @ weight + offset).reshape(8, 5, 7).tanh() * factors
        y.sum().backward()
        return y.detach()

    run: Callable[[tg.Tensor], tg.Tensor] = tg.compile(step, executor=executor) if compiled else step
    for _ in range(3):
        y = run(tokens)
    found = [y.reshape(-1).tolist()]
    found += [x.grad.reshape(-1).tolist() for x in given if x.grad is not None]
    instrs = run.programs[0].instrs if compiled else []  # type: ignore[attr-defined]
    rows = [i.args[0].shape[0] for i in instrs if i.op == "sum" and i.out.size == 7]
    adds = [str(i.out.shape) for i in instrs if i.op == "add" and i.out.shape[-1] == 7]
    return found, rows, adds


@pytest.mark.parametrize("bias", [(7,), (1, 7), (40, 7), ()])
@pytest.mark.parametrize("executor", ["numpy", "native"])
def test_a_bias_is_added_to_the_table_and_its_gradient_summed_there(bias: tuple[int, ...], executor: str) -> None:
    if executor == "native":
        pytest.importorskip("llvmlite")
    eager, _, _ = trained(False, bias, executor)
    found, rows, adds = trained(True, bias, executor)
    for x, y in zip(found, eager, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)
    if bias in ((7,), (1, 7)):
        assert adds == ["(5, 7)"]
        assert rows == [5]
    else:
        assert "(5, 7)" not in adds


def test_sums_of_columns_and_rows_that_are_needed_as_they_are_stay() -> None:
    kind, made = np.dtype(np.float32), Program()
    shapes = {"table": (3, 4), "W": (4, 5), "g": (9, 5), "b": (5,), "y": (9, 5), "z": (9, 5), "E": (9, 4)}
    v = {name: made.new(shape, kind) for name, shape in shapes.items()}
    transposed, grad, sums = made.new((5, 9), kind), made.new((5, 4), kind), made.new((9,), kind)
    i = made.new((9,), np.dtype(np.int64))
    made.instrs = [
        Instr("take", (v["table"], i), {"index": (HOLE,)}, v["E"]),
        Instr("matmul", (v["E"], v["W"]), {}, v["y"]),
        Instr("add", (v["y"], v["b"]), {}, v["z"]),
        Instr("sum", (v["g"],), {"axis": (1,), "keepdims": False}, sums),
        Instr("transpose", (v["g"],), {"dims": (1, 0)}, transposed),
        Instr("matmul", (transposed, v["E"]), {}, grad),
    ]
    made.outputs = [v["z"], v["y"], sums, grad]
    found = reorder_gather_matmul(made).instrs
    assert [instr.args for instr in found if instr.op == "sum"] == [(v["g"],)]
    assert [instr.args for instr in found if instr.op == "add"] == [(v["y"], v["b"])]


def test_sums_of_single_numbers_and_vectors_are_no_lookups() -> None:
    x = tg.tensor([1.0, 2.0])
    assert tg.compile(lambda x: x.sum().reshape(1) + x)(x).tolist() == [4, 5]
    assert tg.compile(lambda x: x[:1].squeeze() + 1.0)(x).item() == 2

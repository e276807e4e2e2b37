"""Every primitive against derivatives computed from values alone, and against the rules of arithmetic."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_seq as tg
from tinygrad_seq.autodiff import topological_order
from tinygrad_seq.graph import FunctionNode

from ..profiles import one_in
from .op_cases import DIFFERENTIABLE, WITHOUT_DERIVATIVE, Call, primitives

PRIMITIVES = primitives()
# rows draw 0-size arrays, and numbers between which nothing changes
pytestmark = pytest.mark.filterwarnings("ignore::tinygrad_seq.gradcheck.NotTestedWarning")
NO_FLOAT32 = {"cast"}  # its dtype is a setting


def test_every_primitive_has_a_row() -> None:
    assert PRIMITIVES.keys() == DIFFERENTIABLE.keys() | WITHOUT_DERIVATIVE.keys()


def as_function(name: str, call: Call) -> tuple[Any, list[Any]]:
    """The primitive as a function of its floating-point arrays, and these."""
    floating = [i for i, a in enumerate(call.arrays) if a.dtype.kind == "f"]
    fixed = [a if a.dtype.kind == "f" else tg.tensor(a).array for a in call.arrays]

    def function(*xs: Any) -> Any:
        arrays = list(fixed)
        for i, x in zip(floating, xs, strict=True):
            arrays[i] = x
        return PRIMITIVES[name](*arrays, **call.params)

    return function, [call.arrays[i] for i in floating]


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@given(data=st.data())
def test_gradient(name: str, data: st.DataObject) -> None:
    function, xs = as_function(name, data.draw(DIFFERENTIABLE[name]))
    tg.gradcheck(function, xs)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@one_in(2)  # each is a check of many entries
@given(data=st.data())
def test_gradient_of_gradient(name: str, data: st.DataObject) -> None:
    function, xs = as_function(name, data.draw(DIFFERENTIABLE[name]))
    tg.gradgradcheck(function, xs)


@pytest.mark.parametrize("name", WITHOUT_DERIVATIVE)
@given(data=st.data())
def test_no_gradient_passes(name: str, data: st.DataObject) -> None:
    call = data.draw(WITHOUT_DERIVATIVE[name])
    y = PRIMITIVES[name](*[tg.tensor(a, requires_grad=True) for a in call.arrays], **call.params)
    assert not y.requires_grad
    assert y.dtype.kind in "bi"


@pytest.mark.parametrize("name", sorted(DIFFERENTIABLE.keys() - NO_FLOAT32))
@given(data=st.data())
def test_float32_stays_float32_and_is_right(name: str, data: st.DataObject) -> None:
    call = data.draw(DIFFERENTIABLE[name])
    results = {}
    for dtype in ("float64", "float32"):
        arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in call.arrays]
        function, xs = as_function(name, Call(arrays, call.params))
        leaves = [tg.tensor(x, requires_grad=True) for x in xs]
        ys = function(*leaves)
        ys = ys if isinstance(ys, tuple) else (ys,)
        if dtype == "float32":
            assert all(y.dtype == tg.float32 for y in ys)
            assert_no_float64([y.node for y in ys])
        total = sum(((y * (1.0 + 0.5 * k)).sum() for k, y in enumerate(ys)), start=tg.tensor(0.0))
        total.backward()
        for leaf in leaves:
            assert leaf.grad is None or (leaf.grad.dtype == leaf.dtype and leaf.grad.shape == leaf.shape)
        gradients = [np.zeros(0) if x.grad is None else x.grad.numpy() for x in leaves]
        results[dtype] = [y.detach().numpy() for y in ys] + gradients
    for exact, rounded in zip(*results.values(), strict=True):
        np.testing.assert_allclose(rounded, exact, rtol=1e-4, atol=1e-5)


def assert_no_float64(nodes: list[Any]) -> None:
    for node in topological_order(nodes):
        assert node.dtype == tg.float32
        if isinstance(node, FunctionNode):
            saved = [*node.inputs, *(node.output if isinstance(node.output, tuple) else [node.output])]
            assert not [a for a in saved if isinstance(a, np.ndarray) and a.dtype == tg.float64]


@pytest.mark.host("bare arrays of NumPy's")
@pytest.mark.parametrize("name", [n for n in DIFFERENTIABLE if n not in ("split", "unbind")])
@given(data=st.data())
def test_on_arrays_a_primitive_is_its_forward(name: str, data: st.DataObject) -> None:
    call = data.draw(DIFFERENTIABLE[name])
    y = PRIMITIVES[name](*call.arrays, **call.params)
    assert not isinstance(y, tg.Tensor)
    on_tensors = PRIMITIVES[name](*[tg.from_numpy(a) for a in call.arrays], **call.params)
    np.testing.assert_array_equal(on_tensors.numpy(), y)


NUMPY: dict[str, Any] = {
    "abs": np.abs, "add": np.add, "ceil": np.ceil, "cos": np.cos, "div": np.divide, "exp": np.exp, "expm1": np.expm1,
    "floor": np.floor, "floor_divide": np.floor_divide, "log": np.log, "log1p": np.log1p, "maximum": np.maximum,
    "minimum": np.minimum, "mul": np.multiply, "neg": np.negative, "pow": np.power, "remainder": np.remainder,
    "round": np.round, "sign": np.sign, "sin": np.sin, "sqrt": np.sqrt, "sub": np.subtract, "tanh": np.tanh,
    "trunc": np.trunc, "where": np.where, "matmul": np.matmul, "relu": partial(np.maximum, 0),
    "linear": lambda x, W, *b: sum(b, x @ W.T),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "softplus": partial(np.logaddexp, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", NUMPY)
@given(data=st.data())
def test_forward_is_what_numpy_computes(name: str, data: st.DataObject) -> None:
    call = data.draw(DIFFERENTIABLE[name])
    y = PRIMITIVES[name](*[tg.tensor(a) for a in call.arrays], **call.params)
    np.testing.assert_allclose(y.numpy(), NUMPY[name](*call.arrays), rtol=1e-13, atol=1e-13)


def doubled(*rules: Any) -> tg.Primitive[...]:
    made = tg.Primitive(lambda x: x * 2.0, "doubled")
    made.vjp(*rules)
    return made


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(
    ("rule", "got"),
    [
        (lambda g, *_: g.T, r"shape \(3, 2\)"),  # as many numbers, in the wrong places
        (lambda g, *_: g.sum(), r"shape \(\)"),
        (lambda g, *_: g[:1], r"shape \(1, 3\)"),
        (lambda g, *_: g.reshape(-1), r"shape \(6,\)"),
        (lambda g, *_: 2.0, "a float"),
        (lambda g, *_: "g", "a str"),
    ],
)
def test_a_gradient_of_another_shape_is_refused(rule: Any, got: str, order: int) -> None:
    x = tg.ones(2, 3, requires_grad=True)
    with pytest.raises(ValueError, match=f"^backward: a gradient rule of 'doubled' returned {got} for an argument of"):
        doubled(rule)(x).sum().backward(create_graph=order == 2)
    joint = tg.Primitive(lambda x: x * 2.0, "joint")
    joint.vjp_joint(lambda g, *_: [rule(g)])
    with pytest.raises(ValueError, match=f"^backward: a gradient rule of 'joint' returned {got}"):
        joint(x).sum().backward(create_graph=order == 2)


def test_a_gradient_that_was_broadcast_is_added_up() -> None:
    x = tg.ones(2, 3, requires_grad=True)
    doubled(lambda g, *_: tg.array_module(g).ones((4, 2, 3), "float32"))(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[4.0] * 3] * 2


def test_rules_and_results_that_are_none() -> None:
    for wrong in (3, "cube"):
        with pytest.raises(TypeError, match=r"^primitive: takes a function, got"):
            tg.primitive(wrong)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"^vjp: a rule of 'doubled' must be a function or None, got 3"):
        doubled(3)
    with pytest.raises(TypeError, match=r"^vjp: got 2 rules for the 1 array arguments of 'doubled'"):
        doubled(lambda g, *_: g, lambda g, *_: g)
    for result in ([1.0], 3.0, None):
        with pytest.raises(TypeError, match=r"^odd: a primitive returns an array or a tuple of arrays, this one a"):
            tg.Primitive(lambda x, result=result: result, "odd")(tg.ones(2))


def test_other_libraries_tensors_are_refused_by_name() -> None:
    torch = pytest.importorskip("torch")
    for call in (lambda: tg.ones(2) + torch.ones(2), lambda: torch.ones(2) + tg.ones(2)):
        with pytest.raises(
            TypeError, match=r"^add: takes tensors, arrays and numbers, got a torch\.Tensor; tg\.from_dl"
        ):
            call()

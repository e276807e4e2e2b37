"""Mistakes: every public function says its name, what it got and what it takes, and never shows an AttributeError."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg

nan = math.nan
NO_ARGUMENTS = {"default_generator", "detect_anomaly", "enable_grad", "is_grad_enabled", "no_grad", "show_config"}
NO_ARGUMENTS |= {"get_default_dtype", "get_float32_matmul_precision", "get_num_threads"}
ALIASES = {name for name in tg.__all__ if getattr(getattr(tg, name), "__name__", name) != name}
TAKES_ANYTHING = {
    "array_module",
    "use_deterministic_algorithms",
    "compile",
    "draw_graph",
    "eq",
    "gradcheck",
    "gradgradcheck",
    "is_tensor",
    "load",
    "ne",
    "primitive",
    "save",
}
FUNCTIONS = sorted(
    name
    for name in tg.__all__
    if callable(getattr(tg, name))
    and not inspect.isclass(getattr(tg, name))
    and name not in NO_ARGUMENTS | TAKES_ANYTHING | ALIASES
)


def signature(name: str) -> inspect.Signature:
    function = getattr(tg, name)
    return inspect.signature(function.forward if isinstance(function, tg.Primitive) else function)


def required(name: str) -> list[str]:
    usual = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)
    return [p.name for p in signature(name).parameters.values() if p.default is p.empty and p.kind in usual]


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("bad", ["text", None, object(), {"a": 1}], ids=lambda bad: type(bad).__name__)
def test_what_is_no_tensor_is_refused_by_name(name: str, bad: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^[A-Za-z_]\w*: .") as caught:
        getattr(tg, name)(*[bad] * max(1, len(required(name))))
    assert not isinstance(caught.value, UnicodeError)


WITH_DIM = [name for name in FUNCTIONS if "dim" in signature(name).parameters and required(name)[0] != "combine"]
LISTS = {"cat", "hstack", "stack", "vstack"}


@pytest.mark.parametrize("name", WITH_DIM)
@pytest.mark.parametrize("dim", [99, -99, 1.5, "a"])
def test_no_such_dimension(name: str, dim: Any) -> None:
    x = [tg.ones(2, 3)] if name in LISTS else tg.ones(2, 3)
    others: dict[str, Any] = {other: tg.zeros(2, 3, dtype=tg.int64) for other in required(name)[1:] if other != "dim"}
    others |= {
        other: 1 for other in others if other in ("k", "chunks", "split_size_or_sections", "shifts", "repeats", "sizes")
    }
    with pytest.raises((IndexError, TypeError), match=f"^{name}: dim"):
        getattr(tg, name)(x, dim=dim, **others)


@pytest.mark.parametrize("name", WITH_DIM)
def test_two_names_for_one_setting(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name}: got both dim= and axis=") as caught:
        getattr(tg, name)(tg.ones(2, 3), dim=0, axis=0)
    assert caught.value.__cause__ is None


def case(message: str, kind: type[Exception], call: Callable[[], Any]) -> Any:
    return pytest.param(message, kind, call, id=message)


x = tg.ones(2, 3)
leaf = tg.ones(2, requires_grad=True)


def numbers() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("message", "kind", "call"),
    [
        # shapes
        case("add: cannot take shape (2, 3), shape (2,): ", ValueError, lambda: x + tg.ones(2)),
        case("matmul: cannot take shape (2, 3), shape (2, 3): the last dimension", ValueError, lambda: x @ x),
        case("reshape: cannot take shape (2, 3), shape=(4,)", ValueError, lambda: x.reshape(4)),
        case("cat: cannot take shape (2, 3), shape (2,)", ValueError, lambda: tg.cat([x, tg.ones(2)])),
        case("stack: cannot take shape (2, 3), shape (2,)", ValueError, lambda: tg.stack([x, tg.ones(2)])),
        case(
            "permute: takes each of the 2 dimensions of shape (2, 3) once, got dims=0", ValueError, lambda: x.permute(0)
        ),
        case("einsum: in 'ij,jk', 'ij' does not fit", ValueError, lambda: tg.einsum("ij,jk", tg.ones(2), x)),
        case("copy_: cannot put shape (3,) into", ValueError, lambda: tg.ones(2).copy_(tg.ones(3))),
        case("take_along_dim: indices of shape (2,)", IndexError, lambda: tg.take_along_dim(x, tg.tensor([0, 1]), 1)),
        # types
        case("add: takes tensors, arrays and numbers, got 'a'", TypeError, lambda: x + "a"),
        case("mul: takes tensors, arrays and numbers, got None", TypeError, lambda: x * None),
        case("matmul: takes tensors, arrays and numbers, got 'a'", TypeError, lambda: x @ "a"),
        case("add: takes", TypeError, lambda: tg.ones(2).add_("x")),
        case("tensor: cannot make numbers of str", TypeError, lambda: tg.ones(2).fill_("a")),  # type: ignore[arg-type]
        case("tensor: cannot make an array of this int", ValueError, lambda: tg.tensor(300, dtype=tg.uint8)),
        case("tensor: cannot make numbers of str", TypeError, lambda: tg.tensor("a")),
        case("tensor: cannot make numbers of NoneType", TypeError, lambda: tg.tensor(None)),
        case("tensor: cannot make numbers of object", TypeError, lambda: tg.tensor(object(), dtype=tg.bool)),
        case("tensor: cannot make an array of this list", ValueError, lambda: tg.tensor([[1, 2], [3]])),
        case("tensor: takes arrays of numbers, got one of <U1", TypeError, lambda: tg.tensor(np.array(["a"]))),
        case("tensor: takes arrays of numbers", TypeError, lambda: tg.as_tensor(np.array(["a"]))),
        case("tensor: got a masked array", TypeError, lambda: tg.as_tensor(np.ma.masked_equal([1, 2], 1))),
        case("mul: got a masked array", TypeError, lambda: x.cpu() * np.ma.masked_equal([1, 2, 3], 1)),
        case("from_numpy: got a masked array", TypeError, lambda: tg.from_numpy(np.ma.masked_equal([1, 2], 1))),
        case("from_numpy: takes arrays of numbers", TypeError, lambda: tg.from_numpy(np.ones(2, np.longdouble))),
        case("dtype: 'longdouble' is none", TypeError, lambda: x.to(dtype="longdouble")),
        case("add: takes tensors, arrays and numbers", TypeError, lambda: x.cpu() + np.array([1, 2, 3], object)),
        case("stack: takes a list of tensors, got one with 'a'", TypeError, lambda: tg.stack([tg.tensor(1.0), "a"])),
        case("fill_: takes a number, got None", TypeError, lambda: tg.ones(2).fill_(None)),  # type: ignore[arg-type]
        case("assigning to an index: takes", TypeError, lambda: x.detach().__setitem__(0, None)),
        case("flip: dim must be", TypeError, lambda: x.flip(None)),
        case("einsum: 'ij->' takes tensors one by one", TypeError, lambda: tg.einsum("ij->", [[1.0]])),
        case("norm: p must be a number or 'fro', got None", TypeError, lambda: x.norm(None)),  # type: ignore[arg-type]
        case("checkpoint: the function must return tensors", TypeError, lambda: tg.checkpoint(lambda x: 3.0, leaf)),
        case("vjp: the function must return tensors", TypeError, lambda: tg.vjp(lambda x: 3.0, leaf)),
        case(
            "vjp: the function returned 1 tensors, but there are 2", ValueError, lambda: tg.vjp(tg.exp, leaf)[1]((x, x))
        ),
        case("grad: argnums must be an integer", TypeError, lambda: tg.grad(tg.sum, argnums="a")(x)),  # type: ignore[arg-type]
        case("no_grad: 'numbers' is a generator", TypeError, lambda: tg.no_grad()(numbers)),
        case("from_numpy: takes a NumPy array, got list", TypeError, lambda: tg.from_numpy([1])),
        case("from_numpy: takes arrays of numbers", TypeError, lambda: tg.from_numpy(np.array(["a"]))),
        case("from_dlpack: takes an array that has __dlpack__", TypeError, lambda: tg.from_dlpack("a")),
        case("einsum: ", TypeError, lambda: tg.einsum(3, x)),  # type: ignore[arg-type]
        case("register_hook: takes a function", TypeError, lambda: leaf.register_hook(3)),  # type: ignore[arg-type]
        case("jvp: tangents must be a tuple", TypeError, lambda: tg.jvp(tg.exp, (x,), x)),  # type: ignore[arg-type]
        # dtypes and devices
        case("zeros: dtype: 'float33' is none", TypeError, lambda: tg.zeros(2, dtype="float33")),
        case("one_hot: takes integers", TypeError, lambda: tg.one_hot(tg.tensor([1.5]), 3)),
        case("device: got 'gpu'", ValueError, lambda: x.to("gpu")),
        case("zeros: device: got 'tpu'", ValueError, lambda: tg.zeros(2, device="tpu")),
        case("requires_grad: a tensor of int64", TypeError, lambda: tg.arange(3).requires_grad_()),
        case("grad: an argument of int64", TypeError, lambda: tg.grad(lambda v: v.sum())(tg.arange(3))),
        # indices
        case("getitem: cannot take shape (2, 3)", IndexError, lambda: x[5]),
        case("getitem: cannot take shape (2, 3)", IndexError, lambda: x[0, 0, 0]),
        case("indexing: got an index of type float", TypeError, lambda: x[1.5]),
        case("indexing: got an index of type str", TypeError, lambda: x["a"]),
        case("assigning to an index: cannot take", IndexError, lambda: x.detach().__setitem__(5, 1.0)),
        # sizes and empty input
        case("full: takes whole numbers from 0 on, got (-1,)", ValueError, lambda: tg.full((-1,), 2.0)),
        case("zeros: takes whole numbers from 0 on", ValueError, lambda: tg.zeros(-2)),
        case("rand: takes whole numbers from 0 on", ValueError, lambda: tg.rand(-1)),
        case("eye: takes whole numbers, got (2.5, 2.5)", TypeError, lambda: tg.eye(2.5)),  # type: ignore[arg-type]
        case("linspace: takes whole numbers", TypeError, lambda: tg.linspace(0, 1, 2.5)),  # type: ignore[arg-type]
        case("view: takes whole numbers, got (None,)", TypeError, lambda: x.view(None)),
        case("repeat: takes whole numbers, got (1.5, 2)", TypeError, lambda: x.repeat(1.5, 2)),
        case("new_zeros: takes whole numbers", TypeError, lambda: x.new_zeros(1.5)),
        case("randint: takes whole numbers, got low=0, high=2.5", TypeError, lambda: tg.randint(0, 2.5, (1,))),
        case("rand: draws floating-point numbers, got dtype int64", TypeError, lambda: tg.rand(2, dtype=tg.int64)),
        case("rand: generator: takes a tg.Generator, got 3", TypeError, lambda: tg.rand(2, generator=3)),  # type: ignore[arg-type]
        case("manual_seed: takes a whole number, got 'a'", TypeError, lambda: tg.manual_seed("a")),  # type: ignore[arg-type]
        case("arange: step must not be 0", ValueError, lambda: tg.arange(0, 5, 0)),
        case("amax: the tensor of shape (0, 3)", ValueError, lambda: tg.zeros(0, 3).amax(0)),
        case("item: takes a tensor with one element", ValueError, lambda: x.item()),
        # numbers that are none
        case("multinomial: every row", ValueError, lambda: tg.multinomial(tg.tensor([nan, 1.0]))),
        case("bernoulli: probabilities", ValueError, lambda: tg.bernoulli(tg.tensor([nan]))),
        case("normal: std must not be negative, and", ValueError, lambda: tg.normal(x, tg.tensor(-1.0))),
        case("normal: std must not be negative, got nan", ValueError, lambda: tg.normal(0.0, nan, (2,))),
        case("Dropout: p is a probability", ValueError, lambda: nn.Dropout(nan)),
        case("Adam: lr must not be negative, got nan", ValueError, lambda: nn.optim.Adam([leaf], lr=nan)),
        # what elsewhere has another meaning, or would be another number without a word
        case("floor_divide: integers cannot be divided by 0", ZeroDivisionError, lambda: tg.tensor([7]) // 0),
        case("remainder: integers cannot be divided by 0", ZeroDivisionError, lambda: tg.tensor([7]) % tg.tensor([0])),
        case("+=: the result is float32", TypeError, lambda: tg.tensor([1]).__iadd__(1.5)),
        case("& | ^ ~: take booleans", TypeError, lambda: tg.tensor([6]) & 3),
        case("gather: got index -1", IndexError, lambda: tg.gather(tg.ones(3, device="cpu"), 0, [-1])),
        case("index_select: got index 3", IndexError, lambda: tg.ones(3, device="cpu").index_select(0, [3])),
        case("scatter_add: got index -1", IndexError, lambda: tg.ones(3).cpu().scatter_add(0, [-1], tg.ones(1).cpu())),
        case("pad: (0, -5) cuts more off", ValueError, lambda: tg.pad(tg.ones(3), (0, -5))),
        case("var: cannot take", TypeError, lambda: tg.ones(3).var(0, False, False, 1)),  # type: ignore[call-arg]
        case("ones: dtype: <class 'object'> is none", TypeError, lambda: tg.ones(2, dtype=object)),
        case("multinomial: cannot draw 2 different", ValueError, lambda: tg.multinomial(tg.tensor([1.0, 0.0]), 2)),
        case("data: takes a tensor", TypeError, lambda: setattr(tg.ones(1), "data", 3)),
        case(
            "data: a tensor of int64 cannot",
            TypeError,
            lambda: setattr(tg.ones(3, requires_grad=True), "data", tg.arange(3)),
        ),
        case("grad: takes a tensor or None", TypeError, lambda: setattr(tg.ones(1, requires_grad=True), "grad", 1.0)),
        # modules
        case("Linear: in_features must be a whole number", ValueError, lambda: nn.Linear(-1, 2)),
        case("Embedding: num_embeddings must be", ValueError, lambda: nn.Embedding(0, 2)),
        case("LSTM: hidden_size must be", ValueError, lambda: nn.LSTM(2, 0)),
        case("Linear: x has shape (4, 5)", ValueError, lambda: nn.Linear(2, 3)(tg.ones(4, 5))),
        case("tensor: cannot make numbers of str", TypeError, lambda: nn.Linear(2, 3)("text")),  # type: ignore[arg-type]
        case("tensor: cannot make numbers of str", TypeError, lambda: nn.LSTM(2, 3)("text")),
        case("tensor: cannot make numbers of str", TypeError, lambda: nn.LSTMCell(2, 3)("text")),  # type: ignore[arg-type]
        case("Adam: got no parameters", ValueError, lambda: nn.optim.Adam([])),
        case("SGD: takes leaf tensors that require a gradient", TypeError, lambda: nn.optim.SGD(x, lr=1.0)),
        case("functional_call: Linear has no", KeyError, lambda: nn.functional_call(nn.Linear(1, 1), {"w": x}, x)),
    ],
)
def test_message(message: str, kind: type[Exception], call: Callable[[], Any]) -> None:
    with pytest.raises(kind) as caught:
        call()
    text = caught.value.args[0]
    assert re.match(re.escape(message), text), text

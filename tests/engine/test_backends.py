"""The GPU's path on a machine without one: strict arrays run through everything, and CuPy has what is called."""

from __future__ import annotations

import ast
import importlib
import inspect
import operator
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nn
import nn.functional as F
import tinygrad_seq as tg
from tinygrad_seq.autodiff import topological_order
from tinygrad_seq.graph import FunctionNode
from tinygrad_seq.graph.device import default_device
from tinygrad_seq.ops import elementwise

from ..profiles import one_in
from .op_cases import DIFFERENTIABLE, primitives
from .strict_backend import REAL, assert_same, installed, is_on_device, stand_in_only
from .training import trained

ROOT = Path(__file__).parent.parent.parent
TOLERANCE = {"float64": (1e-9, 1e-12), "float32": (2e-4, 1e-5)}


@pytest.fixture(autouse=True, scope="module")
def _strict() -> Iterator[None]:
    with installed():
        yield


def strict(a: Any) -> tg.Tensor:
    return tg.tensor(np.array(a), device="cuda")


def on_host(a: Any) -> tg.Tensor:
    return tg.tensor(a, device="cpu")


def assert_all_strict(nodes: list[Any]) -> None:
    for node in topological_order(nodes):
        if isinstance(node, FunctionNode):
            saved = [*node.inputs, *(node.output if isinstance(node.output, tuple) else [node.output])]
            assert not [a for a in saved if isinstance(a, (np.ndarray, np.generic))]


@pytest.mark.parametrize("kind", ["float64", "float32"])
@pytest.mark.parametrize("name", sorted(DIFFERENTIABLE.keys() - {"to_device"}))
@one_in(5)
@given(data=st.data())
def test_every_primitive_stays_on_its_device(name: str, kind: str, data: st.DataObject) -> None:
    call = data.draw(DIFFERENTIABLE[name])
    call = call._replace(arrays=[a.astype(kind) if a.dtype.kind == "f" else a for a in call.arrays])
    if "dtype" in call.params:
        kind = "float32"
    found = []
    for make in (on_host, strict):
        xs = [make(a).requires_grad_() if a.dtype.kind == "f" else make(a).array for a in call.arrays]
        ys: Any = primitives()[name](*xs, **call.params)
        ys = ys if isinstance(ys, tuple) else (ys,)
        if make is strict:
            assert all(is_on_device(y.array) for y in ys)
            assert_all_strict([y.node for y in ys])
        for y in ys:
            y.backward(make(np.ones(y.shape)), retain_graph=True)
        grads = [x.grad for x in xs if isinstance(x, tg.Tensor)]
        if make is strict:
            assert all(g is None or is_on_device(g.array) for g in grads)
        found.append([y.tolist() for y in ys] + [None if g is None else g.tolist() for g in grads])
        total = sum([(y * y).sum() for y in ys], start=make(np.zeros(())))
        total.backward(create_graph=True)
    for ours, theirs in zip(*found, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:  # BLAS rounds a product by how its memory is aligned
            rtol, atol = (1e-13, 1e-15) if kind == "float64" and not REAL else TOLERANCE[kind]
            np.testing.assert_allclose(theirs, ours, rtol=rtol, atol=atol)


@pytest.mark.parametrize("kind", ["LSTM", "RNN"])
def test_training_stays_on_its_device(kind: str) -> None:
    losses = []
    for device in ("cpu", "cuda"):
        found, model = trained(kind, device)
        losses.append(found)
        assert all(p.device.type == device for p in model.parameters())
        assert all(p.grad is not None and p.grad.device.type == device for p in model.parameters())
    assert_same(losses[0], losses[1])


@stand_in_only
def test_the_stand_in_is_as_strict_as_cupy() -> None:
    """Or the tests here would show nothing."""
    x = strict([1.0, 2.0]).array
    for convert in (np.asarray, np.array, np.sum, np.exp, lambda x: np.ones(2) + x, lambda x: x + np.ones(2), list):
        with pytest.raises(TypeError):
            np.asarray(convert(x))
    assert is_on_device(x.sum())
    assert is_on_device(x[0])


def test_devices_do_not_mix() -> None:
    with pytest.raises(RuntimeError, match=r"add: operands are on cpu and cuda:0; move one with \.to\('cuda:0'\)"):
        strict([1.0, 2.0]) + tg.ones(2, device="cpu")
    x, host_index = strict([[1.0, 2.0]]), np.array([0])
    for call in (
        lambda: x[host_index],
        lambda: x.gather(1, host_index.reshape(1, 1)),
        lambda: tg.embedding(x, host_index),
        lambda: tg.isin(x, np.ones(2)),
        lambda: tg.isin(x, tg.ones(2, device="cpu")),
    ):
        with pytest.raises(RuntimeError, match="operands are on cpu and cuda:0"):
            call()
    assert x[[0]].tolist() == [[1.0, 2.0]]
    assert tg.isin(x, [2.0]).tolist() == [[False, True]]


@pytest.mark.parametrize("compiled", [False, True])
def test_lists_come_to_the_tensors(compiled: bool) -> None:
    """NumPy makes arrays of them by itself, CuPy does not."""
    f: Any = lambda x: (x * [1, 2.5], tg.maximum([0.5, 3], x), x - (1.0, 2.0))  # noqa: E731
    for kind in ("float32", "float64", "int64"):
        found = [
            [(y.dtype, y.tolist()) for y in (tg.compile(f) if compiled else f)(x)]
            for x in (tg.ones(2, dtype=kind, device=device) for device in ("cpu", "cuda"))
        ]
        assert found[0] == found[1]


@pytest.mark.host("on a device `numpy()` fetches, for tests")
def test_numbers_on_a_gpu_are_fetched_by_name_alone() -> None:
    for look in (tg.Tensor.numpy, np.asarray):
        with pytest.raises(TypeError, match=r"on cuda:0; move it first: \.cpu\(\)\.numpy\(\)"):
            look(strict([1.0]))


def test_the_engine_is_refused_numbers_that_a_test_gets() -> None:
    for look in ("x.numpy()", "np.asarray(x)", "np.testing.assert_allclose(x, 1.0)"):
        with pytest.raises(TypeError, match=r"on cuda:0; move it first"):
            eval(look, {"__name__": "tinygrad_seq.some_module", "np": np, "x": strict([1.0])})


ARRANGED: list[Any] = [
    lambda x: x.repeat_interleave([2, 0, 1], 0) ** 2,
    lambda x: x.repeat_interleave(2, 1) ** 2,
    lambda x: x.unfold(1, 2, 1) ** 2,
    lambda x: x.diagonal(1) ** 2 + tg.diag(x[:2, 0]).sum() * x.trace(),
    lambda x: x.index_add(0, [2, 2], x[:2] ** 2).index_fill(1, [0], 1.0) ** 2,
    lambda x: x.cumprod(1) + x.median(0).values + x.median(),
    lambda x: tg.meshgrid(x[0], x[1] ** 2)[1] * tg.hstack([x[0], x[0] ** 2])[:3],
    lambda x: tg.logaddexp(x, x[0] * 2) + x.log2().nan_to_num() + x.tan().lerp(x * x, 0.5),
    lambda x: tg.cat([x.unique() ** 2 for _ in range(2)]).detach() + x.sum(),
    lambda x: tg.isin(x, [1.0]) * x + (x > 1).long().reshape(-1).bincount(minlength=3) * x,
    lambda x: tg.div(x, 0.3, rounding_mode="trunc") + x.softmax(0, dtype=tg.float64) + tg.addcdiv(x, x, x + 3),
]


@pytest.mark.parametrize("f", ARRANGED)
def test_compositions_stay_on_their_device(f: Any) -> None:
    found = []
    for make in (on_host, strict):
        x = make(np.linspace(0.2, 2.0, 9).reshape(3, 3)).requires_grad_()
        y = f(x)
        if make is strict:
            assert is_on_device(y.array)
            assert_all_strict([y.node])
        y.sum().backward()
        assert x.grad is not None
        assert make is on_host or is_on_device(x.grad.array)
        found.append([y.tolist(), x.grad.tolist()])
    assert_same(found[0], found[1])


def test_moving_there_and_back_passes_gradients() -> None:
    x = tg.ones(3, requires_grad=True, device="cpu")
    y = (x.to("cuda") * 2.0).cpu()
    assert isinstance(y.array, np.ndarray)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2, 2, 2]


def test_new_tensors_are_made_on_the_device_in_force() -> None:
    before = default_device()
    with tg.device("cuda"):
        for x in (tg.zeros(2), tg.tensor([1.0]), tg.rand(3), tg.arange(4), tg.randn(2, 2), nn.Linear(2, 2).weight):
            assert x.device == "cuda:0"
    assert tg.zeros(1).device == before


def test_gradients_are_checked_where_the_inputs_are() -> None:
    seen = set()

    def f(x: tg.Tensor) -> tg.Tensor:
        seen.add(str(x.device))
        return (x * x).sin()

    tg.gradgradcheck(f, strict([0.5, 1.0]))
    with tg.device("cuda"):
        tg.gradcheck(f, np.array([0.5, 1.0]))
    assert seen == {"cuda:0"}


def test_what_is_made_on_the_way_is_made_beside_the_input() -> None:
    x, numbers = strict(np.ones((2, 1, 3), np.float32)), np.array([1.0, 2.0, 3.0])
    F.cross_entropy(x[:, 0], [0, 2], weight=numbers)
    layer = nn.GRU(3, 2).to("cuda")
    assert layer(x, mask=np.array([[True], [False]]))[0].device == "cuda:0"
    packed = nn.utils.rnn.pack_padded_sequence(x, [1], enforce_sorted=False)
    with tg.device("cuda"):
        assert nn.utils.rnn.pad_packed_sequence(packed)[1].device == "cpu"
        assert tg.as_tensor(numbers).device == "cuda:0"


def test_random_numbers_are_the_same_everywhere() -> None:
    for make, same in ((tg.rand, np.testing.assert_array_equal), (tg.randn, assert_same)):
        tg.manual_seed(1)
        a = make(5, device="cpu")
        tg.manual_seed(1)
        same(a.tolist(), make(5, device="cuda").tolist())  # the logarithms of normal numbers are each device's own


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_anomaly_is_found_and_an_exponent_has_a_gradient() -> None:
    x = strict([[1.0, 2.0], [0.0, 3.0]])
    with tg.detect_anomaly(), pytest.raises(RuntimeError, match=r"'log' gave -inf at index \[1, 0\]"):
        x.log()
    assert elementwise.array_of(x, 2.0).shape == ()


def dotted(node: ast.expr) -> str | None:
    """`cuda.runtime.getDevice` of `xp.cuda.runtime.getDevice`, where xp is a namespace; None for all else."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    asked = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "array_module"
    root = asked or (isinstance(node, ast.Name) and node.id == "xp")
    return ".".join(names[::-1]) if root and names else None


def called_on_namespaces() -> dict[str, set[str]]:
    """The names that the engine asks of `xp`, `self.xp` or `array_module(...)`, with the keywords it gives."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "tinygrad_seq").rglob("*.py"):
        if path.name in ("numpy.py", "npz.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8").replace("self.xp.", "xp."))):
            if isinstance(node, ast.Attribute) and (name := dotted(node)):
                found.setdefault(name, set())
            elif isinstance(node, ast.Call):
                later = isinstance(node.func, ast.Name) and node.func.id == "partial" and node.args
                name = dotted(node.args[0] if later else node.func) or ""
                if name:
                    found.setdefault(name, set()).update([k.arg for k in node.keywords if k.arg is not None])
    return found


def parameters_of(function: Any) -> set[str] | None:
    """The names of a function's parameters; None if nothing says them."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # compiled; its description begins with the signature
        head = re.search(r"\((.*?)\)(?: ->|$|\n)", function.__doc__ or "", re.DOTALL)
        return {part.partition("=")[0].split()[-1] for part in head[1].split(",") if part.strip()} if head else None
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return None
    return set(parameters)


def test_cupy_has_what_the_engine_calls() -> None:
    cupy = pytest.importorskip("cupy", reason='the extras "cuda12" and "cuda13"')
    called = called_on_namespaces()
    assert {"where", "maximum", "concatenate", "cuda.runtime.memGetInfo", "RawModule"} < called.keys()
    assert called["take"] >= {"axis", "out"}
    known = 0
    for name, keywords in called.items():
        function = operator.attrgetter(name)(cupy)
        if keywords and not isinstance(function, cupy.ufunc):
            parameters = parameters_of(function)
            known += parameters is not None
            assert parameters is None or keywords <= parameters, (name, keywords, parameters)
    assert known > 10


def test_cupy_has_what_programs_call() -> None:
    """Operations that stand in a program by name, and methods of arrays, memory, streams and graphs."""
    cupy = pytest.importorskip("cupy", reason='the extras "cuda12" and "cuda13"')
    from tinygrad_seq.compiler import operations
    from tinygrad_seq.compiler.cuda import codegen

    words = ("where", "sigmoid", "erf", "cast", "copy")  # which are no functions of the namespace
    assert not [op for op in codegen._EXPRESSIONS if op not in words and not isinstance(getattr(cupy, op), cupy.ufunc)]
    for name in operations.REDUCTIONS:
        assert {"axis", "keepdims", "out"} <= (parameters_of(getattr(cupy.ndarray, name)) or set()), name
    assert "copy_from_host_async" in dir(cupy.cuda.MemoryPointer)
    linalg = importlib.import_module("cupy._core._routines_linalg")
    assert {"set_compute_type", "COMPUTE_TYPE_TF32", "COMPUTE_TYPE_DEFAULT"} <= {*dir(linalg)}
    assert {"begin_capture", "end_capture", "record", "synchronize", "ptr"} <= {*dir(cupy.cuda.Stream), "ptr"}
    assert "stream" in (parameters_of(cupy.cuda.Graph.launch) or {"stream"})
    assert {"malloc", "used_bytes", "total_bytes", "free_all_blocks"} <= {*dir(cupy.cuda.MemoryPool)}
    assert {"get_function"} <= {*dir(cupy.RawModule)}
    assert "kernel" in dir(cupy.RawKernel)
    assert "linear_launch" in dir(importlib.import_module("cupy.cuda.function").Function)
    assert {"done"} <= {*dir(cupy.cuda.Event)}
    assert {"set", "argsort", "__dlpack__", "data"} <= {*dir(cupy.ndarray)}


def test_both_backends_have_the_same_functions() -> None:
    public = {}
    for name, files in {"numpy": ["numpy"], "cupy": ["cupy", "gpu_runtime"]}.items():
        trees = [ast.parse((ROOT / "tinygrad_seq" / "backend" / f"{file}.py").read_text("utf-8")) for file in files]
        defined = [n for tree in trees for n in tree.body if isinstance(n, ast.FunctionDef)]
        public[name] = {n.name: [a.arg for a in n.args.args] for n in defined}
    host_only = {"format_array"}
    shared = {n: a for n, a in public["numpy"].items() if not n.startswith("_") and n not in host_only}
    assert {n: public["cupy"].get(n) for n in shared} == shared

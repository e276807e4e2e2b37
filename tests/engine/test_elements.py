"""Eager mode on a GPU: how many launches a primitive and its rules take, and what their kernels compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from tinygrad_seq.backend import cupy as cupy_backend
from tinygrad_seq.compiler import elements
from tinygrad_seq.compiler.cuda_kernels import PRELUDE, TYPES

from . import host_kernels, nvrtc
from .strict_array import installed, stand_in_only

pytestmark = stand_in_only

# (launches of the forward, of the backward pass); reductions and single operations on elements are not counted
FUNCTIONS: dict[str, tuple[Callable[[Any], Any], int, int]] = {
    "softplus": (tg.softplus, 1, 1),
    "sigmoid": (tg.sigmoid, 0, 1),
    "tanh": (tg.tanh, 0, 1),
    "relu": (tg.relu, 0, 1),
    "erf": (tg.erf, 0, 1),
    "abs": (tg.abs, 0, 1),
    "sqrt": (tg.sqrt, 0, 1),
    "cos": (tg.cos, 0, 1),
    "log1p": (tg.log1p, 0, 1),
    "square": (lambda x: x**2, 0, 1),
    "quotient": (lambda x: tg.div(x, x + 3.0), 0, 1),
    "power": (lambda x: tg.pow(x, x + 1.0), 0, 2),
    "maximum": (lambda x: tg.maximum(x, x * x), 0, 2),
    "log_softmax": (lambda x: x.log_softmax(1), 2, 1),
    "exp": (tg.exp, 0, 0),
    "transpose": (lambda x: x.T, 0, 0),
}


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[elements.Kernel]]:
    """Those that were launched."""
    launched: list[elements.Kernel] = []
    with installed() as gpu:
        make = gpu.elementwise

        def elementwise(kernel: elements.Kernel) -> Callable[..., Any]:
            launch = make(kernel)

            def call(*arrays: Any) -> Any:
                launched.append(kernel)
                return launch(*arrays)

            return call

        monkeypatch.setattr(gpu, "elementwise", elementwise, raising=False)
        elements._plan.cache_clear()
        yield launched
    elements._plan.cache_clear()


def numbers(kind: str) -> Any:
    return np.random.default_rng(0).uniform(0.3, 2.0, (3, 4)).astype(kind)


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_launches_and_values(name: str, kind: str, kernels: list[elements.Kernel]) -> None:
    function, forward, backward = FUNCTIONS[name]
    found = []
    for device in ("cpu", "cuda"):
        x = tg.tensor(numbers(kind), device=device, requires_grad=True)
        kernels.clear()
        y = function(x)
        assert len(kernels) == (forward if device == "cuda" else 0)
        kernels.clear()
        y.backward(tg.ones(y.shape, dtype=y.dtype, device=device))
        assert len(kernels) == (backward if device == "cuda" else 0)
        assert x.grad is not None
        assert str(x.grad.dtype) == kind
        found.append([y.tolist(), x.grad.tolist()])
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-5)
    np.testing.assert_allclose(found[1][1], found[0][1], rtol=1e-4, atol=1e-6)


def looped(kernel: elements.Kernel, name: str) -> str:
    """The kernel with a loop around it, as CuPy makes one."""
    reads, writes = kernel.inputs, kernel.outputs
    parameters = [f"const {TYPES[v.dtype.char]}* a{k}" for k, v in enumerate(reads)]
    parameters += [f"{TYPES[v.dtype.char]}* b{k}" for k, v in enumerate(writes)]
    before = [f"const {TYPES[v.dtype.char]} x{k} = a{k}[i];" for k, v in enumerate(reads)]
    before += [f"{TYPES[v.dtype.char]} y{k};" for k, v in enumerate(writes)]
    after = [f"b{k}[i] = y{k};" for k in range(len(writes))]
    body = "\n".join([*before, kernel.text(), *after])
    return (
        f'extern "C" __global__ void {name}({", ".join(parameters)}) {{ for (int i = 0; i < 12; ++i) {{\n{body}\n}} }}'
    )


@pytest.fixture
def texts(kernels: list[elements.Kernel]) -> tuple[str, dict[str, elements.Kernel]]:
    """All of these kernels as one source, and by name."""
    for function, *_ in FUNCTIONS.values():
        for kind in ("float32", "float64"):
            x = tg.tensor(numbers(kind), device="cuda", requires_grad=True)
            y = function(x)
            y.backward(tg.ones(y.shape, dtype=y.dtype, device="cuda"))
    named = {f"k{n}": kernel for n, kernel in enumerate(kernels)}
    assert len(named) > 30
    return PRELUDE + "\n".join([looped(k, name) for name, k in named.items()]), named


@pytest.mark.skipif(host_kernels.COMPILER is None, reason="no g++, which stands in for a GPU's compiler here")
def test_the_text_computes_what_the_operations_do(texts: tuple[str, dict[str, elements.Kernel]]) -> None:
    source, named = texts
    launches = host_kernels.compile_for_host(source, set(named))
    rng = np.random.default_rng(1)
    for name, kernel in named.items():
        arrays = [rng.uniform(0.3, 2.0, 12).astype(v.dtype) for v in kernel.inputs]
        made = [np.empty(12, v.dtype) for v in kernel.outputs]
        launches[name](1, 1, [a.ctypes.data for a in (*arrays, *made)])
        for found, expected in zip(made, kernel.on_arrays(*arrays), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=kernel.text())


@pytest.mark.skipif(nvrtc.library() is None, reason=f"NVIDIA's compiler is not installed: {nvrtc.PACKAGES}")
def test_the_text_is_cuda(texts: tuple[str, dict[str, elements.Kernel]]) -> None:
    assert nvrtc.compile_cuda(texts[0]).count(b".entry") == len(texts[1])


def test_cupy_takes_what_is_given(texts: tuple[str, dict[str, elements.Kernel]]) -> None:
    pytest.importorskip("cupy", reason='the extras "cuda12" and "cuda13"')
    for kernel in texts[1].values():
        assert callable(cupy_backend.elementwise(kernel))


def test_what_is_a_users_is_called_once(kernels: list[elements.Kernel]) -> None:
    calls = []

    def once(x: Any) -> Any:
        calls.append(x)
        return -(x * x) + 1.0

    x = tg.ones(3, device="cuda")
    assert tg.primitive(once)(x).tolist() == [0.0] * 3
    assert len(calls) == 1
    assert not kernels


def test_numbers_of_other_dtypes_go_as_they_did(kernels: list[elements.Kernel]) -> None:
    for kind in ("float16", "complex64"):
        x = tg.ones(3, dtype=kind, device="cuda")
        np.testing.assert_allclose(tg.softplus(x).tolist(), [1.3132] * 3, rtol=1e-3)
    assert not kernels
    assert tg.softplus(tg.ones(3, dtype=tg.int64, device="cuda")).dtype == tg.float32

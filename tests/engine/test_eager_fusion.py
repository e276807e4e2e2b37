"""Eager mode on a GPU: how many launches a primitive and its rules take, and what their kernels compute."""

from __future__ import annotations

import ctypes
import hashlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from tinygrad_seq.autodiff import accumulation
from tinygrad_seq.backend import cuda_sources
from tinygrad_seq.backend import cupy as cupy_backend
from tinygrad_seq.compiler.cuda import eager_fusion
from tinygrad_seq.compiler.cuda.pointwise import Kernel
from tinygrad_seq.ops import elementwise, linalg

from . import host_kernels, nvrtc
from .strict_backend import installed, stand_in_only

pytestmark = stand_in_only

# (launches of the forward, of the backward pass); reductions are not counted
FUNCTIONS: dict[str, tuple[Callable[[Any], Any], int, int]] = {
    "softplus": (tg.softplus, 1, 1),
    "sigmoid": (tg.sigmoid, 1, 1),
    "tanh": (tg.tanh, 1, 1),
    "relu": (tg.relu, 1, 1),
    "erf": (tg.erf, 1, 1),
    "abs": (tg.abs, 1, 1),
    "sqrt": (tg.sqrt, 1, 1),
    "cos": (tg.cos, 1, 1),
    "log1p": (tg.log1p, 1, 1),
    "square": (lambda x: x**2, 1, 1),
    "quotient": (lambda x: tg.div(x, x + 3.0), 2, 2),  # both rules are one launch, and what they give is added in one
    "power": (lambda x: tg.pow(x, x + 1.0), 2, 2),
    "maximum": (lambda x: tg.maximum(x, x * x), 2, 3),
    "difference": (lambda x: x - x * 0.5, 1, 2),  # numbers that are not few and whole go as they did
    "log_softmax": (lambda x: x.log_softmax(1), 2, 1),
    "exp": (tg.exp, 1, 1),
    "transpose": (lambda x: x.T, 0, 0),
}


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Kernel]]:
    """Those that were launched."""
    launched: list[Kernel] = []
    with installed() as gpu:
        make = gpu.elementwise

        def elementwise(kernel: Kernel, arrays: Any) -> Callable[..., Any]:
            launch = make(kernel, arrays)

            def call(arrays: Any) -> Any:
                launched.append(kernel)
                return launch(arrays)

            return call

        monkeypatch.setattr(gpu, "elementwise", elementwise, raising=False)
        eager_fusion._plan.cache_clear()
        yield launched
    eager_fusion._plan.cache_clear()


def numbers(kind: str) -> Any:
    return np.random.default_rng(0).uniform(0.3, 2.0, (3, 4)).astype(kind)


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_launches_and_values(name: str, kind: str, kernels: list[Kernel]) -> None:
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


@pytest.fixture
def made(kernels: list[Kernel]) -> list[Kernel]:
    """All of these kernels, each once."""
    for function, *_ in FUNCTIONS.values():
        for kind in ("float32", "float64"):
            x = tg.tensor(numbers(kind), device="cuda", requires_grad=True)
            y = function(x)
            y.backward(tg.ones(y.shape, dtype=y.dtype, device="cuda"))
    found = {kernel.source(flat=False): kernel for kernel in kernels}
    assert len(found) > 30
    return list(found.values())


def one_source(kernels: list[Kernel]) -> tuple[str, dict[str, Kernel]]:
    """All kernels as one source, for arrays that lie element after element and for any; and by name."""
    named = {f"k{n}_{flat:d}": kernel for n, kernel in enumerate(kernels) for flat in (True, False)}
    texts = [k.source(name.endswith("_1")).replace("tg_elements", name) for name, k in named.items()]
    return cuda_sources.ARRAYS + "\n".join(texts), named


@pytest.mark.skipif(host_kernels.COMPILER is None, reason="no g++, which stands in for a GPU's compiler here")
def test_the_text_computes_what_the_operations_do(made: list[Kernel]) -> None:
    source, named = one_source(made)
    launches = host_kernels.compile_for_host(source, set(named))
    rng = np.random.default_rng(1)
    for name, kernel in named.items():
        arrays = [rng.uniform(0.3, 2.0, v.shape).astype(v.dtype) for v in kernel.inputs]
        expected = kernel.on_arrays(*arrays)
        if name.endswith("_1") and any(a.shape != expected[0].shape for a in arrays):
            continue
        outs = [np.empty(y.shape, y.dtype) for y in expected]
        held = [host_kernels.handed_over(a) for a in (*arrays, *outs)]
        launches[name](1, 32, [ctypes.addressof(a) for a in held])
        for found, right in zip(outs, expected, strict=True):
            np.testing.assert_allclose(found, right, rtol=1e-5, err_msg=kernel.source(flat=True))


@pytest.mark.skipif(nvrtc.library() is None, reason=f"NVIDIA's compiler is not installed: {nvrtc.PACKAGES}")
def test_the_text_is_cuda(made: list[Kernel]) -> None:
    source, named = one_source(made)
    assert nvrtc.compile_cuda(source).count(b".entry") == len(named)
    others = [cuda_sources.TRANSPOSED, *(cuda_sources.concatenation(n, 3, 1, "short") for n in (2, 8))]
    for text in others:
        assert nvrtc.compile_cuda(cuda_sources.ARRAYS + text).count(b".entry") == 1


# --- CuPy's backend, with NumPy's arrays and the host's compiler in place of CuPy's ---


@pytest.fixture
def on_host(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of what is launched."""
    pytest.importorskip("cupy", reason='the extras "cuda12" and "cuda13"')
    if host_kernels.COMPILER is None:
        pytest.skip("no g++, which stands in for a GPU's compiler here")
    launched: list[str] = []

    def function(source: str, name: str, _device: int) -> Any:
        own = f"{name}_{hashlib.sha256(source.encode()).hexdigest()[:16]}"  # on the host, all names are in one place
        text = cuda_sources.ARRAYS + source.replace(name, own)
        kernel = host_kernels.compile_for_host(text, {own})[own]

        def linear_launch(size: int, arrays: Any, shared: int, threads: int) -> None:
            launched.append(name)
            assert size > 0
            assert shared == 0
            held = [host_kernels.handed_over(a) for a in arrays]
            kernel(-(-size // threads), threads, [ctypes.addressof(a) for a in held])

        return linear_launch

    monkeypatch.setattr(cupy_backend, "xp", np)
    monkeypatch.setattr(np, "asnumpy", np.asarray, raising=False)
    monkeypatch.setattr(cupy_backend, "ndarray", np.ndarray)
    monkeypatch.setattr(cupy_backend, "current_device", lambda: 0)
    monkeypatch.setattr(cupy_backend, "_function", function)
    for cached in (cupy_backend.launches_elements, cupy_backend._concatenation):
        cached.cache_clear()
    yield launched
    for cached in (cupy_backend.launches_elements, cupy_backend._concatenation):
        cached.cache_clear()


def test_how_arrays_are_handed_over_is_asked(on_host: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert cupy_backend.launches_elements()
    cupy_backend.launches_elements.cache_clear()
    real = host_kernels.handed_over
    monkeypatch.setattr(host_kernels, "handed_over", lambda a: real(a.T))
    assert not cupy_backend.launches_elements()


def lying(shape: tuple[int, ...], kind: str) -> dict[str, Any]:
    """Arrays of one shape that lie differently."""
    x = np.random.default_rng(2).integers(1, 9, shape).astype(kind)
    wide = np.concatenate([x, x], -1) if shape else x
    return {
        "contiguous": x,
        "pieces": wide[..., : x.shape[-1]] if shape else x,
        "columns": np.asfortranarray(x),
        "reversed": x[::-1] if shape else x,
        "stretched": np.broadcast_to(x[:1], shape) if shape else x,
    }


@pytest.mark.parametrize("kind", ["float32", "float64", "int32", "int64"])
@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (2, 3, 4), (1, 4), (300, 7), (0, 3)], ids=str)
def test_kernels_of_arrays_that_lie_anyhow(shape: tuple[int, ...], kind: str, on_host: list[str]) -> None:
    rules = tuple(elementwise.mul.rules)
    for order, x in lying(shape, kind).items():
        for other, z in lying(shape, kind).items():
            if other not in ("contiguous", order):
                continue
            ones = tuple([n == 1 for n in shape])
            array = np.dtype(kind), ones
            for functions, args in ((rules, (x, None, z, x)), ((elementwise.add.forward,), (x, z))):
                kinds = tuple([(type(a), a) if a is None else (True, *array) for a in args])
                plan = eager_fusion._plan(cupy_backend, functions, kinds, ())
                assert plan is not None
                found = plan.bound(cupy_backend, args, several=len(functions) > 1)(args)
                expected = [x * x, x * z] if len(functions) > 1 else [x + z]
                for y, right in zip(found if len(functions) > 1 else [found], expected, strict=True):
                    np.testing.assert_array_equal(y, right)
                    assert y.dtype == right.dtype
                    assert y.flags.c_contiguous
    assert bool(on_host) == (0 not in shape)


def test_kernels_of_arrays_that_broadcast(on_host: list[str]) -> None:
    shapes = [((3, 4), (4,)), ((3, 4), ()), ((3, 1), (1, 4)), ((2, 3, 4), (3, 1)), ((4,), (3, 4)), ((1,), ())]
    for a, b in shapes:
        x, z = np.arange(math.prod(a), dtype="f").reshape(a), 1 + np.arange(math.prod(b), dtype="f").reshape(b)
        kinds = tuple([(True, v.dtype, tuple([n == 1 for n in v.shape])) for v in (x, z)])
        plan = eager_fusion._plan(cupy_backend, (elementwise.sub.forward,), kinds, ())
        assert plan is not None
        np.testing.assert_array_equal(plan.bound(cupy_backend, (x, z), several=False)((x, z)), x - z)
        with pytest.raises(ValueError, match="broadcast"):
            plan.bound(cupy_backend, (np.ones(2), np.ones(3)), several=False)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "int8", "bool"])
def test_concatenating_is_one_launch(kind: str, on_host: list[str]) -> None:
    x = np.random.default_rng(3).integers(0, 2, (4, 3, 6)).astype(kind)
    for axis in (0, 1, 2, -1):
        for pieces in (np.split(x, x.shape[axis], axis), [x, x.copy(order="F"), x[:, ::-1]]):
            on_host.clear()
            found = cupy_backend.concatenate(tuple(pieces), axis)
            np.testing.assert_array_equal(found, np.concatenate(pieces, axis))
            assert on_host[-1] == "tg_concatenate"
    on_host.clear()
    for others in ([x], [x] * 9, [x[:0], x[:0]], [x, x.astype("int64")], [np.ones(2), np.ones(3, "c16")]):
        np.testing.assert_array_equal(cupy_backend.concatenate(tuple(others), 0), np.concatenate(others))
    assert not on_host
    with pytest.raises(ValueError, match="dimension"):
        cupy_backend.concatenate((x, x[0]), 0)


# --- the products of a weight ---


@pytest.mark.parametrize(("many", "products"), [(1, 14), (6, 7), (20, 2), (2048, 1)])
def test_products_of_one_weight_are_one_of_many_rows(
    many: int, products: int, kernels: list[Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linalg, "MANY", many)
    monkeypatch.setattr(accumulation, "MANY", many)
    made: list[int] = []
    real = linalg._transposed_product

    def product(a: Any, b: Any) -> Any:
        made.append(len(a))
        return real(a, b)

    monkeypatch.setattr(linalg, "_transposed_product", product)
    found: list[Any] = []
    for device in ("cpu", "cuda", "cuda"):  # the first time there, functions are watched
        made.clear()
        tg.manual_seed(0)
        w, x = (tg.randn(n, 4, device="cpu").to(device).requires_grad_() for n in (4, 3))
        h = x
        for _ in range(14):
            h = tg.linear(h, w).tanh()
        (h * h).sum().backward()
        found.append([v.grad.tolist() for v in (w, x) if v.grad is not None])
    assert sum(made) == 14 * 3
    assert len(made) == products
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-5)
    np.testing.assert_allclose(found[1][1], found[0][1], rtol=1e-5)


# --- which functions ---


def test_a_function_whose_numbers_are_lengths_is_left_alone(kernels: list[Kernel]) -> None:
    def halved(x: Any) -> Any:
        return x * float(len(x))

    halved.__module__ = "tinygrad_seq.ops.made_up"
    assert tg.primitive(halved)(tg.ones(5, device="cuda")).tolist() == [5.0] * 5
    assert not kernels


def test_what_is_a_users_is_called_once(kernels: list[Kernel]) -> None:
    calls = []

    def once(x: Any) -> Any:
        calls.append(x)
        return -(x * x) + 1.0

    x = tg.ones(3, device="cuda")
    assert tg.primitive(once)(x).tolist() == [0.0] * 3
    assert len(calls) == 1
    assert not kernels


def test_numbers_of_other_dtypes_go_as_they_did(kernels: list[Kernel]) -> None:
    for kind in ("float16", "complex64"):
        x = tg.ones(3, dtype=kind, device="cuda")
        np.testing.assert_allclose(tg.softplus(x).tolist(), [1.3132] * 3, rtol=1e-3)
    assert not kernels
    assert tg.softplus(tg.ones(3, dtype=tg.int64, device="cuda")).dtype == tg.float32

"""The GPU's executor on a stand-in for a GPU: its kernels are compiled for the host, its graphs are lists of calls.

And the CUDA C++ that it makes goes through NVIDIA's compiler, which needs no GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nn
import nn.functional as F
import tinygrad_seq as tg
from nn import optim
from tinygrad_seq.backend import cuda_sources

from ..engine import host_kernels, nvrtc
from ..engine.op_cases import DIFFERENTIABLE, WITHOUT_DERIVATIVE
from ..engine.strict_array import REAL, captured, installed, is_on_device, stand_in_only
from ..profiles import one_in
from .test_agreement import LAYERS, OPTIMIZERS, VALUE_DEPENDENT, applied

pytestmark = pytest.mark.skipif(
    host_kernels.COMPILER is None and not REAL, reason="no g++, which stands in for a GPU here"
)


@pytest.fixture(autouse=True, scope="module")
def gpu() -> Iterator[Any]:
    with installed() as backend:
        yield backend


def close(a: Any, b: Any, tolerance: float = 1e-10) -> None:
    """Values on the device and on the host."""
    if isinstance(a, tg.Tensor):
        assert is_on_device(a.array)
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a.tolist(), b.tolist(), rtol=tolerance, atol=tolerance)
    elif isinstance(a, (tuple, list)):
        for x, y in zip(a, b, strict=True):
            close(x, y, tolerance)
    else:
        assert a == b


@pytest.mark.parametrize("name", sorted((DIFFERENTIABLE | WITHOUT_DERIVATIVE).keys() - VALUE_DEPENDENT - {"to_device"}))
@one_in(12)
@given(data=st.data())
def test_every_primitive_and_its_gradient(name: str, data: st.DataObject) -> None:
    call = data.draw((DIFFERENTIABLE | WITHOUT_DERIVATIVE)[name])
    run = applied(name, call.arrays, call.params)

    def on_device(*tensors: tg.Tensor) -> Any:
        with tg.device("cuda"):
            return run(*tensors)

    compiled = tg.compile(on_device)
    for _ in range(3):  # launched one by one, captured, launched at once
        if not any(a.size for a in call.arrays):
            return
        expected = run(*[tg.tensor(a) for a in call.arrays])
        close(compiled(*[tg.tensor(a, device="cuda") for a in call.arrays]), expected)
        call = call._replace(arrays=[a * 0.5 if a.dtype.kind == "f" else a for a in call.arrays])


UNARY = ["tanh", "sigmoid", "exp", "relu", "neg", "sin", "abs", "erf", "sign"]
BINARY = ["add", "sub", "mul", "maximum", "minimum"]
OVER_ROWS = ["sum", "max", "softmax", "log_softmax", "centred", "sum of rows", "kept"]


@one_in(2)
@given(
    seed=st.integers(0, 2**16),
    steps=st.lists(
        st.tuples(
            st.sampled_from([*UNARY, *BINARY, *OVER_ROWS, *OVER_ROWS, "where", "T", "half", "cat", "div", "compare"]),
            st.integers(0, 9),
            st.integers(0, 9),
        ),
        min_size=1,
        max_size=25,
    ),
    shape=st.sampled_from([(3, 5), (2, 1), (1, 70), (2, 3, 4), (6,), ()]),
    dtype=st.sampled_from([tg.float32, tg.float64]),
)
def test_random_programs(seed: int, steps: list[tuple[str, int, int]], shape: tuple[int, ...], dtype: Any) -> None:
    """Elements and rows, with views, broadcasting, parts written apart, and gradients through all of it."""
    rng = np.random.default_rng(seed)

    def over_rows(op: str, a: tg.Tensor, b: tg.Tensor) -> tg.Tensor:
        if op == "sum":
            return a * 0.1 - b.sum(-1, keepdim=True) * 0.1
        if op == "max":
            return tg.tanh(a) + b.amax(-1, keepdim=True)
        if op in ("softmax", "log_softmax"):
            return getattr(b, op)(-1) + a * 0.5
        if op == "centred":
            mean = a.mean(-1, keepdim=True)
            return (a - mean) / tg.sqrt(((a - mean) ** 2).mean(-1, keepdim=True) + 0.1)
        if op == "kept":
            return a + tg.exp(-tg.abs(b.sum(-1))).unsqueeze(-1)
        return (tg.tanh(a.sum(-1)) * b.mean(-1)).unsqueeze(-1) + a

    def f(x: tg.Tensor, row: tg.Tensor) -> Any:
        x, row = x.detach().requires_grad_(), row.detach().requires_grad_()
        made = [x, x * row, row + x * 0.5]
        for op, i, j in steps:
            a, b = made[i % len(made)], made[j % len(made)]
            if op in UNARY:
                made.append(getattr(tg, op)(tg.tanh(a)))
            elif op in BINARY:
                made.append(tg.tanh(getattr(tg, op)(a, b)))
            elif op == "where":
                made.append(tg.where((a > b) & (a != 0), a, b * 2.0))
            elif op == "compare":
                made.append((a < b).to(a.dtype) * a)
            elif op == "div":
                made.append(a / (tg.abs(b) + 1.0))
            elif not shape:
                continue
            elif op in OVER_ROWS:
                made.append(over_rows(op, a, b))
            elif op == "T":
                made.append((a.reshape(a.shape[::-1]) * 2.0).permute(*range(a.ndim)[::-1]))
            elif op == "half":
                n = a.shape[-1] // 2
                made.append(tg.cat([a[..., n:], b[..., :n] * 0.5], -1))
            else:
                made.append(tg.stack([r * 2.0 for r in a.unbind(0)]) + b[:1])
        loss = sum([(m * m).mean() for m in made[-4:]], start=x.sum() * 0.0)
        loss.backward()
        return [m.detach() for m in made[-3:]], x.grad, row.grad

    compiled = tg.compile(f)
    tolerance = 1e-9 if dtype == tg.float64 else 2e-3
    for _ in range(3):
        arrays = [rng.standard_normal(s).astype(dtype) for s in (shape, shape[-1:])]
        expected = f(*[tg.tensor(a) for a in arrays])
        close(compiled(*[tg.tensor(a, device="cuda") for a in arrays]), expected, tolerance)


def trained(device: str, make_layer: Any, make_optimizer: Any, compiled: bool, steps: int = 5) -> Any:
    tg.manual_seed(3)
    layer = make_layer().double().to(device)
    optimizer = make_optimizer(layer.parameters())
    schedule = optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)
    stream = tg.Generator(5)

    def step(x: tg.Tensor) -> tg.Tensor:
        y, _ = layer(x)
        loss = F.mse_loss(y, tg.zeros_like(y) + 0.3)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(layer.parameters(), 0.5)
        optimizer.step()
        return loss.detach()

    run = tg.compile(step) if compiled else step
    seen = []
    for _ in range(steps):
        seen.append(run(tg.randn(6, 3, 4, dtype=tg.float64, generator=stream, device=device)).item())
        schedule.step()
    seen += [p.grad.tolist() for p in layer.parameters()] + [p.tolist() for p in layer.parameters()]
    state = optimizer.state_dict()["state"]
    seen += [v.tolist() if isinstance(v, tg.Tensor) else v for s in state.values() for v in s.values()]
    return seen


def agree(a: Any, b: Any) -> None:
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_trains_as_on_the_host(layer: str) -> None:
    made = LAYERS[layer], OPTIMIZERS["Adam"]
    agree(trained("cuda", *made, compiled=True), trained("cpu", *made, compiled=False))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_trains_as_on_the_host(optimizer: str) -> None:
    made = LAYERS["RNN"], OPTIMIZERS[optimizer]
    agree(trained("cuda", *made, compiled=True), trained("cpu", *made, compiled=False))


def test_the_same_masks_and_samples_as_on_the_host() -> None:
    def draw(p: tg.Tensor) -> Any:
        chosen = tg.multinomial(p, 3, replacement=True), tg.randint(9, (4,), device=p.device)
        return F.dropout(tg.ones(4, 5, device=p.device), 0.5), *chosen, tg.rand(11, device=p.device)

    found = []
    for device, run in (("cpu", draw), ("cuda", tg.compile(draw))):
        tg.manual_seed(1)
        p = tg.tensor([0.2, 0.3, 0.5], device=device)
        found.append([[y.tolist() for y in run(p)] for _ in range(4)] + [tg.rand(2).tolist()])
    assert found[0] == found[1]


@stand_in_only
def test_a_step_is_one_launch(gpu: Any) -> None:
    """After it was launched in parts and captured: one for the step, one for the new parameters and optimizer state."""
    model = nn.LSTM(3, 4).to("cuda")
    optimizer = optim.Adam(model.parameters())

    @tg.compile
    def step(x: tg.Tensor) -> None:
        optimizer.zero_grad()
        model(x)[0].sum().backward()
        optimizer.step()

    x = tg.randn(5, 2, 3, device="cuda")
    for _ in range(4):
        step(x)
    before = gpu.launches
    step(x)
    assert gpu.launches == before + 2
    (note,) = [n for n in step.programs[0].notes if n.startswith("cuda: ")]
    assert "operations on elements and rows in" in note


class Odd(optim.SGD):
    """An optimizer that asks for a number."""

    def update(self, p: tg.Tensor, g: tg.Tensor, state: dict[str, Any], group: dict[str, Any]) -> tg.Tensor:
        return p - g * (0.5 if g.sum().item() > 0 else 0.25)


@stand_in_only
@pytest.mark.parametrize("name", [*OPTIMIZERS, "Odd"])
def test_an_eager_step_is_fused(name: str, gpu: Any) -> None:
    """From the third step on, the changes of all parameters are one launch beside what brings the gradients in."""
    make = OPTIMIZERS.get(name, lambda p: Odd(p))
    found = []
    for device in ("cpu", "cuda"):
        p = [tg.tensor([1.0, -2.0, 3.0], dtype=tg.float64, device=device), tg.ones(2, 2, device=device)]
        optimizer = make([x.requires_grad_() for x in p])
        for k in range(7):
            for x in p:
                x.grad = (x.detach() * 0.3 + k).clone()
            before = gpu.launches
            optimizer.step()
        found.append([x.tolist() for x in p])
    launches = gpu.launches - before
    assert launches == 2  # and of Odd, which is not fused, a difference for each parameter
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    copied = __import__("copy").deepcopy(optimizer)
    copied.step()


FUSED: dict[str, tuple[Callable[..., Any], int]] = {
    "softmax": (lambda x: x.softmax(-1), 1),
    "log_softmax": (lambda x: x.log_softmax(-1), 1),
    "layer_norm": (lambda x: F.layer_norm(x, (65,)), 1),
    "a chain": (lambda x: tg.tanh(x * 2.0 + 1.0) * tg.sigmoid(x), 1),
    "logsumexp": (lambda x: x.logsumexp(-1), 1),
}


@pytest.mark.parametrize("name", FUSED)
def test_how_many_launches(name: str, gpu: Any) -> None:
    function, launches = FUSED[name]
    compiled, x = tg.compile(function), tg.randn(6, 65, device="cuda")
    compiled(x)
    notes = compiled.programs[0].notes
    assert [n for n in notes if f"in {launches} launches" in n], notes
    close(compiled(x), function(x.cpu()), 1e-5)


def test_cross_entropy_and_its_gradient_take_few_launches() -> None:
    def f(x: tg.Tensor, target: tg.Tensor) -> Any:
        x = x.detach().requires_grad_()
        loss = F.cross_entropy(x, target)
        loss.backward()
        return loss.detach(), x.grad

    compiled = tg.compile(f)
    x, target = tg.randn(6, 65), tg.randint(65, (6,))
    for _ in range(3):
        close(compiled(x.to("cuda"), target.to("cuda")), f(x, target), 1e-5)
    (note,) = [n for n in compiled.programs[0].notes if n.startswith("cuda: ")]
    assert int(note.partition(" in ")[2].split()[0]) <= 5, note


def test_a_kernel_ends_where_a_view_is_taken_of_what_it_makes() -> None:
    def f(x: tg.Tensor) -> tg.Tensor:
        y = tg.tanh(x)
        return y.T * 2.0 + y

    x = tg.randn(40, 40)
    close(tg.compile(f)(x.to("cuda")), f(x), 1e-5)


def test_a_kernel_ends_where_memory_that_it_reads_is_handed_on() -> None:
    def f(x: tg.Tensor) -> list[tg.Tensor]:
        made = [(x @ x).T + 1.0]  # read across the grain, and then nobody's
        for k in range(90):
            made.append(tg.tanh(made[-1]) + 0.01 * k)
        return made

    x = tg.randn(40, 40)
    close(tg.compile(f)(x.to("cuda")), f(x), 1e-5)


def test_nan_is_the_largest_and_the_smallest() -> None:
    def f(x: tg.Tensor, y: tg.Tensor) -> list[tg.Tensor]:
        return [tg.minimum(x, y), tg.maximum(x, y), tg.minimum(y, x), x.amax(-1), y.amin(-1)]

    x, y = tg.tensor([[1.0, float("nan"), 2.0]] * 20), tg.tensor([[0.5, 1.0, 3.0]] * 20)
    close(tg.compile(f)(x.to("cuda"), y.to("cuda")), f(x, y))


def test_what_moves_is_looked_for_again(gpu: Any) -> None:
    weight = tg.ones(3, device="cuda")
    compiled = tg.compile(lambda x: x * weight + 1.0)
    x = tg.tensor([1.0, 2.0, 3.0], device="cuda")
    for k in range(6):
        weight.data = tg.full((3,), float(k), device="cuda")
        assert compiled(x).tolist() == [k + 1, 2 * k + 1, 3 * k + 1]
    assert len(compiled.programs) == 1


def test_another_device_is_another_program() -> None:
    weight = tg.ones(3, device="cpu")
    compiled = tg.compile(lambda x: (x.detach() + weight) * 2.0)
    assert compiled(tg.ones(3, device="cpu")).tolist() == [4, 4, 4]
    weight.data = weight.to("cuda")
    assert compiled(tg.ones(3, device="cuda")).tolist() == [4, 4, 4]
    assert len(compiled.programs) == 2
    with pytest.raises(tg.CompileError, match=r"lives on cuda:0, and what .* met before on cpu; .* \.to\('cpu'\)"):
        compiled(tg.ones(3, device="cpu"))


def test_moving_inside_is_refused() -> None:
    compiled = tg.compile(lambda x: x.to("cuda") + 1.0)
    with pytest.raises(tg.CompileError, match=r"a tensor is made on cuda:0, and what .* met before on cpu"):
        compiled(tg.ones(2, device="cpu"))


def test_checks_look_at_numbers_between_graphs(gpu: Any) -> None:
    table = nn.Embedding(4, 3).to("cuda")

    @tg.compile
    def f(p: tg.Tensor) -> tg.Tensor:
        y = tg.tanh(p * 2.0) + table.weight.detach()[0, 0]
        return y + tg.bernoulli(p) * 0.0 + (y * y).sum()

    for _ in range(3):
        p = tg.full((3,), 0.5, device="cuda")
        assert f(p).device.type == "cuda"
    assert any("depend on the host: 1 require" in n for n in f.programs[0].notes)
    with pytest.raises(ValueError, match="probabilities"):
        f(tg.full((3,), 2.0, device="cuda"))
    assert not captured


def test_what_cannot_be_captured_is_launched_one_by_one(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(function: Any, index: int = 0) -> Any:
        raise NotImplementedError("calling cuBLAS API during stream capture")

    monkeypatch.setattr(gpu, "capture", refuses, raising=False)
    compiled, x = tg.compile(lambda x: (x @ x).softmax(-1) @ x), tg.randn(3, 3, device="cuda")
    for _ in range(4):
        close(compiled(x), compiled.function(x.cpu()), 1e-5)
    assert [n for n in compiled.programs[0].notes if "one by one" in n and "cuBLAS" in n]


@stand_in_only
def test_asking_for_a_number_while_captured_is_an_error(gpu: Any) -> None:
    """The stand-in is as strict as a GPU here, or the tests above would show nothing."""
    x = tg.ones(2, device="cuda")
    with pytest.raises(RuntimeError, match="capturing"):
        gpu.capture(lambda: x.sum().item())
    made: list[tg.Tensor] = []
    launch = gpu.capture(lambda: made.append(x + 1.0))
    assert np.isnan(made[0].tolist()).all()
    launch()
    assert made[0].tolist() == [2, 2]


# --- NVIDIA's compiler ---


@pytest.fixture
def sources(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What programs hand to the compiler from now on."""
    seen: list[str] = []
    real = gpu.kernels

    def kernels(source: str, names: set[str], index: int = 0) -> Any:
        seen.append(source)
        return real(source, names, index)

    monkeypatch.setattr(gpu, "kernels", kernels, raising=False)
    return seen


needs_nvrtc = pytest.mark.skipif(nvrtc.library() is None, reason=f"no NVRTC; its wheel is {nvrtc.PACKAGES}")


@stand_in_only
@needs_nvrtc
@pytest.mark.parametrize("architecture", ["compute_75", "compute_90"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_kernels_of_a_training_step_compile(architecture: str, dtype: str, sources: list[str]) -> None:
    layers = [nn.Embedding(5, 4), nn.LSTM(4, 6, 2, dropout=0.2), nn.LayerNorm(6), nn.Linear(6, 5)]
    model = nn.ModuleList(layers).to(dtype).to("cuda")
    embedding, recurrent, norm, head = model
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    @tg.compile
    def step(tokens: tg.Tensor) -> tg.Tensor:
        scores = head(norm(recurrent(embedding(tokens[:-1]))[0]))
        loss = F.cross_entropy(scores.reshape(-1, 5), tokens[1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        return loss.detach()

    tokens = tg.tensor(np.arange(24).reshape(8, 3) % 5, device="cuda")
    for _ in range(2):
        step(tokens)
    assert max(source.count("__global__") for source in sources) > 10
    for source in sources:
        assert b".entry" in nvrtc.compile_cuda(source, architecture)


@stand_in_only
@needs_nvrtc
def test_a_block_has_registers_for_all_its_threads(sources: list[str]) -> None:
    """The compiler is told how many there are: 512 threads with 255 registers each would not start at all."""

    @tg.compile
    def long(x: tg.Tensor) -> tg.Tensor:
        for k in range(20):
            x = tg.exp(x.softmax(-1) * 0.1) + tg.tanh(x + 0.1 * k)
        return x

    long(tg.randn(3, 2000, device="cuda"))
    ptx = b"".join([nvrtc.compile_cuda(source) for source in [*sources, cuda_sources.ADD_ROWS]])
    assert b".maxntid 512" in ptx
    assert b".maxntid 1024" in ptx
    own = sum([source.count("__global__") for source in sources])
    assert ptx.count(b".maxntid") == own + 1
    assert b".f64" not in b"".join([nvrtc.compile_cuda(source) for source in sources])  # a float32 program's


@needs_nvrtc
def test_a_wrong_kernel_does_not_compile() -> None:
    with pytest.raises(AssertionError, match="undefined"):
        nvrtc.compile_cuda('extern "C" __global__ void k(float* a) { a[0] = missing; }')


ALL_KINDS: list[Callable[[tg.Tensor], Any]] = [
    lambda x: x.to(tg.int32) * 2 + x.to(tg.uint8).to(tg.int32),
    lambda x: (x.to(tg.int16) < 3) | (x.long() == 2) & ~(x > 1),
    lambda x: tg.where(x > 0, tg.log1p(tg.abs(x)), tg.expm1(x)) ** 1.5,
    lambda x: tg.floor(x) + tg.ceil(x) + tg.round(x) + tg.trunc(x) + tg.erf(x) + tg.cos(x) * tg.log(tg.exp(x)),
    lambda x: tg.isnan(x / 0.0) | tg.isinf(x / 0.0) | tg.isfinite(x) | (x == float("inf")) | (x != float("nan")),
    lambda x: tg.maximum(x, float("-inf")) + x.clamp(-1e-3, 1e30) - x.square().reciprocal(),
    lambda x: x.prod(-1) + x.amin(-1) + (x * 2.0).amax(-1) + x.sum(-1),
]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("f", ALL_KINDS)
def test_all_types_compute_and_compile(f: Any, dtype: str, sources: list[str]) -> None:
    x = tg.tensor([[1.5, -2.0, 0.25, 3.0], [-0.0, 4.0, 1.0, 2.5]]).to(dtype)
    x = x if dtype != "int64" else x + 5
    with np.errstate(all="ignore"):
        try:
            expected = f(x)
        except (TypeError, RuntimeError):
            return  # not of integers
        close(tg.compile(f)(x.to("cuda")), expected, 1e-5)
    if nvrtc.library() is not None:
        for source in sources:
            nvrtc.compile_cuda(source)


# --- what is written by hand ---


@needs_nvrtc
@pytest.mark.parametrize("source", [cuda_sources.PHILOX, cuda_sources.ADD_ROWS])
def test_the_backends_own_kernels_compile(source: str) -> None:
    assert nvrtc.compile_cuda(source).count(b".entry") == source.count("__global__")


def test_random_bits_are_numpys() -> None:
    from tinygrad_seq.backend import numpy as host

    launch = host_kernels.compile_for_host(cuda_sources.PHILOX, {"tg_philox"})["tg_philox"]
    for seed, start, count in ((0, 0, 8), (2**63 + 11, 5, 1000), (7, 2**64 - 2, 3)):
        out = np.zeros(count, np.uint32)
        launch(4, 256, [seed, start, count, out.ctypes.data])
        np.testing.assert_array_equal(out, host.random_bits(seed, start, count))


@pytest.mark.parametrize(("count", "length"), [(1, 1), (5, 2), (200, 65), (64, 1000), (129, 3)])
def test_rows_are_sorted_in_place_of_a_library(count: int, length: int) -> None:
    name = "tg_sort_rows"
    launch = host_kernels.compile_for_host(cuda_sources.ADD_ROWS, {name})[name]
    rows = np.random.default_rng(count).integers(0, length, count)
    table = np.full((4, count), -1)
    launch(1, 32, [rows.ctypes.data, table.ctypes.data, count, (length - 1).bit_length()])
    order = np.argsort(rows, kind="stable")
    np.testing.assert_array_equal(table[0], rows[order])
    np.testing.assert_array_equal(table[1], order)


@pytest.mark.parametrize("kind", ["f", "d"])
def test_rows_are_added_up_in_order(kind: str) -> None:
    name = f"tg_add_rows_{kind}"
    launch = host_kernels.compile_for_host(cuda_sources.ADD_ROWS, {name})[name]
    rng = np.random.default_rng(0)
    index, values = rng.integers(0, 5, 40), rng.standard_normal((40, 7)).astype(kind)
    order = np.argsort(index, kind="stable")
    out, expected = np.ones((5, 7), kind), np.ones((5, 7), kind)
    launch(2, 256, [a.ctypes.data for a in (index[order], order, values, out)] + [40, 7])
    np.add.at(expected, index, values)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


def test_many_rows_that_are_added_up_lose_nothing() -> None:
    launch = host_kernels.compile_for_host(cuda_sources.ADD_ROWS, {"tg_add_rows_f"})["tg_add_rows_f"]
    count = 30000
    rows, order = np.zeros(count, np.int64), np.arange(count)
    values, out = np.full((count, 3), 0.1, "f"), np.zeros((1, 3), "f")
    launch(count * 3 // 256 + 1, 256, [a.ctypes.data for a in (rows, order, values, out)] + [count, 3])
    np.testing.assert_allclose(out, count * float(np.float32(0.1)), rtol=1e-7)

"""What only a GPU can show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg

from .engine.strict_backend import DEVICE

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE == "strict" or not tg.cuda.is_available(), reason="no GPU, or none that CuPy can use"),
]


def test_memory_is_counted() -> None:
    before = tg.cuda.memory_allocated()
    tg.cuda.reset_peak_memory_stats()
    x = tg.zeros(2**20, device="cuda")
    assert tg.cuda.memory_allocated() >= before + x.numel() * 4
    del x
    assert tg.cuda.memory_allocated() == before
    assert tg.cuda.max_memory_allocated() >= before + 2**22
    free, whole = tg.cuda.mem_get_info()
    assert 0 < free <= whole
    tg.cuda.empty_cache()


def test_too_much_is_refused_and_work_goes_on() -> None:
    whole = tg.cuda.mem_get_info()[1]
    with pytest.raises(tg.cuda.OutOfMemoryError, match="GiB were asked for"):
        tg.zeros(whole // 2, device="cuda")
    assert tg.ones(3, device="cuda").sum().item() == 3


def test_pinned_batches_arrive() -> None:
    batch = tg.randn(1000, 100).pin_memory()
    assert batch.is_pinned()
    moved = batch.to("cuda", non_blocking=True)
    np.testing.assert_array_equal(moved.cpu().numpy(), batch.numpy())


def test_memory_is_shared_with_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the other side")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    x = tg.zeros(3, device="cuda")
    shared = torch.from_dlpack(x)
    shared += 1
    torch.cuda.synchronize()
    assert x.tolist() == [1, 1, 1]
    assert tg.from_dlpack(shared).device == "cuda:0"


def test_a_step_is_a_graph() -> None:
    model = nn.LSTM(3, 4, 2).to("cuda")
    optimizer = nn.optim.Adam(model.parameters())

    @tg.compile
    def step(x: tg.Tensor) -> tg.Tensor:
        loss = (model(x)[0] ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    losses = [step(tg.ones(5, 2, 3, device="cuda")).item() for _ in range(20)]
    assert losses[-1] < losses[0]
    assert not [note for note in step.programs[0].notes if "one by one" in note]


def test_the_same_random_numbers_as_on_the_cpu() -> None:
    found = []
    for device in ("cpu", "cuda"):
        tg.manual_seed(3)
        found.append(tg.rand(1001, device=device).tolist())
    assert found[0] == found[1]


LAYOUTS: dict[str, Callable[[tg.Tensor], tg.Tensor]] = {
    "contiguous": lambda x: x,
    "pieces": lambda x: x.chunk(2, dim=-1)[1],
    "transposed": lambda x: x.T,
    "columns": lambda x: x[:, :1],
    "rows": lambda x: x[0],
    "expanded": lambda x: x[:1].expand(*x.shape),
    "flipped": lambda x: x.flip(1),
    "0-d": lambda x: x[1, 1],
    "empty": lambda x: x[:0],
}
OPERATIONS: dict[str, Callable[[tg.Tensor], tg.Tensor]] = {
    "add": lambda x: x + x,
    "sub": lambda x: x - 2,
    "mul": lambda x: x * x,
    "div": lambda x: x / (x + 3),
    "neg": lambda x: -x,
    "tanh": lambda x: x.tanh(),
    "sigmoid": lambda x: x.sigmoid(),
    "exp": lambda x: (x / 8).exp(),
    "relu": lambda x: (x - 2).relu(),
    "where": lambda x: tg.where(x > 2, x, 0),
    "number": lambda x: x * 0.37,
    "softplus": lambda x: tg.softplus(x),
    "log_softmax": lambda x: x.log_softmax(-1) if x.ndim else x,
    "max": lambda x: tg.maximum(x, 2),
    "cat": lambda x: tg.cat([x, x * 2, x], dim=-1) if x.ndim else x,
    "with a row": lambda x: x * x[..., :1] if x.ndim else x,
    "with a number of its own": lambda x: x + x.sum() * 0.5,
}


@pytest.mark.parametrize("kind", ["float32", "float64", "float16", "int64", "bool"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_elements_are_what_they_are_on_the_cpu(name: str, kind: str) -> None:
    """However they lie: forward, and backward where there is one."""
    numbers = np.random.default_rng(0).integers(0, 5, (4, 4)).astype(kind)
    rtol = {"float64": 1e-12, "float16": 1e-2}.get(kind, 2e-5)
    for layout, view in LAYOUTS.items():
        found: list[Any] = []
        for device in ("cpu", "cuda"):
            x = tg.tensor(numbers, device=device, requires_grad=kind in ("float32", "float64"))
            try:
                y = OPERATIONS[name](view(x))
            except (TypeError, ValueError) as error:
                found.append([type(error), "refused"])
                continue
            gradient = None
            if x.requires_grad:
                (y * y).sum().backward()
                gradient = x.grad
            found.append([str(y.dtype), y.detach().cpu().numpy(), None if gradient is None else gradient.cpu().numpy()])
        assert found[0][0] == found[1][0], layout
        for a, b in zip(found[0][1:], found[1][1:], strict=True):
            if isinstance(a, np.ndarray):
                assert a.shape == b.shape
                np.testing.assert_allclose(b, a, rtol=rtol, atol=rtol, err_msg=layout)
            else:
                assert a == b


def test_kernels_get_arrays_as_they_read_them() -> None:
    """Or eager mode would fall back to CuPy's own operations."""
    assert tg.device("cuda").backend_module.launches_elements()


@pytest.mark.parametrize(("T", "B"), [(7, 3), (30, 100)])  # few rows of a weight's products, and many
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_are_what_they_are_on_the_cpu(kind: str, T: int, B: int) -> None:
    found = []
    for device in ("cpu", "cuda"):
        tg.manual_seed(0)
        with tg.device("cpu"):
            module, x = getattr(nn, kind)(5, 6, 2), tg.randn(T, B, 5)
        module.to(device)
        output, _ = module(x.to(device))
        (output * output).sum().backward()
        gradients = [p.grad.cpu().numpy() for p in module.parameters() if p.grad is not None]
        found.append([output.detach().cpu().numpy(), *gradients])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5 * max(1.0, abs(a).max()))


@pytest.mark.parametrize("dim", [None, 0, 1])
def test_the_smallest_of_a_compiled_function(dim: int | None) -> None:
    x = np.random.default_rng(0).standard_normal((5, 4))
    for numbers in (x, (x * 10).astype("int64")):
        found = tg.compile(lambda x: x.amin(dim))(tg.tensor(numbers, device="cuda"))
        np.testing.assert_array_equal(found.cpu().numpy(), numbers.min(axis=dim))

"""What only a GPU can show."""

from __future__ import annotations

import numpy as np
import pytest

import nn
import tinygrad_seq as tg

from .engine.strict_array import DEVICE

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

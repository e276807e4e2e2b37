"""The GPU's executor on a stand-in for a GPU: its kernels are compiled for the host, its graphs are lists of calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nn
import nn.functional as F
import tinygrad_seq as tg
from nn import optim

from ..engine.strict_array import captured
from ..engine.strict_backend import is_on_device, stand_in_only
from .test_agreement import OPTIMIZERS

pytestmark = pytest.mark.usefixtures("gpu")


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

"""Whatever a check touches is afterwards as it was."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg

X = np.random.default_rng(0).standard_normal((6, 4))


class Norm(nn.Module):
    """A batch normalisation that counts its calls in every way there is."""

    mean: tg.Tensor
    square: tg.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(tg.ones(4))
        self.register_buffer("mean", tg.zeros(4))
        self.register_buffer("square", tg.zeros(4))
        self.history: list[int] = []
        self.calls = 0

    def forward(self, x: Any) -> Any:
        if self.training:
            self.mean = self.mean * 0.9 + x.detach().mean(0) * 0.1
            with tg.no_grad():
                self.square.add_(1.0)
            self.history.append(1)
            self.calls += 1
        return (x - (x.mean(0) if self.training else self.mean)) * self.weight


def state(m: Any) -> Any:
    return (
        m.mean.detach().cpu().numpy().tolist(),
        str(m.mean.dtype),
        m.square.cpu().numpy().tolist(),
        list(m.history),
        m.calls,
        m.training,
        None if m.weight.grad is None else m.weight.grad.cpu().numpy().tolist(),
        m.weight.detach().cpu().numpy().tolist(),
    )


@pytest.mark.parametrize("check", [tg.gradcheck, tg.gradgradcheck])
@pytest.mark.parametrize("how", ["module", "function", "method", "in a list"])
def test_a_module_in_training_mode(check: Any, how: str) -> None:
    m = Norm()
    (m(tg.tensor(X.astype("float32"))) ** 2).sum().backward()
    before = state(m)
    parts = [m]
    f = {"module": m, "function": lambda x: m(x), "method": m.forward, "in a list": lambda x: parts[0](x)}[how]
    assert check(f, X)
    assert state(m) == before
    assert m.eval()(tg.tensor(X)).dtype == tg.float64


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_also_when_it_raises_or_is_interrupted(error: type[BaseException], capsys: pytest.CaptureFixture[str]) -> None:
    m = Norm()
    before = state(m)
    calls = [0]

    def f(x: Any) -> Any:
        calls[0] += 1
        y = m(x)
        if calls[0] > (3 if error is ValueError else 25):
            raise error("enough")
        return y

    if error is ValueError:
        report = tg.gradcheck(f, X, raise_exception=False)
        assert report.problems == ["the function, called once more, raises ValueError: enough"]
    else:
        with pytest.raises(KeyboardInterrupt) as caught:
            tg.gradcheck(f, X)
        assert "interrupted after" in caught.value.__notes__[0]
        assert "interrupted after" in capsys.readouterr().err
    assert state(m) == before


def test_random_generators() -> None:
    own, theirs = tg.Generator(3), np.random.default_rng(3)

    def draws() -> Any:
        return random.random(), np.random.rand(), tg.rand(1).item(), theirs.random()  # noqa: NPY002

    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    tg.manual_seed(1)
    expected = draws()
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    tg.manual_seed(1)
    theirs = np.random.default_rng(3)
    start = own.get_state()

    def f(x: Any) -> Any:
        seeded = tg.Generator(5)
        tg.rand(2, generator=own)
        theirs.random()
        return x * tg.rand(6, 4) * np.random.rand() * random.random() * tg.rand(1, generator=seeded).item()  # noqa: NPY002

    assert tg.gradcheck(f, X)
    assert own.get_state() == start
    assert draws() == expected


def test_gradients_of_what_a_function_closes_over() -> None:
    weight = tg.tensor(X, requires_grad=True)
    for check in (tg.gradcheck, tg.gradgradcheck):
        assert check(lambda x: (x * weight).tanh(), X)
        assert weight.grad is None


def test_a_module_of_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    m = torch.nn.BatchNorm1d(4).double()
    before = {name: value.clone() for name, value in m.state_dict().items()}
    for f in (m, lambda x: m(x)):
        assert tg.gradcheck(f, torch.tensor(X))
        assert all(torch.equal(value, before[name]) for name, value in m.state_dict().items())
        assert all(p.grad is None for p in m.parameters())
        assert m.training

"""Whatever a check touches is afterwards as it was."""

from __future__ import annotations

import random
from functools import partial
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


STREAMS: dict[str, Any] = {
    "tg's": lambda: (g := tg.Generator(3), lambda: tg.rand(6, 4, generator=g).cpu().numpy()),
    "NumPy's": lambda: (g := np.random.default_rng(3), lambda: g.random((6, 4))),
    "NumPy's, by its method": lambda: (g := np.random.default_rng(3), partial(g.random, (6, 4))),
    "NumPy's bits": lambda: (g := np.random.Philox(3), lambda: g.random_raw(24).reshape(6, 4) / 2.0**64),
    "NumPy's old": lambda: (g := np.random.RandomState(3), lambda: g.rand(6, 4)),
    "Python's": lambda: (g := random.Random(3), lambda: np.reshape([g.random() for _ in range(24)], (6, 4))),
}


def stands(generator: Any) -> str:
    names = ("get_state", "getstate", "bit_generator", "state")
    state = next(getattr(generator, name) for name in names if hasattr(generator, name))
    return repr(getattr(state() if callable(state) else state, "state", state() if callable(state) else state))


@pytest.mark.host("pairs of NumPy's functions")
@pytest.mark.parametrize("exhaustive", [None, False])
@pytest.mark.parametrize("stream", STREAMS)
def test_generators_of_its_own(stream: str, exhaustive: bool | None) -> None:
    own, draw = STREAMS[stream]()
    before = stands(own)
    right = (lambda x: x * (draw() > 0.5) * 2, lambda g, x, y: g * (y / x))
    assert tg.gradcheck(right, X, exhaustive=exhaustive)
    assert tg.gradcheck(lambda x: x * tg.tensor(draw() + 1.0, dtype=tg.float64), X, exhaustive=exhaustive)
    assert stands(own) == before
    another = (right[0], lambda g, x, y: g * (draw() > 0.5) * 2)
    assert not tg.gradcheck(another, X, exhaustive=exhaustive, raise_exception=False)
    assert stands(own) == before


def test_a_generator_of_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    own = torch.Generator().manual_seed(3)
    before = own.get_state()
    assert tg.gradcheck(lambda x: x * torch.rand(6, 4, generator=own), torch.tensor(X))
    assert torch.equal(own.get_state(), before)


def test_random_numbers_that_nothing_puts_back() -> None:
    drawn = random.SystemRandom()
    report = tg.gradcheck(lambda x: x * drawn.random(), X, raise_exception=False)
    assert "nondeterministic: two calls give different values" in report.problems[0]


def test_an_output_that_is_a_buffer_or_closed_over() -> None:
    class Counting(nn.Module):
        calls: tg.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", tg.zeros(2, dtype=tg.float64))

        def forward(self, x: Any) -> Any:
            with tg.no_grad():
                self.calls.add_(1.0)
            return x * x, self.calls

    m = Counting()
    for check in (tg.gradcheck, tg.gradgradcheck):
        assert check(m, X)
        assert check(lambda x: (x * x, m(x)[1]), X)
        assert m.calls.tolist() == [0.0, 0.0]


@pytest.mark.host("pairs of NumPy's functions")
def test_an_output_and_a_gradient_that_are_closed_over_arrays() -> None:
    kept, count = np.zeros((6, 4)), np.zeros(2)
    count[1] = np.nan

    def forward(x: Any) -> Any:
        count[0] += 1
        if x.dtype.kind == "c":
            return np.sin(x)
        return np.sin(x, out=kept)

    assert tg.gradcheck((forward, lambda g, x, y: g * np.cos(x)), X)
    assert not kept.any()
    np.testing.assert_array_equal(count, [0.0, np.nan])
    report = tg.gradcheck((np.sin, lambda g, x, y: np.multiply(g, np.cos(x), out=kept)), X, raise_exception=False)
    assert report.problems == ["the gradient of input 0 is the same memory at each call: the next call writes over it"]
    assert not kept.any()


@pytest.mark.host("arrays of NumPy's in a module")
def test_arrays_and_buffers_deep_inside_a_model() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.count = np.array([0.0, np.nan])

        def forward(self, x: Any) -> Any:
            self.count[:] += 1
            self.count[1] = 0
            return x.tanh()

    inner = Counting()
    model: nn.Module = inner
    for _ in range(8):
        model = nn.Sequential(model)
    assert tg.gradcheck(model, X)
    np.testing.assert_array_equal(inner.count, [0.0, np.nan])


def test_a_tensor_that_is_written_to_where_a_gradient_is_wanted() -> None:
    cache = tg.zeros(6, 4, dtype=tg.float64)

    def f(x: Any) -> Any:
        cache[:] = x * x
        return cache * 2.0

    for check in (tg.gradcheck, tg.gradgradcheck):
        assert check(f, X)
        assert cache.grad_fn is None
        assert not cache.requires_grad
        assert not cache.cpu().numpy().any()


def test_a_tensor_of_pytorchs_that_is_written_to_where_a_gradient_is_wanted() -> None:
    torch = pytest.importorskip("torch")
    cache = torch.zeros(6, 4, dtype=torch.float64)

    def f(x: Any) -> Any:
        cache.copy_(x * x)
        return cache * 2.0

    assert tg.gradcheck(f, torch.tensor(X))
    assert cache.is_leaf
    assert not cache.requires_grad
    assert not cache.any()


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

"""PyTorch's names: the same lines compute the same values and gradients here and there."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg

torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")

A = np.random.default_rng(0).standard_normal((3, 4))
P = np.random.default_rng(1).uniform(0.3, 2.0, (3, 4))
ODD = np.array([[1.0, -math.inf, 0.5, math.inf], [math.nan, 2.0, -1.0, 0.0], [-2.0, 3.0, math.nan, 1.0]])

# (lib, x of shape (3, 4)) -> a tensor
SMOOTH: dict[str, Callable[[Any, Any], Any]] = {
    "concat": lambda lib, x: lib.concat([x, x * 2], dim=1) + lib.concatenate((x * 2, x), 1),
    "hstack": lambda lib, x: lib.hstack([x, x[:, :1]]),
    "hstack of vectors": lambda lib, x: lib.hstack([x[0], x[1, :2], x[0, 0]]),
    "vstack": lambda lib, x: lib.vstack([x, x[0]]),
    "t": lambda lib, x: lib.t(x) @ x.t().t(),
    "t of a vector": lambda lib, x: lib.t(x[0]),
    "ravel": lambda lib, x: lib.ravel(x) * x.t().ravel(),
    "unflatten": lambda lib, x: lib.unflatten(x, 1, (2, -1)) + x.unflatten(-1, (2, 2)),
    "tile": lambda lib, x: lib.tile(x, (2, 1, 3)) + x.tile(3) + x.tile((2, 1, 3))[:, :3],
    "repeat_interleave": lambda lib, x: lib.repeat_interleave(x, 3, dim=1) * x.repeat_interleave(3, 1),
    "repeat_interleave flat": lambda lib, x: x.repeat_interleave(2),
    "repeat_interleave by": lambda lib, x: x.repeat_interleave(lib.tensor([2, 0, 3]), dim=0),
    "repeat_interleave by one": lambda lib, x: lib.repeat_interleave(x, lib.tensor([2]), dim=-1),
    "repeat_interleave none": lambda lib, x: lib.repeat_interleave(x, 0, dim=1),
    "clip": lambda lib, x: lib.clip(x, -0.5, 0.5) + x.clip(max=0.2),
    "square": lambda lib, x: lib.square(x) * x.square(),
    "tan": lambda lib, x: lib.tan(x * 0.5) + (x * 0.3).tan(),
    "lerp": lambda lib, x: lib.lerp(x, x * x, 0.3) + x.lerp(x[0], x[1]),
    "addcmul": lambda lib, x: lib.addcmul(x, x, x[0], value=0.5) + x.addcmul(x, x),
    "addcdiv": lambda lib, x: lib.addcdiv(x, x, x[0] ** 2 + 1, value=0.5) + x.addcdiv(x, x * x + 1),
    "reciprocal": lambda lib, x: lib.reciprocal(x) + x.reciprocal(),
    "negative": lambda lib, x: lib.negative(x) * x.negative(),
    "multiply": lambda lib, x: lib.multiply(x, x).multiply(x),
    "divide": lambda lib, x: lib.divide(x, x * x + 1).true_divide(2) + lib.true_divide(x, 3.0).divide(x[0]),
    "subtract": lambda lib, x: lib.subtract(x, x * x).subtract(1.0),
    "logaddexp": lambda lib, x: lib.logaddexp(x * 3, x[0]) + x.logaddexp(x * x),
    "logaddexp tie": lambda lib, x: lib.logaddexp(x, x * 1.0),
    "logaddexp far": lambda lib, x: lib.logaddexp(x * 1e4, x[0] * 1e3),
    "cumprod": lambda lib, x: lib.cumprod(x, 1) + x.cumprod(dim=0),
    "cumprod of seven": lambda lib, x: x.reshape(-1)[:7].cumprod(0),
    "cumprod of one": lambda lib, x: x[:1].cumprod(0),
    "median": lambda lib, x: lib.median(x) + x.median(),
    "median along": lambda lib, x: lib.median(x, 1).values + x.median(dim=1, keepdim=True)[0],
    "median of three": lambda lib, x: x.median(0).values,
    "diag": lambda lib, x: lib.diag(x[0]) + lib.diag(x[0, :3], 1) + x[0, :3].diag(-1),
    "diag of a matrix": lambda lib, x: lib.diag(x, 1) + x.diag() * x[:, :2].diag(-1).sum(),
    "diagonal": lambda lib, x: lib.diagonal(x, 1).sum() + x.diagonal(-2) * x.diagonal(0, 1, 0).sum(),
    "diagonal of more": lambda lib, x: x.reshape(2, 3, 2).diagonal(1, 0, 1) * x.view(2, 3, 2).diagonal(0, 2, -2).sum(),
    "diagonal that is empty": lambda lib, x: x.diagonal(7),
    "trace": lambda lib, x: lib.trace(x[:, :3]) * x[:, :3].trace(),
    "unfold": lambda lib, x: x.unfold(1, 2, 1) * x.unfold(-1, 2, 1),
    "unfold in steps": lambda lib, x: x.unfold(0, 2, 2),
    "index_add": lambda lib, x: lib.index_add(x, 0, lib.tensor([2, 0, 2]), x * x) + x.index_add(
        1, lib.tensor([1, 1]), x[:, :2], alpha=0.5
    ),
    "index_fill": lambda lib, x: lib.index_fill(x, 1, lib.tensor([0, 3]), 2.0) * x.index_fill(0, lib.tensor([1]), -1),
    "meshgrid": lambda lib, x: sum(
        (k + 1) * g.tan() for k, g in enumerate(lib.meshgrid(x[0], x[:, 1], x[2, :2], indexing="ij"))
    ),
    "meshgrid xy": lambda lib, x: lib.meshgrid([x[0], x[:, 1]], indexing="xy")[1] ** 2,
    "softmax": lambda lib, x: lib.softmax(input=x, dim=1) + x.softmax(0, dtype=lib.float64),
    "log_softmax": lambda lib, x: lib.log_softmax(input=x, dim=1, dtype=lib.float64) + x.log_softmax(0),
    "by input": lambda lib, x: lib.mean(input=x, dim=0) + lib.cumsum(input=x, dim=1),
    "mv": lambda lib, x: lib.mv(x, x[0]) + x.mv(x[1]),
    "swapaxes": lambda lib, x: lib.swapaxes(x, 0, 1) * x.swapaxes(-1, 0),
    "nonzero": lambda lib, x: x[lib.nonzero(x > 0, as_tuple=True)] + x[(x > 0).nonzero(as_tuple=True)],
    "to": lambda lib, x: x.to(x.device, non_blocking=True) * 2,
    "like": lambda lib, x: x * (lib.rand_like(x, dtype=lib.float64) >= 0) + 0 * lib.randn_like(x, device=x.device),
    "clone": lambda lib, x: lib.clone(x) * x,
    "div": lambda lib, x: lib.div(x, 2.0).div(x[0] ** 2 + 1),
    "select after nan": lambda lib, x: lib.nan_to_num(x + lib.tensor(ODD), 0.5, 1.5, -1.5),
}  # fmt: skip
POSITIVE: dict[str, Callable[[Any, Any], Any]] = {
    "log2": lambda lib, x: lib.log2(x) + x.log2(),
    "log10": lambda lib, x: lib.log10(x) * x.log10(),
}
CASES = [(name, f, A) for name, f in SMOOTH.items()] + [(name, f, P) for name, f in POSITIVE.items()]


@pytest.mark.filterwarnings("ignore:.*drown in rounding.*")
@pytest.mark.parametrize(("name", "f", "a"), CASES, ids=[case[0] for case in CASES])
def test_values_and_gradients(name: str, f: Callable[[Any, Any], Any], a: Any) -> None:
    ours, theirs = tg.tensor(a, requires_grad=True), torch.tensor(a, requires_grad=True)
    y, z = f(tg, ours), f(torch, theirs)
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-12, atol=1e-13)
    weights = np.random.default_rng(2).standard_normal(z.shape)
    (y * tg.tensor(weights)).sum().backward()
    (z * torch.tensor(weights)).sum().backward()
    assert ours.grad is not None
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-10, atol=1e-12)
    if 0 not in y.shape and name not in ("select after nan", "logaddexp far"):
        tg.gradgradcheck(lambda x: f(tg, x), tg.tensor(a))
    narrow = tg.tensor(a, dtype=tg.float32, requires_grad=True)
    if "softmax" not in name and name != "select after nan":
        assert f(tg, narrow).dtype == tg.float32


ROWS = np.array([[3, 1, 3, 0], [1, 1, 7, 3]])
EXACT: dict[str, Callable[[Any, Any], Any]] = {
    "unique": lambda lib, x: lib.unique(x),
    "unique and back": lambda lib, x: x.unique(return_inverse=True)[1],
    "unique counts": lambda lib, x: lib.unique(x, return_counts=True)[1],
    "unique of all": lambda lib, x: lib.cat([p.reshape(-1) for p in x.unique(return_inverse=True, return_counts=True)]),
    "bincount": lambda lib, x: lib.bincount(x.reshape(-1)) * x[0].bincount(minlength=8),
    "bincount weights": lambda lib, x: lib.bincount(x[0], x[1] * 0.5).to(lib.float64),
    "bincount of nothing": lambda lib, x: lib.bincount(x[0, :0], minlength=2),
    "count_nonzero": lambda lib, x: lib.count_nonzero(x, 0) + x.count_nonzero(),
    "isin": lambda lib, x: lib.isin(x, lib.tensor([3, 7])),
    "isin one": lambda lib, x: lib.isin(x, 3),
    "argwhere": lambda lib, x: lib.argwhere(x) + x.argwhere(),
    "cumprod": lambda lib, x: x.cumprod(1),
    "median": lambda lib, x: x.median(1).values + lib.median(x),
    "div floor": lambda lib, x: lib.div(-x, 2, rounding_mode="floor") + x.div(lib.tensor(-2), rounding_mode="floor"),
    "div trunc": lambda lib, x: lib.div(-x, 2, rounding_mode="trunc") + x.div(lib.tensor(-2), rounding_mode="trunc"),
    "div trunc floats": lambda lib, x: lib.div(-x * 1.5, 2, rounding_mode="trunc"),
    "square": lambda lib, x: lib.square(x),
    "softmax of integers": lambda lib, x: lib.softmax(x, 1, dtype=lib.float32).round(),
    "numel": lambda lib, x: lib.tensor([lib.numel(x), lib.is_floating_point(x), lib.is_floating_point(x * 1.0)]),
    "short": lambda lib, x: x.short() + lib.tensor(1, dtype=lib.short),
    "byte": lambda lib, x: x.byte(),
    "type": lambda lib, x: x.type(lib.half) + x.half(),
    "int": lambda lib, x: x.type(lib.int) + x.to(lib.int),
    "double": lambda lib, x: x.to(lib.double) * lib.pi + lib.e,
    "new": lambda lib, x: x.new_empty(2, 3) * 0 + x.new_full((2, 3), 4),
    "where": lambda lib, x: x.isclose(x + 0) & lib.tensor(x.allclose(x + 0)),
    "nan_to_num": lambda lib, x: lib.nan_to_num(x),
    "LongTensor": lambda lib, x: lib.LongTensor([1, 2]) + lib.LongTensor(2, 2) * 0,
    "FloatTensor": lambda lib, x: lib.FloatTensor([[1, 2.5]]) + lib.FloatTensor(2).zero_(),
    "BoolTensor": lambda lib, x: lib.BoolTensor([0, 1, 2]),
    "infinite": lambda lib, x: lib.nan_to_num(lib.tensor([lib.inf, -lib.inf, lib.nan])),
    "logaddexp": lambda lib, x: lib.logaddexp(lib.tensor([-math.inf, math.inf]), lib.tensor([-math.inf, 1.0])),
    "median with a nan": lambda lib, x: lib.median(lib.tensor(ODD), dim=1).values,
    "median place": lambda lib, x: lib.median(lib.tensor(ODD), dim=0, keepdim=True).indices[:, :1],
}


@pytest.mark.parametrize("name", EXACT)
def test_what_has_no_gradient(name: str) -> None:
    y, z = EXACT[name](tg, tg.tensor(ROWS)), EXACT[name](torch, torch.tensor(ROWS))
    np.testing.assert_array_equal(y.numpy(), z.numpy())
    assert str(y.dtype) == str(z.dtype).removeprefix("torch.")


IN_PLACE: dict[str, Callable[[Any, Any], Any]] = {
    "pow_": lambda lib, x: x.pow_(2),
    "exp_": lambda lib, x: x.exp_(),
    "log_": lambda lib, x: x.square().log_(),
    "sqrt_": lambda lib, x: x.abs_().sqrt_(),
    "neg_": lambda lib, x: x.neg_(),
    "tanh_": lambda lib, x: x.tanh_(),
    "sigmoid_": lambda lib, x: x.sigmoid_(),
    "relu_": lambda lib, x: x.relu_(),
    "clip_": lambda lib, x: x.clip_(-0.5, 0.5),
    "lerp_": lambda lib, x: x.lerp_(x * 2, 0.25),
    "addcmul_": lambda lib, x: x.addcmul_(x * 1, x * 2, value=0.1),
    "addcdiv_": lambda lib, x: x.addcdiv_(lib.tensor(A), lib.tensor(P), value=-0.5),
    "index_add_": lambda lib, x: x.index_add_(0, lib.tensor([1, 1]), x[:2] * 2),
    "index_fill_": lambda lib, x: x.index_fill_(1, lib.tensor([0, 2]), 9.0),
    "unsqueeze_": lambda lib, x: x.unsqueeze_(1).squeeze_(1).unsqueeze_(-1) * 2,
    "squeeze_": lambda lib, x: x.unsqueeze_(0).squeeze_() * 3,
    "div_": lambda lib, x: x.div_(0.3, rounding_mode="floor").div_(2),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place(name: str) -> None:
    results = []
    for lib in (tg, torch):
        plain = lib.tensor(A)
        kept = plain.detach()
        result = IN_PLACE[name](lib, plain)
        leaf: Any = lib.tensor(A, requires_grad=True)
        y = IN_PLACE[name](lib, leaf * 1.0)
        y.sum().backward()
        results.append([result.numpy(), kept.reshape(3, 4).numpy(), y.detach().numpy(), leaf.grad.numpy()])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_limits() -> None:
    for name in ("float16", "float32", "float64"):
        ours, theirs = tg.finfo(getattr(tg, name)), torch.finfo(getattr(torch, name))
        for field in ("bits", "max", "min", "eps", "tiny", "smallest_normal", "dtype"):
            assert getattr(ours, field) == getattr(theirs, field)
            assert type(getattr(ours, field)) is type(getattr(theirs, field))
    for name in ("int8", "uint8", "short", "int", "long"):
        small, large = tg.iinfo(getattr(tg, name)), torch.iinfo(getattr(torch, name))
        assert (small.bits, small.max, small.min) == (large.bits, large.max, large.min)
    assert tg.finfo() == tg.finfo(tg.float)
    assert tg.ones(2).masked_fill(tg.tensor([True, False]), tg.finfo(tg.float32).min).softmax(0).tolist() == [0, 1]


def modes(lib: Any) -> list[bool]:
    """What recording is after each of several switches."""
    seen = []

    def now(_: Any = None) -> None:
        seen.append(lib.is_grad_enabled())

    lib.set_grad_enabled(False)
    now()
    with lib.set_grad_enabled(True):
        now()
        with lib.inference_mode():
            now()
        with lib.inference_mode(False):
            now()
    now()
    lib.set_grad_enabled(True)
    lib.set_grad_enabled(False)(now)()
    now()
    lib.inference_mode()(now)()
    with lib.set_grad_enabled(False), lib.enable_grad():
        now()
    now()
    return seen


def test_grad_modes() -> None:
    assert modes(tg) == modes(torch)


def test_the_graph_can_be_walked() -> None:
    x = tg.ones(2, requires_grad=True)
    y = (x.exp() * 2.0).unbind(0)[1]
    assert x.grad_fn is None
    assert tg.ones(1).grad_fn is None
    assert repr(y.grad_fn) == "<unbind>"
    names = []
    node: Any = y.grad_fn
    while hasattr(node, "name"):
        names.append(node.name())
        node = node.next_functions[0][0]
    assert names == ["unbind", "mul", "exp"]
    assert y.detach_() is y
    assert not y.requires_grad
    assert y.grad_fn is None


def test_random_numbers_in_place() -> None:
    x = tg.zeros(2000)
    assert set(x.random_(3).tolist()) == {0, 1, 2}
    assert set(x.random_(2, 4).tolist()) == {2, 3}
    assert abs(x.bernoulli_(0.25).mean().item() - 0.25) < 0.05
    assert x[:3].clone().bernoulli_(tg.tensor([0.0, 1.0, 1.0])).tolist() == [0, 1, 1]
    assert 0 <= tg.zeros(9, dtype=tg.uint8).random_().to(tg.int64).amax().item() < 256
    assert tg.zeros(9, dtype=tg.int64).random_().amax().item() > 2**40
    assert tg.tensor([0.0, 0.0, 1.0]).multinomial(2, replacement=True).tolist() == [2, 2]
    assert tg.tensor([0.0, 1.0]).bernoulli().tolist() == [0, 1]


x = tg.ones(2, 3)
ints = tg.arange(3)


@pytest.mark.parametrize(
    ("kind", "message", "call"),
    [
        (ValueError, "div: rounding_mode is .*, got 'up'", lambda: tg.div(x, 2, rounding_mode="up")),
        (ValueError, "mv: takes a matrix and a vector", lambda: tg.mv(x, x)),
        (ValueError, "t: takes a matrix, got shape", lambda: tg.t(tg.ones(1, 2, 3))),
        (ValueError, "unflatten: the length 3 of dim 1 cannot be", lambda: x.unflatten(1, (2, -1))),
        (ValueError, "unflatten: the length 3 of dim 1 cannot be", lambda: x.unflatten(1, (2, 2))),
        (ValueError, "repeat_interleave: got 3 repeats for the 2", lambda: x.repeat_interleave([1, 2, 3], 0)),
        (ValueError, "repeat_interleave: takes whole numbers from 0", lambda: x.repeat_interleave(-1, 0)),
        (TypeError, "repeat_interleave: takes whole numbers", lambda: x.repeat_interleave(1.5, 0)),
        (ValueError, "unfold: windows of size 4 do not fit into dim 1 of length 3", lambda: x.unfold(1, 4, 1)),
        (ValueError, "unfold: takes whole numbers from 1 on", lambda: x.unfold(1, 2, 0)),
        (IndexError, "unfold: dim=2 is out of range", lambda: x.unfold(2, 2, 1)),
        (ValueError, "diagonal: dim1=0 and dim2=-2 name one", lambda: x.diagonal(0, 0, -2)),
        (ValueError, "diag: takes a vector or a matrix", lambda: tg.diag(tg.ones(1, 2, 3))),
        (ValueError, "trace: takes a matrix", lambda: tg.trace(ints)),
        (ValueError, "meshgrid: indexing is 'ij' or 'xy'", lambda: tg.meshgrid(ints, indexing="ji")),
        (ValueError, "meshgrid: takes vectors", lambda: tg.meshgrid(x)),
        (ValueError, "index_add: source has shape", lambda: x.index_add(0, [0], x)),
        (IndexError, "index_add: got index 2 for a dimension", lambda: x.cpu().index_add(0, [2], x.cpu()[:1])),
        (ValueError, "index_fill: index must have one dimension", lambda: x.index_fill(0, [[0]], 1.0)),
        (IndexError, "index_fill: got index -1", lambda: x.cpu().index_fill(0, [-1], 1.0)),
        (IndexError, "take_along_dim: got index -4", lambda: x.cpu().take_along_dim(tg.tensor([[-4]]).cpu(), 1)),
        (IndexError, "take_along_dim: got index 3 for", lambda: x.cpu().take_along_dim(tg.tensor([[3]]).cpu(), 1)),
        (TypeError, "take_along_dim: takes integers", lambda: x.take_along_dim(tg.tensor([[True]]), 1)),
        (ValueError, "median: the tensor of shape .* has no elements", lambda: tg.zeros(0).median()),
        (TypeError, "bincount: takes integers, got float32", lambda: tg.bincount(x)),
        (ValueError, "bincount: takes a vector", lambda: tg.bincount(tg.ones(2, 2, dtype=tg.int64))),
        (ValueError, "bincount: takes integers from 0 on, got -1", lambda: tg.bincount(ints - 1)),
        (TypeError, "finfo: takes a floating-point dtype, got int64", lambda: tg.finfo(tg.int64)),
        (TypeError, "iinfo: takes an integer dtype, got float32", lambda: tg.iinfo(tg.float32)),
        (TypeError, "set_grad_enabled: takes True or False", lambda: tg.set_grad_enabled(None)),  # type: ignore[arg-type]
        (TypeError, "inference_mode: takes True or False", lambda: tg.inference_mode(x)),  # type: ignore[arg-type]
        (RuntimeError, "squeeze_: a leaf .* use squeeze", lambda: tg.ones(1, requires_grad=True).squeeze_()),
        (RuntimeError, "exp_: a leaf", lambda: tg.ones(1, requires_grad=True).exp_()),
        (TypeError, "exp_: the result is float32", lambda: tg.arange(3).exp_()),
        (ValueError, "bernoulli: probabilities must be", lambda: tg.ones(2).bernoulli_(1.5)),
        (TypeError, "dtype: 'float33' is none", lambda: x.type("float33")),
        (TypeError, "nan_to_num: takes", lambda: tg.nan_to_num(x, "a")),  # type: ignore[arg-type]
        (TypeError, "softmax: got both dim= and axis=", lambda: tg.softmax(input=x, dim=0, axis=0)),  # type: ignore[call-arg]
    ],
)  # fmt: skip
def test_mistakes(kind: type[Exception], message: str, call: Any) -> None:
    with pytest.raises(kind, match=message):
        call()

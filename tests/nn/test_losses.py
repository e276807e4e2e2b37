"""Losses: properties that need no oracle, derivatives, extremes, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import nn.functional as F
import tinygrad_seq as tg
from tinygrad_seq import graph

d = tg.float64
REDUCTIONS = ("mean", "sum", "none")
INF = float("inf")


# --- what does not count ---


@given(data=st.data())
def test_ignored_targets_are_as_good_as_not_there(data: st.DataObject) -> None:
    """Whatever their scores are, nan included: the value as in PyTorch, the gradient 0 where PyTorch's is nan."""
    N, C = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 4))
    ignore = data.draw(st.sampled_from([-100, -1, 0, C, 7]))
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=N, max_size=N)))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    choices = [c for c in range(C) if c != ignore]
    assume(choices)
    target = rng.choice(choices, N)
    z = rng.standard_normal((N, C))
    options: dict[str, Any] = {"reduction": data.draw(st.sampled_from(REDUCTIONS))}
    if data.draw(st.booleans()):
        options["weight"] = tg.tensor(rng.random(C) + 0.1)
    smoothing: dict[str, Any] = {"label_smoothing": data.draw(st.sampled_from([0.0, 0.3]))}
    for function, more in ((F.cross_entropy, smoothing), (F.nll_loss, {})):
        rows = tg.tensor(z[kept], requires_grad=True)
        expected = function(rows, tg.tensor(target[kept]), **options, **more)
        scores = tg.tensor(np.where(kept[:, None], z, np.nan), requires_grad=True)
        found = function(scores, tg.tensor(np.where(kept, target, ignore)), ignore_index=ignore, **options, **more)
        if options["reduction"] == "none":
            assert (found.detach().numpy()[~kept] == 0).all()
            expected, found = expected.sum(), found.sum()
        np.testing.assert_allclose(found.item(), expected.item(), rtol=1e-14, atol=1e-14)
        found.backward()
        assert scores.grad is not None
        assert (scores.grad.numpy()[~kept] == 0).all()
        if kept.any():
            expected.backward()
            assert rows.grad is not None
            np.testing.assert_allclose(scores.grad.numpy()[kept], rows.grad.numpy(), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("weight", [None, [1.0, 2.0, 3.0]])
def test_all_ignored(weight: Any) -> None:
    z = tg.randn(2, 3, requires_grad=True)
    for smoothing in (0.0, 0.1):
        ignored: dict[str, Any] = {"label_smoothing": smoothing, "weight": weight}
        assert np.isnan(F.cross_entropy(z, [-100, -100], **ignored).item())
        assert F.cross_entropy(z, [-100, -100], reduction="sum", **ignored).item() == 0
        assert F.cross_entropy(z, [-100, -100], reduction="none", **ignored).tolist() == [0, 0]
    F.cross_entropy(z, [-100, -100], weight).backward()
    assert z.grad is not None
    assert not z.grad.numpy().any()
    assert np.isnan(F.cross_entropy(z[:0], tg.zeros(0, dtype=tg.int64), weight).item())


@given(seed=st.integers(0, 99), C=st.integers(1, 5))
def test_class_numbers_are_certain_probabilities(seed: int, C: int) -> None:
    rng = np.random.default_rng(seed)
    z, target = tg.tensor(rng.standard_normal((6, C)), requires_grad=True), tg.tensor(rng.integers(0, C, 6))
    for smoothing in (0.0, 0.3):
        one = F.cross_entropy(z, target, label_smoothing=smoothing)
        other = F.cross_entropy(z, F.one_hot(target, C).to(d), label_smoothing=smoothing)
        np.testing.assert_allclose(one.item(), other.item(), rtol=1e-13, atol=1e-15)


# --- derivatives ---


TARGET = [2, 0, -100]
CHECKED: dict[str, tuple[Callable[..., Any], Callable[[], list[Any]]]] = {
    "cross_entropy": (lambda z, **k: F.cross_entropy(z, TARGET, **k), lambda: [tg.randn(3, 4, dtype=d)]),
    "cross_entropy of everything": (
        lambda z, w, **k: F.cross_entropy(z, TARGET, w, label_smoothing=0.2, **k),
        lambda: [tg.randn(3, 4, dtype=d), tg.rand(4, dtype=d) + 0.1],
    ),
    "cross_entropy of probabilities": (
        lambda z, t, w, **k: F.cross_entropy(z, t, w, label_smoothing=0.2, **k),
        lambda: [tg.randn(3, 4, dtype=d), tg.rand(3, 4, dtype=d), tg.rand(4, dtype=d) + 0.1],
    ),
    "nll_loss": (
        lambda z, w, **k: F.nll_loss(z, TARGET, w, **k),
        lambda: [tg.randn(3, 4, dtype=d), tg.rand(4, dtype=d) + 0.1],
    ),
    "binary_cross_entropy": (
        F.binary_cross_entropy,
        lambda: [tg.rand(3, 4, dtype=d) * 0.8 + 0.1, tg.rand(3, 4, dtype=d), tg.rand(4, dtype=d) + 0.1],
    ),
    "binary_cross_entropy_with_logits": (
        lambda x, t, w, p, **k: F.binary_cross_entropy_with_logits(x, t, w, pos_weight=p, **k),
        lambda: [tg.randn(3, 4, dtype=d), *(tg.rand(3, 4, dtype=d) + 0.1 for _ in range(3))],
    ),
    "mse_loss": (F.mse_loss, lambda: [tg.randn(3, 4, dtype=d), tg.randn(3, 4, dtype=d)]),
    "l1_loss": (F.l1_loss, lambda: [tg.randn(3, 4, dtype=d), tg.randn(3, 4, dtype=d)]),
    "smooth_l1_loss": (
        lambda x, t, **k: F.smooth_l1_loss(x, t, beta=0.7, **k),
        lambda: [tg.randn(3, 4, dtype=d), tg.randn(3, 4, dtype=d)],
    ),
    "huber_loss": (
        lambda x, t, **k: F.huber_loss(x, t, delta=0.7, **k),
        lambda: [tg.randn(3, 4, dtype=d), tg.randn(3, 4, dtype=d)],
    ),
    "kl_div": (F.kl_div, lambda: [-tg.rand(3, 4, dtype=d), tg.rand(3, 4, dtype=d) + 0.1]),
    "kl_div of logarithms": (
        lambda x, t, **k: F.kl_div(x, t, log_target=True, **k),
        lambda: [-tg.rand(3, 4, dtype=d), -tg.rand(3, 4, dtype=d)],
    ),
}


@pytest.mark.filterwarnings("ignore::tinygrad_seq.gradcheck.NotTestedWarning")  # the second derivative of l1_loss is 0
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", CHECKED)
def test_derivatives(name: str, reduction: str) -> None:
    function, inputs = CHECKED[name]
    given = inputs()
    tg.gradcheck(lambda *xs: function(*xs, reduction=reduction), given)
    tg.gradgradcheck(lambda *xs: function(*xs, reduction=reduction), given)


def test_the_bottom_of_the_parabola_is_curved() -> None:
    """At x = t, where a form with |x - t| in it would lose the second derivative."""
    for loss in (F.mse_loss, F.huber_loss, F.smooth_l1_loss):
        curvature = tg.hessian(lambda x, f=loss: f(x, tg.zeros(1), reduction="sum"))(tg.zeros(1)).item()
        assert curvature == (2.0 if loss is F.mse_loss else 1.0)


# --- extremes ---


FAR = np.array([-1e4, -100.0, -1.0, 0.0, 1.0, 100.0, 1e4])
EXTREME: dict[str, Callable[[tg.Tensor], tg.Tensor]] = {
    "cross_entropy": lambda x: F.cross_entropy(x.reshape(1, -1) * tg.ones(7, 1, dtype=x.dtype), tg.arange(7)),
    "smoothed": lambda x: F.cross_entropy(x, 0, label_smoothing=0.1),
    "no": lambda x: F.binary_cross_entropy_with_logits(x, tg.zeros(7, dtype=x.dtype)),
    "yes": lambda x: F.binary_cross_entropy_with_logits(x, tg.ones(7, dtype=x.dtype), pos_weight=[3.0]),
    "perhaps": lambda x: F.binary_cross_entropy_with_logits(x, tg.full((7,), 0.3, dtype=x.dtype)),
    "mse_loss": lambda x: F.mse_loss(x, tg.zeros(7, dtype=x.dtype)),
    "l1_loss": lambda x: F.l1_loss(x, tg.zeros(7, dtype=x.dtype)),
    "huber_loss": lambda x: F.huber_loss(x, tg.zeros(7, dtype=x.dtype), delta=0.5),
    "smooth_l1_loss": lambda x: F.smooth_l1_loss(x, tg.zeros(7, dtype=x.dtype), beta=0.5),
    "kl_div": lambda x: F.kl_div(F.log_softmax(x, 0), F.softmax(x * 0.5, 0), reduction="sum"),
    "kl_div of logarithms": lambda x: F.kl_div(
        F.log_softmax(x, 0), F.log_softmax(x * 0.5, 0), reduction="sum", log_target=True
    ),
}


@pytest.mark.parametrize("name", EXTREME)
def test_far_out_in_float32(name: str) -> None:
    """Value, gradient and second derivative along a direction, at |x| = 10⁴: as in float64."""
    results = []
    for dtype in (tg.float32, d):
        x, v = tg.tensor(FAR, dtype=dtype), tg.tensor(np.linspace(1, 2, 7), dtype=dtype)
        _, (second,) = tg.hvp(EXTREME[name], (x,), (v,))
        results.append([EXTREME[name](x).numpy(), tg.grad(EXTREME[name])(x).numpy(), second.numpy()])
    for found, expected in zip(*results, strict=True):
        assert found.dtype == np.float32
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-30)


@pytest.fixture
def seen() -> Iterator[set[Any]]:
    """The dtypes of all that primitives compute."""
    dtypes: set[Any] = set()

    def watch(_primitive: Any, _operands: Any, result: Any, *_: Any) -> None:
        parts: list[Any] = [
            getattr(part, "values", part) for part in (result if isinstance(result, (tuple, list)) else (result,))
        ]
        dtypes.update(part.dtype for part in parts if hasattr(part, "dtype"))

    graph.observers.append(watch)
    yield dtypes
    graph.observers.remove(watch)


@pytest.mark.parametrize("name", CHECKED)
def test_a_float32_graph_holds_no_float64(name: str, seen: set[Any]) -> None:
    function, inputs = CHECKED[name]
    given = [x.to(tg.float32).requires_grad_() for x in inputs()]
    seen.clear()
    function(*given, reduction="mean").backward()
    assert tg.float32 in seen
    assert d not in seen


def test_arrays_beside_float32_do_not_promote(seen: set[Any]) -> None:
    x, a = tg.randn(3, 4, requires_grad=True), np.random.default_rng(0).random((3, 4))
    seen.clear()
    F.mse_loss(x, a).backward()
    F.binary_cross_entropy_with_logits(x, a, a, pos_weight=a[0]).backward()
    F.cross_entropy(x, a, a[0]).backward()
    F.cross_entropy(x, [1, 2, 3], a[0]).backward()
    F.ctc_loss(F.log_softmax(x, 1), [1, 2], np.array(3), np.array(2)).backward()
    assert d not in seen


# --- what is refused ---


Z: Any = np.ones((2, 4), np.float32)
H = tg.tensor(Z, device="cpu")  # where numbers are looked at: a GPU would have to be waited for
MISTAKES: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (
        lambda: F.cross_entropy(H, [0, 4]),
        IndexError,
        "cross_entropy: a target class is 4, but there are 4: 0 to 3",
    ),
    (lambda: F.cross_entropy(H, [0, -1]), IndexError, "cross_entropy: a target class is -1"),
    (lambda: F.nll_loss(H, [0, 4]), IndexError, "nll_loss: a target class is 4"),
    (lambda: F.nll_loss(Z, tg.ones(2)), TypeError, "nll_loss: .* takes integers, got float32; .*long"),
    (lambda: F.cross_entropy(Z, tg.ones(2)), TypeError, r"takes integers, got float32.*long|class probabilities"),
    (
        lambda: F.nll_loss(Z, [0, 1, 2]),
        ValueError,
        r"nll_loss: scores of shape \(2, 4\) take targets \(2,\), not \(3,\)",
    ),
    (lambda: F.cross_entropy(Z, Z.astype(int)), TypeError, r"class probabilities, which must be .* int64.*\.float\(\)"),
    (lambda: F.cross_entropy(Z, Z, ignore_index=1), ValueError, "ignore_index=1 is for class numbers"),
    (lambda: F.cross_entropy(Z, [0, 1], "sum"), TypeError, "third argument is weight.*reduction='sum'"),
    (lambda: F.cross_entropy(Z, [0, 1], np.ones(3)), ValueError, r"cross_entropy: weight has shape \(3,\).*\(4,\)"),
    (lambda: F.cross_entropy(Z, [0, 1], label_smoothing=1.5), ValueError, "label_smoothing .* 0 to 1, got 1.5"),
    (
        lambda: F.cross_entropy(Z.astype(int), [0, 1]),
        TypeError,
        r"input must be floating-point, got int64.*\.float\(\)",
    ),
    (lambda: F.cross_entropy(Z[0, 0], 0), ValueError, "no dimensions"),
    (lambda: F.mse_loss(Z, Z[0]), ValueError, r"mse_loss: input has shape \(2, 4\) and target \(4,\)"),
    (lambda: F.huber_loss(Z, Z, delta=0), ValueError, "huber_loss: delta must be positive, got 0"),
    (lambda: F.smooth_l1_loss(Z, Z, beta=-1), ValueError, "smooth_l1_loss: beta must not be negative, got -1"),
    (lambda: F.binary_cross_entropy(H * 2, Z), ValueError, "from 0 to 1; .* binary_cross_entropy_with_logits"),
    (lambda: F.binary_cross_entropy(H * np.nan, Z), ValueError, "from 0 to 1"),
    (
        lambda: F.binary_cross_entropy(Z, Z, np.ones(3)),
        ValueError,
        r"weight has shape \(3,\), which does not broadcast",
    ),
    (
        lambda: F.binary_cross_entropy_with_logits(Z, Z, pos_weight=np.ones(3)),
        ValueError,
        r"pos_weight has shape \(3,\), which does not broadcast to the target's, \(2, 4\)",
    ),
    (lambda: F.kl_div(tg.ones(()), tg.ones(()), reduction="batchmean"), ValueError, "kl_div: 'batchmean'"),
]


@pytest.mark.parametrize(("call", "kind", "words"), MISTAKES, ids=[words for *_, words in MISTAKES])
def test_mistakes_are_explained(call: Callable[[], Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        call()


@pytest.mark.parametrize("name", CHECKED)
def test_reductions_are_checked_by_all(name: str) -> None:
    function, inputs = CHECKED[name]
    with pytest.raises(ValueError, match=rf"^{name.split()[0]}: reduction takes 'mean', 'sum'.* or '\w+', got 'max'"):
        function(*inputs(), reduction="max")


def test_binary_cross_entropy_at_its_edges() -> None:
    """The numbers are PyTorch's: logarithms no less than -100, and the slope (x - t) / max(x (1 - x), 1e-12)."""
    x = tg.tensor([0.0, 1.0, 0.0, 1.0, 0.25, 1e-30], requires_grad=True)
    t = tg.tensor([0.0, 0.0, 1.0, 1.0, 0.5, 1.0], requires_grad=True)
    losses = F.binary_cross_entropy(x, t, reduction="none")
    np.testing.assert_allclose(losses.detach().numpy(), [0.0, 100.0, 100.0, 0.0, 0.836988, 69.07755], rtol=1e-5)
    losses.sum().backward(create_graph=True)
    assert x.grad is not None
    assert t.grad is not None
    slope = [0.0, 1e12, -1e12, 0.0, -4 / 3, -1e12]
    np.testing.assert_allclose(x.grad.detach().numpy(), slope, rtol=1e-5)
    assert np.isfinite(t.grad.detach().numpy()).all()
    (second,) = tg.grad(lambda x: tg.grad(lambda x: F.binary_cross_entropy(x, t))(x).sum(), (0,))(x)
    assert np.isfinite(second.detach().numpy()).all()

"""Distributions: closed forms, gradients, draws, and PyTorch's numbers where it is installed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tg
from tinygrad_seq.distributions import Bernoulli, Categorical, Distribution, Normal, kl_divergence

rng = np.random.default_rng(0)
P, L = rng.random((4, 3)), rng.normal(size=(4, 3))
MASKED, ZEROS = L.copy(), P.copy()
MASKED[:, 1] = -np.inf
ZEROS[0, 0] = ZEROS[1, 2] = 0
CLASSES, MORE = np.array([0, 2, 1, 2]), rng.integers(0, 3, (5, 4))
UNIT, WIDE, BITS = rng.random(4), rng.normal(size=4) * 3, np.array([0.0, 1, 1, 0])
ENDS = np.array([0.0, 1, 0.5, 1])
LOC, SCALE, X = rng.normal(size=(3, 1)), rng.random(4) + 0.1, rng.normal(size=(2, 3, 4))

# what is computed of a module of distributions (ours, PyTorch's), parameters, and constants
CASES: dict[str, tuple[Callable[..., Any], list[Any], list[Any]]] = {
    "categorical log_prob": (lambda d, p, x: d.Categorical(p).log_prob(x), [P], [CLASSES]),
    "categorical log_prob, more draws": (lambda d, p, x: d.Categorical(logits=p).log_prob(x), [L], [MORE]),
    "categorical log_prob of one": (lambda d, p, x: d.Categorical(logits=p).log_prob(x), [L], [np.array(1)]),
    "categorical log_prob of floats": (lambda d, p, x: d.Categorical(p).log_prob(x), [P], [CLASSES * 1.0]),
    "categorical log_prob, masked": (lambda d, p, x: d.Categorical(logits=p).log_prob(x), [MASKED], [CLASSES * 0]),
    "categorical entropy": (lambda d, p: d.Categorical(p).entropy(), [P], []),
    "categorical entropy of logits": (lambda d, p: d.Categorical(logits=p).entropy(), [L], []),
    "categorical entropy with zeros": (lambda d, p: d.Categorical(p).entropy(), [ZEROS], []),
    "categorical probs": (lambda d, p: d.Categorical(logits=p).probs, [L], []),
    "categorical logits": (lambda d, p: d.Categorical(p).logits, [P], []),
    "categorical kl": (lambda d, p, q: d.kl_divergence(d.Categorical(logits=p), d.Categorical(q)), [L, P], []),
    "categorical kl with zeros": (
        lambda d, p, q: d.kl_divergence(d.Categorical(p), d.Categorical(q)), [ZEROS[::-1].copy(), P], [],
    ),
    "bernoulli log_prob": (lambda d, p, x: d.Bernoulli(p).log_prob(x), [UNIT], [BITS]),
    "bernoulli log_prob of logits": (lambda d, p, x: d.Bernoulli(logits=p).log_prob(x), [WIDE], [BITS]),
    "bernoulli log_prob at the ends": (lambda d, p, x: d.Bernoulli(p).log_prob(x), [ENDS], [BITS]),
    "bernoulli entropy": (lambda d, p: d.Bernoulli(p).entropy(), [UNIT], []),
    "bernoulli entropy of logits": (lambda d, p: d.Bernoulli(logits=p).entropy(), [WIDE], []),
    "bernoulli variance": (lambda d, p: d.Bernoulli(logits=p).variance + d.Bernoulli(logits=p).mean, [WIDE], []),
    "bernoulli kl": (lambda d, p, q: d.kl_divergence(d.Bernoulli(p), d.Bernoulli(logits=q)), [UNIT, WIDE], []),
    "normal log_prob": (lambda d, m, s, x: d.Normal(m, s).log_prob(x), [LOC, SCALE], [X]),
    "normal log_prob of a draw": (lambda d, m, s, x: d.Normal(m, s).log_prob(x), [LOC, SCALE, X], []),
    "normal entropy": (lambda d, m, s: d.Normal(m, s).entropy(), [LOC, SCALE], []),
    "normal cdf": (lambda d, m, s, x: d.Normal(m, s).cdf(x), [LOC, SCALE], [X]),
    "normal moments": (lambda d, m, s: d.Normal(m, s).variance + d.Normal(m, s).mean, [LOC, SCALE], []),
    "normal kl": (
        lambda d, a, b, m, s: d.kl_divergence(d.Normal(a, b), d.Normal(m, s)), [LOC, SCALE, LOC * 2, SCALE + 1], [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_gradients(name: str) -> None:
    f, parameters, constants = CASES[name]
    inside = [p for p in parameters if np.isfinite(p).all() and (p != 0).all() and (p != 1).all()]
    if len(inside) == len(parameters):  # elsewhere they stand at the end of their range
        given = [tg.tensor(p) for p in parameters]
        assert tg.gradcheck(lambda *p: f(tg.distributions, *p, *map(tg.tensor, constants)), given)


@pytest.mark.parametrize("name", CASES)
def test_pytorch_has_the_same_numbers(name: str) -> None:
    torch = pytest.importorskip("torch", reason="the oracle")
    f, parameters, constants = CASES[name]
    theirs = [torch.tensor(p, requires_grad=True) for p in parameters]
    ours = [tg.tensor(p, requires_grad=True) for p in parameters]
    y, z = (
        f(torch.distributions, *theirs, *map(torch.tensor, constants)),
        f(tg.distributions, *ours, *map(tg.tensor, constants)),
    )
    np.testing.assert_allclose(z.detach().numpy(), y.detach().numpy(), rtol=1e-10, atol=1e-13)
    weights = rng.normal(size=z.shape)
    (y * torch.tensor(weights)).sum().backward()
    (z * tg.tensor(weights)).sum().backward()
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine.grad is None) == (other.grad is None)
        if mine.grad is not None:
            np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_masked_classes_have_no_gradient_and_no_nan() -> None:
    logits = tg.tensor(MASKED, requires_grad=True)
    entropy = Categorical(logits=logits).entropy()
    pair = Categorical(logits=tg.tensor(MASKED[:, [0, 2]])).entropy()
    np.testing.assert_allclose(entropy.detach().numpy(), pair.numpy(), rtol=1e-12)
    entropy.sum().backward()
    assert logits.grad is not None
    assert not logits.grad.isnan().any()
    assert logits.grad[:, 1].tolist() == [0] * 4
    assert not (Categorical(logits=logits).sample((100,)) == 1).any()


def test_divergence_where_one_says_never() -> None:
    p, q = tg.tensor([0.5, 0.5, 0.0], requires_grad=True), tg.tensor([0.5, 0.25, 0.25])
    found = kl_divergence(Categorical(p), Categorical(q))
    assert abs(found.item() - 0.5 * math.log(2)) < 1e-6
    found.backward()
    assert p.grad is not None
    assert p.grad.isfinite().all()
    assert kl_divergence(Categorical(q), Categorical(p.detach())).item() == math.inf
    assert kl_divergence(Bernoulli(0.5), Bernoulli(1.0)).item() == math.inf
    assert abs(kl_divergence(Bernoulli(1.0), Bernoulli(0.5)).item() - math.log(2)) < 1e-5
    with pytest.raises(NotImplementedError, match="of a Normal and a Bernoulli"):
        kl_divergence(Normal(0, 1), Bernoulli(0.5))


def test_draws() -> None:
    tg.manual_seed(0)
    drawn = Categorical(tg.tensor([1.0, 0.0, 3.0])).sample((4000,))
    assert drawn.dtype == tg.int64
    assert abs((drawn == 2).float().mean().item() - 0.75) < 0.03
    assert not (drawn == 1).any()
    several = Categorical(tg.eye(3)).sample((5, 2))
    assert several.tolist() == [[[0, 1, 2]] * 2] * 5
    assert Categorical(tg.ones(3)).sample().shape == ()
    drawn = Bernoulli(tg.tensor([0.0, 0.25, 1.0])).sample((4000,))
    assert drawn.dtype == tg.float32
    np.testing.assert_allclose(drawn.mean(0).numpy(), [0, 0.25, 1], atol=0.03)
    drawn = Normal(tg.tensor([1.0, -2.0]), tg.tensor([2.0, 0.5])).sample((4000,))
    np.testing.assert_allclose(drawn.mean(0).numpy(), [1, -2], atol=0.1)
    np.testing.assert_allclose(drawn.std(0).numpy(), [2, 0.5], atol=0.1)
    assert Normal(0, 1).sample().dtype == tg.float32
    assert Categorical(tg.ones(2, 3)).mode.shape == (2,)


def test_gradients_through_draws() -> None:
    loc, scale = tg.zeros(3, requires_grad=True), tg.ones(3, requires_grad=True)
    normal = Normal(loc, scale)
    assert normal.has_rsample
    assert not normal.sample().requires_grad
    z = normal.rsample((5,))
    z.sum().backward()
    assert loc.grad is not None
    assert scale.grad is not None
    assert loc.grad.tolist() == [5] * 3
    np.testing.assert_allclose(scale.grad.numpy(), z.detach().sum(0).numpy(), rtol=1e-6)
    for other in (Categorical(tg.ones(2)), Bernoulli(0.5)):
        with pytest.raises(NotImplementedError, match="no gradient passes through a draw"):
            other.rsample()
    with pytest.raises(NotImplementedError, match="entropy: a Distribution has none"):
        Distribution(()).entropy()


def test_parameters_out_of_range_are_refused() -> None:
    nan = float("nan")
    for make, message in (
        (lambda: Normal(0.0, -1.0), "scale must be greater than 0"),
        (lambda: Normal(nan, 1.0), "loc must not be nan"),
        (lambda: Normal(0, 1).log_prob(nan), "got nan"),
        (lambda: Categorical(tg.tensor([-1.0, 2.0])), "probs must be finite, not negative, and not all zero"),
        (lambda: Categorical(tg.zeros(3)), "probs must be finite, not negative, and not all zero"),
        (lambda: Categorical(logits=tg.tensor([nan, 1.0])), "logits must be less than infinity, not nan"),
        (lambda: Categorical(logits=tg.tensor([-math.inf] * 2)), "leave no class"),
        (lambda: Categorical(tg.tensor(1.0)), r"one number a class, got shape \(\)"),
        (lambda: Categorical(tg.ones(3)).log_prob(tg.tensor(3)), "class numbers from 0 to 2"),
        (lambda: Categorical(tg.ones(3)).log_prob(tg.tensor(-1)), "class numbers from 0 to 2"),
        (lambda: Categorical(tg.ones(3)).log_prob(tg.tensor(0.5)), "class numbers from 0 to 2"),
        (lambda: Bernoulli(1.5), "probs must be from 0 to 1"),
        (lambda: Bernoulli(), "takes probs or logits, got none"),
        (lambda: Bernoulli(0.5, 0.5), "takes probs or logits, got both"),
        (lambda: Bernoulli(0.5).log_prob(0.3), "zeros and ones"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    assert Bernoulli(0.5, validate_args=False).log_prob(0.3).isfinite().all()


def test_a_compiled_policy_step() -> None:
    w = tg.randn(3, 2, requires_grad=True)

    def step(x: Any, actions: Any) -> Any:
        w.grad = None
        policy = Categorical(logits=x @ w)
        loss = -(policy.log_prob(actions) + 0.1 * policy.entropy()).mean()
        loss.backward()
        return loss, w.grad

    compiled = tg.compile(step)
    for _ in range(3):
        x, actions = tg.randn(5, 3), tg.randint(2, (5,))
        for mine, other in zip(compiled(x, actions), step(x, actions), strict=True):
            np.testing.assert_allclose(mine.detach().numpy(), other.detach().numpy(), rtol=1e-5, atol=1e-7)
    with pytest.raises(ValueError, match="class numbers from 0 to 1"):
        compiled(x, actions + 2)

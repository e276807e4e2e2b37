"""Layers without memory, and functions as modules: PyTorch's numbers, names and repr, and what is refused."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nn
import nn.functional as F
import tinygrad_seq as tg

d = tg.float64


def compare(torch: Any, ours: Callable[..., Any], theirs: Callable[..., Any], arrays: list[Any]) -> None:
    """The same value and gradients, under a random cotangent."""
    xs = [tg.tensor(a, requires_grad=True) for a in arrays]
    ys = [torch.tensor(a, requires_grad=True) for a in arrays]
    a, b = ours(*xs), theirs(*ys)
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=0, atol=1e-10)
    weights = np.random.default_rng(1).standard_normal(a.shape)
    (a * tg.tensor(weights)).sum().backward()
    (b * torch.tensor(weights)).sum().backward()
    for x, y in zip(xs, ys, strict=True):
        assert x.grad is not None
        np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=0, atol=1e-10)


# --- layer norm ---


@pytest.mark.parametrize("shape", [(4,), (3, 4)])
@pytest.mark.parametrize("eps", [1e-5, 0.3])
@pytest.mark.parametrize("parameters", [(), ("weight",), ("bias",), ("weight", "bias")])
def test_layer_norm(torch: Any, shape: tuple[int, ...], eps: float, parameters: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    arrays = [10 + 3 * rng.standard_normal((2, 3, 4)), *(rng.standard_normal(shape) for _ in parameters)]
    arrays[0][0, 0] = 7.0  # all equal: a variance of 0

    def call(layer_norm: Any) -> Any:
        return lambda x, *p: layer_norm(x, shape, **dict(zip(parameters, p, strict=True)), eps=eps)

    compare(torch, call(F.layer_norm), call(torch.nn.functional.layer_norm), arrays)


def test_layer_norm_is_a_module(torch: Any) -> None:
    for args in ((4,), ((3, 4),), ([4], 1e-3), (4, 1e-5, False), (4, 1e-5, True, False)):
        ours, theirs = nn.LayerNorm(*args), torch.nn.LayerNorm(*args, dtype=torch.float32)
        assert repr(ours) in (
            repr(theirs),
            repr(theirs)[:-1] + f", bias={ours.bias is not None})",
        )  # an older PyTorch's
        assert [(k, v.shape) for k, v in ours.state_dict().items()] == [
            (k, tuple(v.shape)) for k, v in theirs.state_dict().items()
        ]
        x = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
        np.testing.assert_allclose(
            ours(tg.tensor(x)).detach().numpy(), theirs(torch.tensor(x)).detach().numpy(), rtol=1e-5, atol=1e-6
        )
    assert nn.LayerNorm(4, dtype=d)(tg.ones(4, dtype=d)).dtype == d


def test_layer_norm_derivatives() -> None:
    tg.gradcheck(lambda x, w, b: F.layer_norm(x, (4,), w, b), [tg.randn(3, 4), tg.randn(4), tg.randn(4)])
    tg.gradgradcheck(lambda x, w, b: F.layer_norm(x, (4,), w, b), [tg.randn(2, 4), tg.randn(4), tg.randn(4)])
    for x in (tg.tensor([1e4, -1e4, 0.0, 1.0]), tg.full((4,), 1e4)):
        _, (second,) = tg.hvp(lambda x: (F.layer_norm(x, (4,)) ** 3).sum(), (x,), (tg.ones(4),))
        for y in (F.layer_norm(x, (4,)), tg.grad(lambda x: F.layer_norm(x, (4,))[0])(x), second):
            assert y.dtype == tg.float32
            assert np.isfinite(y.numpy()).all()


# --- embedding ---


@pytest.mark.parametrize("padding_idx", [None, 0, 3, -1, -5])
def test_embedding(torch: Any, padding_idx: int | None) -> None:
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 5, (4, 6))
    compare(
        torch,
        lambda w: F.embedding(tokens, w, padding_idx).tanh(),
        lambda w: torch.nn.functional.embedding(torch.tensor(tokens), w, padding_idx).tanh(),
        [rng.standard_normal((5, 3))],
    )


def test_a_padding_row_stays_zero() -> None:
    embedding = nn.Embedding(5, 3, -2)
    assert embedding.padding_idx == 3
    assert repr(embedding) == "Embedding(5, 3, padding_idx=3)"
    assert embedding.weight.detach()[3].tolist() == [0, 0, 0]
    assert embedding.weight.detach()[[0, 1, 2, 4]].numpy().all()
    optimizer = nn.optim.SGD(embedding.parameters(), lr=1.0)
    (embedding([[3, 1], [3, 3]]) - 1.0).square().sum().backward()
    optimizer.step()
    assert embedding.weight.detach()[3].tolist() == [0, 0, 0]
    assert embedding([3, 3]).shape == (2, 3)


def test_embedding_of_given_vectors() -> None:
    table = tg.randn(4, 2)
    frozen = nn.Embedding.from_pretrained(table)
    assert (frozen.num_embeddings, frozen.embedding_dim, frozen.weight.requires_grad) == (4, 2, False)
    assert frozen([1]).tolist() == [table[1].tolist()]
    assert isinstance(frozen.weight, nn.Parameter)
    assert list(frozen.state_dict()) == ["weight"]
    trained = nn.Embedding.from_pretrained(table, freeze=False, padding_idx=1)
    assert trained.weight.detach().tolist() == table.tolist(), "the row stays as it is given"
    trained([0, 1]).sum().backward()
    assert trained.weight.grad is not None
    assert trained.weight.grad.tolist() == [[1, 1], [0, 0], [0, 0], [0, 0]]
    table[0] = 7.0
    assert trained.weight.detach()[0].tolist() == [7, 7], "the same memory"


# --- lengths and angles ---


@pytest.mark.parametrize("options", [{}, {"dim": 0}, {"dim": (0, 1)}, {"p": 1.0}, {"p": 3.0, "dim": -1}, {"eps": 2.5}])
def test_normalize(torch: Any, options: dict[str, Any]) -> None:
    x = np.random.default_rng(0).standard_normal((3, 4))
    compare(torch, lambda x: F.normalize(x, **options), lambda x: torch.nn.functional.normalize(x, **options), [x])


def test_the_zero_vector_has_no_direction(torch: Any) -> None:
    x = np.zeros((2, 3))
    x[1] = 1.0
    compare(torch, F.normalize, torch.nn.functional.normalize, [x])
    assert F.cosine_similarity(tg.tensor(x), tg.ones(2, 3, dtype=d)).tolist() == [0, pytest.approx(1)]


@pytest.mark.parametrize("shapes", [((3, 4), (3, 4)), ((3, 4), (1, 4)), ((2, 3, 4), (3, 1)), ((4,), (2, 4))])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_cosine_similarity(torch: Any, shapes: Any, dim: int) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) for shape in shapes]
    ours, theirs = nn.CosineSimilarity(dim), torch.nn.CosineSimilarity(dim)
    compare(torch, ours, theirs, arrays)
    tg.gradcheck(lambda a, b: F.cosine_similarity(a, b, dim), [tg.tensor(a) for a in arrays])


# --- activations ---

ACTIVATIONS: list[tuple[str, dict[str, Any]]] = [
    ("Tanh", {}),
    ("Sigmoid", {}),
    ("LogSigmoid", {}),
    ("ReLU", {}),
    ("SiLU", {}),
    ("Identity", {}),
    ("LeakyReLU", {}),
    ("LeakyReLU", {"negative_slope": 0.3}),
    ("ELU", {}),
    ("ELU", {"alpha": 0.3}),
    ("GELU", {}),
    ("GELU", {"approximate": "tanh"}),
    ("Softplus", {}),
    ("Softplus", {"beta": 2.0, "threshold": 1.0}),
    ("Hardtanh", {}),
    ("Hardtanh", {"min_val": -0.5, "max_val": 2.0}),
    ("Softmax", {"dim": 0}),
    ("Softmax", {"dim": -1}),
    ("LogSoftmax", {"dim": 1}),
    ("Flatten", {}),
    ("Flatten", {"start_dim": 0, "end_dim": 1}),
]


@pytest.mark.parametrize(("name", "options"), ACTIVATIONS)
def test_activations(torch: Any, name: str, options: dict[str, Any]) -> None:
    ours, theirs = getattr(nn, name)(**options), getattr(torch.nn, name)(**options)
    assert repr(ours) == repr(theirs)
    assert not ours.state_dict()
    x = 3 * np.random.default_rng(0).standard_normal((2, 3, 4))
    compare(torch, ours, theirs, [x])
    positional = getattr(nn, name)(*options.values())
    for other in (positional, copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert repr(other) == repr(ours)
        np.testing.assert_array_equal(other(tg.tensor(x)).numpy(), ours(tg.tensor(x)).numpy())
    assert all(getattr(ours, key) == value for key, value in options.items())


@pytest.mark.parametrize(("name", "options"), ACTIVATIONS)
def test_activations_far_out(name: str, options: dict[str, Any]) -> None:
    """Value, gradient and second derivative at |x| = 10⁴ in float32: as in float64."""
    module = getattr(nn, name)(**options)
    results = []
    for dtype in (tg.float32, d):
        x = tg.tensor([[-1e4, -30.0, -1.5, 0.25], [1.5, 30.0, 1e4, 9e3]], dtype=dtype)
        v = tg.tensor([[0.5, 1.0, -1.0, 2.0]] * 2, dtype=dtype)

        def weighted(x: tg.Tensor) -> tg.Tensor:
            y = module(x)
            return (y * tg.arange(y.numel()).reshape(y.shape).to(y.dtype)).sum()

        _, (second,) = tg.hvp(weighted, (x,), (v,))
        results.append([module(x).numpy(), tg.grad(weighted)(x).numpy(), second.numpy()])
    for found, expected in zip(*results, strict=True):
        assert found.dtype == np.float32
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


def test_hardtanh_on_its_bounds(torch: Any) -> None:
    compare(torch, F.hardtanh, torch.nn.functional.hardtanh, [np.array([-2.0, -1.0, 0.0, 1.0, 2.0])])
    assert np.isnan(F.hardtanh(tg.tensor([float("nan")])).numpy()).all()


@pytest.mark.parametrize("function", [F.logsigmoid, F.softplus, F.hardtanh, lambda x: F.softplus(x, 0.5, 100.0)])
def test_activations_are_right(function: Any) -> None:
    tg.gradcheck(function, tg.randn(3, 4) * 3)


def test_identity_takes_anything() -> None:
    x = tg.ones(2)
    assert nn.Identity(54, unused=True)(x) is x


def test_function_modules_are_one_class_of_users_too() -> None:
    class Scaled(nn.Tanh):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(tg.ones(1) * 2)

        def forward(self, *inputs: Any, **named: Any) -> tg.Tensor:
            return super().forward(*inputs, **named) * self.scale

    assert Scaled()(tg.ones(1)).item() == pytest.approx(2 * np.tanh(1))
    assert repr(Scaled()) == "Scaled()"


# --- losses as modules ---

MODULES: list[tuple[str, str, dict[str, Any]]] = [
    ("CrossEntropyLoss", "cross_entropy", {"weight": np.arange(1.0, 5.0), "ignore_index": 1, "label_smoothing": 0.1}),
    ("NLLLoss", "nll_loss", {"weight": np.arange(1.0, 5.0), "ignore_index": 1}),
    ("BCELoss", "binary_cross_entropy", {"weight": np.arange(1.0, 5.0)}),
    ("BCEWithLogitsLoss", "binary_cross_entropy_with_logits", {"pos_weight": np.arange(1.0, 5.0)}),
    ("MSELoss", "mse_loss", {}),
    ("L1Loss", "l1_loss", {}),
    ("SmoothL1Loss", "smooth_l1_loss", {"beta": 0.3}),
    ("HuberLoss", "huber_loss", {"delta": 0.3}),
    ("KLDivLoss", "kl_div", {"log_target": True}),
]


@pytest.mark.parametrize(("module", "function", "options"), MODULES)
def test_modules(torch: Any, module: str, function: str, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    x, t = rng.random((2, 5, 4))
    target = rng.integers(0, 4, 5) if module in ("CrossEntropyLoss", "NLLLoss") else t
    options = options | {"reduction": "sum"}
    ours = getattr(nn, module)(**{k: tg.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()})
    theirs = getattr(torch.nn, module)(
        **{k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    )
    assert ours.reduction == "sum"
    assert list(ours.state_dict()) == list(theirs.state_dict())
    y = ours(tg.tensor(x), tg.tensor(target))
    np.testing.assert_allclose(y.item(), theirs(torch.tensor(x), torch.tensor(target)).item(), rtol=1e-12)
    assert ours(input=tg.tensor(x), target=tg.tensor(target)).item() == y.item()
    assert y.item() == getattr(F, function)(tg.tensor(x), tg.tensor(target), **options).item()
    assert getattr(nn, module)().reduction == "mean"


# --- what is refused ---

X = tg.ones(2, 4)
MISTAKES: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: F.layer_norm(X, (3,)), ValueError, r"layer_norm: input has shape \(2, 4\), .* normalized_shape=\(3,\)"),
    (lambda: F.layer_norm(X, ()), ValueError, r"layer_norm: .* one at least"),
    (lambda: F.layer_norm(X, (4,), tg.ones(3)), ValueError, r"layer_norm: weight has shape \(3,\)"),
    (lambda: F.layer_norm(X, (4,), bias=tg.ones(1)), ValueError, r"layer_norm: bias has shape \(1,\)"),
    (lambda: F.layer_norm(X.long(), (4,)), TypeError, "layer_norm: input must be floating-point, got int64"),
    (lambda: nn.LayerNorm(()), ValueError, "LayerNorm: normalized_shape"),
    (lambda: nn.LayerNorm((3, 0)), ValueError, "LayerNorm: normalized_shape must be a whole number from 1 on, got 0"),
    (lambda: F.embedding([4], tg.ones(4, 2).cpu()), IndexError, "embedding: got index 4 for a dimension of length 4"),
    (lambda: F.embedding([1.0], tg.ones(4, 2)), TypeError, "embedding: the tokens, .* float32; convert them with"),
    (lambda: F.embedding([1], tg.ones(4, 2), 4), IndexError, "embedding: padding_idx=4 is out of range; .* 0 to 3"),
    (lambda: nn.Embedding(4, 2, -5), IndexError, "Embedding: padding_idx=-5 is out of range"),
    (lambda: nn.Embedding.from_pretrained(tg.ones(3)), ValueError, r"takes a table \(V, F\), got shape \(3,\)"),
    (lambda: F.hardtanh(X, 1.0, -1.0), ValueError, "hardtanh: takes min_val <= max_val, got 1.0 and -1.0"),
    (lambda: F.cosine_similarity(X, X, 2), IndexError, "cosine_similarity: dim=2 is out of range"),
    (lambda: F.cosine_similarity(X, tg.ones(3)), ValueError, r"shape.*\(2, 4\)"),
    (lambda: F.normalize(X.long()), TypeError, "normalize: input must be floating-point"),
    (lambda: nn.GELU("erf")(X), ValueError, "'none' or 'tanh', got 'erf'"),
    (lambda: nn.Softmax(2)(X), IndexError, "softmax: dim=2"),
]


@pytest.mark.parametrize(("call", "kind", "words"), MISTAKES, ids=[words for *_, words in MISTAKES])
def test_mistakes_are_explained(call: Callable[[], Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        call()


def test_pad_is_pytorchs() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
    a = np.arange(6.0).reshape(2, 3)
    for given, named in (
        (((1, 2),), {}),
        (((0, 0, 1, 1), "constant", 7), {}),
        (([1, -1],), {"value": -1.0}),
        (((1, 1),), {"mode": "constant"}),
        (((2, 1), "reflect"), {}),
        (((-3, 2), "replicate"), {}),
        (((-1, 2), "circular"), {}),
        (((-1, 2), "reflect"), {}),
    ):
        ours, theirs = F.pad(tg.tensor(a), *given, **named), torch.nn.functional.pad(torch.tensor(a), *given, **named)
        assert ours.tolist() == theirs.tolist()

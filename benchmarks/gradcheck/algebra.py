"""Linear algebra, Fourier transforms, scattering and gathering: rules that are easy to get nearly right."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import Draw, draws, fixed, normal, uniform
from .special import whole


def well_conditioned(n: int) -> Draw:
    return lambda rng: [rng.standard_normal((n, n)) + 3 * np.eye(n)]


def positive_definite(n: int) -> Draw:
    def draw(rng: np.random.Generator) -> list[Any]:
        a = rng.standard_normal((n, n))
        return [a @ a.T + np.eye(n)]

    return draw


def symmetric(n: int) -> Draw:
    """With eigenvalues that lie apart."""

    def draw(rng: np.random.Generator) -> list[Any]:
        q, _ = np.linalg.qr(rng.standard_normal((n, n)))
        s = q @ np.diag(np.arange(n) + rng.uniform(0.1, 0.4, n)) @ q.T
        return [(s + s.T) / 2]

    return draw


def _solve(a: Any, b: Any) -> Any:
    return np.linalg.solve(a, b[..., None])[..., 0]


def _solve_backward(g: Any, a: Any, b: Any, y: Any) -> Any:
    db = _solve(a.T, g)
    return -np.outer(db, y), db


def _solve_wrong(g: Any, a: Any, b: Any, y: Any) -> Any:
    db = _solve(a.T, g)
    return -np.outer(y, db), db


whole(
    "solve", _solve, _solve_backward,
    "the outer product transposed", _solve_wrong, draws(well_conditioned(3), normal(3)),
)  # fmt: skip
whole(
    "determinant", np.linalg.det, lambda g, x, y: g * y * np.linalg.inv(x).T,
    "inverse not transposed", lambda g, x, y: g * y * np.linalg.inv(x), well_conditioned(3),
)  # fmt: skip
whole(
    "log of the determinant", lambda x: np.log(np.abs(np.linalg.det(x.real))), lambda g, x, y: g * np.linalg.inv(x).T,
    "times the determinant", lambda g, x, y: g * np.exp(y) * np.linalg.inv(x).T, well_conditioned(4),
)  # fmt: skip


def half(x: Any) -> Any:
    """The lower triangle, with half of the diagonal."""
    return np.tril(x) - np.diag(np.diag(x)) / 2


def _cholesky(x: Any) -> Any:
    """Of the symmetric part."""
    return np.linalg.cholesky((x.real + x.real.T) / 2)


def _cholesky_backward(g: Any, x: Any, y: Any) -> Any:
    inverse = np.linalg.inv(y)
    s = inverse.T @ half(y.T @ np.tril(g)) @ inverse
    return (s + s.T) / 2


def _cholesky_wrong(g: Any, x: Any, y: Any) -> Any:
    inverse = np.linalg.inv(y)
    s = inverse.T @ np.tril(y.T @ np.tril(g)) @ inverse
    return (s + s.T) / 2


whole("Cholesky factor", _cholesky, _cholesky_backward, "diagonal not halved", _cholesky_wrong, positive_definite(4))


def conjugated(x: Any, values: Any, by_rows: bool = False) -> Any:
    """V diag(values) V.T of the eigenvectors of x."""
    v = np.linalg.eigh(x)[1]
    v = v.T if by_rows else v
    return (v * values) @ v.T


whole(
    "eigenvalues of a symmetric matrix",
    lambda x: np.linalg.eigvalsh((x.real + x.real.T) / 2),
    lambda g, x, y: conjugated(x, g),
    "eigenvectors by rows",
    lambda g, x, y: conjugated(x, g, by_rows=True),
    symmetric(4),
)


def _projector(x: Any) -> Any:
    """On the eigenvector of the largest eigenvalue."""
    v = np.linalg.eigh((x.real + x.real.T) / 2)[1][:, -1]
    return np.outer(v, v)


def _projector_backward(sign: float) -> Any:
    def backward(g: Any, x: Any, y: Any) -> Any:
        w, v = np.linalg.eigh(x)
        gaps = np.append(1 / (w[-1] - w[:-1]), 0.0)
        s = v @ (gaps[:, None] * (v.T @ (g + sign * g.T) @ np.outer(v[:, -1], v[:, -1]) @ v)) @ v.T
        return (s + s.T) / 2

    return backward


whole(
    "projector on an eigenvector", _projector, _projector_backward(1.0),
    "one half of a symmetric product", _projector_backward(0.0), symmetric(3),
)  # fmt: skip


def recombined(x: Any, values: Any) -> Any:
    """U diag(values) V of the singular vectors of x."""
    u, _, v = np.linalg.svd(x, full_matrices=False)
    return (u * values) @ v


whole(
    "singular values",
    lambda x: np.linalg.svd(x.real, compute_uv=False),
    lambda g, x, y: recombined(x, g),
    "squared",
    lambda g, x, y: recombined(x, 2 * g * y),
    normal(4, 3),
)
whole(
    "nuclear norm",
    lambda x: np.linalg.svd(x.real, compute_uv=False).sum(),
    lambda g, x, y: recombined(x, g),
    "the factor transposed",
    lambda g, x, y: recombined(x, g).T,
    normal(3, 3),
)
whole(
    "third power of a matrix", lambda x: x @ x @ x,
    lambda g, x, y: g @ (x @ x).T + x.T @ g @ x.T + (x @ x).T @ g,
    "as if it commuted", lambda g, x, y: 3 * g @ (x @ x).T, normal(3, 3),
)  # fmt: skip


def _exponential(x: Any, terms: int = 30) -> Any:
    total = term = np.eye(len(x)) + 0 * x
    for k in range(1, terms):
        term = term @ x / k
        total = total + term
    return total


def _exponential_backward(g: Any, x: Any, y: Any) -> Any:
    """The upper right block of exp([[x.T, g], [0, x.T]])."""
    n = len(x)
    return _exponential(np.block([[x.T, g], [np.zeros((n, n)), x.T]]))[:n, n:]


whole(
    "exponential of a matrix", _exponential, _exponential_backward,
    "as if it commuted", lambda g, x, y: y.T @ g, normal(3, 3, scale=0.5),
)  # fmt: skip
whole(
    "least squares", lambda a, b: np.linalg.solve(a.T @ a, a.T @ b),
    lambda g, a, b, y: (
        (lambda h: np.outer(b - a @ y, h) - np.outer(a @ h, y))(np.linalg.solve(a.T @ a, g)),
        a @ np.linalg.solve(a.T @ a, g),
    ),
    "the residual left out",
    lambda g, a, b, y: (
        -np.outer(a @ np.linalg.solve(a.T @ a, g), y),
        a @ np.linalg.solve(a.T @ a, g),
    ),
    draws(normal(6, 3), normal(6)),
)  # fmt: skip
whole(
    "quadratic form", lambda x, a: x @ a @ x, lambda g, x, a, y: (g * (a + a.T) @ x, g * np.outer(x, x)),
    "twice the matrix", lambda g, x, a, y: (2 * g * a @ x, g * np.outer(x, x)), draws(normal(4), normal(4, 4)),
)  # fmt: skip
whole(
    "Kronecker product", np.kron,
    lambda g, a, b, y: (
        np.einsum("ikjl,kl->ij", g.reshape(2, 3, 2, 3), b),
        np.einsum("ikjl,ij->kl", g.reshape(2, 3, 2, 3), a),
    ),
    "the other order of axes",
    lambda g, a, b, y: (
        np.einsum("kilj,kl->ij", g.reshape(3, 2, 3, 2), b),
        np.einsum("ikjl,ij->kl", g.reshape(2, 3, 2, 3), a),
    ),
    draws(normal(2, 2), normal(3, 3)),
)  # fmt: skip

# --- Fourier ---

whole(
    "power spectrum", lambda x: np.abs(np.fft.fft(x.real)) ** 2,
    lambda g, x, y: 2 * len(x) * np.fft.ifft(g * np.fft.fft(x)).real,
    "without the length", lambda g, x, y: 2 * np.fft.ifft(g * np.fft.fft(x)).real, normal(7),
)  # fmt: skip
whole(
    "power spectrum by rfft", lambda x: np.abs(np.fft.rfft(x.real)) ** 2,
    lambda g, x, y: 2 * len(x) * np.fft.ifft(np.pad(g, (0, len(x) - len(g))) * np.fft.fft(x)).real,
    "by irfft, which counts frequencies twice", lambda g, x, y: 2 * len(x) * np.fft.irfft(g * np.fft.rfft(x), len(x)),
    normal(8),
)  # fmt: skip
whole(
    "circular convolution", lambda a, b: np.fft.irfft(np.fft.rfft(a.real) * np.fft.rfft(b.real), 8),
    lambda g, a, b, y: (
        np.fft.irfft(np.fft.rfft(g) * np.conj(np.fft.rfft(b)), 8),
        np.fft.irfft(np.fft.rfft(g) * np.conj(np.fft.rfft(a)), 8),
    ),
    "not conjugated",
    lambda g, a, b, y: (
        np.fft.irfft(np.fft.rfft(g) * np.fft.rfft(b), 8),
        np.fft.irfft(np.fft.rfft(g) * np.conj(np.fft.rfft(a)), 8),
    ),
    draws(normal(8), normal(8)),
)  # fmt: skip

# --- scattering and gathering ---

AT = np.array([[2, 0, 1], [1, 1, 2]])
SEGMENTS = np.array([0, 0, 1, 2, 2, 2])


def _take_backward(add: bool) -> Any:
    def backward(g: Any, x: Any, y: Any) -> Any:
        d = np.zeros_like(x)
        rows = np.arange(2)[:, None]
        if add:
            np.add.at(d, (rows, AT), g)
        else:
            d[rows, AT] = g
        return d

    return backward


whole(
    "take along an axis", lambda x: np.take_along_axis(x, AT, 1), _take_backward(add=True),
    "repeats overwritten", _take_backward(add=False), normal(2, 3),
)  # fmt: skip
whole(
    "means of segments", lambda x: np.stack([x[k == SEGMENTS].mean(0) for k in range(3)]),
    lambda g, x, y: (g / np.bincount(SEGMENTS)[:, None])[SEGMENTS],
    "sums of segments", lambda g, x, y: g[SEGMENTS], normal(6, 2),
)  # fmt: skip
whole(
    "softmax of segments", lambda x: np.exp(x) / np.stack([np.exp(x[k == SEGMENTS]).sum() for k in SEGMENTS]),
    lambda g, x, y: y * (g - np.bincount(SEGMENTS, g * y)[SEGMENTS]),
    "over all of them", lambda g, x, y: y * (g - (g * y).sum()), normal(6),
)  # fmt: skip
whole(
    "roll", lambda x: np.roll(x, 2, 0), lambda g, x, y: np.roll(g, -2, 0),
    "the same way again", lambda g, x, y: np.roll(g, 2, 0), normal(5, 2),
)  # fmt: skip
whole(
    "reflected padding", lambda x: np.concatenate([x[2:0:-1], x, x[-2:-4:-1]]),
    lambda g, x, y: g[2:-2] + np.concatenate([[0], g[1::-1], np.zeros(len(x) - 6), g[:-3:-1], [0]]),
    "the edge itself reflected", lambda g, x, y: g[2:-2] + np.concatenate([g[1::-1], np.zeros(len(x) - 4), g[:-3:-1]]),
    normal(8),
)  # fmt: skip
whole(
    "running product", lambda x: np.cumprod(x), lambda g, x, y: np.cumsum((g * y)[::-1])[::-1] / x,
    "divided by y", lambda g, x, y: np.cumsum((g * y)[::-1])[::-1] / y, uniform(6),
)  # fmt: skip
whole(
    "running maximum", lambda x: np.maximum.accumulate(x.real),
    lambda g, x, y: np.where(x == y, np.bincount(np.searchsorted(y, y), g, len(x)), 0),
    "each its own", lambda g, x, y: g * (x == y), normal(7),
)  # fmt: skip
whole(
    "running logsumexp", lambda x: np.log(np.cumsum(np.exp(x))),
    lambda g, x, y: np.exp(x) * np.cumsum((g * np.exp(-y))[::-1])[::-1],
    "running the same way", lambda g, x, y: np.exp(x) * np.cumsum(g * np.exp(-y)), normal(6),
)  # fmt: skip
whole(
    "differences", lambda x: np.diff(x), lambda g, x, y: -np.diff(np.concatenate([[0], g, [0]])),
    "the ends left out", lambda g, x, y: np.concatenate([[0], -np.diff(g), [0]]), normal(6),
)  # fmt: skip
whole(
    "trapezoidal rule", lambda y, x: ((y[1:] + y[:-1]) * np.diff(x)).sum() / 2,
    lambda g, y, x, _: (
        g * np.convolve(np.diff(x), [0.5, 0.5]),
        -g * np.diff(np.concatenate([[0], (y[1:] + y[:-1]) / 2, [0]])),
    ),
    "ends counted in full",
    lambda g, y, x, _: (
        g * np.concatenate([np.diff(x)[:1], np.convolve(np.diff(x), [0.5, 0.5], "valid"), np.diff(x)[-1:]]),
        -g * np.diff(np.concatenate([[0], (y[1:] + y[:-1]) / 2, [0]])),
    ),
    draws(normal(6), fixed([0.0, 0.5, 0.7, 1.2, 2.0, 2.1])),
)  # fmt: skip
whole(
    "quantile between two", lambda x: np.quantile(x.real, 0.3),
    lambda g, x, y: g * (lambda o: np.eye(6)[o[1]] * 0.5 + np.eye(6)[o[2]] * 0.5)(np.argsort(x)),
    "all to the nearest", lambda g, x, y: g * np.eye(6)[np.argsort(x)[1]], normal(6),
)  # fmt: skip
whole(
    "top two", lambda x: -np.sort(-x.real)[:2],
    lambda g, x, y: (x[..., None] == y) @ g,
    "in ascending order", lambda g, x, y: (x[..., None] == y) @ g[::-1], normal(6),
)  # fmt: skip

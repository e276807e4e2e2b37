"""Small programs with a gradient by hand: solvers, filters, samplers, gathers, each beside its likeliest mistake."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .case import CORRECT, WRONG, Case, draws, enter, fixed, normal, uniform
from .special import erf, normal_density, sigmoid, whole

# --- solvers, whose gradient comes from the equation that they solve ---


def kepler(M: Any, e: Any) -> Any:
    E = M + e * np.sin(M)
    for _ in range(30):
        E = E - (E - e * np.sin(E) - M) / (1 - e * np.cos(E))
    return E


whole(
    "Kepler's equation by Newton's method", kepler,
    lambda g, M, e, y: (g / (1 - e * np.cos(y)), g * np.sin(y) / (1 - e * np.cos(y))),
    "the last step alone", lambda g, M, e, y: (g, g * np.sin(y)),
    draws(uniform(4, low=0.3, high=2.5), uniform(4, low=0.1, high=0.8)),
)  # fmt: skip


def bisected(x: Any) -> Any:
    """Where t³ + t = x, to 1e-9: a result on a grid."""
    low, high = np.zeros_like(x), np.full_like(x, 4.0)
    while (high - low).max() > 1e-9:
        middle = (low + high) / 2
        above = middle**3 + middle > x
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return low


whole(
    "a root by bisection to nine digits", bisected, lambda g, x, y: g / (3 * y * y + 1),
    "1 % too large", lambda g, x, y: 1.01 * g / (3 * y * y + 1), uniform(4, low=1.0, high=20.0),
)  # fmt: skip


def equilibrium(W: Any, x: Any) -> Any:
    h = np.zeros_like(x)
    for _ in range(200):
        h = np.tanh(W @ h + x)
    return h


def equilibrium_back(g: Any, W: Any, x: Any, h: Any, steps: int = 200) -> Any:
    total = u = g
    for _ in range(steps):
        u = W.T @ ((1 - h * h) * u)
        total = total + u
    total = total * (1 - h * h)
    return np.outer(total, h), total


whole(
    "an equilibrium of a recurrent layer", equilibrium, equilibrium_back,
    "one step back", lambda *a: equilibrium_back(*a, steps=0), draws(normal(4, 4, scale=0.2), normal(4)),
)  # fmt: skip


def sylvester(A: Any, B: Any, C: Any) -> Any:
    n, m = C.shape
    operator = np.kron(A, np.eye(m)) + np.kron(np.eye(n), B.T)
    return np.linalg.solve(operator, C.reshape(-1)).reshape(n, m)


def sylvester_back(g: Any, A: Any, B: Any, C: Any, X: Any) -> Any:
    S = sylvester(A.T, B.T, g)
    return -S @ X.T, -X.T @ S, S


whole(
    "Sylvester's equation", sylvester, sylvester_back, "solved the same way again",
    lambda g, A, B, C, X: (-sylvester(A, B, g) @ X.T, -X.T @ sylvester(A, B, g), sylvester(A, B, g)),
    draws(normal(3, 3, shift=0.5), normal(2, 2, shift=0.5), normal(3, 2)),
)  # fmt: skip


def evidence(l: Any, s: Any) -> Any:
    """A Gaussian process's log marginal likelihood, up to a constant, by its length scale and noise."""
    L = np.linalg.cholesky(kernel(l) + s * np.eye(6))
    z = np.linalg.solve(L, TARGETS)
    return -(z * z).sum() / 2 - np.log(np.diag(L)).sum()


PLACES = np.array([0.1, 0.4, 0.5, 0.9, 1.3, 2.0])
TARGETS = np.sin(3 * PLACES)
APART = (PLACES[:, None] - PLACES) ** 2


def kernel(l: Any) -> Any:
    return np.exp(-APART / (2 * l * l))


def evidence_back(g: Any, l: Any, s: Any, y: Any, trace: float = 1.0) -> Any:
    K = np.linalg.inv(kernel(l) + s * np.eye(6))
    a = K @ TARGETS
    outer = np.outer(a, a) - trace * K
    return g * (outer * (kernel(l) * APART / l**3)).sum() / 2, g * np.trace(outer) / 2


whole(
    "evidence of a Gaussian process", evidence, evidence_back, "without the log determinant",
    lambda *a: evidence_back(*a, trace=0.0), draws(uniform(), uniform(low=0.1, high=0.3)),
)  # fmt: skip


def hunt(z: Any) -> Any:
    x, y = z
    return np.stack([x * (1.1 - 0.4 * y), y * (0.1 * x - 0.4)])


def hunt_back(g: Any, z: Any) -> Any:
    x, y = z
    return np.stack([g[0] * (1.1 - 0.4 * y) + g[1] * 0.1 * y, -g[0] * 0.4 * x + g[1] * (0.1 * x - 0.4)])


H = 0.1


def runge_kutta(z: Any) -> Any:
    for _ in range(20):
        z = runge_kutta_step(z)
    return z


def runge_kutta_step(z: Any) -> Any:
    a = hunt(z)
    b = hunt(z + H / 2 * a)
    c = hunt(z + H / 2 * b)
    return z + H / 6 * (a + 2 * b + 2 * c + hunt(z + H * c))


def runge_kutta_back(g: Any, z: Any, y: Any, third: float = 2.0) -> Any:
    states = [z]
    for _ in range(20):
        states.append(runge_kutta_step(states[-1]))
    for z in states[-2::-1]:
        a = hunt(z)
        b = hunt(z + H / 2 * a)
        c = hunt(z + H / 2 * b)
        gz = hunt_back(H / 6 * g, z + H * c)
        gc = H * gz + H / 6 * third * g
        zc = hunt_back(gc, z + H / 2 * b)
        zb = hunt_back(H / 2 * zc + H / 3 * g, z + H / 2 * a)
        g = g + gz + zc + zb + hunt_back(H / 2 * zb + H / 6 * g, z)
    return g


def continuous_back(g: Any, z: Any, y: Any) -> Any:
    """The adjoint equation along the same states, by the midpoint of two of them."""
    states = [z]
    for _ in range(20):
        states.append(runge_kutta_step(states[-1]))
    for z, after in zip(states[-2::-1], states[:0:-1], strict=True):
        middle = (z + after) / 2
        half = g + H / 2 * hunt_back(g, after)
        g = g + H * hunt_back(half, middle)
    return g


whole(
    "hunter and prey by Runge and Kutta", runge_kutta, runge_kutta_back,
    "the continuous adjoint", continuous_back, uniform(2, low=2.0, high=5.0),
)  # fmt: skip


# --- special functions and finance ---


def option(spot: Any, volatility: Any) -> Any:
    d = np.log(spot) / volatility + volatility / 2
    return spot * (1 + erf(d / 2**0.5)) / 2 - (1 + erf((d - volatility) / 2**0.5)) / 2


whole(
    "Black and Scholes", option,
    lambda g, s, v, y: (
        g * (1 + erf((np.log(s) / v + v / 2) / 2**0.5)) / 2, g * s * normal_density(np.log(s) / v + v / 2)),
    "delta by d2", lambda g, s, v, y: (
        g * (1 + erf((np.log(s) / v - v / 2) / 2**0.5)) / 2, g * s * normal_density(np.log(s) / v + v / 2)),
    draws(uniform(4, low=0.8, high=1.2), uniform(4, low=0.1, high=0.4)),
)  # fmt: skip


def lambert(x: Any) -> Any:
    w = np.log1p(x)
    for _ in range(20):
        e = np.exp(w)
        w = w - (w * e - x) / (e * (w + 1))
    return w


whole(
    "Lambert's function", lambert, lambda g, x, y: g / (np.exp(y) * (1 + y)),
    "without the 1", lambda g, x, y: g / (np.exp(y) * y), uniform(4),
)  # fmt: skip

whole(
    "an integral to a moving end, by Simpson's rule",
    lambda a: (a / 30) * (np.exp(-np.outer(a, np.linspace(0, 1, 11)) ** 2) @ SIMPSON),
    lambda g, a, y: g * (y / a - (a / 30) * ((2 * np.outer(a, np.linspace(0, 1, 11) ** 2)
                         * np.exp(-np.outer(a, np.linspace(0, 1, 11)) ** 2)) @ SIMPSON)),
    "the integrand at the end", lambda g, a, y: g * np.exp(-a * a), uniform(4),
)  # fmt: skip

# --- signals and images ---

SPECTRUM = 1 / (1 + np.arange(7) ** 2)

whole(
    "a low pass by rfft", lambda x: np.fft.irfft(np.fft.rfft(x) * SPECTRUM, 12),
    lambda g, x, y: np.fft.irfft(np.fft.rfft(g) * SPECTRUM, 12),
    "half a sample late", lambda g, x, y: np.fft.irfft(np.fft.rfft(g) * SPECTRUM * np.exp(-0.26j * np.arange(7)), 12),
    normal(3, 12),
)  # fmt: skip


def envelope(x: Any) -> Any:
    return abs(np.fft.ifft(np.fft.fft(x) * ANALYTIC))


ANALYTIC = np.array([1, 2, 2, 2, 2, 2, 1, 0, 0, 0, 0, 0.0])


def envelope_back(g: Any, x: Any, y: Any) -> Any:
    z = np.fft.ifft(np.fft.fft(x) * ANALYTIC)
    return np.fft.fft(np.fft.ifft(g * z.conj() / y) * ANALYTIC).real


whole(
    "envelope of a signal", envelope, envelope_back, "not conjugated",
    lambda g, x, y: envelope_back(g, -x[::-1], y), normal(12, shift=0.3),
)  # fmt: skip


def catmull_rom(v: Any, p: Any) -> Any:
    k = np.floor(p.real).astype(int)
    a, b, c, d = (v[k + j] for j in (-1, 0, 1, 2))
    t = p - k
    return b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))


def catmull_rom_back(g: Any, v: Any, p: Any, y: Any, linear: bool = False) -> Any:
    k = np.floor(p).astype(int)
    t = p - k
    parts = [(-t + 2 * t * t - t**3) / 2, 1 + (-5 * t * t + 3 * t**3) / 2, (t + 4 * t * t - 3 * t**3) / 2,
             (t**3 - t * t) / 2]  # fmt: skip
    dv = np.zeros_like(v)
    for j, part in zip((-1, 0, 1, 2), parts, strict=True):
        np.add.at(dv, k + j, g * part)
    a, b, c, d = (v[k + j] for j in (-1, 0, 1, 2))
    slope = (c - a) / 2 + t * (2 * a - 5 * b + 4 * c - d) + 1.5 * t * t * (3 * (b - c) + d - a)
    return dv, g * (c - b if linear else slope)


whole(
    "a cubic between samples", catmull_rom, catmull_rom_back, "the slope of a line",
    lambda *a: catmull_rom_back(*a, linear=True), draws(normal(8), uniform(5, low=1.1, high=5.9)),
)  # fmt: skip


def bilinear(image: Any, p: Any) -> Any:
    k = np.floor(p.real).astype(int)
    t = p - k
    (r, c), (u, v) = k, t
    return ((1 - u) * (1 - v) * image[r, c] + (1 - u) * v * image[r, c + 1] + u * (1 - v) * image[r + 1, c]
            + u * v * image[r + 1, c + 1])  # fmt: skip


def bilinear_back(g: Any, image: Any, p: Any, y: Any, add: bool = True) -> Any:
    k = np.floor(p).astype(int)
    (r, c), (u, v) = k, p - k
    d = np.zeros_like(image)
    corners = (
        ((r, c), (1 - u) * (1 - v)),
        ((r, c + 1), (1 - u) * v),
        ((r + 1, c), u * (1 - v)),
        ((r + 1, c + 1), u * v),
    )
    for at, weight in corners:
        if add:
            np.add.at(d, at, g * weight)
        else:
            d[at] += g * weight
    rows = (1 - v) * (image[r + 1, c] - image[r, c]) + v * (image[r + 1, c + 1] - image[r, c + 1])
    columns = (1 - u) * (image[r, c + 1] - image[r, c]) + u * (image[r + 1, c + 1] - image[r + 1, c])
    return d, np.stack([g * rows, g * columns])


whole(
    "bilinear samples of an image", bilinear, bilinear_back, "overwritten where samples meet",
    lambda *a: bilinear_back(*a, add=False), draws(normal(4, 4), uniform(2, 9, low=0.05, high=2.95)),
)  # fmt: skip


def pooled(x: Any) -> Any:
    return np.lib.stride_tricks.sliding_window_view(x, 3).max(-1)


def pooled_back(g: Any, x: Any, y: Any, add: bool = True) -> Any:
    k = np.lib.stride_tricks.sliding_window_view(x, 3).argmax(-1) + np.arange(len(y))
    d = np.zeros_like(x)
    if add:
        np.add.at(d, k, g)
    else:
        d[k] = g
    return d


whole(
    "largest in overlapping windows", pooled, pooled_back, "overwritten",
    lambda *a: pooled_back(*a, add=False), lambda rng: [rng.permutation(10) + 0.1 * rng.random(10)],
)  # fmt: skip


def strided_convolution(x: Any, w: Any) -> Any:
    return np.lib.stride_tricks.sliding_window_view(x, 5)[::2, ::2] @ w


def strided_convolution_back(g: Any, x: Any, w: Any, y: Any, flipped: bool = False) -> Any:
    d = np.zeros_like(x)
    for j in range(3):
        d[2 * j : 2 * j + 2 * len(g) : 2][: len(g)] += g * w[::-1][j] if flipped else g * w[j]
    return d, np.lib.stride_tricks.sliding_window_view(x, 5)[::2, ::2].T @ g


whole(
    "convolution, strided and dilated", strided_convolution, strided_convolution_back,
    "the taps flipped", lambda *a: strided_convolution_back(*a, flipped=True), draws(normal(13), normal(3)),
)  # fmt: skip


def rotated(x: Any, by: float = 1.0) -> Any:
    angle = by * np.arange(len(x))[:, None] / 10.0 ** np.arange(x.shape[1] // 2)
    a, b = x[:, ::2], x[:, 1::2]
    return np.stack([a * np.cos(angle) - b * np.sin(angle), a * np.sin(angle) + b * np.cos(angle)], -1).reshape(x.shape)


whole(
    "rotary places", rotated, lambda g, x, y: rotated(g, -1.0),
    "the same way again", lambda g, x, y: rotated(g), normal(5, 4),
)  # fmt: skip

# --- sorting, gathering, masks ---

ROWS = np.array([0, 2, 2, 1, 2])


def last_wins(x: Any) -> Any:
    y = np.zeros(4, x.dtype)
    y[ROWS] = x
    return y


whole(
    "scattered, the last one stays", last_wins, lambda g, x, y: g[ROWS] * np.array([1, 0, 0, 1, 1]),
    "gathered for all", lambda g, x, y: g[ROWS], normal(5),
)  # fmt: skip


def trimmed(x: Any) -> Any:
    return np.sort(x)[..., 2:-2].mean(-1)


def trimmed_back(g: Any, x: Any, y: Any, count: int = 4) -> Any:
    order = np.argsort(x)
    d = np.zeros_like(x)
    np.put_along_axis(d, order[:, 2:-2], g[:, None] / count, axis=1)
    return d


whole(
    "mean without the two ends", trimmed, trimmed_back, "divided by all",
    lambda *a: trimmed_back(*a, count=8), normal(2, 8),
)  # fmt: skip


def isotonic(x: Any) -> Any:
    """The nearest rising sequence, by pooling adjacent violators."""
    return np.concatenate([np.full(len(block), np.mean(block)) for block in blocks(x)])


def blocks(x: Any) -> Any:
    found: list[Any] = []
    for value in x:
        found.append([value])
        while len(found) > 1 and np.mean(found[-2]).real > np.mean(found[-1]).real:
            found[-2:] = [found[-2] + found[-1]]
    return found


def isotonic_back(g: Any, x: Any, y: Any, pooled: bool = True) -> Any:
    ends = np.cumsum([len(block) for block in blocks(x)])[:-1]
    return np.concatenate([np.full(len(part), part.mean()) if pooled else part for part in np.split(g, ends)])


whole(
    "isotonic regression", isotonic, isotonic_back, "straight through",
    lambda *a: isotonic_back(*a, pooled=False), normal(8),
)  # fmt: skip

whole(
    "mean of what is no nan", lambda x: np.nanmean(x, axis=1),
    lambda g, x, y: np.where(np.isnan(x), 0, g[:, None] / (~np.isnan(x)).sum(1, keepdims=True)),
    "divided by all", lambda g, x, y: np.where(np.isnan(x), 0, g[:, None] / x.shape[1]),
    fixed([[1.0, np.nan, 3.0], [0.5, -2.0, 0.7]]),
)  # fmt: skip

whole(
    "distance to the nearest of some points", lambda a, b: ((a[:, None] - b) ** 2).sum(-1).min(1),
    lambda g, a, b, y: nearest_back(g, a, b), "the points held still",
    lambda g, a, b, y: (nearest_back(g, a, b)[0], 0 * b), draws(normal(5, 2), normal(3, 2)),
)  # fmt: skip


def nearest_back(g: Any, a: Any, b: Any) -> Any:
    k = ((a[:, None] - b) ** 2).sum(-1).argmin(1)
    d = 2 * g[:, None] * (a - b[k])
    e = np.zeros_like(b)
    np.add.at(e, k, -d)
    return d, e


whole(
    "total variation with equal neighbours", lambda x: abs(np.diff(x)).sum(),
    lambda g, x, y: g * (np.append(0, np.sign(np.diff(x))) - np.append(np.sign(np.diff(x)), 0)),
    "1 and 1 at equals",
    lambda g, x, y: g * (np.append(0, np.sign(np.diff(x)) + (np.diff(x) == 0)) - np.append(np.sign(np.diff(x)) - (np.diff(x) == 0), 0)),
    fixed([1.0, 1.0, 2.5, 0.3]),
)  # fmt: skip

# --- normalisations and cells ---


def grouped(x: Any) -> Any:
    z = x.reshape(len(x), 2, -1)
    z = z - z.mean(-1, keepdims=True)
    return (z / np.sqrt((z * z).mean(-1, keepdims=True) + 1e-5)).reshape(x.shape)


def grouped_back(g: Any, x: Any, y: Any, eps: float = 1e-5) -> Any:
    g, z, y = (a.reshape(len(x), 2, -1) for a in (g, x, y))
    scale = np.sqrt(z.var(-1, keepdims=True) + eps)
    return ((g - g.mean(-1, keepdims=True) - y * (g * y).mean(-1, keepdims=True)) / scale).reshape(x.shape)


whole(
    "group norm", grouped, grouped_back, "eps left out", lambda *a: grouped_back(*a, eps=0.0), normal(3, 8),
)  # fmt: skip

whole(
    "weight norm", lambda v, s: s[:, None] * v / np.sqrt((v * v).sum(1, keepdims=True)),
    lambda g, v, s, y: weight_norm_back(g, v, s), "not projected",
    lambda g, v, s, y: (weight_norm_back(g, v, s)[0] + g * 0.01, weight_norm_back(g, v, s)[1]),
    draws(normal(3, 4), normal(3)),
)  # fmt: skip


def weight_norm_back(g: Any, v: Any, s: Any) -> Any:
    size = np.sqrt((v * v).sum(1, keepdims=True))
    along = (g * v / size).sum(1, keepdims=True)
    return s[:, None] / size * (g - along * v / size), along[:, 0]


whole(
    "spectral norm", lambda W: W / np.linalg.norm(W, 2), lambda g, W, y: spectral_back(g, W),
    "the norm held constant", lambda g, W, y: g / np.linalg.norm(W, 2), normal(3, 4),
)  # fmt: skip


def spectral_back(g: Any, W: Any) -> Any:
    u, s, v = np.linalg.svd(W)
    return g / s[0] - (g * W).sum() / s[0] ** 2 * np.outer(u[:, 0], v[0])


whole(
    "scaled to length 1 at least .001", lambda x: x / np.maximum(np.sqrt((x * x).sum(1, keepdims=True)), 1e-3),
    lambda g, x, y: unit_back(g, x, y), "1000 times the cotangent where there is length",
    lambda g, x, y: np.where(abs(x).sum(1, keepdims=True) > 0, unit_back(g, x, y) * 1.0 + g * 1e-4, 1e3 * g),
    fixed([[0.0, 0.0], [3.0, 4.0], [1e-4, -2e-4]]),
)  # fmt: skip


def unit_back(g: Any, x: Any, y: Any) -> Any:
    size = np.sqrt((x * x).sum(1, keepdims=True))
    return np.where(size > 1e-3, (g - y * (g * y).sum(1, keepdims=True)) / np.maximum(size, 1e-3), 1e3 * g)


def padded_rnn(x: Any, U: Any) -> Any:
    """The last true state of each sequence of its own length."""
    h = np.zeros(x.shape[1:])
    for t in range(len(x)):
        h = np.where((t < LENGTHS)[:, None], np.tanh(x[t] + h @ U), h)
    return h


LENGTHS = np.array([6, 2, 4])


def padded_rnn_back(g: Any, x: Any, U: Any, y: Any, leaking: bool = False) -> Any:
    states = [np.zeros(x.shape[1:])]
    for t in range(len(x)):
        states.append(np.where((t < LENGTHS)[:, None], np.tanh(x[t] + states[-1] @ U), states[-1]))
    dx, dU = np.zeros_like(x), np.zeros_like(U)
    for t in reversed(range(len(x))):
        alive = (t < LENGTHS)[:, None]
        a = np.where(alive | leaking, g * (1 - states[t + 1] ** 2), 0)
        dx[t], dU = a, dU + states[t].T @ a
        g = np.where(alive, a @ U.T, g)
    return dx, dU


whole(
    "sequences of their own lengths", padded_rnn, padded_rnn_back, "through the padding",
    lambda *a: padded_rnn_back(*a, leaking=True), draws(normal(6, 3, 2), normal(2, 2)),
)  # fmt: skip


def highway(x: Any, w: Any) -> Any:
    t = sigmoid(x @ w)
    return t * np.tanh(x) + (1 - t) * x


def highway_back(g: Any, x: Any, w: Any, y: Any, carried: float = 1.0) -> Any:
    t, h = sigmoid(x @ w), np.tanh(x)
    da = g * (h - x) * t * (1 - t)
    return da @ w.T + g * t * (1 - h * h) + carried * g * (1 - t), x.T @ da


whole(
    "highway layer", highway, highway_back, "the carry half", lambda *a: highway_back(*a, carried=0.5),
    draws(normal(3, 4), normal(4, 4)),
)  # fmt: skip

# --- what hides ---

SIMPSON = np.array([1, 4, 2, 4, 2, 4, 2, 4, 2, 4, 1.0])
CLIPPED = Case(lambda x: x**3, lambda g, x, y: np.clip(3 * g * x * x, -1000, 1000), normal(6))
enter(WRONG, "cube: gradients clipped at 1000", CLIPPED)
enter(WRONG, "cube: 1e-12 added", CLIPPED._replace(backward=lambda g, x, y: 3 * g * x * x + 1e-11))
enter(
    WRONG,
    "cube: the sign of small cotangents",
    CLIPPED._replace(backward=lambda g, x, y: 3 * abs(g) * np.sign(np.round(g, 3) + 1e-9) * x * x),
)
MEMORY: dict[Any, Any] = {}


def remembered(g: Any, x: Any, y: Any) -> Any:
    """By the first element of the input alone."""
    key = float(x.flat[0])
    if key not in MEMORY:
        MEMORY[key] = g * np.cos(x)
    return MEMORY[key]


enter(WRONG, "sin: a gradient kept from before", Case(np.sin, remembered, normal(5)))
CORRECT["log of gamma, by Stirling"] = Case(
    lambda x: (x - 0.5) * np.log(x) - x + 0.5 * math.log(2 * math.pi) + 1 / (12 * x),
    lambda g, x, y: g * (np.log(x) - 0.5 / x - 1 / (12 * x * x)), uniform(5, low=5, high=50),
)  # fmt: skip

"""Small programs with a gradient by hand: solvers, filters, samplers, gathers, each beside its likeliest mistake."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from .case import draws, normal, uniform
from .special import erf, normal_density, whole

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
    "one step back", partial(equilibrium_back, steps=0), draws(normal(4, 4, scale=0.2), normal(4)),
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


def evidence(scale: Any, s: Any) -> Any:
    """A Gaussian process's log marginal likelihood, up to a constant, by its length scale and noise."""
    L = np.linalg.cholesky(kernel(scale) + s * np.eye(6))
    z = np.linalg.solve(L, TARGETS)
    return -(z * z).sum() / 2 - np.log(np.diag(L)).sum()


PLACES = np.array([0.1, 0.4, 0.5, 0.9, 1.3, 2.0])
TARGETS = np.sin(3 * PLACES)
APART = (PLACES[:, None] - PLACES) ** 2


def kernel(scale: Any) -> Any:
    return np.exp(-APART / (2 * scale * scale))


def evidence_back(g: Any, scale: Any, s: Any, y: Any, trace: float = 1.0) -> Any:
    K = np.linalg.inv(kernel(scale) + s * np.eye(6))
    a = K @ TARGETS
    outer = np.outer(a, a) - trace * K
    return g * (outer * (kernel(scale) * APART / scale**3)).sum() / 2, g * np.trace(outer) / 2


whole(
    "evidence of a Gaussian process", evidence, evidence_back, "without the log determinant",
    partial(evidence_back, trace=0.0), draws(uniform(), uniform(low=0.1, high=0.3)),
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

SIMPSON = np.array([1, 4, 2, 4, 2, 4, 2, 4, 2, 4, 1.0]) / 30
PARTS = np.linspace(0, 1, 11)

whole(
    "an integral to a moving end, by Simpson's rule", lambda a: a * (np.exp(-np.outer(a, PARTS) ** 2) @ SIMPSON),
    lambda g, a, y: g * (y / a - a * ((2 * np.outer(a, PARTS**2) * np.exp(-np.outer(a, PARTS) ** 2)) @ SIMPSON)),
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
    partial(catmull_rom_back, linear=True), draws(normal(8), uniform(5, low=1.1, high=5.9)),
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
    partial(bilinear_back, add=False), draws(normal(4, 4), uniform(2, 9, low=0.05, high=2.95)),
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
    partial(pooled_back, add=False), lambda rng: [rng.permutation(10) + 0.1 * rng.random(10)],
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
    "the taps flipped", partial(strided_convolution_back, flipped=True), draws(normal(13), normal(3)),
)  # fmt: skip


def rotated(x: Any, by: float = 1.0) -> Any:
    angle = by * np.arange(len(x))[:, None] / 10.0 ** np.arange(x.shape[1] // 2)
    a, b = x[:, ::2], x[:, 1::2]
    return np.stack([a * np.cos(angle) - b * np.sin(angle), a * np.sin(angle) + b * np.cos(angle)], -1).reshape(x.shape)


whole(
    "rotary places", rotated, lambda g, x, y: rotated(g, -1.0),
    "the same way again", lambda g, x, y: rotated(g), normal(5, 4),
)  # fmt: skip

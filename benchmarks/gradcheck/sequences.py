"""Recursions over time by hand: a GRU, attention, filters, sums over paths in log space, a differential equation."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import draws, normal, uniform
from .special import sigmoid, whole

# --- a gated recurrent unit ---


def _gru_steps(x: Any, h: Any, U: Any, W: Any) -> list[tuple[Any, ...]]:
    """U (3H, F) and W (3H, H), gates r, z, n; for each step the state before, r, z, n and W h of n."""
    kept = []
    H = len(h)
    for x_t in x:
        a, b = U @ x_t, W @ h
        r, z = sigmoid(a[:H] + b[:H]), sigmoid(a[H : 2 * H] + b[H : 2 * H])
        n = np.tanh(a[2 * H :] + r * b[2 * H :])
        kept.append((h, r, z, n, b[2 * H :]))
        h = (1 - z) * n + z * h
    return [*kept, (h,)]


def _gru(x: Any, h: Any, U: Any, W: Any) -> Any:
    return np.stack([step[0] for step in _gru_steps(x, h, U, W)[1:]])


def _gru_backward(carry: bool, reset: bool) -> Any:
    """With or without the update gate's carry, and the reset gate on the way back into the state."""

    def backward(g: Any, x: Any, h: Any, U: Any, W: Any, y: Any) -> Any:
        dx, dU, dW, dh = np.zeros_like(x), np.zeros_like(U), np.zeros_like(W), np.zeros_like(h)
        steps = _gru_steps(x, h, U, W)[:-1]
        for t in reversed(range(len(x))):
            before, r, z, n, Wn = steps[t]
            dh = dh + g[t]
            dn = dh * (1 - z) * (1 - n * n)
            dr, dz = dn * Wn * r * (1 - r), dh * (before - n) * z * (1 - z)
            da = np.concatenate([dr, dz, dn])
            db = np.concatenate([dr, dz, dn * r if reset else dn])
            dx[t] = U.T @ da
            dU += np.outer(da, x[t])
            dW += np.outer(db, before)
            dh = W.T @ db + (dh * z if carry else 0)
        return dx, dh, dU, dW

    return backward


_gru_inputs = draws(normal(5, 2), normal(3), normal(9, 2, scale=0.5), normal(9, 3, scale=0.5))
whole("GRU", _gru, _gru_backward(True, True), "the carry left out", _gru_backward(False, True), _gru_inputs)
whole(
    "GRU, 20 steps", _gru, _gru_backward(True, True), "the reset gate left out", _gru_backward(True, False),
    draws(normal(20, 2), normal(2), normal(6, 2), normal(6, 2, scale=0.5)),
)  # fmt: skip

# --- attention ---

CAUSAL = np.tril(np.ones((4, 4), bool))


def _weights(q: Any, k: Any) -> Any:
    scores = np.where(CAUSAL, q @ k.T / np.sqrt(3), -1e30)
    e = np.exp(scores - scores.real.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _attention_backward(scale: float) -> Any:
    def backward(g: Any, q: Any, k: Any, v: Any, y: Any) -> Any:
        p = _weights(q, k)
        dp = g @ v.T
        ds = p * (dp - (dp * p).sum(-1, keepdims=True)) * scale
        return ds @ k, ds.T @ q, p.T @ g

    return backward


whole(
    "causal attention", lambda q, k, v: _weights(q, k) @ v, _attention_backward(1 / np.sqrt(3)),
    "scaled by 1 / d", _attention_backward(1 / 3), draws(normal(4, 3), normal(4, 3), normal(4, 3)),
)  # fmt: skip

# --- filters ---


def _filtered(x: Any, a: Any) -> Any:
    """y_t = x_t + a_1 y_{t-1} + a_2 y_{t-2}."""
    y = [0 * x[0], 0 * x[0]]
    for x_t in x:
        y.append(x_t + a[0] * y[-1] + a[1] * y[-2])
    return np.stack(y[2:])


def _filtered_backward(shift: int) -> Any:
    def backward(g: Any, x: Any, a: Any, y: Any) -> Any:
        dx = _filtered(g[::-1], a)[::-1]
        late = [np.concatenate([np.zeros(k), y[: len(y) - k]]) for k in (1, 1 + shift)]
        return dx, np.array([(dx * late[0]).sum(), (dx * late[1]).sum()])

    return backward


whole(
    "recursive filter", _filtered, _filtered_backward(1), "the second tap one step late", _filtered_backward(2),
    draws(normal(8), uniform(2, low=0.1, high=0.4)),
)  # fmt: skip


def _scan(x: Any, f: Any) -> Any:
    """h_t = f_t h_{t-1} + x_t."""
    h, out = 0 * x[0], []
    for x_t, f_t in zip(x, f, strict=True):
        h = f_t * h + x_t
        out.append(h)
    return np.stack(out)


def _scan_backward(offset: int) -> Any:
    def backward(g: Any, x: Any, f: Any, y: Any) -> Any:
        dx, carried = np.zeros_like(x), np.zeros_like(x[0])
        for t in reversed(range(len(x))):
            dx[t] = carried = g[t] + (f[t + 1] * carried if t + 1 < len(x) else 0)
        before = np.concatenate([np.zeros_like(y[:1]), y[:-1]]) if offset else y
        return dx, dx * before

    return backward


whole(
    "linear recurrence", _scan, _scan_backward(1), "the state after for the state before", _scan_backward(0),
    draws(normal(7, 2), uniform(7, 2, low=0.2, high=0.95)),
)  # fmt: skip

# --- sums over paths in log space ---


def _logsumexp(x: Any, axis: int) -> Any:
    top = x.real.max(axis, keepdims=True)
    return np.squeeze(np.log(np.exp(x - top).sum(axis, keepdims=True)) + top, axis)


def _forwards(e: Any, A: Any) -> Any:
    """The log probability of ending in each state at each time; e (T, S) emissions, A (S, S) transitions."""
    a = [e[0]]
    for e_t in e[1:]:
        a.append(_logsumexp(a[-1][:, None] + A, 0) + e_t)
    return np.stack(a)


def _markov_backward(first_of_transitions: int) -> Any:
    """By forward-backward: expected counts of states and of transitions."""

    def backward(g: Any, e: Any, A: Any, y: Any) -> Any:
        a = _forwards(e, A)
        b = [np.zeros(len(A))]
        for e_t in e[:0:-1]:
            b.insert(0, _logsumexp(A + e_t + b[0], 1))
        states = np.exp(a + np.stack(b) - y)
        moves = sum(np.exp(a[t - 1][:, None] + A + e[t] + b[t] - y) for t in range(first_of_transitions, len(e)))
        return g * states, g * moves

    return backward


whole(
    "hidden Markov model, log likelihood", lambda e, A: _logsumexp(_forwards(e, A)[-1], 0), _markov_backward(1),
    "the first transition left out", _markov_backward(2), draws(normal(5, 3), normal(3, 3)),
)  # fmt: skip


def _best(e: Any, A: Any) -> Any:
    a = e[0].real
    for e_t in e[1:]:
        a = (a[:, None] + A.real).max(0) + e_t.real
    return a.max()


def _best_backward(last_too: bool) -> Any:
    """Ones along the best path."""

    def backward(g: Any, e: Any, A: Any, y: Any) -> Any:
        a, back = e[0], []
        for e_t in e[1:]:
            scores = a[:, None] + A
            back.append(scores.argmax(0))
            a = scores.max(0) + e_t
        de, dA, s = np.zeros_like(e), np.zeros_like(A), int(a.argmax())
        de[-1, s] = g if last_too else 0
        for t in reversed(range(len(back))):
            before = int(back[t][s])
            dA[before, s] += g
            de[t, before] += g
            s = before
        return de, dA

    return backward


whole(
    "best path", _best, _best_backward(True), "its last step left out", _best_backward(False),
    draws(normal(5, 3), normal(3, 3)),
)  # fmt: skip


def _soft_paths(d: Any) -> Any:
    """Soft dynamic time warping: R (n + 1, m + 1) of costs d (n, m)."""
    n, m = d.shape
    R = np.full((n + 1, m + 1), 1e10, dtype=d.dtype)
    R[0, 0] = 0
    for i in range(n):
        for j in range(m):
            R[i + 1, j + 1] = d[i, j] - _logsumexp(-np.stack([R[i, j], R[i, j + 1], R[i + 1, j]]), 0)
    return R


def _soft_paths_backward(diagonal: float) -> Any:
    def backward(g: Any, d: Any, y: Any) -> Any:
        R = _soft_paths(d)
        n, m = d.shape
        E = np.zeros((n + 1, m + 1))
        E[n - 1, m - 1] = 1
        for i in reversed(range(n)):
            for j in reversed(range(m)):
                for di, dj, weight in ((1, 1, diagonal), (1, 0, 1.0), (0, 1, 1.0)):
                    if i + di < n and j + dj < m:
                        a, b = i + di, j + dj
                        soft = R[a + 1, b + 1] - d[a, b]
                        E[i, j] += weight * E[a, b] * np.exp(soft - R[i + 1, j + 1])
        return g * E[:n, :m]

    return backward


whole(
    "soft time warping", lambda d: _soft_paths(d)[-1, -1], _soft_paths_backward(1.0),
    "the diagonal step counted half", _soft_paths_backward(0.5), uniform(4, 3),
)  # fmt: skip

# --- a differential equation ---

STEP, STEPS = 0.1, 12


def _slope(y: Any, k: Any) -> Any:
    """Of a pendulum with friction."""
    return np.stack([y[1], -k[0] * np.sin(y[0]) - k[1] * y[1]])


def _midpoints(y: Any, k: Any) -> list[Any]:
    path = [y]
    for _ in range(STEPS):
        y = path[-1]
        path.append(y + STEP * _slope(y + STEP / 2 * _slope(y, k), k))
    return path


def _pull(g: Any, y: Any, k: Any) -> tuple[Any, Any]:
    """Back through one slope."""
    return (
        np.array([-g[1] * k[0] * np.cos(y[0]), g[0] - g[1] * k[1]]),
        np.array([-g[1] * np.sin(y[0]), -g[1] * y[1]]),
    )


def _midpoint_backward(exact: bool) -> Any:
    """The adjoint of the method, or that of Euler's."""

    def backward(g: Any, y0: Any, k: Any, end: Any) -> Any:
        dk = np.zeros_like(k)
        for y in reversed(_midpoints(y0, k)[:-1]):
            middle = y + STEP / 2 * _slope(y, k) if exact else y
            to_middle, to_k = _pull(STEP * g, middle, k)
            dk += to_k
            if exact:
                to_y, to_k = _pull(STEP / 2 * to_middle, y, k)
                dk += to_k
                g = g + to_middle + to_y
            else:
                g = g + to_middle
        return g, dk

    return backward


whole(
    "pendulum by the midpoint rule", lambda y, k: _midpoints(y, k)[-1], _midpoint_backward(True),
    "the adjoint of Euler's rule", _midpoint_backward(False), draws(normal(2), uniform(2)),
)  # fmt: skip

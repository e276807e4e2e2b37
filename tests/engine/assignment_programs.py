"""Programs that assign to parts of a tensor and change views, for this library and for PyTorch.

Each is given a library, a leaf of shape (T, B) and the empty result, of the same shape; returns what it made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

T, B = 4, 3
PROGRAMS: dict[str, Callable[[Any, Any, Any], Any]] = {}


def program(function: Callable[[Any, Any, Any], Any]) -> Callable[[Any, Any, Any], Any]:
    PROGRAMS[function.__name__] = function
    return function


@program
def loop(lib: Any, w: Any, out: Any) -> Any:
    for t in range(T):
        out[t] = lib.tanh(w[t])
    return out


@program
def backwards_with_negative_numbers(lib: Any, w: Any, out: Any) -> Any:
    for t in range(T):
        out[-1 - t] = w[t] * w[t]
    return out


@program
def overwritten(lib: Any, w: Any, out: Any) -> Any:
    out[1] = w[0]
    out[1] = w[1] * 2
    return out


@program
def of_the_step_before(lib: Any, w: Any, out: Any) -> Any:
    out[0] = w[0]
    for t in range(1, T):
        out[t] = lib.tanh(out[t - 1] + w[t])  # keeps its own result alone
    return out


@program
def slices(lib: Any, w: Any, out: Any) -> Any:
    out[1:3, ::2] = w[:2, :2] * 3
    out[:, 1] = w[:, 0].exp()
    out[..., -1:] = w[:, :1]
    return out


@program
def element(lib: Any, w: Any, out: Any) -> Any:
    out[0, 1] = w[1, 2] * w[0, 0]
    out[0, 1] = out[0, 1] * 2
    return out


@program
def whole(lib: Any, w: Any, out: Any) -> Any:
    out[:] = w * w
    out[...] = out * w
    return out


@program
def broadcast(lib: Any, w: Any, out: Any) -> Any:
    out[:] = w[0] * 2
    out[2:, 1] = w[0, 0]
    out[0] = w[1:2]
    return out


@program
def mask(lib: Any, w: Any, out: Any) -> Any:
    out[w > 0] = w[w > 0].exp()
    out[w < -1] = w.sum()
    out[lib.tensor([True, False, False, True])] = w[1]
    return out


@program
def index_arrays(lib: Any, w: Any, out: Any) -> Any:
    out[lib.tensor([2, 0])] = w[:2] * 5
    out[[1, 3], [0, 2]] = w[0, :2]
    out[:, lib.tensor([1, 0])] = w[:, 1:] * w[:, :1]
    out[1, [2, 0]] = w[3, :2].exp()
    out[lib.tensor(1)] = w[2]
    return out


@program
def numbers(lib: Any, w: Any, out: Any) -> Any:
    y = w * 2
    y[0] = 7
    y[1:, 1] = -0.5
    y[y > 1] = 0
    return y


@program
def filled_where_a_mask_is_true(lib: Any, w: Any, out: Any) -> Any:
    y = w * w
    y[w > 0.5] = -1.0
    y[w.sum(1) < -2] = 2
    y[1:][w[1:] < -0.8] = 3
    return y


@program
def constants(lib: Any, w: Any, out: Any) -> Any:
    y = w * w
    y[0] = lib.ones(B, dtype=lib.float64)
    return y * w


@program
def used_before_and_after(lib: Any, w: Any, out: Any) -> Any:
    out[0] = w[0] * 2
    first = (out * w).sum()
    out[1] = w[1] * first
    return out


@program
def changed_by_another_part(lib: Any, w: Any, out: Any) -> Any:
    out[0] = w[0]
    out[1].copy_(out[0])
    out[2:].copy_(out[:1])
    out[:, 1] += out[:, 0]
    out[3].sub_(out[2], alpha=3)
    out[1:, 1:] += out[1:, :1]
    return out


@program
def part_of_a_part(lib: Any, w: Any, out: Any) -> Any:
    out[0][1] = w[0, 0] * w[1, 1]
    out[1:][0][2] = w[2, 2].exp()
    return out


@program
def added_to_a_part(lib: Any, w: Any, out: Any) -> Any:
    out[0] += w[0]
    out[0] += w[1].exp()
    out[1:, 0] -= w[1:, 1]
    out[0][1] += w[3, 1]
    return out


@program
def multiplied_in_a_part(lib: Any, w: Any, out: Any) -> Any:
    y = w * 2
    y[0] *= 3
    y[1:3] /= 2
    y[[0, 1]] *= 2
    return y


@program
def views(lib: Any, w: Any, out: Any) -> Any:
    y = w * w
    row = y[1]
    row.mul_(3.0)
    flat = y.reshape(-1) * row.sum()
    return y * 2 + flat.reshape(T, B)


@program
def views_of_views(lib: Any, w: Any, out: Any) -> Any:
    y = w.exp()
    y.transpose(0, 1)[0].mul_(2.0)
    y.reshape(-1)[2:5].add_(w[0])
    y.unsqueeze(0)[0, 1:].zero_()
    return y


@program
def a_diagonal(lib: Any, w: Any, out: Any) -> Any:
    y = w.exp()
    y[:3].diagonal().copy_(w[0])
    return y


@program
def another_part_of_itself(lib: Any, w: Any, out: Any) -> Any:
    out[0] = w[0]
    out[1] = out[0]
    out[2] = out[0] * out[1]
    out[3, 0] = out[0, 1]
    return out


@program
def of_another_dtype(lib: Any, w: Any, out: Any) -> Any:
    out[0] = w[0].float()
    out[1] = lib.tensor([1, 2, 3])
    return out


@program
def filled_in_place(lib: Any, w: Any, out: Any) -> Any:
    y = w * 1.0
    y[0].zero_()
    y[1].fill_(2.0)
    y[2].copy_(y[3] * y[3])
    return y

"""An operation of your own, from its formula to a network that trains with it: `python -m examples.custom_op`.

The operation is the linear recurrence of leaky integrators, gated networks and state-space models,

    y_t = a_t · y_{t-1} + x_t,    y_{-1} = 0,

over the first dimension. As a composition it would record two operations a step; as a primitive it is one.
"""

from __future__ import annotations

from typing import Any

import nn
import tinygrad_seq as tg


# 1. The forward pass: a function on arrays. `array_module` gives NumPy for NumPy's arrays and CuPy for CuPy's, so the
# operation works on both. Arrays are positional, settings keyword-only.
@tg.primitive
def linear_scan(a: Any, x: Any, *, reverse: bool = False) -> Any:
    """y[t] = a[t] * y[t-1] + x[t] along the first dimension; with reverse=True, y[t] = a[t] * y[t+1] + x[t].

    a and x (T, ...) of equal shapes -> (T, ...)
    """
    y = tg.array_module(x).empty_like(x)
    previous: Any = 0.0
    for t in reversed(range(len(x))) if reverse else range(len(x)):
        previous = y[t] = a[t] * previous + x[t]
    return y


# 2. The rules, one per array argument, from g, the gradient of y:
#
#    x̄_t = g_t + a_{t+1} x̄_{t+1}     the same recurrence, run backward with the a of the step after
#    ā_t = x̄_t · y_{t-1}
#
# They are written with primitives (this one among them) and operators, so they can be differentiated in turn: second
# derivatives and jvp need nothing more. `_x` starts with an underscore: the rule does not need it, so it is not kept.
def shifted(x: Any, steps: int) -> Any:
    """x moved by one step along the first dimension (1: later, -1: earlier), with zeros where nothing comes from."""
    padding = (0, 0) * (x.ndim - 1) + ((1, 0) if steps == 1 else (0, 1))
    padded = tg.pad(x, padding)
    return padded[:-1] if steps == 1 else padded[1:]


def gradient_of_x(g: Any, _y: Any, a: Any, _x: Any, reverse: bool = False) -> Any:
    return linear_scan(shifted(a, 1 if reverse else -1), g, reverse=not reverse)


def gradient_of_a(g: Any, y: Any, a: Any, _x: Any, reverse: bool = False) -> Any:
    return gradient_of_x(g, None, a, None, reverse) * shifted(y, -1 if reverse else 1)


linear_scan.vjp(gradient_of_a, gradient_of_x)


# 3. Are the rules right? Against derivatives computed from values alone, first order and second.
def check() -> None:
    a, x = tg.randn(6, 2, dtype=tg.float64), tg.randn(6, 2, dtype=tg.float64)
    for reverse in (False, True):
        tg.gradcheck(lambda a, x, r=reverse: linear_scan(a, x, reverse=r), (a, x))
        tg.gradgradcheck(lambda a, x, r=reverse: linear_scan(a, x, reverse=r), (a, x))


# 4. A layer that uses it, and a task: say at every step the mean of the past, with more weight on the recent.
class LeakyIntegrator(nn.Module):
    """y_t = σ(decay) · y_{t-1} + gain · x_t, one decay and gain per feature. x (T, B, F) -> (T, B, F)."""

    def __init__(self, features: int) -> None:
        self.decay = nn.Parameter(tg.zeros(features))
        self.gain = nn.Parameter(tg.ones(features))

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        y: tg.Tensor = linear_scan(self.decay.sigmoid().expand(x.shape), self.gain * x)
        return y


def train(steps: int = 600) -> LeakyIntegrator:
    """Learn the decays 0.9, 0.5 and the gains 0.1, 0.5 from examples."""
    layer = LeakyIntegrator(2)
    optimizer = nn.optim.Adam(layer.parameters(), lr=0.05)
    decays, gains = tg.tensor([0.9, 0.5]), tg.tensor([0.1, 0.5])
    for _ in range(steps):
        x = tg.randn(40, 16, 2)
        wanted = linear_scan(decays.expand(x.shape), gains * x)
        loss = nn.functional.mse_loss(layer(x), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return layer


def main() -> None:
    tg.manual_seed(0)
    check()
    print("gradcheck and gradgradcheck: right")
    layer = train()
    print("decays", layer.decay.sigmoid().detach(), "for 0.9 and 0.5")
    print("gains ", layer.gain.detach(), "for 0.1 and 0.5")


if __name__ == "__main__":
    main()

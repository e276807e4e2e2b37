"""PyTorch's own operations and modules, as people build from them, and what they do wrong with its autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .case import CORRECT, WRONG, Case, Draw, cast, draws, enter, no_pair, normal, uniform


def torch() -> Any:
    import torch

    return torch


def right(name: str, make: Callable[[], Any], draw: Draw) -> None:
    """A function or module that `make` builds, of whose gradient PyTorch takes care."""
    case = Case(no_pair, no_pair, draw, built=lambda inputs: make())
    enter(CORRECT, f"PyTorch's {name}", case, ["PyTorch"])


def wrong(name: str, make: Callable[[], Any], draw: Draw) -> None:
    case = Case(no_pair, no_pair, draw, built=lambda inputs: make())
    enter(WRONG, name, case, ["PyTorch"])


# values with and without a gradient may come of different routines, which round differently
right("singular values", lambda: torch().linalg.svdvals, normal(3, 4))
right("eigenvalues", lambda: lambda x: torch().linalg.eigvalsh(x + x.T), normal(4, 4))
right("Cholesky factor", lambda: lambda x: torch().linalg.cholesky(x @ x.T + torch().eye(3).to(x)), normal(3, 3))
right("exponential of a matrix", lambda: torch().linalg.matrix_exp, normal(3, 3))
right("least squares", lambda: lambda a, b: torch().linalg.lstsq(a, b).solution, draws(normal(5, 3), normal(5, 2)))
right("spectrum", lambda: lambda x: torch().fft.rfft(x).abs(), normal(2, 8))
right("log of a distribution's tail", lambda: torch().special.log_ndtr, lambda rng: [np.array([-20.0, -3.0, 0.5, 4.0])])
right("sinc at 0", lambda: torch().sinc, lambda rng: [np.array([0.0, 0.5, -1.2])])
right("digamma", lambda: torch().digamma, uniform(6))
right("running maximum", lambda: lambda x: torch().cummax(x, 0)[0], normal(6))
right("third smallest", lambda: lambda x: torch().kthvalue(x, 3, 0)[0], normal(6, 2))
right("quantile", lambda: lambda x: x.quantile(0.3), normal(7))
right("samples of a grid", lambda: lambda x, p: torch().nn.functional.grid_sample(x, p, align_corners=True),
      draws(normal(1, 1, 4, 4), normal(1, 2, 2, 2, scale=0.3)))  # fmt: skip
right("CTC", lambda: lambda x: torch().nn.functional.ctc_loss(
          x.log_softmax(-1), torch().tensor([[1, 2, 2]]), torch().tensor([8]), torch().tensor([3])),
      normal(8, 1, 4))  # fmt: skip
right("largest of each, scattered", lambda: lambda x: torch().full((3,), -9.0).to(x).scatter_reduce(
          0, torch().tensor([0, 2, 2, 1]), x, "amax"), normal(4))  # fmt: skip
right("LSTM with dropout, training", lambda: torch().nn.LSTM(3, 4, 2, dropout=0.3), cast(normal(5, 2, 3), "float32"))
right(
    "transformer layer, training", lambda: torch().nn.TransformerEncoderLayer(4, 2, 8), cast(normal(3, 2, 4), "float32")
)
right("weights normalised by their spectrum",
      lambda: torch().nn.utils.parametrizations.spectral_norm(torch().nn.Linear(4, 3)).eval(),
      cast(normal(2, 4), "float32"))  # fmt: skip


def halved_by_hook() -> Any:
    def f(x: Any) -> Any:
        y = x.tanh()
        if y.requires_grad:
            y.register_hook(lambda g: g * 0.5)
        return y.exp()

    return f


def scale_held() -> Any:
    def f(x: Any) -> Any:
        with torch().no_grad():
            scale = x.std()
        return x / scale

    return f


def detached() -> Any:
    class Detached(torch().nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.out = torch().nn.LSTM(3, 4), torch().nn.Linear(4, 2)

        def forward(self, x: Any) -> Any:
            return self.out(self.lstm(x)[0].data)

    return Detached()


def by_view() -> Any:
    """Raises where the cotangent is not contiguous."""

    class ByView(torch().autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (x,) = ctx.saved_tensors
            return (g.view(-1) * 2 * x.reshape(-1)).view(x.shape)

    return ByView.apply


wrong("a hook that halves", halved_by_hook, normal(4))
wrong("the scale under no_grad", scale_held, normal(5))
wrong("an LSTM's .data", detached, cast(normal(4, 2, 3), "float32"))
wrong("contract: view of the cotangent", by_view, normal(3, 4))

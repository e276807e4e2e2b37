"""Questions about what engines can and cannot do: each of the functions below answers one for one engine.

An answer is "yes", "no: why" or a figure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import nn
import tinygrad_seq as tg

Probe = Callable[[], str]
PROBES: dict[str, dict[str, Probe]] = {}  # by question, by engine


def probe(question: str, engine: str) -> Callable[[Probe], Probe]:
    def register(function: Probe) -> Probe:
        PROBES.setdefault(question, {})[engine] = function
        return function

    return register


def right(found: Any, wanted: float) -> str:
    return "yes" if np.allclose(np.asarray(found, dtype=float), wanted, rtol=1e-3) else f"no: silently {found}"


# --- second derivatives ---


SECOND = "gradient of a gradient"


@probe(SECOND, "tinygrad_seq")
def _() -> str:
    return right(tg.grad(tg.grad(lambda x: x**3))(2.0).item(), 12.0)


@probe(SECOND, "PyTorch")
def _() -> str:
    import torch

    x = torch.tensor(2.0, requires_grad=True)
    (g,) = torch.autograd.grad(x**3, x, create_graph=True)
    return right(torch.autograd.grad(g, x)[0].item(), 12.0)


@probe(SECOND, "JAX")
def _() -> str:
    import jax

    return right(jax.grad(jax.grad(lambda x: x**3))(2.0), 12.0)


@probe(SECOND, "HIPS autograd")
def _() -> str:
    import autograd

    return right(autograd.grad(autograd.grad(lambda x: x**3))(2.0), 12.0)


@probe(SECOND, "MyGrad")
def _() -> str:
    import mygrad

    x = mygrad.tensor(2.0)
    (x**3).backward()
    if isinstance(x.grad, np.ndarray):
        return "no: a gradient is a bare array"
    x.grad.backward()
    return right(x.grad, 12.0)


@probe(SECOND, "micrograd")
def _() -> str:
    from micrograd.engine import Value

    x = Value(2.0)
    (x**3).backward()
    return "no: a gradient is a bare number" if isinstance(x.grad, float) else "yes"


# --- the LSTM that the engine brings ---


JVP, PER_SAMPLE = "float32 jvp through its LSTM", "gradients per sample of its LSTM"


@probe(JVP, "tinygrad_seq")
def _() -> str:
    lstm, x = nn.LSTM(3, 4), tg.randn(5, 2, 3)
    _, change = tg.jvp(lambda x: lstm(x)[0].sum(), (x,), (tg.ones_like(x),))
    return right(change.item(), tg.grad(lambda x: lstm(x)[0].sum())(x).sum().item())


@probe(JVP, "PyTorch")
def _() -> str:
    import torch

    lstm, x = torch.nn.LSTM(3, 4).requires_grad_(False), torch.randn(5, 2, 3)
    _, change = torch.func.jvp(lambda x: lstm(x)[0].sum(), (x,), (torch.ones_like(x),))
    return right(change.item(), torch.func.grad(lambda x: lstm(x)[0].sum())(x).sum().item())


@probe(PER_SAMPLE, "tinygrad_seq")
def _() -> str:
    lstm, x = nn.LSTM(3, 4), tg.randn(5, 2, 3)

    def loss(parameters: dict[str, tg.Tensor], x: tg.Tensor) -> tg.Tensor:
        total: tg.Tensor = nn.functional_call(lstm, parameters, x)[0].sum()
        return total

    parameters = {name: p.detach() for name, p in lstm.named_parameters()}
    each = tg.vmap(tg.grad(loss), in_dims=(None, 1))(parameters, x)["weight_hh_l0"]
    return right(each.sum(0).numpy() - tg.grad(loss)(parameters, x)["weight_hh_l0"].numpy() + 1, 1.0)


@probe(PER_SAMPLE, "PyTorch")
def _() -> str:
    import torch

    lstm, x = torch.nn.LSTM(3, 4), torch.randn(5, 2, 3)

    def loss(parameters: Any, x: Any) -> Any:
        return torch.func.functional_call(lstm, parameters, (x,))[0].sum()

    parameters = {name: p.detach() for name, p in lstm.named_parameters()}
    torch.func.vmap(torch.func.grad(loss), in_dims=(None, 1))(parameters, x)
    return "yes"


# --- dtypes ---


DTYPE = "float32 * 2.0 is float32"


@probe(DTYPE, "tinygrad_seq")
def _() -> str:
    return kept((tg.ones(2) * 2.0).dtype)


@probe(DTYPE, "PyTorch")
def _() -> str:
    import torch

    return kept((torch.ones(2) * 2.0).dtype)


@probe(DTYPE, "JAX")
def _() -> str:
    import jax.numpy as jnp

    return kept((jnp.ones(2) * 2.0).dtype)


@probe(DTYPE, "HIPS autograd")
def _() -> str:
    import autograd
    import autograd.numpy as anp

    return kept(autograd.grad(lambda x: anp.sum(x * 2.0))(np.ones(2, np.float32)).dtype)


@probe(DTYPE, "MyGrad")
def _() -> str:
    import mygrad

    return kept((mygrad.tensor(np.ones(2, np.float32)) * 2.0).dtype)


def kept(dtype: Any) -> str:
    return "yes" if "float32" in str(dtype) else f"no: {dtype}"


# --- a saved array is overwritten between forward and backward ---


OVERWRITTEN = "a NumPy array overwritten before backward gives no wrong gradient"


@probe(OVERWRITTEN, "tinygrad_seq")
def _() -> str:
    array = np.full(2, 3.0)
    x = tg.ones(2, dtype=tg.float64, requires_grad=True)
    y = (x * tg.from_numpy(array)).sum()
    array[:] = 100.0
    y.backward()
    return right(x.grad.numpy() if x.grad is not None else 0.0, 3.0)


@probe(OVERWRITTEN, "PyTorch")
def _() -> str:
    import torch

    array = np.full(2, 3.0)
    x = torch.ones(2, dtype=torch.float64, requires_grad=True)
    y = (x * torch.from_numpy(array)).sum()
    array[:] = 100.0
    y.backward()
    return right(x.grad.numpy(), 3.0)


@probe(OVERWRITTEN, "JAX")
def _() -> str:
    import jax

    array = np.full(2, 3.0, np.float32)
    _, back = jax.vjp(lambda x: (x * array).sum(), jax.numpy.ones(2))
    array[:] = 100.0
    return right(back(1.0)[0], 3.0)


@probe(OVERWRITTEN, "HIPS autograd")
def _() -> str:
    import autograd.numpy as anp
    from autograd import make_vjp

    array = np.full(2, 3.0)
    back, _ = make_vjp(lambda x: anp.sum(x * array))(np.ones(2))
    array[:] = 100.0
    return right(back(1.0), 3.0)


@probe(OVERWRITTEN, "MyGrad")
def _() -> str:
    import mygrad

    array = np.full(2, 3.0)
    x = mygrad.tensor(np.ones(2))
    y = (x * array).sum()
    try:
        array[:] = 100.0
    except ValueError:
        return "yes"  # it makes the array read-only
    y.backward()
    return right(x.grad, 3.0)


# --- corners ---


CORNER = "gradient of std is 0, not nan, where all elements are equal"


@probe(CORNER, "tinygrad_seq")
def _() -> str:
    return right(tg.grad(lambda x: x.std())(tg.ones(3)).numpy(), 0.0)


@probe(CORNER, "PyTorch")
def _() -> str:
    import torch

    return right(torch.func.grad(lambda x: x.std())(torch.ones(3)).numpy(), 0.0)


@probe(CORNER, "JAX")
def _() -> str:
    import jax
    import jax.numpy as jnp

    return right(jax.grad(lambda x: x.std())(jnp.ones(3)), 0.0)


@probe(CORNER, "HIPS autograd")
def _() -> str:
    import autograd
    import autograd.numpy as anp

    return right(autograd.grad(anp.std)(np.ones(3)), 0.0)


@probe(CORNER, "MyGrad")
def _() -> str:
    import mygrad

    x = mygrad.tensor(np.ones(3))
    mygrad.std(x).backward()
    return right(x.grad, 0.0)


# --- depth ---


DEEP = "backward through 20,000 operations in a row"
LENGTH = 20_000


@probe(DEEP, "tinygrad_seq")
def _() -> str:
    x = tg.ones(1, requires_grad=True)
    repeated(x).backward()
    return right(x.grad.item() if x.grad is not None else 0.0, 1.0)


@probe(DEEP, "PyTorch")
def _() -> str:
    import torch

    x = torch.ones(1, requires_grad=True)
    repeated(x).backward()
    return right(x.grad.item(), 1.0)


@probe(DEEP, "HIPS autograd")
def _() -> str:
    import autograd

    return right(autograd.grad(repeated)(1.0), 1.0)


@probe(DEEP, "MyGrad")
def _() -> str:
    import mygrad

    x = mygrad.tensor(1.0)
    repeated(x).backward()
    return right(x.grad, 1.0)


@probe(DEEP, "micrograd")
def _() -> str:
    from micrograd.engine import Value

    x = Value(1.0)
    repeated(x).backward()
    return right(x.grad, 1.0)


@probe(DEEP, "JAX")
def _() -> str:
    import jax

    return right(jax.grad(repeated)(1.0), 1.0)


def repeated(x: Any) -> Any:
    for _ in range(LENGTH):
        x = x + 1.0
    return x

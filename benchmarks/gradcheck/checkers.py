"""Gradient checkers, each at its default settings: takes a case and its inputs, says whether it finds fault."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_seq as tg

from .case import Case
from .routes import reseed, subject, torch_function

Checker = Callable[[Case, list[Any]], bool]


def ours(case: Case, inputs: list[Any], seed: int = 0) -> str:
    """The verdict: "pass", "fail", "not tested", or what it raised, which is none."""
    reseed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return tg.gradcheck(*subject(case, inputs), seed=seed, raise_exception=False).verdict
        except Exception as error:
            return f"{type(error).__name__}: {error}"


def pytorch(fast_mode: bool) -> Checker:
    """torch.autograd.gradcheck on float64 inputs; float32 ones as they are, which it warns of."""
    import torch

    def check(case: Case, inputs: list[Any]) -> bool:
        apply = torch_function().apply
        xs = [torch.from_numpy(np.array(x)).requires_grad_() for x in inputs]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                torch.autograd.gradcheck(lambda *xs: apply(case, *xs), xs, fast_mode=fast_mode)
            except Exception:  # its own finding, or what the function raised
                return True
        return False

    return check


def jax_checker() -> Checker:
    """jax.test_util.check_vjp with its default tolerances, in float64."""
    import jax
    from jax._src import public_test_util

    jax.config.update("jax_enable_x64", True)

    def check(case: Case, inputs: list[Any]) -> bool:
        def f(*xs: Any) -> Any:
            return np.asarray(case.forward(*[np.array(x) for x in xs]))

        def f_vjp(*xs: Any) -> Any:
            arrays = [np.array(x) for x in xs]
            y = np.asarray(case.forward(*arrays))

            def pull(g: Any) -> Any:
                found = case.backward(np.array(g), *arrays, y)
                found = found if isinstance(found, tuple) else (found,)
                return tuple([np.zeros_like(x) if d is None else d for d, x in zip(found, arrays, strict=True)])

            return y, pull

        tolerance = 1e-5  # its default for float64
        try:
            public_test_util.check_vjp(f, f_vjp, tuple(inputs), atol=tolerance, rtol=tolerance)
        except Exception:  # an assertion, or a shape that does not fit
            return True
        return False

    return check


def hips() -> Checker:
    """autograd.test_util.check_grads, reverse mode, first order."""
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_grads

    def check(case: Case, inputs: list[Any]) -> bool:
        @primitive  # type: ignore[untyped-decorator]
        def f(*xs: Any) -> Any:
            return case.forward(*[np.array(x) for x in xs])

        def rule(k: int) -> Any:
            def pull(y: Any, *xs: Any) -> Any:
                def back(g: Any) -> Any:
                    found = case.backward(np.array(g), *[np.array(x) for x in xs], np.asarray(y))
                    found = found if isinstance(found, tuple) else (found,)
                    return np.zeros_like(xs[k]) if found[k] is None else found[k]

                return back

            return pull

        defvjp(f, *[rule(k) for k in range(len(inputs))], argnums=range(len(inputs)))
        try:
            check_grads(f, modes=["rev"], order=1)(*inputs)
        except Exception:  # an assertion, or a shape that does not fit
            return True
        return False

    return check


def chainer_algorithm(case: Case, inputs: list[Any]) -> bool:
    """Chainer's check_backward, written down from its description.

    One random direction of length 1 through all inputs, differences with a step of 1e-3, absolute tolerance 1e-5 and
    relative 1e-4, cotangents normal.
    """
    rng = np.random.default_rng(0)
    directions = [rng.standard_normal(x.shape) for x in inputs]
    length = float(np.sqrt(sum((d**2).sum() for d in directions))) or 1.0
    directions = [(d / length).astype(x.dtype) for d, x in zip(directions, inputs, strict=True)]
    try:
        y = np.asarray(case.forward(*[x.copy() for x in inputs]))
        g = rng.standard_normal(y.shape).astype(y.dtype)
        found = case.backward(g.copy(), *[x.copy() for x in inputs], y)
        found = found if isinstance(found, tuple) else (found,)
        if any(d is not None and np.shape(d) != x.shape for d, x in zip(found, inputs, strict=True)):
            return True
        claimed = sum(float((d * v).sum()) for d, v in zip(found, directions, strict=True) if d is not None)
        high, low = (
            case.forward(*[x + sign * 1e-3 * v for x, v in zip(inputs, directions, strict=True)]) for sign in (1, -1)
        )
    except Exception:  # a shape that does not fit
        return True
    numeric = float((g * (np.asarray(high) - np.asarray(low))).sum() / 2e-3)
    return not bool(np.isclose(claimed, numeric, atol=1e-5, rtol=1e-4))


def installed() -> dict[str, Checker]:
    """Those that can run here."""
    found: dict[str, Checker] = {"tinygrad_seq": lambda case, inputs: ours(case, inputs) == "fail"}
    makers: dict[str, Callable[[], Checker]] = {
        "PyTorch": lambda: pytorch(fast_mode=False),
        "PyTorch, fast mode": lambda: pytorch(fast_mode=True),
        "JAX": jax_checker,
        "HIPS autograd": hips,
    }
    for name, make in makers.items():
        try:
            found[name] = make()
        except ImportError:
            continue
    found["Chainer's algorithm"] = chainer_algorithm
    return found

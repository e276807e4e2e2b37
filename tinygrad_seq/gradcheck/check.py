"""`gradcheck` and `gradgradcheck`: every element of every gradient against a numerical derivative."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..autodiff import recorded_sweep
from ..backend import Array, backend_of, float64
from ..graph import enable_grad, no_grad
from ..random import Generator, rand
from ..tensor import Tensor, as_tensor
from .numeric import Estimate, basis, central_difference, complex_step

Function = Callable[..., Any]


class GradcheckError(AssertionError):
    """A gradient is wrong. The message says which input, at which index, and both values."""


def _outputs(result: Any) -> list[Tensor]:
    """The floating-point tensors that a function returned."""
    flat = [result] if isinstance(result, Tensor) else list(result) if isinstance(result, (tuple, list)) else []
    nested = [_outputs(y) if isinstance(y, (tuple, list)) else [y] for y in flat]
    tensors = [y for part in nested for y in part if isinstance(y, Tensor) and y.dtype.kind in "fc"]
    if not tensors:
        raise TypeError(
            f"gradcheck: the function must return a floating-point tensor, it returned {type(result).__name__}"
        )
    return tensors


def _cotangents(ys: Sequence[Tensor]) -> list[Tensor]:
    """One random weight for each output element, none of them small: uniform in ±[0.5, 1.5]."""
    generator = Generator(20260)
    draws = [rand(y.shape, dtype=float64, generator=generator) for y in ys]
    return [Tensor.wrap(((u.array < 0.5) * 2.0 - 1.0) * (0.5 + (2.0 * u.array) % 1.0)) for u in draws]


def _weighted_sum(f: Function, arrays: Sequence[Array], weights: Sequence[Tensor]) -> Any:
    """The number that is differentiated: the outputs of f, weighted and added up."""
    with no_grad():
        ys = _outputs(f(*[Tensor.wrap(a) for a in arrays]))
        return sum((y.array * w.array).sum().item() for y, w in zip(ys, weights, strict=True))


def analytic_gradients(f: Function, xs: Sequence[Tensor], weights: Sequence[Tensor] | None = None) -> Any:
    """f's own gradients of the weighted sum of its outputs, one per input (zeros if none arrives), and the weights."""
    with enable_grad():
        leaves = [x.detach().requires_grad_() for x in xs]
        ys = _outputs(f(*leaves))
        weights = _cotangents(ys) if weights is None else weights
        roots = [(y.node, w.to(y.dtype)) for y, w in zip(ys, weights, strict=True) if y.node is not None]
        found = recorded_sweep(roots, [leaf.node for leaf in leaves if leaf.node], value_class=Tensor)
    return [found.get(leaf.node, Tensor.wrap(leaf.array * 0)) for leaf in leaves if leaf.node], weights


def gradcheck(f: Function, inputs: Any, *, rtol: float = 1e-7, atol: float = 1e-12) -> bool:
    """Check every element of the gradient of f at the given inputs.

    The derivative is computed from values alone: by the complex step, which is exact to rounding, and where that
    disagrees or cannot be used, by central differences extrapolated to step 0. Every output counts, under random
    weights.

    Args:
        f: takes tensors and returns one or several; computed in float64 here whatever the inputs are.
        inputs: one or several floating-point tensors or arrays.
        rtol: difference allowed, relative to the larger of the element and the typical element of its gradient.
        atol: difference allowed in any case.

    Returns:
        True.

    Raises:
        GradcheckError: if an element is wrong; the message points at it.
        TypeError: if f returns no tensor, or an input is not floating-point.
    """
    given = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
    xs = [as_tensor(x).detach() for x in given]
    for i, x in enumerate(xs):
        if x.dtype.kind != "f":
            raise TypeError(
                f"gradcheck: input {i} is of {x.dtype}; takes floating-point inputs, close f over the others"
            )
    xs = [x.to(float64) for x in xs]
    gradients, weights = analytic_gradients(f, xs)
    arrays = [x.array for x in xs]
    for i, (x, gradient) in enumerate(zip(xs, gradients, strict=True)):
        if gradient.shape != x.shape:
            raise GradcheckError(f"input {i} has shape {x.shape}, its gradient {gradient.shape}")
        analytic = backend_of(gradient.array).to_host(gradient.detach().array)
        scale = float(abs(analytic).mean()) if analytic.size else 0.0
        for where, direction in basis(x.array):
            ours = float(analytic[where])

            def along(moved: Array, i: int = i) -> Any:
                others = [
                    a.astype(moved.dtype) for a in arrays
                ]  # all complex or none: a gradient is cast to its input's
                return _weighted_sum(f, [*others[:i], moved, *others[i + 1 :]], weights)

            estimate = _agreeing(ours, along, x.array, direction, max(rtol * max(abs(ours), scale), atol))
            if estimate is not None:
                raise GradcheckError(
                    f"input {i}, shape {x.shape}: the gradient at index {list(where)} is wrong: analytic {ours:.10g}, "
                    f"numeric {estimate.value:.10g} ± {estimate.error:.1e}, difference {abs(ours - estimate.value):.1e}"
                )
    return True


def _agreeing(ours: float, along: Any, x: Array, direction: Array, tolerance: float) -> Estimate | None:
    """None if a numerical derivative agrees with ours, else that derivative."""
    try:
        exact = complex_step(lambda z: complex(along(z)), x, direction)
    except (TypeError, ValueError):  # f does not take complex numbers
        exact = None
    if exact is not None and abs(ours - exact.value) <= tolerance:
        return None
    second = central_difference(lambda z: float(along(z).real), x, direction)
    return None if abs(ours - second.value) <= tolerance + 4 * second.error else second


def gradgradcheck(f: Function, inputs: Any, *, rtol: float = 1e-7, atol: float = 1e-12) -> bool:
    """Check the gradient of the gradient of f: `gradcheck` of the function from the inputs to their gradients.

    Takes, returns and raises what `gradcheck` does.
    """
    given = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
    xs = [as_tensor(x).detach().to(float64) for x in given]
    _, weights = analytic_gradients(f, xs)

    def gradients(*moved: Tensor) -> tuple[Tensor, ...]:
        with enable_grad():
            leaves = [x if x.node is not None else x.detach().requires_grad_() for x in moved]
            ys = _outputs(f(*leaves))
            roots = [(y.node, w.to(y.dtype)) for y, w in zip(ys, weights, strict=True) if y.node is not None]
            targets = [leaf.node for leaf in leaves if leaf.node is not None]
            found = recorded_sweep(roots, targets, retain_graph=True, value_class=Tensor)
        return tuple([found[x.node] if x.node in found else x * 0 for x in leaves])

    return gradcheck(gradients, tuple(xs), rtol=rtol, atol=atol)

"""Derivatives of functions: `grad` and `value_and_grad`, of any order, nested at will."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .autodiff import ancestors, recorded_sweep, sweep
from .graph import Leaf, Node, enable_grad, is_grad_enabled
from .ops.elementwise import cast
from .tensor import Tensor, as_tensor


def _fresh(x: Tensor) -> Tensor:
    """x as a variable of its own: a leaf, or if something outside wants a gradient through x, a node leading there."""
    if x.dtype.kind not in "fc":
        raise TypeError(f"grad: an argument of {x.dtype} has no gradient, only floating-point ones do; use .float()")
    return x.detach().requires_grad_() if x.node is None else cast(x, dtype=x.dtype)


def value_and_grad(
    f: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., tuple[Any, Any]]:
    """The function that returns both f(*args) and its gradient with respect to the arguments `argnums`.

    Args:
        f: takes tensors (or anything a tensor can be made of) and returns a scalar tensor.
        argnums: the position of the argument to differentiate by, or several of them.
        has_aux: f returns (scalar, anything); the function then returns ((scalar, anything), gradient).

    Returns:
        A function with f's arguments. Where an argument, or anything else that f uses, requires a gradient itself,
        so does the result: this is how derivatives nest. Under `no_grad` the result is a constant.

    Raises:
        TypeError: if f returns something other than a scalar floating-point tensor, or an argument is of integers.
    """

    def wrapped(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        positions = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        if any(not -len(args) <= n < len(args) for n in positions):
            raise TypeError(
                f"grad: argnums={argnums}, but the function was called with {len(args)} positional arguments"
            )
        positions = tuple([n % len(args) for n in positions])
        nested = is_grad_enabled()
        with enable_grad():
            given = list(args)
            for n in positions:
                given[n] = _fresh(as_tensor(args[n]))
            result = f(*given, **kwargs)
            y, aux = result if has_aux else (result, None)
            if not isinstance(y, Tensor) or y.numel() != 1 or y.dtype.kind not in "fc":
                what = f"a tensor of shape {y.shape}, {y.dtype}" if isinstance(y, Tensor) else type(y).__name__
                raise TypeError(f"grad: the function must return a scalar floating-point tensor, it returned {what}")
            variables: list[Node] = [given[n].node for n in positions]
            gradients, outer = _gradients(y, variables, nested)
        found = [
            as_tensor(gradients[v]) if v in gradients else Tensor.wrap(0 * given[n].array)
            for v, n in zip(variables, positions, strict=True)
        ]
        value = y if outer else y.detach()
        return ((value, aux) if has_aux else value), (found[0] if isinstance(argnums, int) else tuple(found))

    return wrapped


def _gradients(y: Tensor, variables: list[Node], nested: bool) -> tuple[dict[Node, Any], bool]:
    """The gradients of y, recorded if somebody outside could ask for their derivative; and whether that is so."""
    if y.node is None:
        return {}, False
    stops = set(variables)
    graph = ancestors([y.node], stops)
    outer = nested and any(
        (isinstance(node, Leaf) and node not in stops) or (node in stops and node.parents) for node in graph
    )
    one = y._seed(None) if y.ndim == 0 else y._seed(Tensor.wrap(y.array * 0 + 1))
    if outer:
        return recorded_sweep([(y.node, one)], variables, retain_graph=True, value_class=Tensor), True
    return sweep([(y.node, one.array)], variables), False


def grad(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The function that returns the gradient of f with respect to the arguments `argnums`. See `value_and_grad`.

    >>> tg.grad(lambda x: x**3)(2.0)
    tensor(12.)
    >>> tg.grad(tg.grad(lambda x: x**3))(2.0)
    tensor(12.)
    """

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        value, gradient = value_and_grad(f, argnums, has_aux)(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return wrapped

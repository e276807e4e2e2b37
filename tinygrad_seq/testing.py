"""Property tests for operations of one's own: strategies of arrays, and one decorator. Needs hypothesis.

>>> @check_op(arrays_of("positive"))
... def test_my_log(x):
...     return my_log(x)
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any

try:
    from hypothesis import given
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError('tinygrad_seq.testing needs hypothesis: pip install "tinygrad-seq[testing]"') from error

from .backend import Array, array_module
from .backend.pytree import tree_map
from .gradcheck import NotTestedWarning, Report, gradcheck, gradgradcheck

np: Any = array_module(0.0)  # NumPy

DOMAINS = ("real", "positive", "unit", "distinct", "large")


def shapes(min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 4) -> st.SearchStrategy[Any]:
    """Shapes of arrays, 0-d and 0-size ones among them."""
    return st.lists(st.integers(min_side, max_side), min_size=min_dims, max_size=max_dims).map(tuple)


def broadcastable_shapes(count: int = 2, max_dims: int = 3, max_side: int = 4) -> st.SearchStrategy[Any]:
    """Tuples of `count` shapes that broadcast with each other."""

    @st.composite
    def together(draw: Any) -> tuple[tuple[int, ...], ...]:
        whole = draw(shapes(max_dims=max_dims, max_side=max_side))
        found = []
        for _ in range(count):
            kept = whole[draw(st.integers(0, len(whole))) :]
            found.append(tuple([1 if draw(st.booleans()) else length for length in kept]))
        return tuple(found)

    return together()


def arrays_of(
    domain: str = "real", shape: Any = None, dtype: str = "float64", layouts: bool = True
) -> st.SearchStrategy[Any]:
    """Arrays of numbers from a domain.

    Args:
        domain: "real" (normal), "positive" (0.5 to 2), "unit" (0 to 1), "distinct" (no ties, no zeros: away from the
            kinks of max, sort and relu) or "large" (normal times 10).
        shape: a shape, or a strategy of shapes; `shapes()` by default.
        layouts: also arrays that are not contiguous: strided, reversed, transposed.

    Raises:
        ValueError: if there is no such domain.
    """
    if domain not in DOMAINS:
        raise ValueError(f"arrays_of: domain is one of {', '.join(DOMAINS)}, got {domain!r}")
    chosen = shapes() if shape is None else st.just(tuple(shape)) if isinstance(shape, (tuple, list)) else shape

    @st.composite
    def made(draw: Any) -> Array:
        lengths = draw(chosen)
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        x = _numbers(rng, lengths, domain).astype(dtype)
        return _laid_out(x, draw(st.sampled_from(["C", "F", "strided", "reversed"]))) if layouts else x

    return made()


def _numbers(rng: Any, shape: tuple[int, ...], domain: str) -> Array:
    if domain == "positive":
        return rng.uniform(0.5, 2.0, shape)
    if domain == "unit":
        return rng.random(shape)
    if domain == "distinct":
        count = int(np.prod(shape))
        return np.asarray((rng.permutation(count) - count / 2 + 0.25) / max(count / 4, 1)).reshape(shape)
    return np.asarray(rng.standard_normal(shape)) * (10.0 if domain == "large" else 1.0)


def _laid_out(x: Array, layout: str) -> Array:
    if x.ndim == 0 or layout == "C":
        return x
    if layout == "F":
        return np.asfortranarray(x)
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    view = wide[..., ::2] if layout == "strided" else wide[..., ::-2]
    view[...] = x
    return view


def check_op(
    *inputs: st.SearchStrategy[Any], order: int = 2, together: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Decorator: a function of tensors becomes a test that checks its gradients at inputs drawn from the strategies.

    >>> @check_op(arrays_of(shape=(3, 4)), arrays_of(shape=(4,)))
    ... def test_scaled(x, scale):
    ...     return my_scaled(x, scale)

    Args:
        inputs: a strategy for each argument.
        order: 2 checks the gradient of the gradient, too.
        together: the one strategy gives a tuple of all the arguments, for shapes that depend on each other.
    """
    if not inputs:
        raise TypeError("check_op: takes a strategy for each argument, as in @check_op(arrays_of())")

    def decorate(f: Callable[..., Any]) -> Callable[..., None]:
        @given(inputs[0] if together else st.tuples(*inputs))
        def test(xs: Sequence[Array]) -> None:
            assert_gradients(f, list(xs), order=order)

        functools.update_wrapper(test, f)
        del test.__wrapped__  # type: ignore[attr-defined] # pytest would take its arguments for fixtures
        test.__signature__ = inspect.Signature()  # type: ignore[attr-defined]
        return test

    return decorate


def check_gradients(
    f: Any, inputs: Any, *, framework: str | None = None, order: int = 1, seed: int = 0, **settings: Any
) -> Report:
    """`gradcheck` of whatever has a gradient: functions and modules of ours, pairs, and those of PyTorch and JAX.

    A plain Python function of JAX's or PyTorch's arrays looks like any other: give it arrays of theirs, or say so.

    >>> check_gradients(my_custom_vjp, [np.ones(3)])
    >>> check_gradients(lambda x: jnp.sin(x) * x, [np.ones(3)], framework="jax")

    Args:
        framework: "jax" or "torch": make such arrays of the inputs.
        order: 2 checks the gradient of the gradient as well; ours only.
        settings: what else `gradcheck` takes.

    Returns:
        The report of the first order.

    Raises:
        GradcheckError: an AssertionError whose message is the report.
        ValueError: if there is no such framework.
    """
    if framework not in (None, "jax", "torch"):
        raise ValueError(f"check_gradients: framework is jax, torch or None, got {framework!r}")
    if framework is not None:
        inputs = tree_map(_converter(framework), list(inputs) if isinstance(inputs, (list, tuple)) else [inputs])
    report = gradcheck(f, inputs, seed=seed, **settings)
    if order == 2:
        gradgradcheck(f, inputs, seed=seed, **settings)
    return report


def _converter(framework: str) -> Callable[[Any], Any]:
    """What makes arrays of a framework, in the precision in which they come."""
    if framework == "torch":
        import torch

        return lambda x: torch.as_tensor(x)
    import jax

    def convert(x: Any) -> Any:
        with jax.enable_x64(True):
            return jax.numpy.asarray(x)

    return convert


def assert_gradients(f: Any, inputs: Any, *, order: int = 1, seed: int = 0) -> None:
    """Assert that the gradients of f are right, those of the gradient as well with order=2.

    At drawn inputs a gradient may well be zero everywhere, so nothing is said where `gradcheck` would warn that it
    tested nothing.

    Raises:
        GradcheckError: an AssertionError whose message is the report.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotTestedWarning)
        gradcheck(f, inputs, seed=seed)
        if order == 2:
            gradgradcheck(f, inputs, seed=seed)

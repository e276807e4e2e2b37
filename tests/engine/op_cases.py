"""For each primitive, what it can be called with: one row, a hypothesis strategy of arrays and settings.

Arrays come in every layout (row-major, column-major, reversed, with gaps), read-only, of 0 to 3 dimensions of length 0
to 3, from a domain in which the derivative exists.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_seq import Primitive, ops
from tinygrad_seq.graph.device import default_device
from tinygrad_seq.ops.index import ARRAY


class Call(NamedTuple):
    """Arguments for a primitive: arrays, of which the floating-point ones are differentiated by, and settings."""

    arrays: list[Any]
    params: dict[str, Any]


def primitives() -> dict[str, Primitive[...]]:
    """All primitives of the engine, by name."""
    found: dict[str, Primitive[...]] = {}
    for info in pkgutil.iter_modules(ops.__path__, "tinygrad_seq.ops."):
        module = importlib.import_module(info.name)
        for value in vars(module).values():
            if isinstance(value, Primitive) and value.__module__ == module.__name__:
                assert found.setdefault(value.name, value) is value
    return found


def shapes(min_dims: int = 0, max_dims: int = 3, min_side: int = 0) -> st.SearchStrategy[tuple[int, ...]]:
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=3)


def _numbers(rng: np.random.Generator, size: int, domain: str) -> np.ndarray:
    if domain == "real":
        return rng.uniform(-2, 2, size)
    if domain == "positive":
        return rng.uniform(0.3, 3, size)
    if domain == "away from 0":
        return rng.uniform(0.3, 2, size) * rng.choice([-1.0, 1.0], size)
    if domain == "between whole numbers":
        return rng.integers(-3, 3, size) + rng.uniform(0.2, 0.8, size)
    if domain in ("distinct", "distinct from those"):  # of neighbours and of each other: no ties, no kinks
        return (rng.permutation(size) - size // 2) * 0.5 + 0.1 + 0.25 * (domain == "distinct from those")
    raise ValueError(domain)


def laid_out(values: np.ndarray, layout: str) -> np.ndarray:
    """The same numbers in another memory layout, read-only."""
    if layout == "column-major":
        values = np.array(values, order="F")
    elif layout == "reversed" and values.ndim:
        values = np.flip(np.flip(values).copy())
    elif layout == "with gaps":
        every_other: Any = (..., *[slice(None, None, 2)] * values.ndim)
        wide = np.zeros([2 * n for n in values.shape])
        wide[every_other] = values
        values = wide[every_other]
    values.flags.writeable = False
    return values


def array(draw: st.DrawFn, shape: tuple[int, ...], domain: str = "real") -> np.ndarray:
    """An array of a domain; its numbers come from a drawn seed, since they matter less than shape and layout."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    values = _numbers(rng, int(np.prod(shape)), domain).reshape(shape)
    return laid_out(values, draw(st.sampled_from(["row-major", "column-major", "reversed", "with gaps"])))


def dims_of(draw: st.DrawFn, ndim: int) -> tuple[int, ...]:
    """Some dimensions, none or all of them included."""
    return tuple(draw(st.lists(st.sampled_from(range(ndim)), unique=True))) if ndim else ()


@st.composite
def elementwise(draw: st.DrawFn, *domains: str) -> Call:
    """Arrays that broadcast with each other, one for each domain."""
    broadcast = draw(hnp.mutually_broadcastable_shapes(num_shapes=len(domains), max_dims=3, max_side=3))
    return Call([array(draw, s, d) for s, d in zip(broadcast.input_shapes, domains, strict=True)], {})


@st.composite
def reduction(draw: st.DrawFn, domain: str = "real", min_side: int = 0) -> Call:
    shape = draw(shapes(min_side=min_side))
    return Call([array(draw, shape, domain)], {"dims": dims_of(draw, len(shape)), "keepdim": draw(st.booleans())})


@st.composite
def along_dim(draw: st.DrawFn, /, domain: str = "real", min_side: int = 0, **more: st.SearchStrategy[Any]) -> Call:
    shape = draw(shapes(min_dims=1, min_side=min_side))
    dim = draw(st.integers(0, len(shape) - 1))
    return Call([array(draw, shape, domain)], {"dim": dim} | {name: draw(s) for name, s in more.items()})


@st.composite
def selection(draw: st.DrawFn) -> Call:
    """A condition and two branches."""
    s = draw(hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, max_side=3)).input_shapes
    return Call([array(draw, s[0]) > 0, array(draw, s[1]), array(draw, s[2])], {})


@st.composite
def reshaping(draw: st.DrawFn) -> Call:
    shape = draw(shapes())
    return Call([array(draw, shape)], {"shape": draw(st.permutations(shape + (1,)).map(tuple))})


@st.composite
def permutation(draw: st.DrawFn) -> Call:
    shape = draw(shapes())
    return Call([array(draw, shape)], {"dims": tuple(draw(st.permutations(range(len(shape)))))})


@st.composite
def windows(draw: st.DrawFn) -> Call:
    shape = draw(shapes(min_dims=1))
    dim = draw(st.integers(0, len(shape) - 1))
    params = {"dim": dim, "size": draw(st.integers(0, shape[dim])), "step": draw(st.integers(1, 3))}
    return Call([array(draw, shape)], params)


@st.composite
def diagonals(draw: st.DrawFn) -> Call:
    shape = draw(shapes(min_dims=2))
    dims = tuple(draw(st.permutations(range(len(shape))))[:2])
    return Call([array(draw, shape)], {"offset": draw(st.integers(-4, 4)), "dims": dims})


@st.composite
def broadcasting(draw: st.DrawFn) -> Call:
    shape = draw(shapes())
    stretched = tuple([draw(st.integers(0, 3)) if n == 1 else n for n in shape])
    return Call([array(draw, shape)], {"shape": (*draw(shapes(max_dims=1)), *stretched)})


@st.composite
def pieces(draw: st.DrawFn, alike: bool) -> Call:
    """Arrays to put together: of one shape, or differing along the dimension."""
    shape = draw(shapes(min_dims=0 if alike else 1, max_dims=2))
    dim = draw(st.integers(0, len(shape) if alike else len(shape) - 1))
    count = draw(st.integers(1, 3))
    sizes = [shape if alike else (*shape[:dim], draw(st.integers(0, 3)), *shape[dim + 1 :]) for _ in range(count)]
    return Call([array(draw, s) for s in sizes], {"dim": dim})


@st.composite
def splitting(draw: st.DrawFn) -> Call:
    sizes = tuple(draw(st.lists(st.integers(0, 2), min_size=1, max_size=3)))
    before, after = draw(shapes(max_dims=1)), draw(shapes(max_dims=1))
    return Call([array(draw, (*before, sum(sizes), *after))], {"sizes": sizes, "dim": len(before)})


@st.composite
def matrices(draw: st.DrawFn) -> Call:
    found = draw(hnp.mutually_broadcastable_shapes(signature="(n,k),(k,m)->(n,m)", max_dims=2, min_side=0, max_side=3))
    return Call([array(draw, s) for s in found.input_shapes], {})


@st.composite
def linear(draw: st.DrawFn) -> Call:
    """x (..., N, F), weight (O, F), and perhaps a bias (O,) or (N, O)."""
    N, F, O = draw(st.integers(0, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 4))  # noqa: E741
    inputs = [array(draw, (*draw(shapes(max_dims=2)), N, F)), array(draw, (O, F))]
    bias = draw(st.sampled_from([None, (O,), (N, O)]))
    return Call([*inputs, *([] if bias is None else [array(draw, bias)])], {})


@st.composite
def indexing(draw: st.DrawFn) -> Call:
    """Slices and integers, or integer arrays with repeats, negative ones too."""
    shape = draw(shapes(min_dims=1, min_side=1))
    x = array(draw, shape)
    if draw(st.booleans()):
        index = draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
        return Call([x], {"index": index if isinstance(index, tuple) else (index,)})
    place = draw(st.integers(0, len(shape) - 1))
    n = shape[place]
    numbers = hnp.arrays(np.int64, shapes(max_dims=2), elements=st.integers(-n, n - 1))
    return Call([x, draw(numbers)], {"index": (*[slice(None)] * place, ARRAY)})


@st.composite
def assignment(draw: st.DrawFn) -> Call:
    """Slices and integers, or one integer array without repeats; values of the part's shape."""
    shape = draw(shapes(min_dims=1, min_side=1))
    x = array(draw, shape)
    if draw(st.booleans()):
        index = draw(hnp.basic_indices(shape, allow_newaxis=False, allow_ellipsis=True))
        index = index if isinstance(index, tuple) else (index,)
        return Call([x, array(draw, np.zeros(shape)[index].shape)], {"index": index})
    rows = np.array(draw(st.lists(st.integers(0, shape[0] - 1), unique=True, max_size=3)), np.int64)
    return Call([x, array(draw, (len(rows), *shape[1:])), rows], {"index": (ARRAY,)})


@st.composite
def scattering(draw: st.DrawFn) -> Call:
    """Two contributions to one array: one at slices, one at an integer array with repeats."""
    shape = draw(shapes(min_dims=1, min_side=1))
    basic = draw(hnp.basic_indices(shape))
    basic = basic if isinstance(basic, tuple) else (basic,)
    rows = draw(hnp.arrays(np.int64, shapes(max_dims=2), elements=st.integers(-shape[0], shape[0] - 1)))
    there: Any = np.zeros(shape)
    values = [array(draw, there[basic].shape), array(draw, there[rows].shape)]
    params = {"shape": shape, "indices": (basic, (ARRAY,)), "counts": (0, 1)}
    return Call([values[0], values[1], rows], params)


@st.composite
def taking(draw: st.DrawFn, put: bool) -> Call:
    shape = draw(shapes(min_dims=1, min_side=1))
    dim = draw(st.integers(0, len(shape) - 1))
    count = draw(st.integers(0, 3))
    there = (*shape[:dim], count, *shape[dim + 1 :])
    index = draw(hnp.arrays(np.int64, there, elements=st.integers(-shape[dim], shape[dim] - 1)))
    return Call([array(draw, there if put else shape), index], {"dim": dim} | ({"shape": shape} if put else {}))


@st.composite
def fixed(draw: st.DrawFn, /, **params: Any) -> Call:
    return Call([array(draw, draw(shapes()))], params)


DIFFERENTIABLE: dict[str, st.SearchStrategy[Call]] = {
    "abs": elementwise("away from 0"),
    "add": elementwise("real", "real"),
    "matmul": matrices(),
    "broadcast_to": broadcasting(),
    "cast": fixed(dtype=np.dtype("float64")),
    "contiguous": fixed(),
    "cat": pieces(alike=False),
    "ceil": elementwise("between whole numbers"),
    "cos": elementwise("real"),
    "cumsum": along_dim(),
    "diagonal": diagonals(),
    "div": elementwise("real", "away from 0"),
    "erf": elementwise("real"),
    "exp": elementwise("real"),
    "expm1": elementwise("real"),
    "flip": permutation(),
    "floor": elementwise("between whole numbers"),
    "getitem": indexing(),
    "setitem": assignment(),
    "linear": linear(),
    "log": elementwise("positive"),
    "log1p": elementwise("positive"),
    "log_softmax": along_dim(min_side=1),
    "maximum": elementwise("distinct", "distinct from those"),
    "minimum": elementwise("distinct", "distinct from those"),
    "mul": elementwise("real", "real"),
    "neg": elementwise("real"),
    "permute": permutation(),
    "pow": elementwise("positive", "real"),
    "put_along_dim": taking(put=True),
    "amax": reduction("distinct", min_side=1),
    "amin": reduction("distinct", min_side=1),
    "sum": reduction(),
    "real_part": elementwise("real"),
    "relu": elementwise("away from 0"),
    "reshape": reshaping(),
    "round": elementwise("between whole numbers").filter(lambda c: not np.any(np.abs(c.arrays[0] % 1 - 0.5) < 1e-2)),
    "scatter": scattering(),
    "sigmoid": elementwise("real"),
    "sign": elementwise("away from 0"),
    "sin": elementwise("real"),
    "softplus": elementwise("real"),
    "split": splitting(),
    "sqrt": elementwise("positive"),
    "stack": pieces(alike=True),
    "sub": elementwise("real", "real"),
    "take_along_dim": taking(put=False),
    "tanh": elementwise("real"),
    "to_device": fixed(device=default_device(), source=default_device()),
    "trunc": elementwise("between whole numbers"),
    "unbind": along_dim(min_side=1),
    "unfold": windows(),
    "where": selection(),
    "zero": elementwise("real"),
    "floor_divide": elementwise("distinct", "away from 0").filter(lambda c: _off_whole(c)),
    "remainder": elementwise("distinct", "away from 0").filter(lambda c: _off_whole(c)),
}

WITHOUT_DERIVATIVE: dict[str, st.SearchStrategy[Call]] = {
    "argmax": along_dim(min_side=1, keepdim=st.booleans()),
    "argmin": along_dim(min_side=1, keepdim=st.booleans()),
    "argsort": along_dim(descending=st.booleans()),
    "eq": elementwise("real", "real"),
    "ge": elementwise("real", "real"),
    "gt": elementwise("real", "real"),
    "isfinite": elementwise("real"),
    "isinf": elementwise("real"),
    "isnan": elementwise("real"),
    "le": elementwise("real", "real"),
    "logical_and": elementwise("real", "real"),
    "logical_not": elementwise("real"),
    "logical_or": elementwise("real", "real"),
    "logical_xor": elementwise("real", "real"),
    "lt": elementwise("real", "real"),
    "ne": elementwise("real", "real"),
    "nonzero": elementwise("real"),
    "all": reduction(),
    "any": reduction(),
}


def _off_whole(call: Call) -> bool:
    """Whether no quotient is so near to a whole number that a step changes it."""
    quotient = call.arrays[0] / call.arrays[1]
    return not np.any(np.abs(quotient - np.round(quotient)) < 5e-2)

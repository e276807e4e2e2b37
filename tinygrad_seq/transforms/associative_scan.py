"""All prefixes of a sequence at once: `associative_scan`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from ..backend.pytree import leaves, rebuild, tree_map
from ..graph.saved_tensors import next_number, owner_of, version_counter
from ..ops.dims import normalize_dim
from ..ops.index import narrow
from ..ops.shape import cat, flatten, flip, split, stack, unbind, unflatten
from ..tensor import Tensor, as_tensor, clone

Tree = TypeVar("Tree")
Tensors = list[Tensor]


def associative_scan(combine: Callable[[Tree, Tree], Tree], xs: Tree, reverse: bool = False, dim: int = 0) -> Tree:
    """x₁, x₁ ∘ x₂, x₁ ∘ x₂ ∘ x₃, ... along a dimension, where a ∘ b is combine(a, b). As JAX's `lax.associative_scan`.

    The order of evaluation is another one, which an associative ∘ permits: in 2 log₂ T rounds, each of them on many
    elements at once. A composition, so derivatives of any order pass through, also to what `combine` closes over.

    Args:
        combine: takes two containers like xs and returns one. They hold slices of xs along `dim`, of which the number
            is not said: what it does, it does for each element by itself.
        xs: a tensor, or a container of tensors that have one length T along `dim`. Other lengths may differ.
        reverse: from the last element on: x_T, x_T ∘ x_{T-1}, ..., each in the place of the last that went into it.
        dim: the dimension along which the elements stand.

    Returns:
        A container like xs. Of no element, nothing; `combine` is not called then, nor for one.

    Raises:
        ValueError: if lengths differ, or `combine` returns another structure, shape or dtype than it was given; the
            message names the tensor.
        RuntimeError: if `combine` changes in place what it was given.

    >>> tg.associative_scan(tg.mul, tg.tensor([1, 2, 3, 4]))
    tensor([ 1,  2,  6, 24])

    The linear recurrence h_t = a_t h_{t-1} + b_t from h_0 = 0: two steps in a row are a step, too.

    >>> then = lambda first, second: (second[0] * first[0], second[0] * first[1] + second[1])
    >>> a, b = tg.tensor([0.5, 0.5, 2.0]), tg.tensor([1.0, 1.0, 1.0])
    >>> tg.associative_scan(then, (a, b))[1]
    tensor([1.0000, 1.5000, 4.0000])
    """
    if not callable(combine):
        raise TypeError(f"associative_scan: takes a function first, got a {type(combine).__name__}")
    names = [path for path, _ in _named(xs, "xs")]
    elements = [as_tensor(x) for x in leaves(xs)]
    if not elements:
        raise ValueError("associative_scan: xs holds no tensor")
    dims = [normalize_dim("associative_scan", dim, x.ndim) for x in elements]
    lengths = [x.shape[d] for x, d in zip(elements, dims, strict=True)]
    if len(set(lengths)) > 1:
        told = ", ".join([f"{name} {n}" for name, n in zip(names, lengths, strict=True)])
        raise ValueError(f"associative_scan: all of xs must have one length along dim={dim}, they have {told}")

    def combined(before: Tensors, after: Tensors) -> Tensors:
        given = [(x, x.array) for x in (*before, *after)]
        start = next_number()
        result = combine(rebuild(xs, iter(before)), rebuild(xs, iter(after)))
        if any(x.array is not a or version_counter.write_time(id(owner_of(a))) > start for x, a in given):
            raise RuntimeError(
                "associative_scan: combine changes in place what it is given, which is used again; return new tensors"
            )
        found = dict(_named(result, "xs"))
        if found.keys() != set(names):
            raise ValueError(
                f"associative_scan: combine must return a container like xs, which holds {', '.join(names)}; it "
                f"returned one that holds {', '.join(found) or 'nothing'}"
            )
        ys = [as_tensor(found[name]) for name in names]
        for name, x, y in zip(names, before, ys, strict=True):
            if x.shape != y.shape or x.dtype != y.dtype:
                raise ValueError(
                    f"associative_scan: combine must keep shapes and dtypes; for {name} it was given {x.shape}, "
                    f"{x.dtype}, and returned {y.shape}, {y.dtype}"
                )
        return ys

    if lengths[0] < 2:
        return tree_map(lambda x: clone(as_tensor(x)), xs)
    if reverse:
        elements = [flip(x, d) for x, d in zip(elements, dims, strict=True)]
    prefixes = _prefixes(combined, elements, dims)
    if reverse:
        prefixes = [flip(y, d) for y, d in zip(prefixes, dims, strict=True)]
    return rebuild(xs, iter(prefixes))


def _named(tree: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The leaves with the places where they stand, such as xs[0]['a']."""
    if isinstance(tree, (dict, list, tuple)):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from _named(value, f"{path}[{key!r}]")
    elif tree is not None:
        yield path, tree


def _prefixes(combine: Callable[[Tensors, Tensors], Tensors], xs: Tensors, dims: list[int]) -> Tensors:
    """All prefixes of T ≥ 1 elements: every other one is a prefix of the T / 2 pairs, and gives the one after it."""
    # h ← a h + b, B·H = 4096, on one core: a walk takes half the time of this (3 ms for 6 of T = 64, forward and back;
    # 0.4 s for 0.8 of T = 4096), for it stays in the cache, but records T steps; pieces of 4 or 8 steps: no faster
    T = xs[0].shape[dims[0]]
    if T == 1:
        return xs
    if T % 2:
        xs, last = _cut(xs, dims, T - 1)
        ys = _prefixes(combine, xs, dims)
        return _joined(ys, combine([narrow(y, d, T - 2, 1) for y, d in zip(ys, dims, strict=True)], last), dims)
    halves = [unbind(unflatten(x, d, (T // 2, 2)), d + 1) for x, d in zip(xs, dims, strict=True)]
    evens, odds = ([half[k] for half in halves] for k in (0, 1))
    odds = _prefixes(combine, combine(evens, odds), dims)
    if T > 2:
        first, later = _cut(evens, dims, 1)
        before = [narrow(y, d, 0, T // 2 - 1) for y, d in zip(odds, dims, strict=True)]
        evens = _joined(first, combine(before, later), dims)
    return [flatten(stack(both, d + 1), d, d + 1) for *both, d in zip(evens, odds, dims, strict=True)]


def _cut(xs: Tensors, dims: list[int], at: int) -> tuple[Tensors, Tensors]:
    """The first elements of each, up to `at`, and the others."""
    pieces = [split(x, (at, x.shape[d] - at), d) for x, d in zip(xs, dims, strict=True)]
    return [head for head, _ in pieces], [tail for _, tail in pieces]


def _joined(heads: Tensors, tails: Tensors, dims: list[int]) -> Tensors:
    return [cat(both, d) for *both, d in zip(heads, tails, dims, strict=True)]

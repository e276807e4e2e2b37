"""Einstein summation, as permutations, products and sums."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..graph.errors import public
from .layout import diagonal
from .linalg import batched_matmul
from .reduce import reduce_sum
from .shape import permute, reshape

if TYPE_CHECKING:
    from ..tensor import Tensor

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@public
def einsum(equation: str, *operands: Any) -> Tensor:
    """Sums of products by named dimensions: "ij,jk->ik" is a matrix product, "ii->i" a diagonal, "ij->ji" a transpose.

    Letters that are missing on the right are summed over; without "->", those that occur once are kept, in alphabetical
    order. "..." stands for any further dimensions. A dimension of length 1 goes with any of its name, as broadcasting
    has it. Operands are multiplied from left to right.

    Raises:
        ValueError: if the equation does not fit the operands.
    """
    if not isinstance(equation, str):
        raise TypeError(f"einsum: the equation must be a string, got a {type(equation).__name__}")
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    if not operands:
        raise ValueError(f"einsum: {equation!r} needs at least one operand")
    if not all(hasattr(x, "shape") for x in operands):
        raise TypeError(f"einsum: {equation!r} takes tensors one by one, got {[type(x).__name__ for x in operands]}")
    inputs, output = _parse(equation, operands)
    sizes: dict[str, int] = {}
    for labels, x in zip(inputs, operands, strict=True):
        mine: dict[str, int] = {}
        for letter, n in zip(labels, x.shape, strict=True):
            if mine.setdefault(letter, n) != n or (1 not in (n, m := sizes.get(letter, n)) and m != n):
                lengths = sorted({n, mine[letter], sizes.get(letter, n)})
                name = f"dimension '{letter}'" if letter in equation else "a dimension of '...'"
                raise ValueError(f"einsum: in {equation!r}, {name} has lengths {' and '.join(map(str, lengths))}")
            sizes[letter] = n if sizes.get(letter, 1) == 1 else sizes[letter]
    terms = [_stretched(*_diagonal(labels, x), sizes) for labels, x in zip(inputs, operands, strict=True)]
    labels, y = terms[0]
    for k in range(1, len(terms)):
        later = set(output).union(*[others for others, _ in terms[k + 1 :]])
        labels, y = _product(labels, y, *terms[k], later)
    summed = tuple([d for d, letter in enumerate(labels) if letter not in output])
    y = reduce_sum(y, dims=summed, keepdim=False) if summed else y
    labels = "".join([letter for letter in labels if letter in output])
    return permute(y, dims=tuple([labels.index(letter) for letter in output]))


def _parse(equation: str, operands: tuple[Any, ...]) -> tuple[list[str], str]:
    """The letters of each operand and of the output, with letters of our own in the place of "..."."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise ValueError(f"einsum: {equation!r} names {len(terms)} operands, got {len(operands)}")
    unused = [letter for letter in _LETTERS if letter not in equation]
    spare = max([x.ndim - len(t.replace("...", "")) for t, x in zip(terms, operands, strict=True) if "..." in t] + [0])
    dots = "".join(unused[:spare])
    inputs = []
    for term, x in zip(terms, operands, strict=True):
        count = x.ndim - len(term.replace("...", ""))
        labels = term.replace("...", dots[len(dots) - count :] if count else "")
        if len(labels) != x.ndim or term.count("...") > 1 or (not labels.isalpha() and labels):
            raise ValueError(f"einsum: in {equation!r}, {term!r} does not fit an operand of shape {x.shape}")
        inputs.append(labels)
    everything = "".join(inputs)
    if not arrow:
        right = "..." * bool(dots) + "".join(
            [c for c in sorted(set(everything) - set(dots)) if everything.count(c) == 1]
        )
    output = right.replace("...", dots)
    if len(set(output)) < len(output) or not set(output) <= set(everything):
        raise ValueError(f"einsum: in {equation!r}, the letters on the right must be different, and occur on the left")
    return inputs, output


def _diagonal(labels: str, x: Any) -> tuple[str, Any]:
    """Each letter once: where one occurs twice, the diagonal is taken."""
    for letter in dict.fromkeys(labels):
        while labels.count(letter) > 1:
            first = labels.index(letter)
            second = labels.index(letter, first + 1)
            x = diagonal(x, 0, first, second)
            labels = labels[:first] + labels[first + 1 : second] + labels[second + 1 :] + letter
    return labels, x


def _stretched(labels: str, x: Any, sizes: dict[str, int]) -> tuple[str, Any]:
    """Without the dimensions of length 1 that are longer in another operand."""
    dims = tuple([d for d, letter in enumerate(labels) if x.shape[d] == 1 != sizes[letter]])
    return _without(labels, dims), reduce_sum(x, dims=dims, keepdim=False) if dims else x


def _product(a_labels: str, a: Any, b_labels: str, b: Any, later: set[str]) -> tuple[str, Any]:
    """Two operands as one matrix product, batched over the letters that both have and that are needed later."""
    for_a = tuple([d for d, c in enumerate(a_labels) if c not in later and c not in b_labels])
    for_b = tuple([d for d, c in enumerate(b_labels) if c not in later and c not in a_labels])
    a, a_labels = (reduce_sum(a, dims=for_a, keepdim=False) if for_a else a), _without(a_labels, for_a)
    b, b_labels = (reduce_sum(b, dims=for_b, keepdim=False) if for_b else b), _without(b_labels, for_b)
    both = [c for c in a_labels if c in b_labels]
    batch, contracted = [c for c in both if c in later], [c for c in both if c not in later]
    a_free, b_free = [c for c in a_labels if c not in both], [c for c in b_labels if c not in both]
    a = permute(a, dims=tuple([a_labels.index(c) for c in batch + a_free + contracted]))
    b = permute(b, dims=tuple([b_labels.index(c) for c in batch + contracted + b_free]))
    m, n, k = len(batch), len(a_free), len(contracted)
    free_lengths = (*a.shape[m : m + n], *b.shape[m + k :])
    a = reshape(a, shape=(*a.shape[:m], math.prod(a.shape[m : m + n]), math.prod(a.shape[m + n :])))
    b = reshape(b, shape=(*b.shape[:m], math.prod(b.shape[m : m + k]), math.prod(b.shape[m + k :])))
    y = batched_matmul(a, b)
    return "".join(batch + a_free + b_free), reshape(y, shape=(*y.shape[:m], *free_lengths))


def _without(labels: str, dims: tuple[int, ...]) -> str:
    return "".join([c for d, c in enumerate(labels) if d not in dims])

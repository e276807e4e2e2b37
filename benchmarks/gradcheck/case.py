"""What an entry of the catalogue is, how its inputs are drawn, and the two lists that the other files fill."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

Draw = Callable[[np.random.Generator], list[Any]]

LARGE = 50_000  # entries of an input that is looked at along directions

KINDS = {
    "values": "a wrong number, from gross to one part in 1e8, at ordinary inputs and at hard ones",
    "caller": "another gradient on bare arrays, on tensors or in a compiled program",
    "edge": "a step that leaves the domain hides a mistake, or accuses who is right",
    "precision": "wrong in the given dtype alone",
    "kink": "kinks use up the search, or hide a mistake among entries that tie",
    "mask": "going back, other random numbers than going forward",
    "contract": "inputs, output or cotangent overwritten, another dtype, a buffer used twice, memory layout",
    "blind": "a small mistake where the complex step does not see",
    "raising": "functions that raise next to their inputs",
    "table": "interpolation over many knots: smooth from afar, straight from near",
    "module": "modules with buffers, training mode, shared parameters",
}


class Case(NamedTuple):
    """A function with its gradient, right or wrong, and a way to draw its inputs.

    Attributes:
        forward: of arrays, one output.
        backward: of cotangent, inputs and output: one gradient, or a tuple with one for each input.
        draw: the inputs.
        kind: what a checker would do wrong here, a key of `KINDS`.
        route: as what the checker gets it, a key of `routes.ROUTES`.
        built: gives what is checked, from the inputs drawn; for what is no pair of functions on arrays.
        large: whether it has so many entries that directions are looked at.
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    draw: Draw
    kind: str = "values"
    route: str = "pair"
    built: Callable[[list[Any]], Any] | None = None
    large: bool = False


CORRECT: dict[str, Case] = {}
WRONG: dict[str, Case] = {}


def enter(into: dict[str, Case], name: str, case: Case, routes: Iterable[str] = ("pair",)) -> None:
    """Put a case into a list, once for each route; the name says which fault it is there for."""
    for route in routes:
        prefix = "" if case.kind == "values" else f"{case.kind}: "
        suffix = ("" if route == "pair" else f", {route}") + (", large" if case.large else "")
        full = prefix + name + suffix
        assert full not in into, f"two entries are called {full!r}"
        into[full] = case._replace(route=route)


def no_pair(*_: Any) -> Any:
    """Stands for forward and backward where `built` gives the function."""
    raise NotImplementedError("this entry is no pair of functions on arrays")


def normal(*shape: int, scale: float = 1.0, shift: float = 0.0) -> Draw:
    return lambda rng: [shift + scale * rng.standard_normal(shape)]


def uniform(*shape: int, low: float = 0.5, high: float = 2.0) -> Draw:
    return lambda rng: [rng.uniform(low, high, shape)]


def draws(*one_each: Draw) -> Draw:
    return lambda rng: [x for draw in one_each for x in draw(rng)]


def fixed(values: Any) -> Draw:
    return lambda rng: [np.array(values, float)]


def cast(draw: Draw, *dtypes: str) -> Draw:
    """The inputs in these dtypes; one for all of them will do."""
    return lambda rng: [x.astype(dtypes[min(k, len(dtypes) - 1)]) for k, x in enumerate(draw(rng))]


def large(draw_edge: Any, low: float, high: float) -> Draw:
    """Many numbers between two bounds, and a few given ones among them."""

    def draw(rng: np.random.Generator) -> list[Any]:
        x = rng.uniform(low, high, LARGE)
        x[rng.choice(LARGE, len(draw_edge), replace=False)] = draw_edge
        return [x]

    return draw


def pointwise(f: Callable[..., Any], derivative: Callable[..., Any], draw: Draw, **rest: Any) -> Case:
    """y = f(x) with dy/dx = derivative(x, y)."""
    return Case(lambda x: f(x), lambda g, x, y: g * derivative(x, y), draw, **rest)

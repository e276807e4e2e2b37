"""A test of the tests: a rule that is a little wrong, in one element, is found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_seq as tg
from benchmarks.gradcheck import arrays, elementwise  # noqa: F401 # whose entries are changed here
from benchmarks.gradcheck.case import CORRECT
from benchmarks.gradcheck.changes import times, with_change
from benchmarks.gradcheck.routes import ROUTES, reseed, subject

from .. import profiles

pytestmark = pytest.mark.host("primitives written with NumPy's functions")
X = np.random.default_rng(0).uniform(0.5, 2.0, (3, 4))


def nudged(g: Any, by: float = 1e-3) -> Any:
    """g with its element [1, 2] too large by one part in a thousand."""
    factor = np.ones((3, 4))
    factor[1, 2] += by
    return g * factor


def one_of(flat: int, by: float) -> Any:
    """Ones, and one element off by a part of itself."""

    def factors(shape: tuple[int, ...]) -> Any:
        made = np.ones(shape)
        made.reshape(-1)[flat] += by
        return made

    return factors


@given(data=st.data())
@profiles.one_in(2)
def test_any_element_of_any_input_on_any_route_is_found_and_named(data: st.DataObject) -> None:
    case = CORRECT[data.draw(st.sampled_from(["sin", "product", "tanh", "square", "matmul"]))]
    case = case._replace(route=data.draw(st.sampled_from([route for route in ROUTES if route != "PyTorch"])))
    seed = data.draw(st.integers(0, 1000))
    inputs = case.draw(np.random.default_rng(seed))
    which = data.draw(st.integers(0, len(inputs) - 1))
    flat = data.draw(st.integers(0, inputs[which].size - 1))
    by = data.draw(st.sampled_from([-1.0, 1.0])) * 10.0 ** -data.draw(st.integers(0, 6))
    reseed(seed)
    assert tg.gradcheck(*subject(case, inputs), seed=seed)
    found = tg.gradcheck(*subject(with_change(case, times(one_of(flat, by), which)), inputs), raise_exception=False)
    assert [i.verdict for i in found.inputs].count("fail") == 1
    assert [e.index for e in found.inputs[which].wrong] == [np.unravel_index(flat, inputs[which].shape)]


def wrong_tanh() -> tg.Primitive[...]:
    bad = tg.primitive(lambda x: np.tanh(x))
    bad.vjp(lambda g, y, _x: nudged(g * (1 - y * y)))
    return bad


def test_one_element_off_by_a_thousandth_is_found() -> None:
    with pytest.raises(tg.GradcheckError, match=r"input 0.*index \[1, 2\]"):
        tg.gradcheck(wrong_tanh(), X)


def test_it_is_found_behind_other_operations() -> None:
    bad = wrong_tanh()
    with pytest.raises(tg.GradcheckError, match=r"input 1.*index \[1, 2\]"):
        tg.gradcheck(lambda a, b: (a * bad(b)).mean().exp(), (X, X))


def test_it_is_found_where_values_cannot_be_complex() -> None:
    bad = tg.primitive(lambda x: np.tanh(x.real))
    bad.vjp(lambda g, y, _x: nudged(g * (1 - y * y)))
    with pytest.raises(tg.GradcheckError, match=r"index \[1, 2\]"):
        tg.gradcheck(bad, X)


def test_it_is_found_in_the_second_order_alone() -> None:
    exact = tg.primitive(lambda x: x * x * x)
    inner = tg.primitive(lambda x: 3 * x * x)
    inner.vjp(lambda g, _y, x: nudged(g * 6 * x))
    exact.vjp(lambda g, _y, x: g * inner(x))
    tg.gradcheck(exact, X)
    with pytest.raises(tg.GradcheckError, match=r"index \[1, 2\]"):
        tg.gradgradcheck(exact, X)


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(lambda g, _y, x: -g * tg.cos(x), id="sign"),
        pytest.param(lambda g, _y, x: 2 * g * tg.cos(x), id="factor"),
        pytest.param(lambda g, _y, x: g * 0.0, id="zero"),
        pytest.param(lambda g, _y, x: g.sum() * tg.cos(x), id="only right for equal weights"),
    ],
)
def test_gross_mistakes_are_found(rule: Any) -> None:
    bad = tg.primitive(lambda x: np.sin(x))
    bad.vjp(rule)
    with pytest.raises(tg.GradcheckError):
        tg.gradcheck(bad, X)


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(lambda x: (x - 1.25).relu(), id="relu"),
        pytest.param(lambda x: (x - 1.25).abs().sqrt(), id="abs"),
        pytest.param(lambda x: tg.where(x > 1.0, x**3, x.exp()), id="pieces"),
        pytest.param(lambda x: (x * 1e6).tanh() * 1e-8 + x, id="scales"),
        pytest.param(lambda x: (x * 20).sigmoid().log(), id="saturation"),
    ],
)
def test_what_is_right_but_hard_passes(function: Any) -> None:
    tg.gradcheck(function, X)
    tg.gradgradcheck(function, X)


def test_bad_calls_are_explained() -> None:
    with pytest.raises(TypeError, match=r"gradcheck: input 1 is of int64"):
        tg.gradcheck(lambda a, b: a * b, (X, np.arange(4)))
    with pytest.raises(TypeError, match=r"gradcheck: the function must return a floating-point tensor"):
        tg.gradcheck(lambda a: None, X)

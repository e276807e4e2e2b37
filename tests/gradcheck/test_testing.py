"""`tinygrad_seq.testing`: strategies, and the decorator that property-tests an operation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_seq as tg
from tinygrad_seq import testing


@given(data=st.data())
def test_strategies(data: st.DataObject) -> None:
    together = data.draw(testing.broadcastable_shapes(3))
    np.broadcast_shapes(*together)
    x = data.draw(testing.arrays_of("distinct"))
    assert len(np.unique(x)) == x.size
    assert (x != 0).all()
    assert (data.draw(testing.arrays_of("positive")) > 0).all()
    unit = data.draw(testing.arrays_of("unit", shape=(2, 3), dtype="float32"))
    assert unit.shape == (2, 3)
    assert unit.dtype == np.float32
    assert ((unit >= 0) & (unit < 1)).all()


@testing.check_op(testing.arrays_of(shape=(2, 3)), testing.arrays_of(shape=(3,)))
def test_an_operation_of_two_arguments(a: Any, b: Any) -> Any:
    return (a * b).tanh()


@testing.check_op(
    testing.broadcastable_shapes(max_side=2).flatmap(lambda s: st.tuples(*[testing.arrays_of(shape=k) for k in s])),
    together=True,
)
def test_shapes_that_depend_on_each_other(a: Any, b: Any) -> Any:
    return a * b


def test_a_wrong_operation_fails() -> None:
    bad = tg.primitive(lambda x: x * x)
    bad.vjp(lambda g, _y, x: g * x)

    @testing.check_op(testing.arrays_of(shape=(2,)), order=1)
    def check(x: Any) -> Any:
        return bad(x)

    with pytest.raises(tg.GradcheckError, match="a factor 1/2"):
        check()
    with pytest.raises(tg.GradcheckError):
        testing.assert_gradients(bad, np.ones(2))


def test_messages() -> None:
    with pytest.raises(ValueError, match="arrays_of: domain is one of"):
        testing.arrays_of("no such")
    with pytest.raises(TypeError, match="check_op: takes a strategy for each argument"):
        testing.check_op()

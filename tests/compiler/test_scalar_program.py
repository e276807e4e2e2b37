"""The numbers of a program as one function."""

from __future__ import annotations

import operator

import pytest

from tinygrad_seq.compiler.program import Number
from tinygrad_seq.compiler.scalar_program import evaluation


@pytest.mark.parametrize("sign", ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "lt", "neg"])
def test_each_is_what_its_function_makes_of_those_before_it(sign: str) -> None:
    function = getattr(operator, sign)
    rest = () if sign == "neg" else (0.75,)
    swapped = () if sign == "neg" else (Number(0),)
    held = [3.5]
    evaluate = evaluation([(lambda: held[0], ()), (function, (Number(0), *rest)), (function, (Number(1), *swapped))])
    for value in (3.5, -2, 0.1):
        held[0] = value
        first = function(value, *rest)
        assert evaluate([]) == [value, first, function(first, *([value] if swapped else []))]


def test_numbers_are_taken_as_they_are() -> None:
    given = (float("inf"), -0.0, 2**70, True)
    found = evaluation([(lambda *x: x, given)])([])[0]
    assert [*map(str, found)] == [*map(str, given)]
    assert evaluation([])([]) == []


def test_a_mistake_is_raised_as_it_comes() -> None:
    with pytest.raises(ZeroDivisionError):
        evaluation([(operator.truediv, (1.0, 0.0))])([])
    state: dict[str, int] = {}
    with pytest.raises(KeyError, match="step"):
        evaluation([(lambda: state["step"], ())])([])

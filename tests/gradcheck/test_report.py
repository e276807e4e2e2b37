"""What the checker says: where, what it looks like, how much it tested."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import nn
import nn.functional as F
import tinygrad_seq as tg
from tinygrad_seq.gradcheck import NotTestedWarning, Report


def failing(f: Any, inputs: Any, **settings: Any) -> Report:
    with pytest.raises(tg.GradcheckError) as caught:
        tg.gradcheck(f, inputs, **settings)
    report: Report = caught.value.report
    assert str(report) == str(caught.value)
    assert json.loads(json.dumps(report.to_dict()))["verdict"] == "fail"
    assert not report
    return report


X = np.random.default_rng(0).uniform(0.5, 2.0, (4, 4))


def wrong(change: Any) -> Any:
    """sin, with a backward pass that gives change(its gradient)."""
    return np.sin, lambda g, x, y: change(g * np.cos(x))


def part(where: Any) -> Any:
    def change(d: Any) -> Any:
        d[where] = 0.0
        return d

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: -d, "a wrong sign: every entry"),
        (lambda d: 2 * d, "a factor 2 too much"),
        (lambda d: d / 2, "a factor 1/2 too much"),
        (lambda d: d.T, "transpose"),
        (lambda d: 0 * d, "never written"),
        (lambda d: 1.37 * d, "a constant factor 1.37"),
        (part(np.s_[-1]), "the last slice of dimension 0"),
        (part(np.s_[:, 0]), "the first slice of dimension 1"),
    ],
)
def test_guesses(change: Any, words: str) -> None:
    assert words in failing(wrong(change), X).inputs[0].guess


def test_guess_of_a_missing_sum() -> None:
    add = (lambda a, b: a + b, lambda g, a, b, y: (g, g))
    found = failing(add, [X, X[0]]).inputs[1]
    assert found.guess.startswith("a missing sum over the dimensions")
    assert found.problems == ["the gradient has shape (4, 4), the input (4,)"]


@pytest.mark.parametrize(
    ("change", "words"), [(lambda d: d.T, "transpose"), (lambda d: d[:, :2], ""), (lambda d: d.sum(), "")]
)
def test_a_gradient_of_another_shape_is_a_finding(change: Any, words: str) -> None:
    found = failing(wrong(change), X[:3]).inputs[0]
    assert found.problems[0].startswith("the gradient has shape")
    assert words in found.guess


def test_guess_of_overwritten_repeats() -> None:
    rows = np.array([0, 1, 1, 2])

    def backward(g: Any, x: Any, y: Any) -> Any:
        out = np.zeros_like(x)
        out[rows] = np.abs(g)
        return out

    take = (lambda x: x[rows].sum(1), lambda g, x, y: backward(np.abs(g)[:, None] * np.ones(4), x, y) * np.sign(g[0]))
    assert failing(take, X).inputs[0].wrong


def test_the_place_is_named() -> None:
    class Wrong(nn.LSTM):
        """Its forget gate learns from half of the gradient, and its input from none at the third step."""

        def forward(self, x: Any, *_: Any, **__: Any) -> Any:
            kept = dict(self.named_parameters())["weight_hh_l0"]
            half = tg.tensor(np.where((np.arange(12) // 3 == 1)[:, None], 0.5, 1.0) * np.ones((12, 3)))
            vars(self)["weight_hh_l0"] = kept * half + (kept * (1 - half)).detach()
            try:
                return super().forward(tg.stack([x[0], x[1], x[2].detach(), x[3]]))
            finally:
                vars(self)["weight_hh_l0"] = kept

    lstm = Wrong(2, 3)
    report = failing(lstm, tg.randn(4, 2, 2))
    assert [i.name for i in report.inputs if i.verdict == "fail"] == ["input 0", "weight_hh_l0"]
    by_name = {i.name: i for i in report.inputs}
    assert {entry.place for entry in by_name["input 0"].wrong} == {" (time step 2)"}
    assert {entry.place for entry in by_name["weight_hh_l0"].wrong} == {" (gate f)"}
    assert "a factor 1/2" in by_name["weight_hh_l0"].guess


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("inside", [False, True])
def test_the_time_step_is_that_of_the_layer(batch_first: bool, inside: bool) -> None:
    class Wrong(nn.GRU):
        """Its last step gives no gradient to its input, nor its initial state to anything."""

        def forward(self, x: Any, state: Any = None, **__: Any) -> Any:
            steps = list(x.unbind(int(self.batch_first)))
            x = tg.stack([*steps[:-1], steps[-1].detach()], int(self.batch_first))
            return super().forward(x, state if state is None else state.detach())[0]

    gru: Any = Wrong(2, 3, batch_first=batch_first)
    inputs = [tg.randn(4, 5, 2)] if inside else [tg.randn(4, 5, 2), tg.randn(1, 4 if batch_first else 5, 3)]
    report = failing(nn.Sequential(gru) if inside else gru, inputs)
    found = report.inputs[0]
    assert {entry.place for entry in found.wrong} == {f" (time step {4 if batch_first else 3})"}
    assert found.guess == "the last step left out: it is 0 there"
    assert inside or {entry.place for entry in report.inputs[1].wrong} == {""}


def test_layers_of_two_kinds_have_no_time_step_in_common() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            self.first, self.second = nn.GRU(2, 2), nn.GRU(2, 2, batch_first=True)

        def forward(self, x: Any) -> Any:
            x = tg.stack([x[0].detach(), *x.unbind(0)[1:]])
            return self.second(self.first(x)[0].transpose(0, 1))[0]

    found = failing(Both(), tg.randn(3, 2, 2)).inputs[0]
    assert {entry.place for entry in found.wrong} == {""}
    assert found.guess == "the first slice of dimension 0 left out: it is 0 there"


def test_a_module_is_left_as_it_was() -> None:
    lstm = nn.LSTM(2, 3)
    before = {name: p.detach().numpy().copy() for name, p in lstm.named_parameters()}
    report = tg.gradcheck(lstm, tg.randn(3, 1, 2))
    assert [i.name for i in report.inputs] == ["input 0", *before]
    for name, p in lstm.named_parameters():
        np.testing.assert_array_equal(p.detach().numpy(), before[name])
        assert p.dtype == tg.float32
        assert p.requires_grad
        assert p.grad is None


def test_large_inputs_go_by_directions_and_point_at_the_entry() -> None:
    def forward(x: Any) -> Any:
        return np.tanh(x)

    def backward(g: Any, x: Any, y: Any) -> Any:
        d = g * (1 - y * y)
        d[123, 45] *= 1 + 1e-8
        return d

    x = np.random.default_rng(0).standard_normal((200, 200))
    assert tg.gradcheck((forward, lambda g, x, y: g * (1 - y * y)), x, exhaustive=False)
    report = failing((forward, backward), x, exhaustive=False)
    assert report.inputs[0].wrong[0].index == (123, 45)
    assert report.inputs[0].how == "random directions, complex step"


def test_saturation_is_counted() -> None:
    report = tg.gradcheck((np.tanh, lambda g, x, y: g * (1 - y * y)), np.array([1.0, 18.0, 40.0]))
    assert report.inputs[0].tested == 1
    assert report.inputs[0].below_noise + report.inputs[0].zero == 2


def test_kinks_are_counted() -> None:
    report = tg.gradcheck(lambda x: x.relu(), np.array([0.0, 1.0, -1.0]))
    assert (report.inputs[0].kinks, report.inputs[0].tested, report.inputs[0].zero) == (1, 1, 1)


def test_what_tests_nothing_says_so() -> None:
    with pytest.warns(NotTestedWarning, match="tested nothing"):
        report = tg.gradcheck(lambda x: x * 0.0, X)
    assert report.verdict == "not tested"
    assert not report
    assert tg.gradcheck(lambda x, y: x * 1.0 + y * 0.0, (X, X)).inputs[1].verdict == "not tested"


def test_dropout_keeps_its_mask() -> None:
    tg.gradcheck(lambda x: F.dropout(x, 0.5), X)
    tg.gradgradcheck(lambda x: F.dropout(x, 0.5).tanh(), X)
    legacy = (lambda x: x * np.random.rand(4, 4), lambda g, x, y: g * y / x)  # noqa: NPY002
    assert tg.gradcheck(legacy, X)


def test_no_gradient_is_named() -> None:
    report = failing((lambda a, b: a * b, lambda g, a, b, y: (g * b, None)), (X, X))
    assert "no gradient arrives here, though the outputs depend on it" in report.inputs[1].problems


def test_arguments_of_a_backward_function() -> None:
    forward = lambda a, b: a * b  # noqa: E731
    for backward in (
        lambda g, a, b, y: (g * b, g * a),
        lambda g, a, b: (g * b, g * a),
        lambda g, inputs, y: (g * inputs[1], g * inputs[0]),
        lambda *given: (given[0] * given[2], given[0] * given[1]),
    ):
        assert tg.gradcheck((forward, backward), (X, X))
    assert tg.gradcheck((lambda x: (x, x * x), lambda g, x, y: g[0] + 2 * g[1] * x), X)
    with pytest.raises(TypeError, match="backward takes 5 arguments"):
        tg.gradcheck((forward, lambda a, b, c, d, e: a), (X, X))
    with pytest.raises(TypeError, match="backward returned 1 gradients for 2 inputs"):
        tg.gradcheck((forward, lambda g, a, b, y: g * a), (X, X))


def test_an_error_in_the_backward_pass_is_a_finding() -> None:
    def backward(g: Any, x: Any, y: Any) -> Any:
        raise IndexError("no such row")

    assert "the backward pass raises IndexError: no such row" in failing((np.sin, backward), X).problems


@pytest.mark.parametrize(
    ("message", "kind", "call"),
    [
        ("a pair must be two functions", TypeError, lambda: tg.gradcheck((np.sin,), X)),
        ("takes a function of tensors, a Module, or a pair", TypeError, lambda: tg.gradcheck(3, X)),
        (
            "must return a floating-point tensor, it returned NoneType",
            TypeError,
            lambda: tg.gradcheck(lambda x: None, X),
        ),
        ("must return floating-point arrays", TypeError, lambda: tg.gradcheck((np.argsort, lambda g, x, y: g), X)),
        ("input 0 is of int64", TypeError, lambda: tg.gradcheck(tg.sin, np.arange(3))),
        ("input 0 is of int64", TypeError, lambda: tg.gradcheck((np.sin, lambda g, x, y: g), np.arange(3))),
        ("output 0 is not finite", ValueError, lambda: tg.gradcheck((np.sqrt, lambda g, x, y: g / y), -X)),
        ("gradgradcheck: takes a function of tensors", TypeError, lambda: tg.gradgradcheck(wrong(abs), X)),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_bad_calls(message: str, kind: type[Exception], call: Any) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_a_shape_that_depends_on_the_values_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"the shape of the result depends on the values: \[\(2,\)\] at the given inputs"
    ):
        tg.gradcheck(lambda x: x[x > 0.999], np.array([1.0, 2.0, 0.5]))


def test_an_error_next_to_the_inputs_says_where() -> None:
    def only_here(x: Any) -> Any:
        if x[0].item() != 1.0:
            raise ValueError("not one")
        return x * 2.0

    with pytest.warns(NotTestedWarning, match="the function raises ValueError: not one"):
        assert not tg.gradcheck(only_here, np.array([1.0, 2.0])[:1])


def test_pytorchs_functions_and_modules() -> None:
    torch = pytest.importorskip("torch")

    class Wrong(torch.autograd.Function):  # type: ignore[misc, name-defined]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return torch.sin(x)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            d = g * torch.cos(ctx.saved_tensors[0])
            d[1, 2] *= 1 + 1e-6
            return d

    assert failing(Wrong, torch.from_numpy(X)).inputs[0].wrong[0].index == (1, 2)
    report = tg.gradcheck(torch.nn.LSTM(2, 3), torch.randn(3, 1, 2))
    assert report
    assert report.inputs[2].name == "weight_hh_l0"
    assert tg.gradcheck(lambda x: torch.tanh(x), torch.randn(3))

    class Forgetful(torch.nn.LSTM):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return super().forward(torch.cat([x[:, :-1], x[:, -1:].detach()], 1))[0]

    found = failing(Forgetful(2, 3, batch_first=True), torch.randn(3, 4, 2)).inputs[0]
    assert {entry.place for entry in found.wrong} == {" (time step 3)"}


def test_a_settled_failure_need_not_raise() -> None:
    report = tg.gradcheck(wrong(lambda d: -d), X, raise_exception=False)
    assert report.verdict == "fail"
    assert "16 wrong entries in all" in str(report)

"""Every planted mistake of the catalogue is found, and nothing else; and a check leaves everything as it was."""

from __future__ import annotations

import importlib.util
import random
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg
from benchmarks.gradcheck.case import Case
from benchmarks.gradcheck.catalogue import CORRECT, KINDS, WRONG, slice_of
from benchmarks.gradcheck.refused import CALLS, Call, torch_calls
from benchmarks.gradcheck.routes import ROUTES, reseed, subject
from tinygrad_seq.tensor.rng import default_generator

from .. import profiles

SEEDS = range(20 if profiles.DEEP else 1)
HAS_TORCH = importlib.util.find_spec("torch") is not None
BUDGET = 60  # calls for each input, beyond one per entry
LOCATING = 200  # the same where an entry is wrong or at a kink, and has to be found
COSTLY = ("kink", "edge")  # kinds that have a kink or a jump near
NOTHING_TO_TEST = {  # right, and of no entry anything can be said
    "0 elements",
    "kink: tg's norm at 0, function",
    "precision: values by way of float16",
}
pytestmark = [
    pytest.mark.filterwarnings("ignore::tinygrad_seq.gradcheck.NotTestedWarning"),
    pytest.mark.filterwarnings("ignore"),  # of hand-written functions at extremes
    pytest.mark.host("functions written with NumPy's functions"),
]


def chosen(cases: dict[str, Case]) -> list[str]:
    """All of them in the deep profile, else one of each kind on each route; PyTorch's where it is installed."""
    names = list(cases) if profiles.DEEP else slice_of(cases)
    return [name for name in names if HAS_TORCH or cases[name].route != "PyTorch"]


def state_of(f: Any) -> list[Any]:
    """What a check must leave as it was: random streams, and what a module holds."""
    theirs: Any = np.random.get_state()  # noqa: NPY002
    found: list[Any] = [repr(default_generator.get_state()), theirs[1].tolist(), theirs[2], random.getstate()]
    if isinstance(f, nn.Module):
        tensors = [*f.parameters(), *f.buffers()]
        found += [t.detach().numpy().tolist() for t in tensors] + [str(t.dtype) for t in tensors]
        found += [None if p.grad is None else p.grad.numpy().tolist() for p in f.parameters()]
        found += [part.training for part in f.modules()]
    return found


def verdict(case: Case, seed: int) -> str:
    calls = [0]

    def counted(*xs: Any) -> Any:
        calls[0] += 1
        return case.forward(*xs)

    reseed(seed)
    drawn = case.draw(np.random.default_rng(seed))
    f, inputs = subject(case._replace(forward=counted), drawn)
    before = state_of(f)
    report = tg.gradcheck(f, inputs, seed=seed, raise_exception=False)
    assert state_of(f) == before, "the check changed something"
    entries = sum(x.size for x in drawn)
    smooth = report.verdict != "fail" and not any(i.kinks for i in report.inputs)
    most = BUDGET if smooth and case.kind not in COSTLY else LOCATING
    count = max(len(report.inputs), len(drawn))
    assert calls[0] <= entries + most * count, f"{calls[0]} calls for {entries} entries"
    return report.verdict


@pytest.mark.parametrize("name", chosen(CORRECT))
def test_no_false_alarm(name: str) -> None:
    for seed in SEEDS:
        said = verdict(CORRECT[name], seed)
        assert said == "pass" or (said == "not tested" and name in NOTHING_TO_TEST)


@pytest.mark.parametrize("name", chosen(WRONG))
def test_found(name: str) -> None:
    for seed in SEEDS:
        assert verdict(WRONG[name], seed) == "fail"


@pytest.mark.parametrize("call", [pytest.param(call, id=name) for name, call in CALLS.items()])
def test_taken_or_refused_in_words(call: Call) -> None:
    taken_or_refused(call)


@pytest.mark.parametrize(
    "name", ["complex tensor of PyTorch's", "PyTorch's function of an array", "whole numbers of PyTorch's"]
)
def test_pytorchs_taken_or_refused_in_words(name: str) -> None:
    pytest.importorskip("torch")
    taken_or_refused(torch_calls()[name])


def taken_or_refused(call: Call) -> None:
    if call.words is None:
        assert tg.gradcheck(call.f, call.inputs)
    else:
        with pytest.raises(TypeError, match=f"^gradcheck: .*{call.words}"):
            tg.gradcheck(call.f, call.inputs)


def test_there_are_enough() -> None:
    assert len(WRONG) >= 200
    assert len(CORRECT) >= 150
    for cases in (WRONG, CORRECT):
        assert {case.kind for case in cases.values()} == set(KINDS)
        assert {case.route for case in cases.values()} == set(ROUTES)
        assert any(case.large for case in cases.values())

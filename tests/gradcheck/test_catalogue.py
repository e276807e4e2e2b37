"""Every planted mistake of the catalogue is found, and nothing else."""

from __future__ import annotations

import os

import numpy as np
import pytest

import tinygrad_seq as tg
from benchmarks.gradcheck.correct import CORRECT
from benchmarks.gradcheck.wrong import WRONG

SEEDS = range(20 if os.environ.get("HYPOTHESIS_PROFILE") == "deep" else 1)
pytestmark = [
    pytest.mark.filterwarnings("ignore::tinygrad_seq.gradcheck.NotTestedWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # of hand-written functions at extremes
]


@pytest.mark.parametrize("name", CORRECT)
def test_no_false_alarm(name: str) -> None:
    case = CORRECT[name]
    for seed in SEEDS:
        report = tg.gradcheck((case.forward, case.backward), case.draw(np.random.default_rng(seed)), seed=seed)
        assert report.verdict == "pass" or name == "0 elements"


@pytest.mark.parametrize("name", WRONG)
def test_found(name: str) -> None:
    case = WRONG[name]
    for seed in SEEDS:
        with pytest.raises(tg.GradcheckError):
            tg.gradcheck((case.forward, case.backward), case.draw(np.random.default_rng(seed)), seed=seed)


def test_there_are_enough() -> None:
    assert len(CORRECT) >= 60
    assert len(WRONG) >= 60

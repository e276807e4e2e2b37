"""`detect_anomaly` names the operation and the line."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import nn
import tinygrad_seq as tg

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def test_forward() -> None:
    x = tg.tensor([1.0, 0.0, 2.0], requires_grad=True)
    with (
        tg.detect_anomaly(),
        pytest.raises(RuntimeError, match=r"'log' gave -inf at index \[1\] of shape \(3,\).*test_anomaly.py:\d+"),
    ):
        (x + 0.0).log()
    with tg.detect_anomaly(), tg.no_grad(), pytest.raises(RuntimeError, match="'div' gave nan"):
        tg.zeros(1) / tg.zeros(1)


def test_backward_names_the_line_of_the_forward_pass() -> None:
    x = tg.tensor([4.0, 0.0], requires_grad=True)
    with tg.detect_anomaly():
        y = x.sqrt()
        with pytest.raises(
            RuntimeError, match=r"gradient rule of 'sqrt' gave inf at index \[1\].*in test_backward_names"
        ):
            y.sum().backward()


def test_inside_a_module_it_names_the_modules_line() -> None:
    cell = nn.LSTMCell(1, 1)
    with tg.no_grad():
        cell.weight_hh.fill_(1e38)
    with tg.detect_anomaly(), pytest.raises(RuntimeError, match=r"'linear' gave inf.*cells.py"):
        cell(tg.ones(2, 1), (tg.full((2, 1), 1e38), tg.zeros(2, 1)))


def test_what_was_not_finite_before_is_not_reported() -> None:
    masked = tg.tensor([0.0, -np.inf])
    with tg.detect_anomaly():
        masked.softmax(0)
        masked + 1.0
        masked.requires_grad_().unbind(0)


def test_it_ends_with_its_block_and_stays_in_its_thread() -> None:
    with tg.detect_anomaly():
        seen: list[float] = []
        thread = threading.Thread(target=lambda: seen.append(tg.zeros(1).log().item()))
        thread.start()
        thread.join()
    assert seen == [-np.inf]
    assert tg.zeros(1).log().item() == -np.inf

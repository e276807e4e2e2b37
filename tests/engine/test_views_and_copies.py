"""What is a view and what is a copy: the table in docs/memory.md, and what follows when one is written to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_seq as tg
from tinygrad_seq.graph.saved_tensors import shares_memory

PAGE = (Path(__file__).parents[2] / "docs" / "memory.md").read_text("utf-8")


def rows() -> Iterator[tuple[str, str]]:
    """(expression, result) of the table."""
    for line in PAGE.splitlines():
        cells = line.strip("| ").split(" | ")
        if line.startswith("| `"):
            yield from [(expression, cells[1]) for expression in re.findall("`(.*?)`", cells[0])]


ROWS = list(rows())


def evaluated(expression: str, x: tg.Tensor) -> Any:
    given = {"tg": tg, "nn": nn, "x": x, "s": x[:, :2], "m": x.detach() > 2.0, "i": tg.tensor([0, 1])}
    return eval(expression, given)


def numbers() -> tg.Tensor:
    return tg.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


@pytest.mark.parametrize(("expression", "result"), ROWS)
def test_the_table_is_true(expression: str, result: str) -> None:
    x = numbers()
    y = evaluated(expression, x)
    assert ("itself" if y is x else "view" if shares_memory(y.array, x.array) else "copy") == result
    before = x.tolist()
    if y.is_writable():
        y.zero_()
        assert (x.tolist() == before) == (result == "copy")
    else:  # several of its elements are one
        assert y.numel() > x.numel() or "meshgrid" in expression


@pytest.mark.parametrize(("expression", "result"), ROWS)
def test_without_recording_there_is_no_graph(expression: str, result: str) -> None:
    x = numbers().requires_grad_() * 1.0
    with tg.no_grad():
        y = evaluated(expression, x)
    assert (y.node is None) == (result != "itself")


def assert_refused(x: tg.Tensor) -> None:
    with pytest.raises(RuntimeError, match=r"add_: this tensor shares memory with another tensor.*clone\(\)"):
        x.add_(1.0)


SEVERAL = ("expand", "unbind", "split", "chunk", "unfold", "broadcast_to", "meshgrid", "detach", ".data")


@pytest.mark.parametrize(("expression", "result"), [row for row in ROWS if row[1] == "view"])
def test_a_recorded_change_reaches_all_that_show_the_memory_or_is_refused(expression: str, result: str) -> None:
    leaf = numbers().requires_grad_()
    x = leaf * 1.0
    y = evaluated(expression, x)
    before = x.tolist()
    assert_refused(x)
    if any(name in expression for name in SEVERAL):
        if y.requires_grad:
            assert_refused(y)
        assert x.tolist() == before
    elif "s)" not in expression:  # the whole of which is gone
        shown = y.detach().clone()
        y.mul_(3.0)
        assert y.tolist() == (shown * 3).tolist() == evaluated(expression, x).tolist()
        assert x.sum().item() == 21 + 2 * shown.sum().item()
        (x * x).sum().backward()
        assert leaf.grad is not None
        assert leaf.grad.tolist() == (2 * x.detach() * (1 + 2 * (x.detach() != leaf.detach()))).tolist()
    if y.requires_grad:
        del x
        assert y.add_(1.0).requires_grad  # nobody else shows it any more


def test_every_function_of_tensors_is_in_the_table_or_gives_a_copy() -> None:
    """By what a result shares, not by its name: functions that could give a view are tried with what lets them."""
    listed = " ".join(expression for expression, _ in ROWS)
    x = numbers()
    for name in sorted(set(dir(tg.Tensor)) - set(dir(object))):
        if name.startswith("_") or name.endswith("_") or f".{name}(" in listed or f".{name}" in listed.split():
            continue
        try:
            y = getattr(x, name)()
        except (AttributeError, TypeError, ValueError, RuntimeError):  # of slots, one that is not filled
            continue
        for part in y if isinstance(y, tuple) else (y,):
            if isinstance(part, tg.Tensor) and not (part is x and name in ("cpu", "cuda")):  # if it is there already
                assert not shares_memory(part.array, x.array), name


def test_a_view_that_needs_a_copy_is_refused() -> None:
    x = numbers()
    for view in (lambda: x.t().view(6), lambda: x.t().view_as(tg.ones(6)), lambda: x[:, :2].view(-1)):
        with pytest.raises(RuntimeError, match=r"view.*not row by row.*reshape\(\)"):
            view()
    assert x[:, :2].view(2, 2, 1).shape == (2, 2, 1)
    assert tg.ones(0, 3).t().view(0).shape == (0,)


def test_fresh_results_are_nobodys_views() -> None:
    tokens = tg.tensor([[1, 2], [0, 1]])
    lstm, w = nn.LSTM(3, 4, num_layers=2), tg.ones(4, requires_grad=True)
    embedded = nn.Embedding(5, 3)(tokens)
    for fresh in (embedded, lstm(embedded)[0], *lstm(embedded)[1], nn.GRU(3, 4)(embedded)[0], w[[0, 1]], w[w > 0.0]):
        before = fresh.tolist()
        fresh += 1.0
        assert fresh.tolist() == (np.array(before, "f4") + np.float32(1.0)).tolist()
        fresh.sum().backward(retain_graph=True)
    constant = tg.zeros(4)
    constant += w
    assert constant.requires_grad


@pytest.mark.host("NumPy's memory")
def test_memory_from_outside_takes_no_recorded_change() -> None:
    array, w = np.zeros(2, "f4"), tg.ones(2, requires_grad=True)
    x = tg.from_numpy(array)
    with pytest.raises(RuntimeError, match=r"\+=: this tensor shares memory with an array outside.*clone\(\)"):
        x += w
    y = w * 1.0
    shown = y.detach().numpy()
    with pytest.raises(RuntimeError, match="shares memory"):
        y.add_(1.0)
    del shown
    y.add_(1.0)


@pytest.mark.parametrize("name", ["**=", "//=", "%=", "&=", "|=", "^=", "+=", "-=", "*=", "/="])
def test_operators_in_place_write_to_memory(name: str) -> None:
    logical = name in ("&=", "|=", "^=")
    x = tg.tensor([True, False]) if logical else tg.tensor([6.0, 3.0])
    given, expected = {"x": x}, {"x": x.numpy().copy()}
    for names in (given, expected):
        exec(f"x {name} {True if logical else 2}", names)
    assert given["x"] is x
    assert x.tolist() == expected["x"].tolist()


def test_retained_gradients_are_of_what_a_tensor_is_last() -> None:
    x = tg.tensor([3.0], requires_grad=True)
    a = x * 1.0
    a.retain_grad()
    a.mul_(2.0)
    (a * a).sum().backward()
    assert a.grad is not None
    assert a.grad.tolist() == [12.0]
    assert x.grad is not None
    assert x.grad.tolist() == [24.0]


NOT_NEEDED: dict[str, Callable[[tg.Tensor, tg.Tensor], tg.Tensor]] = {
    "div": lambda a, b: a / b,
    "pad": lambda a, b: tg.pad(a, (1, 1)),
    "diag": lambda a, b: a[0].diag(),
    "index_add": lambda a, b: a.index_add(0, tg.tensor([1, 0]), b),
    "scatter_add": lambda a, b: a.scatter_add(0, tg.tensor([[0, 1, 0]]), b),
    "add": lambda a, b: a + b,
    "sum": lambda a, b: a.sum(0),
    "cat": lambda a, b: tg.cat([a, b]),
    "getitem": lambda a, b: a[[1, 0]],
    "repeat": lambda a, b: a.repeat(2, 1),
}


@pytest.mark.parametrize("name", NOT_NEEDED)
def test_what_no_rule_needs_may_be_changed(name: str) -> None:
    def gradients(change: bool) -> list[Any]:
        leaves = [numbers().requires_grad_(), (numbers() + 1.0).requires_grad_()]
        a, b = leaves[0] * 1.0, leaves[1] * 1.0
        y = NOT_NEEDED[name](a, b)
        total = y.sum()
        if change:
            with tg.no_grad():
                for written in [y] if name == "div" else [a, b, y]:
                    written.zero_()
        total.backward()
        return [None if leaf.grad is None else leaf.grad.tolist() for leaf in leaves]

    assert gradients(change=True) == gradients(change=False)


def test_a_recorded_copy_has_memory_of_its_own() -> None:
    source, w = tg.ones(2), tg.ones(2, requires_grad=True)
    y = w * 1.0
    y.copy_(source)
    source.fill_(7.0)
    assert y.tolist() == [1.0, 1.0]
    assert y.requires_grad  # as what it was before, with a gradient of 0
    y.sum().backward()
    assert w.grad is not None
    assert w.grad.tolist() == [0.0, 0.0]

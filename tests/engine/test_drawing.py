"""`draw_graph`: the graph as Graphviz text, and as a picture where Graphviz is installed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

import nn
import tinygrad_seq as tg

from ..systems import posix


def test_names_shapes_and_edges() -> None:
    linear = nn.Linear(2, 3)
    text = str(tg.draw_graph(linear(tg.ones(4, 2)).tanh().sum(), linear))
    assert text.startswith("digraph {")
    for part in ('label="weight\\n(3, 2)"', 'label="bias\\n(3,)"', 'label="tanh\\n(4, 3)"', "penwidth=2"):
        assert text.count(part) == 1
    assert text.count("->") == 4  # weight -> linear <- bias, linear -> tanh -> sum


def test_several_outputs_and_names_in_a_mapping() -> None:
    x = tg.ones(4, requires_grad=True)
    first, second = x.split(2)
    text = str(tg.draw_graph({"y": first * second}, {'the "x"': x}))
    assert 'the \\"x\\"' in text
    assert 'label="0"' in text
    assert 'label="1"' in text
    assert str(tg.draw_graph(first)).count("penwidth=2") == 1


@posix
def test_svg_comes_from_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    y = tg.ones(2, requires_grad=True) * 2
    program = tmp_path / "dot"
    program.write_text('#!/bin/sh\ntest "$1" = -Tsvg && echo "<svg>" && cat\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    drawing = tg.draw_graph(y)
    assert drawing.svg() == drawing._repr_svg_() == f"<svg>\n{drawing}"
    program.write_text("#!/bin/sh\necho broken >&2; exit 1\n")
    with pytest.raises(RuntimeError, match="dot failed: broken"):
        drawing.svg()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert drawing._repr_svg_() is None
    with pytest.raises(RuntimeError, match="draw_graph: SVG needs Graphviz"):
        drawing.svg()


def test_messages() -> None:
    with pytest.raises(ValueError, match="draw_graph: nothing here requires a gradient"):
        tg.draw_graph(tg.ones(2))
    y = (tg.ones(2, requires_grad=True) * 2).sum()
    z = y * 3
    y.backward()
    with pytest.raises(RuntimeError, match="draw_graph: part of this graph was freed"):
        tg.draw_graph(z)

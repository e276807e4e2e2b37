"""The graph behind a result, drawn: `draw_graph`."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

from .autodiff import topological_order
from .backend.pytree import leaves
from .compiler.program import Program
from .graph import FunctionNode, Leaf, Node, Output
from .tensor import Tensor


class Drawing:
    """A graph as Graphviz text, which `str()` gives; notebooks show it as a picture where Graphviz is installed."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text

    def svg(self) -> str:
        """The picture as SVG text.

        Raises:
            RuntimeError: without Graphviz's program `dot`, or if it fails.
        """
        program = shutil.which("dot")
        if program is None:
            raise RuntimeError("draw_graph: SVG needs Graphviz's program 'dot' on the PATH; str() gives its input")
        done = subprocess.run([program, "-Tsvg"], input=self._text, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"draw_graph: dot failed: {done.stderr.strip()}")
        return done.stdout

    def _repr_svg_(self) -> str | None:
        """For notebooks."""
        return self.svg() if shutil.which("dot") else None


def draw_graph(result: Any, names: Mapping[str, Tensor] | Any = None) -> Drawing:
    """The graph of the operations that a result was computed by, from what requires a gradient on; or of a program.

    Leaves are boxes with their shape, operations ellipses with the shape of their output; constants are left out.

    Args:
        result: a tensor, or a container of them; or one of the `programs` of a compiled function.
        names: a module, whose parameters then have their names; or a mapping from names to tensors.

    Raises:
        ValueError: if nothing here requires a gradient, so that there is no graph.
        RuntimeError: if the graph was freed by a backward pass.

    >>> print(tg.draw_graph(loss, model))  # Graphviz text
    >>> Path("graph.svg").write_text(tg.draw_graph(loss, model).svg())
    """
    if hasattr(result, "instrs"):
        return Drawing("\n".join(_program_lines(result)) + "\n")
    tensors = [y for y in leaves(result) if isinstance(y, Tensor)]
    roots = [y.node for y in tensors if y.node is not None]
    if not roots:
        raise ValueError("draw_graph: nothing here requires a gradient, so there is no graph to draw")
    named = names.named_parameters() if hasattr(names, "named_parameters") else (names or {}).items()
    by_node = {tensor.node: name for name, tensor in named if tensor.node is not None}
    try:
        nodes = topological_order(roots)
    except RuntimeError as error:
        raise RuntimeError(
            "draw_graph: part of this graph was freed by a backward pass; draw it before, or pass retain_graph=True"
        ) from error
    return Drawing("\n".join(_lines(nodes, by_node, {_maker(root) for root in roots})) + "\n")


def _maker(node: Node) -> Node:
    """The application that made this node; itself if it is none of several outputs."""
    return node.parents[0] if isinstance(node, Output) and node.parents and node.parents[0] else node


def _lines(nodes: list[Node], names: Mapping[Node, str], roots: set[Node]) -> Iterator[str]:
    yield "digraph {"
    yield '  node [fontname="Helvetica", fontsize=10]'
    for node in nodes:
        if isinstance(node, Output):
            continue
        what = node.primitive.name if isinstance(node, FunctionNode) else ""
        label = "\\n".join([part for part in (names.get(node, ""), what, _shape(node)) if part])
        look = "shape=box, style=filled, fillcolor=lightblue" if isinstance(node, Leaf) else "shape=ellipse"
        bold = ", penwidth=2" if node in roots else ""
        yield f'  n{node.number} [label="{_escaped(label)}", {look}{bold}]'
        for parent in node.parents or ():
            if parent is not None:
                which = f' [label="{parent.index}"]' if isinstance(parent, Output) else ""
                yield f"  n{_maker(parent).number} -> n{node.number}{which}"
    yield "}"


def _program_lines(program: Program) -> Iterator[str]:
    yield "digraph {"
    yield '  node [fontname="Helvetica", fontsize=10]'
    for var, source in program.sources.items():
        label = f"{_escaped(source.name)}\\n{var.shape}"
        yield f'  n{var.number} [label="{label}", shape=box, style=filled, fillcolor=lightblue]'
    for var in program.constants:
        yield f'  n{var.number} [label="constant\\n{var.shape}", shape=box]'
    seen = set(program.outputs)
    for instr in program.instrs:
        bold = ", penwidth=2" if instr.out in seen else ""
        yield f'  n{instr.out.number} [label="{instr.op}\\n{instr.out.shape}", shape=ellipse{bold}]'
        for var in instr.inputs():
            yield f"  n{var.number} -> n{instr.out.number}"
    yield "}"


def _shape(node: Node) -> str:
    several = isinstance(node, FunctionNode) and any(isinstance(n, tuple) for n in node.shape)
    return ", ".join(str(shape) for shape in node.shape) if several else str(node.shape)


def _escaped(label: str) -> str:
    return label.replace('"', '\\"')

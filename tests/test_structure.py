"""Imports point one way, and importing is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# packages of the engine, layer by layer from the bottom: one may import those below it, and none in its own layer
LAYERS = [
    {"backend"},
    {"graph"},
    {"ops"},
    {"autodiff"},
    {"tensor"},
    {
        "absent",
        "autograd",
        "compiler",
        "cuda",
        "distributions",
        "gradcheck",
        "serialization",
        "terminal",
        "transforms",
        "version",
    },
    {"config", "distributed", "drawing", "testing", "__main__"},
    {"backends", "nn"},
    {"optim", "utils"},
    {"__init__"},
]
# and those in the compiler
COMPILER = [
    {"__init__", "dynamic_lookups", "locks", "program", "operations", "snapshots", "warn_once"},
    {"loop"},
    {"captures", "guards", "memory", "partition", "passes", "scalar_program"},
    {"names"},
    {"grad_buffers", "numpy", "tracing"},
    {"autograd_bridge", "guard_keys", "cuda", "native", "purity", "result_views", "verification"},
    {"executors"},
    {"executable"},
    {"compiled"},
    {"compiled_module"},
    {"compile"},
]
PYTORCHS_PATHS = ("nn", "optim", "utils")  # which hand over what nn has
PACKAGES = [p for folder in ("tinygrad_seq", "nn") for p in sorted((ROOT / folder).rglob("*.py"))]
FILES = [
    *PACKAGES,
    *(p for folder in ("tests", "benchmarks", "examples") for p in sorted((ROOT / folder).rglob("*.py"))),
]
LINES = 400  # a longer file usually has two subjects


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path) for path in PACKAGES}


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    """All statements that run: those for type checkers alone are left out."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            yield node
            yield from statements(node)


def imported(path: Path) -> set[str]:
    """The modules that a file imports, with dots resolved."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    found = set()
    for node in statements(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names} | {module}
    return found


def layer_of(module: str, prefix: str, layers: list[set[str]]) -> tuple[int, str]:
    """In which layer a module below `prefix` is, and in which package."""
    package = module.removeprefix(prefix).partition(".")[0] or "__init__"
    found = [n for n, packages in enumerate(layers) if package in packages]
    assert found, f"{module}: say in which layer {package} is"
    return found[0], package


@pytest.mark.parametrize("path", PACKAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    me, modules = module_of(path), imported(path)
    tops = {m.partition(".")[0] for m in modules}
    if not me.startswith("tinygrad_seq.backend"):
        assert not tops & {"numpy", "cupy"}, "ask the backend"
    if me.startswith("nn"):
        inner = {m for m in modules & MODULES if m.startswith("tinygrad_seq.")}
        names = (
            "graph",
            "graph.tracing_hook",
            "graph.recomputation",
            "graph.batch_shard",
            "distributed",
            "backend.pytree",
        )
        reports = {f"tinygrad_seq.{name}" for name in names}
        assert inner <= reports, "nn uses what the engine exports; modules and optimizers report what they do"
        return
    if not me.startswith(tuple(f"tinygrad_seq.{path}" for path in PYTORCHS_PATHS)):
        assert "nn" not in tops, "the engine does not know nn"
    for prefix, layers in ("tinygrad_seq.", LAYERS), ("tinygrad_seq.compiler.", COMPILER):
        if f"{me}.".startswith(prefix):
            mine, package = layer_of(me if me.startswith(prefix) else prefix, prefix, layers)
            for other in modules & MODULES:
                if other.startswith(prefix):
                    theirs, name = layer_of(other, prefix, layers)
                    assert theirs < mine or name == package, f"{me} imports {other}"


def test_no_import_cycles() -> None:
    waiting = {}
    for path in PACKAGES:
        me = module_of(path)  # a package is imported before what is in it
        waiting[me] = {m for m in imported(path) & MODULES if m != me and not me.startswith(f"{m}.")}
    TopologicalSorter(waiting).prepare()  # raises an error that names a cycle


def test_nn_defines_no_primitive() -> None:
    for path in (ROOT / "nn").rglob("*.py"):
        text = path.read_text("utf-8")
        assert ".vjp" not in text
        assert "primitive(" not in text


def test_importing_loads_next_to_nothing_that_numpy_does_not() -> None:
    code = (
        "import sys, numpy; before = set(sys.modules); import tinygrad_seq, nn;"
        "ours = ('tinygrad_seq', 'nn', '__future__', 'dataclasses', 'copy');"
        "print([m for m in set(sys.modules) - before if m.partition('.')[0] not in ours])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert shown.stdout.strip() == "[]"


def test_importing_the_engine_does_not_load_nn() -> None:
    code = "import sys, tinygrad_seq; print('nn' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert shown.stdout.strip() == "False"


def test_files_have_one_subject() -> None:
    lines = {str(p.relative_to(ROOT)): len(p.read_text("utf-8").splitlines()) for p in FILES}
    assert {path: n for path, n in lines.items() if n > LINES} == {}

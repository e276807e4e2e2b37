"""Imports point one way, and importing is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# each may import what comes before it
ORDER = [
    "backend", "rows",
    "recording", "several", "device", "operands", "public", "memory", "recomputation", "grad_mode", "node",
    "graph",
    "view", "anomaly",
    "tree", "conversion", "old_names",
    "streams", "ops", "autodiff", "hooks", "operators", "methods", "inplace",
    "numpy_functions", "differentiable", "tensor", "random", "creation",
    "compiler", "distributed",
    "functional",
    "checkpointing", "autograd", "version", "cuda", "config", "backends", "limits", "distributions", "drawing",
    "serialization", "gradcheck", "testing", "nn", "optim", "utils",
]  # fmt: skip
PYTORCHS_PATHS = ("nn", "optim", "utils")  # which hand over what nn has
FILES = [p for folder in ("tinygrad_seq", "nn") for p in sorted((ROOT / folder).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    """The modules that a file imports, with dots resolved."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names} | {module}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    parts = path.relative_to(ROOT).with_suffix("").parts
    modules = imported(path)
    tops = {m.partition(".")[0] for m in modules}
    if parts[:2] != ("tinygrad_seq", "backend"):
        assert not tops & {"numpy", "cupy"}, "ask the backend"
    if parts[0] == "tinygrad_seq":
        if parts[1] not in PYTORCHS_PATHS:
            assert "nn" not in tops, "the engine does not know nn"
        if len(parts) > 2 or parts[1] in ORDER:
            mine = ORDER.index(parts[1])
            theirs = {m.split(".")[1] for m in modules if m.startswith("tinygrad_seq.") and m.split(".")[1] in ORDER}
            if parts[1] not in (
                "operators",
                "methods",
                "inplace",
                "differentiable",
                "node",
            ):  # name a later class in annotations
                assert all(ORDER.index(name) <= mine for name in theirs), theirs
    else:
        inner = {m for m in modules if m.startswith("tinygrad_seq.") and m.split(".")[1] in ORDER}
        # where modules and optimizers report
        reported = tuple([f"tinygrad_seq.{name}" for name in ("recording", "recomputation", "rows", "distributed")])
        inner -= {m for m in inner if m.startswith(reported)}
        assert not inner, "nn uses what the engine exports"


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
    for path in FILES:
        assert len(path.read_text("utf-8").splitlines()) <= 430, path

"""Every Python block in the README and the docs runs, and prints what the pages say that it prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(
        re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    )
]


@pytest.mark.parametrize("block", BLOCKS)
def test_block_runs(block: str) -> None:
    exec(compile(block, "block", "exec"), {"__name__": "block"})


def test_a_program_through_the_passes(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "passes.md").read_text("utf-8")
    code, printed = (
        re.search(rf"^```{kind}\n(.*?)^```", text, re.DOTALL | re.MULTILINE) for kind in ("python", "text")
    )
    assert code is not None
    assert printed is not None
    exec(compile(code[1], "block", "exec"), {"__name__": "block"})
    assert capsys.readouterr().out == printed[1]


@pytest.mark.parametrize(
    "block",
    re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "extending.md").read_text("utf-8"), re.DOTALL | re.MULTILINE),
)
def test_adding_a_thing_is_short(block: str) -> None:
    assert len([line for line in block.splitlines() if line]) <= 20


def test_the_readme_opens_with_ten_lines() -> None:
    first = re.search(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert first is not None
    assert len(first[1].splitlines()) <= 10

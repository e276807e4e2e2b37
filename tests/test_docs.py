"""Every Python block in the README and the docs runs, and prints what the page says; every page and public name is there."""

from __future__ import annotations

import contextlib
import io
import re
from importlib import import_module
from pathlib import Path

import pytest

import tinygrad_seq as tg
from examples import slides

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
# a block, and what it prints if a block of text follows
BLOCK = re.compile(r"^```python\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)
CHECKED = ("tutorial", "how-to")  # the folders whose pages say exactly what is printed


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def programs(page: Path) -> list[list[tuple[str, str]]]:
    """The blocks of a page that run together, with what they print: all of a tutorial's page, else each by itself."""
    blocks = BLOCK.findall(page.read_text("utf-8"))
    return [blocks] if page.parent.name == "tutorial" else [[block] for block in blocks]


PROGRAMS = [
    pytest.param(blocks, page.parent.name in CHECKED, id=f"{name_of(page)}-{number}")
    for page in PAGES
    for number, blocks in enumerate(programs(page))
]


@pytest.mark.parametrize(("blocks", "checked"), PROGRAMS)
def test_blocks_run(blocks: list[tuple[str, str]], checked: bool) -> None:
    names = {"__name__": "block"}
    for block, printed in blocks:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(block, "block", "exec"), names)
        if checked and printed:
            assert said.getvalue() == printed

"""Every block of the README and the docs runs and prints what the page says; pages, links, public names are there."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
from importlib import import_module
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("slide", slides.SLIDES, ids=lambda slide: slide.name)
def test_a_slide_shows_the_line_of_the_source(slide: slides.Slide) -> None:
    line, _ = slides.code(slide)
    assert f"\n{line}\n" in (DOCS / "slides.md").read_text("utf-8")


@pytest.mark.parametrize(
    "module", ["nn", "nn.functional", "nn.optim", "nn.optim.lr_scheduler", "nn.utils", "nn.utils.data", "tinygrad_seq"]
)
def test_every_public_name_is_in_the_reference(module: str) -> None:
    documented = set()
    for page in (DOCS / "reference").glob("*.md"):
        text, current = page.read_text("utf-8"), ""
        for directive, argument in re.findall(r"^\.\. (currentmodule|auto\w+):: (\S+)$", text, re.MULTILINE):
            current = argument if directive == "currentmodule" else current
            documented.add(f"{current}.{argument}")
        documented |= set(re.findall(r"`([\w.]+)`", text))  # second names, constants, modules
    short = "tg" if module == "tinygrad_seq" else module
    assert not [n for n in import_module(module).__all__ if not {f"{module}.{n}", f"{short}.{n}"} & documented]


def test_every_page_is_in_a_table_of_contents() -> None:
    pages = {str(page.relative_to(DOCS).with_suffix("")) for page in DOCS.rglob("*.md")}
    listed = {"index"}
    for page in ("index", "reference/index"):
        for contents in re.findall(r"```{toctree}\n(.*?)```", (DOCS / f"{page}.md").read_text("utf-8"), re.DOTALL):
            entries = [line for line in contents.splitlines() if line and not line.startswith(":")]
            listed |= {str((DOCS / page).parent.joinpath(entry).relative_to(DOCS)) for entry in entries}
    assert pages == listed


def test_the_readme_opens_with_ten_lines() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    first = BLOCK.search(text)
    assert first is not None
    assert len(first[1].splitlines()) <= 10
    assert len(text.splitlines()) <= 130


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\((?!\w+:)([^)#\s]+)", prose):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("source", [None, "https://example.org/repository"])
def test_no_link_of_the_readme_is_dead_on_a_package_index(source: str | None) -> None:
    for_index = runpy.run_path(str(ROOT / "setup.py"))["for_index"]
    shown = for_index((ROOT / "README.md").read_text("utf-8"), source)
    links = re.findall(r"!?\[[^]\n]+\]\(([^)]+)\)", re.sub(r"^```.*?^```$", "", shown, flags=re.DOTALL | re.MULTILINE))
    assert [link for link in links if not link.startswith("https://")] == []
    assert bool(links) == (source is not None)
    assert "lstm(x)[0], x[:3])" in shown  # code is left alone

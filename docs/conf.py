"""How Sphinx makes a site of these pages: `make docs`."""

from __future__ import annotations

import os.path
import re
from pathlib import Path
from typing import Any

from tinygrad_seq.version import __version__

DOCS = Path(__file__).parent
ROOT = DOCS.parent
# pages that are a file from elsewhere: {its path from the root: the page}
INCLUDED = {
    os.path.normpath(page.parent.relative_to(ROOT) / found[1]): str(page.relative_to(DOCS))
    for page in DOCS.rglob("*.md")
    if (found := re.match(r"```{include} (\S+)\n```\n$", page.read_text("utf-8")))
}
BLOCK_OR_LINK = re.compile(r"^```.*?^```$|(\]\()((?!\w+:)[^)#\s]+)", re.DOTALL | re.MULTILINE)

project = "tinygrad_seq"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx_copybutton"]
default_role = "code"  # single backticks in docstrings
smartquotes_action = "D"  # dashes alone: a quotation mark may be Python's
myst_heading_anchors = 3
napoleon_use_ivar = True  # attributes as a list, not as entries of their own
autodoc_default_options = {"exclude-members": "extra_repr"}
autodoc_preserve_defaults = True
autodoc_typehints = "none"  # the docstrings say what is taken, with shapes
html_theme = "furo"
html_title = f"tinygrad_seq {version}"
html_show_copyright = html_show_sourcelink = html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
highlight_language = "text"  # of blocks that do not say
pygments_style, pygments_dark_style = "friendly", "monokai"


def rewrite_links(_app: Any, docname: str, source: list[str]) -> None:
    """Links of files, as they stand in a checkout, to links of pages."""
    page = f"{docname}.md"
    file = next((path for path, included in INCLUDED.items() if included == page), None)
    if file is not None:
        source[0] = (ROOT / file).read_text("utf-8")
    folder = os.path.dirname(file or f"docs/{page}")

    def rewritten(link: re.Match[str]) -> str:
        if link[0].startswith("```"):
            return link[0]
        target = os.path.normpath(os.path.join(folder, link[2]))
        if (ROOT / target).is_dir():  # a folder is what its first file says
            target = next(t for name in ("README.md", "__init__.py") if (ROOT / (t := f"{target}/{name}")).exists())
        target = f"docs/{INCLUDED.get(target)}" if target in INCLUDED else target
        return link[1] + os.path.relpath(target, os.path.dirname(f"docs/{page}"))

    source[0] = BLOCK_OR_LINK.sub(rewritten, source[0])


def escape_docstring(_app: Any, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """|x|, *args and clip_grad_norm_ are no markup in a docstring, unless in backticks; examples are left alone."""
    example = False
    for n, line in enumerate(lines):
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        if not example:
            parts = re.split(r"(`[^`]*`)", line)
            parts[::2] = [re.sub(r"[*|]|(?<=\w)_(?!\w)", r"\\\g<0>", part) for part in parts[::2]]
            lines[n] = re.sub(r"(`[^`]*`)(?=\w|\\)", r"\1\\ ", "".join(parts))


def setup(app: Any) -> None:
    app.connect("source-read", rewrite_links)
    app.connect("autodoc-process-docstring", escape_docstring, priority=400)  # before napoleon reads it

"""What pyproject.toml cannot say: the README as a package index shows it, where relative links lead nowhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent


def for_index(readme: str, source: str | None) -> str:
    """Relative links as links into the repository at `source`; without an address, as their text, pictures left out."""

    def absolute(link: re.Match[str]) -> str:
        picture, text, target = link.groups()
        if source is None:
            return "" if picture else text
        return f"{picture}[{text}]({source}/{'raw' if picture else 'blob'}/HEAD/{target})"

    return re.sub(r"(!?)\[([^\]\n]+)\]\((?!\w+:)([^)\s]+)\)", absolute, readme)


if __name__ == "__main__":  # so it is run by a build; the tests look at the function alone
    from setuptools import setup

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    setup(
        long_description=for_index((ROOT / "README.md").read_text("utf-8"), project.get("urls", {}).get("Source")),
        long_description_content_type="text/markdown",
    )

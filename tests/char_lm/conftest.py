from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from examples.char_lm.cli import main

from . import FOX


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(FOX, "utf-8")
    return path


@pytest.fixture(autouse=True)
def no_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than the training here: only tests that ask for `pictures` do it."""
    if "pictures" not in request.fixturenames:
        monkeypatch.setitem(sys.modules, "matplotlib", None)


@pytest.fixture
def pictures() -> None:
    pytest.importorskip("matplotlib", reason='the extra "examples"')


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Callable[[list[str]], str]:
    """The one line that the program prints before it exits with 2."""

    def refused(arguments: list[str]) -> str:
        capsys.readouterr()
        assert main(arguments) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("char_lm: ")
        return lines[0]

    return refused

"""`python -m tinygrad_seq gradcheck`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tinygrad_seq.__main__ import main

OPERATIONS = """
import numpy as np
import tinygrad_seq as tg

def right(x):
    return (x * x).sin()

@tg.primitive
def wrong(x):
    return x * x * x
wrong.vjp(lambda g, _y, x: g * 2 * x)

@tg.primitive
def first_order(x):
    return x * x * x
@tg.primitive
def slope(x):
    return 3 * x * x
slope.vjp(lambda g, _y, x: g * 5 * x)
first_order.vjp(lambda g, _y, x: g * slope(x))

pair = (np.sin, lambda g, x, y: g * np.cos(x))
flat = lambda x: x * 0.0
raises = lambda x: x.reshape(7)
number = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "operations.py"
    path.write_text(OPERATIONS)
    return str(path)


@pytest.mark.parametrize(
    ("name", "more", "code", "words"),
    [
        ("right", [], 0, "gradcheck: pass"),
        ("right", ["--order", "2", "--dtype", "float32"], 0, "gradgradcheck: pass"),
        ("wrong", [], 1, "gradcheck: fail"),
        ("first_order", [], 0, "pass"),
        ("first_order", ["--order", "2"], 1, "fail"),
        ("pair", ["--low", "0", "--high", "1"], 0, "pass"),
        ("flat", [], 3, "not tested"),
    ],
)
def test_exit_codes(
    name: str, more: list[str], code: int, words: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gradcheck", f"{file}:{name}", "--shape", "2,3", *more]) == code
    assert words in capsys.readouterr().out


def test_report_for_programs(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gradcheck", f"{file}:wrong", "--shape", "2", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "fail"
    assert len(report["inputs"][0]["wrong"]) == 2


@pytest.mark.parametrize(
    ("target", "more", "words"),
    [
        ("nowhere.py:f", ["--shape", "2"], "there is no file nowhere.py"),
        ("no_such_module:f", ["--shape", "2"], "cannot import no_such_module"),
        ("math:no_such", ["--shape", "2"], "math has no no_such"),
        ("nonsense", ["--shape", "2"], "does not name a function"),
        ("FILE:right", [], "no inputs"),
        ("FILE:right", ["--shape", "a"], "--shape takes whole numbers"),
        ("FILE:right", ["--shape", "-1"], "--shape takes no negative"),
        ("FILE:right", ["--shape", "2", "--low", "1"], "--low and --high"),
        ("FILE:raises", ["--shape", "2"], "cannot be checked with these inputs: reshape"),
        ("FILE:number", ["--shape", "2"], "takes a function of tensors"),
    ],
)
def test_bad_usage(target: str, more: list[str], words: str, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gradcheck", target.replace("FILE", file), *more]) == 2
    shown = capsys.readouterr().err
    assert words in shown
    assert "Traceback" not in shown


def test_a_module_by_name() -> None:
    assert main(["gradcheck", "tinygrad_seq:sin", "--shape", "", "--shape", "3"][:4]) == 0
